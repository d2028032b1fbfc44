"""The functions of the standard on Tensors, with the kernels that rules and layers use beside them.

This module is to a Tensor what a `Library` is to a raw array: rules and layers ask `namespace_of(x)` and get one or
the other. `portanet` itself re-exports the standard's part.
"""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any

from portanet import fft, linalg, special
from portanet.dtypes import (
    bfloat16,
    bool_,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from portanet.kernels import generic
from portanet.library import namespaces
from portanet.linalg import matmul, matrix_transpose, tensordot, vecdot
from portanet.namespace import creation, data_types, elementwise, manipulation, reductions, searching
from portanet.namespace.creation import *
from portanet.namespace.data_types import *
from portanet.namespace.elementwise import *
from portanet.namespace.kernels import *
from portanet.namespace.manipulation import *
from portanet.namespace.reductions import *
from portanet.namespace.searching import *
from portanet.namespace.sequences import *
from portanet.special import (  # those that are kernels, so that rules find them on Tensors too
    betainc,
    betaln,
    erf,
    erfc,
    erfcx,
    erfinv,
    gamma,
    gammainc,
    gammaincc,
    gammaln,
    i0,
    i0e,
    i1,
    i1e,
    log_expit,
    log_ndtr,
    logit,
    logsumexp,
    ndtri,
    polygamma,
    psi,
    stdtr,
)  # fmt: skip
from portanet.tensor import Tensor

# What the standard names; the kernels are here too, for rules and layers, but are not part of the public namespace.
__all__ = [
    "bfloat16", "bool", "complex64", "complex128", "e", "fft", "float16", "float32", "float64", "inf", "int8", "int16",
    "int32", "int64", "linalg", "matmul", "matrix_transpose", "nan", "newaxis", "pi", "special", "tensordot", "uint8",
    "uint16", "uint32", "uint64", "vecdot",
]  # fmt: skip
__all__ += creation.__all__
__all__ += data_types.__all__
__all__ += elementwise.__all__
__all__ += manipulation.__all__
__all__ += reductions.__all__
__all__ += searching.__all__

bool = bool_
e = 2.718281828459045
inf = float("inf")
nan = float("nan")
pi = 3.141592653589793
newaxis = None

library_name = "portanet"


def __getattr__(name: str) -> Any:
    """A kernel without a rule, such as the way back of another: its definition, on Tensors, in operations with rules."""
    definition = None if name.startswith("_") else getattr(generic, name, None)
    if not callable(definition):
        raise AttributeError(f"portanet has no function {name!r}.")
    found = globals()[name] = functools.partial(definition, sys.modules[__name__])
    return found


def public() -> ModuleType:
    """The namespace that ``x.__array_namespace__()`` answers with."""
    return sys.modules["portanet"]


namespaces[Tensor] = sys.modules[__name__]
