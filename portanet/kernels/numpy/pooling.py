"""Pooling for NumPy. Where windows neither overlap nor reach beyond the array, one axis is pooled after the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from portanet.kernels.generic import convolution as generic
from portanet.kernels.numpy._numba import Routine
from portanet.kernels.numpy._windows import SHORT, Ints, Pairs, channels_first, channels_last
from portanet.library import namespace_of

__all__ = ["avg_pool", "avg_pool_backward", "max_pool", "max_pool_backward"]

PORTION = 1 << 16  # numbers that are worth a thread in a compiled loop


def _is_tiling(kernel: Ints, stride: Ints, padding: Pairs) -> bool:
    """Whether each value is in one window at most, and windows hold nothing but values."""
    return kernel == stride and not any([before or after for before, after in padding])


def _part(ndim: int, axis: int, start: int, stop: int | None, step: int) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, slice(start, stop, step), *[slice(None)] * (ndim - axis - 1))


def _folded(fold: Any, x: Any, axis: int, k: int) -> Any:
    """Each ``k`` neighbours along ``axis`` put together by ``fold``; what is left over at the end is left out."""
    end = x.shape[axis] // k * k
    y = x[_part(x.ndim, axis, 0, end, k)]
    for t in range(1, k):
        seen = x[_part(x.ndim, axis, t, end, k)]
        y = fold(y, seen) if t == 1 else fold(y, seen, out=y)
    return y


def max_pool(x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    if x.size == 0 or not (_is_tiling(kernel, stride, padding) and max(dilation) == 1):
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        return generic.max_pool(namespace_of(x), x, **how)
    y = x
    for axis in range(x.ndim - 1, 1, -1):
        y = _folded(np.maximum, y, axis, kernel[axis - 2])
    return np.array(y) if np.may_share_memory(y, x) else y  # windows of one value: not a view of the caller's array


def max_pool_backward(g: Any, y: Any, x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    if g.strides != y.strides:  # in memory as y is: ufuncs over arrays of two orders are slow
        g, given = np.empty_like(y), g
        g[...] = given
    if x.size > 0 and _is_tiling(kernel, stride, padding) and max(dilation) == 1:
        found = _unpooled_by_loop(g, y, x) if kernel == (2, 2) else None
        return _unpooled(g, y, x, kernel, 2) if found is None else found
    before = tuple([b for b, _ in padding])
    size = tuple([n + b + a for n, (b, a) in zip(x.shape[2:], padding, strict=True)])
    inside = generic._inside(x.shape[2:], padding)
    wide = x
    if any(before) or size != x.shape[2:]:
        wide = _zeros_like(x, size)
        wide.fill(-math.inf)
        wide[inside] = x
    dx = _zeros_like(x, size)
    free = np.ones_like(y, dtype=bool)  # the windows that have not given theirs away
    for tap in generic._taps(kernel):
        key = generic._key(tap, y.shape[2:], stride, dilation)
        chosen = np.less(wide[key], y)
        np.greater(free, chosen, out=chosen)
        np.logical_xor(free, chosen, out=free)
        dx[key] += np.multiply(g, chosen)
    return dx[inside]


def _zeros_like(x: Any, size: Ints) -> Any:
    """Zeros with other lengths of the spatial axes, in memory as ``x`` is."""
    if channels_last(x).flags.c_contiguous:
        return channels_first(np.zeros((x.shape[0], *size, x.shape[1]), x.dtype))
    return np.zeros((*x.shape[:2], *size), x.dtype)


_planes, _channels = [Routine("_pool_loops", name) for name in ("planes", "channels")]


def _unpooled_by_loop(g: Any, y: Any, x: Any) -> Any:
    """The way back of windows of 2 x 2, or None where no compiled loop is at hand for them."""
    last = not x.flags.c_contiguous
    if not all([(channels_last(a) if last else a).flags.c_contiguous for a in (g, y, x)]):
        return None
    loop = (_channels if last else _planes).at_hand(x.size, g, y, x)
    if loop is None:
        return None
    odd = any([n % 2 for n in x.shape[2:]])
    dx = np.zeros_like(x) if odd else np.empty_like(x)  # the last of an odd number are in no window
    arrays = [channels_last(a) if last else a.reshape(-1, *a.shape[2:]) for a in (g, y, x, dx)]
    loop.over(len(arrays[0]), x.size // PORTION, lambda i, j: [a[i:j] for a in arrays])
    return dx


def _unpooled(g: Any, y: Any, x: Any, kernel: Ints, axis: int) -> Any:
    """The way back of windows that tile: along ``axis`` to the first of the largest, then on along the axes after it."""
    k = kernel[axis - 2]
    lines = x
    for later in range(x.ndim - 1, axis, -1):  # the largest of each line of the window
        lines = _folded(np.maximum, lines, later, kernel[later - 2])
    end = x.shape[axis] // k * k
    dx = np.empty_like(x) if end == x.shape[axis] else np.zeros_like(x)
    free: Any = None
    for t in range(k):
        part = _part(x.ndim, axis, t, end, k)
        if t == k - 1:  # what no line before took
            chosen = np.ones_like(y, dtype=bool) if free is None else free
        else:
            less = np.less(lines[part], y)
            chosen = np.logical_not(less) if free is None else np.greater(free, less)
            free = less if free is None else np.logical_and(free, less, out=free)
        if axis == x.ndim - 1:
            np.multiply(g, chosen, out=dx[part])
        else:
            dx[part] = _unpooled(np.multiply(g, chosen), lines[part], x[part], kernel, axis + 1)
    return dx


def avg_pool(x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, counted: Pairs, divisor: int | None) -> Any:
    if x.size == 0 or not _is_tiling(kernel, stride, padding):
        how: dict[str, Any] = {
            "kernel": kernel,
            "stride": stride,
            "padding": padding,
            "counted": counted,
            "divisor": divisor,
        }
        return generic.avg_pool(namespace_of(x), x, **how)
    if kernel == x.shape[2:]:
        y = np.add.reduce(x, axis=tuple(range(2, x.ndim)), keepdims=True)
    else:
        y = x
        for axis in range(x.ndim - 1, 1, -1):
            y = _folded(np.add, y, axis, kernel[axis - 2])
    return np.multiply(y, y.dtype.type(1 / (divisor or math.prod(kernel))))


def avg_pool_backward(
    g: Any, *, size: Ints, kernel: Ints, stride: Ints, padding: Pairs, counted: Pairs, divisor: int | None
) -> Any:
    wide = tuple([n + b + a for n, (b, a) in zip(size, padding, strict=True)])
    first = g.shape[1] * g.itemsize < SHORT
    shape = (*g.shape[:2], *wide) if first else (g.shape[0], *wide, g.shape[1])
    tiling = _is_tiling(kernel, stride, padding)
    full = tiling and all([n == m * k for n, m, k in zip(size, g.shape[2:], kernel, strict=True)])
    dx = np.empty(shape, g.dtype) if full else np.zeros(shape, g.dtype)
    dx = dx if first else channels_first(dx)
    g = np.divide(g, generic._divisors(namespace_of(g), g, size, kernel, stride, padding, counted, divisor))
    if full and math.prod(g.shape[2:]) == 1:
        dx[...] = g
        return dx
    one = (1,) * len(kernel)
    for tap in generic._taps(kernel):
        key = generic._key(tap, g.shape[2:], stride, one)
        if tiling:
            dx[key] = g
        else:
            dx[key] += g
    return dx[generic._inside(size, padding)]
