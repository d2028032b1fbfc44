"""Keeps a worker at work on the GPU, says how far it is, and writes what is found after each workload."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.gpu import contenders, workloads
from benchmarks.gpu.place import Place
from benchmarks.gpu.worker import Task
from benchmarks.report import rounded
from benchmarks.report.words import amount, title

SILENT = 90.0  # seconds without a word after which a worker is given up: no compiler may take longer
LISTS = {
    "pair": "pairs", "time": "times", "built": "built", "left_out": "left_out", "failed": "failed", "spent": "spent",
}  # fmt: skip


def measured(options: argparse.Namespace, reports: Path) -> tuple[dict[str, Any], Path]:
    """All findings, and where their report belongs (a path without suffix)."""
    place = Place.of(options.pretend)
    reason = place.unavailable()
    if reason:
        raise SystemExit(f"python -m benchmarks --backend {options.backend}: {reason}")
    path = _path(options, place, reports)
    print(f"on {place.card()}; the numbers are kept in {_numbers(path)}", flush=True)
    run = Running(options, place, path)
    try:
        run.all()
    except KeyboardInterrupt:
        print("stopped: the report has what was found until now")
    run.keep()
    return rounded(run.findings), path  # as they are on disk, so that the pages can be written anew from there


def _path(options: argparse.Namespace, place: Place, reports: Path) -> Path:
    """Where the report belongs; a folder gets one that is named after the GPU."""
    if options.output is None:
        folder = Path(tempfile.mkdtemp(prefix="portanet-benchmarks-")) if options.smoke else reports
        return folder / place.slug()
    return options.output / place.slug() if options.output.is_dir() else options.output


def _numbers(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


class Running:
    """One run: workers one after the other, until all jobs are done or time is up."""

    def __init__(self, options: argparse.Namespace, place: Place, path: Path) -> None:
        self.place, self.path = place, path
        self.started = time.perf_counter()
        self.limit = options.limit
        names = [one.name for one in contenders.chosen(place, options.contenders)]
        self.contenders = names
        self.seconds = min(options.seconds, 0.02) if options.smoke else options.seconds
        self.small = options.smoke
        self.excluded: list[list[str]] = []
        self.at: tuple[str, str] = ("", "")  # the job and the contender that the worker is busy with
        kept = _kept(path) if options.resume else None
        self.before = kept["seconds"] if kept else 0.0
        self.findings: dict[str, Any] = kept or {
            "gpu": place.card(), "small": bool(options.smoke or options.pretend), "done": [],
            **{name: [] for name in LISTS.values()}, "threads": [0], "absent": {}, "curves": [], "growth": [],
        }  # fmt: skip
        if self.findings["gpu"] != place.card():
            raise SystemExit(
                f"--resume: {_numbers(path)} is of another GPU, {self.findings['gpu']}; name a new --output"
            )
        command = " ".join(["python -m benchmarks", *sys.argv[1:]])
        self.findings["command"] = f"{kept['command']} && {command}" if kept else command
        self.findings["environment"] = place.facts() | environment.described(blas=False)
        self.jobs = [job for job in workloads.chosen(options.workloads) if job.name not in self.findings["done"]]
        for list_of in ("left_out", "failed", "built"):  # what is done anew gets a new answer
            self.findings[list_of] = [one for one in self.findings[list_of] if one["workload"] in self.findings["done"]]

    def all(self) -> None:
        """A worker for all jobs; another for those that are left, as long as one ends before its task does."""
        while self.jobs and self.left() > 0:
            self.at = ("", "")
            code, done = self.work()
            if done:
                break
            self.died(code)
        for job in self.jobs:
            self.found("left_out", {"workload": job.name, "contender": "all", "reason": "no time was left"})

    def left(self) -> float:
        return self.limit - (time.perf_counter() - self.started)

    def work(self) -> tuple[str, bool]:
        """Run one worker: how it ended, and whether it came to the end of its task."""
        task = Task(
            [list(job) for job in self.jobs], self.contenders, self.seconds, self.left(),
            None if self.place.real else self.place.backend, self.small, self.excluded,
        )  # fmt: skip
        environment = os.environ | self.place.environment()
        with subprocess.Popen(self.command(task), stdout=subprocess.PIPE, text=True, env=environment) as process:
            try:
                done = self.read(process)
            except TimeoutError as problem:
                return str(problem), False
            finally:
                process.kill()  # if it is not at its end anyway
        return f"the process ended with {process.returncode}", done

    def command(self, task: Task) -> list[str]:
        return [sys.executable, "-m", "benchmarks.gpu.worker", task.as_argument()]

    def read(self, process: subprocess.Popen) -> bool:
        """Gather what a worker says; raises TimeoutError when it says nothing, or when time is up."""
        lines: queue.Queue[str | None] = queue.Queue()

        def listen() -> None:
            with contextlib.suppress(ValueError):  # closed meanwhile
                for line in process.stdout:
                    lines.put(line)
            lines.put(None)

        threading.Thread(target=listen, daemon=True).start()
        while True:
            # A worker looks at the clock itself; one that is in the middle of something gets a little more.
            patience = min(SILENT, self.left() + 15)
            try:
                line = lines.get(timeout=max(0.0, patience))
            except queue.Empty:
                raise TimeoutError(
                    f"said nothing for {SILENT:.0f} s" if patience == SILENT else "no time was left"
                ) from None
            if line is None:
                process.wait()
                return False
            try:
                finding = json.loads(line)
                kind = finding.pop("kind")
            except (ValueError, AttributeError, KeyError):
                print(line.rstrip(), flush=True)  # a library had something to say
                continue
            if kind == "end":
                process.wait()
                self.jobs = []
                return True
            self.heard(kind, finding)

    def heard(self, kind: str, finding: dict[str, Any]) -> None:
        """Take a finding to the others, say it, and write all of them when a workload is done."""
        name, who = finding["workload"], finding.get("contender", "")
        if kind in ("begin", "building", "timing", "spent"):
            self.at = (name, who)
        self.found(kind, finding)
        if kind == "spent":
            self.at = ("", "")
            self.findings["done"].append(name)
            self.jobs = [job for job in self.jobs if job.name != name]
            self.keep()

    def found(self, kind: str, finding: dict[str, Any]) -> None:
        if kind in LISTS:
            self.findings[LISTS[kind]].append(finding)
        said = {
            "built": lambda: f"is ready after {finding['seconds']:.1f} s",
            "time": lambda: f"takes {amount(finding['seconds'], 's')}",
            "left_out": lambda: f"is left out: {finding['reason']}",
            "failed": lambda: f"FAILED: {finding['reason']}",
        }
        if kind in said:
            elapsed = time.perf_counter() - self.started
            print(f"{elapsed:5.0f} s  {finding['workload']}: {title(finding['contender'])} {said[kind]()}", flush=True)

    def died(self, reason: str) -> None:
        """Say whom a worker that ended early was busy with, and leave that out next time."""
        name, who = self.at
        if not name:
            self.found("failed", {"workload": "everything", "contender": "all", "reason": reason})
            self.jobs = []
            return
        if who:
            self.excluded.append([name, who])
        else:
            self.jobs = [job for job in self.jobs if job.name != name]
        for list_of in ("built", "left_out", "failed", "times", "pairs"):  # all others do this workload again
            self.findings[list_of] = [one for one in self.findings[list_of] if self.stands(one)]
        known = [(one["workload"], one["contender"]) for one in self.findings["failed"] + self.findings["left_out"]]
        if (name, who or "all") not in known:
            kind = "left_out" if reason == "no time was left" else "failed"
            self.found(kind, {"workload": name, "contender": who or "all", "reason": reason})

    def stands(self, one: dict[str, Any]) -> bool:
        """Whether a finding remains when its workload is done again: of another one, or about who ended a worker."""
        return one["workload"] != self.at[0] or [one["workload"], one.get("contender")] in self.excluded

    def keep(self) -> None:
        """Write the numbers: what is on disk survives this process."""
        self.findings["seconds"] = self.before + time.perf_counter() - self.started
        numbers = _numbers(self.path)
        numbers.parent.mkdir(parents=True, exist_ok=True)
        numbers.write_text(json.dumps(rounded(self.findings), indent=1) + "\n", encoding="utf-8")


def _kept(path: Path) -> dict[str, Any] | None:
    """What an earlier run has found, or None."""
    return json.loads(_numbers(path).read_text(encoding="utf-8")) if _numbers(path).exists() else None
