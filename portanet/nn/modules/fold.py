"""Layers between images and the columns of their windows; they have no parameters."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.module import Module

__all__ = ["Fold", "Unfold"]

Size = int | tuple[int, ...]


class Unfold(Module):
    """The windows of images as columns: `portanet.nn.functional.unfold`.

    Args:
        kernel_size: the lengths K1 and K2 of the window, or one number for both; likewise all that follows.
        dilation: the distance of the values in a window.
        padding: how many zeros stand before and after.
        stride: by how much the window moves.

    Shapes: (N, C, H, W) or (C, H, W) -> (N, C K1 K2, L) or (C K1 K2, L), L being the number of windows.

    >>> import portanet
    >>> portanet.nn.Unfold((2, 3))(portanet.ones((8, 5, 3, 4))).shape
    (8, 30, 4)
    """

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"

    def forward(self, input: Any) -> Any:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Module):
    """Images in which the columns of windows are added up: `portanet.nn.functional.fold`.

    Args:
        output_size: the lengths H and W of the images, or one number for both; likewise all that follows.
        kernel_size: the lengths K1 and K2 of the window.
        dilation: the distance of the values in a window.
        padding: how many places before and after are left out.
        stride: by how much the window moves.

    Shapes: (N, C K1 K2, L) or (C K1 K2, L) -> (N, C, H, W) or (C, H, W), L being the number of windows.

    >>> import portanet
    >>> portanet.nn.Fold((3, 4), (2, 3))(portanet.ones((8, 30, 4))).shape
    (8, 5, 3, 4)
    """

    def __init__(
        self, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )

    def forward(self, input: Any) -> Any:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
