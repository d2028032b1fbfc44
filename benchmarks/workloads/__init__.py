"""All workloads by their names, in the order of the report."""

from __future__ import annotations

from benchmarks.workloads import mlp
from benchmarks.workloads.base import Network, Workload

STEPS: list[Network] = [*mlp.WORKLOADS]
INFERENCE: list[Network] = [step.alone() for step in STEPS if step.optimizer == "SGD"]
ALL: dict[str, Workload] = {workload.name: workload for workload in [*STEPS, *INFERENCE]}


def chosen(patterns: list[str]) -> list[Workload]:
    """The workloads whose name holds one of the patterns, in whatever case; all of them without a pattern."""
    found = [w for name, w in ALL.items() if not patterns or any(p.lower() in name.lower() for p in patterns)]
    if not found:
        raise ValueError(f"no workload has {' or '.join(patterns)} in its name; there are {', '.join(ALL)}")
    return found
