"""Products of matrices, and affine maps with their way back, by cuBLASLt where it has the dtype and by CuPy elsewhere."""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import cupy
from array_api_compat import cupy as _standard

from portanet.kernels.cupy._cublaslt import BIAS, BIAS_GRADIENT, FAST_TF32, PLAIN, TYPES, Matrix, Plan, Product
from portanet.kernels.cupy._cublaslt import Unsupported as _Unsupported
from portanet.kernels.cupy.columns import column_sums
from portanet.precision import rounds_float32

__all__ = ["linear", "linear_backward", "matmul"]

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


def _product(a: Any, b: Any, epilogue: int = PLAIN, vector: Any = None) -> Any | None:
    """a b for arrays (..., M, K) and (..., K, N) of one dtype and device; None where cuBLASLt cannot.

    ``vector`` (N,) is what the epilogue adds to each row, or (M,) where it writes the sums of a's rows.
    """
    of_a, of_b = a.data, b.data
    pointers = of_a.ptr, of_b.ptr, 0 if vector is None else vector.data.ptr
    alignment = math.gcd(16, *pointers)
    key = (a.shape, a.strides, b.shape, b.strides, a.dtype.char, epilogue, alignment, of_a.device_id, rounds_float32())
    try:
        found = _found[key]
    except KeyError:
        laid = _laid_out(a, b)
        if laid is not None:  # as copies, which are operands that lie well
            return _product(*laid, epilogue, vector)
        found = _remembered(key, a, b, epilogue, alignment)
    if found is None:
        return None
    plan, shape = found
    out = cupy.ndarray(shape, a.dtype)
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


def _remembered(key: Any, a: Any, b: Any, epilogue: int, alignment: int) -> _Found:
    """The plan for operands that lie well, looked for once for each form of them."""
    batch = cupy.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (m, _), n = a.shape[-2:], b.shape[-1]
    first, second = _matrix(a, batch), _matrix(b, batch)
    assert first is not None and second is not None
    dtype, size = a.dtype.name, a.itemsize
    alignment = math.gcd(alignment, *[x * size for one in (first, second) for x in (one.step, one.stride)])
    compute = FAST_TF32 if rounds_float32() and dtype == "float32" else TYPES[dtype][1]
    result = Matrix(m, n, n, False, m * n)
    form = Product(first, second, result, math.prod(batch), dtype, compute, epilogue, alignment)
    with _lock:
        if len(_found) >= _KEPT:
            _found.clear()
        try:
            _found[key] = Plan(form, a.data.device_id), (*batch, m, n)
        except _Unsupported:
            _found[key] = None
        return _found[key]


def _agree(*arrays: Any) -> bool:
    """Whether these are arrays of one dtype that cuBLASLt has, none of them empty."""
    kind = arrays[0].dtype.char  # not its name, which NumPy puts together anew each time
    return kind in _KINDS and all([x.dtype.char == kind and x.size for x in arrays])


# ---------------------------------------------------------------------------------------------------------------------
# Kernels.


def matmul(x1: Any, x2: Any, /) -> Any:
    if x1.ndim and x2.ndim and _agree(x1, x2) and x1.shape[-1] == x2.shape[-2 if x2.ndim > 1 else 0]:
        a = x1[None, :] if x1.ndim == 1 else x1
        b = x2[:, None] if x2.ndim == 1 else x2
        if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:  # one product, not many
            out = _product(a.reshape(-1, a.shape[-1]), b)
            out = None if out is None else out.reshape(*a.shape[:-1], b.shape[-1])
        else:
            out = _product(a, b)
        if out is not None:
            out = out[..., 0, :] if x1.ndim == 1 else out
            return out[..., 0] if x2.ndim == 1 else out
    return _standard.matmul(x1, x2)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    if bias is not None and x.ndim and _agree(x, weight, bias):
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        out = _product(rows, weight.T, BIAS, bias if bias.flags.c_contiguous else bias.copy())
        if out is not None:
            return out if x.ndim == 2 else out.reshape(*x.shape[:-1], weight.shape[0])
    y = matmul(x, weight.T)
    return y if bias is None else y + bias


def linear_backward(g: Any, x: Any, weight: Any, *, wanted: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    rows, inputs = g, x
    if x.ndim != 2:
        count = math.prod(x.shape[:-1])
        rows, inputs = g.reshape(count, weight.shape[0]), x.reshape(count, weight.shape[1])
    of_x = matmul(rows, weight) if wanted[0] else None
    of_weight = of_bias = None
    with_bias = any(wanted[2:])
    if wanted[1] and with_bias and _agree(g, x, weight):
        of_bias = cupy.ndarray(weight.shape[:1], g.dtype)
        of_weight = _product(rows.T, inputs, BIAS_GRADIENT, of_bias)
    if wanted[1] and of_weight is None:
        of_weight, of_bias = matmul(rows.T, inputs), None
    if with_bias and of_bias is None:
        of_bias = column_sums(g)
    return of_x if of_x is None or x.ndim == 2 else of_x.reshape(x.shape), of_weight, of_bias
