"""CuPy's streams, events and memory pools as a model on the host that runs what is queued in any order CUDA may choose.

What is queued runs only when the host waits for it, or now and then, as the dice fall; of all streams whose first entry
may run, any one may be next. Memory that is freed is handed out again at once, as the pools do.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
import types
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy


class Model:
    """Stands in for the module cupy, as far as `portanet.kernels.cupy.feeding` uses it.

    ``without`` names a wait that is left out, to see that the harm is noticed: "room" (a copy waits for what was
    computed in its memory), "arrival" (the computation waits for the copy), "pinned" (the host waits for the copy) or
    "end" (the last copies are waited for).
    """

    def __init__(self, seed: int, without: str = "") -> None:
        self.dice, self.without = random.Random(seed), without
        self.paces = ((0, 0, 1, 4), (0,), (0, 0, 0, 1))[
            seed % 3
        ]  # keeping up with the host, idle unless waited for, slow
        self.streams: list[Stream] = []
        self.free: dict[Any, list[Any]] = {}  # by stream and size
        self.pinned: list[Any] = []
        self.present = Stream(self)
        self.cuda = types.SimpleNamespace(
            Device=lambda number: contextlib.nullcontext(),
            Event=lambda disable_timing: Event(self),
            Stream=lambda non_blocking: Stream(self, copies=True),
            alloc_pinned_memory=self.alloc_pinned_memory,
            get_current_stream=lambda: self.present,
            runtime=types.SimpleNamespace(getDevice=lambda: 0),
        )

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return Array(self, shape, numpy.dtype(dtype))

    def alloc_pinned_memory(self, count: int) -> Any:
        memory = numpy.zeros(count, numpy.uint8)
        self.pinned.append(memory)
        block = (ctypes.c_uint8 * count).from_buffer(memory)
        weakref.finalize(block, memory.fill, 255)  # somebody else writes to it as soon as it is free
        return block

    def a_moment(self) -> None:
        """Let the device do as much as it likes, which may be nothing."""
        for _ in range(self.dice.choice(self.paces)):
            self.run()

    def run(self) -> None:
        ready = [stream for stream in self.streams if stream.queue and stream.queue[0][0]()]
        if ready:
            self.dice.choice(ready).queue.popleft()[1]()

    def until(self, done: Callable[[], bool]) -> None:
        for _ in range(10_000):
            if done():
                return
            self.run()
        raise AssertionError("the device hangs")


class Stream:
    def __init__(self, model: Model, copies: bool = False) -> None:
        self.model, self.copies = model, copies
        self.queue: deque[tuple[Callable[[], bool], Callable[[], None]]] = deque()
        model.streams.append(self)

    def do(self, work: Callable[[], None], when: Callable[[], bool] = lambda: True) -> None:
        self.queue.append((when, work))
        self.model.a_moment()

    def wait_event(self, event: Event) -> None:
        if self.model.without != ("room" if self.copies else "arrival"):
            record = event.record_of_last
            self.do(lambda: None, lambda: record["done"])

    def synchronize(self) -> None:
        if self.model.without != "end":
            self.model.until(lambda: not self.queue)


class Event:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.record_of_last = {"done": True}

    def record(self, stream: Stream) -> None:
        record = self.record_of_last = {"done": False}
        stream.do(lambda: record.update(done=True))

    def synchronize(self) -> None:
        if self.model.without != "pinned":
            record = self.record_of_last
            self.model.until(lambda: record["done"])


class Array:
    """An array on the device: the memory is only to be touched by what is queued."""

    def __init__(self, model: Model, shape: tuple[int, ...], dtype: Any) -> None:
        self.model, self.shape, self.dtype = model, shape, dtype
        size = int(numpy.prod(shape)) * dtype.itemsize
        self.pool = model.free.setdefault((id(model.present), size), [])
        self.memory = self.pool.pop() if self.pool else numpy.full(size, 255, numpy.uint8)

    def __del__(self) -> None:
        self.pool.append(self.memory)

    def read(self, found: list[Any]) -> None:
        memory, shape, dtype = self.memory, self.shape, self.dtype
        self.model.present.do(lambda: found.append(memory.view(dtype).reshape(shape).copy()))

    def fill(self, value: int) -> None:
        memory = self.memory
        self.model.present.do(lambda: memory.fill(value))

    def set(self, host: Any, stream: Stream) -> None:
        assert host.shape == self.shape and host.dtype == self.dtype and host.flags.c_contiguous
        start, count, memory = host.ctypes.data, host.nbytes, self.memory
        if count == 0:
            return
        (whole,) = [m for m in self.model.pinned if 0 <= start - m.ctypes.data <= m.nbytes - count]
        first = start - whole.ctypes.data
        stream.do(lambda: numpy.copyto(memory, whole[first : first + count]))
