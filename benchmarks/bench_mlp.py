"""The MLP training step on each backend that is installed, beside the same step written by hand in NumPy.

    python -m pytest benchmarks/bench_mlp.py

The hand-written step runs in the same process, alternating with portanet's; the ratio of the medians is kept in the
benchmark's extra_info as ``times_handwritten``.
"""

from __future__ import annotations

import importlib.util
import statistics
import time

import numpy as np
import pytest

import portanet
from benchmarks.workloads import MLPS, handwritten_step, portanet_step

BACKENDS = [name for name in ("numpy", "torch", "jax", "cupy") if importlib.util.find_spec(name)]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("workload", MLPS, ids=str)
def test_training_step(benchmark, workload, name):
    if not portanet.available_backends()[name].available:
        pytest.skip(portanet.available_backends()[name].reason)
    with portanet.use_backend(name):
        step = portanet_step(workload)
        by_hand = handwritten_step(workload)
        for _ in range(3):  # the same numbers, or the ratio would say nothing
            np.testing.assert_allclose(step().item(), by_hand(), rtol=1e-4)
        if benchmark.enabled:
            benchmark.extra_info["times_handwritten"] = round(_ratio(step, by_hand), 2)
        benchmark(lambda: step().item())


def _ratio(step, by_hand, rounds: int = 30) -> float:
    """The median time of one over that of the other, run in turns so that a busy machine slows both."""
    times: dict[object, list[float]] = {step: [], by_hand: []}
    for _ in range(rounds):
        for function in times:
            start = time.perf_counter()
            float(function())
            times[function].append(time.perf_counter() - start)
    return statistics.median(times[step]) / statistics.median(times[by_hand])


@pytest.mark.parametrize("workload", MLPS, ids=str)
def test_handwritten_step(benchmark, workload):
    benchmark(handwritten_step(workload))
