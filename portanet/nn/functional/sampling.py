"""Sampling: the values of images and volumes at places that are computed, with gradients for both."""

from __future__ import annotations

import itertools
import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._arguments import require_dtype, together
from portanet.nn.functional._checks import raw_of
from portanet.nn.functional._constants import floats_like
from portanet.nn.functional.pooling import require_floating
from portanet.nn.functional.resizing import cubic

__all__ = ["affine_grid", "grid_sample"]

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """The places that an affine map sends those of a regular grid to: what `grid_sample` takes.

    grid[n, h, w] = theta[n] (x_w, y_h, 1), where x and y reach from -1 to 1: to the outer edges of the first and last
    places, or with ``align_corners`` to their centres. Jaderberg, Simonyan, Zisserman and Kavukcuoglu 2015, "Spatial
    transformer networks".

    Args:
        theta: matrices of shape (N, 2, 3), or (N, 3, 4) for volumes, of a real floating dtype.
        size: the shape of the images to be sampled: (N, C, H, W), or (N, C, D, H, W).
        align_corners: whether -1 and 1 are the centres of the outermost places rather than their edges.

    Returns:
        of shape (N, H, W, 2), in the order x, y, or (N, D, H, W, 3), in the order x, y, z.

    Raises:
        ValueError: the shape of ``theta`` does not go with ``size``.
        TypeError: the dtype is not real floating, or a size is no whole number.

    >>> import portanet
    >>> theta = portanet.asarray([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> portanet.nn.functional.affine_grid(theta, (1, 1, 1, 2))
    tensor([[[[-0.5,  0. ],
              [ 0.5,  0. ]]]])
    """
    xp, raw = namespace_of(theta), raw_of(theta)
    require_floating("affine_grid", raw, real=True)
    if not isinstance(size, (tuple, list)) or any([type(n) is not int for n in size]):
        raise TypeError(f"affine_grid: size must be whole numbers (N, C, H, W) or (N, C, D, H, W), saw {size!r}.")
    axes = len(size) - 2
    if axes not in (2, 3) or min(size) < 1:
        raise ValueError(f"affine_grid: size must be a shape (N, C, H, W) or (N, C, D, H, W), saw {tuple(size)}.")
    if tuple(raw.shape) != (size[0], axes, axes + 1):
        raise ValueError(
            f"affine_grid: for size={tuple(size)} theta must have shape {(size[0], axes, axes + 1)}, saw "
            f"{tuple(raw.shape)}."
        )
    ones = (1,) * axes
    grid = xp.reshape(theta[:, :, axes], (size[0], *ones, axes))
    for k in range(axes):  # x, of the last axis, is the first
        n = size[-1 - k]
        places = [2 * i / (n - 1) - 1 if n > 1 else 0.0 for i in range(n)]
        if not align_corners:
            places = [(2 * i + 1) / n - 1 for i in range(n)]
        along = xp.reshape(floats_like(theta, places), (1, *ones[k + 1 :], n, *ones[:k], 1))
        grid = grid + along * xp.reshape(theta[:, :, k], (size[0], *ones, axes))
    return grid


def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Any:
    """The values of images at the places of a grid, interpolated.

    A place is x along the last axis and y along the one before, each from -1 to 1: from the outer edge of the first
    value to that of the last, or with ``align_corners`` from centre to centre. A place that is nan counts as -1.

    Args:
        input: images (N, C, H, W) or volumes (N, C, D, H, W), of a real floating dtype.
        grid: places (N, H', W', 2), in the order x, y, or (N, D', H', W', 3), in the order x, y, z; of the same dtype.
        mode: ``"bilinear"``: between the neighbours in straight lines, for volumes along all three axes;
            ``"nearest"``: the nearest value, with no gradient for the grid; ``"bicubic"``: between four neighbours along
            each axis of an image, as in `interpolate`.
        padding_mode: what is beyond the edges. ``"zeros"``: zeros; ``"border"``: the outermost values;
            ``"reflection"``: the values themselves, reflected at the edges as often as needed.
        align_corners: whether -1 and 1 are the centres of the outermost values rather than their edges.

    Returns:
        of shape (N, C, H', W') or (N, C, D', H', W').

    Raises:
        ValueError: the shapes do not go together, or a mode is unknown.
        TypeError: the dtypes differ or are not real floating.

    >>> import portanet
    >>> image = portanet.asarray([[[[1.0, 3.0]]]])
    >>> portanet.nn.functional.grid_sample(image, portanet.asarray([[[[0.0, 0.0], [0.5, 0.0]]]]))
    tensor([[[[2., 3.]]]])
    """
    input, grid = together("grid_sample", input, grid)
    xp, x = namespace_of(input), raw_of(input)
    require_floating("grid_sample", x, real=True)
    require_dtype("grid_sample", "grid", grid, input)
    axes = x.ndim - 2
    if axes not in (2, 3) or min(x.shape[2:]) < 1:
        raise ValueError(
            "grid_sample: the input must have shape (N, C, H, W) or (N, C, D, H, W), with at least one place along each "
            f"axis, saw {tuple(x.shape)}."
        )
    if grid.ndim != x.ndim or grid.shape[0] != x.shape[0] or grid.shape[-1] != axes:
        places = "H', W'" if axes == 2 else "D', H', W'"
        raise ValueError(
            f"grid_sample: for an input of shape {tuple(x.shape)} the grid must have shape ({x.shape[0]}, {places}, "
            f"{axes}), saw {tuple(grid.shape)}."
        )
    if mode not in MODES or (mode == "bicubic" and axes == 3):
        raise ValueError(f"grid_sample: mode must be one of {MODES}, 'bicubic' for images alone, saw {mode!r}.")
    if padding_mode not in PADDINGS:
        raise ValueError(f"grid_sample: padding_mode must be one of {PADDINGS}, saw {padding_mode!r}.")
    along = []
    for k, n in enumerate(x.shape[2:]):
        place = grid[(*[slice(None)] * (axes + 1), axes - 1 - k)]
        along.append(_taps(xp, place, n, mode, padding_mode, bool(align_corners)))
    return _gathered(xp, input, along)


