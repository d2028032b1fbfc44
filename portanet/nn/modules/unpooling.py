"""Unpooling layers: values put back to where a max pool found them."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional._windows import as_ints
from portanet.nn.functional.pooling import Size
from portanet.nn.module import Module

__all__ = ["MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"]


class _MaxUnpool(Module):
    """What unpooling over one, two and three axes has in common."""

    _axes = 0

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        super().__init__()
        name, axes = type(self).__name__, self._axes
        self.kernel_size = as_ints(name, "kernel_size", kernel_size, axes, 1)
        self.stride = self.kernel_size if stride is None else as_ints(name, "stride", stride, axes, 1)
        self.padding = as_ints(name, "padding", padding, axes, 0)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """`MaxPool1d` undone as far as it can be: each value at the place that its index names, 0 everywhere else.

    Where an index occurs several times, as it may for windows that overlap, the last of its values stays.

    Args:
        kernel_size, stride, padding: those of the pool, which must have ``return_indices=True``.

    Called with the pool's values and indices, and with ``output_size``, the lengths to come back to, where the pool
    has rounded down.

    Shapes: twice (N, C, L) or (C, L) -> (N, C, L') or (C, L'), L' = (L - 1) stride - 2 padding + kernel_size.

    >>> import portanet
    >>> pool = portanet.nn.MaxPool1d(2, return_indices=True)
    >>> portanet.nn.MaxUnpool1d(2)(*pool(portanet.asarray([[1.0, 3.0, 2.0, 0.0]])))
    tensor([[0., 3., 2., 0.]])
    """

    _axes = 1

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpool):
    """`MaxPool2d` undone as far as it can be: `MaxUnpool1d` with two axes. Zeiler and Fergus 2013, "Visualizing and
    understanding convolutional networks", section 2.1.

    Shapes: twice (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').

    >>> import portanet
    >>> pool = portanet.nn.MaxPool2d(2, return_indices=True)
    >>> portanet.nn.MaxUnpool2d(2)(*pool(portanet.ones((8, 6, 28, 28)))).shape
    (8, 6, 28, 28)
    """

    _axes = 2

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool3d(_MaxUnpool):
    """`MaxPool3d` undone as far as it can be: `MaxUnpool1d` with three axes.

    Shapes: twice (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W').

    >>> import portanet
    >>> pool = portanet.nn.MaxPool3d(2, return_indices=True)
    >>> portanet.nn.MaxUnpool3d(2)(*pool(portanet.ones((8, 4, 7, 6))), output_size=(4, 7, 6)).shape
    (8, 4, 7, 6)
    """

    _axes = 3

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        return F.max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding, output_size)
