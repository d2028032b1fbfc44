"""Arrays side by side in one piece of memory: what is done with all of them is done with the whole."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from portanet.plan.recorder import Refused

ALIGNMENT = 64  # bytes: each part begins where a cache line and a vector register do


class Flat:
    """One-dimensional memory, zeros at first, and an array of each wanted shape on a part of its own.

    Attributes:
        whole: all of it, with one axis. What lies between the parts is 0.
        parts: the arrays, in C order.
    """

    def __init__(self, shapes: list[tuple[int, ...]], dtype: Any) -> None:
        unit = max(1, ALIGNMENT // np.dtype(dtype).itemsize)
        stops = np.cumsum([-(-math.prod(shape) // unit) * unit for shape in shapes], dtype=int).tolist()
        memory = np.zeros(stops[-1] + unit, dtype)
        offset = -(memory.ctypes.data // memory.itemsize) % unit
        self.whole = memory[offset : offset + stops[-1]]
        starts = [0, *stops[:-1]]
        self.parts = [self.whole[i : i + math.prod(shape)].reshape(shape) for i, shape in zip(starts, shapes)]
        self._counts: list[int] = []

    def put(self, i: int, values: Any) -> Any:
        """Copy ``values`` to part ``i``, and return that."""
        np.copyto(self.parts[i], values)
        return self.parts[i]

    def settle(self) -> None:
        """Take the references that there are now for those that belong here."""
        self._counts = self._references()

    def untouched(self, away: int = 0) -> bool:
        """Whether nobody has come to hold a part or a view of one since `settle`; ``away`` of them went meanwhile."""
        return sum(self._references()) <= sum(self._counts) - away

    def _references(self) -> list[int]:
        return [sys.getrefcount(self.whole.base), *[sys.getrefcount(part) for part in self.parts]]


def stored_alike(x: Any) -> Any:
    """A copy of ``x`` that lies in memory as ``x`` does, stride by stride: sums depend on that in the last bit.

    Raises `Refused` where that would take far more memory than the elements.
    """
    if x.flags.c_contiguous:
        return x.copy()
    reach = [(n - 1) * stride for n, stride in zip(x.shape, x.strides)]
    low, high = sum([r for r in reach if r < 0]), sum([r for r in reach if r > 0])
    if high - low > 8 * x.nbytes + 64:
        raise Refused(f"an argument of shape {x.shape} is stored with gaps of {x.strides} bytes; copy it first")
    y = np.ndarray(x.shape, x.dtype, np.zeros(high - low + x.itemsize, np.uint8), -low, x.strides)
    y[...] = x
    return y


def references(things: list[Any]) -> int:
    """How many references there are to these objects together."""
    return sum(map(sys.getrefcount, things))
