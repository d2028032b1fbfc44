"""Initialisation: the distributions, PyTorch's numbers where there are any, the same bits everywhere."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet.nn import init

SEED = 4


def generator() -> pn.random.Generator:
    return pn.random.Generator(SEED)


UNIFORM = {
    "uniform_": (lambda x: init.uniform_(x, -2.0, 3.0, generator()), (-2.0, 3.0)),
    "xavier_uniform_": (lambda x: init.xavier_uniform_(x, 2.0, generator()), 2 * math.sqrt(6 / (20 + 30))),
    "kaiming_uniform_": (lambda x: init.kaiming_uniform_(x, generator=generator()), math.sqrt(2) * math.sqrt(3 / 30)),
    "kaiming_uniform_ fan_out": (
        lambda x: init.kaiming_uniform_(x, math.sqrt(5), "fan_out", generator=generator()),
        1 / math.sqrt(20),
    ),
}


@pytest.mark.parametrize("name", UNIFORM)
def test_uniform_ones_have_their_bounds_and_the_same_bits_everywhere(name, backend):
    fill, bounds = UNIFORM[name]
    low, high = bounds if isinstance(bounds, tuple) else (-bounds, bounds)
    x = pn.empty((20, 30))
    assert fill(x) is x
    values = x.numpy()
    assert values.dtype == numpy.float32
    assert low <= values.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < values.max() <= high
    assert abs(values.mean() - (low + high) / 2) < 0.05 * (high - low)
    with pn.use_backend("numpy"):
        numpy.testing.assert_array_equal(values, fill(pn.empty((20, 30))).numpy())


NORMAL = {
    "normal_": (lambda x: init.normal_(x, 1.0, 0.5, generator()), 1.0, 0.5),
    "xavier_normal_": (lambda x: init.xavier_normal_(x, generator=generator()), 0.0, math.sqrt(2 / 50)),
    "kaiming_normal_": (
        lambda x: init.kaiming_normal_(x, nonlinearity="relu", generator=generator()),
        0.0,
        math.sqrt(2 / 30),
    ),
}


@pytest.mark.parametrize("name", NORMAL)
def test_normal_ones_have_their_mean_and_deviation(name, backend):
    fill, mean, std = NORMAL[name]
    values = fill(pn.empty((20, 30))).numpy()
    assert abs(values.mean() - mean) < 4 * std / math.sqrt(600)
    assert abs(values.std() / std - 1) < 0.12  # 4 standard deviations
    with pn.use_backend("numpy"):
        numpy.testing.assert_allclose(values, fill(pn.empty((20, 30))).numpy(), rtol=1e-5, atol=1e-6)


def test_trunc_normal_stays_inside_with_the_right_shape(backend):
    values = init.trunc_normal_(pn.empty(4000), 0.5, 2.0, -1.0, 1.5, generator()).numpy()
    assert values.min() >= -1.0
    assert values.max() <= 1.5
    truncated = pytest.importorskip("scipy.stats").truncnorm((-1 - 0.5) / 2, (1.5 - 0.5) / 2, 0.5, 2.0)
    assert abs(values.mean() - truncated.mean()) < 4 * truncated.std() / math.sqrt(4000)
    assert abs(values.std() / truncated.std() - 1) < 0.06


def test_trunc_normal_refuses_what_it_would_draw_for_ever():
    with pytest.raises(ValueError, match="too little to draw from"):
        init.trunc_normal_(pn.empty(3), 0.0, 1.0, 10.0, 11.0)
    with pytest.raises(ValueError, match="too little to draw from"):
        init.trunc_normal_(pn.empty(3), 0.0, 0.0)


def test_constant_ones(backend):
    for dtype in (pn.float32, pn.float64):
        assert init.constant_(pn.empty((2, 1), dtype=dtype), 0.5).tolist() == [[0.5], [0.5]]
        assert init.ones_(pn.empty(2, dtype=dtype)).dtype is dtype
    assert init.zeros_(pn.ones(2)).tolist() == [0.0, 0.0]
    assert init.ones_(pn.zeros((), dtype=pn.int64)).item() == 1


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (0, 2)])
def test_eye_is_pytorchs(shape, backend):
    torch = pytest.importorskip("torch")
    assert init.eye_(pn.empty(shape)).tolist() == torch.nn.init.eye_(torch.empty(shape)).tolist()


@pytest.mark.parametrize("shape", [(4, 3, 3), (4, 2, 3, 2), (2, 3, 1, 2, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_is_pytorchs(shape, groups, backend):
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.dirac_(torch.empty(shape), groups)
    assert init.dirac_(pn.empty(shape), groups).tolist() == expected.tolist()


@pytest.mark.needs("linalg")
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 2)])
def test_orthogonal_is_orthonormal(shape, backend):
    values = init.orthogonal_(pn.empty(shape, dtype=pn.float64), 2.0, generator()).numpy().reshape(shape[0], -1)
    rows, columns = values.shape
    product = values @ values.T if rows <= columns else values.T @ values
    numpy.testing.assert_allclose(product, 4 * numpy.eye(min(rows, columns)), atol=1e-12)


def test_sparse_has_its_zeros_in_every_column(backend):
    values = init.sparse_(pn.empty((10, 50)), 0.25, 0.5, generator()).numpy()
    assert ((values == 0).sum(axis=0) == 3).all()  # ceil(0.25 * 10)
    assert len({tuple(column) for column in (values == 0).T}) > 10  # not everywhere the same places
    assert abs(values[values != 0].std() / 0.5 - 1) < 0.15


def test_gains_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in init.GAINS:
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    for slope in (None, 0.3, 1):
        expected = torch.nn.init.calculate_gain("leaky_relu", slope)
        assert init.calculate_gain("leaky_relu", slope) == pytest.approx(expected)
    with pytest.raises(ValueError, match="'relu7' is not known; known are leaky_relu, linear"):
        init.calculate_gain("relu7")


def test_parameters_stay_where_and_what_they_are(backend):
    p = pn.nn.Parameter(pn.ones((3, 2), dtype=pn.float64))
    with pn.use_backend("numpy"):  # another current backend than the parameter's
        assert init.uniform_(p) is p
    assert p.backend == backend.name
    assert p.device == pn.ones(1).device
    assert p.dtype is pn.float64
    assert p.requires_grad
    assert p.is_leaf


def test_empty_tensors(backend):
    for fill in (init.uniform_, init.kaiming_uniform_, init.xavier_normal_, init.eye_):
        assert fill(pn.empty((0, 3))).shape == (0, 3)
        assert fill(pn.empty((3, 0))).shape == (3, 0)


def test_refusals():
    with pytest.raises(ValueError, match=r"at least two axes; saw shape \(3,\)"):
        init.xavier_uniform_(pn.empty(3))
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out', saw 'both'"):
        init.kaiming_uniform_(pn.empty((3, 3)), mode="both")
    with pytest.raises(TypeError, match="nn.init fills Tensors in place, saw ndarray"):
        init.uniform_(numpy.ones(3))
    with pytest.raises(TypeError, match="nn.init fills Tensors in place, saw list"):
        init.ones_([1.0])
    with pytest.raises(RuntimeError, match="was computed under the tape"):
        init.zeros_(pn.ones(2).requires_grad_() * 2)
    for fill in (init.eye_, lambda x: init.sparse_(x, 0.5)):
        with pytest.raises(ValueError, match=r"two axes, saw shape \(2, 2, 2\)"):
            fill(pn.empty((2, 2, 2)))
    with pytest.raises(ValueError, match="do not part into 2 groups"):
        init.dirac_(pn.empty((3, 1, 3)), groups=2)
    with pytest.raises(ValueError, match=r"3, 4 or 5 axes"):
        init.dirac_(pn.empty((3, 1)))
    with pytest.raises(ValueError, match="a share from 0 to 1, saw 2"):
        init.sparse_(pn.empty((3, 1)), 2)
