"""Kernels for CuPy, by family."""

from __future__ import annotations

from typing import Any

from portanet.kernels.cupy.memory import *  # noqa: F403
from portanet.kernels.cupy.random import *  # noqa: F403
from portanet.kernels.cupy.toolkit import *  # noqa: F403


def to_host(x: Any) -> Any:
    return x.get()


# ---------------------------------------------------------------------------------------------------------------------
# Special functions: CuPy's, where this version has them; not betaln, which the generic kernel has more exactly.

_SPECIAL = frozenset(
    "betainc erf erfc erfcx erfinv gamma gammainc gammaincc gammaln i0 i0e i1 i1e log_expit log_ndtr logit ndtri "
    "psi".split()
)


def __getattr__(name: str) -> Any:
    # Asked for once a name, so they are imported when the first of them runs and not before.
    if name in _SPECIAL:
        from cupyx.scipy import special

        return getattr(special, name)
    raise AttributeError(f"no kernel {name!r} for CuPy")
