"""VJPs of convolution and its transposes, of windows as columns, pooling and batch normalisation."""

from __future__ import annotations

from typing import Any


def _conv(
    xp: Any, g: Any, y: Any, x: Any, weight: Any, bias: Any = None, *, wanted: tuple[bool, ...], **how: Any
) -> tuple[Any, ...]:
    found: tuple[Any, ...] = xp.conv_backward(g, x, weight, wanted=wanted, **how)
    return found[: len(wanted)]


def _transposed_input(xp: Any, g: Any, y: Any, x: Any, weight: Any, *, size: Any, **how: Any) -> Any:
    return xp.conv(g, weight, **how)


def _transposed_weight(xp: Any, g: Any, y: Any, x: Any, weight: Any, *, size: Any, **how: Any) -> Any:
    return xp.conv_backward_weight(x, g, size=tuple(weight.shape[2:]), **how)


def _weights_cotangent(xp: Any, g: Any, y: Any, cotangent: Any, x: Any, *, size: Any, **how: Any) -> Any:
    return xp.conv(x, g, **how)


def _weights_input(xp: Any, g: Any, y: Any, cotangent: Any, x: Any, *, size: Any, **how: Any) -> Any:
    return xp.conv_backward_input(cotangent, g, size=tuple(x.shape[2:]), **how)


def _batch_norm(
    xp: Any, g: Any, y: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *, eps: float, own: bool
) -> list[Any]:
    gx, of_weight, of_bias = xp.batch_norm_backward(g, x, weight, mean, variance, eps=eps, own=own)
    if own:  # mean and variance stand for what x makes of itself
        return [gx, of_weight, of_bias, None, None]
    w = xp.ones_like(variance) if weight is None else weight
    of_mean = -w * of_bias / xp.sqrt(variance + eps)
    return [gx, of_weight, of_bias, of_mean, -0.5 * w * of_weight / (variance + eps)]


# One trilinear form, <conv(x, weight), g>, has three derivatives, and each of them is the transpose of the others.
VJPS: dict[str, Any] = {
    "conv": _conv,
    "conv_backward_input": (_transposed_input, _transposed_weight),
    "conv_backward_weight": (_weights_cotangent, _weights_input),
    "unfold": (lambda xp, g, y, x, **how: xp.fold(g, size=tuple(x.shape[2:]), **how),),
    "fold": (lambda xp, g, y, x, *, size, **how: xp.unfold(g, **how),),
    "max_pool": (lambda xp, g, y, x, **how: xp.max_pool_backward(g, y, x, **how),),
    "avg_pool": (lambda xp, g, y, x, **how: xp.avg_pool_backward(g, size=tuple(x.shape[2:]), **how),),
    "batch_norm": _batch_norm,
}
