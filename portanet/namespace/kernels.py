"""The kernels on Tensors: what rules and layers need beyond the standard."""

from __future__ import annotations

from typing import Any

from portanet.library import device_of as _device_of
from portanet.library import namespace_of
from portanet.tensor import Tensor, apply, moved, raw_key

__all__ = ["add_along_axis", "add_at", "copy", "device_of", "move_like", "positions", "scatter_add", "set_at"]


def copy(x: Any) -> Tensor:
    """The same elements in new memory."""
    return apply("copy", x)


def device_of(x: Tensor) -> Any:
    """The device of ``x``, or None where the library leaves that open."""
    return _device_of(x._raw)


def move_like(x: Tensor, like: Tensor) -> Tensor:
    """``x`` carried to the library and device of ``like``."""
    return moved(x, namespace_of(like._raw), _device_of(like._raw))


def positions(x: Any, *, axis: int = 0) -> Tensor:
    """0, 1, ... along one axis of ``x``, in its library and on its device: rules make their constants like their neighbours."""
    return apply("positions", x, axis=axis)


def scatter_add(x: Any, indices: Any, updates: Any) -> Tensor:
    """``x`` with the row ``updates[i]`` added to row ``indices[i]``; repeated indices add up."""
    return apply("scatter_add", x, indices, updates)


def set_at(x: Tensor, values: Any, *, key: Any) -> Tensor:
    """A copy of ``x`` with ``x[key] = values``."""
    return apply("set_at", x, values, key=raw_key(key, x._raw))


def add_at(x: Tensor, updates: Any, *, key: Any) -> Tensor:
    """A copy of ``x`` with ``x[key] += updates``; a place named twice is added to twice."""
    return apply("add_at", x, updates, key=raw_key(key, x._raw))


def add_along_axis(x: Any, indices: Any, updates: Any, *, axis: int) -> Tensor:
    """`take_along_axis` transposed: each update added at its index along ``axis``."""
    return apply("add_along_axis", x, indices, updates, axis=axis)
