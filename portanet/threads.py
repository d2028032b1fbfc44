"""Work in blocks on several cores: NumPy and BLAS let go of the interpreter while they compute.

As many threads are used as NumPy's BLAS may use, so that `OMP_NUM_THREADS`, threadpoolctl and the like steer both.
Inside, BLAS is held to one thread: the blocks are the parallel work.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy


@functools.cache
def _blas() -> Any:
    """NumPy's BLAS as threadpoolctl finds it, or None where there is no such thing (then no thread is started)."""
    from threadpoolctl import ThreadpoolController  # here, so that `import portanet` does not pay for it

    numpy.dot(numpy.ones((2, 2)), numpy.ones((2, 2)))  # so that it is loaded
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    own = [one for one in found if "numpy" in one.filepath] or found
    return own[0] if own else None


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    # One a process: after a fork the parent's threads do not exist.
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), thread_name_prefix="portanet")


@functools.cache
def _core() -> Callable[[], int]:
    """The number of the core that the calling thread is on; -1 where that cannot be asked for."""
    import ctypes  # here, so that `import portanet` does not pay for it

    ask = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None
    return ask or (lambda: -1)


def _leave(core: int) -> None:
    """Move the calling thread to another core than this one; from there on it may go where it likes."""
    allowed = os.sched_getaffinity(0)
    if others := allowed - {core}:
        os.sched_setaffinity(0, others)
        os.sched_setaffinity(0, allowed)


_lock = threading.Lock()
_inside = 0  # calls that hold BLAS to one thread at the moment
_before = 1  # how many it had before the first of them
_here = threading.local()  # busy: whether this thread is at a task, which then spreads no further


def usable() -> int:
    """How many threads work may be spread over."""
    blas = _blas()
    if blas is None or getattr(_here, "busy", False):
        return 1
    return _before if _inside else int(blas.get_num_threads())


def run(tasks: Sequence[Callable[[], Any]]) -> None:
    """Run the tasks, spread over the threads that may be used; raises what the first that failed raised."""
    threads = min(usable(), len(tasks))
    if threads < 2:
        for task in tasks:
            task()
        return
    left = iter(tasks)  # shared: who is done takes the next
    turn = threading.Lock()

    core = _core()
    callers = core()

    def help_out() -> None:
        # Some virtual machines wake a thread on the core of who woke it, where it waits though another core idles.
        if callers >= 0 and core() == callers:
            _leave(callers)
        work()

    def work() -> None:
        _here.busy = True
        try:
            while True:
                with turn:
                    task = next(left, None)
                if task is None:
                    return
                task()
        finally:
            _here.busy = False

    _hold()
    try:
        helpers = [_pool(os.getpid()).submit(help_out) for _ in range(threads - 1)]
        try:
            work()
        finally:
            for helper in helpers:
                if not helper.cancel():  # it had begun
                    helper.result()
    finally:
        _release()


def _hold() -> None:
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = _blas().get_num_threads()
            _blas().set_num_threads(1)
        _inside += 1


def _release() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            _blas().set_num_threads(_before)
