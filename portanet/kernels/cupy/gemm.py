"""Products of matrices, and affine maps with their way back, by cuBLASLt where it has the dtype and by CuPy elsewhere."""

from __future__ import annotations

import math
from typing import Any

import cupy
from array_api_compat import cupy as _standard

from portanet.kernels.cupy._cublaslt import BIAS, BIAS_GRADIENT
from portanet.kernels.cupy._products import agree as _agree
from portanet.kernels.cupy._products import product as _product
from portanet.kernels.cupy.columns import column_sums

__all__ = ["linear", "linear_backward", "matmul"]


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
