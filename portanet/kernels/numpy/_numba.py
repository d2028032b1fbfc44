"""Loops that Numba compiles, where it is installed: one pass over memory in place of one for each of NumPy's calls.

Numba takes a quarter of a second to import and half a second to compile a loop, or a third of one to find it on the
disk, where it keeps what it compiled. So a loop is compiled only when about as long has been spent without it: who has
little to do never waits, and who has much may set PORTANET_PATIENCE=0, which multiplies how long that is. Both ways give
the same bits, for Numba neither reorders sums nor joins a product and a sum to one rounding unless it is told to; which
way is taken is therefore no one's business but the clock's.

A compiled loop lets go of the interpreter. Where that pays, threads share it: those of `_in_threads` where these are at
hand, else those of `portanet.threads`.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from portanet import threads
from portanet.kernels.numpy._in_threads import kept, shared

PORTION = 1 << 17  # numbers that are worth one of TBB's threads
PRODUCTS = 1 << 20  # multiplications that are


def _patience(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not found >= 0:
        raise ValueError(f"the environment has PORTANET_PATIENCE={text}; it must be a number that is 0 or more.")
    return found


# Numbers that work is done on without a compiled loop before any is: some tenths of a second.
PATIENCE = (1 << 26) * _patience(os.environ.get("PORTANET_PATIENCE", "1"))
MORE = 32  # times as many before any is compiled for threads to share it, which takes some seconds for a network
MULTIPLICATIONS = 64  # that take as long as what is done on a number
SHORT = 1 << 10  # numbers: up to so many NumPy's own calls cost no more than the call of a compiled loop


class Compiled:
    """A loop that Numba compiled: ``alone(*args)``, and where TBB's threads are worth it ``shared(portions, *args)``.

    The function behind both is ``part(k, n, *args)``: portion k of n.
    """

    def __init__(self, part: Callable[..., None], shared: Callable[..., None] | None, *first: Any) -> None:
        self.alone = functools.partial(part, 0, 1, *first)
        self.is_shared = shared is not None
        self._part, self._shared, self._first = part, shared, first

    def having(self, *first: Any) -> Compiled:
        """The loop whose first arguments are these."""
        return Compiled(self._part, self._shared, *self._first, *first)

    def shared(self, portions: int, *args: Any) -> None:
        assert self._shared is not None
        self._shared(portions, *self._first, *args)

    def over(
        self, size: int, portions: int, cut: Callable[[int, int], Sequence[Any]], *rest: Any, ours: int | None = None
    ) -> None:
        """Call it on ``cut(first, last)`` for stretches of ``range(size)``, and on the ``rest``, which is for all.

        TBB's threads share so many portions, or else ours do, ``ours`` where that is another number.
        """
        if self.is_shared and portions > 1:
            self.shared(min(portions, size), *cut(0, size), *rest)
        else:
            alone, count = self.alone, portions if ours is None else ours
            threads.spread(lambda first, last: alone(*cut(first, last), *rest), size, count)


class Late:
    """A function that is compiled when about as long has been spent without any such as that takes."""

    done = 0.0  # on how many numbers work was done, by all of them
    calls_blas = False

    def __init__(self, function: Callable[..., None]) -> None:
        self.function: Callable[..., None] | None = function

    def after(self, cost: float) -> Callable[..., None] | None:
        """The compiled function for work on so many numbers, or None: then it is done without it."""
        if not is_at_hand():
            return None
        before, Late.done = Late.done, Late.done + cost
        return compiled(self.function) if before >= PATIENCE and self.function is not None else None

    def in_portions_after(self, cost: float, portion: float | None = None) -> Compiled | None:
        """The same where the function is one of portions, of which ``portion`` numbers are worth a thread."""
        part = self.after(cost)
        if part is None:
            return None
        much = Late.done >= MORE * PATIENCE and cost >= 2 * (portion or PORTION)
        return Compiled(part, shared(self.function, part, self.calls_blas) if much else None)


class Loop:
    """A function ``part(k, n, *arrays, *numbers)`` of arrays with one axis, that loops over portion k of n of all.

    ``None`` in place of an array or a number is another function to Numba, without the lines that ask for it.
    ``portion`` numbers are worth a thread of `portanet.threads`, which takes those of many arrays at once; without it, no
    number of them is.
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
        loop = self.late.in_portions_after(first.size)
        if loop is None:
            return None
        flat = [None if x is None else x.reshape(-1) for x in arrays]
        own = [None if number is None else first.dtype.type(number) for number in numbers]  # as NumPy takes them
        portions = 1 if self.portion is None else first.size // self.portion
        if portions < 2:
            shared = functools.partial(loop.shared, first.size // PORTION) if loop.is_shared else loop.alone
            return functools.partial(shared, *flat, *own)

        def work(i: int, j: int) -> None:
            loop.alone(*[None if x is None else x[i:j] for x in flat], *own)

        return functools.partial(threads.spread_later, work, first.size, portions, step=16)


class Routine(Late):
    """A function of a module that is imported when it is compiled, for work that can be done without it."""

    def __init__(self, module: str, name: str, types: str = "f") -> None:
        self.module, self.name, self.types = module, name, types  # characters of NumPy's

    @functools.cached_property
    def function(self) -> Callable[..., None] | None:  # type: ignore[override]
        import importlib

        try:
            _wakeful()
            return getattr(importlib.import_module(f"portanet.kernels.numpy.{self.module}"), self.name)
        except ImportError:  # Numba is there, but older than NumPy
            return None

    def at_hand(self, cost: float, *arrays: Any) -> Compiled | None:
        """The routine for work on so many numbers, on such arrays; None where it is to be done without it."""
        fits = cost > SHORT and all([x.dtype.char in self.types for x in arrays])
        return self.in_portions_after(cost, self.portion) if fits else None

    @property
    def portion(self) -> float:
        """How many numbers are worth one of TBB's threads."""
        return PORTION


class Products(Routine):
    """One that calls `_gemm.product`, whose address is its first argument; its cost is given in multiplications."""

    calls_blas = True

    @property
    def portion(self) -> float:
        return PRODUCTS / MULTIPLICATIONS

    def at_hand(self, cost: float, *arrays: Any) -> Compiled | None:
        found = super().at_hand(cost / MULTIPLICATIONS, *arrays)
        at = _product_at() if found is not None else 0
        return found.having(at) if found is not None and at else None


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
    try:
        return kept(function)
    except ImportError:
        return None
