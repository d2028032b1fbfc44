"""The most memory that a few steps of training need, for a process of its own: python -m benchmarks.memory WAY WHO WHAT

"allocated" is to the byte what Python and NumPy have asked for since before the model was made, by tracemalloc: the
fair measure between programs on NumPy. "resident" is what the process occupies at most in a step, over what it
occupied after a step of a tiny network, when the libraries were there and warm. It includes what allocators keep for
themselves, and it is the only measure for PyTorch and JAX, whose memory Python does not see.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import tracemalloc
from pathlib import Path

from benchmarks import contenders, workloads
from benchmarks.workloads.base import Network
from benchmarks.workloads.mlp import mlp

STEPS = 3
TINY = mlp(8, 8, 4, batch=4)


def allocated(contender: contenders.Contender, network: Network) -> int:
    contender.build(TINY)()
    tracemalloc.start()
    step = contender.build(network)
    for _ in range(STEPS):
        step()
    tracemalloc.reset_peak()  # what making the model needed for a moment is no part of training
    step()
    return tracemalloc.get_traced_memory()[1]


def resident(contender: contenders.Contender, network: Network) -> int:
    warm = contender.build(TINY)
    for _ in range(STEPS):
        warm()
    _trim()
    before = _status("VmRSS")
    step = contender.build(network)
    for _ in range(STEPS):
        step()
    _trim()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: compiling is no part of a step
    for _ in range(STEPS):
        step()
    return _status("VmHWM") - before


def _trim() -> None:
    """Give back to the system what the C library keeps, such as what a compiler has used."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(name: str) -> int:
    """A line of the process's status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no line {name}")


def main() -> None:
    way, name, workload = sys.argv[1:]
    contender, network = contenders.ALL[name], workloads.ALL[workload]
    if way == "resident" and not Path("/proc/self/clear_refs").exists():
        raise contenders.LeftOut("resident memory is read from /proc, which this system has not")
    print({"allocated": allocated, "resident": resident}[way](contender, network))


if __name__ == "__main__":
    main()
