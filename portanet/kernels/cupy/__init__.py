"""Kernels for CuPy, by family."""

from __future__ import annotations

from typing import Any

from array_api_compat import cupy as _standard

from portanet.kernels.cupy.activations import *  # noqa: F403
from portanet.kernels.cupy.arrays import *  # noqa: F403
from portanet.kernels.cupy.attention import *  # noqa: F403
from portanet.kernels.cupy.columns import *  # noqa: F403
from portanet.kernels.cupy.convolution import *  # noqa: F403
from portanet.kernels.cupy.dropout import *  # noqa: F403
from portanet.kernels.cupy.feeding import *  # noqa: F403
from portanet.kernels.cupy.gemm import *  # noqa: F403
from portanet.kernels.cupy.graph import *  # noqa: F403
from portanet.kernels.cupy.layer_norm import *  # noqa: F403
from portanet.kernels.cupy.memory import *  # noqa: F403
from portanet.kernels.cupy.norm import *  # noqa: F403
from portanet.kernels.cupy.optim import *  # noqa: F403
from portanet.kernels.cupy.pooling import *  # noqa: F403
from portanet.kernels.cupy.random import *  # noqa: F403
from portanet.kernels.cupy.softmax import *  # noqa: F403
from portanet.kernels.cupy.toolkit import *  # noqa: F403

# ---------------------------------------------------------------------------------------------------------------------
# Special functions: CuPy's, where this version has them; not betaln, which the generic kernel has more exactly, nor i0e
# and i1e, which are exp(-|x|) times an overflow there (nan above 713).

_SPECIAL = frozenset(
    "betainc erf erfc erfcx erfinv gamma gammainc gammaincc gammaln i0 i1 log_expit log_ndtr logit ndtri psi".split()
)


# Functions of which CuPy gives float32 for bfloat16.
_OF_FLOATS = frozenset(
    "acos acosh asin asinh atan atan2 atanh cos cosh exp expm1 hypot log log10 log1p log2 logaddexp reciprocal sin sinh "
    "sqrt tan tanh".split()
)


def _kept(function: Any) -> Any:
    def of_floats(*arrays: Any) -> Any:
        y = function(*arrays)
        return y.astype(arrays[0].dtype) if arrays[0].dtype.kind == "V" else y

    return of_floats


def __getattr__(name: str) -> Any:
    # Asked for once a name, so they are imported when the first of them runs and not before.
    if name in _SPECIAL:
        from cupyx.scipy import special

        return getattr(special, name)
    if name in _OF_FLOATS:
        return _kept(getattr(_standard, name))
    raise AttributeError(f"no kernel {name!r} for CuPy")
