"""Kernels of networks: activations, and losses that are one formula with what precedes them."""

from __future__ import annotations

import math
from typing import Any


def relu(xp: Any, x: Any) -> Any:
    """max(x, 0)."""
    return xp.maximum(x, 0)


def relu_backward(xp: Any, g: Any, y: Any) -> Any:
    """The cotangent of x from that of y = relu(x): the slope at 0 is 0, and nan passes."""
    # Asked this way round, a nan is not taken for a dead unit.
    return xp.where(y <= 0, xp.zeros_like(g), g)


def sigmoid(xp: Any, x: Any) -> Any:
    """1 / (1 + exp(-x)), for real x; exp only of numbers <= 0, which cannot overflow."""
    small = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, xp.ones_like(x), small) / (1 + small)


def sigmoid_backward(xp: Any, g: Any, y: Any) -> Any:
    """The cotangent of x from that of y = sigmoid(x)."""
    return g * (y * (1 - y))


def softplus(xp: Any, x: Any, *, beta: float, threshold: float) -> Any:
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold."""
    z = beta * x
    smooth = (xp.maximum(z, 0) + xp.log1p(xp.exp(-xp.abs(z)))) / beta
    return xp.where(z > threshold, x, smooth)


def softplus_backward(xp: Any, g: Any, x: Any, *, beta: float, threshold: float) -> Any:
    """The cotangent of x from that of softplus(x)."""
    z = beta * x
    return xp.where(z > threshold, g, g * xp.sigmoid(z))


def silu(xp: Any, x: Any) -> Any:
    """x sigmoid(x)."""
    return x * xp.sigmoid(x)


def silu_backward(xp: Any, g: Any, x: Any) -> Any:
    """The cotangent of x from that of silu(x)."""
    s = xp.sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def gelu(xp: Any, x: Any, *, approximate: str) -> Any:
    """x Phi(x) with the normal distribution Phi (``"none"``), or with the tanh that comes near it (``"tanh"``)."""
    if approximate == "none":
        return 0.5 * x * (1 + xp.erf(x * math.sqrt(0.5)))
    # Beyond +-10 the tanh is 1 to the last digit, and the cube cannot overflow before.
    near = xp.clip(x, -10, 10)
    return 0.5 * x * (1 + xp.tanh(math.sqrt(2 / math.pi) * (near + 0.044715 * near * near * near)))


def gelu_backward(xp: Any, g: Any, y: Any, x: Any, *, approximate: str) -> Any:
    """The cotangent of x from that of y = gelu(x); y is there for kernels that get Phi(x) from it."""
    if approximate == "none":
        density = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return g * (0.5 * (1 + xp.erf(x * math.sqrt(0.5))) + x * density)
    near = xp.clip(x, -10, 10)  # as in the kernel: there the tanh is flat, and 0 times an overflow would be nan
    scale = math.sqrt(2 / math.pi)
    t = xp.tanh(scale * (near + 0.044715 * near * near * near))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (scale * (1 + 0.134145 * near * near)))


def softmax(xp: Any, x: Any, *, axis: Any) -> Any:
    """exp(x) / sum(exp(x)) over an axis, several, or all (None)."""
    # The largest is taken off first: exp overflows above 88 in float32.
    y = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return y / xp.sum(y, axis=axis, keepdims=True)


def softmax_backward(xp: Any, g: Any, y: Any, *, axis: Any) -> Any:
    """The cotangent of x from that of y = softmax(x)."""
    return y * (g - xp.sum(g * y, axis=axis, keepdims=True))


def log_softmax(xp: Any, x: Any, *, axis: Any) -> Any:
    """x - log(sum(exp(x))) over an axis, several, or all (None)."""
    x = x - xp.max(x, axis=axis, keepdims=True)
    return x - xp.log(xp.sum(xp.exp(x), axis=axis, keepdims=True))


def log_softmax_backward(xp: Any, g: Any, y: Any, *, axis: Any) -> Any:
    """The cotangent of x from that of y = log_softmax(x)."""
    return g - xp.exp(y) * xp.sum(g, axis=axis, keepdims=True)


def known_outside(xp: Any, x: Any, low: float, high: float) -> bool:
    """Whether some element of ``x`` is known to lie outside [low, high] (or to be nan).

    Known means: without waiting for a device and not while a compiler traces. Here, where the library is a stranger,
    nothing is known; the kernels of libraries whose memory is the host's look.
    """
    return False


def class_mask(xp: Any, x: Any, target: Any) -> Any:
    """Where along the last axis of ``x`` (..., C) the class of ``target`` (...) is: truth values of its shape."""
    places = xp.positions(x, axis=-1)
    return places == xp.expand_dims(xp.astype(target, places.dtype), axis=-1)


def pick_class(xp: Any, x: Any, target: Any, *, ignore_index: int) -> Any:
    """``x[..., target]`` along the last axis, 0 where the target is ``ignore_index``, nan where it names no class.

    Shapes: x (..., C), target (...) of integers; the result (...). On the host a target that names no class is an
    IndexError; on a device the nan says it, since an error there would make every step wait.
    """
    count = x.shape[-1]
    index = xp.astype(target, xp.positions(x, axis=-1).dtype)
    kept = index != ignore_index
    index = xp.where(kept, index, xp.zeros_like(index))
    if xp.known_outside(index, 0, count - 1):
        raise IndexError(
            f"class indices reach from {int(xp.min(index))} to {int(xp.max(index))}, the input has {count} classes; "
            f"they must lie in 0 to {count - 1}, or equal ignore_index={ignore_index}."
        )
    named = (index >= 0) & (index < count)
    index = xp.where(named, index, xp.zeros_like(index))
    picked = xp.squeeze(xp.take_along_axis(x, xp.expand_dims(index, axis=-1), axis=-1), axis=-1)
    zero = xp.zeros_like(picked)
    return xp.where(kept, xp.where(named, picked, xp.full_like(picked, math.nan)), zero)


def softmax_cross_entropy(xp: Any, x: Any, target: Any, *, ignore_index: int, reduction: str) -> tuple[Any, Any]:
    """-log softmax(x)[..., target] along the last axis, and softmax(x), which the way back needs.

    Shapes of the arguments as in `pick_class`. The first result is the loss of each example (...) for ``"none"``; for
    ``"sum"`` and ``"mean"`` it has no axes. The mean is over the examples that are not ignored.
    """
    logs = xp.log_softmax(x, axis=-1)
    # 0 - x, not -x, so that no loss reads -0.
    losses = 0 - xp.pick_class(logs, target, ignore_index=ignore_index)
    if reduction == "mean":
        losses = xp.sum(losses) / _counted(xp, x, target, ignore_index)
    elif reduction == "sum":
        losses = xp.sum(losses)
    return losses, xp.exp(logs)


def softmax_cross_entropy_backward(xp: Any, g: Any, p: Any, target: Any, *, ignore_index: int, reduction: str) -> Any:
    """The cotangent of x from that of the loss, where p = softmax(x): g (p - one_hot(target)), 0 where ignored."""
    kept = target != ignore_index
    if reduction == "mean":
        g = g / _counted(xp, p, target, ignore_index)
    chosen = class_mask(xp, p, target)
    of_examples = xp.where(kept, g, xp.zeros_like(g))
    return xp.expand_dims(of_examples, axis=-1) * (p - xp.astype(chosen, p.dtype))


def _counted(xp: Any, x: Any, target: Any, ignore_index: int) -> Any:
    return xp.sum(xp.astype(target != ignore_index, x.dtype))


def sigmoid_cross_entropy(xp: Any, x: Any, target: Any) -> Any:
    """-target log sigmoid(x) - (1 - target) log sigmoid(-x), element by element, without the logarithm of 0."""
    return xp.maximum(x, 0) - x * target + xp.log1p(xp.exp(-xp.abs(x)))


def binary_cross_entropy(xp: Any, p: Any, target: Any) -> Any:
    """-target log(p) - (1 - target) log(1 - p), element by element, no logarithm below -100."""
    for name, values in (("input", p), ("target", target)):
        if xp.known_outside(values, 0, 1):
            raise ValueError(
                f"binary_cross_entropy: the {name} must be probabilities, from 0 to 1, but has other numbers or nan; "
                "for logits take binary_cross_entropy_with_logits."
            )
    log_p, log_q = clamped_logs(xp, p)
    return (target - 1) * log_q - target * log_p


def clamped_logs(xp: Any, p: Any) -> tuple[Any, Any]:
    """log(p) and log(1 - p), neither below -100, which stands for the logarithm of 0."""
    lowest, zero, one = xp.full_like(p, -100), xp.zeros_like(p), xp.ones_like(p)
    log_p = xp.where(p == 0, lowest, xp.maximum(xp.log(xp.where(p == 0, one, p)), lowest))
    log_q = xp.where(p == 1, lowest, xp.maximum(xp.log1p(xp.where(p == 1, zero, -p)), lowest))
    return log_p, log_q


def linear(xp: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    """x weight^T + bias. Shapes: x (..., n), weight (m, n), bias (m,); the result (..., m)."""
    y = xp.matmul(x, xp.matrix_transpose(weight))
    return y if bias is None else y + bias


def linear_backward(xp: Any, g: Any, x: Any, weight: Any, *, wanted: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    """The cotangents of linear's x, weight and bias from that of its result; None for what is not ``wanted``."""
    of_x = of_weight = None
    # All axes but the last as one: many small products are slower.
    rows = g if x.ndim <= 2 else xp.reshape(g, (math.prod(x.shape[:-1]), weight.shape[0]))
    if wanted[0]:
        of_x = xp.matmul(rows, weight)
        of_x = of_x if x.ndim <= 2 else xp.reshape(of_x, x.shape)
    if wanted[1]:
        count = math.prod(x.shape[:-1])
        of_weight = xp.matmul(
            xp.matrix_transpose(xp.reshape(rows, (count, weight.shape[0]))), xp.reshape(x, (count, weight.shape[1]))
        )
    return of_x, of_weight, xp.column_sums(g) if any(wanted[2:]) else None


