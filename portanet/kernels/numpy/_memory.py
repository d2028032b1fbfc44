"""Scratch memory that each thread keeps."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

KEPT = 1 << 26  # bytes of scratch memory, of one name, that a thread keeps for the next time

_memory = threading.local()


def space_for(name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """This thread's scratch memory of that name: what was in it is of no meaning, and it is used again."""
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > KEPT:
        return np.empty(shape, dtype)
    have = getattr(_memory, name, None)
    if have is None or have.nbytes < wanted:
        raw = np.empty(wanted + 64, np.uint8)
        start = -raw.ctypes.data % 64  # a line of the cache
        have = raw[start : start + wanted]
        setattr(_memory, name, have)
    return np.ndarray(shape, dtype, have)
