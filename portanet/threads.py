"""Work in portions on several cores: NumPy and BLAS let go of the interpreter while they compute.

As many threads are used as NumPy's BLAS may use, so that `OMP_NUM_THREADS`, threadpoolctl and the like steer both.
Inside, BLAS is held to one thread: the portions are the parallel work.

While they work, each thread is kept to a core of its own. A thread that waited for the interpreter is woken by the one
that lets go of it, and systems like to wake it on that one's core: there both would share one core while another idles.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any


def usable() -> int:
    """How many threads work may be spread over."""
    library = blas()
    if library is None or getattr(_here, "busy", False):
        return 1
    return int(library.get_num_threads())


def cut(size: int, portions: int, step: int = 1) -> list[tuple[int, int]]:
    """``range(size)`` as so many stretches of about one length, or fewer, cut at multiples of ``step``."""
    steps = -(-size // step)
    count = max(1, min(portions, steps))
    ends = [min(i * steps // count * step, size) for i in range(count + 1)]
    return list(itertools.pairwise(ends))


def spread(work: Callable[[int, int], Any], size: int, portions: int, step: int = 1) -> None:
    """Call ``work(first, last)`` on so many stretches of ``range(size)``, side by side.

    Give more portions than there may be threads: whoever began late, or shares its core with others, takes fewer. And
    give a number that depends on the work alone where sums are taken of each, so that these are the same everywhere.
    """
    run([functools.partial(work, *stretch) for stretch in cut(size, portions, step)])


def spread_later(work: Callable[[int, int], Any], size: int, portions: int, step: int = 1) -> None:
    """`spread` of work that nobody waits for inside of `together`: it is then done at the end of that."""
    waiting = getattr(_here, "waiting", None)
    tasks = [functools.partial(work, *stretch) for stretch in cut(size, portions, step)]
    if waiting is None:
        run(tasks)
    else:
        waiting += tasks


class together:
    """A context at whose end all that was to be spread later is, at once: to wake a thread takes a tenth of a
    millisecond, and to wait for it another."""

    def __enter__(self) -> None:
        _here.waiting = []

    def __exit__(self, *problem: object) -> None:
        waiting, _here.waiting = _here.waiting, None
        if waiting:
            run(waiting)


class one_for_blas:
    """A context in which BLAS has one thread: for products that must not depend on how many it has.

    ``count``: how many it has, where that is known.
    """

    def __init__(self, count: int | None = None) -> None:
        self.library = blas()
        self.count = count or (1 if self.library is None else self.library.get_num_threads())

    def __enter__(self) -> None:
        if self.count > 1:
            self.library.set_num_threads(1)

    def __exit__(self, *problem: object) -> None:
        if self.count > 1:
            self.library.set_num_threads(self.count)


def run(tasks: Sequence[Callable[[], Any]]) -> None:
    """Run the tasks, spread over the threads that may be used; raises what the first that failed raised."""
    count = min(usable(), len(tasks))
    crew = _crew(os.getpid()) if count > 1 else None
    if crew is None or not crew.free.acquire(blocking=False):  # helpers that are at other work are not waited for
        for task in tasks:
            task()
        return
    try:
        crew.run(tasks, count - 1)
    finally:
        crew.free.release()


def run_in_turn(*phases: Sequence[Callable[[], Any]]) -> None:
    """`run` the tasks of all phases, where those of a phase begin when all of the one before are done.

    This wakes threads once, not once a phase. Tasks are begun in order, so whoever waits, waits for tasks at work.
    """
    tasks: list[Callable[[], Any]] = []
    before: _Phase | None = None
    for phase in phases:
        if not phase:
            continue
        here = _Phase(len(phase))
        tasks += [functools.partial(here.do, task, before) for task in phase]
        before = here
    run(tasks)


class _Phase:
    """How many of some tasks are not done yet."""

    def __init__(self, count: int) -> None:
        self.left, self.failed = count, False
        self.turn, self.over = threading.Lock(), threading.Event()

    def do(self, task: Callable[[], Any], before: _Phase | None) -> None:
        """Do one of them when all ``before`` are done; nothing where one of these failed."""
        try:
            if before is not None:
                before.over.wait()
                self.failed |= before.failed
            if not self.failed:
                task()
        except BaseException:
            self.failed = True
            raise
        finally:
            with self.turn:
                self.left -= 1
                if self.left == 0:
                    self.over.set()


@functools.cache
def blas() -> Any:
    """NumPy's BLAS as threadpoolctl finds it, or None where there is no such thing (then no thread is started)."""
    import numpy
    from threadpoolctl import ThreadpoolController  # here, so that `import portanet` does not pay for it

    numpy.dot(numpy.ones((2, 2)), numpy.ones((2, 2)))  # so that it is loaded
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    own = [one for one in found if "numpy" in one.filepath] or found
    return own[0] if own else None