def column_sums(xp: Any, x: Any) -> Any:
    """The sums over all axes but the last: what a bias, added to each row, gets for a cotangent."""
    return xp.sum(x, axis=tuple(range(x.ndim - 1))) if x.ndim > 1 else x


def standardized(xp: Any, x: Any, *, axis: tuple[int, ...], eps: float) -> Any:
    """(x - mean) / sqrt(variance + eps), both over ``axis``; the variance is that of the values at hand (divided by n)."""
    if 0 in x.shape:
        return xp.zeros_like(x)  # the mean of nothing is nan, and there is nothing to put it in
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred * centred, axis=axis, keepdims=True) + eps)


def rows_at(xp: Any, weight: Any, indices: Any, *, padding_idx: int | None = None, by_frequency: bool = False) -> Any:
    """The rows of ``weight`` that ``indices`` names. No gradient comes back to row ``padding_idx``.

    With ``by_frequency`` the gradient of each row is divided by how often it is named.

    Shapes: weight (n, m), indices (...) of integers; the result (..., m). On the host an index that names no row is an
    IndexError; on a device its row is nan, since an error there would make every step wait.
    """
    count = weight.shape[0]
    if xp.known_outside(indices, 0, count - 1):
        raise IndexError(
            f"indices reach from {int(xp.min(indices))} to {int(xp.max(indices))}, but there are {count} rows: they must "
            f"lie in 0 to {count - 1}."
        )
    flat = xp.astype(xp.reshape(indices, (-1,)), xp.positions(weight).dtype, copy=False)
    named = (flat >= 0) & (flat < count)
    rows = xp.take(weight, xp.where(named, flat, xp.zeros_like(flat)), axis=0)
    rows = xp.where(xp.expand_dims(named, axis=-1), rows, xp.full_like(rows, math.nan))
    return xp.reshape(rows, (*indices.shape, weight.shape[1]))


def horner(xp: Any, x: Any, coefficients: Any) -> Any:
    """The polynomial with ``coefficients`` (n,), those of the highest power first, at each element of ``x``."""
    degree = coefficients.shape[0] - 1
    if degree == 0:
        return xp.zeros_like(x) + coefficients[0]
    y = x * coefficients[0] + coefficients[1]
    for k in range(2, degree + 1):
        y = y * x + coefficients[k]
    return y
