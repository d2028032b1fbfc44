"""Random numbers beside an array: on its library and device, and by default in its dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.backend import use_backend
from portanet.library import device_of, namespace_of
from portanet.nn.functional._checks import dtype_of


def drawn_like(like: Any, draw: Callable[..., Any], *numbers: Any, dtype: Any = None, generator: Any = None) -> Any:
    """The raw array ``draw(*numbers)`` of a function of `portanet.random`, made where the raw array ``like`` is."""
    with use_backend(namespace_of(like), device=device_of(like)):
        return draw(*numbers, dtype=dtype_of(like) if dtype is None else dtype, generator=generator)._raw
