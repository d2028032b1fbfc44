"""Batches of host data on their way to a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy

__all__ = ["fed", "free_memory"]


class Rows:
    """Rows of a NumPy array that are wanted on a device, not gathered yet.

    Args:
        array: the whole.
        place: which rows: a slice, or a NumPy array of row numbers in [0, len(array)); None: all of them.
        dtype: what they are cast to, by the name that NumPy knows it by.
    """

    __slots__ = ("array", "dtype", "place")

    def __init__(self, array: Any, place: Any, dtype: str) -> None:
        self.array, self.place, self.dtype = array, place, numpy.dtype(dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is gathered."""
        if self.place is None:
            return tuple(self.array.shape)
        if isinstance(self.place, slice):
            return (len(range(len(self.array))[self.place]), *self.array.shape[1:])
        return (len(self.place), *self.array.shape[1:])

    def gathered(self) -> Any:
        """The rows as a NumPy array, which may be a view."""
        return self._picked().astype(self.dtype, copy=False)

    def gather(self, out: Any) -> None:
        """Write the rows into ``out``, a NumPy array of their shape and dtype."""
        x, place = self.array, self.place
        if isinstance(place, numpy.ndarray) and x.flags.c_contiguous and x.dtype == out.dtype:
            # Not "raise", which writes to memory of its own first; row numbers out of range do not come here.
            x.take(place, axis=0, out=out, mode="clip")
        else:
            numpy.copyto(out, self._picked(), casting="unsafe")

    def _picked(self) -> Any:
        x, place = self.array, self.place
        if place is None or isinstance(place, slice):
            return x if place is None else x[place]
        # `take` is quicker by rows, but would first copy the whole of an array that is not in one piece.
        return x.take(place, axis=0) if x.flags.c_contiguous else x[place]


def fed(xp: Any, batches: Iterable[list[Rows]], *, device: Any = None, ahead: int = 0) -> Iterator[list[Any]]:
    """The rows of each batch as arrays on the device, one copy for each.

    ``ahead``: how many batches may be on their way at a time, where the library copies beside the computation; with 0
    each is copied when it is asked for. Nothing is under way any more when the iterator has ended or is closed.
    """
    for batch in batches:
        yield [xp.receive(rows.gathered(), device) for rows in batch]


def free_memory(xp: Any, device: Any) -> int | None:
    """How many bytes can be allocated on the device; None where its memory is the host's, or nobody can say."""
    return None
