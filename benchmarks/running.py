"""Starts a worker for each number of threads, shows how far they are, and gathers what they find."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from benchmarks import contenders, threads, workloads
from benchmarks.report.words import counted
from benchmarks.worker import Task, as_argument

BAR = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
LISTS = {
    "pair": "pairs", "built": "built", "left_out": "left_out", "failed": "failed", "spent": "spent",
    "curve": "curves", "growth": "growth",
}  # fmt: skip


def planned(options: argparse.Namespace, smoke: dict[str, list[str]]) -> list[Task]:
    """One task for each number of threads."""
    names = options.workloads or smoke.get("workloads", [])
    if smoke and not options.workloads:
        chosen = [w for w in workloads.chosen(names) if w.name in names]
    else:
        chosen = workloads.chosen(names)
    who = [one.name for one in contenders.chosen(options.contenders or smoke.get("contenders", []))]
    base = f"portanet-{options.backend}"
    if base not in contenders.ALL:
        raise SystemExit(f"--backend {options.backend}: no contender is called {base}")
    if base not in who:
        who.append(base)
    seconds = min(options.seconds, 0.05) if smoke else options.seconds
    timed = [one.name for one in chosen if not isinstance(one, workloads.Measured)]
    once = [one.name for one in chosen if isinstance(one, workloads.Measured)]
    scaling = options.scaling == "yes" or (options.scaling is None and not options.workloads)
    tasks = [Task(count, seconds, base, who, timed, small=bool(smoke)) for count in sorted(set(options.threads))]
    # What does not depend on the number of threads is done by the process that has the most.
    tasks[-1] = replace(tasks[-1], workloads=timed + once, scaling=scaling)
    return tasks


def run(tasks: list[Task]) -> dict[str, Any]:
    """All findings of the tasks, one worker after the other."""
    findings: dict[str, Any] = {name: [] for name in LISTS.values()}
    findings["threads"] = [task.threads for task in tasks]
    absent = {name: contenders.ALL[name].missing() for name in tasks[0].contenders}
    findings["absent"] = {name: reason for name, reason in absent.items() if reason}
    for name, reason in findings["absent"].items():
        print(f"{name} is left out: {reason}")
    interval = 0.2 if sys.stderr.isatty() else 20  # seconds; a log has no use for a bar that moves
    total = sum([len(task.workloads) + 2 * task.scaling for task in tasks])
    try:
        with tqdm(total=total, bar_format=BAR, mininterval=interval) as bar:
            for task in tasks:
                present = [name for name in task.contenders if name not in findings["absent"]]
                work(replace(task, contenders=present), findings, bar)
    except KeyboardInterrupt:
        print("stopped: the report has what was found until now")
    return findings


def work(task: Task, findings: dict[str, Any], bar: Any) -> None:
    """Run one worker and read its findings; one that dies is a failure that the report names."""
    command = [sys.executable, "-m", "benchmarks.worker", as_argument(task)]
    # portanet compiles some loops only after seconds of work; here at once, before anything is timed.
    environment = os.environ | threads.environment(task.threads) | {"PORTANET_PATIENCE": "0"}
    before, begun, pairs, timed = bar.n, [], 1, 0
    done = False
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            try:
                finding = json.loads(line)
            except ValueError:
                bar.write(line.rstrip())  # a library had something to say
                continue
            kind = finding.pop("kind")
            done = done or kind == "end"
            if kind == "begin":
                begun.append(finding["workload"])
                pairs, timed = max(1, finding["pairs"]), 0
            timed += kind in ("pair", "growth")
            if begun:
                bar.set_postfix_str(f"{begun[-1]}, {counted(task.threads, 'thread')}", refresh=False)
                bar.update(before + len(begun) - 1 + timed / pairs - bar.n)
            if kind in ("failed", "left_out"):
                bar.write(f"{finding['contender']} is left out of {finding['workload']}: {finding['reason']}")
            if kind in LISTS:
                findings[LISTS[kind]].append({"threads": task.threads, **finding})
    bar.update(before + len(task.workloads) + 2 * task.scaling - bar.n)
    if not done:
        reason = f"the process ended with {process.returncode}"
        last = begun[-1] if begun else "everything"
        findings["failed"].append({"workload": last, "contender": "all", "reason": reason, "threads": task.threads})
