"""Resizing beside PyTorch's: every mode, by lengths and by factors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn.functional import resizing
from portanet.testing import check_gradient
from tests.nn.cases import arrays, assert_close, case, compared, compared_in_float32, printed_alike, proved
from tests.oracle import of_newest

torch = pytest.importorskip("torch")
F = nn.functional

NEAREST = [
    case("Upsample", scale_factor=2, shapes=[(2, 3, 5)]),
    case("Upsample", 7, shapes=[(2, 3, 5)]),
    case("Upsample", (3, 9), shapes=[(2, 3, 5, 4)]),
    case("Upsample", scale_factor=(1.5, 0.7), mode="nearest-exact", shapes=[(2, 3, 5, 4)]),
    case("Upsample", scale_factor=2.3, recompute_scale_factor=True, shapes=[(2, 3, 5, 4)]),
    case("Upsample", scale_factor=(2, 1, 3), shapes=[(1, 2, 2, 3, 2)]),
    case("Upsample", (3, 2, 5), None, "nearest-exact", shapes=[(1, 2, 2, 3, 2)]),
    case("Upsample", scale_factor=2, shapes=[(0, 3, 5, 4)]),
    case("UpsamplingNearest2d", scale_factor=2, shapes=[(2, 3, 5, 4)]),
    case("UpsamplingNearest2d", size=(7, 3), shapes=[(2, 3, 5, 4)]),
]

LINES = [
    case("Upsample", 7, mode="linear", shapes=[(2, 3, 5)]),
    case("Upsample", 7, mode="linear", align_corners=True, shapes=[(2, 3, 1)]),
    case("Upsample", 1, mode="linear", align_corners=True, shapes=[(2, 3, 5)]),
    case("Upsample", scale_factor=1.3, mode="linear", shapes=[(2, 3, 3)]),
    case("Upsample", scale_factor=2.3, mode="linear", shapes=[(2, 3, 5)]),
    case("Upsample", scale_factor=2.3, mode="linear", recompute_scale_factor=True, shapes=[(2, 3, 5)]),
    case("Upsample", scale_factor=2, mode="bilinear", shapes=[(2, 3, 5, 4)]),
    case("Upsample", (3, 9), mode="bilinear", align_corners=False, shapes=[(2, 3, 5, 4)]),
    case("Upsample", (3, 4), mode="bilinear", align_corners=True, shapes=[(2, 3, 5, 4)]),
    case("Upsample", 2, mode="bilinear", shapes=[(0, 3, 5, 4)]),
    case("Upsample", (7, 2), mode="bicubic", shapes=[(2, 3, 5, 4)]),
    case("Upsample", scale_factor=(1.7, 0.6), mode="bicubic", align_corners=False, shapes=[(2, 3, 5, 4)]),
    case("Upsample", scale_factor=2, mode="bicubic", align_corners=True, shapes=[(2, 3, 1, 4)]),
    case("Upsample", (3, 2, 5), mode="trilinear", shapes=[(2, 3, 2, 4, 3)]),
    case("Upsample", scale_factor=1.6, mode="trilinear", align_corners=True, shapes=[(1, 2, 2, 3, 4)]),
    case("Upsample", 3, mode="area", shapes=[(2, 3, 5)]),
    case("Upsample", scale_factor=(0.7, 2), mode="area", shapes=[(2, 3, 5, 4)]),
    case("Upsample", (2, 2, 1), mode="area", shapes=[(2, 3, 2, 4, 3)]),
    case("UpsamplingBilinear2d", scale_factor=2, shapes=[(2, 3, 5, 4)]),
    case("UpsamplingBilinear2d", size=7, shapes=[(2, 3, 5, 4)]),
]

CASES = [*NEAREST, *LINES]


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [one for one in CASES if 0 not in one.inputs[0]], ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


SMOOTHED: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9, 7), {"size": (3, 5), "mode": "bilinear"}),
    ((2, 3, 9, 7), {"size": (4, 13), "mode": "bilinear", "align_corners": True}),
    ((2, 3, 9, 7), {"scale_factor": (0.3, 0.8), "mode": "bilinear"}),
    ((2, 3, 9, 7), {"size": (3, 5), "mode": "bicubic"}),
    ((2, 3, 9, 7), {"size": (2, 7), "mode": "bicubic", "align_corners": True}),
    ((2, 3, 9, 7), {"scale_factor": 1.7, "mode": "bicubic"}),
    ((2, 3, 9, 7), {"size": (3, 10), "mode": "lanczos"}),
    ((2, 3, 9, 7), {"scale_factor": 0.4, "mode": "lanczos"}),
    ((1, 1, 1, 20), {"size": (1, 3), "mode": "lanczos"}),
]


def smoothed(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    x = arrays([shape])[0]
    ours, theirs = pn.asarray(x).requires_grad_(), torch.from_numpy(x).requires_grad_()
    y, u = (
        F.interpolate(ours, antialias=True, **options),
        torch.nn.functional.interpolate(theirs, antialias=True, **options),
    )
    assert_close(y, u)
    g = arrays([tuple(u.shape)], seed=4)[0]
    y.backward(pn.asarray(g))
    u.backward(torch.from_numpy(g))
    assert_close(ours.grad, theirs.grad)


@of_newest
@pytest.mark.heavy
@pytest.mark.parametrize(("shape", "options"), SMOOTHED, ids=str)
def test_antialias_is_pytorchs(shape, options, backend):
    smoothed(shape, options)


@pytest.mark.parametrize("order", [1, 2])
def test_antialias_has_gradients_of_smooth_ones(order):
    def function(x: pn.Tensor) -> pn.Tensor:
        return F.interpolate(x, size=(2, 5), mode="bicubic", antialias=True) ** 3

    x = pn.asarray(arrays([(1, 2, 5, 4)])[0])
    assert check_gradient(function, x, order=order, verbose=False).order > 1.8


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_on_the_border_between_two_values_the_nearest_is_pytorchs(mode, dtype):
    """Where in exact numbers a place lies on the border, rounding decides: it must be PyTorch's in each precision."""
    exact = mode == "nearest-exact"
    for n in range(1, 40):
        x = torch.arange(n, dtype=getattr(torch, dtype)).reshape(1, 1, n)
        by_length = [(m, None) for m in range(1, 40)]
        by_factor = [(int(n * k / 10), k / 10) for k in range(1, 30, 3) if int(n * k / 10) > 0]
        for m, factor in itertools.chain(by_length, by_factor):
            how = {"size": m} if factor is None else {"scale_factor": factor}
            expected = torch.nn.functional.interpolate(x, mode=mode, **how).flatten().int().tolist()
            step = n / m if factor is None else 1 / factor
            assert list(resizing.nearest(n, m, step, exact, dtype == "float32")) == expected, (n, m, factor)


