"""Channels of images rearranged, as modules."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.module import Module

__all__ = ["ChannelShuffle", "PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Module):
    """Groups of r^2 channels become images r times as high and wide: see `portanet.nn.functional.pixel_shuffle`.

    Shapes: (..., C r^2, H, W) -> (..., C, H r, W r), r being ``upscale_factor``.

    >>> import portanet
    >>> portanet.nn.PixelShuffle(2)(portanet.ones((8, 3, 5))).shape
    (2, 6, 10)
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """`PixelShuffle` undone: see `portanet.nn.functional.pixel_unshuffle`.

    Shapes: (..., C, H r, W r) -> (..., C r^2, H, W), r being ``downscale_factor``.

    >>> import portanet
    >>> portanet.nn.PixelUnshuffle(2)(portanet.ones((2, 6, 10))).shape
    (8, 3, 5)
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """The channels of ``groups`` groups taken in turns: see `portanet.nn.functional.channel_shuffle`.

    Shapes: (N, C, ...), which stays.

    >>> import portanet
    >>> x = portanet.reshape(portanet.arange(4), (1, 4, 1))
    >>> portanet.nn.ChannelShuffle(2)(x)[0, :, 0]
    tensor([0, 2, 1, 3])
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Any) -> Any:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
