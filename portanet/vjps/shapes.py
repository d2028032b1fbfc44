"""VJPs of the functions that move elements about, and join and part arrays."""

from __future__ import annotations

import math
from typing import Any


def _permute_dims(xp: Any, g: Any, y: Any, x: Any, *, axes: Any) -> Any:
    back = [0] * x.ndim
    for i, axis in enumerate(axes):
        back[axis % x.ndim] = i
    return xp.permute_dims(g, tuple(back))


def _concat(xp: Any, g: Any, y: Any, *arrays: Any, axis: Any = 0) -> list[Any]:
    if axis is None:
        pieces, start = [], 0
        for x in arrays:
            size = math.prod(x.shape)
            pieces.append(xp.reshape(g[start : start + size], x.shape))
            start += size
        return pieces
    before = (slice(None),) * (axis % y.ndim)
    after = (slice(None),) * (y.ndim - len(before) - 1)
    pieces, start = [], 0
    for x in arrays:
        stop = start + x.shape[len(before)]
        pieces.append(g[(*before, slice(start, stop), *after)])
        start = stop
    return pieces


def _stack(xp: Any, g: Any, y: Any, *arrays: Any, axis: int = 0) -> list[Any]:
    return list(xp.unstack(g, axis=axis))


def _filled(xp: Any, g: list[Any], y: Any) -> list[Any]:
    """The cotangents of several results, zero where nothing arrived."""
    return [xp.zeros_like(out) if slot is None else slot for slot, out in zip(g, y, strict=True)]


def _unstack(xp: Any, g: list[Any], y: Any, x: Any, *, axis: int = 0) -> Any:
    return xp.stack(_filled(xp, g, y), axis=axis)


def _broadcast_arrays(xp: Any, g: list[Any], y: Any, *arrays: Any) -> list[Any]:
    return list(g)


def _meshgrid(xp: Any, g: list[Any], y: Any, *arrays: Any, indexing: str = "xy") -> list[Any]:
    cotangents: list[Any] = []
    for i, (slot, x) in enumerate(zip(g, arrays, strict=True)):
        axis = 1 - i if indexing == "xy" and i < 2 and len(arrays) > 1 else i
        others = tuple([a for a in range(len(arrays)) if a != axis])
        cotangents.append(None if slot is None else xp.reshape(xp.sum(slot, axis=others), x.shape))
    return cotangents


def _roll(xp: Any, g: Any, y: Any, x: Any, *, shift: Any, axis: Any = None) -> Any:
    back = tuple([-s for s in shift]) if isinstance(shift, tuple) else -shift
    return xp.roll(g, back, axis=axis)


def _repeat(xp: Any, g: Any, y: Any, x: Any, repeats: Any, *, axis: int | None = None) -> Any:
    flat = xp.reshape(x, (-1,)) if axis is None else x
    axis = 0 if axis is None else axis % x.ndim
    if isinstance(repeats, int):
        shape = (*flat.shape[:axis], flat.shape[axis], repeats, *flat.shape[axis + 1 :])
        return xp.reshape(xp.sum(xp.reshape(g, shape), axis=axis + 1), x.shape)
    source = xp.repeat(xp.positions(flat, axis=axis), repeats)
    rows = xp.scatter_add(xp.moveaxis(xp.zeros_like(flat), axis, 0), source, xp.moveaxis(g, axis, 0))
    return xp.reshape(xp.moveaxis(rows, 0, axis), x.shape)


def _tile(xp: Any, g: Any, y: Any, x: Any, *, repetitions: tuple[int, ...]) -> Any:
    ndim = max(x.ndim, len(repetitions))
    lengths = (1,) * (ndim - x.ndim) + tuple(x.shape)
    counts = (1,) * (ndim - len(repetitions)) + tuple(repetitions)
    shape = [n for pair in zip(counts, lengths, strict=True) for n in pair]
    summed = xp.sum(xp.reshape(g, tuple(shape)), axis=tuple(range(0, 2 * ndim, 2)))
    return xp.reshape(summed, x.shape)


def _diff(xp: Any, g: Any, y: Any, x: Any, *, axis: int = -1, n: int = 1) -> Any:
    # One difference d_i = x_{i+1} - x_i has the transpose [0, g] reversed: (0, g) - (g, 0) with a sign.
    for _ in range(n):
        zero = xp.zeros_like(xp.sum(g, axis=axis, keepdims=True))
        g = xp.concat([zero, g], axis=axis) - xp.concat([g, zero], axis=axis)
    return g


def _moved(xp: Any, g: Any, y: Any, x: Any, **_: Any) -> Any:
    """Arrays go back the way they came: across devices and libraries."""
    return xp.move_like(g, x)


VJPS: dict[str, Any] = {
    "reshape": (lambda xp, g, y, x, **_: xp.reshape(g, x.shape),),
    "squeeze": (lambda xp, g, y, x, **_: xp.reshape(g, x.shape),),
    "permute_dims": (_permute_dims,),
    "matrix_transpose": (lambda xp, g, y, x: xp.matrix_transpose(g),),
    "broadcast_to": (lambda xp, g, y, x, **_: g,),
    "broadcast_arrays": _broadcast_arrays,
    "meshgrid": _meshgrid,
    "concatenated": _concat,
    "stacked": _stack,
    "unstack": (_unstack,),
    "flip": (lambda xp, g, y, x, *, axis=None: xp.flip(g, axis=axis),),
    "roll": (_roll,),
    "repeat": (_repeat, None),
    "tiled": (_tile,),
    "tril": (lambda xp, g, y, x, *, k=0: xp.tril(g, k=k),),
    "triu": (lambda xp, g, y, x, *, k=0: xp.triu(g, k=k),),
    "diff": (_diff,),
    "cast": (lambda xp, g, y, x, **_: g,),
    "copy": (lambda xp, g, y, x: g,),
    "moved": (_moved,),
}
