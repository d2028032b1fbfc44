"""CUDA C++ sources, each a template over one data type, compiled by NVRTC when a kernel of it first runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupy

SOURCES: dict[str, Source] = {}  # all of them by name, so that each can be compiled where there is no GPU

FLOATING = ("float16", "bfloat16", "float32", "float64")
OPTIONS = ("-std=c++17",)

# dtype -> the type in memory, and the one in which to compute
_TYPES = {
    "float16": ("__half", "float"),
    "bfloat16": ("__nv_bfloat16", "float"),
    "float32": ("float", "float"),
    "float64": ("double", "double"),
}

_PRELUDE = """
#include <cuda_fp16.h>
#include <cuda_bf16.h>
typedef {memory} T;  // an element in memory
typedef {arithmetic} A;  // what is computed with
"""


class Source:
    """The text of some CUDA kernels, each ``extern "C" __global__``.

    ``T`` is the type of an element in memory and ``A`` the one to compute with: float for the half-width types, else
    ``T`` itself.

    Args:
        name: of the family, for error messages and for the list of all sources.
        code: CUDA C++.
        dtypes: the names of the data types that ``T`` may be; () for a source without ``T``.
        options: of the compiler, beside those that all sources have.
    """

    def __init__(self, name: str, code: str, dtypes: Sequence[str] = FLOATING, options: Sequence[str] = ()) -> None:
        self.name, self.code, self.dtypes = name, code, tuple(dtypes)
        self.options = (*OPTIONS, *options)
        self._modules: dict[str, Any] = {}
        self._kernels: dict[tuple[str, str], Callable[..., None]] = {}
        SOURCES[name] = self

    def text(self, dtype: str = "") -> str:
        """The whole source for one data type (its name)."""
        if not self.dtypes:
            return self.code
        memory, arithmetic = _TYPES[dtype]
        return _PRELUDE.format(memory=memory, arithmetic=arithmetic) + self.code

    def kernel(self, function: str, dtype: str = "") -> Callable[..., None]:
        """The kernel called ``function`` for elements of ``dtype``: a function of (grid, block, arguments)."""
        key = function, dtype
        found = self._kernels.get(key)
        if found is None:
            module = self._modules.get(dtype)
            if module is None:
                module = self._modules[dtype] = cupy.RawModule(code=self.text(dtype), options=self.options)
            found = self._kernels[key] = module.get_function(function)
        return found
