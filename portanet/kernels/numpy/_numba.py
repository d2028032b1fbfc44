"""Loops that Numba compiles, where it is installed: one pass over memory in place of one for each of NumPy's calls.

Numba takes a quarter of a second to import and half a second to compile a loop, or a third of one to find it on the
disk, where it keeps what it compiled. So a loop is compiled only when about as long has been spent without it: who has
little to do never waits. Both ways give the same bits, for Numba neither reorders sums nor joins a product and a sum to
one rounding unless it is told to; which way is taken is therefore no one's business but the clock's.

A compiled loop lets go of the interpreter. Where it is spread over threads, that is done by `portanet.threads`, like all
other work here, and not by Numba, whose threads would compete with those of BLAS.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from portanet import threads

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
    """A function of arrays with one axis, and numbers after them, that loops over all elements.

    ``None`` in place of an array or a number is another function to Numba, without the lines that ask for it.
    ``portion`` numbers are worth a thread; without it, no number of them is.
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
        portions = 1 if self.portion is None else first.size // self.portion
        if portions < 2:
            return functools.partial(loop, *flat, *own)

        def work(i: int, j: int) -> None:
            loop(*[None if x is None else x[i:j] for x in flat], *own)

        return functools.partial(threads.spread_later, work, first.size, portions, step=16)


class Routine:
    """A function of a module that is imported when it is compiled, for work that can be done without it."""

    done = 0.0  # how much was done without any of them

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def at_hand(self, cost: float, *arrays: Any) -> Callable[..., None] | None:
        """The routine for work on so many numbers, on such arrays; None where it is to be done without it."""
        if cost <= SHORT or not is_at_hand() or not all([x.dtype.char == "f" for x in arrays]):
            return None
        if Routine.done < PATIENCE:
            Routine.done += cost
            return None
        return _routine(self.module, self.name)


class Products(Routine):
    """One that calls `_gemm.product`, whose address is its first argument; its cost is given in multiplications."""

    def at_hand(self, cost: float, *arrays: Any) -> Callable[..., None] | None:
        routine = super().at_hand(cost / MULTIPLICATIONS, *arrays)
        at = _product_at() if routine is not None else 0
        return functools.partial(routine, at) if routine is not None and at else None


@functools.cache
def _routine(module: str, name: str) -> Callable[..., None] | None:
    import importlib

    try:
        _wakeful()
        return compiled(getattr(importlib.import_module(f"portanet.kernels.numpy.{module}"), name))
    except ImportError:  # Numba is there, but older than NumPy
        return None


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
def compiled(function: Callable[..., None]) -> Callable[..., None] | None:
    """The function as Numba compiles it, for each combination of data types and missing arguments when it is met.

    None where Numba cannot be imported, as when it is older than NumPy.
    """
    import importlib

    try:
        numba: Any = importlib.import_module("numba")
    except ImportError:
        return None
    how: dict[str, Any] = {"nogil": True, "error_model": "numpy"}  # by which 1 / 0 is infinite
    try:
        return numba.njit(cache=True, **how)(function)
    except RuntimeError:  # there is no folder that it may keep what it compiled in
        return numba.njit(**how)(function)
