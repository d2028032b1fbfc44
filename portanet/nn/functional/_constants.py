"""Arrays that depend on shapes and lengths alone: computed in Python, and laid beside the array that they meet."""

from __future__ import annotations

from typing import Any

from portanet.library import device_of, namespace_of
from portanet.nn.functional._checks import raw_of
from portanet.tensor import Tensor


def constant_like(x: Any, values: Any, dtype: Any = None) -> Any:
    """Numbers, in nested lists, as an array in the library and on the device of ``x``: a Tensor where ``x`` is one.

    Without ``dtype`` it is what the library makes of them: of whole numbers its own integers, which are its indices.
    """
    raw = raw_of(x)
    library = namespace_of(raw)
    given = {} if dtype is None else {"dtype": library.raw_dtype(dtype)}
    made = library.asarray(values, device=device_of(raw), **given)
    return Tensor(made) if isinstance(x, Tensor) else made


def floats_like(x: Any, values: Any) -> Any:
    """Nested Python numbers as `constant_like` has them, with the dtype of ``x``."""
    return constant_like(x, values, raw_of(x).dtype)


def indices_like(x: Any, values: Any) -> Any:
    """Nested whole numbers as indices of the library of ``x``."""
    return constant_like(x, values)
