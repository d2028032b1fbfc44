"""Arrays made of numbers of the host, where another array is."""

from __future__ import annotations

from typing import Any

from portanet.library import device_of, namespace_of
from portanet.nn.functional._checks import raw_of
from portanet.tensor import Tensor


def constant_like(x: Any, values: Any, dtype: Any = None) -> Any:
    """Numbers, in nested lists, as an array in the library and on the device of ``x``: a Tensor where ``x`` is one."""
    raw = raw_of(x)
    library = namespace_of(raw)
    given = {} if dtype is None else {"dtype": library.raw_dtype(dtype)}
    made = library.asarray(values, device=device_of(raw), **given)
    return Tensor(made) if isinstance(x, Tensor) else made
