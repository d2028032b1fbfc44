"""Whether CuPy can compute here, and if not, which part is lacking: CuPy's own errors name none of them clearly."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib import metadata

import cupy

__all__ = ["unavailable"]

# The names that cuda.pathfinder has for what pip's extras of portanet bring, and what each is needed for.
LIBRARIES = (
    ("nvrtc", "the compiler of kernels"),
    ("cublasLt", "products of matrices"),
    ("cublas", "products of matrices"),
)
HEADERS = "cudart"
PACKAGES = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
INSTEAD = "or use set_backend('numpy')"


def unavailable() -> str | None:
    """The first thing that is lacking, told with the way to get it; None where nothing is."""
    for lacking in (_driver, _gpu, _toolkit):
        reason = lacking()
        if reason is not None:
            return f"backend 'cupy' {reason}{_doubled()}"
    return None


def _driver() -> str | None:
    if cupy.cuda.runtime.driverGetVersion() == 0:
        return f"finds no NVIDIA driver; install the driver of your GPU, {INSTEAD}."
    return None


def _gpu() -> str | None:
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as problem:
        if "InsufficientDriver" in str(problem):
            has, needs = _version(runtime.driverGetVersion()), _version(runtime.runtimeGetVersion())
            return (
                f"finds a driver for CUDA {has}, which is older than this CuPy's CUDA {needs}; install a newer driver, "
                f"or a CuPy for yours (pip uninstall the present one; pip install 'portanet[cuda12]'), {INSTEAD}."
            )
        if "NoDevice" not in str(problem):
            return f"finds a driver but no usable GPU ({problem}); look at what nvidia-smi says, {INSTEAD}."
        count = 0
    if count == 0:
        return (
            "finds a driver but no GPU; see whether nvidia-smi lists one and CUDA_VISIBLE_DEVICES does not hide it, "
            f"{INSTEAD}."
        )
    return None


def _toolkit() -> str | None:
    # As CuPy itself looks for them: Python's packages, conda, the system, CUDA_PATH.
    pathfinder = importlib.import_module("cuda.pathfinder")
    for name, purpose in LIBRARIES:
        if _fails(pathfinder.load_nvidia_dynamic_lib, name):
            return f"lacks a part of the CUDA toolkit, {name} ({purpose}); {_install()}"
    if _fails(pathfinder.find_nvidia_header_directory, HEADERS):
        return f"lacks a part of the CUDA toolkit, the headers of {HEADERS} (cuda_fp16.h); {_install()}"
    return None


def _fails(find: Callable[[str], object], name: str) -> bool:
    try:
        return find(name) is None
    except Exception:  # pathfinder lists all places where it looked, over many lines
        return True


def _install() -> str:
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    return f"install it with: pip install 'portanet[cuda{12 if major <= 12 else 13}]'"


def _version(number: int) -> str:
    """13020 is CUDA 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _doubled() -> str:
    """Two CuPy packages write the same files, and then neither is whole."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    if len(found) < 2:
        return ""
    return (
        f" Besides, {len(found)} CuPy packages are installed, {' and '.join(found)}, which overwrite each other's "
        "files: pip uninstall all of them, then install one."
    )
