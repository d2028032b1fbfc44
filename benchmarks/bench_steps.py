"""Each workload on each backend, timed by pytest-benchmark: pytest benchmarks

The runs are kept as JSON in the folder .benchmarks and can be compared (pytest-benchmark compare). For how portanet does
beside others, `python -m benchmarks` is the better witness: it takes turns.
"""

from __future__ import annotations

import pytest

from benchmarks import contenders, workloads
from benchmarks.checking import difference

OURS = [name for name in contenders.ALL if name.startswith("portanet")]
WORKLOADS = [*workloads.STEPS, *workloads.INFERENCE, *workloads.OTHERS]
REFERENCE = ("numpy", "torch")


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("workload", WORKLOADS, ids=[one.name for one in WORKLOADS])
def test_step(benchmark, workload, name):
    step = _built(workload, name)
    values = [step() for _ in range(workload.checked)]
    for other in REFERENCE:
        try:
            reference = contenders.ALL[other].build(workload)
        except contenders.LeftOut:
            continue
        assert (
            difference([reference() for _ in range(workload.checked)], values) is None
        )  # or the time would say nothing
        break
    benchmark(step)


def _built(workload, name):
    try:
        return contenders.ALL[name].build(workload)
    except contenders.LeftOut as reason:
        pytest.skip(str(reason))
