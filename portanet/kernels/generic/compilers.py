"""What a library has to run a step faster than call by call: see `portanet.compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def is_replayed(xp: Any) -> bool:
    """Whether a recording of calls can be replayed on the library's arrays: they can be written to."""
    return False


def layout(xp: Any, x: Any) -> Any:
    """How the elements lie in memory, where a replay depends on it; None where they lie by rows."""
    return None


def tracer(xp: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]] | None:
    """What makes a fast function of a pure one by tracing it, or None."""
    return None


def traced_number(xp: Any, x: float) -> Any:
    """A Python number as an argument of a traced function that may be another one in the next call."""
    return x


def capturer(xp: Any) -> Any:
    """The class whose instances record what is done on a device and launch it as a whole; None where there is none."""
    return None


def copy_into(xp: Any, target: Any, values: Any) -> None:
    """Write ``values`` to the memory of ``target``, of the same shape: where `capturer` is not None alone."""
    target[...] = values