# ---------------------------------------------------------------------------------------------------------------------


def _taps(xp: Any, place: Any, n: int, mode: str, padding: str, align: bool) -> list[tuple[Any, Any]]:
    """The neighbours along one axis of n values: for each their places, as integers, and their weights."""
    known = xp.isfinite(place) if padding == "reflection" else place == place
    place = xp.where(known, place, xp.full_like(place, -1.0))
    at = (place + 1) * ((n - 1) / 2) if align else ((place + 1) * n - 1) * 0.5
    if mode == "nearest":
        return [_inside(xp, xp.round(_padded(xp, at, n, padding, align)), None, n)]
    if mode == "bilinear":
        at = _padded(xp, at, n, padding, align)
        first = xp.floor(at)
        t = at - first
        return [_inside(xp, first, 1 - t, n), _inside(xp, first + 1, t, n)]
    if padding != "reflection":
        at = _clipped(xp, at, -3.0, n + 2.0)  # where all four neighbours are beyond the edge
    first = xp.floor(at)
    weights = cubic(at - first, -0.75)
    return [
        _inside(xp, first + k if padding == "zeros" else _padded(xp, first + k, n, padding, align), w, n)
        for k, w in zip((-1, 0, 1, 2), weights, strict=True)
    ]


def _clipped(xp: Any, at: Any, low: float, high: float) -> Any:
    """``at`` between two numbers, with no gradient at them and beyond."""
    at = xp.where(at > low, at, xp.full_like(at, low))
    return xp.where(at < high, at, xp.full_like(at, high))


def _padded(xp: Any, at: Any, n: int, padding: str, align: bool) -> Any:
    """Where the value is that stands at ``at``, which may be beyond the edges."""
    if padding == "zeros":
        return _clipped(xp, at, -1.0, float(n))  # farther away it is 0 all the same
    if padding == "reflection":
        low, span = (0.0, n - 1.0) if align else (-0.5, float(n))
        if span == 0:
            return xp.zeros_like(at)
        far = xp.abs(at - low)
        rest = xp.remainder(far, span)
        even = xp.remainder(xp.floor(far / span), 2.0) == 0
        at = xp.where(even, rest, span - rest) + low
    return _clipped(xp, at, 0.0, n - 1.0)


def _inside(xp: Any, place: Any, weight: Any, n: int) -> tuple[Any, Any]:
    """The place as an index, and its weight: 0 beyond the edges, where the index is that of another value."""
    inside = (place >= 0) & (place <= n - 1)
    zero = xp.zeros_like(place)
    index = xp.astype(xp.where(inside, place, zero), xp.positions(place).dtype)
    return index, xp.where(inside, xp.ones_like(place) if weight is None else weight, zero)


def _gathered(xp: Any, x: Any, along: list[list[tuple[Any, Any]]]) -> Any:
    """The weighted sum of the values at all combinations of the taps of each axis."""
    batch, channels, size = x.shape[0], x.shape[1], x.shape[2:]
    shape = along[0][0][0].shape
    count = math.prod(shape)
    image = xp.reshape(xp.positions(x) * math.prod(size), (batch, *(1,) * len(size)))
    indices, weights = [], []
    for taps in itertools.product(*along):
        index, weight = taps[0]
        for n, (more, other) in zip(size[1:], taps[1:], strict=True):
            index, weight = index * n + more, weight * other
        indices.append(xp.reshape(index + image, (count,)))
        weights.append(xp.reshape(weight, (count, 1)))
    rows = xp.reshape(xp.moveaxis(x, 1, -1), (batch * math.prod(size), channels))
    seen = xp.reshape(xp.take(rows, xp.concat(indices), axis=0), (len(indices), count, channels))
    y = xp.sum(seen * xp.stack(weights), axis=0)
    return xp.moveaxis(xp.reshape(y, (*shape, channels)), -1, 1)
