"""VJPs of reading and writing by index: each is the transpose of the other."""

from __future__ import annotations

from typing import Any


def _take(xp: Any, g: Any, y: Any, x: Any, indices: Any, *, axis: int | None = None) -> Any:
    axis = 0 if axis is None else axis % x.ndim
    indices = xp.where(indices < 0, indices + x.shape[axis], indices)
    if axis == 0:
        return xp.scatter_add(xp.zeros_like(x), indices, g)
    rows = xp.scatter_add(xp.moveaxis(xp.zeros_like(x), axis, 0), indices, xp.moveaxis(g, axis, 0))
    return xp.moveaxis(rows, 0, axis)


def _take_along_axis(xp: Any, g: Any, y: Any, x: Any, indices: Any, *, axis: int = -1) -> Any:
    return xp.add_along_axis(xp.zeros_like(x), indices, g, axis=axis)


def _permutation(xp: Any, g: Any, y: Any, x: Any, *, order: Any, axis: int) -> Any:
    return xp.take_along_axis(g, xp.argsort(order, axis=axis, stable=True), axis=axis)


VJPS: dict[str, Any] = {
    "getitem": (lambda xp, g, y, x, *, key: xp.add_at(xp.zeros_like(x), g, key=key),),
    "set_at": (
        lambda xp, g, y, x, values, *, key: xp.set_at(g, xp.zeros_like(g[key]), key=key),
        lambda xp, g, y, x, values, *, key: g[key],
    ),
    "add_at": (lambda xp, g, y, x, updates, *, key: g, lambda xp, g, y, x, updates, *, key: g[key]),
    "scatter_add": (
        lambda xp, g, y, x, indices, updates: g,
        None,
        lambda xp, g, y, x, indices, updates: xp.take(g, indices, axis=0),
    ),
    "take": (_take, None),
    "take_along_axis": (_take_along_axis, None),
    "add_along_axis": (
        lambda xp, g, y, x, indices, updates, *, axis: g,
        None,
        lambda xp, g, y, x, indices, updates, *, axis: xp.take_along_axis(g, indices, axis=axis),
    ),
}
