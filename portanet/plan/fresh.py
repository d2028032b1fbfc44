"""Large results that a call makes in new memory each time: copying them to a fixed place would cost what a plan saves.

A `Fresh` is such a result, a `Part` what is read of it, found anew whenever it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

LARGE = 1 << 15  # bytes from which finding parts anew costs less than copying


class Fresh:
    """Where the newest result of a call lies."""

    __slots__ = ("_form", "memory")

    def __init__(self, result: Any) -> None:
        self.memory = owner_of(result)
        self._form = _form(result)

    def renew(self, result: Any) -> None:
        """Take another result of the same form. Raises ValueError if it is of another one."""
        if _form(result) != self._form:
            raise ValueError(f"a result has the form {_form(result)}, which was {self._form} when it was recorded")
        self.memory = owner_of(result)

    def let_go(self) -> None:
        """Have the memory freed, until the next result is there."""
        self.memory = None


class Part:
    """An array on the memory of a `Fresh`: by shape, dtype, strides and the bytes before it."""

    __slots__ = ("_dtype", "_fresh", "_offset", "_shape", "_strides")

    def __init__(self, fresh: Fresh, array: Any) -> None:
        self._fresh = fresh
        self._shape, self._dtype, self._strides = array.shape, array.dtype, array.strides
        self._offset = array.ctypes.data - fresh.memory.ctypes.data

    def now(self) -> Any:
        """The array as it is at this point of the replay."""
        if self._fresh.memory is None:  # of which NumPy would make new memory, with anything in it
            raise RuntimeError("a result is read after its last use: this is a mistake in portanet's plans.")
        return np.ndarray(self._shape, self._dtype, self._fresh.memory, self._offset, self._strides)

    def copy(self) -> Any:
        """Its elements in memory of their own."""
        return self.now().copy()


def owner_of(array: Any) -> Any:
    """The array whose memory ``array`` lies on: itself, or what it is a view of."""
    return array if array.base is None else array.base


def can_be_fresh(result: Any) -> bool:
    """Whether a result is large, and lies on memory of NumPy's own that can be read as a whole."""
    owner = owner_of(result)
    return result.nbytes >= LARGE and isinstance(owner, np.ndarray) and owner.base is None and owner.flags.c_contiguous


def _form(result: Any) -> tuple[Any, ...]:
    owner = owner_of(result)
    return result.shape, result.dtype, result.strides, owner.nbytes, result.ctypes.data - owner.ctypes.data


def called(function: Callable[..., Any], args: Any, options: Any) -> Any:
    """A call some of whose arguments are parts of fresh results, found now."""
    return function(*_now(args), **_now(options))


def _now(tree: Any) -> Any:
    if type(tree) is Part:
        return tree.now()
    if isinstance(tree, dict):
        return {name: _now(one) for name, one in tree.items()}
    if isinstance(tree, (tuple, list)) and not hasattr(tree, "_fields"):
        return type(tree)([_now(one) for one in tree])
    return tree
