"""Kernels about arrays as such: moving, writing by index, adding at repeated indices."""

from __future__ import annotations

import math
from typing import Any


def unavailable(xp: Any) -> str | None:
    """Why the library cannot compute on this machine, or None."""
    return None


def to_host(xp: Any, x: Any) -> Any:
    """An object that numpy.asarray can read: here the array itself, for libraries whose memory is the host's."""
    import numpy

    try:
        return numpy.from_dlpack(x)
    except Exception:  # a library that has no DLPack for this device or type may still have __array__ or its own copy
        exporter = getattr(xp.namespace, "asnumpy", None)
        return x if exporter is None else exporter(x)


def device_of(xp: Any, x: Any) -> Any:
    """The device of an array; None where the library leaves that open."""
    return getattr(x, "device", None)


def set_at(xp: Any, x: Any, values: Any, *, key: Any) -> Any:
    """A copy of ``x`` with ``x[key] = values``."""
    if isinstance(key, tuple) and any([entry is None for entry in key]):
        # The standard has new axes for reading only: write what they would show, without them.
        plain = tuple([entry for entry in key if entry is not None])
        if not isinstance(values, (bool, int, float, complex)):
            values = xp.reshape(xp.broadcast_to(values, x[key].shape), x[plain].shape)
        key = plain
    y = xp.asarray(x, copy=True)
    y[key] = values
    return y


def scatter_add(xp: Any, x: Any, indices: Any, updates: Any) -> Any:
    """``x`` with the row ``updates[i]`` added to row ``indices[i]``; repeated indices add up, in a fixed order.

    Shapes: x (n, ...), indices (m,) integers in [0, n), updates (m, ...).
    A sorted, segmented scan in log2(m) steps: nothing depends on the data but values, so it also compiles.
    """
    count = indices.shape[0]
    if count == 0:
        return x
    order = xp.argsort(indices, stable=True)
    rows, sums = xp.take(indices, order), xp.take(updates, order, axis=0)
    columns = (count,) + (1,) * (sums.ndim - 1)
    step = 1
    while step < count:
        same = xp.reshape(rows[step:] == rows[:-step], (count - step, *columns[1:]))
        added = sums[step:, ...] + xp.where(same, sums[:-step, ...], xp.zeros_like(sums[:-step, ...]))
        sums = xp.concat([sums[:step, ...], added], axis=0)
        step *= 2
    every = xp.arange(x.shape[0], dtype=indices.dtype, device=x.device)
    last = xp.searchsorted(rows, every, side="right") - 1
    last = xp.where(last < 0, xp.zeros_like(last), last)
    present = xp.reshape(xp.take(rows, last) == every, (x.shape[0],) + (1,) * (x.ndim - 1))
    return x + xp.where(present, xp.take(sums, last, axis=0), xp.zeros_like(x))


def add_at(xp: Any, x: Any, updates: Any, *, key: Any) -> Any:
    """A copy of ``x`` with ``x[key] += updates`` where a place that is named twice is added to twice."""
    entries = key if isinstance(key, tuple) else (key,)
    arrays = [entry for entry in entries if hasattr(entry, "dtype") and not xp.isdtype(entry.dtype, "bool")]
    if not arrays:
        return set_at(xp, x, x[key] + updates, key=key)  # slices, integers and masks name each place once
    # The places are found by indexing the flat position of every element as the caller indexes x.
    places = xp.reshape(xp.arange(math.prod(x.shape), device=x.device), x.shape)[key]
    updates = xp.broadcast_to(updates, places.shape)
    flat = xp.scatter_add(xp.reshape(x, (-1,)), xp.reshape(places, (-1,)), xp.reshape(updates, (-1,)))
    return xp.reshape(flat, x.shape)


def copy(xp: Any, x: Any) -> Any:
    """The same elements in new memory."""
    return xp.asarray(x, copy=True)


def bfloat16_dtype(xp: Any) -> Any:
    """The data type object of bfloat16 where the library's namespace has no such name, or None: it has none at all."""
    return None


def cast(xp: Any, x: Any, *, dtype: Any) -> Any:
    """The elements in another dtype."""
    return xp.astype(x, dtype)


def tiled(xp: Any, x: Any, *, repetitions: tuple[int, ...]) -> Any:
    """`tile`, its counts by name."""
    return xp.tile(x, repetitions)


def concatenated(xp: Any, *arrays: Any, axis: int | None) -> Any:
    """`concat`, its arrays one by one."""
    return xp.concat(list(arrays), axis=axis)


def stacked(xp: Any, *arrays: Any, axis: int) -> Any:
    """`stack`, its arrays one by one."""
    return xp.stack(list(arrays), axis=axis)


def positions(xp: Any, x: Any, *, axis: int = 0) -> Any:
    """0, 1, ... along one axis of ``x``, in its library and on its device."""
    return xp.arange(x.shape[axis], device=xp.device_of(x))


def from_host(xp: Any, x: Any, dtype: Any, device: Any) -> Any:
    """A NumPy array copied to a device of this library."""
    return xp.asarray(x, dtype=dtype, device=device)


def add_along_axis(xp: Any, x: Any, indices: Any, updates: Any, axis: int) -> Any:
    """``x`` with each ``updates[..., k, ...]`` added at ``indices[..., k, ...]`` along ``axis``."""
    axis = axis % x.ndim
    indices = xp.where(indices < 0, indices + x.shape[axis], indices)
    # The flat position of every element, picked as take_along_axis picks elements, says where each update goes.
    places = xp.reshape(xp.arange(math.prod(x.shape), dtype=indices.dtype, device=xp.device_of(x)), x.shape)
    shape = tuple([max(n, m) if i != axis else n for i, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True))])
    wide = tuple([max(n, m) if i != axis else m for i, (n, m) in enumerate(zip(x.shape, indices.shape, strict=True))])
    picked = xp.take_along_axis(xp.broadcast_to(places, shape), xp.broadcast_to(indices, wide), axis=axis)
    updates = xp.reshape(xp.broadcast_to(updates, picked.shape), (-1,))
    return xp.reshape(xp.scatter_add(xp.reshape(x, (-1,)), xp.reshape(picked, (-1,)), updates), x.shape)


def owns_memory(xp: Any, x: Any) -> bool:
    """Whether ``x`` can be written to in place and is the only array on its memory, if no view of it is held."""
    return False
