"""Each workload on each backend, timed by pytest-benchmark: pytest benchmarks

The runs are kept as JSON in the folder .benchmarks and can be compared (pytest-benchmark compare). For how portanet does
beside others, `python -m benchmarks` is the better witness: it takes turns.
"""

from __future__ import annotations

import pytest

from benchmarks import contenders, workloads
from benchmarks.checking import difference, results

OURS = [one.name for one in contenders.chosen([]) if one.name.startswith("portanet")]
WORKLOADS = [*workloads.STEPS, *workloads.INFERENCE, *workloads.OTHERS]
REFERENCE = ("numpy", "torch")


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("workload", WORKLOADS, ids=[one.name for one in WORKLOADS])
def test_step(benchmark, workload, name):
    step, values = _built(workload, name)
    expected = _expected(workload)
    assert expected is None or difference(expected, values) is None  # or the time would say nothing
    benchmark(step)


def _built(workload, name):
    try:
        step = contenders.ALL[name].build(workload)
        return step, results(step, workload.checked)
    except contenders.LeftOut as reason:
        pytest.skip(str(reason))


def _expected(workload):
    """What the first of the others computes that does such a workload; None where nobody does."""
    for name in REFERENCE:
        try:
            return results(contenders.ALL[name].build(workload), workload.checked)
        except contenders.LeftOut:
            continue
    return None
