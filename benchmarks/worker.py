"""One process for one number of threads: builds, checks and times what it is told to, and prints what it finds as JSON.

It is started by `python -m benchmarks`, with one argument: the `Task` as JSON. Each line that it prints is one finding.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import threads


@dataclass(frozen=True)
class Task:
    """What a worker is to do: for each kind of work the names, and how long a pair may take."""

    threads: int
    seconds: float
    base: str
    contenders: list[str]
    workloads: list[str] = field(default_factory=list)
    scaling: bool = False
    small: bool = False  # sizes for a look whether all of it works


def pairs_of(workload: str, contenders: list[str], base: str) -> list[tuple[str, str]]:
    """Who is timed against whom: the base against everyone, and what the goals compare."""
    from benchmarks.goals import GOALS

    found = [(base, other) for other in contenders if other != base] if base in contenders else []
    for goal in GOALS:
        one = (goal.subject, goal.against)
        if goal.workload == workload and set(one) <= set(contenders) and one not in found:
            found.append(one)
    return found


def tell(kind: str, **finding: Any) -> None:
    """One finding to whoever started this process."""
    print(json.dumps({"kind": kind, **finding}), flush=True)


def measure(workload: Any, task: Task) -> None:
    """Build every contender, compare their numbers, and time the pairs."""
    from benchmarks import timing, workloads

    steps = built(workload, task)
    base = task.base if task.base in steps else next((name for name in steps if name != "floor"), "")
    pairs = pairs_of(workload.name, list(steps), base)
    tell("begin", workload=workload.name, pairs=len(pairs))
    if isinstance(workload, workloads.Measured):
        asked(workload, steps, pairs)
        return
    for step in [] if task.small else steps.values():
        timing.warm_up(step)
    for subject, against in pairs:
        two, least = [steps[subject], steps[against]], 3 if task.small else 7
        turns = timing.alternate(two, task.seconds, least, threads=task.threads)
        found = timing.pair(workload.name, subject, against, task.threads, turns)
        tell("pair", **found.as_dict())


def asked(workload: Any, steps: dict[str, Any], pairs: list[tuple[str, str]]) -> None:
    """Ask every contender in turn for what it measures itself."""
    from benchmarks import contenders, timing

    values: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(workload.turns):
        for name in list(values):
            try:
                values[name].append(steps[name]())
            except contenders.LeftOut as reason:
                tell("left_out", workload=workload.name, contender=name, reason=str(reason))
                del values[name]
    for subject, against in pairs:
        if subject in values and against in values:
            turns = list(zip(values[subject], values[against], strict=True))
            tell("pair", **timing.pair(workload.name, subject, against, 0, turns, workload.unit).as_dict())


def built(workload: Any, task: Task) -> dict[str, Any]:
    """The steps that run and compute the same numbers as the first of them, by contender; of the others, why not."""
    from benchmarks import contenders
    from benchmarks.checking import difference, results

    steps: dict[str, Any] = {}
    expected: Any = None
    for name in task.contenders:
        contender = contenders.ALL[name]
        before = time.perf_counter()
        try:
            step = contender.build(workload)
            threads.limit(task.threads)
            values = results(step, workload.checked)
        except contenders.NotMine:
            continue
        except contenders.LeftOut as reason:
            tell("left_out", workload=workload.name, contender=name, reason=str(reason))
            continue
        except Exception as problem:
            traceback.print_exc()
            reason = f"failed: {type(problem).__name__}: {first_line(problem)}"
            # A library that is broken here is a gap in the tables; portanet that is broken is a failure.
            kind = "failed" if name.startswith("portanet") else "left_out"
            tell(kind, workload=workload.name, contender=name, reason=reason)
            continue
        if contender.agrees and values:
            expected = values if expected is None else expected
            found = difference(expected, values)
            if found:
                tell("failed", workload=workload.name, contender=name, reason=f"computes something else: {found}")
                continue
        tell("built", workload=workload.name, contender=name, seconds=time.perf_counter() - before)
        steps[name] = step
    return steps


def first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or ["without a word"])[0]


def main() -> None:
    task = Task(**json.loads(sys.argv[1]))
    threads.keep_to(task.threads)
    warnings.filterwarnings("ignore", category=UserWarning)  # of the libraries, about choices that are made on purpose
    from benchmarks import workloads

    for name in task.workloads:
        before = time.perf_counter()
        measure(workloads.ALL[name], task)
        gc.collect()
        tell("spent", workload=name, seconds=time.perf_counter() - before)
    if task.scaling:
        scale(task)
    tell("end")


def scale(task: Task) -> None:
    """How cost grows."""
    from benchmarks import scaling

    threads.limit(task.threads)
    tell("begin", workload="curves", pairs=1)
    for curve in scaling.curves(task.contenders, task.small, min(0.3, task.seconds), task.threads):
        tell("curve", **curve)
    tell("begin", workload="growth", pairs=len(scaling.GROWTH))
    for finding in scaling.growth(task.small):
        tell("growth", **finding)


def as_argument(task: Task) -> str:
    return json.dumps(asdict(task))


if __name__ == "__main__":
    main()
