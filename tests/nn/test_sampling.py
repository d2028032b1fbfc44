"""Grids and the values at their places, beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.testing import check_gradient
from tests.nn.cases import arrays, assert_close

torch = pytest.importorskip("torch")
F = nn.functional

SIZES = [(2, 3, 4, 5), (2, 3, 1, 2), (1, 1, 5, 1), (2, 3, 2, 3, 4)]


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.filterwarnings("ignore:Since version 1.3.0")
def test_affine_grids_are_pytorchs(size, align, backend):
    axes = len(size) - 2
    theta, g = arrays([(size[0], axes, axes + 1), (size[0], *size[2:], axes)])
    x, t = pn.asarray(theta).requires_grad_(), torch.from_numpy(theta).requires_grad_()
    y, u = F.affine_grid(x, size, align_corners=align), torch.nn.functional.affine_grid(t, size, align_corners=align)
    assert_close(y, u)
    y.backward(pn.asarray(g))
    u.backward(torch.from_numpy(g))
    assert_close(x.grad, t.grad)
    narrow = F.affine_grid(pn.asarray(theta.astype("float32")), list(size), align)
    assert narrow.dtype is pn.float32
    numpy.testing.assert_allclose(narrow.numpy(), u.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_the_affine_grid_of_a_turn_by_hand(backend):
    quarter = pn.asarray([[[0.0, -1.0, 0.25], [1.0, 0.0, 0.0]]])
    assert F.affine_grid(quarter, (1, 1, 2, 2), True).tolist() == [
        [[[1.25, -1.0], [1.25, 1.0]], [[-0.75, -1.0], [-0.75, 1.0]]]
    ]
    image = pn.asarray([[[[1.0, 2.0], [3.0, 4.0]]]])
    quarter = pn.asarray([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    assert F.grid_sample(image, F.affine_grid(quarter, (1, 1, 2, 2))).tolist() == [[[[2.0, 4.0], [1.0, 3.0]]]]


def grids(shape: tuple[int, ...], dtype: str = "float64") -> tuple[Any, Any]:
    """Images and places, a third of these beyond the edges."""
    axes = len(shape) - 2
    x = arrays([shape])[0].astype(dtype)
    grid = numpy.random.default_rng(3).uniform(-1.5, 1.5, (shape[0], *(3, 4, 2)[:axes], axes)).astype(dtype)
    return x, grid


MODES = [
    (mode, padding) for mode in ("bilinear", "nearest", "bicubic") for padding in ("zeros", "border", "reflection")
]
SHAPES = [(2, 3, 4, 5), (1, 2, 1, 3), (2, 2, 3, 2, 4)]
KINDS = [(*kind, shape, align) for kind in MODES for shape in SHAPES for align in (False, True)]
KINDS = [kind for kind in KINDS if kind[0] != "bicubic" or len(kind[2]) == 4]


FEW = [KINDS[0], KINDS[-1], ("bilinear", "reflection", SHAPES[2], False)]  # for those that compile each new shape


@pytest.mark.eager
@pytest.mark.parametrize(("mode", "padding", "shape", "align"), KINDS, ids=str)
def test_samples_and_gradients_are_pytorchs(mode, padding, shape, align, backend):
    samples_are_pytorchs(mode, padding, shape, align)


@pytest.mark.heavy
@pytest.mark.parametrize(("mode", "padding", "shape", "align"), FEW, ids=str)
def test_samples_and_gradients_are_pytorchs_where_shapes_are_compiled(mode, padding, shape, align, backend):
    samples_are_pytorchs(mode, padding, shape, align)


def samples_are_pytorchs(mode: str, padding: str, shape: tuple[int, ...], align: bool) -> None:
    x, grid = grids(shape)
    ours = [pn.asarray(v).requires_grad_() for v in (x, grid)]
    theirs = [torch.from_numpy(v).requires_grad_() for v in (x, grid)]
    y = F.grid_sample(*ours, mode, padding, align)
    u = torch.nn.functional.grid_sample(*theirs, mode, padding, align)
    assert_close(y, u)
    g = arrays([tuple(u.shape)], seed=8)[0]
    y.backward(pn.asarray(g))
    u.backward(torch.from_numpy(g))
    assert_close(ours[0].grad, theirs[0].grad)
    if mode == "nearest":
        assert ours[1].grad is None or not ours[1].grad.numpy().any()
    else:
        assert_close(ours[1].grad, theirs[1].grad)
    narrow = F.grid_sample(*[pn.asarray(v.astype("float32")) for v in (x, grid)], mode, padding, align)
    assert narrow.dtype is pn.float32
    numpy.testing.assert_allclose(narrow.numpy(), u.detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("mode", "padding"), [kind for kind in MODES if kind[0] != "nearest"])
def test_gradients_have_the_order_of_smooth_ones(mode, padding, order, backend):
    x, grid = grids((1, 2, 3, 4))

    def function(x: pn.Tensor, grid: pn.Tensor) -> pn.Tensor:
        return F.grid_sample(x, grid, mode, padding)

    assert check_gradient(function, pn.asarray(x), pn.asarray(grid), order=order, verbose=False).order > 1.8


def test_gradients_in_volumes_are_of_second_order():
    x, grid = grids((1, 2, 2, 3, 2))
    report = check_gradient(F.grid_sample, pn.asarray(x), pn.asarray(grid), order=2, verbose=False)
    assert report.order > 1.8


@pytest.mark.parametrize(("mode", "padding"), MODES)
@pytest.mark.parametrize("align", [False, True])
def test_on_the_borders_between_values_the_samples_are_pytorchs(mode, padding, align):
    """Places at centres, edges and halfway between: ties, and values whose neighbours are beyond the edges."""
    x = arrays([(1, 2, 4, 4)])[0]
    line = numpy.arange(-12, 13) / 4
    grid = numpy.stack(numpy.meshgrid(line, line), axis=-1)[None]
    ours = F.grid_sample(pn.asarray(x), pn.asarray(grid), mode, padding, align)
    assert_close(
        ours, torch.nn.functional.grid_sample(torch.from_numpy(x), torch.from_numpy(grid), mode, padding, align)
    )


def test_samples_by_hand(backend):
    image = pn.asarray([[[[1.0, 2.0, 3.0]]]])
    at = lambda *x: pn.asarray([[[[v, 0.0] for v in x]]])  # noqa: E731
    ends = at(-1.0, 1.0, 0.5)
    assert F.grid_sample(image, ends).tolist() == [[[[0.5, 1.5, 2.75]]]]  # half of it is beyond the edge
    assert F.grid_sample(image, ends, align_corners=True).tolist() == [[[[1.0, 3.0, 2.5]]]]
    assert F.grid_sample(image, at(-5.0, 5.0), padding_mode="border").tolist() == [[[[1.0, 3.0]]]]
    assert F.grid_sample(image, at(-5.0, 5.0), "nearest").tolist() == [[[[0.0, 0.0]]]]
    assert F.grid_sample(image, at(-2.0, 1.5), "nearest", "reflection", True).tolist() == [[[[2.0, 3.0]]]]
    assert F.grid_sample(image, at(0.0), "bicubic", "border").tolist() == [[[[2.0]]]]


@pytest.mark.parametrize(("mode", "padding"), MODES)
def test_what_is_no_number_is_a_place_all_the_same(mode, padding, backend):
    image = pn.asarray(arrays([(1, 2, 3, 4)])[0]).requires_grad_()
    inf, nan = float("inf"), float("nan")
    grid = pn.asarray([[[[nan, 0.0], [-1.0, 0.0], [inf, 0.0], [-inf, 0.25]]]], dtype=pn.float64).requires_grad_()
    y = F.grid_sample(image, grid, mode, padding)
    pn.sum(y).backward()
    values = y.detach().numpy()[0, :, 0, :]
    assert numpy.isfinite(values).all()
    assert numpy.isfinite(image.grad.numpy()).all()
    numpy.testing.assert_array_equal(values[:, 0], values[:, 1])
    if padding == "zeros":
        assert not values[:, 2:].any()
    if mode != "nearest":
        assert grid.grad.numpy()[0, 0, 2:, 0].tolist() == [0.0, 0.0]


def test_nothing_is_sampled_from_no_images(backend):
    assert F.grid_sample(pn.ones((0, 3, 4, 4)), pn.ones((0, 2, 5, 2))).shape == (0, 3, 2, 5)


image, volume = pn.ones((1, 2, 3, 4)), pn.ones((1, 2, 3, 4, 5))

WRONG = {
    "theta": (
        lambda: F.affine_grid(pn.ones((1, 2, 2)), (1, 2, 3, 4)),
        ValueError,
        "affine_grid: for size=(1, 2, 3, 4) theta must have shape (1, 2, 3), saw (1, 2, 2).",
    ),
    "size": (lambda: F.affine_grid(pn.ones((1, 2, 3)), (1, 2, 3)), ValueError, "affine_grid: size must be a shape"),
    "empty size": (lambda: F.affine_grid(pn.ones((1, 2, 3)), (1, 2, 3, 0)), ValueError, "saw (1, 2, 3, 0)"),
    "half a size": (lambda: F.affine_grid(pn.ones((1, 2, 3)), (1, 2, 3, 0.5)), TypeError, "whole numbers (N, C, H, W)"),
    "theta's dtype": (
        lambda: F.affine_grid(pn.ones((1, 2, 3), dtype=pn.int64), (1, 1, 1, 1)), TypeError, "affine_grid: expected a real"
    ),
    "axes": (lambda: F.grid_sample(pn.ones((1, 2, 3)), image), ValueError, "grid_sample: the input must have shape"),
    "nothing there": (lambda: F.grid_sample(pn.ones((1, 2, 0, 3)), image), ValueError, "saw (1, 2, 0, 3)"),
    "grid": (
        lambda: F.grid_sample(image, pn.ones((1, 5, 5, 3))),
        ValueError,
        "grid_sample: for an input of shape (1, 2, 3, 4) the grid must have shape (1, H', W', 2), saw (1, 5, 5, 3).",
    ),
    "grid's batch": (lambda: F.grid_sample(image, pn.ones((2, 5, 5, 2))), ValueError, "saw (2, 5, 5, 2)"),
    "grid's axes": (lambda: F.grid_sample(volume, pn.ones((1, 5, 5, 3))), ValueError, "(1, D', H', W', 3), saw"),
    "mode": (lambda: F.grid_sample(image, pn.ones((1, 5, 5, 2)), "linear"), ValueError, "mode must be one of"),
    "cubic volume": (
        lambda: F.grid_sample(volume, pn.ones((1, 5, 5, 5, 3)), "bicubic"), ValueError, "'bicubic' for images alone"
    ),
    "padding": (lambda: F.grid_sample(image, pn.ones((1, 5, 5, 2)), padding_mode="wrap"), ValueError, "saw 'wrap'"),
    "dtype": (lambda: F.grid_sample(pn.ones((1, 2, 3, 4), dtype=pn.int64), image), TypeError, "grid_sample: expected a"),
    "dtypes": (
        lambda: F.grid_sample(image, pn.ones((1, 5, 5, 2), dtype=pn.float64)),
        TypeError,
        "grid_sample: the grid is float64, the input float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_in_words(name):
    wrong, error, words = WRONG[name]
    with pytest.raises(error) as problem:
        wrong()
    assert words in str(problem.value)


def test_the_functions_take_raw_arrays(backend):
    x, grid = [pn.asarray(v) for v in grids((2, 3, 4, 5))]
    assert type(F.grid_sample(x.array, grid.array)) is type(x.array)
    assert isinstance(F.grid_sample(x.array, grid), pn.Tensor)
    assert type(F.affine_grid(pn.ones((1, 2, 3)).array, (1, 2, 3, 4))) is type(x.array)
