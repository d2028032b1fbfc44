"""Products of arrays of matrices by cuBLASLt: how they lie in memory, and the plan for that, looked for once."""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import cupy

from portanet.kernels.cupy._cublaslt import (
    FAST_TF32,
    PLAIN,
    TYPES,
    Matrix,
    Plan,
    Product,
    Unsupported,
)
from portanet.precision import rounds_float32

_KINDS = frozenset("efdE")  # float16, float32, float64 and, by ml_dtypes, bfloat16
_KEPT = 4096  # forms of products; a program that makes more than this starts anew

# By shapes, strides and all else that the choice depends on: the plan and the shape of the result, or None where cuBLASLt
# cannot.
_Found = tuple[Plan, tuple[int, ...]] | None
_found: dict[tuple[Any, ...], _Found] = {}
_lock = threading.Lock()

# ---------------------------------------------------------------------------------------------------------------------
# How operands lie in memory.


def _stored(x: Any) -> tuple[int, int, int, bool] | None:
    """Rows and columns as stored, the elements from row to row, and whether ``x`` (..., m, n) is the transpose of that.

    None where neither axis has its elements side by side.
    """
    m, n = x.shape[-2:]
    size = x.itemsize
    by_row, by_column = x.strides[-2] // size, x.strides[-1] // size
    if (by_column == 1 or n == 1) and (by_row >= n or m == 1):
        return m, n, by_row if m > 1 else n, False
    if (by_row == 1 or m == 1) and (by_column >= m or n == 1):
        return n, m, by_column if n > 1 else m, True
    return None


def _stride(x: Any, batch: tuple[int, ...]) -> int | None:
    """The elements from matrix to matrix when the axes of ``batch``, to which those of ``x`` broadcast, are one.

    None where that is no constant.
    """
    axes = x.shape[:-2]
    steps = [0] * (len(batch) - len(axes)) + [s if n > 1 else 0 for n, s in zip(axes, x.strides)]
    pairs = [(n, s) for n, s in zip(batch, steps) if n > 1]
    for (_, outer), (count, inner) in itertools.pairwise(pairs):
        if outer != count * inner:
            return None
    return pairs[-1][1] // x.itemsize if pairs else 0


def _matrix(x: Any, batch: tuple[int, ...]) -> Matrix | None:
    """An array as an operand; None where cuBLASLt cannot read it as it lies."""
    stored, stride = _stored(x), _stride(x, batch)
    return None if stored is None or stride is None else Matrix(*stored, stride)


def product(a: Any, b: Any, epilogue: int = PLAIN, vector: Any = None, out: Any = None) -> Any | None:
    """a b for arrays (..., M, K) and (..., K, N) of one dtype and device; None where cuBLASLt cannot.

    ``vector`` (N,) is what the epilogue adds to each row, or (M,) where it writes the sums of a's rows. ``out`` (..., M,
    N), whose rows have no gaps, takes the result.
    """
    of_a, of_b = a.data, b.data
    pointers = of_a.ptr, of_b.ptr, 0 if vector is None else vector.data.ptr
    alignment = math.gcd(16, *pointers, 0 if out is None else out.data.ptr)
    there = None if out is None else out.strides
    how = a.dtype.char, epilogue, alignment, of_a.device_id, rounds_float32()
    key = (a.shape, a.strides, b.shape, b.strides, there, how)
    try:
        found = _found[key]
    except KeyError:
        laid = _laid_out(a, b)
        if laid is not None:  # as copies, which are operands that lie well
            return product(*laid, epilogue, vector, out)
        found = _remembered(key, a, b, epilogue, alignment, out)
    if found is None:
        return None
    plan, shape = found
    out = cupy.ndarray(shape, a.dtype) if out is None else out
    plan(pointers[0], pointers[1], out.data.ptr, pointers[2])
    return out


def _laid_out(a: Any, b: Any) -> tuple[Any, Any] | None:
    """Copies of the operands where cuBLASLt cannot read one as it lies; None where it can read both."""
    batch = cupy.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    well = [_matrix(x, batch) is not None for x in (a, b)]
    if all(well):
        return None
    return a if well[0] else _copied(a, batch), b if well[1] else _copied(b, batch)


def _copied(x: Any, batch: tuple[int, ...]) -> Any:
    whole = x if _stride(x, batch) is not None else cupy.broadcast_to(x, (*batch, *x.shape[-2:]))
    return whole.copy("C")


def _remembered(key: Any, a: Any, b: Any, epilogue: int, alignment: int, out: Any) -> _Found:
    """The plan for operands that lie well, looked for once for each form of them."""
    batch = cupy.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (m, _), n = a.shape[-2:], b.shape[-1]
    first, second = _matrix(a, batch), _matrix(b, batch)
    result = Matrix(m, n, n, False, m * n) if out is None else _matrix(out, batch)
    assert first is not None and second is not None and result is not None and not result.transposed
    dtype, size = a.dtype.name, a.itemsize
    alignment = math.gcd(alignment, *[x * size for one in (first, second, result) for x in (one.step, one.stride)])
    compute = FAST_TF32 if rounds_float32() and dtype == "float32" else TYPES[dtype][1]
    form = Product(first, second, result, math.prod(batch), dtype, compute, epilogue, alignment)
    with _lock:
        if len(_found) >= _KEPT:
            _found.clear()
        try:
            _found[key] = Plan(form, a.data.device_id), (*batch, m, n)
        except Unsupported:
            _found[key] = None
        return _found[key]


def agree(*arrays: Any) -> bool:
    """Whether these are arrays of one dtype that cuBLASLt has, none of them empty."""
    kind = arrays[0].dtype.char  # not its name, which NumPy puts together anew each time
    return kind in _KINDS and all([x.dtype.char == kind and x.size for x in arrays])


def is_stack(x: Any) -> bool:
    """Whether the matrices of ``x`` (..., M, N) follow each other in even steps."""
    return _stride(x, x.shape[:-2]) is not None


def multiplied(a: Any, b: Any, out: Any) -> None:
    """Write a b to ``out``, a view whose rows have no gaps: matrices (..., M, K) and (..., K, N) of one dtype."""
    if not agree(a, b) or product(a, b, out=out) is None:
        out[...] = cupy.matmul(a, b)
