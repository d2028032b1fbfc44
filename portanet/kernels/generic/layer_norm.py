"""Layer normalisation, scaled and shifted, and its way back."""

from __future__ import annotations

from typing import Any


def layer_norm(xp: Any, x: Any, weight: Any = None, bias: Any = None, *, axes: int, eps: float) -> Any:
    """(x - mean) / sqrt(variance + eps) weight + bias, mean and variance being those over the last ``axes`` axes.

    Shapes: x (..., *n), weight and bias n or None; the result that of x.
    """
    y = xp.standardized(x, axis=tuple(range(x.ndim - axes, x.ndim)), eps=eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def layer_norm_backward(xp: Any, g: Any, x: Any, weight: Any = None, *, axes: int, eps: float) -> tuple[Any, Any, Any]:
    """The cotangents of x, weight and bias from that of `layer_norm`'s result; weight has one even where it is None."""
    axis = tuple(range(x.ndim - axes, x.ndim))
    z = xp.standardized(x, axis=axis, eps=eps)
    front = tuple(range(x.ndim - axes))
    of_weight, of_bias = (xp.sum(g * z, axis=front), xp.sum(g, axis=front)) if front else (g * z, g)
    g = g if weight is None else g * weight
    if 0 in x.shape:
        return xp.zeros_like(g), of_weight, of_bias
    # What shifts or stretches x as a whole does not change y.
    g = g - xp.mean(g, axis=axis, keepdims=True) - z * xp.mean(g * z, axis=axis, keepdims=True)
    return g / xp.sqrt(xp.var(x, axis=axis, keepdims=True) + eps), of_weight, of_bias
