"""Convolutional layers, and their transposes."""

from __future__ import annotations

import math
from typing import Any

from portanet.namespace import empty
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.functional._windows import as_ints
from portanet.nn.functional.conv import check_groups, padding_pairs, transposed_size
from portanet.nn.functional.padding import padded
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

Size = int | tuple[int, ...]


class _Conv(Module):
    """What convolutions over one, two and three axes have in common."""

    axes: int
    transposed = False
    output_padding: tuple[int, ...]
    modes: tuple[str, ...] = ("zeros", "reflect", "replicate", "circular")
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
        if padding_mode not in self.modes:
            raise ValueError(f"{name}: padding_mode must be one of {', '.join(self.modes)}, saw {padding_mode!r}.")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = as_ints(name, "kernel_size", kernel_size, axes, 1)
        self.stride = as_ints(name, "stride", stride, axes, 1)
        self.dilation = as_ints(name, "dilation", dilation, axes, 1)
        # It refuses what is no padding.
        self._pairs = padding_pairs(name, padding, axes, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else as_ints(name, "padding", padding, axes, 0)
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
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
        if self.transposed and self.output_padding != none:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def _continued(self, input: Any) -> tuple[Any, Any]:
        """The input continued as the mode says, and the padding with zeros that is left to the convolution."""
        if self.padding_mode == "zeros":
            return input, self.padding
        return padded(type(self).__name__, input, self._pairs, self.padding_mode), 0


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
        padding_mode: what stands there: ``"zeros"``, or the input continued as by `portanet.nn.functional.pad` in its mode
            ``"reflect"``, ``"replicate"`` or ``"circular"``.
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
        x, padding = self._continued(input)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


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
        x, padding = self._continued(input)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


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
        x, padding = self._continued(input)
        return F.conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _ConvTranspose(_Conv):
    """What transposed convolutions over one, two and three axes have in common."""

    transposed = True
    modes = ("zeros",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        name = type(self).__name__
        padding = as_ints(name, "padding", padding, self.axes, 0)  # no word
        args = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        super().__init__(*args, device=device, dtype=dtype)
        self.output_padding = as_ints(name, "output_padding", output_padding, self.axes, 0)

    def _arguments(self, input: Any, output_size: Any) -> tuple[Any, ...]:
        """All but the input, as the function takes them."""
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        return self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation

    def _extra(self, input: Any, output_size: Any) -> tuple[int, ...]:
        """The output_padding with which y has the spatial lengths ``output_size``; N and C may stand before them."""
        name, size = type(self).__name__, tuple(input.shape)[-self.axes :]
        wanted = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,)
        wanted = wanted[-self.axes :] if len(wanted) == input.ndim else wanted
        wanted = as_ints(name, "output_size", wanted if len(wanted) == self.axes else output_size, self.axes, 0)
        cut = tuple([before for before, _ in self._pairs])
        least = transposed_size(size, self.kernel_size, self.stride, cut, self.dilation)
        most = tuple([n + s - 1 for n, s in zip(least, self.stride, strict=True)])
        if any([not n <= w <= m for n, w, m in zip(least, wanted, most, strict=True)]):
            raise ValueError(
                f"{name}: output_size={output_size} is asked for, but from {least} to {most} is possible (for an input of "
                f"shape {tuple(input.shape)})."
            )
        return tuple([w - n for w, n in zip(wanted, least, strict=True)])


class ConvTranspose1d(_ConvTranspose):
    """The transpose of `Conv1d`: each value of x adds a window of weights, times itself, to y.

    y[n, o, stride i + dilation k - padding] = bias[o] + sum over c, i, k of weight[c, o, k] x[n, c, i]

    As a linear map it is the transpose of a `Conv1d` from O to C channels with the same other arguments, whose change
    of shape it undoes. Zeiler et al. 2010, "Deconvolutional Networks".

    Args:
        in_channels: the number C of channels of x.
        out_channels: the number O of channels of y.
        kernel_size: the length K of the window.
        stride: by how many places of y the window moves from one value of x to the next.
        padding: how many places of y are left out before and after.
        output_padding: by how many places y goes on at its end; less than ``stride`` or ``dilation``.
        groups: into how many parts the channels are divided, each seeing itself alone.
        bias: whether there is a ``bias``.
        dilation: the distance of the values in a window.
        padding_mode: only ``"zeros"``.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32. An input of another dtype is refused.

    Called with ``output_size``, the length of y, the layer finds its ``output_padding`` itself.

    Shapes: x (N, C, L) or (C, L) -> y (N, O, L') or (O, L') with
    L' = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1. Parameters: ``weight`` (C, O / groups, K)
    and ``bias`` (O,), at the start uniform in +-1/sqrt(K O / groups).

    Raises:
        ValueError: an argument is out of range; the input has other channels or axes, or nothing comes out.
        TypeError: x has another dtype or library than the parameters; the message has the cast.

    >>> import portanet
    >>> layer = portanet.nn.ConvTranspose1d(2, 5, 3, stride=2)
    >>> layer
    ConvTranspose1d(2, 5, kernel_size=(3,), stride=(2,))
    >>> x = portanet.ones((8, 2, 10))
    >>> layer(x).shape, layer(x, output_size=22).shape
    ((8, 5, 21), (8, 5, 22))
    """

    axes = 1

    def forward(self, input: Any, output_size: Any = None) -> Any:
        return F.conv_transpose1d(input, *self._arguments(input, output_size))


class ConvTranspose2d(_ConvTranspose):
    """The transpose of `Conv2d`, which makes images larger: `ConvTranspose1d` with two axes.

    Shapes: x (N, C, H, W) or (C, H, W) -> y (N, O, H', W') or (O, H', W'). Parameters: ``weight``
    (C, O / groups, K1, K2) and ``bias`` (O,), at the start uniform in +-1/sqrt(K1 K2 O / groups).

    >>> import portanet
    >>> layer = portanet.nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)
    >>> layer
    ConvTranspose2d(16, 3, kernel_size=(4, 4), stride=(2, 2), padding=(1, 1))
    >>> layer(portanet.ones((8, 16, 14, 14))).shape
    (8, 3, 28, 28)
    """

    axes = 2

    def forward(self, input: Any, output_size: Any = None) -> Any:
        return F.conv_transpose2d(input, *self._arguments(input, output_size))


class ConvTranspose3d(_ConvTranspose):
    """The transpose of `Conv3d`: `ConvTranspose1d` with three axes.

    Shapes: x (N, C, D, H, W) or (C, D, H, W) -> y (N, O, D', H', W') or (O, D', H', W'). Parameters: ``weight``
    (C, O / groups, K1, K2, K3) and ``bias`` (O,), at the start uniform in +-1/sqrt(K1 K2 K3 O / groups).

    >>> import portanet
    >>> portanet.nn.ConvTranspose3d(1, 2, (1, 2, 2), stride=(1, 2, 2))(portanet.ones((1, 4, 3, 3))).shape
    (2, 4, 6, 6)
    """

    axes = 3

    def forward(self, input: Any, output_size: Any = None) -> Any:
        return F.conv_transpose3d(input, *self._arguments(input, output_size))
