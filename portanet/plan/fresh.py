"""Large results that a call makes in new memory each time: copying them to a fixed place would cost what a plan saves.

A `Fresh` is such a result, a `Part` what is read of it, found anew whenever it is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LARGE = 1 << 15  # bytes from which finding parts anew costs less than copying


class Fresh:
    """Where the newest result of a call lies.

    Attributes:
        memory: the array whose memory it is.
        rows: that with its axes in the order in which they lie in memory, so that it can be read as a whole.
    """

    __slots__ = ("_axes", "_form", "memory", "rows")

    def __init__(self, result: Any) -> None:
        self._form = _form(result)
        self._axes = _axes(owner_of(result))
        self._take(result)

    def renew(self, result: Any) -> None:
        """Take another result of the same form. Raises ValueError if it is of another one."""
        if _form(result) != self._form:
            raise ValueError(f"a result has the form {_form(result)}, which was {self._form} when it was recorded")
        self._take(result)

    def _take(self, result: Any) -> None:
        self.memory = owner_of(result)
        self.rows = self.memory.transpose(self._axes)

    def let_go(self) -> None:
        """Have the memory freed, until the next result is there."""
        self.memory = self.rows = None


class Part:
    """An array on the memory of a `Fresh`: by shape, dtype, strides and the bytes before it."""

    __slots__ = ("_dtype", "_fresh", "_offset", "_shape", "_strides")

    def __init__(self, fresh: Fresh, array: Any) -> None:
        self._fresh = fresh
        self._shape, self._dtype, self._strides = array.shape, array.dtype, array.strides
        self._offset = array.ctypes.data - fresh.memory.ctypes.data

    def now(self) -> Any:
        """The array as it is at this point of the replay."""
        if self._fresh.rows is None:  # of which NumPy would make new memory, with anything in it
            raise RuntimeError("a result is read after its last use: this is a mistake in portanet's plans.")
        return np.ndarray(self._shape, self._dtype, self._fresh.rows, self._offset, self._strides)

    def copy(self) -> Any:
        """Its elements in memory of their own."""
        return self.now().copy()


def owner_of(array: Any) -> Any:
    """The array whose memory ``array`` lies on: itself, or what it is a view of."""
    return array if array.base is None else array.base


def can_be_fresh(result: Any) -> bool:
    """Whether a result is large, and lies on memory of NumPy's own that can be read as a whole."""
    owner = owner_of(result)
    if result.nbytes < LARGE or not isinstance(owner, np.ndarray) or owner.base is not None:
        return False
    return owner.transpose(_axes(owner)).flags.c_contiguous


def _axes(x: Any) -> list[int]:
    """The axes from the one whose elements lie farthest apart to the one where they are neighbours."""
    return sorted(range(x.ndim), key=lambda i: -x.strides[i])


def _form(result: Any) -> tuple[Any, ...]:
    owner = owner_of(result)
    return result.shape, result.dtype, result.strides, owner.nbytes, result.ctypes.data - owner.ctypes.data
