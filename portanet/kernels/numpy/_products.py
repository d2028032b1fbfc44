"""The product of two matrices: NumPy's own, and for large ones that of Intel's MKL where the package `mkl` is installed.

MKL is made for Intel's processors, where it takes less time than the OpenBLAS that NumPy comes with. Which of the two
takes a product depends on its size and its data type alone, so a program computes the same numbers at every run.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from portanet import threads
from portanet.plan.recorded import takes_out

LARGE = 1 << 21  # multiplications: for fewer, to get to MKL costs more than it saves
SPREAD = 1 << 24  # from which on MKL's threads are worth to be woken
WIDE, COLUMNS = 1 << 20, 512  # of so large a right matrix each of MKL's threads would read all; ours take columns of it
THREADED, THREADED_SUMS = 1 << 18, 9 << 10  # from which on OpenBLAS takes several; of a vector and a matrix
TBB = 4  # MKL's threads: those of OpenMP look for more work for a fifth of a second, on cores that ours need
ROWS, PLAIN, TURNED = 101, 111, 112  # as CBLAS names them


def product(a: Any, b: Any, *out: Any) -> Any:
    """``a`` (m, k) times ``b`` (k, n): in ``out`` where it is given, as `numpy.dot` has it."""
    size = a.shape[0] * a.shape[1] * b.shape[1]
    if size < THREADED or mkl() is None:
        return np.dot(a, b, *out)
    return _large(a, b, *out) if size >= LARGE else _alone(a, b, *out)


def sums(ones: Any, rows: Any) -> Any:
    """``ones`` (m) times ``rows`` (m, n)."""
    return np.dot(ones, rows) if rows.size < THREADED_SUMS or mkl() is None else _alone(ones, rows)


@takes_out
def _alone(*args: Any) -> Any:
    """NumPy's product in one thread: OpenBLAS's others would look for more work, on cores that MKL's need."""
    library = threads.blas()
    count = 1 if library is None else library.get_num_threads()
    if count == 1:
        return np.dot(*args)
    library.set_num_threads(1)
    try:
        return np.dot(*args)
    finally:
        library.set_num_threads(count)


@takes_out
def _large(a: Any, b: Any, out: Any = None) -> Any:
    """The product by MKL; by NumPy where the matrices do not lie as MKL takes them."""
    library: Any = mkl()
    multiply = library.products.get(a.dtype)
    if multiply is None or a.dtype != b.dtype or min(a.shape[0], b.shape[1]) == 1:
        return np.dot(a, b, out)
    if out is None:
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    of_a, of_b, of_out = _laid(a), _laid(b), _laid(out)
    if of_a is None or of_b is None or of_out is None or of_out[0] == TURNED:
        return np.dot(a, b, out)

    def columns(first: int, last: int, count: int = 1) -> None:
        right, target = b[:, first:last], out[:, first:last]
        before = library.limit(count)  # of this thread alone
        multiply(
            ROWS, of_a[0], of_b[0], *target.shape, a.shape[1],
            1.0, a.ctypes.data, of_a[1], right.ctypes.data, of_b[1], 0.0, target.ctypes.data, of_out[1],
        )  # fmt: skip
        library.limit(before)

    if of_a[0] == of_b[0] == PLAIN and b.size >= WIDE and a.shape[0] * 2 <= b.shape[1]:
        threads.spread(columns, b.shape[1], b.shape[1] // COLUMNS)
    else:
        columns(0, b.shape[1], library.threads_for(out.size * a.shape[1]))
    return out


def _laid(x: Any) -> tuple[int, int] | None:
    """How a matrix lies, and how many numbers there are from one row (column, if turned) to the next."""
    if not x.flags.aligned:
        return None
    size, (rows, columns) = x.itemsize, x.strides
    if columns == size and rows >= x.shape[1] * size and rows % size == 0:
        return PLAIN, rows // size
    if rows == size and columns >= x.shape[0] * size and columns % size == 0:
        return TURNED, columns // size
    return None


class Mkl:
    """The library: ``products`` by data type, and ``limit`` of the calling thread's threads.

    ``limit(count)`` returns what it was before, and 0 is none.
    """

    def __init__(self, library: Any) -> None:
        import ctypes

        library.MKL_Set_Threading_Layer(TBB)
        self.process = os.getpid()
        self.limit = library.MKL_Set_Num_Threads_Local
        self.products = {}
        for letter, number in (("s", ctypes.c_float), ("d", ctypes.c_double)):
            function = self.products[np.dtype(number)] = library[f"cblas_{letter}gemm_64"]
            matrix = [ctypes.c_void_p, ctypes.c_int64]
            function.argtypes = [ctypes.c_int] * 3 + [ctypes.c_int64] * 3 + [number, *matrix, *matrix, number, *matrix]
            function.restype = None

    def threads_for(self, multiplications: int) -> int:
        """How many threads are to take a product."""
        # After a fork TBB would wait for threads that do not exist.
        return threads.usable() if multiplications >= SPREAD and os.getpid() == self.process else 1


@functools.cache
def mkl() -> Mkl | None:
    """MKL as pip installs it. None where it is not, `PORTANET_MKL` is 0, NumPy was built with it, or files are missing."""
    import ctypes

    own = threads.blas()
    if os.environ.get("PORTANET_MKL", "1") == "0" or (own is not None and own.internal_api == "mkl"):
        return None
    # MKL ends the process where it later misses one of the first two. It does not look for TBB where pip puts it, but
    # takes it where it is loaded already.
    paths = [_path(*one) for one in (("mkl", "core"), ("mkl", "tbb_thread"), ("tbb", "libtbb.so.12"), ("mkl", "rt"))]
    if None in paths:
        return None
    try:
        return Mkl([ctypes.CDLL(path) for path in paths[2:]][-1])
    except (AttributeError, OSError):
        return None


def _path(package: str, name: str) -> str | None:
    """Where the library of that name lies that an installed package lists among its files."""
    from importlib import metadata

    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        return None
    found = [str(file.locate()) for file in files if file.name.startswith((f"lib{package}_{name}.so", name))]
    return found[0] if found and os.path.exists(found[0]) else None
