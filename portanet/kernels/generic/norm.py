"""Normalisation over a batch, and its way back."""

from __future__ import annotations

import math
from typing import Any


def _columns(xp: Any, values: Any, ndim: int) -> Any:
    """Numbers of channels (C,) as a column against the axes after the channels."""
    return xp.reshape(values, (-1,) + (1,) * (ndim - 2))


def _scale(xp: Any, variance: Any, eps: float) -> Any:
    return 1 / xp.sqrt(variance + eps)


def channel_moments(xp: Any, x: Any) -> tuple[Any, Any]:
    """Mean and variance (divided by n) of each channel over all other axes. Shapes: (N, C, ...) -> (C,), (C,)."""
    axes = (0, *range(2, x.ndim))
    mean = xp.mean(x, axis=axes)
    centred = x - _columns(xp, mean, x.ndim)
    return mean, xp.mean(centred * centred, axis=axes)


def batch_norm(xp: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *, eps: float, own: bool) -> Any:
    """(x - mean) / sqrt(variance + eps) weight + bias, channel by channel.

    Shapes: x (N, C, ...), the others (C,), weight and bias may be None; the result (N, C, ...). ``own`` says that mean
    and variance are those of ``x`` itself: gradients then go to ``x`` by way of them too.
    """
    scale = _scale(xp, variance, eps)
    y = (x - _columns(xp, mean, x.ndim)) * _columns(xp, scale if weight is None else scale * weight, x.ndim)
    return y if bias is None else y + _columns(xp, bias, x.ndim)


def batch_norm_backward(
    xp: Any, g: Any, x: Any, weight: Any, mean: Any, variance: Any, *, eps: float, own: bool
) -> tuple[Any, Any, Any]:
    """The cotangents of x, weight and bias from that of `batch_norm`'s result; weight has one even where it is None."""
    axes, count = (0, *range(2, x.ndim)), math.prod(x.shape) // max(x.shape[1], 1)
    if own:  # computed anew, so that they can be differentiated once more
        mean, variance = channel_moments(xp, x)
    scale = _scale(xp, variance, eps)
    z = (x - _columns(xp, mean, x.ndim)) * _columns(xp, scale, x.ndim)
    of_bias, of_weight = xp.sum(g, axis=axes), xp.sum(g * z, axis=axes)
    if own and count:
        # What shifts or stretches a channel as a whole does not change y.
        g = g - _columns(xp, of_bias / count, x.ndim) - z * _columns(xp, of_weight / count, x.ndim)
    return g * _columns(xp, scale if weight is None else scale * weight, x.ndim), of_weight, of_bias
