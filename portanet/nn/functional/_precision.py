"""What functions that are more than one operation have to say about mixed precision; outside of `autocast` it is nothing."""

from __future__ import annotations

from typing import Any

from portanet.autocasting import CASTABLE, current
from portanet.autocasting import widened as _widened
from portanet.tensor import Tensor, cast


def widened(x: Any) -> Any:
    """``x`` in float32, where autocast is on and it is a Tensor of a half-width dtype: for what could overflow, or is a
    loss or a statistic. Anything else as it is."""
    region = current.get()
    return x if region is None or region.dtype is None else _widened(x, cast)


def like(x: Any, other: Any) -> Any:
    """``x`` in the dtype of ``other``, where autocast has led to two: for what follows its input, as in PyTorch."""
    region = current.get()
    if region is None or region.dtype is None or not (isinstance(x, Tensor) and isinstance(other, Tensor)):
        return x
    differ = x.dtype is not other.dtype and x.dtype in CASTABLE and other.dtype in CASTABLE
    return cast(x, other.dtype) if differ else x
