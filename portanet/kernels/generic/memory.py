"""Kernels about memory that is used up; defined here as far as Python's own MemoryError tells of it."""

from __future__ import annotations

import math
from typing import Any


def out_of_memory(xp: Any, problem: BaseException) -> int | None:
    """How many bytes were asked for, if ``problem`` says that there is no memory for them: 0 where it is silent of
    that; None if it is another error."""
    if not isinstance(problem, MemoryError):
        return None
    shape, dtype = getattr(problem, "shape", None), getattr(problem, "dtype", None)
    return 0 if shape is None or dtype is None else math.prod(shape) * int(dtype.itemsize)


def memory_in_use(xp: Any) -> tuple[int, int] | None:
    """How many bytes of the device's memory are in use, and how many it has; None where nobody knows."""
    return None
