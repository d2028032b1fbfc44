"""The doors between host and device: every copy, and every read that has to wait for the device, goes through one.

`transfers` counts, logs or forbids what goes through; while nobody watches, a door costs one look at a global number.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from portanet.whereabouts import size_text, whereabouts

__all__ = ["Transfer", "TransferError", "Transfers", "transfers"]

MODES = ("forbid", "count", "log")
logger = logging.getLogger("portanet.transfers")

ADVICE = {
    "read": "the device must finish all its work before Python can see a value: decide on the device (portanet.where), "
    "or read once in many steps",
    "to host": "compute where the array is, or copy it once, after the loop",
    "to device": "put the data there once, before the loop: x.to(...), model.to(...), a constant made by zeros_like",
}


class TransferError(RuntimeError):
    """A copy between host and device, or a read that waits for the device, where `transfers` forbids it.

    >>> import portanet
    >>> with portanet.use_backend("array_api_strict:device1"):  # it pretends to be a device
    ...     x = portanet.ones(2)
    ...     try:
    ...         with portanet.transfers("forbid"):
    ...             x.tolist()
    ...     except portanet.TransferError as problem:
    ...         print(str(problem)[:63])
    transfers are forbidden here, but to host: Tensor.tolist, float
    """


@dataclass(frozen=True)
class Transfer:
    """One copy between host and device, or one read.

    Attributes:
        direction: ``"to host"``, ``"to device"``, or ``"read"`` where Python waits for a value (``if x > 0:``).
        what: the function of portanet that caused it; ``"backward of getitem"`` on the way back.
        shape, dtype, bytes: of the array.
        layer: the class and the dotted name of the innermost `nn.Module` at work; "" outside of any.
        file, line: the line outside of portanet that led here.
    """

    direction: str
    what: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    layer: str
    file: str
    line: int

    def __str__(self) -> str:
        layer = f" in {self.layer}" if self.layer else ""
        return (
            f"{self.direction}: {self.what}{layer}, {self.dtype} of shape {self.shape} ({size_text(self.bytes)}), "
            f"{self.file}:{self.line}"
        )


@dataclass
class Transfers:
    """What went through while `transfers` watched: ``events`` in order, and as text a table with equal ones as one."""

    mode: str
    events: list[Transfer] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many copies and reads there were."""
        return len(self.events)

    @property
    def bytes(self) -> int:
        """How many bytes they carried."""
        return sum([event.bytes for event in self.events])

    def __str__(self) -> str:
        if not self.events:
            return "no transfers"
        groups: dict[tuple[str, ...], list[int]] = {}
        for event in self.events:
            key = (event.direction, event.what, event.layer, f"{event.file}:{event.line}")
            groups.setdefault(key, []).append(event.bytes)
        rows: list[tuple[str, ...]] = [("times", "bytes", "direction", "by", "layer", "line")]
        rows += [(str(len(sizes)), size_text(sum(sizes)), *key) for key, sizes in groups.items()]
        widths = [max([len(row[i]) for row in rows]) for i in range(len(rows[0]))]
        lines = ["  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]) for row in rows]
        return "\n".join([line.rstrip() for line in lines])


watching = 0  # how many blocks of `transfers` are open, in all threads
_lock = threading.Lock()
_watchers: ContextVar[tuple[Transfers, ...]] = ContextVar("portanet_transfers", default=())


@contextlib.contextmanager
def transfers(mode: str = "count") -> Iterator[Transfers]:
    """Watch what travels between host and device within a ``with`` block, in this thread or asyncio task.

    A copy in either direction counts, and so does every read for which Python has to wait until the device has done
    all that it was told before: ``item()``, ``float(x)``, ``if x > 0:``, ``print(x)``, a choice by a mask of truth
    values. Arrays whose memory is the host's own (NumPy; PyTorch and JAX on the CPU) are not transferred by that. What
    is done to the library's own arrays past portanet is not seen.

    Args:
        mode: ``"forbid"`` raises `TransferError` at the first; ``"count"`` writes all down; ``"log"`` does that and
            tells the logger ``portanet.transfers``, as warnings.

    Blocks may be nested: each sees what goes through, and one that forbids is obeyed.

    Returns:
        a `Transfers`: ``count``, ``bytes``, ``events`` and, by ``print``, a table.

    Raises:
        ValueError: another mode.

    >>> import portanet
    >>> with portanet.use_backend("array_api_strict:device1"), portanet.transfers("count") as seen:
    ...     x = portanet.asarray([1.0, 2.0])
    ...     total = portanet.sum(x).item()
    >>> [(event.direction, event.what, event.bytes) for event in seen.events]
    [('to device', 'asarray', 8), ('read', 'Tensor.item', 4)]
    """
    global watching
    if mode not in MODES:
        raise ValueError(f"transfers: mode must be one of {', '.join(MODES)}, saw {mode!r}.")
    watcher = Transfers(mode)
    token = _watchers.set((*_watchers.get(), watcher))
    with _lock:
        watching += 1
    try:
        yield watcher
    finally:
        with _lock:
            watching -= 1
        _watchers.reset(token)


# ---------------------------------------------------------------------------------------------------------------------
# The doors. Each asks `watching` first; what follows may cost what it likes.

HOST_KINDS = frozenset({1, 3})  # DLPack's kDLCPU and kDLCUDAHost


def on_host(raw: Any) -> bool:
    """Whether the memory of a raw array is the host's: DLPack says so, and the library calls its device a CPU."""
    try:
        kind, _ = raw.__dlpack_device__()
    except Exception:  # a number, or an array that is only traced
        return True
    device = getattr(raw, "device", None)
    return int(kind) in HOST_KINDS and (device is None or "cpu" in str(device).lower())


def read(convert: Callable[[Any], Any], raw: Any) -> Any:
    """``convert(raw)``, a Python value of a raw array: the door of every decision that depends on data."""
    if not watching:
        return convert(raw)
    if not on_host(raw):
        passed("read", raw)
    with _unwatched():
        return convert(raw)


def carried(source: Any, made: Any) -> None:
    """A raw array was moved: a transfer if host memory is on one side alone. To be called while somebody watches."""
    before, after = on_host(source), on_host(made)
    if before and not after:
        passed("to device", made)
    elif after and not before:
        passed("to host", source)


def leaves(raw: Any) -> None:
    """The elements of a raw array are copied to the host, if they are not there. To be called while somebody watches."""
    if not on_host(raw):
        passed("to host", raw)


def chosen(key: Any) -> None:
    """An array is indexed with the raw array ``key``: how many elements a mask chooses has to be waited for."""
    if "bool" in str(key.dtype) and not on_host(key):
        passed("read", key)


def passed(direction: str, raw: Any) -> None:
    """Tell all who watch; raise TransferError if one of them forbids it."""
    watchers = _watchers.get()
    if not watchers:  # another thread's
        return
    place = whereabouts()
    dtype = str(raw.dtype).rpartition(".")[2]
    event = Transfer(
        direction, place.operation, tuple(raw.shape), dtype, _bytes(raw), place.layer, place.file, place.line
    )
    if "forbid" in [watcher.mode for watcher in watchers]:
        raise TransferError(f"transfers are forbidden here, but {event}. Instead: {ADVICE[direction]}.")
    for watcher in watchers:
        watcher.events.append(event)
        if watcher.mode == "log":
            logger.warning("%s", event, extra={"transfer": event})


def _bytes(raw: Any) -> int:
    itemsize = getattr(raw, "itemsize", None) or getattr(raw.dtype, "itemsize", None)
    if itemsize is None:
        digits = "".join([c for c in str(raw.dtype) if c.isdigit()])
        itemsize = int(digits) // 8 if digits else 1
    return math.prod(raw.shape) * int(itemsize)


@contextlib.contextmanager
def _unwatched() -> Iterator[None]:
    """Within one door others do not count: what goes through both goes once."""
    token = _watchers.set(())
    try:
        yield
    finally:
        _watchers.reset(token)


def _leaving(function: Callable[..., Any]) -> Callable[..., Any]:
    def door(raw: Any) -> Any:
        if not watching:
            return function(raw)
        leaves(raw)
        with _unwatched():
            return function(raw)

    return door


def _arriving(function: Callable[..., Any]) -> Callable[..., Any]:
    def door(given: Any, *args: Any, **options: Any) -> Any:
        if not watching:
            return function(given, *args, **options)
        with _unwatched():
            made = function(given, *args, **options)
        # A Python number is an argument of the kernel that fills the memory.
        if not isinstance(given, (bool, int, float, complex)) and on_host(given) and not on_host(made):
            passed("to device", made)
        return made

    return door


def _sizing(function: Callable[..., Any]) -> Callable[..., Any]:
    def door(raw: Any, *args: Any, **options: Any) -> Any:
        if watching and not on_host(raw):
            passed("read", raw)
        return function(raw, *args, **options)

    return door


def _feeding(function: Callable[..., Any]) -> Callable[..., Any]:
    def door(*args: Any, **options: Any) -> Iterator[list[Any]]:
        batches = function(*args, **options)
        try:
            while True:
                with _unwatched() if watching else contextlib.nullcontext():
                    batch = next(batches, None)
                if batch is None:
                    return
                if watching:
                    for array in [array for array in batch if not on_host(array)]:
                        passed("to device", array)
                yield batch
        finally:
            batches.close()

    return door


# name -> the door in front of a library's function of that name
DOORS = {
    "to_host": _leaving,
    "from_host": _arriving,
    "asarray": _arriving,
    "fed": _feeding,
    "nonzero": _sizing,  # and the next: how many there are is known to the device alone
    "unique_all": _sizing,
    "unique_counts": _sizing,
    "unique_inverse": _sizing,
    "unique_values": _sizing,
}
