"""Memory that is kept: scratch memory of each thread, and what a step has freed, for the next one."""

from __future__ import annotations

import math
import os
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


def in_order(x: Any) -> Any:
    """``x`` with its axes in the order in which its numbers lie in memory: images whose channels come last, say."""
    if x.flags.c_contiguous:
        return x
    return x.transpose(sorted(range(x.ndim), key=lambda axis: (-x.strides[axis], axis)))


FREED = 1 << 30  # bytes of freed memory, in arrays below 32 MiB, that the process keeps


def keep_freed_memory() -> None:
    """Have glibc keep the memory that a step has freed. Elsewhere, and where the environment says otherwise, nothing.

    Left alone it hands memory back to the system at every large free, and each page of it costs a fault when the next
    step asks for it again: up to a sixth of a step's time.
    """
    import ctypes

    adjust = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if adjust is not None and not any([name.startswith("MALLOC_") for name in os.environ]):
        adjust(-1, FREED)  # M_TRIM_THRESHOLD: so much may lie unused at the top
        adjust(
            -3, 32 << 20
        )  # M_MMAP_THRESHOLD: larger arrays, as before, are the system's at once; 32 MiB is its limit