def watch_by(watch: Callable[[Any, int], Any]) -> None:
    """Have threads that wait look for a while, by ``watch(bell, seen)``, before they sleep: until bell[0] is not ``seen``.

    It must let go of the interpreter and return after a millisecond or so at the latest. To wake a thread that sleeps
    takes a tenth of one, and within a step there is always more to do soon.
    """
    global _watch
    _watch = watch


def _pass(bell: Any, seen: int) -> None:
    """Not to watch: without Numba there is no way to do so that leaves the interpreter to others."""


_watch: Callable[[Any, int], Any] = _pass


def _bell() -> Any:
    import numpy

    return numpy.zeros(1, numpy.int64)


# Of this thread. busy: whether it is at a task, which then spreads no further. waiting: tasks for the end of `together`.
_here = threading.local()


class _Round:
    """Tasks that several threads take one after the other, until none is left."""

    def __init__(self, tasks: Sequence[Callable[[], Any]]) -> None:
        self.left = iter(tasks)
        self.turn = threading.Lock()
        self.running = 0
        self.waited_for = threading.Lock()  # held until the last task is done
        self.waited_for.acquire()
        self.ended = _bell()  # 1 while no task is being done
        self.error: BaseException | None = None

    def work(self) -> None:
        """Take tasks until none is left."""
        _here.busy = True
        try:
            while (task := self._next()) is not None:
                try:
                    task()
                except BaseException as error:
                    self._fail(error)
                self._done()
        finally:
            _here.busy = False

    def _next(self) -> Callable[[], Any] | None:
        with self.turn:
            task = next(self.left, None)
            if task is not None:
                self.running += 1
                self.ended[0] = 0
            return task

    def _done(self) -> None:
        with self.turn:
            self.running -= 1
            if self.running == 0:
                self.ended[0] = 1
                if self.waited_for.locked():
                    self.waited_for.release()

    def _fail(self, error: BaseException) -> None:
        with self.turn:
            self.error = self.error or error
            self.left = iter(())

    def finish(self) -> None:
        """Work, wait until the others' last tasks are done, and raise what failed."""
        self.work()
        _watch(self.ended, 0)
        while True:
            with self.turn:
                if self.running == 0:
                    break
            self.waited_for.acquire()
        if self.error is not None:
            raise self.error


class _Helper(threading.Thread):
    """A thread that waits for rounds to take part in."""

    def __init__(self) -> None:
        super().__init__(name="portanet", daemon=True)
        self.rounds: SimpleQueue[_Round] = SimpleQueue()
        self.core: int | None = None  # which it is kept to
        self.bell = _bell()  # how many rounds it was called to
        self.start()

    def call(self, work: _Round) -> None:
        self.rounds.put(work)
        self.bell[0] += 1

    def run(self) -> None:
        for rounds in itertools.count():
            _watch(self.bell, rounds)
            self.rounds.get().work()


class _Crew:
    """The helpers of a process, of which one caller at a time has the use."""

    def __init__(self) -> None:
        self.free = threading.Lock()
        self.helpers: list[_Helper] = []

    def run(self, tasks: Sequence[Callable[[], Any]], count: int) -> None:
        """Run the tasks with the help of so many."""
        while len(self.helpers) < count:
            self.helpers.append(_Helper())
        helpers, library = self.helpers[:count], blas()
        threads, allowed = library.get_num_threads(), _settle(helpers)
        library.set_num_threads(1)
        try:
            work = _Round(tasks)
            for helper in helpers:
                helper.call(work)
            work.finish()
        finally:
            library.set_num_threads(threads)
            if allowed is not None:
                os.sched_setaffinity(0, allowed)


@functools.cache
def _crew(process: int) -> _Crew:
    return _Crew()  # one a process: after a fork the parent's threads do not exist


def _settle(helpers: Sequence[_Helper]) -> set[int] | None:
    """Keep the caller to the core that it is on and each helper to another; returns where the caller might be before.

    None where the system cannot be asked for that, or where there are not so many cores.
    """
    here = _core()()
    if here < 0:
        return None
    allowed = os.sched_getaffinity(0)
    others = sorted(allowed - {here}, key=lambda core: (core < here, core))
    if len(others) < len(helpers):
        return None
    for helper, core in zip(helpers, others, strict=False):
        if helper.core != core and helper.native_id is not None:
            os.sched_setaffinity(helper.native_id, {core})
            helper.core = core
    os.sched_setaffinity(0, {here})
    return allowed


@functools.cache
def _core() -> Callable[[], int]:
    """The number of the core that the calling thread is on; -1 where that cannot be asked for."""
    import ctypes  # here, so that `import portanet` does not pay for it

    ask = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None
    return ask or (lambda: -1)
