"""portanet with the tape forced on: every floating array that a creation function makes requires a gradient.

The conformance suite runs a second time on this, so that recording never changes a result, a dtype or a shape.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import portanet

MAKERS = """arange asarray astype empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like
tril triu zeros zeros_like""".split()


def forced(maker: Callable[..., Any]) -> Callable[..., Any]:
    """``maker``, whose floating results are under the tape."""

    @functools.wraps(maker)
    def made(*args: Any, **options: Any) -> Any:
        result = maker(*args, **options)
        return tuple([recorded(x) for x in result]) if isinstance(result, (tuple, list)) else recorded(result)

    return made


def recorded(x: portanet.Tensor) -> portanet.Tensor:
    """``x``, computed from a leaf that requires a gradient: unlike the leaf itself, it may be written into."""
    if x.requires_grad or not portanet.isdtype(x.dtype, ("real floating", "complex floating")):
        return x
    return portanet.positive(portanet.Tensor(x.array).requires_grad_())


for _name in MAKERS:
    setattr(portanet, _name, forced(getattr(portanet, _name)))
