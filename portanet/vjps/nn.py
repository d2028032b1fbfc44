"""VJPs of the kernels of networks."""

from __future__ import annotations

from typing import Any

from portanet.kernels.generic.cross_entropy import softmax_of_scores
from portanet.kernels.generic.nn import clamped_logs, class_mask


def _of_examples(xp: Any, g: Any, target: Any, ignore_index: int) -> Any:
    """The cotangent of each example's loss, 0 for those that are ignored, as a column beside the classes."""
    return xp.expand_dims(xp.where(target == ignore_index, xp.zeros_like(g), g), axis=-1)


def _pick_class(xp: Any, g: Any, y: Any, x: Any, target: Any, *, ignore_index: int) -> Any:
    return xp.where(class_mask(xp, x, target), _of_examples(xp, g, target, ignore_index), xp.zeros_like(x))


def _softmax_cross_entropy(xp: Any, g: Any, y: Any, x: Any, target: Any, **how: Any) -> list[Any]:
    of_loss, of_p = g
    p = y[1]
    gx = None if of_loss is None else xp.softmax_cross_entropy_backward(of_loss, p, target, **how)
    if of_p is not None:  # only where second derivatives are taken
        more = xp.softmax_backward(of_p, p, axis=-1)
        gx = more if gx is None else gx + more
    return [gx, None]


def _cross_entropy_of_scores(xp: Any, g: Any, y: Any, x: Any, target: Any, **how: Any) -> list[Any]:
    of_loss, of_logs = g
    logs = y[1]
    gx = None if of_loss is None else xp.cross_entropy_of_scores_backward(of_loss, x, logs, target, **how)
    if of_logs is not None:  # only where second derivatives are taken
        more = xp.expand_dims(of_logs, axis=-1) * softmax_of_scores(xp, x, logs)
        more = xp.astype(more, x.dtype, copy=False)
        gx = more if gx is None else gx + more
    return [gx, None]


def _binary_cross_entropy(xp: Any, g: Any, y: Any, p: Any, target: Any) -> Any:
    # (p - t) / (p (1 - p)), finite at 0 and 1: 1e-12 is PyTorch's number.
    return g * (p - target) / xp.maximum(p * (1 - p), xp.full_like(p, 1e-12))


def _binary_cross_entropy_target(xp: Any, g: Any, y: Any, p: Any, target: Any) -> Any:
    log_p, log_q = clamped_logs(xp, p)
    return g * (log_q - log_p)


def _linear(
    xp: Any, g: Any, y: Any, x: Any, weight: Any, bias: Any = None, *, wanted: tuple[bool, ...]
) -> tuple[Any, ...]:
    found: tuple[Any, ...] = xp.linear_backward(g, x, weight, wanted=wanted)
    return found[: len(wanted)]


def _standardized(xp: Any, g: Any, y: Any, x: Any, *, axis: tuple[int, ...], eps: float) -> Any:
    if 0 in x.shape:
        return xp.zeros_like(g)
    # What shifts or stretches x as a whole does not change y.
    g = g - xp.mean(g, axis=axis, keepdims=True) - y * xp.mean(g * y, axis=axis, keepdims=True)
    return g / xp.sqrt(xp.var(x, axis=axis, keepdims=True) + eps)


def _rows_at(
    xp: Any, g: Any, y: Any, weight: Any, indices: Any, *, padding_idx: int | None = None, by_frequency: bool = False
) -> Any:
    flat = xp.astype(xp.reshape(indices, (-1,)), xp.positions(weight).dtype)
    g = xp.reshape(g, (flat.shape[0], weight.shape[1]))
    if padding_idx is not None:
        g = xp.where(xp.expand_dims(flat == padding_idx, axis=-1), xp.zeros_like(g), g)
    if by_frequency:
        ones = xp.ones_like(xp.astype(flat, g.dtype))
        counts = xp.scatter_add(xp.astype(xp.zeros_like(xp.positions(weight)), g.dtype), flat, ones)
        g = g / xp.expand_dims(xp.take(counts, flat), axis=-1)
    return xp.scatter_add(xp.zeros_like(weight), flat, g)


def _horner(xp: Any, g: Any, y: Any, x: Any, coefficients: Any) -> Any:
    degree = coefficients.shape[0] - 1
    if degree == 0:
        return xp.zeros_like(g)
    powers = xp.astype(xp.flip(xp.positions(coefficients)), coefficients.dtype)
    return g * xp.horner(x, (coefficients * powers)[:degree])


def _horner_coefficients(xp: Any, g: Any, y: Any, x: Any, coefficients: Any) -> Any:
    sums = [xp.sum(g)]
    for _ in range(1, coefficients.shape[0]):
        g = g * x
        sums.append(xp.sum(g))
    return xp.stack(sums[::-1])


VJPS: dict[str, Any] = {
    "relu": (lambda xp, g, y, x: xp.relu_backward(g, y),),
    "sigmoid": (lambda xp, g, y, x: xp.sigmoid_backward(g, y),),
    "softplus": (lambda xp, g, y, x, **how: xp.softplus_backward(g, x, **how),),
    "silu": (lambda xp, g, y, x: xp.silu_backward(g, x),),
    "gelu": (lambda xp, g, y, x, *, approximate: xp.gelu_backward(g, y, x, approximate=approximate),),
    "dropout": (lambda xp, g, y, x, **how: xp.dropout(g, **how),),  # the same elements, by the same words
    "softmax": (lambda xp, g, y, x, *, axis: xp.softmax_backward(g, y, axis=axis),),
    "log_softmax": (lambda xp, g, y, x, *, axis: xp.log_softmax_backward(g, y, axis=axis),),
    "pick_class": (_pick_class, None),
    "softmax_cross_entropy": _softmax_cross_entropy,
    "cross_entropy_of_scores": _cross_entropy_of_scores,
    "sigmoid_cross_entropy": (lambda xp, g, y, x, t: g * (xp.sigmoid(x) - t), lambda xp, g, y, x, t: -g * x),
    "binary_cross_entropy": (_binary_cross_entropy, _binary_cross_entropy_target),
    "linear": _linear,
    "standardized": (_standardized,),
    "rows_at": (_rows_at, None),
    "horner": (_horner, _horner_coefficients),
}
