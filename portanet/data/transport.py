"""From where data are to where a network wants them: one array, or every array within a batch."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from portanet.backend import Backend
from portanet.dtypes import DType, complex_of
from portanet.host import has_dtype, is_constant
from portanet.kernels.generic.feeding import Rows
from portanet.library import is_array, is_host, namespace_of
from portanet.tensor import Tensor, cast, moved

SHARE = 8  # an eighth of the free memory may be taken by data without being asked


def _dtype_there(x: Tensor, target: Backend) -> DType:
    """The dtype that ``x`` has when it has arrived."""
    if x.dtype.kind == "real floating":
        return target.dtype
    return complex_of(target.dtype) if x.dtype.kind == "complex floating" else x.dtype


def carried(x: Tensor, target: Backend) -> Tensor:
    """One array as the network wants it."""
    dtype = _dtype_there(x, target)
    # Before the move where possible: half the bytes travel, and some devices have no float64 at all.
    if x.dtype is not dtype and has_dtype(namespace_of(x.array), dtype):
        x = cast(x, dtype)
    x = moved(x, target.library, target.device)
    return x if x.dtype is dtype else cast(x, dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Host data, batch by batch.


def travels(x: Tensor, target: Backend) -> bool:
    """Whether ``x`` is host data that is wanted elsewhere, and no gradients come back to it."""
    return is_host(x.array) and namespace_of(x.array) is not target.library and not x.requires_grad


def rows_of(x: Tensor, place: Any, target: Backend) -> Rows:
    """Rows of host data that are to travel; ``place`` is a slice, a raw array of row numbers, or None for all."""
    dtype = _dtype_there(x, target)
    return Rows(x.array, place, dtype.name if has_dtype(namespace_of(x.array), dtype) else x.dtype.name)


def packed(batch: Any, target: Backend) -> Any:
    """A batch ready to be `delivered`: its host data as `Rows`, all other arrays where they are wanted."""

    def one(leaf: Any) -> Any:
        if not is_array(leaf):
            return leaf
        x = leaf if isinstance(leaf, Tensor) else Tensor(leaf)
        return rows_of(x, None, target) if travels(x, target) else carried(x, target)

    return _mapped(one, batch)


def delivered(batches: Iterator[Any], target: Backend, ahead: int) -> Iterator[Any]:
    """The batches with all their `Rows` as arrays of the target, up to ``ahead`` of them on their way at a time."""
    waiting: deque[Any] = deque()  # the batches that are on their way, each with its Rows still in it

    def travelling() -> Iterator[list[Rows]]:
        for batch in batches:
            waiting.append(batch)
            yield _rows_in(batch)

    with contextlib.closing(target.library.fed(travelling(), device=target.device, ahead=ahead)) as arrivals:
        for arrays in arrivals:
            yield _filled(waiting.popleft(), iter(arrays), target)


def _rows_in(batch: Any) -> list[Rows]:
    found: list[Rows] = []
    _mapped(lambda leaf: found.append(leaf) if type(leaf) is Rows else None, batch)
    return found


def _filled(batch: Any, arrays: Iterator[Any], target: Backend) -> Any:
    """A batch with an array for each of its Rows; they have the dtype that is wanted, unless the host lacks that."""
    return _mapped(lambda leaf: carried(Tensor(next(arrays)), target) if type(leaf) is Rows else leaf, batch)


def _mapped(change: Callable[[Any], Any], batch: Any) -> Any:
    """A batch of the same form with every leaf, which is no container, changed."""
    if isinstance(batch, Mapping):
        return {key: _mapped(change, value) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return like(batch, [_mapped(change, value) for value in batch])
    return change(batch)


def like(sequence: Any, values: list[Any]) -> Any:
    """``values`` as the kind of sequence that ``sequence`` is: a named tuple keeps its names."""
    return type(sequence)(*values) if hasattr(sequence, "_fields") else type(sequence)(values)


# ---------------------------------------------------------------------------------------------------------------------
# Data that stay on the device.


def stays(tensors: Sequence[Tensor], count: int, target: Backend, resident: bool | str) -> bool:
    """Whether so many rows of the arrays had better be copied to the target once, rather than batch by batch.

    ``resident`` as the DataLoader has it.
    """
    abroad = [x for x in tensors if _is_abroad(x, target)]
    if not abroad or any([x.requires_grad for x in tensors]):
        return False
    if isinstance(resident, bool):
        return resident
    if not all([is_constant(x.array) for x in abroad]):
        return False
    free = target.library.free_memory(target.device)
    # Those that are on the device already are copied as well, if only some of their rows are wanted.
    size = sum([count * _row_size(x, target) for x in tensors])
    return free is not None and SHARE * size <= free


def _is_abroad(x: Tensor, target: Backend) -> bool:
    return namespace_of(x.array) is not target.library or (target.device is not None and x.device != target.device)


def _row_size(x: Tensor, target: Backend) -> int:
    """How many bytes a row takes on the target."""
    size = _dtype_there(x, target).itemsize
    for n in x.shape[1:]:
        size *= n
    return size
