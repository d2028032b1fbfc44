"""Sums at indices, a look at the values, and functions of the standard by a shorter way."""

from __future__ import annotations

from typing import Any

import numpy as np

from portanet.kernels.numpy._products import product
from portanet.library import namespace_of

_BASIC = frozenset({int, slice, type(None), type(...)})  # what an index may hold beside arrays
_MANY = 1 << 14  # numbers from which on it pays to sort


def scatter_add(x: Any, indices: Any, updates: Any) -> Any:
    y = np.array(x)
    if updates.ndim == 1 or updates.size < _MANY or indices.shape[0] < 4 * x.shape[0]:
        np.add.at(y, indices, updates)
        return y
    # Each row named many times: sorted, the updates of a row are neighbours, and whole stretches are summed at once.
    order = np.argsort(indices, kind="stable")
    rows = indices[order]
    first = np.flatnonzero(np.concatenate(([True], rows[1:] != rows[:-1])))
    y[rows[first]] += np.add.reduceat(np.take(updates, order, axis=0), first, axis=0)
    return y


def copy(x: Any) -> Any:
    return x.copy("K") if x.ndim else np.copy(x)  # NumPy's own numbers have no axes, and must become arrays


def set_at(x: Any, values: Any, *, key: Any) -> Any:
    y = copy(x)
    y[key] = values
    return y


def add_at(x: Any, updates: Any, *, key: Any) -> Any:
    y = np.array(x)
    entries = key if isinstance(key, tuple) else (key,)
    if all([type(entry) in _BASIC for entry in entries]):
        y[key] += updates  # these name each place once
    else:
        np.add.at(y, key, updates)
    return y


def known_outside(x: Any, low: float, high: float) -> bool:
    # This way round nan is outside.
    return x.size > 0 and not bool(np.minimum.reduce(x, None) >= low and np.maximum.reduce(x, None) <= high)


def is_replayed() -> bool:
    return True


def layout(x: Any) -> Any:
    return None if x.flags.c_contiguous else x.strides


def owns_memory(x: Any) -> bool:
    return x.base is None and x.flags.writeable


# ---------------------------------------------------------------------------------------------------------------------
# The standard's own, without the detours that NumPy's functions of these names make.


zeros_like = np.zeros_like


def ones_like(x: Any, **how: Any) -> Any:
    plain = type(x) is np.ndarray and x.ndim == 0 and not how  # the seed of every way back
    return np.array(1, x.dtype) if plain else np.ones_like(x, **how)


def matmul(x1: Any, x2: Any) -> Any:
    # For two matrices the same product by the shorter way.
    return product(x1, x2) if x1.ndim == 2 and x2.ndim == 2 else np.matmul(x1, x2)


def matrix_transpose(x: Any) -> Any:
    return x.mT


def sum(x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return np.add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)  # type: ignore[call-overload]


def max(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return np.maximum.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]


def min(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return np.minimum.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]


def clip(x: Any, min: Any = None, max: Any = None) -> Any:
    bounds = [bound for bound in (min, max) if bound is not None]
    if x.dtype.kind == "f" and bounds and all([getattr(bound, "dtype", x.dtype) == x.dtype for bound in bounds]):
        return np.clip(x, min, max)
    return namespace_of(x).namespace.clip(x, min, max)
