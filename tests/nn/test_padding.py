"""Padding layers and functions beside PyTorch's, and images as columns."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from tests.nn.cases import arrays, assert_close, case, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")
F = nn.functional

KINDS = ("ReflectionPad", "ReplicationPad", "CircularPad")
PADS = [
    case("ConstantPad1d", 2, 3.5, shapes=[(2, 3, 4)]),
    case("ConstantPad1d", (0, 2), -1, shapes=[(4,)]),
    case("ConstantPad2d", (1, 2, 3, -1), 0.25, shapes=[(2, 3, 4, 5)]),
    case("ConstantPad2d", 1, 2.0, shapes=[(1, 1)]),
    case("ConstantPad3d", (1, 0, -1, 2, 0, 1), 7.0, shapes=[(2, 1, 2, 3, 2)]),
    case("ZeroPad1d", (-1, 3), shapes=[(2, 4)]),
    case("ZeroPad1d", (-1, -2), shapes=[(2, 4)]),
    case("ZeroPad2d", (1, 2, 0, 3), shapes=[(0, 3, 4, 5)]),
    case("ZeroPad3d", 1, shapes=[(1, 2, 0, 2, 2)]),
    *[
        one
        for kind in KINDS
        for one in (
            case(f"{kind}1d", 2, shapes=[(2, 3, 4)]),
            case(f"{kind}1d", (3, -1), shapes=[(2, 4)]),
            case(f"{kind}1d", (-1, 2), shapes=[(2, 4)]),
            case(f"{kind}1d", (0, 1), shapes=[(0, 2, 3)]),
            case(f"{kind}2d", (1, 2, 3, 0), shapes=[(2, 2, 4, 3)]),
            case(f"{kind}2d", 0, shapes=[(2, 4, 3)]),
            case(f"{kind}3d", (1, 0, 1, 1, 0, 1), shapes=[(2, 2, 2, 3)]),
        )
    ],
    case("ReplicationPad1d", 3, shapes=[(2, 1)]),
    case("CircularPad1d", 1, shapes=[(2, 1)]),
]

COLUMNS = [
    case("Unfold", 2, shapes=[(2, 3, 4, 5)]),
    case("Unfold", (3, 2), (1, 3), (1, 2), (2, 1), shapes=[(2, 2, 4, 5)]),
    case("Unfold", 1, stride=2, shapes=[(2, 4, 5)]),
    case("Unfold", 2, shapes=[(0, 3, 4, 5)]),
    case("Fold", (4, 5), 2, shapes=[(2, 12, 12)]),
    case("Fold", (4, 5), (3, 2), (1, 3), (1, 2), (2, 1), shapes=[(2, 12, 12)]),
    case("Fold", 5, 2, stride=2, shapes=[(8, 4)]),
    case("Fold", 4, 3, padding=1, shapes=[(0, 9, 16)]),
]

CASES = [*PADS, *COLUMNS]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.parametrize("case", CASES[::3], ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.parametrize("name", ["ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d", "CircularPad2d", "Unfold"])
def test_gradients_have_the_order_of_smooth_ones(name, backend):
    proved(case(name, *([(1, 2, 1, 1), 2.0] if name == "ConstantPad2d" else [2]), shapes=[(1, 3, 4)]))


# ------------------------------------------------------------------------------------------------------------------ pad


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("pad", [(2, 1), (-1, 2), (-2, 1), (3, -1), (2, -2), (0, -3), (1, 0, 2, 1), (2, -1, -1, 2)])
def test_pad_is_pytorchs(mode, pad, backend):
    x = arrays([(2, 4, 4)])[0]
    assert_close(F.pad(pn.asarray(x), pad, mode), torch.nn.functional.pad(torch.from_numpy(x), pad, mode))


PADDED = {
    ("constant", 9.0): [9.0, 9.0, 1.0, 2.0, 3.0, 9.0, 9.0],
    ("constant", None): [0.0, 0.0, 1.0, 2.0, 3.0, 0.0, 0.0],
    ("reflect", None): [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0],
    ("replicate", None): [1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0],
    ("circular", None): [2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0],
}


@pytest.mark.parametrize("how", PADDED, ids=str)
def test_what_stands_around_three_numbers(how, backend):
    x = pn.asarray([[1.0, 2.0, 3.0]])
    assert F.pad(x, (2, 2), *how).tolist() == [PADDED[how]]


@pytest.mark.parametrize(
    ("dtype", "value", "seen"),
    [("int32", 7.0, [7, 1, 1]), ("bool", 0, [False, True, True]), ("float32", float("inf"), [float("inf"), 1.0, 1.0])],
)
def test_a_number_takes_the_dtype_of_the_input(dtype, value, seen, backend):
    y = F.pad(pn.ones(2, dtype=dtype), (1, 0), value=value)
    assert y.tolist() == seen
    assert y.dtype == dtype


def test_nan_is_a_number_to_pad_with(backend):
    assert numpy.isnan(F.pad(pn.ones(1), (0, 1), value=float("nan")).numpy()).tolist() == [False, True]


def test_whole_numbers_are_mirrored_too(backend):
    assert F.pad(pn.asarray([[1, 2, 3]]), (1, 0), mode="reflect").tolist() == [[2, 1, 2, 3]]


def test_padding_of_nothing_is_the_input(backend):
    x = pn.ones((2, 3))
    assert F.pad(x, (0, 0)) is x
    assert F.pad(x, ()) is x
    assert F.pad(pn.ones((0, 2)), (0, 0, 1, 0)).tolist() == [[0.0, 0.0]]


def test_raw_arrays_stay_raw_and_are_not_written_to(backend):
    x = pn.asarray(arrays([(1, 2, 4, 4)])[0])
    before = x.numpy().copy()
    for y in (F.pad(x.array, (1, 1)), F.pad(x.array, (1, 1, 0, 1), "circular"), F.unfold(x.array, 2)):
        assert type(y) is type(x.array)
    numpy.testing.assert_array_equal(x.numpy(), before)


# -------------------------------------------------------------------------------------------------------------- columns


def test_columns_are_the_windows_in_order(backend):
    x = pn.asarray([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    assert F.unfold(x, 2).tolist() == [[1.0, 2.0], [2.0, 3.0], [4.0, 5.0], [5.0, 6.0]]


def test_a_matrix_product_of_columns_is_the_convolution(backend):
    x, w = [pn.asarray(a) for a in arrays([(2, 3, 6, 5), (4, 3, 3, 2)])]
    columns = F.unfold(x, (3, 2), padding=1, stride=2)
    y = pn.reshape(pn.matmul(pn.reshape(w, (4, -1)), columns), (2, 4, 3, 3))
    numpy.testing.assert_allclose(y.numpy(), F.conv2d(x, w, padding=1, stride=2).numpy(), rtol=1e-10, atol=1e-12)


def test_folding_the_columns_counts_the_windows_of_each_place(backend):
    y = F.fold(F.unfold(pn.ones((1, 3, 4)), 2), (3, 4), 2)
    assert y.tolist() == [[[1.0, 2.0, 2.0, 1.0], [2.0, 4.0, 4.0, 2.0], [1.0, 2.0, 2.0, 1.0]]]


# ---------------------------------------------------------------------------------------------------------------- wrong


def ones(*shape: int) -> Any:
    return pn.ones(shape)


WRONG = {
    "odd": (lambda: F.pad(ones(3), (1,)), TypeError, "pad: pad must be whole numbers, two for each axis from the last"),
    "half": (lambda: F.pad(ones(3), (1, 0.5)), TypeError, "saw (1, 0.5)"),
    "axes": (lambda: F.pad(ones(3), (1,) * 4), ValueError, "pad: 2 axes are to be padded, the input has shape (3,)"),
    "mode": (lambda: F.pad(ones(1, 3), (1, 1), "some"), ValueError, "the mode must be one of constant, reflect, rep"),
    "value": (lambda: F.pad(ones(1, 3), (1, 1), "reflect", 2.0), ValueError, "mode='reflect' takes no value, saw 2.0"),
    "fraction": (
        lambda: F.pad(pn.asarray([1, 2]), (1, 1), value=1.5),
        TypeError,
        "pad: value=1.5 has no place in an input of dtype int64",
    ),
    "cut": (
        lambda: nn.ZeroPad1d(-2)(ones(2, 3)),
        ValueError,
        "ZeroPad1d: padding (-2, -2) cuts off more than there is",
    ),
    "mirror": (
        lambda: nn.ReflectionPad2d((0, 0, 4, 0))(ones(2, 4, 5)),
        ValueError,
        "ReflectionPad2d: mode='reflect' can continue an axis of length 4 by at most 3, saw (4, 0) for an input of shape",
    ),
    "ring": (
        lambda: nn.CircularPad1d(4)(ones(2, 3)),
        ValueError,
        "CircularPad1d: mode='circular' can continue an axis of length 3 by at most 3, saw (4, 4)",
    ),
    "nothing": (
        lambda: nn.ReplicationPad1d(1)(ones(2, 0)),
        ValueError,
        "ReplicationPad1d: padding (1, 1) leaves nothing of an axis of length 0",
    ),
    "shape": (
        lambda: nn.ReflectionPad2d(1)(ones(4, 4)),
        ValueError,
        "ReflectionPad2d: the input must have shape (N, C, H, W) or (C, H, W), saw (4, 4)",
    ),
    "four axes": (
        lambda: F.pad(ones(2, 2, 2, 2), (1,) * 8, "circular"),
        ValueError,
        "for one, two or three axes, saw 4",
    ),
    "pairs": (
        lambda: nn.ZeroPad2d((1, 2)),
        TypeError,
        "ZeroPad2d: padding must be a whole number or 4 of them, two for each axis from the last on, saw (1, 2)",
    ),
    "columns": (
        lambda: nn.Fold((4, 5), 2)(ones(1, 8, 11)),
        ValueError,
        "Fold(output_size=(4, 5)): (3, 4) windows fit, that is 12, but the input has 11 columns, shape (1, 8, 11)",
    ),
    "places": (lambda: nn.Fold(4, 2)(ones(1, 9, 9)), ValueError, "Fold: the input must have shape (N, C * 4, L) or"),
    "window": (lambda: nn.Unfold(5)(ones(1, 4, 4)), ValueError, "Unfold: no window of (5, 5) fits into the input's"),
    "unfold axes": (lambda: nn.Unfold(2)(ones(4, 4)), ValueError, "Unfold: the input must have shape (N, C, H, W)"),
    "unfold dtype": (lambda: F.unfold(pn.ones((1, 4, 4), dtype=pn.int64), 2), TypeError, "Unfold: expected a floating"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_in_words(name):
    wrong, error, words = WRONG[name]
    with pytest.raises(error) as problem:
        wrong()
    assert words in str(problem.value)
