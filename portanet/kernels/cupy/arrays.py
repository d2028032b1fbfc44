"""Arrays on the GPU: to the host, and what CuPy's functions of the standard do otherwise than it says."""

from __future__ import annotations

from typing import Any

import cupy
import numpy
from array_api_compat import cupy as _standard

__all__ = ["bfloat16_dtype", "clip", "copy", "isdtype", "layout", "linalg_solve", "to_host", "vecdot", "where"]


def bfloat16_dtype() -> Any:
    """CuPy takes bfloat16 from ml_dtypes, where that is installed, and has no name of its own for it."""
    try:
        import ml_dtypes
    except ImportError:
        return None
    return numpy.dtype(ml_dtypes.bfloat16)


def to_host(x: Any) -> Any:
    return x.get()


def copy(x: Any) -> Any:
    return x.copy("K")


def layout(x: Any) -> Any:
    return None if x.flags.c_contiguous else x.strides


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    # The other way picks elements by truth values, which the host has to count.
    if x.dtype.kind != "f":
        return _standard.clip(x, min, max)
    y = x if min is None else cupy.maximum(x, min)
    y = y if max is None else cupy.minimum(y, max)
    return x.copy() if y is x else y.astype(x.dtype, copy=False)


def isdtype(dtype: Any, kind: Any) -> bool:
    if getattr(dtype, "name", "") != "bfloat16":
        return bool(_standard.isdtype(dtype, kind))
    kinds = kind if isinstance(kind, tuple) else (kind,)  # NumPy does not know what kind of number it is
    return any([one in ("real floating", "numeric") if isinstance(one, str) else one == dtype for one in kinds])


def linalg_solve(x1: Any, x2: Any, /) -> Any:
    # CuPy's own refuses a vector beside a stack of matrices, and axes that would have to broadcast.
    b = x2[:, None] if x2.ndim == 1 else x2
    batch = cupy.broadcast_shapes(x1.shape[:-2], b.shape[:-2])
    found = cupy.linalg.solve(
        cupy.broadcast_to(x1, (*batch, *x1.shape[-2:])), cupy.broadcast_to(b, (*batch, *b.shape[-2:]))
    )
    return found[..., 0] if x2.ndim == 1 else found


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    if x1.dtype.name != "bfloat16":
        return _standard.vecdot(x1, x2, axis=axis)
    x1, x2 = cupy.broadcast_arrays(x1, x2)  # CuPy multiplies no stacks of matrices of these
    return cupy.sum(x1 * x2, axis=axis, dtype=cupy.float32).astype(x1.dtype)


def where(condition: Any, x1: Any, x2: Any, /) -> Any:
    y = _standard.where(condition, x1, x2)
    dtypes = [x.dtype for x in (x1, x2) if isinstance(x, cupy.ndarray)]
    # Of bfloat16, whose kind is V, CuPy makes float32.
    return y.astype(dtypes[0]) if {dtype.kind for dtype in dtypes} == {"V"} else y
