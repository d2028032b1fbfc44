"""Random numbers beside NumPy's own Generator, each timed in turn with it: the ratio is kept in ``extra_info``.

Run with: pytest benchmarks/bench_random.py -s
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy
import pytest

import portanet

OURS = portanet.random.Generator(0)
NUMPYS = numpy.random.default_rng(0)

DRAWS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "uniform float32": (OURS.uniform, lambda n: NUMPYS.random(n, dtype=numpy.float32)),
    "uniform float64": (lambda n: OURS.uniform(n, dtype="float64"), NUMPYS.random),
    "normal float32": (OURS.normal, lambda n: NUMPYS.standard_normal(n, dtype=numpy.float32)),
    "integers": (lambda n: OURS.integers(n, 0, 10), lambda n: NUMPYS.integers(0, 10, n)),
    "bernoulli": (lambda n: OURS.bernoulli(n, 0.5), lambda n: (NUMPYS.random(n, dtype=numpy.float32) < 0.5) * 1.0),
    "permutation": (OURS.permutation, NUMPYS.permutation),
}


def seconds(draw: Callable[[Any], Any], count: int, repetitions: int) -> float:
    start = time.perf_counter()
    for _ in range(repetitions):
        draw(count)
    return (time.perf_counter() - start) / repetitions


@pytest.mark.parametrize("count", [64, 1_000_000])
@pytest.mark.parametrize("name", DRAWS)
def test_draw(benchmark: Any, name: str, count: int) -> None:
    ours, numpys = DRAWS[name]
    repetitions, rounds = (200, 20) if count < 1000 else (1, 20)
    with portanet.use_backend("numpy"):
        pairs = [(seconds(ours, count, repetitions), seconds(numpys, count, repetitions)) for _ in range(rounds)]
        first, second = (min(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        # The shortest times stand for a quiet machine, the median of the ratios for this one.
        benchmark.extra_info.update(ratio=first / second, median_ratio=ratio, seconds=first, numpy_seconds=second)
        shortest = f"{first * 1e6:.1f} us, NumPy {second * 1e6:.1f} us, ratio {first / second:.2f}"
        print(f"\n{name}, {count}: {shortest} (median of ratios {ratio:.2f})")
        benchmark(ours, count)