@pytest.mark.parametrize("mode", ["linear", "linear align", "bicubic", "bicubic align"])
@pytest.mark.parametrize("by", ["length", "factor"])
def test_many_lengths_are_pytorchs(mode, by):
    """Values alone: where a factor leaves both lengths as they were, PyTorch's bicubic moves values and not gradients."""
    word, align = mode.split()[0], mode.endswith("align")
    for n in range(1, 9):
        x = arrays([(1, 1, n) if word == "linear" else (1, 1, n, 3)])[0]
        for k in range(1, 14):
            how = {"size": k} if by == "length" else {"scale_factor": k / 4}
            if by == "factor" and int(x.shape[-1] * k / 4) * int(n * k / 4) < 1:
                continue
            how |= {"mode": word, "align_corners": align}
            ours, theirs = (
                F.interpolate(pn.asarray(x), **how),
                torch.nn.functional.interpolate(torch.from_numpy(x), **how),
            )
            assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["upsample", "upsample_nearest", "upsample_bilinear"])
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_older_names_are_pytorchs(name, backend):
    x = arrays([(2, 3, 5, 4)])[0]
    for how in ({"size": (3, 7)}, {"scale_factor": 2}):
        ours, theirs = (
            getattr(F, name)(pn.asarray(x), **how),
            getattr(torch.nn.functional, name)(torch.from_numpy(x), **how),
        )
        assert_close(ours, theirs)


def test_values_by_hand(backend):
    x = pn.asarray([[[0.0, 4.0, 8.0]]])
    assert F.interpolate(x, 6).tolist() == [[[0.0, 0.0, 4.0, 4.0, 8.0, 8.0]]]
    assert F.interpolate(x, 2).tolist() == [[[0.0, 4.0]]]
    assert F.interpolate(x, 2, mode="nearest-exact").tolist() == [[[0.0, 8.0]]]
    assert F.interpolate(x, 6, mode="linear").tolist() == [[[0.0, 1.0, 3.0, 5.0, 7.0, 8.0]]]
    assert F.interpolate(x, 5, mode="linear", align_corners=True).tolist() == [[[0.0, 2.0, 4.0, 6.0, 8.0]]]
    assert F.interpolate(x, 1, mode="area").tolist() == [[[4.0]]]
    # Halfway between 0, 0, 1 and 0: the cubic with a = -0.75 has (a / 8, 1/2 - a / 8, 1/2 - a / 8, a / 8) there.
    y = F.interpolate(pn.asarray([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]]), (1, 9), mode="bicubic", align_corners=True)
    numpy.testing.assert_allclose(y.numpy()[0, 0, 0], [0, -0.09375, 0, 0.59375, 1, 0.59375, 0, -0.09375, 0], atol=1e-7)
    # Half as long: each place is a mean over twice as far, by a triangle with weights 1/8, 3/8, 3/8, 1/8.
    y = F.interpolate(
        pn.asarray([[[[0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0]]]]), (1, 4), mode="bilinear", antialias=True
    )
    numpy.testing.assert_allclose(y.numpy()[0, 0, 0], [0, 3, 1, 0], atol=1e-6)


