"""Adaptive pooling layers: as many windows as asked for, which cover the input whatever its size."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
]  # fmt: skip


class AdaptiveAvgPool1d(Module):
    """Means of windows that cover the last axis and are as many as asked for.

    The i-th of m windows over L values reaches from floor(i L / m) to ceil((i + 1) L / m).

    Args:
        output_size: how many windows, one number for each spatial axis or one for all; None: as many as values.

    Shapes: (N, C, L) or (C, L) -> (N, C, output_size) or (C, output_size).

    >>> import portanet
    >>> portanet.nn.AdaptiveAvgPool1d(1)(portanet.asarray([[1.0, 3.0, 5.0]]))
    tensor([[3.]])
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Any) -> Any:
        return F.adaptive_avg_pool1d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(AdaptiveAvgPool1d):
    """Means of windows that cover images: `AdaptiveAvgPool1d` with two axes. An output size of 1 is the global mean.

    Shapes: (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').

    >>> import portanet
    >>> portanet.nn.AdaptiveAvgPool2d(1)(portanet.ones((8, 64, 7, 7))).shape
    (8, 64, 1, 1)
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(AdaptiveAvgPool1d):
    """Means of windows that cover volumes: `AdaptiveAvgPool1d` with three axes.

    Shapes: (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W').

    >>> import portanet
    >>> portanet.nn.AdaptiveAvgPool3d((1, 2, 2))(portanet.ones((8, 4, 6, 6))).shape
    (8, 1, 2, 2)
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_avg_pool3d(input, self.output_size)


class AdaptiveMaxPool1d(Module):
    """The largest values of windows that cover the last axis and are as many as asked for.

    The i-th of m windows over L values reaches from floor(i L / m) to ceil((i + 1) L / m).

    Args:
        output_size: how many windows, one number for each spatial axis or one for all; None: as many as values.
        return_indices: whether to return also where each largest value is, for `MaxUnpool1d`.

    Shapes: (N, C, L) or (C, L) -> (N, C, output_size) or (C, output_size).

    >>> import portanet
    >>> portanet.nn.AdaptiveMaxPool1d(2)(portanet.asarray([[1.0, 5.0, 3.0, 4.0]]))
    tensor([[5., 4.]])
    """

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(AdaptiveMaxPool1d):
    """The largest values of windows that cover images: `AdaptiveMaxPool1d` with two axes.

    Shapes: (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').

    >>> import portanet
    >>> portanet.nn.AdaptiveMaxPool2d((3, 2))(portanet.ones((8, 64, 7, 7))).shape
    (8, 64, 3, 2)
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(AdaptiveMaxPool1d):
    """The largest values of windows that cover volumes: `AdaptiveMaxPool1d` with three axes.

    Shapes: (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W').

    >>> import portanet
    >>> portanet.nn.AdaptiveMaxPool3d((1, 2, 2))(portanet.ones((8, 4, 6, 6))).shape
    (8, 1, 2, 2)
    """

    def forward(self, input: Any) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)
