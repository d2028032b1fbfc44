"""VJPs of sums, products, extrema and their running forms."""

from __future__ import annotations

import math
from typing import Any


def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    """The axes that ``axis=`` names, counted from 0; all of them for None."""
    if axis is None:
        return tuple(range(x.ndim))
    return tuple([a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))])


def kept(xp: Any, g: Any, x: Any, axis: Any) -> Any:
    """``g`` with the reduced axes back as axes of length 1, whether or not keepdims was given."""
    axes = axes_of(x, axis)
    return xp.reshape(g, tuple([1 if i in axes else n for i, n in enumerate(x.shape)]))


def _sum(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, **_: Any) -> Any:
    return xp.broadcast_to(kept(xp, g, x, axis), x.shape)


def _count(x: Any, axis: Any) -> int:
    return math.prod([x.shape[a] for a in axes_of(x, axis)])


def _mean(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, **_: Any) -> Any:
    return xp.broadcast_to(kept(xp, g / _count(x, axis), x, axis), x.shape)


def _extremum(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, **_: Any) -> Any:
    # Ties share alike: each direction out of a tie is then treated the same.
    chosen = xp.astype(x == kept(xp, y, x, axis), g.dtype)
    return chosen * kept(xp, g, x, axis) / xp.sum(chosen, axis=axis, keepdims=True)


def _var(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, correction: float = 0.0, **_: Any) -> Any:
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    freedom = _count(x, axis) - correction
    if freedom <= 0:  # the variance of one value, corrected, is nan; so is its derivative
        return xp.full_like(x, math.nan)
    return kept(xp, g, x, axis) * centred * (2.0 / freedom)


def _std(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, correction: float = 0.0, **_: Any) -> Any:
    flat = y == 0
    scaled = xp.where(flat, xp.zeros_like(g), g / xp.where(flat, xp.ones_like(y), 2 * y))
    return _var(xp, scaled, y, x, axis=axis, correction=correction)


def _exclusive_products(xp: Any, x: Any) -> Any:
    """Along the last axis: the product of all elements but this one, without dividing, so that zeros may occur."""
    one = xp.ones_like(x[..., :1])
    left = xp.cumulative_prod(xp.concat([one, x[..., :-1]], axis=-1), axis=-1)
    right = xp.flip(xp.cumulative_prod(xp.concat([one, xp.flip(x, axis=-1)[..., :-1]], axis=-1), axis=-1), axis=-1)
    return left * right


def _prod(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, **_: Any) -> Any:
    if math.prod(x.shape) == 0:
        return xp.zeros_like(x)
    axes = axes_of(x, axis)
    order = [i for i in range(x.ndim) if i not in axes] + list(axes)
    moved = xp.permute_dims(x, tuple(order))
    flat = xp.reshape(moved, (*moved.shape[: x.ndim - len(axes)], -1))
    others = xp.reshape(_exclusive_products(xp, flat), moved.shape)
    back = tuple([order.index(i) for i in range(x.ndim)])
    return kept(xp, g, x, axis) * xp.permute_dims(others, back)


def _running_axis(x: Any, axis: int | None) -> int:
    return 0 if axis is None else axis % x.ndim


def _cumulative_sum(
    xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, include_initial: bool = False, **_: Any
) -> Any:
    axis = _running_axis(x, axis)
    back = xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis)
    return _without_first(back, axis) if include_initial else back


def _without_first(x: Any, axis: int) -> Any:
    return x[(slice(None),) * axis + (slice(1, None),) + (slice(None),) * (x.ndim - axis - 1)]


def _cumulative_prod(
    xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, include_initial: bool = False, **_: Any
) -> Any:
    """g_i -> (product before i) * r_i with r_i = g_i + x_{i+1} r_{i+1}: no division, so zeros are no exception.

    The recurrence is solved by doubling, in log2(n) steps of whole-array operations.
    """
    axis = _running_axis(x, axis)
    if include_initial:
        g = _without_first(g, axis)
    if math.prod(x.shape) == 0:
        return xp.zeros_like(x)
    x, g = xp.moveaxis(x, axis, -1), xp.moveaxis(g, axis, -1)
    zero, one = xp.zeros_like(x[..., :1]), xp.ones_like(x[..., :1])
    before = xp.cumulative_prod(xp.concat([one, x[..., :-1]], axis=-1), axis=-1)
    factor, total = xp.concat([x[..., 1:], zero], axis=-1), g
    step = 1
    while step < x.shape[-1]:
        padding = xp.zeros_like(x[..., :step])
        total = total + factor * xp.concat([total[..., step:], padding], axis=-1)
        factor = factor * xp.concat([factor[..., step:], padding], axis=-1)
        step *= 2
    return xp.moveaxis(before * total, -1, axis)


VJPS: dict[str, Any] = {
    "sum": (_sum,),
    "mean": (_mean,),
    "prod": (_prod,),
    "max": (_extremum,),
    "min": (_extremum,),
    "var": (_var,),
    "std": (_std,),
    "cumulative_sum": (_cumulative_sum,),
    "cumulative_prod": (_cumulative_prod,),
}
