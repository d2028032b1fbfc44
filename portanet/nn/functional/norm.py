"""Normalisation: mean 0 and variance 1, over the features of an example or over the examples of a batch."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._arguments import real_namespace
from portanet.nn.functional._checks import common_namespace, raw_of, require_dtype
from portanet.nn.functional._precision import like, widened
from portanet.plan.recorder import writing
from portanet.tensor import Tensor

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


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
    axes = _last_axes("LayerNorm", raw_of(input), normalized_shape, weight=weight, bias=bias)
    require_dtype("LayerNorm", input, weight, bias)
    xp = common_namespace(input, weight, bias)
    return xp.layer_norm(input, weight, bias, axes=axes, eps=eps)


def _last_axes(name: str, x: Any, normalized_shape: int | tuple[int, ...], **parameters: Any) -> int:
    """How many last axes ``normalized_shape`` names; ValueError where they are not those of ``x`` or a parameter."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"{name}(normalized_shape={shape}): the input's last axes differ (shape {tuple(x.shape)}).")
    for which, parameter in parameters.items():
        if parameter is not None and tuple(parameter.shape) != shape:
            raise ValueError(f"{name}(normalized_shape={shape}): the {which} has shape {tuple(parameter.shape)}.")
    return len(shape)


def rms_norm(input: Any, normalized_shape: int | tuple[int, ...], weight: Any = None, eps: float | None = None) -> Any:
    """Each example divided by the root of the mean square over its last axes, then scaled: y = x / sqrt(E x^2 + eps) w.

    Unlike `layer_norm` it takes no mean off. Zhang and Sennrich 2019, "Root mean square layer normalization".

    Args:
        input: x, of shape (..., *normalized_shape), of a real floating dtype.
        normalized_shape: the lengths of the last axes, over which the mean is taken.
        weight: w, of that shape, or None for 1.
        eps: added to the mean square; None: the distance from 1 to the next number of the dtype.

    Returns:
        y, of the shape of x.

    Raises:
        ValueError: the last axes of x are not ``normalized_shape``.
        TypeError: x has not the dtype of the weight, or is not real floating.

    >>> import portanet
    >>> portanet.nn.functional.rms_norm(portanet.asarray([[1.0, 7.0], [10.0, 70.0]]), 2, eps=0.0)
    tensor([[0.2, 1.4],
            [0.2, 1.4]])
    """
    real_namespace("RMSNorm", input)
    input = widened(input)
    x = raw_of(input)
    axes = _last_axes("RMSNorm", x, normalized_shape, weight=weight)
    require_dtype("RMSNorm", input, weight)
    xp = common_namespace(input, weight)
    if eps is None:
        eps = float(namespace_of(x).finfo(x.dtype).eps)
    if 0 in x.shape[x.ndim - axes :]:  # nothing has no mean
        return _scaled(input * input, weight, None)
    y = input / xp.sqrt(xp.mean(input * input, axis=tuple(range(x.ndim - axes, x.ndim)), keepdims=True) + eps)
    return _scaled(y, weight, None)


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
    wide = widened(input)
    if wide is not input:  # the statistics in float32, the result as the input came
        return like(batch_norm(wide, running_mean, running_var, weight, bias, training, momentum, eps), input)
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
        count = math.prod(x.shape) // x.shape[1]
        _track("BatchNorm", mean, variance, count, running_mean, running_var, momentum)
    return xp.batch_norm(input, weight, bias, mean, variance, eps=eps, own=True)


