"""Two functions timed in turn, A B A B ..., so that a slow moment of the machine hits both; the ratio is what counts."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

BLOCK = 0.004  # seconds: what is shorter is called so often that a turn takes this long
SHORT = 0.03  # seconds: what is shorter gets one call at the start of a turn that is not timed
LONG = 0.7  # seconds: turns that take longer are taken three times
LOOK = 0.005  # seconds: how long threads are watched at a time, for whether they have gone to sleep
LOOKS = 60  # at the most: OpenBLAS's threads go on looking for work for 0.1 s
THREADED = 0.02  # seconds: the least that a turn takes with several threads
MOST = 400  # turns
WARM = 60, 4.0  # calls of a contender before it is timed, and seconds after which there are no more of them


@dataclass(frozen=True)
class Pair:
    """How two contenders compare at one workload: quartiles of the ratios of neighbours, and the median times.

    ``unit`` is "s" for seconds a step and "B" for bytes; ``threads`` is 0 where their number plays no part.
    """

    workload: str
    subject: str
    against: str
    threads: int
    ratio: float
    low: float
    high: float
    subject_value: float
    against_value: float
    turns: int
    unit: str = "s"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def pair(
    workload: str,
    subject: str,
    against: str,
    threads: int,
    values: Sequence[tuple[float, float]],
    unit: str = "s",
) -> Pair:
    """The summary of (subject, against) values that were measured as neighbours."""
    low, ratio, high = quartiles([a / b for a, b in values])
    first, second = [statistics.median(column) for column in zip(*values, strict=True)]
    return Pair(workload, subject, against, threads, ratio, low, high, first, second, len(values), unit)


def rest() -> None:
    """Wait until all other threads of this process have gone to sleep: they use next to no time of the processor."""
    for _ in range(LOOKS):
        before = time.process_time()
        time.sleep(LOOK)
        if time.process_time() - before < LOOK / 10:
            return


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile; one value is all three."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def warm_up(function: Callable[[], Any]) -> None:
    """Call a function as often as it takes until what is compiled along the way has been."""
    calls, seconds = WARM
    started = time.perf_counter()
    for _ in range(calls):
        function()
        if time.perf_counter() - started > seconds:
            break


def alternate(
    functions: Sequence[Callable[[], Any]],
    seconds: float,
    least: int = 7,
    most: int = MOST,
    threads: int = 1,
    waits: Sequence[Callable[[], Any]] | None = None,
    block: float | None = None,
) -> list[tuple[float, ...]]:
    """One tuple a turn: the seconds of a call of each function. Turns are taken for so many seconds, at least ``least``.

    Caches hold the other's data: short functions get a call that is not timed at the start of each turn. A library's
    threads look for more work for a while after its last call, on cores that the other needs: with several ``threads``
    there is a `rest` before each turn, the turns are longer, and each begins with a call that is not timed and wakes its
    threads, as they are awake in training.

    Where functions only start their work, as on a GPU, there is for each of them in ``waits`` what waits until it is done:
    the calls of a turn are started one after the other, and the turn ends when the last of them has ended.
    """
    block = max(BLOCK if block is None else block, THREADED if threads > 1 else 0.0)
    plans = [
        (function, wait, *_plan(function, wait, block))
        for function, wait in zip(functions, waits or [_nothing] * len(functions), strict=True)
    ]
    if sum([plan[-1] for plan in plans]) > LONG:
        least = min(least, 3)
    turns: list[tuple[float, ...]] = []
    gc.collect()
    started = time.perf_counter()
    while len(turns) < most and (len(turns) < least or time.perf_counter() - started < seconds):
        turn = []
        for function, wait, calls, warm, _ in plans:
            if threads > 1:
                rest()
            if warm or threads > 1:
                function()
                wait()
            before = time.perf_counter()
            for _ in range(calls):
                function()
            wait()
            turn.append((time.perf_counter() - before) / calls)
        turns.append(tuple(turn))
    return turns


def _nothing() -> None:
    """The wait for a function that returns when its work is done."""


def _plan(function: Callable[[], Any], wait: Callable[[], Any], block: float) -> tuple[int, bool, float]:
    """How many calls make a turn, whether one that is not timed comes first, and how long one took."""
    once = math.inf
    for _ in range(4):  # the first may be slow for reasons of its own
        before = time.perf_counter()
        function()
        wait()
        once = min(once, time.perf_counter() - before)
        if once > LONG / 2:
            break
    return max(1, round(block / once)), once < SHORT, once
