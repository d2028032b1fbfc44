"""NumPy's own loops, for loops that Numba compiles: they call them without the interpreter, and get NumPy's bits.

A universal function holds one C function for each combination of data types. Its address stands in a structure that is
part of NumPy's C interface; ctypes reads it from there, and Numba takes it as an argument.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any

import numpy as np

_PREFIX = object.__basicsize__  # bytes of what each of Python's objects begins with


class _UFunc(ctypes.Structure):
    """The beginning of PyUFuncObject, as ``numpy/ufuncobject.h`` has it."""

    _fields_ = [
        ("prefix", ctypes.c_char * _PREFIX),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
    ]


# The addresses of the arguments, how often and how large, the strides, and what the function keeps for itself.
_SIGNATURE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)


@functools.cache
def loop_of(ufunc: Any, types: str) -> Any:
    """The loop for types such as "ff->f", as ctypes has it. None where NumPy is another than this file knows."""
    if sys.implementation.name != "cpython" or not isinstance(ufunc, np.ufunc) or types not in ufunc.types:
        return None
    inside = _UFunc.from_address(id(ufunc))
    found = (inside.nin, inside.nout, inside.nargs, inside.ntypes)
    if found != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes) or inside.name != ufunc.__name__.encode():
        return None
    which = ufunc.types.index(types)
    address, kept = inside.functions[which], inside.data[which]
    return None if address is None or kept is not None else _SIGNATURE(address)
