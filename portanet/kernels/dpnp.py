"""Kernels for dpnp arrays."""

from __future__ import annotations

from typing import Any

import dpnp


def random_on_host(device: Any) -> bool:
    # One copy from the host beats some 400 small OpenCL kernels, on a GPU too.
    return True


def out_of_memory(problem: BaseException) -> int | None:
    # dpctl's error, by name: to import it would need one more package by its own name.
    return 0 if isinstance(problem, MemoryError) or type(problem).__name__ == "USMAllocationError" else None


def matmul(x1: Any, x2: Any) -> Any:
    # dpnp 0.20 refuses matrices that were broadcast, such as the cotangents of a sum.
    return dpnp.matmul(_dense(x1), _dense(x2))


def _dense(x: Any) -> Any:
    return dpnp.ascontiguousarray(x) if x.ndim > 1 and 0 in x.strides else x