def _column(xp: Any, values: Any, ndim: int) -> Any:
    return None if values is None else xp.reshape(values, (-1,) + (1,) * (ndim - 2))


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Groups of channels of each example standardised: y = (x - m) / sqrt(v + eps) w + b.

    The C channels are parted into ``num_groups`` groups of neighbours; m and v are mean and variance of a group at all
    places of one example, w and b belong to the channel. Wu and He 2018, "Group normalization".

    Args:
        input: x, of shape (N, C, ...), of a real floating dtype.
        num_groups: how many groups; it divides C.
        weight: w, of shape (C,), or None for 1.
        bias: b, of shape (C,), or None for 0.
        eps: added to the variance.

    Returns:
        y, of the shape of x.

    Raises:
        ValueError: the channels do not part into the groups, or shapes do not fit; all of x is one group of one value.
        TypeError: x has not the dtype of the parameters, or is not real floating.

    >>> import portanet
    >>> portanet.nn.functional.group_norm(portanet.asarray([[1.0, 3.0, 10.0, 30.0]]), 2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    real_namespace("GroupNorm", input)
    x = raw_of(input)
    _check_channels("GroupNorm", x, 2, weight=weight, bias=bias)
    shape, channels = tuple(x.shape), x.shape[1]
    if num_groups < 1 or channels % num_groups:
        raise ValueError(f"GroupNorm: {channels} channels (shape {shape}) do not part into {num_groups} groups.")
    if math.prod(shape) == num_groups:  # a single example with one value for each group
        raise ValueError(f"GroupNorm: one value for each of {num_groups} groups (shape {shape}) has no variance.")
    require_dtype("GroupNorm", input, weight, bias)
    xp = common_namespace(input, weight, bias)
    values = math.prod(shape[2:]) * (channels // num_groups)
    y = xp.standardized(xp.reshape(input, (shape[0], num_groups, values)), axis=(2,), eps=eps)
    return _scaled(xp.reshape(y, shape), *[_column(xp, w, x.ndim) for w in (weight, bias)])


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Each channel of each example standardised over its places, or by running averages: `batch_norm` for one example.

    y = (x - m) / sqrt(v + eps) w + b. Where running averages are given and the input's own statistics are used, these
    Tensors get new values: (1 - momentum) old + momentum new, the new ones being the means over the batch of m and of
    the unbiased v. Ulyanov, Vedaldi and Lempitsky 2016, "Instance normalization".

    Args:
        input: x, of shape (N, C, ...) with at least one axis of places, of a real floating dtype.
        running_mean: of shape (C,), a Tensor without gradient; None only with ``use_input_stats``.
        running_var: likewise.
        weight: w, of shape (C,), or None for 1.
        bias: b, of shape (C,), or None for 0.
        use_input_stats: whether m and v are those of the input; else they are the running averages.
        momentum: the share of the new value in the running averages.
        eps: added to the variance.

    Returns:
        y, of the shape of x.

    Raises:
        ValueError: a channel has a single place; shapes do not fit; averages are missing.
        TypeError: x has not the dtype of the parameters, or is not real floating.

    >>> import portanet
    >>> portanet.nn.functional.instance_norm(portanet.asarray([[[1.0, 3.0], [10.0, 30.0]]]), eps=0.0)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    real_namespace("InstanceNorm", input)
    wide = widened(input)
    if wide is not input:  # as in `batch_norm`
        return like(instance_norm(wide, running_mean, running_var, weight, bias, use_input_stats, momentum, eps), input)
    x = raw_of(input)
    _check_channels("InstanceNorm", x, 3, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    _check_averages("InstanceNorm", "use_input_stats=True", use_input_stats, running_mean, running_var)
    if use_input_stats and math.prod(x.shape[2:]) == 1:
        raise ValueError(
            f"InstanceNorm: one place for each channel (shape {tuple(x.shape)}) has no variance; the input needs more."
        )
    require_dtype("InstanceNorm", input, running_mean, running_var, weight, bias)
    xp = common_namespace(input, running_mean, weight, bias)
    if not use_input_stats:
        return xp.batch_norm(input, weight, bias, running_mean, running_var, eps=eps, own=False)
    if running_mean is not None and 0 not in x.shape:
        here, places = namespace_of(x), math.prod(x.shape[2:])
        each = here.channel_moments(here.reshape(x, (1, x.shape[0] * x.shape[1], places)))
        mean, variance = [here.mean(here.reshape(one, (x.shape[0], x.shape[1])), axis=0) for one in each]
        _track("InstanceNorm", mean, variance, places, running_mean, running_var, momentum)
    y = xp.standardized(input, axis=tuple(range(2, x.ndim)), eps=eps)
    return _scaled(y, *[_column(xp, w, x.ndim) for w in (weight, bias)])


def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """Each value divided by a power of the squares around it: y_c = x_c / (k + alpha / size * sum x_i^2)^beta.

    The sum is over the ``size`` channels around c at the same place, from c - size // 2 on, channels beyond the ends
    being 0. Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks".

    Args:
        input: x, of shape (N, C, ...) with at least three axes, of a real floating dtype.
        size: over how many channels the squares are summed.
        alpha: the factor of their mean.
        beta: the power.
        k: added to the mean, so that it is not 0.

    Returns:
        y, of the shape of x.

    Raises:
        ValueError: x has less than three axes, or ``size`` is below 1.
        TypeError: x is not real floating.

    >>> import portanet
    >>> x = portanet.asarray([[[3.0], [4.0]]])
    >>> portanet.nn.functional.local_response_norm(x, 2, alpha=2.0, beta=0.5, k=0.0)
    tensor([[[1. ],
             [0.8]]])
    """
    xp = real_namespace("LocalResponseNorm", input)
    x = raw_of(input)
    if x.ndim < 3:
        raise ValueError(f"LocalResponseNorm: the input must have shape (N, C, L, ...), saw {tuple(x.shape)}.")
    if type(size) is not int or size < 1:
        raise ValueError(f"LocalResponseNorm: size must be a whole number of at least 1, saw {size!r}.")
    if 0 in x.shape:
        return input * input
    # The channels as one spatial axis, the places as another.
    squares = xp.reshape(input * input, (x.shape[0], 1, x.shape[1], math.prod(x.shape[2:])))
    padding = ((size // 2, (size - 1) // 2), (0, 0))
    mean = xp.avg_pool(squares, kernel=(size, 1), stride=(1, 1), padding=padding, counted=padding, divisor=None)
    return input / (k + alpha * xp.reshape(mean, tuple(x.shape))) ** beta


def _check_channels(name: str, x: Any, least: int, **of_channels: Any) -> None:
    if x.ndim < least:
        axes = "(N, C, ...)" if least == 2 else "(N, C, L, ...)"
        raise ValueError(f"{name}: the input must have axes {axes}, saw shape {tuple(x.shape)}.")
    for which, values in of_channels.items():
        if values is not None and tuple(values.shape) != (x.shape[1],):
            raise ValueError(
                f"{name}: {x.shape[1]} channels in the input (shape {tuple(x.shape)}), {which} has shape "
                f"{tuple(values.shape)}."
            )


def _check_averages(name: str, option: str, by_input: bool, running_mean: Any, running_var: Any) -> None:
    if (running_mean is None) != (running_var is None):
        raise ValueError(f"{name}: give running_mean and running_var both, or neither.")
    if not by_input and running_mean is None:
        raise ValueError(f"{name}: without {option} it needs running_mean and running_var.")


def _check_batch(x: Any, training: bool, **of_channels: Any) -> None:
    _check_channels("BatchNorm", x, 2, **of_channels)
    _check_averages("BatchNorm", "training=True", training, of_channels["running_mean"], of_channels["running_var"])
    if training and math.prod(x.shape) == x.shape[1] and x.shape[1] > 0:
        raise ValueError(
            f"BatchNorm: one value for each channel (shape {tuple(x.shape)}) has no variance to train with; take "
            "larger batches (drop_last=True), or call eval()."
        )


def _track(
    name: str, mean: Any, variance: Any, count: int, running_mean: Any, running_var: Any, momentum: float
) -> None:
    """The running averages moved towards mean and variance, which are of ``count`` values."""
    if not (isinstance(running_mean, Tensor) and isinstance(running_var, Tensor)):
        raise TypeError(f"{name}: the running averages get new values in training, so they must be Tensors.")
    for running, new in ((running_mean, mean), (running_var, variance * (count / (count - 1)))):
        writing(running)
        running._raw = running._raw + momentum * (new - running._raw)
