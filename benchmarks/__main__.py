"""How fast portanet is beside what a user would write or pick instead, on this machine: python -m benchmarks

Each pair of contenders is timed in turn (A B A B ...) in one process, with one thread and with all of them; a Markdown
and an HTML report with pictures are written. What is not installed is left out, with a line that says so.

With --backend cupy all of it happens on a GPU, with workloads of a size that suits one (python -m benchmarks --backend
cupy --list); the numbers are written after each workload, and the report is named after the GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import contenders, environment, running, threads, workloads
from benchmarks.gpu import running as gpu_running
from benchmarks.gpu.contenders import TITLES
from benchmarks.gpu.workloads import JOBS
from benchmarks.report import contents, write

REPORTS = Path(__file__).resolve().parent / "reports"
SMOKE = {
    "workloads": ["MLP 64-32-10", "MLP 784-128-10", "LeNet", "100 recorded adds on 4x4", "peak memory of MLP 64-32-10"],
    "contenders": [
        one.name for one in contenders.chosen([]) if one.name not in ("torch-compile", "portanet-jax")
    ],  # which start slowly
}


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workloads", nargs="*", default=[], metavar="TEXT", help="those with one of these in the name"
    )
    parser.add_argument("--contenders", nargs="*", default=[], metavar="NAME", help=", ".join(contenders.ALL))
    parser.add_argument("--backend", default="numpy", help="the portanet that all others are timed against")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, threads.cores()], help="default: 1, and all")
    parser.add_argument(
        "--seconds",
        type=float,
        help="how long a pair is timed (default: 0.7), or on a GPU each contender (default: 0.4)",
    )
    parser.add_argument(
        "--output", type=Path, help=f"the report's path without suffix, or a GPU's folder (default: {REPORTS / 'cpu'})"
    )
    parser.add_argument("--scaling", choices=["yes", "no"], help="how cost grows (default: yes, unless --workloads)")
    parser.add_argument("--smoke", action="store_true", help="a minute: small, and only to see that it works")
    parser.add_argument("--verbose", action="store_true", help="say at the end what took longest")
    parser.add_argument("--list", action="store_true", help="name the workloads and contenders, and stop")
    parser.add_argument(
        "--render", type=Path, metavar="JSON", help="write the pages anew from what was measured before"
    )
    parser.add_argument("--limit", type=float, default=200, help="on a GPU: seconds for all of it (default: 200)")
    parser.add_argument("--resume", action="store_true", help="on a GPU: go on with what --output has already")
    parser.add_argument("--pretend", metavar="BACKEND", help=argparse.SUPPRESS)  # a GPU's run, on a machine without one
    options = parser.parse_args(words)
    options.on_gpu = options.backend == "cupy" or bool(options.pretend)
    options.seconds = options.seconds or (0.4 if options.on_gpu else 0.7)
    return options


def main() -> int:
    options = parsed()
    if options.list:
        names = (JOBS, TITLES) if options.on_gpu else (workloads.ALL, contenders.ALL)
        print("workloads:", *names[0], "contenders:", *names[1], sep="\n  ")
        return 0
    if options.render:
        findings = json.loads(options.render.read_text())
        report(findings, options.output or options.render.with_suffix(""))
        return 0
    if options.on_gpu:
        findings, path = gpu_running.measured(options, REPORTS)
        report(findings, path)
        print(f"took {findings['seconds']:.0f} s")
        return 1 if findings["failed"] else 0
    started = time.perf_counter()
    findings = running.run(running.planned(options, SMOKE if options.smoke else {}))
    findings["command"] = " ".join(["python -m benchmarks", *sys.argv[1:]])
    findings["environment"] = environment.described()
    findings["seconds"] = time.perf_counter() - started
    default = Path(tempfile.mkdtemp(prefix="portanet-benchmarks-")) / "smoke" if options.smoke else REPORTS / "cpu"
    report(findings, options.output or default)
    for one in sorted(findings["spent"], key=lambda one: -one["seconds"])[:10] if options.verbose else []:
        print(f"{one['seconds']:6.1f} s for {one['workload']}, {one['threads']} threads")
    print(f"took {findings['seconds']:.0f} s")
    return 1 if findings["failed"] else 0


def report(findings: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for written in write(findings, path):
        print(f"wrote {written}")
    for line in contents(findings).goal_lines(findings):
        print(line)


if __name__ == "__main__":
    sys.exit(main())
