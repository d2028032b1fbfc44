"""Kernels for CuPy."""

from __future__ import annotations

from typing import Any

import cupy


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
        return (
            f"backend 'cupy' lacks a part of the CUDA toolkit ({problem}); install it with: pip install 'portanet[cuda13]'"
        )
    return None


def to_host(x: Any) -> Any:
    return x.get()