def test_the_nearest_value_may_be_of_any_dtype(backend):
    labels = pn.asarray([[[3, 5, 9]]])
    assert F.interpolate(labels, 6).tolist() == [[[3, 3, 5, 5, 9, 9]]]
    assert F.interpolate(labels, 2).dtype is labels.dtype
    assert F.interpolate(labels > 3, 2).tolist() == [[[False, True]]]


@pytest.mark.parametrize("name", ["numpy", "jax"])  # as one graph of PyTorch too, but that takes a minute to compile
def test_a_compiled_step_resizes_too(name):
    pytest.importorskip(name)

    def step(x: pn.Tensor) -> pn.Tensor:
        y = F.interpolate(x, scale_factor=2, mode="bilinear") + F.interpolate(x, size=(8, 10))
        values, places = F.max_pool2d(y, 2, return_indices=True)
        return F.max_unpool2d(values, places, 2)

    with pn.use_backend(name):
        compiled = pn.compile(step)
        for seed in range(3):
            x = pn.asarray(arrays([(2, 3, 4, 5)], seed)[0])
            numpy.testing.assert_allclose(compiled(x).numpy(), step(x).numpy(), rtol=1e-12, atol=1e-12)


x1, x2 = pn.ones((1, 2, 4)), pn.ones((1, 2, 4, 4))

WRONG = {
    "neither": (lambda: nn.Upsample()(x2), ValueError, "interpolate: one of size and scale_factor must be given"),
    "both": (lambda: F.interpolate(x2, 2, 2), ValueError, "saw size=2 and scale_factor=2"),
    "mode": (
        lambda: F.interpolate(x2, 2, mode="linear"),
        ValueError,
        "interpolate: mode='linear' is none for an input of shape (1, 2, 4, 4), read as (N, C, ...); there are 'nearest'",
    ),
    "axes": (lambda: F.interpolate(pn.ones((2, 3)), 2), ValueError, "it must have 1 to 3 spatial axes"),
    "corners": (lambda: F.interpolate(x1, 2, align_corners=True), ValueError, "has no meaning for mode='nearest'"),
    "antialias": (lambda: F.interpolate(x1, 2, mode="linear", antialias=True), ValueError, "antialias=True is possible"),
    "lanczos": (lambda: F.interpolate(x2, 2, mode="lanczos"), ValueError, "mode='lanczos' needs antialias=True"),
    "nothing left": (lambda: F.interpolate(x1, scale_factor=0.1), ValueError, "lengths (4,) would become (0,)"),
    "nothing there": (lambda: F.interpolate(pn.ones((1, 2, 0)), 2), ValueError, "lengths (0,) would become (2,)"),
    "lengths": (lambda: F.interpolate(x2, (2, 3, 4)), TypeError, "size must be a whole number or 2 of them, saw (2, 3, 4)"),
    "half a length": (lambda: F.interpolate(x2, 2.5), TypeError, "size must be a whole number or 2 of them, saw 2.5"),
    "factors": (lambda: F.interpolate(x2, scale_factor=(2.0,)), ValueError, "a positive number or 2 of them, saw (2.0,)"),
    "negative": (lambda: F.interpolate(x2, scale_factor=-1), ValueError, "scale_factor must be a positive number"),
    "recompute": (lambda: F.interpolate(x2, 2, recompute_scale_factor=True), ValueError, "where the size is given"),
    "dtype": (
        lambda: F.interpolate(pn.ones((1, 2, 4), dtype=pn.int64), 2, mode="linear"),
        TypeError,
        "interpolate: expected a real floating dtype, saw int64",
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
    for mode in ("nearest", "bilinear", "bicubic", "area"):
        assert type(F.interpolate(x, (4, 14), mode=mode)) is type(x)
