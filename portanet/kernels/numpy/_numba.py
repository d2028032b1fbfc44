"""Loops that Numba compiles, where it is installed: one pass over memory in place of one for each of NumPy's calls.

Numba takes a quarter of a second to import and half a second to compile a loop, or a third of one to find it on the
disk, where it keeps what it compiled. So a loop is compiled only when about as long has been spent without it: who has
little to do never waits. Both ways give the same bits, for Numba neither reorders sums nor joins a product and a sum to
one rounding unless it is told to; which way is taken is therefore no one's business but the clock's.

A compiled loop lets go of the interpreter. Where MKL is there, whose threads are TBB's, the same threads take the
portions of a loop: they are called in some microseconds and rest at once. Elsewhere `portanet.threads` spreads what is
long enough, for Numba's other threads would compete with those of OpenBLAS.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from portanet import threads
from portanet.kernels.numpy._products import mkl

prange = range  # over portions; `in_threads` makes it Numba's, of which threads take their share
PORTION = 1 << 17  # numbers that are worth one of TBB's threads
PRODUCTS = 1 << 20  # multiplications that are
PATIENCE = 1 << 26  # numbers that a loop's work is done on without it before it is compiled: some tenths of a second
MULTIPLICATIONS = 64  # that take as long as what is done on a number
SHORT = 1 << 10  # numbers: up to so many NumPy's own calls cost no more than the call of a compiled loop


class Late:
    """A function that is compiled when about as long has been spent without it as that takes."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.done = 0  # on how many numbers the work was done without it

    def after(self, size: int) -> Callable[..., None] | None:
        """The compiled function for work on so many numbers, or None: then it is done without it."""
        if not is_at_hand():
            return None
        if self.done < PATIENCE:
            self.done += size
            return None
        return compiled(self.function)


