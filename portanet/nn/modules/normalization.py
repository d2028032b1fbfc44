"""Layers that standardise: over the features of each example, over groups of its channels, or over the batch."""

from __future__ import annotations

from typing import Any

from portanet.dtypes import int64
from portanet.namespace import empty, ones, zeros
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter
from portanet.plan.recorder import writing
from portanet.tensor import Tensor

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
    "LayerNorm", "LocalResponseNorm", "RMSNorm",
]  # fmt: skip


class LayerNorm(Module):
    """Each example standardised over its last axes, then scaled and shifted: y = (x - E x) / sqrt(Var x + eps) w + b.

    Args:
        normalized_shape: the length of the last axis, or the lengths of several.
        eps: added to the variance.
        elementwise_affine: whether there are parameters ``weight`` (1 at the start) and ``bias`` (0), of that shape.
        bias: whether there is a ``bias``.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: (..., *normalized_shape) -> the same. Ba, Kiros and Hinton 2016, "Layer normalization".

    >>> import portanet
    >>> portanet.nn.LayerNorm(2, eps=0.0)(portanet.asarray([[1.0, 3.0]])).detach()
    tensor([[-1.,  1.]])
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        for name, present in (("weight", elementwise_affine), ("bias", elementwise_affine and bias)):
            parameter = Parameter(empty(self.normalized_shape, dtype=dtype, device=device)) if present else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Any:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Each example divided by the root of the mean square over its last axes, then scaled: y = x / sqrt(E x^2 + eps) w.

    Args:
        normalized_shape: the length of the last axis, or the lengths of several.
        eps: added to the mean square; None: the distance from 1 to the next number of the input's dtype.
        elementwise_affine: whether there is a parameter ``weight`` (1 at the start), of that shape.
        device: where it lies; None: the current backend's device.
        dtype: of it; None: the default, float32.

    Shapes: (..., *normalized_shape) -> the same. Zhang and Sennrich 2019, "Root mean square layer normalization".

    >>> import portanet
    >>> portanet.nn.RMSNorm(2, eps=0.0)(portanet.asarray([[1.0, 7.0]])).detach()
    tensor([[0.2, 1.4]])
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        shape = self.normalized_shape
        self.register_parameter(
            "weight", Parameter(empty(shape, dtype=dtype, device=device)) if elementwise_affine else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Any:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """Each value divided by a power of the squares around it: y_c = x_c / (k + alpha / size * sum x_i^2)^beta.

    Args:
        size: over how many channels around c the squares are summed.
        alpha: the factor of their mean.
        beta: the power.
        k: added to the mean.

    Shapes: (N, C, L, ...) -> the same. Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep
    convolutional neural networks".

    >>> import portanet
    >>> portanet.nn.LocalResponseNorm(1, alpha=1.0, beta=0.5, k=0.0)(portanet.asarray([[[3.0, -4.0]]]))
    tensor([[[ 1., -1.]]])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Any) -> Any:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class GroupNorm(Module):
    """Groups of channels of each example standardised: y = (x - m) / sqrt(v + eps) w + b.

    m and v are mean and variance of a group of neighbouring channels at all places of one example, w and b belong to
    the channel. One group is `LayerNorm` over all but the batch, as many as channels `InstanceNorm1d`.

    Args:
        num_groups: how many groups; it divides ``num_channels``.
        num_channels: the number C of channels.
        eps: added to the variance.
        affine: whether there are parameters ``weight`` (1 at the start) and ``bias`` (0), of shape (C,).
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.
        bias: whether there is a ``bias`` among the parameters.

    Shapes: (N, C, ...) -> the same. Wu and He 2018, "Group normalization".

    Raises:
        ValueError: the channels do not part into the groups; the input has other channels.

    >>> import portanet
    >>> portanet.nn.GroupNorm(2, 4, eps=0.0)(portanet.asarray([[1.0, 3.0, 10.0, 30.0]])).detach()
    tensor([[-1.,  1., -1.,  1.]])
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_channels={num_channels} do not part into num_groups={num_groups}.")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        for name, present in (("weight", affine), ("bias", affine and bias)):
            parameter = Parameter(empty(num_channels, dtype=dtype, device=device)) if present else None
            self.register_parameter(name, parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Any:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _Tracking(Module):
    """What batch and instance normalisation of rows, images and volumes have in common."""

    shapes: tuple[str, ...]  # of the input, after (N, C
    batches: tuple[str, ...] = ("N, ",)  # what may stand before C

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, present in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(
                name, Parameter(empty(num_features, dtype=dtype, device=device)) if present else None
            )
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype, device=device) if tracked else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype, device=device) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=int64, device=device) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the running averages."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Forget the running averages, set the weight to 1 and the bias to 0."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _checked(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless an input has this number of channels, and axes that are named in `shapes`."""
        name, channels = type(self).__name__, self.num_features
        wanted = [f"({batch}{channels}{rest})" for rest in self.shapes for batch in self.batches]
        fits = [one.count(",") + 1 == len(shape) and shape[one.startswith("(N")] == channels for one in wanted]
        if not any(fits):
            raise ValueError(
                f"{name}(num_features={channels}): the input must have shape {' or '.join(wanted)}, saw {shape}."
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Tracking):
    """What batch normalisation of rows, images and volumes has in common."""

    def forward(self, input: Any) -> Any:
        self._checked(tuple(input.shape))
        momentum = 0.0 if self.momentum is None else self.momentum
        tracking = self.training and self.track_running_stats
        if tracking and self.num_batches_tracked is not None:
            count = self.num_batches_tracked
            writing(count)
            count._raw = (count + 1)._raw
            if self.momentum is None:
                momentum = 1 / float(count)
        by_batch = self.training or self.running_mean is None
        mean, variance = (None, None) if by_batch and not tracking else (self.running_mean, self.running_var)
        return F.batch_norm(input, mean, variance, self.weight, self.bias, by_batch, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Each channel standardised, by the batch's mean and variance in training and by running averages in evaluation.

    Args:
        num_features: the number C of channels.
        eps: added to the variance.
        momentum: the share of a batch in the running averages; None: they are plain averages over all batches so far.
        affine: whether there are parameters ``weight`` (1 at the start) and ``bias`` (0), of shape (C,).
        track_running_stats: whether there are running averages; without them evaluation too goes by the batch.
        device: where parameters and averages lie; None: the current backend's device.
        dtype: of the parameters and averages; None: the default, float32.
        bias: whether there is a ``bias`` among the parameters.

    Shapes: (N, C) or (N, C, L) -> the same. Buffers: ``running_mean`` (0 at the start) and ``running_var`` (1), of
    shape (C,); ``num_batches_tracked``, an integer. Ioffe and Szegedy 2015, "Batch normalization".

    Raises:
        ValueError: in training, a channel with one value; another number of channels or axes.

    >>> import portanet
    >>> layer = portanet.nn.BatchNorm1d(1, eps=0.0)
    >>> layer(portanet.asarray([[1.0], [3.0]])).detach()
    tensor([[-1.],
            [ 1.]])
    >>> layer.running_mean
    tensor([0.2])
    """

    shapes = ("", ", L")


class BatchNorm2d(_BatchNorm):
    """Each channel of images standardised: `BatchNorm1d` for shapes (N, C, H, W), with the same arguments and buffers.

    >>> import portanet
    >>> portanet.nn.BatchNorm2d(6)(portanet.ones((8, 6, 5, 5))).shape
    (8, 6, 5, 5)
    """

    shapes = (", H, W",)


class BatchNorm3d(_BatchNorm):
    """Each channel of volumes standardised: `BatchNorm1d` for shapes (N, C, D, H, W), with the same arguments and buffers.

    >>> import portanet
    >>> portanet.nn.BatchNorm3d(6)(portanet.ones((8, 6, 2, 5, 5))).shape
    (8, 6, 2, 5, 5)
    """

    shapes = (", D, H, W",)


class _InstanceNorm(_Tracking):
    """What instance normalisation of rows, images and volumes has in common."""

    batches = ("N, ", "")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Any) -> Any:
        shape = tuple(input.shape)
        self._checked(shape)
        momentum = 0.0 if self.momentum is None else self.momentum
        by_input = self.training or not self.track_running_stats
        single = len(shape) == 1 + self.shapes[0].count(",")
        x = input[(None, *[slice(None)] * len(shape))] if single else input
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, by_input, momentum, self.eps
        )
        return y[(0, *[slice(None)] * len(shape))] if single else y


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each example standardised over its places: y = (x - m) / sqrt(v + eps) w + b.

    Args:
        num_features: the number C of channels. An input of another number is refused, without parameters too.
        eps: added to the variance.
        momentum: the share of a batch in the running averages; None: they stay as they are.
        affine: whether there are parameters ``weight`` (1 at the start) and ``bias`` (0), of shape (C,).
        track_running_stats: whether there are running averages, by which evaluation goes; without them it too goes by
            the input.
        device: where parameters and averages lie; None: the current backend's device.
        dtype: of the parameters and averages; None: the default, float32.
        bias: whether there is a ``bias`` among the parameters.

    Shapes: (N, C, L) or (C, L) -> the same. Buffers, where they are asked for: ``running_mean`` (0 at the start) and
    ``running_var`` (1), of shape (C,), and ``num_batches_tracked``, which as in PyTorch stays 0. Ulyanov, Vedaldi and
    Lempitsky 2016, "Instance normalization".

    Raises:
        ValueError: a channel with one place; another number of channels or axes.

    >>> import portanet
    >>> portanet.nn.InstanceNorm1d(2, eps=0.0)(portanet.asarray([[1.0, 3.0], [10.0, 30.0]]))
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """

    shapes = (", L",)


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each image standardised: `InstanceNorm1d` for shapes (N, C, H, W) or (C, H, W).

    >>> import portanet
    >>> portanet.nn.InstanceNorm2d(6, affine=True)(portanet.ones((8, 6, 5, 5))).shape
    (8, 6, 5, 5)
    """

    shapes = (", H, W",)


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each volume standardised: `InstanceNorm1d` for shapes (N, C, D, H, W) or (C, D, H, W).

    >>> import portanet
    >>> portanet.nn.InstanceNorm3d(6)(portanet.ones((8, 6, 2, 5, 5))).shape
    (8, 6, 2, 5, 5)
    """

    shapes = (", D, H, W",)
