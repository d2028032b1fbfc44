"""Memory on the GPU: what an error that it is used up asked for, and how much there is."""

from __future__ import annotations

from typing import Any

import cupy

__all__ = ["memory_in_use", "out_of_memory"]


def out_of_memory(problem: BaseException) -> int | None:
    if isinstance(problem, cupy.cuda.memory.OutOfMemoryError):
        # Its own numbers in a private attribute, and at the head of its text.
        size = getattr(problem, "_size", None)
        return int(size) if size is not None else _first_number(str(problem))
    # cuBLAS, cuFFT and the driver ask for memory of their own, and tell of that by the name of the error.
    words = ("MemoryAllocation", "ALLOC_FAILED", "OUT_OF_MEMORY")
    if type(problem).__module__.startswith("cupy") and any([word in str(problem) for word in words]):
        return 0
    return None


def memory_in_use() -> tuple[int, int] | None:
    try:
        free, total = cupy.cuda.runtime.memGetInfo()
    except cupy.cuda.runtime.CUDARuntimeError:
        return None
    # What the pool keeps in hand for later is not in use.
    pool: Any = cupy.get_default_memory_pool()
    return total - free - pool.free_bytes(), total


def _first_number(text: str) -> int:
    digits = [word.replace(",", "") for word in text.split() if word.replace(",", "").isdigit()]
    return int(digits[0]) if digits else 0
