"""Batches of host data to the GPU: gathered into pinned memory, and copied by a stream of their own.

Three things happen at once: the host gathers a batch, the copy engine carries the one before, and the GPU computes.
Who waits for whom:

- the host, before it writes to pinned memory, for the copy that last read it: ``slot.copied``;
- the copy, before it writes to device memory, for all that was computed with that memory before: the pool hands out
  what was freed on the host while kernels that use it are still queued, in the order of one stream. So the arrays come
  from the pool of the stream that computes, and the copying stream waits for ``slot.ready``, recorded there;
- the computation, before it reads a batch, for its copy: ``slot.copied`` again. From then on the array is one like all
  others, and nothing here writes to it any more.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import cupy
import numpy

from portanet.kernels.generic.feeding import Rows

__all__ = ["fed", "free_memory"]


def fed(batches: Iterable[list[Rows]], *, device: Any = None, ahead: int = 0) -> Iterator[list[Any]]:
    where = cupy.cuda.Device(cupy.cuda.runtime.getDevice() if device is None else int(device))
    if ahead == 0:
        for batch in batches:
            with where:
                arrays = [cupy.asarray(rows.gathered()) for rows in batch]
            yield arrays  # not within `with`: the device would leak out to the caller
        return
    with where:
        copies = cupy.cuda.Stream(non_blocking=True)
        slots = itertools.cycle([_Slot() for _ in range(ahead)])
    sent: deque[_Sent] = deque()
    try:
        for batch in batches:
            with where:
                sent.append(_Sent(batch, next(slots), copies))
            if len(sent) == ahead:
                with where:
                    arrays = sent.popleft().received()
                yield arrays
        while sent:
            with where:
                arrays = sent.popleft().received()
            yield arrays
    finally:
        # What was sent and not received goes back to the pools with this function: nothing may write to it then.
        copies.synchronize()


def free_memory(device: Any) -> int | None:
    with contextlib.nullcontext() if device is None else cupy.cuda.Device(int(device)):
        free, _ = cupy.cuda.runtime.memGetInfo()
        return int(free + cupy.get_default_memory_pool().free_bytes())


class _Slot:
    """Pinned memory for one batch, used again for every ``ahead``-th, and the events that order its use."""

    def __init__(self) -> None:
        self.memory: list[Any] = []  # one array of bytes for each field
        self.ready = cupy.cuda.Event(disable_timing=True)
        self.copied = cupy.cuda.Event(disable_timing=True)

    def pinned(self, field: int, shape: tuple[int, ...], dtype: Any) -> Any:
        """The pinned memory of a field as a NumPy array."""
        count = int(numpy.prod(shape, dtype=numpy.int64)) * dtype.itemsize
        if field == len(self.memory):
            self.memory.append(_pinned_bytes(count))
        elif self.memory[field].size < count:
            self.memory[field] = _pinned_bytes(count)
        return self.memory[field][:count].view(dtype).reshape(shape)


def _pinned_bytes(count: int) -> Any:
    # At least one: NumPy makes no array of the pool's empty block.
    count = max(count, 1)
    return numpy.frombuffer(cupy.cuda.alloc_pinned_memory(count), dtype=numpy.uint8, count=count)


class _Sent:
    """A batch that is being copied to the device."""

    def __init__(self, batch: list[Rows], slot: _Slot, copies: Any) -> None:
        self.slot = slot
        self.home = cupy.cuda.get_current_stream()
        self.arrays = [cupy.empty(rows.shape, dtype=rows.dtype) for rows in batch]
        slot.ready.record(self.home)
        copies.wait_event(slot.ready)
        slot.copied.synchronize()
        for field, (rows, array) in enumerate(zip(batch, self.arrays, strict=True)):
            pinned = slot.pinned(field, array.shape, rows.dtype)
            rows.gather(pinned)
            array.set(pinned, stream=copies)
        slot.copied.record(copies)

    def received(self) -> list[Any]:
        """The arrays, for the stream that computes now."""
        self.home.wait_event(self.slot.copied)  # its pool gets the memory back
        present = cupy.cuda.get_current_stream()
        if present != self.home:
            present.wait_event(self.slot.copied)
        return self.arrays
