"""Pooling layers: they have no parameters."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d",
    "MaxPool2d", "MaxPool3d",
]  # fmt: skip

Size = int | tuple[int, ...]


class _MaxPool(Module):
    """What max pooling over one, two and three axes has in common."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        if return_indices:
            raise NotImplementedError(f"{type(self).__name__}: return_indices=True is not supported.")
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def _arguments(self) -> tuple[Any, ...]:
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest value in each window along the last axis.

    Args:
        kernel_size: the length of the window.
        stride: by how much it moves; None: by its length.
        padding: how many places stand before and after, at most half the window; they are never the largest.
        dilation: the distance of the values in a window.
        return_indices: kept for PyTorch's sake; only False is possible.
        ceil_mode: whether a window that reaches beyond the end counts too, if it begins before.

    Shapes: (N, C, L) or (C, L) -> (N, C, L') or (C, L'), L' = (L + 2 padding - dilation (kernel_size - 1) - 1) //
    stride + 1.

    >>> import portanet
    >>> portanet.nn.MaxPool1d(2)(portanet.asarray([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[3., 2.]])
    """

    def forward(self, input: Any) -> Any:
        return F.max_pool1d(input, *self._arguments())


class MaxPool2d(_MaxPool):
    """The largest value in each window of images: `MaxPool1d` with two axes.

    Shapes: (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').

    >>> import portanet
    >>> portanet.nn.MaxPool2d(2)(portanet.ones((8, 6, 28, 28))).shape
    (8, 6, 14, 14)
    """

    def forward(self, input: Any) -> Any:
        return F.max_pool2d(input, *self._arguments())


class MaxPool3d(_MaxPool):
    """The largest value in each window of volumes: `MaxPool1d` with three axes.

    Shapes: (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W').

    >>> import portanet
    >>> portanet.nn.MaxPool3d((1, 2, 2))(portanet.ones((8, 4, 6, 6))).shape
    (8, 4, 3, 3)
    """

    def forward(self, input: Any) -> Any:
        return F.max_pool3d(input, *self._arguments())


class AvgPool1d(Module):
    """The mean of each window along the last axis.

    Args:
        kernel_size: the length of the window.
        stride: by how much it moves; None: by its length.
        padding: how many zeros stand before and after, at most half the window.
        ceil_mode: whether a window that reaches beyond the end counts too, if it begins before.
        count_include_pad: whether the zeros count as values.

    Shapes: (N, C, L) or (C, L) -> (N, C, L') or (C, L'), L' = (L + 2 padding - kernel_size) // stride + 1.

    >>> import portanet
    >>> portanet.nn.AvgPool1d(2)(portanet.asarray([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[2., 1.]])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        single = (lambda n: (n,) if isinstance(n, int) else tuple(n)) if type(self) is AvgPool1d else (lambda n: n)
        self.kernel_size = single(kernel_size)
        self.stride = self.kernel_size if stride is None else single(stride)
        self.padding = single(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Any) -> Any:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(AvgPool1d):
    """The mean of each window of images: `AvgPool1d` with two axes, or the sum over ``divisor_override``.

    Shapes: (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').

    >>> import portanet
    >>> portanet.nn.AvgPool2d(2)(portanet.ones((8, 6, 28, 28))).shape
    (8, 6, 14, 14)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def _arguments(self) -> tuple[Any, ...]:
        return (
            self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override
        )  # fmt: skip

    def forward(self, input: Any) -> Any:
        return F.avg_pool2d(input, *self._arguments())


class AvgPool3d(AvgPool2d):
    """The mean of each window of volumes: `AvgPool1d` with three axes, or the sum over ``divisor_override``.

    Shapes: (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W').

    >>> import portanet
    >>> portanet.nn.AvgPool3d(2)(portanet.ones((8, 4, 6, 6))).shape
    (8, 2, 3, 3)
    """

    def forward(self, input: Any) -> Any:
        return F.avg_pool3d(input, *self._arguments())


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
