"""Kernels for CuPy, by family."""

from __future__ import annotations

from typing import Any

import cupy
import numpy

from portanet.kernels.cupy.activations import *  # noqa: F403
from portanet.kernels.cupy.arrays import *  # noqa: F403
from portanet.kernels.cupy.attention import *  # noqa: F403
from portanet.kernels.cupy.columns import *  # noqa: F403
from portanet.kernels.cupy.convolution import *  # noqa: F403
from portanet.kernels.cupy.dropout import *  # noqa: F403
from portanet.kernels.cupy.gemm import *  # noqa: F403
from portanet.kernels.cupy.graph import *  # noqa: F403
from portanet.kernels.cupy.layer_norm import *  # noqa: F403
from portanet.kernels.cupy.norm import *  # noqa: F403
from portanet.kernels.cupy.optim import *  # noqa: F403
from portanet.kernels.cupy.pooling import *  # noqa: F403
from portanet.kernels.cupy.random import *  # noqa: F403
from portanet.kernels.cupy.softmax import *  # noqa: F403


def unavailable() -> str | None:
    """Why CuPy cannot compute here, told apart as driver, GPU and toolkit: its own errors name none of them clearly."""
    runtime = cupy.cuda.runtime
    if runtime.driverGetVersion() == 0:
        return "backend 'cupy' finds no NVIDIA driver; install the driver of your GPU, or use set_backend('numpy')."
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as problem:
        return f"backend 'cupy' finds a driver but no usable GPU ({problem}); use set_backend('numpy')."
    if count == 0:
        return "backend 'cupy' finds a driver but no GPU; use set_backend('numpy')."
    try:
        from cupy_backends.cuda.libs import nvrtc

        nvrtc.getVersion()
    except Exception as problem:
        return f"backend 'cupy' lacks a part of the CUDA toolkit ({problem}); install it with: pip install 'portanet[cuda13]'"
    return None


def bfloat16_dtype() -> Any:
    """CuPy takes bfloat16 from ml_dtypes, where that is installed, and has no name of its own for it."""
    try:
        import ml_dtypes
    except ImportError:
        return None
    return numpy.dtype(ml_dtypes.bfloat16)


# ---------------------------------------------------------------------------------------------------------------------
# Special functions: CuPy's, where this version has them; not betaln, which the generic kernel has more exactly, nor i0e
# and i1e, which are exp(-|x|) times an overflow there (nan above 713).

_SPECIAL = frozenset(
    "betainc erf erfc erfcx erfinv gamma gammainc gammaincc gammaln i0 i1 log_expit log_ndtr logit ndtri psi".split()
)


def __getattr__(name: str) -> Any:
    # Asked for once a name, so they are imported when the first of them runs and not before.
    if name in _SPECIAL:
        from cupyx.scipy import special

        return getattr(special, name)
    raise AttributeError(f"no kernel {name!r} for CuPy")
