"""The process that computes on the GPU: builds, checks and times what it is told to, and prints what it finds as JSON.

It is started by `benchmarks.gpu.running`, with one argument: the `Task` as JSON. Each line that it prints is one finding.
A GPU that has failed once in a process answers nothing more: then this process ends, and another goes on.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import checking, timing
from benchmarks.contenders.base import LeftOut, NotMine
from benchmarks.goals import GPU_GOALS
from benchmarks.gpu import contenders, workloads
from benchmarks.gpu.contenders.base import Run
from benchmarks.gpu.place import Place
from benchmarks.worker import first_line, tell

BLOCK = 0.02  # seconds of a contender's turn: many times what it takes to wait for a GPU
SUBJECTS = (contenders.EAGER, contenders.COMPILED, contenders.GEMM, contenders.COPY)  # compared with everyone
ROUNDED = 5e-3  # of the largest number: where factors have 10 bits, results differ by as much


@dataclass(frozen=True)
class Task:
    """What a worker is to do: `Job`s as lists, who takes part, and how long each of them is timed.

    ``excluded`` are pairs of a job's name and a contender that ended a process before this one; ``limit`` is how many
    seconds there are for all of it.
    """

    jobs: list[list[Any]]
    contenders: list[str]
    seconds: float
    limit: float
    pretended: str | None = None
    small: bool = False
    excluded: list[list[str]] = field(default_factory=list)

    def as_argument(self) -> str:
        return json.dumps(asdict(self))


class Worker:
    """Does a task."""

    def __init__(self, task: Task) -> None:
        self.task, self.place = task, Place.of(task.pretended)
        self.contenders = contenders.at(self.place)
        self.ends = time.perf_counter() + task.limit

    def measure(self, job: workloads.Job) -> None:
        """Build every contender, compare their numbers, and let them take turns: A B C A B C ..."""
        began = time.perf_counter()
        tell("begin", workload=job.name)
        workload = workloads.ALL[job.workload]
        workload = workloads.drawn_once(workloads.small(workload) if self.task.small else workload)
        runs = self.built(job, workload)
        if runs:
            tell("timing", workload=job.name)
            functions, least = list(runs.values()), 3 if self.task.small else 7
            waits = [run.wait for run in functions]
            seconds = self.task.seconds * len(runs)
            turns = timing.alternate(functions, seconds, least, waits=waits, block=BLOCK)
            self.report(job, runs, turns)
        tell("spent", workload=job.name, seconds=time.perf_counter() - began)

    def report(self, job: workloads.Job, runs: dict[str, Run], turns: list[tuple[float, ...]]) -> None:
        """The times of each contender, and the ratios of those that are compared."""
        columns = dict(zip(runs, zip(*turns, strict=True), strict=True))
        for name, run in list(runs.items()):
            if run.trouble():
                self.left_out(job, name, run.trouble())
                del columns[name]
                continue
            low, middle, high = timing.quartiles(columns[name])
            tell("time", workload=job.name, contender=name, seconds=middle, low=low, high=high, turns=len(turns))
        for subject, against in pairs_of(job.name, list(columns)):
            values = list(zip(columns[subject], columns[against], strict=True))
            tell("pair", **timing.pair(job.name, subject, against, 0, values).as_dict())

    def built(self, job: workloads.Job, workload: Any) -> dict[str, Run]:
        """Those who run and compute the same numbers as the first of them; of the others, why not."""
        runs: dict[str, Run] = {}
        expected: Any = None
        for name in self.task.contenders:
            if [job.name, name] in self.task.excluded:
                continue
            if time.perf_counter() > self.ends:
                self.left_out(job, name, "no time was left")
                continue
            before = time.perf_counter()
            tell("building", workload=job.name, contender=name)
            try:
                run, values = self.ready(job, name, workload)
            except NotMine:
                continue
            except LeftOut as reason:
                self.left_out(job, name, str(reason))
                continue
            except Exception as problem:
                self.broken(job, name, problem)
                continue
            self.place.free()
            if values:
                expected = values if expected is None else expected
                found = checking.difference(expected, values, ROUNDED if job.tf32 else checking.TOLERANCE)
                if found:
                    tell("failed", workload=job.name, contender=name, reason=f"computes something else: {found}")
                    continue
            tell("built", workload=job.name, contender=name, threads=0, seconds=time.perf_counter() - before)
            runs[name] = run
        return runs

    def ready(self, job: workloads.Job, name: str, workload: Any) -> tuple[Run, list[Any]]:
        """A contender that has taken its first steps, and what they gave."""
        contender = self.contenders[name]
        if contender.builder(workload) is None:
            raise NotMine(f"does not do {job.name}")
        if contender.missing():
            raise LeftOut(contender.missing())
        self.place.allow_tf32(job.tf32, name)
        run = contender.build(workload)
        values = run.values(workload.checked)
        run()
        run.wait()
        if run.trouble():
            raise LeftOut(run.trouble())
        return run, values

    def left_out(self, job: workloads.Job, name: str, reason: str) -> None:
        tell("left_out", workload=job.name, contender=name, reason=reason)

    def broken(self, job: workloads.Job, name: str, problem: Exception) -> None:
        """Say what happened; and end the process if it took the GPU along."""
        traceback.print_exc()
        # A library that is broken here is a gap in the tables; portanet that is broken is a failure.
        kind = "failed" if name.startswith("portanet") else "left_out"
        reason = f"failed: {type(problem).__name__}: {first_line(problem)}"
        tell(kind, workload=job.name, contender=name, reason=reason)
        problem.__traceback__ = None  # which holds the arrays of the contender
        try:
            self.place.forget()
            self.place.wait()
        except Exception as lost:
            sys.exit(f"the GPU answers no more after that: {first_line(lost)}")


def pairs_of(job: str, names: list[str]) -> list[tuple[str, str]]:
    """Who is compared with whom: those whom the report asks about with everyone, and what the goals compare."""
    found = [(one, other) for one in SUBJECTS if one in names for other in names if other != one]
    goals = [(goal.subject, goal.against) for goal in GPU_GOALS if goal.workload == job]
    return found + [pair for pair in goals if set(pair) <= set(names) and pair not in found]


def main() -> None:
    worker = Worker(Task(**json.loads(sys.argv[1])))
    warnings.filterwarnings("ignore", category=UserWarning)  # of the libraries, about choices that are made on purpose
    for one in worker.task.jobs:
        job = workloads.Job(*one)
        if time.perf_counter() > worker.ends:
            worker.left_out(job, "all", "no time was left")
            continue
        worker.measure(job)
        worker.place.forget()
    tell("end")


if __name__ == "__main__":
    main()
