"""Dropout as a layer: active in training alone."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional.dropout import check_options
from portanet.nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training each element becomes 0 with probability ``p``, and the others are divided by 1 - p.

    Args:
        p: the probability of a zero, from 0 to 1.
        inplace: kept for PyTorch's sake; only False is possible.

    The same seed drops the same elements on every library and device.

    >>> import portanet
    >>> layer = portanet.nn.Dropout(0.9)
    >>> layer.eval()(portanet.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_options("Dropout", p, inplace)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
