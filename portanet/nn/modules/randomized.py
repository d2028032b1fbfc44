"""Activations that draw random numbers in training, as modules."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional.randomized import require_slopes
from portanet.nn.module import Module
from portanet.nn.modules.activation import require_not_in_place

__all__ = ["RReLU"]


class RReLU(Module):
    """x where x > 0, and a x elsewhere, a being random in training: see `portanet.nn.functional.rrelu`.

    In training each element has an a of its own, evenly from ``lower`` to ``upper``; in evaluation a is their mean.
    Shape and dtype stay.

    Args:
        lower, upper: the bounds of the slopes, lower <= upper.
        inplace: kept for PyTorch's sake; only False is possible (ValueError).

    >>> import portanet
    >>> portanet.nn.RReLU(0.25, 0.75).eval()(portanet.asarray([-4.0, 2.0]))
    tensor([-2.,  2.])
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("RReLU", inplace)
        require_slopes("RReLU", lower, upper)
        self.lower = lower
        self.upper = upper

    def forward(self, input: Any) -> Any:
        return F.rrelu(input, self.lower, self.upper, self.training)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"
