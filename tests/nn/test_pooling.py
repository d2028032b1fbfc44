"""Pools with indices, of norms and with as many windows as asked for, beside PyTorch's; what they refuse."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from tests.nn.cases import arrays, assert_close, case, compared, compared_in_float32, printed_alike, proved
from tests.oracle import is_newest

torch = pytest.importorskip("torch")
F = nn.functional

TIES = numpy.random.default_rng(0).integers(0, 3, (2, 3, 6, 7)) * 1.0  # many of the largest are equal

MAX = [
    case("MaxPool1d", 2, return_indices=True, shapes=[(2, 3, 7)]),
    case("MaxPool1d", 3, 2, 1, return_indices=True, ceil_mode=True, shapes=[(3, 8)]),
    case("MaxPool1d", 2, 1, 1, 3, return_indices=True, shapes=[(2, 3, 6)]),
    case("MaxPool1d", 1, return_indices=True, shapes=[(2, 3, 1)]),
    case("MaxPool2d", 2, return_indices=True, shapes=[(2, 3, 6, 8)]),
    case("MaxPool2d", 2, return_indices=True, shapes=[(0, 3, 6, 8)]),
    case("MaxPool2d", (3, 2), stride=(1, 2), padding=1, return_indices=True, shapes=[TIES]),
    case("MaxPool2d", 3, stride=2, padding=(1, 0), dilation=(1, 2), return_indices=True, shapes=[(3, 6, 8)]),
    case("MaxPool2d", 3, stride=3, padding=1, ceil_mode=True, return_indices=True, shapes=[(2, 3, 6, 8)]),
    case("MaxPool3d", 2, return_indices=True, shapes=[(2, 3, 4, 4, 6)]),
    case("MaxPool3d", (1, 3, 2), stride=(1, 2, 1), padding=(0, 1, 1), return_indices=True, shapes=[(2, 3, 4, 5)]),
    case("MaxPool3d", 2, stride=2, padding=1, dilation=(2, 1, 2), return_indices=True, shapes=[(2, 3, 4, 4, 6)]),
    case("AdaptiveMaxPool1d", 3, shapes=[(2, 3, 7)]),
    case("AdaptiveMaxPool1d", 3, return_indices=True, shapes=[(3, 7)]),
    case("AdaptiveMaxPool1d", 5, return_indices=True, shapes=[(1, 1, 1)]),
    case("AdaptiveMaxPool2d", 1, shapes=[(2, 3, 5, 7)]),
    case("AdaptiveMaxPool2d", (2, 3), return_indices=True, shapes=[(2, 3, 6, 6)]),
    case("AdaptiveMaxPool2d", (2, None), return_indices=True, shapes=[(2, 3, 6, 7)]),
    case("AdaptiveMaxPool2d", (4, 5), return_indices=True, shapes=[TIES]),
    case("AdaptiveMaxPool2d", 3, return_indices=True, shapes=[(0, 3, 6, 7)]),
    case("AdaptiveMaxPool3d", (1, 2, 3), return_indices=True, shapes=[(2, 3, 2, 5, 5)]),
    case("AdaptiveMaxPool3d", (2, 3, 4), shapes=[(2, 2, 3, 4)]),
]

MEANS = [
    case("AvgPool1d", 3, stride=1, padding=1, count_include_pad=False, shapes=[(3, 8)]),
    case("AvgPool2d", (2, 3), ceil_mode=True, divisor_override=-3, shapes=[(2, 3, 5, 7)]),
    case("AvgPool2d", 2, shapes=[(0, 3, 6, 8)]),
    case("AvgPool3d", 3, stride=2, padding=1, ceil_mode=True, divisor_override=2, shapes=[(3, 4, 4, 6)]),
    case("AvgPool3d", 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False, shapes=[(2, 3, 4, 4, 6)]),
    case("AdaptiveAvgPool3d", (None, 3, 2), shapes=[(2, 2, 4, 5)]),
]

NORMS = [
    case("LPPool1d", 2, 3, shapes=[(2, 3, 7)]),
    case("LPPool1d", 4.0, 3, stride=2, ceil_mode=True, shapes=[(3, 8)]),
    case("LPPool1d", 2, 1, shapes=[(1, 1, 1)]),
    case("LPPool2d", 2, (3, 2), shapes=[(2, 3, 6, 7)]),
    case("LPPool2d", 2, 2, stride=(2, 1), shapes=[(3, 5, 4)]),
    case("LPPool2d", 2, 2, shapes=[(0, 3, 5, 4)]),
    case("LPPool2d", 1.5, 2, shapes=[numpy.abs(arrays([(2, 3, 4, 5)])[0])]),
    *(
        [
            case("LPPool2d", math.inf, 2, ceil_mode=True, shapes=[(2, 3, 5, 4)]),
            case("LPPool2d", -math.inf, 2, shapes=[(2, 3, 5, 4)]),
        ]
        if is_newest()  # nan before
        else []
    ),
    case("LPPool3d", 2, 2, stride=1, shapes=[(2, 3, 4, 3, 4)]),
    case("LPPool3d", 2, (1, 3, 2), ceil_mode=True, shapes=[(3, 4, 5, 5)]),
]

CASES = [*MAX, *MEANS, *NORMS]


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_places_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


INFINITE = (math.inf, -math.inf)
SMOOTH = [one for one in [*MEANS, *NORMS] if one.args[0] not in INFINITE and 0 not in one.values(0)[0].shape]


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


WITH_INDICES = {
    "max_pool1d": ((2, 3, 7), (2,)),
    "max_pool2d": ((2, 3, 6, 7), (2,)),
    "max_pool3d": ((2, 3, 4, 4, 5), (2,)),
    "adaptive_max_pool1d": ((2, 3, 7), (3,)),
    "adaptive_max_pool2d": ((2, 3, 6, 7), (2,)),
    "adaptive_max_pool3d": ((2, 3, 4, 4, 5), (2,)),
}


@pytest.mark.parametrize("name", WITH_INDICES)
def test_a_function_with_indices_is_the_function_with_indices_asked_for(name, backend):
    shape, args = WITH_INDICES[name]
    x = pn.asarray(arrays([shape])[0])
    values, places = getattr(F, f"{name}_with_indices")(x, *args)
    asked = getattr(F, name)(x, *args, return_indices=True)
    assert values.tolist() == asked[0].tolist() == getattr(F, name)(x, *args).tolist()
    assert places.tolist() == asked[1].tolist()
    assert not asked[1].requires_grad
    axes = len(shape) - 2
    flat = numpy.reshape(x.numpy(), (*shape[:2], -1))
    found = numpy.take_along_axis(flat, numpy.reshape(places.numpy(), (*shape[:2], -1)), axis=2)
    assert found.reshape(values.shape).tolist() == values.tolist()
    assert places.ndim == axes + 2


def test_places_of_the_largest_by_hand(backend):
    x = pn.asarray([[[1.0, 9.0, 2.0], [9.0, 0.0, 3.0]]])
    values, places = F.max_pool2d(x, 2, 1, return_indices=True)
    assert values.tolist() == [[[9.0, 9.0]]]
    assert places.tolist() == [[[1, 1]]]  # the first of two nines, row by row
    assert F.adaptive_max_pool2d(x, (2, 1), return_indices=True)[1].tolist() == [[[1], [3]]]
    assert F.max_pool2d(x, 2, 2, 1, return_indices=True)[1].tolist() == [[[0, 1], [3, 5]]]


def test_a_nan_is_the_largest_and_is_found(backend):
    x = pn.asarray([[[1.0, math.nan, 3.0, 2.0]]])
    values, places = F.max_pool1d(x, 2, return_indices=True)
    assert places.tolist() == [[[1, 2]]]
    assert numpy.isnan(values.numpy()).tolist() == [[[True, False]]]
    values, places = F.adaptive_max_pool1d(x, 2, return_indices=True)
    assert places.tolist() == [[[1, 2]]]
    assert numpy.isnan(values.numpy()).tolist() == [[[True, False]]]


def test_the_lowest_value_of_all_has_a_place(backend):
    x = pn.asarray([[-math.inf, -math.inf, -math.inf]])
    _, places = F.max_pool1d(x, 2, 1, 1, return_indices=True)
    assert places.tolist() == [[0, 0, 1, 2]]


def test_of_equal_values_the_first_gets_the_gradient(backend):
    x = pn.asarray([[2.0, 2.0, 1.0, 2.0, 2.0]]).requires_grad_()
    y = F.adaptive_max_pool1d(x, 2)
    y.backward(pn.asarray([[1.0, 10.0]]))
    assert x.grad.tolist() == [[1.0, 0.0, 0.0, 10.0, 0.0]]


def test_a_window_of_zeros_has_norm_zero_and_no_gradient(backend):
    x = pn.asarray([[0.0, 0.0, 3.0, 4.0]]).requires_grad_()
    y = F.lp_pool1d(x, 2, 2)
    assert y.tolist() == [[0.0, 5.0]]
    y.backward(pn.asarray([[1.0, 1.0]]))
    numpy.testing.assert_allclose(x.grad.numpy(), [[0.0, 0.0, 0.6, 0.8]], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("norm_type", [3, 1, 0.5])
def test_the_norm_of_numbers_of_both_signs_is_pytorchs(norm_type, backend):
    x = numpy.asarray([[1.0, -2.0, 3.0, -1.0, 2.0, 5.0]])
    assert_close(
        F.lp_pool1d(pn.asarray(x), norm_type, 2), torch.nn.functional.lp_pool1d(torch.from_numpy(x), norm_type, 2)
    )


def images(*shape: int) -> pn.Tensor:
    return pn.ones(shape)


WRONG = {
    "max axes": (lambda: nn.MaxPool2d(2, return_indices=True)(images(4, 4)), ValueError, "MaxPool2d: the input must"),
    "adaptive axes": (
        lambda: nn.AdaptiveMaxPool2d(2)(images(4, 4)),
        ValueError,
        "AdaptiveMaxPool2d: the input must have shape (N, C, H, W) or (C, H, W), saw (4, 4).",
    ),
    "adaptive size": (
        lambda: F.adaptive_max_pool1d(images(1, 4), 0),
        ValueError,
        "AdaptiveMaxPool1d: output_size must be at least 1, saw [0].",
    ),
    "adaptive sizes": (lambda: F.adaptive_max_pool2d(images(1, 4, 4), (1, 2, 3)), TypeError, "output_size must be"),
    "nothing in windows": (lambda: F.adaptive_max_pool1d(images(1, 0), 2), ValueError, "the input's (0,) values"),
    "adaptive dtype": (
        lambda: F.adaptive_max_pool1d(pn.ones((1, 4), dtype=pn.int64), 2),
        TypeError,
        "AdaptiveMaxPool1d: expected a real floating dtype, saw int64; portanet.astype(x, portanet.float32).",
    ),
    "norm of order 0": (lambda: nn.LPPool1d(0, 2)(images(1, 4)), ValueError, "LPPool1d: norm_type must be a number"),
    "norm of a word": (lambda: nn.LPPool1d("2", 2)(images(1, 4)), ValueError, "other than 0, saw '2'"),
    "norm dtype": (lambda: F.lp_pool1d(pn.ones((1, 4), dtype=pn.int64), 2, 2), TypeError, "LPPool1d: expected a real"),
    "norm axes": (lambda: nn.LPPool3d(2, 2)(images(1, 4)), ValueError, "LPPool3d: the input must have shape"),
    "norm stride": (lambda: nn.LPPool1d(2, 2, 0)(images(1, 4)), ValueError, "LPPool1d: stride must be at least 1"),
    "norm window": (lambda: nn.LPPool1d(2, 5)(images(1, 4)), ValueError, "LPPool1d: no window of (5,) fits"),
    "norm window, infinite": (
        lambda: nn.LPPool1d(math.inf, 5)(images(1, 4)), ValueError, "LPPool1d: no window of (5,) fits"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_in_words(name):
    wrong, error, words = WRONG[name]
    with pytest.raises(error) as problem:
        wrong()
    assert words in str(problem.value)


def test_the_functions_take_raw_arrays(backend):
    x = pn.asarray(arrays([(2, 3, 6, 7)])[0]).array
    for result in (F.max_pool2d(x, 2, return_indices=True), F.adaptive_max_pool2d(x, 4, return_indices=True)):
        assert [type(y) for y in result] == [type(x), type(x)]
    assert type(F.lp_pool2d(x, 2, 2)) is type(x)
