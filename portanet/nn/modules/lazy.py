"""Layers that learn from their first input how many features or channels come in."""

from __future__ import annotations

from typing import Any

from portanet.nn.functional._windows import spatial
from portanet.nn.functional.conv import check_groups
from portanet.nn.module import Module
from portanet.nn.modules.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Size,
)
from portanet.nn.modules.linear import Linear
from portanet.nn.modules.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from portanet.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from portanet.plan.recorder import restructured

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
    "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d", "LazyLinear",
]  # fmt: skip


class _Lazy(Module):
    """What lazy layers have in common. At its first call such a layer becomes one of the class that follows it."""

    def _shapes(self, input: Any) -> dict[str, tuple[int, ...]]:
        """The shape that each parameter and buffer has for this input, of which the layer takes note."""
        raise NotImplementedError

    def has_uninitialized_params(self) -> bool:
        """Whether parameters or buffers have no shape yet."""
        return any([is_lazy(t) for t in [*self._parameters.values(), *self._buffers.values()]])

    def initialize_parameters(self, input: Any, *_: Any, **__: Any) -> None:
        """Give parameters and buffers the shapes that go with ``input``, and their starting values."""
        own = {**self._parameters, **self._buffers}
        restructured(f"{type(self).__name__}'s first input")
        shapes = self._shapes(input)
        loaded = [(t, t._raw) for t in own.values() if t is not None and not is_lazy(t)]
        if self.has_uninitialized_params():
            for name, tensor in own.items():
                if isinstance(tensor, (UninitializedParameter, UninitializedBuffer)):
                    tensor.materialize(shapes[name])
            self.reset_parameters()
            for tensor, raw in loaded:
                tensor._raw = raw

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.initialize_parameters(*args, **options)
        order = type(self).__mro__
        self.__class__ = order[order.index(_Lazy) + 1]
        return self(*args, **options)

    def _unset(self, parameters: list[str], buffers: list[str], device: Any, dtype: Any) -> None:
        for name in parameters:
            self._parameters.pop(name, None)
            self.__dict__.pop(name, None)
            self.register_parameter(name, UninitializedParameter(device=device, dtype=dtype))
        for name in buffers:
            self.register_buffer(name, UninitializedBuffer(device=device, dtype=dtype))


class LazyLinear(_Lazy, Linear):
    """`Linear` whose ``in_features`` are those of its first input.

    Its parameters are `UninitializedParameter` until then. Move the model, load its state or call it once before an
    optimizer is made.

    Args:
        out_features: the length of the last axis of y.
        bias: whether there is a b.
        device: where the parameters will lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    >>> import portanet
    >>> layer = portanet.nn.LazyLinear(2)
    >>> layer.weight
    <UninitializedParameter>
    >>> layer(portanet.ones((5, 3))).shape
    (5, 2)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    """

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, out_features, False, device, dtype)
        self._unset(["weight", "bias"] if bias else ["weight"], [], device, dtype)

    def _shapes(self, input: Any) -> dict[str, tuple[int, ...]]:
        if len(input.shape) < 1:
            raise ValueError(f"LazyLinear: the input needs a last axis, saw shape {tuple(input.shape)}.")
        self.in_features = input.shape[-1]
        return {"weight": (self.out_features, self.in_features), "bias": (self.out_features,)}


