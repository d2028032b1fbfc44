"""Shrinking activations, gates and the softmax family beside PyTorch's; and at their bends, by hand."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import arrays, case, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")

# Both sides of each bend, the bends, and large numbers.
BENDS = numpy.asarray([[-1e3, -2.0, -0.75, -0.5, -0.25], [0.0, 0.25, 0.5, 0.75, 1e3]])

CASES = [
    case("Hardshrink", shapes=[BENDS]),
    case("Hardshrink", 0.25, shapes=[BENDS]),
    case("Hardshrink", lambd=-1.0, shapes=[BENDS]),
    case("Hardshrink", shapes=[()]),
    case("Softshrink", shapes=[BENDS]),
    case("Softshrink", 0.75, shapes=[BENDS]),
    case("Softshrink", lambd=0.0, shapes=[BENDS]),
    case("Softshrink", shapes=[(0, 3)]),
    case("Tanhshrink", shapes=[BENDS]),
    case("Tanhshrink", shapes=[()]),
    case("Threshold", 0.25, 20.0, shapes=[BENDS]),
    case("Threshold", threshold=-0.5, value=-7.0, shapes=[BENDS]),
    case("Threshold", 0, 1, shapes=[(3, 4)]),
    case("GLU", shapes=[(3, 4)]),
    case("GLU", 0, shapes=[(4, 3)]),
    case("GLU", dim=1, shapes=[(2, 6, 3)]),
    case("GLU", dim=-2, shapes=[(2, 2, 1)]),
    case("GLU", shapes=[(2,)]),
    case("GLU", shapes=[(0, 4)]),
    case("Softmin", 1, shapes=[(3, 4)]),
    case("Softmin", dim=-2, shapes=[(3, 1)]),
    case("Softmin", dim=0, shapes=[BENDS]),
    case("Softmax2d", shapes=[(2, 3, 4, 2)]),
    case("Softmax2d", shapes=[(3, 1, 2)]),
    case("Softmax2d", shapes=[(0, 3, 4, 2)]),
]
SMOOTH = [
    case("Hardshrink", shapes=[(3, 4)]),
    case("Softshrink", shapes=[(3, 4)]),
    case("Tanhshrink", shapes=[(3, 4)]),
    case("Threshold", 0.1, 2.0, shapes=[(3, 4)]),
    case("GLU", shapes=[(3, 4)]),
    case("Softmin", 1, shapes=[(3, 4)]),
    case("Softmax2d", shapes=[(2, 3, 2, 2)]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_is_pytorchs(case):
    printed_alike(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


def test_the_functions_have_pytorchs_defaults(backend):
    x = arrays([(3, 4)])[0]
    for name in ("hardshrink", "softshrink", "tanhshrink", "glu", "rrelu"):
        expected = getattr(torch.nn.functional, name)(torch.from_numpy(x)).numpy()
        numpy.testing.assert_allclose(getattr(F, name)(pn.asarray(x)).numpy(), expected, rtol=1e-12, atol=1e-14)


def test_numbers_by_hand(backend):
    x = pn.asarray([-2.0, 0.5, 0.75])
    assert F.hardshrink(x).tolist() == [-2.0, 0.0, 0.75]
    assert F.softshrink(x).tolist() == [-1.5, 0.0, 0.25]
    assert F.threshold(x, 0.5, 9.0).tolist() == [9.0, 9.0, 0.75]
    assert F.glu(pn.asarray([2.0, 0.0])).tolist() == [1.0]
    numpy.testing.assert_allclose(F.tanhshrink(pn.asarray([math.log(2)])).numpy(), [math.log(2) - 0.6], rtol=1e-6)
    numpy.testing.assert_allclose(F.softmin(pn.asarray([0.0, math.log(3)]), 0).numpy(), [0.75, 0.25], rtol=1e-6)
    channels = nn.Softmax2d()(pn.reshape(pn.asarray([0.0, math.log(3)]), (2, 1, 1)))
    numpy.testing.assert_allclose(channels.numpy()[:, 0, 0], [0.25, 0.75], rtol=1e-6)


FUNCTIONS = {
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "tanhshrink": F.tanhshrink,
    "threshold": lambda x: F.threshold(x, 0.0, 1.0),
    "rrelu": F.rrelu,
    "glu": F.glu,
    "softmin": lambda x: F.softmin(x, -1),
    "gumbel_softmax": F.gumbel_softmax,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_raw_arrays_stay_raw_and_keep_dtype_and_device(name, backend):
    x = pn.asarray(arrays([(3, 4)])[0].astype("float32"))
    results = []
    for one in (x, x.array):
        pn.manual_seed(4)
        results.append(FUNCTIONS[name](one))
    assert type(results[1]) is type(x.array)
    assert results[0].dtype == pn.float32
    assert results[0].device == x.device
    numpy.testing.assert_array_equal(pn.Tensor(results[1]).numpy(), results[0].numpy())


@pytest.mark.parametrize("name", ["hardshrink", "softshrink", "tanhshrink", "threshold", "rrelu"])
def test_nan_and_infinity_are_not_hidden(name, backend):
    x = pn.asarray([math.nan, math.inf, 1.0]).requires_grad_()
    y = FUNCTIONS[name](x)
    pn.sum(y).backward()
    values = y.detach().numpy()
    assert math.isnan(values[0])
    assert values[1] == math.inf
    assert not math.isnan(values[2])
    assert x.grad.numpy()[2] == pytest.approx({"tanhshrink": math.tanh(1.0) ** 2}.get(name, 1.0), rel=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whole_numbers_are_refused(name, backend):
    with pytest.raises(TypeError, match=f"{name}: expected a real floating input, saw int"):
        FUNCTIONS[name](pn.asarray([[1, 2]]))


def test_wrong_arguments_are_refused():
    x = pn.ones((2, 3))
    with pytest.raises(
        ValueError, match=r"glu: the input's axis 1 has length 3 \(shape \(2, 3\)\), which must be even"
    ):
        nn.GLU()(x)
    with pytest.raises(IndexError, match=r"glu: dim=2 is not an axis of the input, whose shape is \(2, 3\)"):
        nn.GLU(2)(x)
    with pytest.raises(IndexError, match=r"glu: dim=-1 .* \(\)"):
        F.glu(pn.asarray(1.0))
    with pytest.raises(ValueError, match="softshrink: lambd=-0.5; expected a number >= 0"):
        nn.Softshrink(-0.5)(x)
    with pytest.raises(TypeError, match="softmin: say along which axis"):
        nn.Softmin()(x)
    with pytest.raises(ValueError, match=r"Softmax2d: expected \(N, C, H, W\) or \(C, H, W\), saw shape \(2, 3\)"):
        nn.Softmax2d()(x)
    with pytest.raises(ValueError, match="Threshold: inplace=True is not possible"):
        nn.Threshold(0.0, 1.0, inplace=True)
    with pytest.raises(ValueError, match="threshold: inplace=True is not possible"):
        F.threshold(x, 0.0, 1.0, True)


# ------------------------------------------------------------------------------------------------------ random slopes


def test_rrelu_in_evaluation_is_pytorchs(backend):
    for options in ({}, {"lower": 0.0, "upper": 0.5}, {"lower": -0.25, "upper": -0.25}):
        one = case("RReLU", shapes=[BENDS], **options)
        printed_alike(one)
        ours, theirs = one.ours().eval(), one.theirs().eval()
        x, t = pn.asarray(BENDS).requires_grad_(), torch.from_numpy(BENDS).requires_grad_()
        y, u = ours(x), theirs(t)
        numpy.testing.assert_allclose(y.detach().numpy(), u.detach().numpy(), rtol=1e-12)
        pn.sum(y).backward()
        u.sum().backward()
        numpy.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-12)


def test_rrelu_draws_its_slopes_evenly_between_the_bounds(backend):
    pn.manual_seed(3)
    x = pn.asarray(numpy.concatenate([numpy.full(10_000, -2.0), numpy.full(5, 3.0)])).requires_grad_()
    y = nn.RReLU(0.25, 0.75)(x)
    slopes = y.detach().numpy()[:10_000] / -2
    assert slopes.min() >= 0.25
    assert slopes.max() < 0.75
    assert abs(slopes.mean() - 0.5) < 0.0067  # 4.6 standard deviations
    assert abs(slopes.std() - 0.5 / math.sqrt(12)) < 0.005
    assert (y.detach().numpy()[10_000:] == 3.0).all()
    pn.sum(y).backward()
    numpy.testing.assert_allclose(x.grad.numpy(), [*slopes, *[1.0] * 5], rtol=1e-12)


def test_rrelu_draws_the_same_slopes_everywhere(backend):
    x = -numpy.ones((2, 3))
    y = F.rrelu(pn.asarray(x), 0.0, 1.0, training=True, generator=pn.random.Generator(11))
    with pn.use_backend("numpy"):
        expected = F.rrelu(pn.asarray(x), 0.0, 1.0, training=True, generator=pn.random.Generator(11))
    numpy.testing.assert_array_equal(y.numpy(), expected.numpy())
    assert len(set(y.numpy().reshape(-1).tolist())) == 6


def test_rrelu_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="RReLU: lower=0.5 is above upper=0.25"):
        nn.RReLU(0.5, 0.25)
    with pytest.raises(ValueError, match="rrelu: lower=0.5 is above upper=0.25"):
        F.rrelu(pn.ones(2), 0.5, 0.25)
    with pytest.raises(ValueError, match="RReLU: inplace=True is not possible"):
        nn.RReLU(inplace=True)


# ---------------------------------------------------------------------------------------------------- Gumbel softmax


@pytest.mark.parametrize("hard", [False, True])
def test_gumbel_softmax_chooses_with_the_probabilities_of_softmax(hard, backend):
    p = numpy.asarray([0.1, 0.2, 0.7])
    logits = pn.asarray(numpy.tile(numpy.log(p), (10_000, 1)))
    y = F.gumbel_softmax(logits, tau=0.5, hard=hard, generator=pn.random.Generator(7)).numpy()
    numpy.testing.assert_allclose(y.sum(axis=1), 1.0, rtol=1e-12)
    share = (y == y.max(axis=1, keepdims=True)).mean(axis=0)
    assert abs(share - p).max() < 0.02  # 4.4 standard deviations
    if hard:
        assert set(y.reshape(-1).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("shape", "dim"), [((3, 4), -1), ((3, 4), 0), ((2, 3, 2), 1), ((5,), 0)], ids=str)
def test_gumbel_softmax_passes_the_gradient_of_the_soft_choice(shape, dim, backend):
    x, g = arrays([shape, shape])

    def gradient(hard):
        leaf = pn.asarray(x).requires_grad_()
        y = F.gumbel_softmax(leaf, tau=0.7, hard=hard, dim=dim, generator=pn.random.Generator(5))
        y.backward(pn.asarray(g))
        return y.detach().numpy(), leaf.grad.numpy()

    soft, of_soft = gradient(False)
    hard, of_hard = gradient(True)
    numpy.testing.assert_array_equal(hard, soft == soft.max(axis=dim, keepdims=True))
    numpy.testing.assert_array_equal(of_hard, of_soft)
    wanted = soft * (g - (g * soft).sum(axis=dim, keepdims=True)) / 0.7  # the gradient of softmax, by hand
    numpy.testing.assert_allclose(of_soft, wanted, rtol=1e-9, atol=1e-12)


def test_gumbel_noise_has_its_mean_and_variance_and_is_the_same_everywhere(backend):
    x = numpy.zeros((10_000, 2))
    y = F.gumbel_softmax(pn.asarray(x), generator=pn.random.Generator(9)).numpy()
    with pn.use_backend("numpy"):
        expected = F.gumbel_softmax(pn.asarray(x), generator=pn.random.Generator(9)).numpy()
    numpy.testing.assert_allclose(y, expected, rtol=1e-9)
    # The difference of two such noises is logistic: mean 0, variance pi^2 / 3.
    difference = numpy.log(y[:, 0] / y[:, 1])
    assert abs(difference.mean()) < 0.085
    assert abs(difference.var() - math.pi**2 / 3) < 0.3


@pytest.mark.parametrize("dtype", [pn.float16, pn.float32])
def test_gumbel_softmax_keeps_the_dtype(dtype):
    y = F.gumbel_softmax(pn.asarray(numpy.zeros((4, 3)).astype(dtype.name)), hard=True)
    assert y.dtype is dtype
    assert y.shape == (4, 3)
    assert F.gumbel_softmax(pn.ones((0, 3)), hard=True).shape == (0, 3)


def test_gumbel_softmax_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="gumbel_softmax: tau=0; expected a number > 0"):
        F.gumbel_softmax(pn.ones(3), tau=0)
    with pytest.raises(IndexError, match=r"gumbel_softmax: dim=1 is not an axis of the input, whose shape is \(3,\)"):
        F.gumbel_softmax(pn.ones(3), dim=1)
