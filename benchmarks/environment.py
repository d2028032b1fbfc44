"""Where a report was measured: the machine, the versions of everything that took part, the commit, the day."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from benchmarks import threads

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "mkl",
    "torch",
    "jax",
    "jaxlib",
    "scikit-learn",
    "autograd",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvidia-cublas",
    "nvidia-cudnn-cu13",
)


def described(blas: bool = True) -> dict[str, str]:
    """Name and value of each fact, in the order of the report."""
    import portanet

    found = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "portanet": f"{portanet.__version__}, commit {commit()}",
        "processor": f"{processor()}, {threads.cores()} cores usable",
        "memory": memory(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    } | ({"BLAS of NumPy": blas_of_numpy(), "large products": large_products()} if blas else {})
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of this tree, and whether files differ from it; PORTANET_COMMIT says it for a copy without git."""
    if os.environ.get("PORTANET_COMMIT"):
        return os.environ["PORTANET_COMMIT"]

    def git(*words: str) -> str:
        folder = Path(__file__).resolve().parent
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "../portanet")
        return git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):
        return "unknown"


def large_products() -> str:
    """Whose they are where portanet multiplies NumPy's arrays."""
    from portanet.kernels.numpy._mkl import mkl
    from portanet.kernels.numpy._products import LARGE

    return f"portanet's on NumPy, from {LARGE:,} multiplications on: {'that BLAS' if mkl() is None else 'MKL'}"


def blas_of_numpy() -> str:
    import numpy
    from threadpoolctl import threadpool_info

    numpy.dot(numpy.ones((2, 2)), numpy.ones((2, 2)))
    found = [one for one in threadpool_info() if one["user_api"] == "blas"]
    return ", ".join(f"{one['internal_api']} {one['version']} ({one.get('architecture', '')})" for one in found)