class _LazyConv(_Lazy):
    axes: int

    def __init__(
        self,
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
        how: Any = (kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype)
        super().__init__(0, out_channels, *how)  # type: ignore[call-arg]
        self._unset(["weight", "bias"] if bias else ["weight"], [], device, dtype)

    def _shapes(self, input: Any) -> dict[str, tuple[int, ...]]:
        name = type(self).__name__
        spatial(name, input, self.axes)
        channels = input.shape[-self.axes - 1]
        check_groups(name, self.groups, channels, self.out_channels)
        self.in_channels = channels
        return {"weight": self._weight_shape(channels), "bias": (self.out_channels,)}

    def _weight_shape(self, channels: int) -> tuple[int, ...]:
        return (self.out_channels, channels // self.groups, *self.kernel_size)


class _LazyConvTranspose(_LazyConv):
    def __init__(
        self,
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
        how: Any = (kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode, device, dtype)
        super(_LazyConv, self).__init__(0, out_channels, *how)  # type: ignore[call-arg]
        self._unset(["weight", "bias"] if bias else ["weight"], [], device, dtype)

    def _weight_shape(self, channels: int) -> tuple[int, ...]:
        return (channels, self.out_channels // self.groups, *self.kernel_size)


class _LazyNorm(_Lazy):
    num_features: int

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)  # type: ignore[call-arg]
        parameters = [name for name, p in self._parameters.items() if p is not None]
        buffers = ["running_mean", "running_var"] if track_running_stats else []
        self._unset(parameters, buffers, device, dtype)

    def _shapes(self, input: Any) -> dict[str, tuple[int, ...]]:
        shape, before = tuple(input.shape), self.num_features
        spaces = [rest.count(",") for rest in self.shapes]
        single = len(shape) == spaces[0] + 1 and len(spaces) == 1  # instances may come without a batch
        if len(shape) > 1:
            self.num_features = shape[0] if single else shape[1]
        try:
            self._checked(shape)
        except ValueError:
            self.num_features = before
            raise
        return dict.fromkeys(["weight", "bias", "running_mean", "running_var"], (self.num_features,))


class LazyConv1d(_LazyConv, Conv1d):
    """`Conv1d` whose ``in_channels`` are those of its first input; the other arguments as there.

    >>> import portanet
    >>> layer = portanet.nn.LazyConv1d(4, 2)
    >>> layer(portanet.ones((5, 3, 6))).shape
    (5, 4, 5)
    >>> layer.in_channels
    3
    """


class LazyConv2d(_LazyConv, Conv2d):
    """`Conv2d` whose ``in_channels`` are those of its first input; the other arguments as there.

    >>> import portanet
    >>> layer = portanet.nn.LazyConv2d(4, 2)
    >>> layer(portanet.ones((5, 3, 6, 6))).shape
    (5, 4, 5, 5)
    >>> layer.in_channels
    3
    """


class LazyConv3d(_LazyConv, Conv3d):
    """`Conv3d` whose ``in_channels`` are those of its first input; the other arguments as there.

    >>> import portanet
    >>> layer = portanet.nn.LazyConv3d(4, 2)
    >>> layer(portanet.ones((5, 3, 6, 6, 6))).shape
    (5, 4, 5, 5, 5)
    >>> layer.in_channels
    3
    """


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """`ConvTranspose1d` whose ``in_channels`` are those of its first input; the other arguments as there.

    >>> import portanet
    >>> layer = portanet.nn.LazyConvTranspose1d(4, 2)
    >>> layer(portanet.ones((5, 3, 6))).shape
    (5, 4, 7)
    >>> layer.in_channels
    3
    """


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """`ConvTranspose2d` whose ``in_channels`` are those of its first input; the other arguments as there.

    >>> import portanet
    >>> layer = portanet.nn.LazyConvTranspose2d(4, 2)
    >>> layer(portanet.ones((5, 3, 6, 6))).shape
    (5, 4, 7, 7)
    >>> layer.in_channels
    3
    """


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """`ConvTranspose3d` whose ``in_channels`` are those of its first input; the other arguments as there.

    >>> import portanet
    >>> layer = portanet.nn.LazyConvTranspose3d(4, 2)
    >>> layer(portanet.ones((5, 3, 6, 6, 6))).shape
    (5, 4, 7, 7, 7)
    >>> layer.in_channels
    3
    """


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """`BatchNorm1d` whose ``num_features`` are those of its first input.

    >>> import portanet
    >>> layer = portanet.nn.LazyBatchNorm1d()
    >>> layer(portanet.ones((5, 3, 2))).shape
    (5, 3, 2)
    >>> layer.num_features
    3
    """


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """`BatchNorm2d` whose ``num_features`` are those of its first input.

    >>> import portanet
    >>> layer = portanet.nn.LazyBatchNorm2d()
    >>> layer(portanet.ones((5, 3, 2, 2))).shape
    (5, 3, 2, 2)
    >>> layer.num_features
    3
    """


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """`BatchNorm3d` whose ``num_features`` are those of its first input.

    >>> import portanet
    >>> layer = portanet.nn.LazyBatchNorm3d()
    >>> layer(portanet.ones((5, 3, 2, 2, 2))).shape
    (5, 3, 2, 2, 2)
    >>> layer.num_features
    3
    """


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """`InstanceNorm1d` whose ``num_features`` are those of its first input. Unlike there, ``affine`` and
    ``track_running_stats`` are True unless said otherwise.

    >>> import portanet
    >>> layer = portanet.nn.LazyInstanceNorm1d()
    >>> layer(portanet.ones((5, 3, 2))).shape
    (5, 3, 2)
    >>> layer.num_features
    3
    """


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """`InstanceNorm2d` whose ``num_features`` are those of its first input.

    >>> import portanet
    >>> layer = portanet.nn.LazyInstanceNorm2d()
    >>> layer(portanet.ones((5, 3, 2, 2))).shape
    (5, 3, 2, 2)
    >>> layer.num_features
    3
    """


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """`InstanceNorm3d` whose ``num_features`` are those of its first input.

    >>> import portanet
    >>> layer = portanet.nn.LazyInstanceNorm3d()
    >>> layer(portanet.ones((5, 3, 2, 2, 2))).shape
    (5, 3, 2, 2, 2)
    >>> layer.num_features
    3
    """
