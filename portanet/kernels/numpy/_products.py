"""The product of two matrices: NumPy's own, and for large ones that of Intel's MKL where the package `mkl` is installed.

MKL is made for Intel's processors, where it takes less time than the OpenBLAS that NumPy comes with. Which of the two
takes a product depends on its size and its data type alone, so a program computes the same numbers at every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from portanet import threads
from portanet.kernels.numpy._mkl import mkl
from portanet.kernels.numpy._numba import Routine
from portanet.plan.recorded import takes_out

LARGE = 1 << 21  # multiplications: for fewer, to get to MKL costs more than it saves
WIDE, COLUMNS = 1 << 20, 512  # of so large a right matrix each of MKL's threads would read all; ours take columns of it
THREADED, THREADED_SUMS = 1 << 18, 9 << 10  # from which on OpenBLAS takes several; of a vector and a matrix
CALL = 1 << 12  # numbers that are computed in the time that a call by ctypes takes
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
    with threads.one_for_blas():
        return np.dot(*args)


@takes_out
def _large(a: Any, b: Any, out: Any = None) -> Any:
    """The product by MKL; by NumPy where the matrices do not lie as MKL takes them."""
    library: Any = mkl()
    if a.dtype not in library.products or a.dtype != b.dtype or min(a.shape[0], b.shape[1]) == 1:
        return np.dot(a, b, out)
    if out is None:
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
    of_a, of_b, of_out = laid = _laid(a), _laid(b), _laid(out)
    if of_a is None or of_b is None or of_out is None or of_out[0] == TURNED:
        return np.dot(a, b, out)
    if of_a[0] == of_b[0] == PLAIN and b.size >= WIDE and b.shape[1] >= 2 * max(COLUMNS, a.shape[0]):

        def columns(first: int, last: int) -> None:
            _by_mkl(library, a, b[:, first:last], out[:, first:last], laid, 1)

        threads.spread(columns, b.shape[1], b.shape[1] // COLUMNS)
    else:
        _by_mkl(library, a, b, out, laid, library.threads_for(out.size * a.shape[1]))
    return out


_multiply = Routine("_gemm", "multiply")


def _by_mkl(library: Any, a: Any, b: Any, out: Any, laid: Any, count: int) -> None:
    """``a`` times ``b`` into ``out`` by so many of MKL's threads, where ``laid`` says how each of the three lies."""
    (order_a, row_a), (order_b, row_b), (_, row_out) = laid
    (m, n), k = out.shape, a.shape[1]
    # Numba's compiled call takes half a microsecond, and that by ctypes four.
    run = _multiply.after(CALL) if a.dtype.char == "f" else None
    before = library.limit(count)  # of this thread alone
    if run is None:
        library.products[a.dtype](
            ROWS, order_a, order_b, m, n, k,
            1.0, a.ctypes.data, row_a, b.ctypes.data, row_b, 0.0, out.ctypes.data, row_out,
        )  # fmt: skip
    else:
        turned = (1 if order_a == TURNED else 0) + (2 if order_b == TURNED else 0)
        left, right = a.T if turned & 1 else a, b.T if turned & 2 else b  # in fewer forms: each is compiled anew
        run(library.address, turned, m, n, k, left, row_a, right, row_b, out, row_out)
    library.limit(before)


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
