"""Normalisation: mean 0 and variance 1, over the features of an example or over the examples of a batch."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._checks import common_namespace, raw_of, require_dtype
from portanet.plan.recorder import writing
from portanet.tensor import Tensor

__all__ = ["batch_norm", "layer_norm"]


def layer_norm(
    input: Any, normalized_shape: int | tuple[int, ...], weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Each example standardised over its last axes, then scaled and shifted: y = (x - E x) / sqrt(Var x + eps) w + b.

    The variance is that of the values at hand, divided by their number. Ba, Kiros and Hinton 2016, "Layer
    normalization".

    Args:
        input: x, of shape (..., *normalized_shape).
        normalized_shape: the lengths of the last axes, over which mean and variance are taken.
        weight: w, of that shape, or None for 1.
        bias: b, of that shape, or None for 0.
        eps: added to the variance.

    Returns:
        y, of the shape of x.

    Raises:
        ValueError: the last axes of x are not ``normalized_shape``.
        TypeError: x has not the dtype of the parameters.

    >>> import portanet
    >>> portanet.nn.functional.layer_norm(portanet.asarray([[1.0, 3.0], [10.0, 30.0]]), 2, eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    x = raw_of(input)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"LayerNorm(normalized_shape={shape}): the input's last axes differ (shape {tuple(x.shape)}).")
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and tuple(parameter.shape) != shape:
            raise ValueError(f"LayerNorm(normalized_shape={shape}): the {name} has shape {tuple(parameter.shape)}.")
    require_dtype("LayerNorm", input, weight, bias)
    xp = common_namespace(input, weight, bias)
    return xp.layer_norm(input, weight, bias, axes=len(shape), eps=eps)


def _scaled(y: Any, weight: Any, bias: Any) -> Any:
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Each channel standardised over the batch (training) or by running averages: y = (x - m) / sqrt(v + eps) w + b.

    In training m and v are those of the batch, and where running averages are given, these Tensors get new values:
    (1 - momentum) old + momentum new, the new variance being the unbiased one. Ioffe and Szegedy 2015, "Batch
    normalization".

    Args:
        input: x, of shape (N, C) or (N, C, ...), of a floating dtype.
        running_mean: of shape (C,), a Tensor without gradient; None only in training.
        running_var: likewise.
        weight: w, of shape (C,), or None for 1.
        bias: b, of shape (C,), or None for 0.
        training: whether to use the batch's own mean and variance.
        momentum: the share of the new value in the running averages.
        eps: added to the variance.

    Returns:
        y, of the shape of x.

    Raises:
        ValueError: a channel has a single value in training; shapes do not fit; averages are missing.
        TypeError: x has not the dtype of the parameters.

    >>> import portanet
    >>> x = portanet.asarray([[1.0, 10.0], [3.0, 30.0]])
    >>> portanet.nn.functional.batch_norm(x, None, None, training=True, eps=0.0)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """
    x = raw_of(input)
    _check_batch(x, training, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    require_dtype("BatchNorm", input, running_mean, running_var, weight, bias)
    xp = common_namespace(input, running_mean, weight, bias)
    if not training:
        return xp.batch_norm(input, weight, bias, running_mean, running_var, eps=eps, own=False)
    if 0 in x.shape:  # nothing has no mean
        return _scaled(xp.zeros_like(input) * input, *[_column(xp, w, x.ndim) for w in (weight, bias)])
    mean, variance = namespace_of(x).channel_moments(x)
    if running_mean is not None:
        _track(x, mean, variance, running_mean, running_var, momentum)
    return xp.batch_norm(input, weight, bias, mean, variance, eps=eps, own=True)


def _column(xp: Any, values: Any, ndim: int) -> Any:
    return None if values is None else xp.reshape(values, (-1,) + (1,) * (ndim - 2))


def _check_batch(x: Any, training: bool, **of_channels: Any) -> None:
    if x.ndim < 2:
        raise ValueError(f"BatchNorm: the input must have axes (N, C, ...), saw shape {tuple(x.shape)}.")
    for name, values in of_channels.items():
        if values is not None and tuple(values.shape) != (x.shape[1],):
            raise ValueError(
                f"BatchNorm: {x.shape[1]} channels in the input (shape {tuple(x.shape)}), {name} has shape "
                f"{tuple(values.shape)}."
            )
    if (of_channels["running_mean"] is None) != (of_channels["running_var"] is None):
        raise ValueError("BatchNorm: give running_mean and running_var both, or neither.")
    if training and math.prod(x.shape) == x.shape[1] and x.shape[1] > 0:
        raise ValueError(
            f"BatchNorm: one value for each channel (shape {tuple(x.shape)}) has no variance to train with; take "
            "larger batches (drop_last=True), or call eval()."
        )
    if not training and of_channels["running_mean"] is None:
        raise ValueError("BatchNorm: without training=True it needs running_mean and running_var.")


def _track(x: Any, mean: Any, variance: Any, running_mean: Any, running_var: Any, momentum: float) -> None:
    if not (isinstance(running_mean, Tensor) and isinstance(running_var, Tensor)):
        raise TypeError("BatchNorm: the running averages get new values in training, so they must be Tensors.")
    count = math.prod(x.shape) // x.shape[1]
    for running, new in ((running_mean, mean), (running_var, variance * (count / (count - 1)))):
        writing(running)
        running._raw = running._raw + momentum * (new - running._raw)
