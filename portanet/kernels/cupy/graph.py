"""CUDA graphs: what a function does on the GPU, recorded once and then launched as a whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import cupy
import numpy

from portanet.kernels.cupy._cublaslt import release_workspace, workspace
from portanet.kernels.cupy._shift import shift

__all__ = ["capturer", "copy_into"]


def capturer() -> Any:
    return Capture


def copy_into(target: Any, values: Any) -> None:
    if target.dtype == values.dtype and target.flags.c_contiguous and values.flags.c_contiguous:
        target.data.copy_from_device_async(values.data, target.nbytes)
    else:
        target[...] = values


class Capture:
    """A stream to record on, memory that the recording alone uses, and numbers that it reads anew at each launch.

    Nodes of a graph hold addresses: what a recording frees may serve it again, but nobody else, so the memory comes from
    a pool of its own, which lives as long as this object.

    Args:
        count: how many numbers there may be.
        device: the device of the arrays.
    """

    def __init__(self, count: int, device: Any) -> None:
        self._device = device
        with device:
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._pool = cupy.cuda.MemoryPool()
            # The word of the random numbers stands before the numbers, so that one copy brings all.
            self._words = cupy.zeros(1 + count, cupy.uint64)
            self._numbers = self._words.view(cupy.float64)
            workspace(device.id, self._stream.ptr)
        self._host = numpy.zeros(1 + count, numpy.uint64)
        self._sent = self._host.tobytes()

    def number(self, i: int) -> Any:
        """An array without axes that holds what `write` gave for number ``i`` last."""
        return self._numbers[1 + i]

    def write(self, values: list[float], drawn: int) -> None:
        """Give the next launch its numbers, and how far its draws stand behind those of the recording, in blocks."""
        self._host[0] = drawn % 2**64
        self._host.view(numpy.float64)[1 : 1 + len(values)] = values
        bytes = self._host.tobytes()
        if bytes != self._sent:
            # From memory that is not pinned, so it has been read when the call returns.
            self._words.data.copy_from_host_async(self._host.ctypes.data, self._host.nbytes)
            self._sent = bytes

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Within this block arrays are made in the recording's memory and work goes to its stream."""
        with self._device, self._stream, cupy.cuda.using_allocator(self._pool.malloc):
            before, shift.word = shift.word, self._words[:1]
            try:
                yield
            finally:
                shift.word = before

    def begin(self) -> None:
        """From here on work is recorded, and not done."""
        self._stream.begin_capture()

    def end(self) -> Any:
        """What was recorded since `begin`: a function that launches it on the current stream."""
        graph = self._stream.end_capture()
        graph.upload(self._stream)
        return graph.launch

    def abandon(self) -> None:
        """Forget what was recorded since `begin`."""
        if self._stream.is_capturing():
            with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):  # a recording that went wrong says so again
                self._stream.end_capture()

    def holds_more_than(self, arrays: list[Any], others: list[Any]) -> bool:
        """Whether memory of the recording is in use besides that of ``arrays``; ``others`` lie elsewhere."""
        elsewhere = {x.data.mem.ptr for x in others}
        known = {x.data.mem.ptr: x.data.mem.size for x in arrays if x.data.mem.ptr not in elsewhere}
        return bool(self._pool.used_bytes() > sum(known.values()))

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if stream is not None:
            release_workspace(self._device.id, stream.ptr)
