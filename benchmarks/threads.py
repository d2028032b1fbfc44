"""One number of threads for everyone: for NumPy's BLAS, for OpenMP, for PyTorch, and for JAX, which reads it at its start.

JAX makes its threads when it is first used, as many as the process has cores. So each number of threads has a process
of its own, which the operating system keeps to that many cores. Where the system cannot do that (macOS, Windows), JAX
gets a flag that keeps it to one thread; it has none for other numbers.
"""

from __future__ import annotations

import os
import sys


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(count: int) -> dict[str, str]:
    """What a new process is to find in its environment, so that libraries start with this number of threads."""
    found = {name: str(count) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    if count == 1 and not hasattr(os, "sched_setaffinity"):
        found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return found


def keep_to(count: int) -> None:
    """Keep this process, and what it will start, to so many cores. To be called before a library is imported."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])


def limit(count: int) -> None:
    """Give each library that is loaded this number of threads."""
    import numpy  # so that its BLAS is there to be limited
    from threadpoolctl import threadpool_limits

    numpy.dot(numpy.ones((2, 2)), numpy.ones((2, 2)))
    threadpool_limits(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
