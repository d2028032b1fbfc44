"""How fast portanet is beside what a user would write or pick instead, on this machine: python -m benchmarks

Each pair of contenders is timed in turn (A B A B ...) in one process, with one thread and with all of them; a Markdown
and an HTML report with pictures are written. What is not installed is left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import contenders, environment, running, threads, workloads
from benchmarks.report import write
from benchmarks.report.content import goal_lines

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
    parser.add_argument("--seconds", type=float, default=0.7, help="how long a pair is timed (default: 0.7)")
    parser.add_argument("--output", type=Path, help=f"the report's path without suffix (default: {REPORTS / 'cpu'})")
    parser.add_argument("--scaling", choices=["yes", "no"], help="how cost grows (default: yes, unless --workloads)")
    parser.add_argument("--smoke", action="store_true", help="a minute: small, and only to see that it works")
    parser.add_argument("--verbose", action="store_true", help="say at the end what took longest")
    parser.add_argument("--list", action="store_true", help="name the workloads and contenders, and stop")
    parser.add_argument(
        "--render", type=Path, metavar="JSON", help="write the pages anew from what was measured before"
    )
    return parser.parse_args(words)


def main() -> int:
    options = parsed()
    if options.list:
        print("workloads:", *workloads.ALL, "contenders:", *contenders.ALL, sep="\n  ")
        return 0
    if options.render:
        findings = json.loads(options.render.read_text())
        report(findings, options.output or options.render.with_suffix(""))
        return 0
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
    for line in goal_lines(findings):
        print(line)


if __name__ == "__main__":
    sys.exit(main())
