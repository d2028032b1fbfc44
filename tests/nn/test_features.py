"""Features chosen by hand: their values, their derivatives, and that training reaches the closed-form solution."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import features
from portanet.testing import check_gradient


def points(*shape: int, seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed).uniform(-1, 1, shape)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("include_bias", [True, False])
def test_polynomials_are_scikit_learns(dimension, degree, include_bias, backend):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x = points(7, dimension)
    layer = nn.PolynomialFeatures(degree, dimension, include_bias)
    phi = layer(pn.asarray(x))
    if degree == 0 and not include_bias:  # no feature at all, which scikit-learn refuses
        assert phi.shape == (7, 0) == (7, layer.out_features)
        return
    expected = preprocessing.PolynomialFeatures(degree, include_bias=include_bias).fit_transform(x)
    assert layer.out_features == expected.shape[1]
    numpy.testing.assert_allclose(phi.numpy(), expected, rtol=1e-12)


def test_fourier_by_its_formula(backend):
    x, b = points(7, 2), points(2, 3, seed=1)
    expected = numpy.concatenate([numpy.cos(2 * math.pi * x @ b), numpy.sin(2 * math.pi * x @ b)], axis=1)
    numpy.testing.assert_allclose(
        features.fourier(pn.asarray(x), pn.asarray(b)).numpy(), expected, rtol=1e-10, atol=1e-12
    )
    layer = nn.FourierFeatures(pn.asarray(b))
    assert (layer.in_features, layer.out_features) == (2, 6)
    numpy.testing.assert_allclose(layer(pn.asarray(x)).numpy(), expected, rtol=1e-10, atol=1e-12)
    assert list(layer.state_dict()) == ["frequencies"]
    assert list(layer.parameters()) == []


def test_harmonics_are_the_fourier_series(backend):
    layer = nn.FourierFeatures.harmonics(2, period=4.0, in_features=2)
    assert layer.frequencies.tolist() == [[0.25, 0.5, 0.0, 0.0], [0.0, 0.0, 0.25, 0.5]]
    x = pn.asarray([[1.0, 0.0]])
    numpy.testing.assert_allclose(layer(x).numpy(), [[0, -1, 1, 1, 1, 0, 0, 0]], atol=1e-6)
    shifted = pn.asarray([[5.0, -4.0]])  # by the period
    numpy.testing.assert_allclose(layer(shifted).numpy(), layer(x).numpy(), atol=1e-5)


def test_random_frequencies_are_kept_and_scaled(backend):
    layer = nn.FourierFeatures.random(3, 500, scale=2.0, generator=pn.random.Generator(1))
    values = layer.frequencies.numpy()
    assert values.shape == (3, 500)
    assert abs(values.std() / 2 - 1) < 0.08
    same = nn.FourierFeatures.random(3, 500, scale=2.0, generator=pn.random.Generator(1))
    assert layer(pn.ones((2, 3))).tolist() == same(pn.ones((2, 3))).tolist()


def test_radial_basis_by_its_formula(backend):
    x, c, s = points(7, 2), points(4, 2, seed=1), numpy.asarray([0.3, 0.5, 1.0, 2.0])
    distance = ((x[:, None, :] - c) ** 2).sum(axis=-1)
    for width in (0.4, s):
        expected = numpy.exp(-distance / (2 * width**2))
        given = width if isinstance(width, float) else pn.asarray(width)
        phi = features.radial_basis(pn.asarray(x), pn.asarray(c), given)
        numpy.testing.assert_allclose(phi.numpy(), expected, rtol=1e-10)
        layer = nn.RadialBasisFeatures(pn.asarray(c), given)
        numpy.testing.assert_allclose(layer(pn.asarray(x)).numpy(), expected, rtol=1e-6)
    assert (layer.in_features, layer.out_features) == (2, 4)
    assert layer.to(pn.float32)(pn.asarray(x, dtype=pn.float32)).dtype is pn.float32


@pytest.mark.parametrize(
    "phi",
    [
        lambda x: features.polynomial(x, 3),
        lambda x: features.fourier(x, x[:2, :] * 0.0 + 0.7),
        lambda x: features.radial_basis(x, x[:3, :] + 0.3, 0.8),
    ],
    ids=["polynomial", "fourier", "radial_basis"],
)
def test_derivatives_with_respect_to_the_input(phi, backend):
    assert check_gradient(phi, pn.asarray(points(4, 2)), verbose=False).order > 1.8


def test_one_example_and_none(backend):
    for layer, width in (
        (nn.PolynomialFeatures(2, 3), 10),
        (nn.FourierFeatures.harmonics(2, in_features=3), 12),
        (nn.RadialBasisFeatures([[0.0, 0.0, 0.0]], 1.0), 1),
    ):
        assert layer(pn.ones(3)).shape == (width,)
        assert layer(pn.ones((0, 3))).shape == (0, width)
        assert layer(pn.ones((2, 5, 3))).shape == (2, 5, width)


MODELS = {
    "polynomial": lambda: nn.PolynomialFeatures(3),
    "fourier": lambda: nn.FourierFeatures.harmonics(2, period=3.0),
    "radial_basis": lambda: nn.RadialBasisFeatures([-1.0, -0.3, 0.3, 1.0], 0.4),
}


@pytest.mark.heavy
@pytest.mark.parametrize("name", MODELS)
def test_training_reaches_the_closed_form_solution(name, backend):
    phi = MODELS[name]()
    model = nn.Sequential(phi, nn.Linear(phi.out_features, 1, bias=False)).to(pn.float64)
    x = points(30, 1)
    t = numpy.sin(2 * x) + 0.1 * points(30, 1, seed=1)
    inputs, targets = pn.asarray(x), pn.asarray(t)
    table = phi(inputs).numpy()
    expected = numpy.linalg.lstsq(table, t, rcond=None)[0]
    curvature = numpy.linalg.eigvalsh(2 * table.T @ table / 30)
    low, high = math.sqrt(curvature[0]), math.sqrt(curvature[-1])
    rate, momentum = (
        (2 / (low + high)) ** 2,
        ((high - low) / (high + low)) ** 2,
    )  # Polyak 1964: the best for a quadratic
    steps = int(16 / -math.log10(math.sqrt(momentum)))
    assert steps < 2500
    (weight,) = model.parameters()
    velocity = pn.zeros_like(weight.detach())
    for _ in range(min(steps, 1500)):
        model.zero_grad()
        pn.mean((model(inputs) - targets) ** 2).backward()
        velocity = momentum * velocity - rate * weight.grad
        weight._raw = (weight.detach() + velocity)._raw
    numpy.testing.assert_allclose(weight.detach().numpy(), expected.T, rtol=1e-6, atol=1e-6)


def test_refusals(backend):
    with pytest.raises(ValueError, match=r"shape \(..., 1\).*saw \(5,\).*portanet.expand_dims\(x, -1\)"):
        nn.PolynomialFeatures(2)(pn.ones(5))
    with pytest.raises(ValueError, match="0 or more, saw -1"):
        nn.PolynomialFeatures(-1)
    with pytest.raises(TypeError, match="expected a real floating input, saw int64"):
        features.polynomial(pn.ones((3, 1), dtype=pn.int64), 2)
    with pytest.raises(TypeError, match="input is float64, the parameters are float32"):
        nn.FourierFeatures.harmonics(2)(pn.ones((3, 1), dtype=pn.float64))
    with pytest.raises(ValueError, match=r"shape \(D, M\), saw \(2,\)"):
        nn.FourierFeatures([1.0, 2.0])
    with pytest.raises(ValueError, match="a width must be positive"):
        nn.RadialBasisFeatures([0.0], 0.0)
    with pytest.raises(ValueError, match=r"one number or 1, saw shape \(2,\)"):
        nn.RadialBasisFeatures([0.0], pn.ones(2))
    with pytest.raises(ValueError, match=r"the centres must have shape \(M, D\)"):
        nn.RadialBasisFeatures(pn.ones((1, 1, 1)), 1.0)


def test_print_outs():
    assert repr(nn.PolynomialFeatures(2, 3)) == "PolynomialFeatures(degree=2, in_features=3, include_bias=True)"
    assert repr(nn.FourierFeatures.harmonics(2)) == "FourierFeatures(in_features=1, out_features=4)"
    assert repr(nn.RadialBasisFeatures([0.0], 1.0)) == "RadialBasisFeatures(in_features=1, out_features=1)"
