"""Kernels for NumPy, by family."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import numpy

from portanet.kernels.numpy._memory import keep_freed_memory
from portanet.kernels.numpy.activations import *  # noqa: F403
from portanet.kernels.numpy.arrays import *  # noqa: F403
from portanet.kernels.numpy.attention import *  # noqa: F403
from portanet.kernels.numpy.convolution import *  # noqa: F403
from portanet.kernels.numpy.layer_norm import *  # noqa: F403
from portanet.kernels.numpy.nn import *  # noqa: F403
from portanet.kernels.numpy.norm import *  # noqa: F403
from portanet.kernels.numpy.optim import *  # noqa: F403
from portanet.kernels.numpy.pooling import *  # noqa: F403
from portanet.kernels.numpy.random import *  # noqa: F403
from portanet.kernels.numpy.recurrent import *  # noqa: F403
from portanet.plan.recorded import whole

keep_freed_memory()

# These families work in memory of their own making, in blocks and threads: a recording takes a call of them for one.
for _family in ("activations", "attention", "convolution", "layer_norm", "norm", "pooling", "recurrent"):
    _module = sys.modules[f"{__name__}.{_family}"]
    for _name, _kernel in vars(_module).items():
        if inspect.isfunction(_kernel) and _kernel.__module__ == _module.__name__ and not _name.startswith("_"):
            globals()[_name] = whole(_kernel)
# These copy first, which is a conversion to an array, or look at how often an index occurs.
scatter_add, add_at = whole(scatter_add), whole(add_at)  # noqa: F405

# Special functions: SciPy's where it is installed, the generic ones where it is not; betaln always, being more exact.
_SCIPY = frozenset(
    "betainc erf erfc erfcx erfinv gamma gammainc gammaincc gammaln i0 i0e i1 i1e log_expit log_ndtr logit ndtri "
    "psi stdtr".split()
)


def __getattr__(name: str) -> Any:
    # Asked for once a name, so SciPy is imported when the first special function runs and not before.
    if name in _SCIPY:
        try:
            from scipy import special
        except ImportError:
            pass
        else:
            found = getattr(special, name)
            return found if isinstance(found, numpy.ufunc) else whole(found)
    raise AttributeError(f"no kernel {name!r} for NumPy")
