"""What has to be measured in a process of its own: how long an import takes, and how much memory a step needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from benchmarks.contenders.base import LeftOut, NotMine, Step
from benchmarks.workloads.others import Import, Memory

# Those whose memory is looked at: tracemalloc sees only NumPy's arrays, and the resident memory takes a while to see.
SEEN = {
    "allocated": ("numpy", "autograd", "portanet-numpy", "portanet-compile"),
    "resident": ("numpy", "torch", "jax", "portanet-numpy", "portanet-compile"),
}
TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def imported(module: str) -> Callable[[Import], Step]:
    """The builder of a step that imports a module in a new interpreter and returns the seconds that it took."""

    def build(_: Import) -> Step:
        return lambda: float(_output(["-c", TIMED.format(module)]))

    return build


def peak(contender: str) -> Callable[[Memory], Step]:
    """The builder of a step that lets a new process train a little, and returns the bytes that it needed at most."""

    def build(workload: Memory) -> Step:
        from benchmarks import contenders

        able = contenders.ALL[contender].builder(workload.network)
        if contender not in SEEN[workload.way] or able is None:
            raise NotMine(f"{contender} is not asked for its {workload.way} memory")
        arguments = ["-m", "benchmarks.memory", workload.way, contender, workload.network.name]
        return lambda: float(_output(arguments))

    return build


def _output(arguments: list[str]) -> str:
    # In a few steps nothing is compiled by itself, whatever the process that asks was told: see `running`.
    environment = {name: value for name, value in os.environ.items() if name != "PORTANET_PATIENCE"}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise LeftOut(last.removeprefix("benchmarks.contenders.base.LeftOut: "))
    return done.stdout.strip().splitlines()[-1]
