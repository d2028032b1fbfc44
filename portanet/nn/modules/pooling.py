"""Pooling layers: they have no parameters."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.module import Module

__all__ = [
    "AvgPool1d", "AvgPool2d", "AvgPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d",
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
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def _arguments(self) -> tuple[Any, ...]:
        return self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices

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
        return_indices: whether to return also where each largest value is, for `MaxUnpool1d`.
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


class LPPool1d(Module):
    """The norm of each window along the last axis: (sum of x^p)^(1 / p).

    The numbers are not made positive first: for odd p those of both signs cancel, and the root of a negative sum is
    nan. No gradient comes back to a window whose sum is 0.

    Args:
        norm_type: the p; infinity gives the largest absolute value.
        kernel_size: the length of the window.
        stride: by how much it moves; None: by its length.
        ceil_mode: whether a window that reaches beyond the end counts too, if it begins before. Its sum is then that
            of the values in it, times its length over their number.

    Shapes: (N, C, L) or (C, L) -> (N, C, L') or (C, L'), L' = (L - kernel_size) // stride + 1.

    >>> import portanet
    >>> portanet.nn.LPPool1d(2, 2)(portanet.asarray([[3.0, 4.0, 0.0, 1.0]]))
    tensor([[5., 1.]])
    """

    def __init__(
        self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def _arguments(self) -> tuple[Any, ...]:
        return self.norm_type, self.kernel_size, self.stride, self.ceil_mode

    def forward(self, input: Any) -> Any:
        return F.lp_pool1d(input, *self._arguments())

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool2d(LPPool1d):
    """The norm of each window of images: `LPPool1d` with two axes.

    Shapes: (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').

    >>> import portanet
    >>> portanet.nn.LPPool2d(2, 3)(portanet.ones((8, 6, 27, 27))).shape
    (8, 6, 9, 9)
    """

    def forward(self, input: Any) -> Any:
        return F.lp_pool2d(input, *self._arguments())


class LPPool3d(LPPool1d):
    """The norm of each window of volumes: `LPPool1d` with three axes.

    Shapes: (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W').

    >>> import portanet
    >>> portanet.nn.LPPool3d(2, (1, 2, 2))(portanet.ones((8, 4, 6, 6))).shape
    (8, 4, 3, 3)
    """

    def forward(self, input: Any) -> Any:
        return F.lp_pool3d(input, *self._arguments())
