"""Where the largest value of each window is, for windows of any form that is a product over the axes.

Such windows are given by rows: for each spatial axis a list of index arrays, the k-th of which names the k-th place of
every window along that axis. Of shape (m,) it holds for all channels, of shape (N, C, m) each has its own. A window
that has fewer places than others names one of them again.
"""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._checks import raw_of
from portanet.nn.functional._constants import indices_like
from portanet.nn.functional._windows import Ints, Pairs
from portanet.tensor import Tensor

Rows = list[list[Any]]


def rows_of(x: Any, windows: list[list[list[int]]]) -> Rows:
    """The rows, beside the raw array ``x``, of windows given as lists of their places, one list for each axis."""
    rows = []
    for along in windows:
        longest = max([len(places) for places in along])
        full = [places + places[-1:] * (longest - len(places)) for places in along]
        rows.append([indices_like(x, [places[k] for places in full]) for k in range(longest)])
    return rows


def strided_windows(
    size: Ints, counts: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> list[list[list[int]]]:
    """The places of windows that move by ``stride``, those in the padding left out."""
    windows = []
    for n, m, k, s, (before, _), d in zip(size, counts, kernel, stride, padding, dilation, strict=True):
        along = []
        for i in range(m):
            places = [p for p in range(i * s - before, i * s - before + d * k, d) if 0 <= p < n]
            along.append(places or [min(max(i * s - before, 0), n - 1)])  # a dilated window may miss all values
        windows.append(along)
    return windows


def places_of_largest(x: Any, rows: Rows) -> Any:
    """The place of each window's largest value, counted row by row through the spatial axes: the first where several are.

    A nan counts as the largest. One axis is searched after the other, the last first, so that ties go to the place
    that is first in that order. Shapes: a raw array x (N, C, *size) -> integers (N, C, *windows).
    """
    xp = namespace_of(x)
    best, place, step = x, None, 1
    for axis in range(x.ndim - 1, 1, -1):
        value: Any = None
        found: Any = None
        for index in rows[axis - 2]:
            seen = _picked(xp, best, axis, index)
            at = _column(xp, index * step, axis, x.ndim)
            at = xp.broadcast_to(at, seen.shape) if place is None else _picked(xp, place, axis, index) + at
            if value is None:
                value, found = seen, at
            else:
                better = (seen > value) | (seen != seen)
                value, found = xp.where(better, seen, value), xp.where(better, at, found)
        best, place = value, found
        step *= x.shape[axis]
    return place


def _column(xp: Any, index: Any, axis: int, ndim: int) -> Any:
    """The indices with axes of length 1 where windows have others."""
    before = (*index.shape[:-1], *(1,) * (axis - 2)) if index.ndim > 1 else ()
    return xp.reshape(index, (*before, index.shape[-1], *(1,) * (ndim - 1 - axis)))


def _picked(xp: Any, x: Any, axis: int, index: Any) -> Any:
    if index.ndim == 1:
        return xp.take(x, index, axis=axis)
    shape = (*x.shape[:axis], index.shape[-1], *x.shape[axis + 1 :])
    return xp.take_along_axis(x, xp.broadcast_to(_column(xp, index, axis, x.ndim), shape), axis=axis)


def largest(input: Any, rows: Rows) -> tuple[Any, Any]:
    """The largest value of each window, and its place as `places_of_largest` counts; the gradient goes there alone.

    Shapes: (N, C, *size) -> twice (N, C, *windows).
    """
    xp = namespace_of(input)
    places = like(input, places_of_largest(raw_of(input), rows))
    ends = (*input.shape[:2], math.prod(input.shape[2:])), (*input.shape[:2], math.prod(places.shape[2:]))
    values = xp.take_along_axis(xp.reshape(input, ends[0]), xp.reshape(places, ends[1]), axis=2)
    return xp.reshape(values, places.shape), places


def like(input: Any, raw: Any) -> Any:
    """A raw array as a Tensor where ``input`` is one."""
    return Tensor(raw) if isinstance(input, Tensor) else raw


def answer(values: Any, places: Any, batched: bool, return_indices: bool) -> Any:
    """What a pool returns: the values, with their places where asked, without the batch axis where none came."""
    xp = namespace_of(values)
    results = [values, places] if return_indices else [values]
    if not batched:
        results = [xp.squeeze(x, axis=0) for x in results]
    return tuple(results) if return_indices else results[0]
