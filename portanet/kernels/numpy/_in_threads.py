"""Compiled loops whose portions TBB's threads take, where MKL is there: then MKL's products are these threads' too.

They are called in some microseconds and soon rest. Numba's other threads would compete with those of OpenBLAS, and
`portanet.threads` takes ten times as long to call one, for that waits for the interpreter.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from portanet import threads
from portanet.kernels.numpy._mkl import mkl

# Numba is to look for parallel work where it is said to be, and nowhere else: that takes a third of the time.
_NOT_ASKED = ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion")
_PARALLEL = {"prange": True, **dict.fromkeys(_NOT_ASKED, False)}

_nothing = contextlib.nullcontext()

# For each function a copy of `_over` is compiled that finds it here, and Numba's `prange`.
work: Any = None
prange: Any = range


def _over(n: int, *args: Any) -> None:
    for k in prange(n):
        work(np.int64(k), n, *args)  # of the very type that it is compiled for already


def kept(function: Callable[..., None], **how: Any) -> Callable[..., None]:
    """The function as Numba compiles it, when it is called, and keeps it on the disk; needs Numba."""
    import importlib

    numba: Any = importlib.import_module("numba")
    how = {"nogil": True, "error_model": "numpy", **how}  # by which 1 / 0 is infinite
    try:
        return numba.njit(cache=True, **how)(function)
    except RuntimeError:  # there is no folder that it may keep it in
        return numba.njit(**how)(function)


@functools.cache
def shared(function: Any, compiled: Any, calls_blas: bool) -> Callable[..., None] | None:
    """``over(n, *args)``: ``compiled(k, n, *args)`` for each k of so many portions; None where TBB is not at hand.

    Where it ``calls_blas``, that has one thread meanwhile: the portions are the parallel work.
    """
    if not _tbb_is_at_hand():
        return None
    import importlib

    numba: Any = importlib.import_module("numba")
    one = types.FunctionType(_over.__code__, {**globals(), "prange": numba.prange, "work": compiled}, "_over")
    # Numba keeps what it compiles on the disk by this name, and would not see that what is called has changed.
    one.__qualname__ = f"{function.__name__}_{_digest(function.__code__)}"
    over = kept(one, parallel=_PARALLEL)
    most, process = int(numba.config.NUMBA_NUM_THREADS), os.getpid()

    def run(n: int, *args: Any) -> None:
        count = threads.usable()
        if count == 1 or os.getpid() != process:  # after a fork TBB would wait for threads that do not exist
            for k in range(n):
                compiled(k, n, *args)
            return
        wanted, before = min(count, most), numba.get_num_threads()  # the caller's own loops are to find it as it was
        if wanted != before:
            numba.set_num_threads(wanted)
        try:
            with threads.one_for_blas(count) if calls_blas else _nothing:
                over(n, *args)
        finally:
            if wanted != before:
                numba.set_num_threads(before)

    return run


def _digest(code: types.CodeType) -> str:
    """What is another for each function and state of its file, in which stands what it calls, too."""
    try:
        text = Path(code.co_filename).read_bytes()
    except OSError:
        text = code.co_code
    return hashlib.sha256(code.co_qualname.encode() + text).hexdigest()[:16]


@functools.cache
def _tbb_is_at_hand() -> bool:
    """Whether Numba's threads are TBB's, as MKL's are, and nobody has chosen others."""
    import importlib

    if mkl() is None:
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
