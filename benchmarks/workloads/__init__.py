"""All workloads by their names, in the order of the report."""

from __future__ import annotations

from benchmarks.workloads import images, mlp, others, sequences
from benchmarks.workloads.base import Measured, Network, Workload

__all__ = ["ALL", "INFERENCE", "MEASURED", "OTHERS", "STEPS", "Measured", "Network", "Workload", "chosen"]

STEPS: list[Network] = [*mlp.WORKLOADS, *images.WORKLOADS, *sequences.WORKLOADS]
INFERENCE: list[Network] = [step.alone() for step in STEPS if step.optimizer == "SGD"]
OTHERS: list[Workload] = [others.UPDATE, others.ADDS, others.EPOCH]
_memory = [one for step in STEPS for one in others.memory(step)]
MEASURED: list[Measured] = [others.IMPORT, *sorted(_memory, key=lambda one: one.way)]  # those that are alike together
ALL: dict[str, Workload] = {workload.name: workload for workload in [*STEPS, *INFERENCE, *OTHERS, *MEASURED]}


def chosen(patterns: list[str]) -> list[Workload]:
    """The workloads whose name holds one of the patterns, in whatever case; all of them without a pattern."""
    found = [w for name, w in ALL.items() if not patterns or any(p.lower() in name.lower() for p in patterns)]
    if not found:
        raise ValueError(f"no workload has {' or '.join(patterns)} in its name; there are {', '.join(ALL)}")
    return found
