"""Layers that standardise: over the features of each example, or over the batch."""

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

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LayerNorm"]


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


class _BatchNorm(Module):
    """What batch normalisation of rows, images and volumes has in common."""

    shapes: tuple[str, ...]  # of the input, after (N, C

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

    def forward(self, input: Any) -> Any:
        shape = tuple(input.shape)
        name, channels = type(self).__name__, self.num_features
        if len(shape) not in [2 + rest.count(",") for rest in self.shapes] or shape[1] != channels:
            wanted = " or ".join([f"(N, {channels}{rest})" for rest in self.shapes])
            raise ValueError(f"{name}(num_features={channels}): the input must have shape {wanted}, saw {shape}.")
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

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


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
