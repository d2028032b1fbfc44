"""Whether two contenders computed the same numbers: what computes something else is not compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

TOLERANCE = 5e-4  # of the largest number; float32 sums in another order differ by less, other mathematics by more


def results(step: Callable[[], Any], count: int) -> list[np.ndarray]:
    """What the first steps give, copied: a step may change what the one before returned."""
    return [np.array(np.asarray(step())) for _ in range(count)]


def difference(expected: Sequence[Any], found: Sequence[Any], tolerance: float = TOLERANCE) -> str | None:
    """Where the results of a few steps differ, in words; None where they agree."""
    for i, (a, b) in enumerate(zip(expected, found, strict=True)):
        one, other = np.asarray(a, dtype="float64"), np.asarray(b, dtype="float64")
        if one.shape != other.shape:
            return f"step {i + 1} gives shape {other.shape}, not {one.shape}"
        gap, size = float(np.max(np.abs(one - other))), float(np.max(np.abs(one)))
        if not gap <= tolerance * size:
            shown = f"{other} instead of {one}" if one.ndim == 0 else f"numbers that differ by {gap:.2g}"
            return f"step {i + 1} gives {shown}"
    return None
