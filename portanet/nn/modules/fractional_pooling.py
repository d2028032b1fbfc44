"""Fractional max pooling layers: windows at random distances, so that axes shrink by any factor."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional._windows import as_ints
from portanet.nn.functional.fractional_pooling import Ratio, check_fractional
from portanet.nn.functional.pooling import Size
from portanet.nn.module import Module
from portanet.tensor import Tensor

__all__ = ["FractionalMaxPool2d", "FractionalMaxPool3d"]


class FractionalMaxPool2d(Module):
    """The largest value in each of windows whose distances are drawn, anew for each channel of each image.

    The i-th of m windows of length k over L values begins at floor(a (i + u)) - floor(a u), where a = (L - k) / (m - 1)
    and u is random in [0, 1); the last one ends with the axis. Graham 2014, "Fractional max-pooling".

    Args:
        kernel_size: the length of the window.
        output_size: how many windows there are along each axis; this or ``output_ratio`` must be given.
        output_ratio: their number over that of the values, between 0 and 1.
        return_indices: whether to return also where each largest value is, for `MaxUnpool2d`.
        _random_samples: the u for every step, of shape (N, C, 2), the first for the last axis; None: drawn each time.

    Shapes: (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W').

    The windows are drawn in evaluation too.

    >>> import portanet
    >>> portanet.nn.FractionalMaxPool2d(3, output_ratio=0.7)(portanet.ones((8, 6, 28, 28))).shape
    (8, 6, 19, 19)
    """

    _random_samples: Tensor | None
    _axes = 2

    def __init__(
        self,
        kernel_size: Size,
        output_size: Size | None = None,
        output_ratio: Ratio | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name, axes = type(self).__name__, self._axes
        self.kernel_size = as_ints(name, "kernel_size", kernel_size, axes, 1)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size, self.output_ratio = check_fractional(name, axes, output_size, output_ratio)

    def _arguments(self) -> tuple[Any, ...]:
        return self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples

    def forward(self, input: Any) -> Any:
        return F.fractional_max_pool2d(input, *self._arguments())


class FractionalMaxPool3d(FractionalMaxPool2d):
    """The largest value in each of windows at random distances in volumes: `FractionalMaxPool2d` with three axes.

    ``_random_samples`` has shape (N, C, 3), in the order of the axes.

    Shapes: (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W').

    >>> import portanet
    >>> portanet.nn.FractionalMaxPool3d(2, output_size=(2, 3, 4))(portanet.ones((6, 5, 7, 9))).shape
    (6, 2, 3, 4)
    """

    _axes = 3

    def forward(self, input: Any) -> Any:
        return F.fractional_max_pool3d(input, *self._arguments())
