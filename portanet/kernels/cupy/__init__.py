"""Kernels for CuPy, by family."""

from __future__ import annotations

from typing import Any

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
from portanet.kernels.cupy.scatter import *  # noqa: F403
from portanet.kernels.cupy.softmax import *  # noqa: F403
from portanet.kernels.cupy.toolkit import *  # noqa: F403

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
