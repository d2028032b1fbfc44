"""Arrays that depend on shapes alone: tables and weights, computed in Python and laid beside the array that they meet."""

from __future__ import annotations

from typing import Any

from portanet.library import device_of, namespace_of
from portanet.nn.functional._checks import raw_of
from portanet.tensor import Tensor


def floats_like(x: Any, values: Any) -> Any:
    """Nested Python numbers as an array of the library, device and dtype of ``x``; a Tensor where it is one."""
    raw = raw_of(x)
    made = namespace_of(raw).asarray(values, dtype=raw.dtype, device=device_of(raw))
    return Tensor(made) if isinstance(x, Tensor) else made


def indices_like(x: Any, values: Any) -> Any:
    """Nested whole numbers as an array of the library's indices, on the device of ``x``; a Tensor where it is one."""
    raw = raw_of(x)
    made = namespace_of(raw).asarray(values, device=device_of(raw))
    return Tensor(made) if isinstance(x, Tensor) else made
