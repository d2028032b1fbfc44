"""Intel's MKL as the package `mkl` brings it: where it is, its products of matrices, and its threads, which are TBB's."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from portanet import threads

SPREAD = 1 << 24  # multiplications from which on MKL's threads are worth to be woken
TBB = 4  # MKL's threads: those of OpenMP look for more work for a fifth of a second, on cores that ours need


class Mkl:
    """The library: ``products`` by data type, at which address that of float32 is, and ``limit`` of the calling thread's
    threads.

    ``limit(count)`` returns what it was before, and 0 is none.
    """

    def __init__(self, library: Any) -> None:
        import ctypes

        library.MKL_Set_Threading_Layer(TBB)
        self.process = os.getpid()
        self.limit = library.MKL_Set_Num_Threads_Local
        self.products = {}
        for letter, number in (("s", ctypes.c_float), ("d", ctypes.c_double)):
            function = self.products[np.dtype(number)] = library[f"cblas_{letter}gemm_64"]
            matrix = [ctypes.c_void_p, ctypes.c_int64]
            function.argtypes = [ctypes.c_int] * 3 + [ctypes.c_int64] * 3 + [number, *matrix, *matrix, number, *matrix]
            function.restype = None
        self.address = ctypes.cast(self.products[np.dtype(np.float32)], ctypes.c_void_p).value

    def threads_for(self, multiplications: int) -> int:
        """How many threads are to take a product."""
        # After a fork TBB would wait for threads that do not exist.
        return threads.usable() if multiplications >= SPREAD and os.getpid() == self.process else 1


@functools.cache
def mkl() -> Mkl | None:
    """MKL as pip installs it. None where it is not, `PORTANET_MKL` is 0, NumPy was built with it, or files are missing."""
    import ctypes

    own = threads.blas()
    if os.environ.get("PORTANET_MKL", "1") == "0" or (own is not None and own.internal_api == "mkl"):
        return None
    # MKL ends the process where it later misses one of the first two. It does not look for TBB where pip puts it, but
    # takes it where it is loaded already.
    paths = [_path(*one) for one in (("mkl", "core"), ("mkl", "tbb_thread"), ("tbb", "libtbb.so.12"), ("mkl", "rt"))]
    if None in paths:
        return None
    try:
        return Mkl([ctypes.CDLL(path) for path in paths[2:]][-1])
    except (AttributeError, OSError):
        return None


def _path(package: str, name: str) -> str | None:
    """Where the library of that name lies that an installed package lists among its files."""
    from importlib import metadata

    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        return None
    found = [str(file.locate()) for file in files if file.name.startswith((f"lib{package}_{name}.so", name))]
    return found[0] if found and os.path.exists(found[0]) else None