class Loop:
    """A function of a number of portions, arrays with one axis, and numbers, that loops over all elements in portions.

    ``None`` in place of an array or a number is another function to Numba, without the lines that ask for it.
    ``portion`` numbers are worth a thread of `portanet.threads`; without it, no number of them is.
    """

    def __init__(self, function: Callable[..., None], portion: int | None = None) -> None:
        self.late = Late(function)
        self.portion = portion

    def over(self, arrays: list[Any], numbers: list[float | None]) -> bool:
        """Do it in place, on arrays of one size (the first is none that may be missing); returns whether it was done."""
        work = self.bound(arrays, numbers)
        if work is not None:
            work()
        return work is not None

    def bound(self, arrays: list[Any], numbers: list[float | None]) -> Callable[[], Any] | None:
        """What does `over` of these, as often as it is called; None where, or as long as, it is not for Numba to do."""
        first = arrays[0]
        if first.size <= SHORT:
            return None
        given = [x for x in arrays if x is not None]
        if first.dtype.char not in "fd" or not all([x.flags.carray and x.dtype == first.dtype for x in given]):
            return None
        loop = self.late.after(first.size)
        if loop is None:
            return None
        flat = [None if x is None else x.reshape(-1) for x in arrays]
        own = [None if number is None else first.dtype.type(number) for number in numbers]  # as NumPy takes them
        shared = in_threads(self.late.function) if first.size >= 2 * PORTION else None
        if shared is not None:
            return functools.partial(shared, first.size // PORTION, *flat, *own)
        portions = 1 if self.portion is None else first.size // self.portion
        if portions < 2:
            return functools.partial(loop, 1, *flat, *own)

        def work(i: int, j: int) -> None:
            loop(1, *[None if x is None else x[i:j] for x in flat], *own)

        return functools.partial(threads.spread_later, work, first.size, portions, step=16)


class Compiled(NamedTuple):
    """A loop that Numba compiled: for a thread ``alone``, and as TBB's threads share it where they are worth that.

    Its first argument is in how many portions to cut the work.
    """

    alone: Callable[..., None]
    shared: Callable[..., None] | None

    def having(self, *first: Any) -> Compiled:
        """The loop whose first arguments are these."""
        return Compiled(*[None if one is None else functools.partial(one, *first) for one in self])  # type: ignore[arg-type]

    def over(
        self, size: int, portions: int, cut: Callable[[int, int], Sequence[Any]], *rest: Any, ours: int | None = None
    ) -> None:
        """Call it on ``cut(first, last)`` for stretches of ``range(size)``, and on the ``rest``, which is for all.

        TBB's threads share as many portions, or else ours do, ``ours`` where that is another number.
        """
        if self.shared is not None and portions > 1:
            self.shared(min(portions, size), *cut(0, size), *rest)
        else:
            alone, count = self.alone, portions if ours is None else ours
            threads.spread(lambda first, last: alone(1, *cut(first, last), *rest), size, count)


class Routine:
    """A function of a module that is imported when it is compiled, for work that can be done without it."""

    done = 0.0  # how much was done without any of them

    def __init__(self, module: str, name: str, types: str = "f") -> None:
        self.module, self.name, self.types = module, name, types  # characters of NumPy's

    def at_hand(self, cost: float, *arrays: Any) -> Compiled | None:
        """The routine for work on so many numbers, on such arrays; None where it is to be done without it."""
        if cost <= SHORT or not is_at_hand() or not all([x.dtype.char in self.types for x in arrays]):
            return None
        if Routine.done < PATIENCE:
            Routine.done += cost
            return None
        alone, shared = _routine(self.module, self.name)
        return None if alone is None else Compiled(alone, shared if cost >= 2 * PORTION else None)


class Products(Routine):
    """One that calls `_gemm.product`, whose address is its first argument; its cost is given in multiplications."""

    def at_hand(self, cost: float, *arrays: Any) -> Compiled | None:
        found = super().at_hand(cost / MULTIPLICATIONS, *arrays)
        at = _product_at() if found is not None else 0
        if found is None or not at:
            return None
        shared = _routine(self.module, self.name)[1] if cost >= 2 * PRODUCTS else None
        return Compiled(found.alone, shared).having(at)


@functools.cache
def _routine(module: str, name: str) -> tuple[Callable[..., None] | None, Callable[..., None] | None]:
    """A function of a module for a thread alone and for TBB's, or None."""
    import importlib

    try:
        _wakeful()
        function = getattr(importlib.import_module(f"portanet.kernels.numpy.{module}"), name)
        return compiled(function), in_threads(function)
    except ImportError:  # Numba is there, but older than NumPy
        return None, None


@functools.cache
def _wakeful() -> None:
    """From now on there is work in threads that goes on without the interpreter: those that wait for it look for more."""
    from portanet.kernels.numpy import _watch

    look = compiled(_watch.look)
    if look is not None:
        threads.watch_by(_watch.watcher(look))


@functools.cache
def _product_at() -> int:
    """The address of the product of float32 matrices in NumPy's own OpenBLAS; 0 where NumPy was built with another."""
    import ctypes

    blas = threads.blas()
    try:
        function = ctypes.CDLL(blas.filepath)["scipy_cblas_sgemm64_"]
    except (AttributeError, OSError):  # there is no BLAS, or it has no such name
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def products_are_at_hand() -> bool:
    """Whether there may be `Products` once enough has been done without them."""
    return is_at_hand() and _product_at() != 0


@functools.cache
def is_at_hand() -> bool:
    """Whether Numba is installed and not switched off, by NUMBA_DISABLE_JIT=1; it is not imported for that."""
    import importlib.util
    import os

    return importlib.util.find_spec("numba") is not None and os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


@functools.cache
def compiled(function: Callable[..., None], parallel: bool = False) -> Callable[..., None] | None:
    """The function as Numba compiles it, for each combination of data types and missing arguments when it is met.

    None where Numba cannot be imported, as when it is older than NumPy.
    """
    import importlib

    try:
        numba: Any = importlib.import_module("numba")
    except ImportError:
        return None
    how: dict[str, Any] = {"nogil": True, "parallel": parallel, "error_model": "numpy"}  # by which 1 / 0 is infinite
    try:
        return numba.njit(cache=True, **how)(function)
    except RuntimeError:  # there is no folder that it may keep what it compiled in
        return numba.njit(**how)(function)


def in_threads(function: Callable[..., None]) -> Callable[..., None] | None:
    """The function as Numba compiles it for TBB's threads, which share each `prange`; None where these are not at hand."""
    return _in_threads(function) if _tbb_is_at_hand() else None


@functools.cache
def _in_threads(function: Any) -> Callable[..., None] | None:
    import importlib
    import types

    numba: Any = importlib.import_module("numba")
    several = types.FunctionType(function.__code__, {**function.__globals__, "prange": numba.prange}, function.__name__)
    several.__qualname__ = (
        f"{function.__qualname__}_in_threads"  # by which Numba keeps it on the disk, beside the other
    )
    alone, shared = compiled(function), compiled(several, parallel=True)
    process = os.getpid()

    def run(*args: Any) -> None:
        count = threads.usable()
        if count == 1 or os.getpid() != process:  # after a fork TBB would wait for threads that do not exist
            alone(*args)
            return
        before = numba.get_num_threads()
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
        shared(*args)
        numba.set_num_threads(before)

    return run


@functools.cache
def _tbb_is_at_hand() -> bool:
    """Whether Numba's threads are TBB's, as MKL's are, and nobody has chosen others."""
    import importlib

    if mkl() is None or not is_at_hand():
        return False
    try:
        numba: Any = importlib.import_module("numba")
        importlib.import_module("numba.np.ufunc.tbbpool")
    except ImportError:
        return False
    try:
        return bool(numba.threading_layer() == "tbb")
    except ValueError:  # none is at work yet
        return bool(numba.config.THREADING_LAYER == "default")
