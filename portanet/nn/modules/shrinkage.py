"""Activations that shrink, as modules: each is one call of the function of the same name."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.module import Module
from portanet.nn.modules.activation import require_not_in_place

__all__ = ["Hardshrink", "Softshrink", "Tanhshrink", "Threshold"]


class Hardshrink(Module):
    """0 where |x| <= ``lambd``, and x elsewhere: see `portanet.nn.functional.hardshrink`. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.Hardshrink()(portanet.asarray([-2.0, 0.5, 0.75]))
    tensor([-2.  ,  0.  ,  0.75])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Any:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(Module):
    """x moved towards 0 by ``lambd``, but not beyond: see `portanet.nn.functional.softshrink`. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.Softshrink()(portanet.asarray([-2.0, 0.5, 0.75]))
    tensor([-1.5 ,  0.  ,  0.25])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Any) -> Any:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Tanhshrink(Module):
    """x - tanh(x), element by element. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.Tanhshrink()(portanet.asarray([0.0, 100.0]))
    tensor([ 0., 99.])
    """

    def forward(self, input: Any) -> Any:
        return F.tanhshrink(input)


class Threshold(Module):
    """x where x > ``threshold``, and ``value`` elsewhere. Shape and dtype stay.

    Args:
        threshold: what x must exceed to be kept.
        value: what stands in the place of the others.
        inplace: kept for PyTorch's sake; only False is possible (ValueError).

    >>> import portanet
    >>> portanet.nn.Threshold(1.0, 20.0)(portanet.asarray([-1.0, 1.0, 2.0]))
    tensor([20., 20.,  2.])
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("Threshold", inplace)
        self.threshold = threshold
        self.value = value

    def forward(self, input: Any) -> Any:
        return F.threshold(input, self.threshold, self.value)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}"
