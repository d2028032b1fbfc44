"""Sums at indices, and a look at the values."""

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
    return bool(x.size > 0 and not (x.min() >= low and x.max() <= high))  # this way round nan is outside
