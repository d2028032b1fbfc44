"""Convolutional layers."""

from __future__ import annotations

import math
from typing import Any

from portanet.namespace import empty
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.functional._windows import as_ints
from portanet.nn.functional.conv import check_groups, padding_pairs
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d"]

Size = int | tuple[int, ...]


class _Conv(Module):
    """What convolutions over one, two and three axes have in common."""

    axes: int
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name, axes = type(self).__name__, self.axes
        check_groups(name, groups, in_channels, out_channels)
        if padding_mode != "zeros":
            raise ValueError(
                f"{name}: padding_mode={padding_mode!r} is not supported; only 'zeros' is. Pad the input yourself, and "
                "take padding=0."
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = as_ints(name, "kernel_size", kernel_size, axes, 1)
        self.stride = as_ints(name, "stride", stride, axes, 1)
        self.dilation = as_ints(name, "dilation", dilation, axes, 1)
        # It refuses what is no padding.
        padding_pairs(name, padding, axes, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else as_ints(name, "padding", padding, axes, 0)
        self.groups = groups
        self.padding_mode = padding_mode
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        self.register_parameter("bias", Parameter(empty(out_channels, dtype=dtype, device=device)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # that is +-1/sqrt(values in a window)
        if self.bias is not None:
            values = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(values) if values else 0.0
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        one, none = (1,) * self.axes, (0,) * self.axes
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != none:
            parts.append(f"padding={self.padding}")
        if self.dilation != one:
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class Conv1d(_Conv):
    """A window moved along one axis, for each channel that comes out one with weights of its own.

    y[n, o, i] = bias[o] + sum over c, k of weight[o, c, k] x[n, c, stride i + dilation k - padding]

    Args:
        in_channels: the number C of channels of x.
        out_channels: the number O of channels of y.
        kernel_size: the length K of the window.
        stride: by how much it moves.
        padding: how many zeros stand before and after; ``"valid"`` for none, ``"same"`` for as many as keep the length.
        dilation: the distance of the values in a window.
        groups: into how many parts the channels are divided, each seeing itself alone.
        bias: whether there is a ``bias``.
        padding_mode: only ``"zeros"``.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32. An input of another dtype is refused.

    Shapes: x (N, C, L) or (C, L) -> y (N, O, L') or (O, L') with
    L' = (L + 2 padding - dilation (K - 1) - 1) // stride + 1. Parameters: ``weight`` (O, C / groups, K) and ``bias``
    (O,), at the start uniform in +-1/sqrt(K C / groups).

    Raises:
        ValueError: an argument is out of range; the input has other channels or axes, or no window fits.
        TypeError: x has another dtype or library than the parameters; the message has the cast.

    >>> import portanet
    >>> layer = portanet.nn.Conv1d(2, 5, 3, padding="same")
    >>> layer
    Conv1d(2, 5, kernel_size=(3,), stride=(1,), padding=same)
    >>> layer(portanet.ones((8, 2, 10))).shape
    (8, 5, 10)
    """

    axes = 1

    def forward(self, input: Any) -> Any:
        return F.conv1d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """A window moved over images: `Conv1d` with two axes, for each of which an argument may have its own number.

    Shapes: x (N, C, H, W) or (C, H, W) -> y (N, O, H', W') or (O, H', W'). Parameters: ``weight``
    (O, C / groups, K1, K2) and ``bias`` (O,), at the start uniform in +-1/sqrt(K1 K2 C / groups).

    >>> import portanet
    >>> layer = portanet.nn.Conv2d(1, 6, 5, padding=2)
    >>> layer
    Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
    >>> layer(portanet.ones((8, 1, 28, 28))).shape
    (8, 6, 28, 28)
    """

    axes = 2

    def forward(self, input: Any) -> Any:
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv3d(_Conv):
    """A window moved through volumes: `Conv1d` with three axes, for each of which an argument may have its own number.

    Shapes: x (N, C, D, H, W) or (C, D, H, W) -> y (N, O, D', H', W') or (O, D', H', W'). Parameters: ``weight``
    (O, C / groups, K1, K2, K3) and ``bias`` (O,), at the start uniform in +-1/sqrt(K1 K2 K3 C / groups).

    >>> import portanet
    >>> portanet.nn.Conv3d(1, 2, (1, 3, 3), stride=(1, 2, 2))(portanet.ones((1, 4, 9, 9))).shape
    (2, 4, 4, 4)
    """

    axes = 3

    def forward(self, input: Any) -> Any:
        return F.conv3d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
