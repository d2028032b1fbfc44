"""A look at a number in memory, again and again, as a loop that Numba compiles. This module imports Numba."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

numba: Any = importlib.import_module("numba")
_extending: Any = importlib.import_module("numba.extending")

AWAKE = 1e-3  # seconds
LOOKS = 10_000  # that are timed


def _write_fence(typing: Any) -> Any:
    """What other threads wrote before is seen after it."""

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return numba.types.void(), write


_fence: Any = _extending.intrinsic(_write_fence)


def look(bell: Any, seen: int, times: int) -> bool:
    for _ in range(times):
        if bell[0] != seen:
            return True
        _fence()
    return False


def watcher(loop: Callable[..., Any]) -> Callable[[Any, int], Any]:
    """``watch(bell, seen)`` by the compiled ``look``, for AWAKE seconds at the most."""
    bell = np.zeros(1, np.int64)
    loop(bell, 0, 1)
    before = time.perf_counter()
    loop(bell, 0, LOOKS)
    times = int(AWAKE / (time.perf_counter() - before) * LOOKS)
    return lambda bell, seen: loop(bell, seen, times)
