"""Runs data-apis/array-api-tests on portanet, and counts the failures that the library below does not have itself.

    python -m tests.conformance.run CHECKOUT --backend numpy --backend array_api_strict

CHECKOUT is a clone of the suite with its submodule; it needs pytest-json-report and ndindex beside pytest and
hypothesis. For each backend the suite runs three times: on the library's own namespace, on portanet over it, and on
portanet with the tape forced on. The exit status is 1 if portanet fails where the library passes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from portanet.backend import KNOWN

REPOSITORY = Path(__file__).resolve().parents[2]
VERSION = "2025.12"
PORTANET = "portanet"
FORCED = "exec('from tests.conformance.forced import portanet as xp')"

# What portanet refuses on purpose, so that a test which asks for it must fail: (mode, end of the test's id) -> why.
REFUSED = {
    ("tape on", "test_dlpack.py::test_dunder_dlpack"): "an export by DLPack would lose the gradient; detach() first",
}


@dataclass
class Outcome:
    """One run of the suite: how many tests passed, and the message of each that did not."""

    passed: int
    failures: dict[str, str]


def suite(checkout: Path, module: str, backend: str, examples: int, tests: list[str] | None = None) -> Outcome:
    """The suite (or some of its tests, by id) on one namespace. Raises RuntimeError where the suite does not start."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        chosen = Path(folder) / "tests.txt"  # by file: ids are long, and hold spaces
        chosen.write_text("\n".join(tests or ["array_api_tests"]))
        command = [sys.executable, "-m", "pytest", f"@{chosen}", "-q", "-p", "no:cacheprovider", "--tb=line"]
        command += ["--disable-deadline", "--derandomize", "--max-examples", str(examples)]
        command += ["--json-report", "--json-report-file", str(report), "--json-report-omit", "collectors"]
        command += ["--skips-file", os.devnull, "--xfails-file", os.devnull]
        environment = os.environ | {
            "ARRAY_API_TESTS_MODULE": module,
            "ARRAY_API_TESTS_VERSION": VERSION,
            "PORTANET_BACKEND": backend,
            "JAX_ENABLE_X64": "1",
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
        }
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        if not report.exists() or done.returncode not in (0, 1):
            raise RuntimeError(f"the suite did not run on {module}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        results = json.loads(report.read_text())["tests"]
    if not results:
        raise RuntimeError(f"the suite in {checkout} found no test.")
    failures = {test["nodeid"]: message(test) for test in results if test["outcome"] not in ("passed", "skipped")}
    return Outcome(sum([test["outcome"] == "passed" for test in results]), failures)


def message(test: dict) -> str:
    """The first line of what went wrong."""
    for stage in ("call", "setup", "teardown"):
        crash = test.get(stage, {}).get("crash")
        if crash:
            return str(crash["message"]).strip().splitlines()[0][:200]
    return test["outcome"]


def refused(mode: str, test: str) -> bool:
    """Whether portanet says no on purpose here."""
    return any([mode == where and test.endswith(end) for where, end in REFUSED])


def compare(checkout: Path, backend: str, examples: int) -> list[tuple[str, str, str]]:
    """Print one backend's row; return (mode, test, message) for every failure that is portanet's alone."""
    namespace = KNOWN[backend][0]
    own = suite(checkout, namespace, backend, examples)
    alone = []
    cells = [f"{own.passed} / {len(own.failures)}"]
    for mode, module in (("tape off", PORTANET), ("tape on", FORCED)):
        found = suite(checkout, module, backend, examples)
        suspects = [test for test in found.failures if test not in own.failures]
        if suspects:  # few examples may have missed the library's own failure: look closer before blaming portanet
            own.failures |= suite(checkout, namespace, backend, 20 * examples, suspects).failures
        suspects = [test for test in suspects if test not in own.failures and not refused(mode, test)]
        alone += [(mode, test, found.failures[test]) for test in suspects]
        cells.append(f"{found.passed} / {len(found.failures)} ({len(suspects)})")
    print(f"{backend:18}{cells[0]:>14}{cells[1]:>20}{cells[2]:>20}", flush=True)
    return alone


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="a clone of data-apis/array-api-tests with its submodule")
    parser.add_argument("--backend", action="append", choices=sorted(KNOWN), help="default: numpy; may be repeated")
    parser.add_argument("--max-examples", type=int, default=20, help="hypothesis examples for each test")
    options = parser.parse_args()
    if not (options.checkout / "array_api_tests").is_dir():
        parser.error(f"{options.checkout} holds no array_api_tests; clone the suite there, with --recursive.")
    print(f"Array API {VERSION}, passed / failed (failures that the library itself does not have)")
    print(f"{'backend':18}{'itself':>14}{'portanet':>20}{'tape forced on':>20}")
    alone = []
    for backend in options.backend or ["numpy"]:
        alone += [(backend, *failure) for failure in compare(options.checkout.resolve(), backend, options.max_examples)]
    for backend, mode, test, why in alone:
        print(f"{backend}, {mode}: {test.removeprefix('array_api_tests/')}\n    {why}")
    for (mode, test), why in REFUSED.items():
        print(f"not counted, {mode}: {test}: {why}")
    print(f"{len(alone)} failures are portanet's alone.")
    return 1 if alone else 0


if __name__ == "__main__":
    sys.exit(main())
