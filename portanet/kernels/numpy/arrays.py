"""Sums at indices, a look at the values, and functions of the standard by a shorter way."""

from __future__ import annotations

from typing import Any

import numpy as np


def scatter_add(x: Any, indices: Any, updates: Any) -> Any:
    y = np.array(x)
    np.add.at(y, indices, updates)
    return y


def add_at(x: Any, updates: Any, *, key: Any) -> Any:
    y = np.array(x)
    np.add.at(y, key, updates)
    return y


def known_outside(x: Any, low: float, high: float) -> bool:
    # This way round nan is outside.
    return x.size > 0 and not bool(np.minimum.reduce(x, None) >= low and np.maximum.reduce(x, None) <= high)


def is_replayed() -> bool:
    return True


def owns_memory(x: Any) -> bool:
    return x.base is None and x.flags.writeable


# ---------------------------------------------------------------------------------------------------------------------
# The standard's own, without the detours that NumPy's functions of these names make.


matmul = np.matmul
ones_like = np.ones_like
zeros_like = np.zeros_like


def matrix_transpose(x: Any) -> Any:
    return x.mT


def sum(x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return np.add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)


def max(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return np.maximum.reduce(x, axis=axis, keepdims=keepdims)


def min(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return np.minimum.reduce(x, axis=axis, keepdims=keepdims)
