"""Cross entropy that keeps the scores and a number for each example until the way back, in place of probabilities."""

from __future__ import annotations

from typing import Any

from portanet.kernels.generic.attention import _of_dtype, _single
from portanet.kernels.generic.nn import _counted, pick_class, softmax_cross_entropy_backward

__all__ = ["cross_entropy_of_scores", "cross_entropy_of_scores_backward", "keeps_scores"]


def keeps_scores(xp: Any) -> bool:
    """Whether softmax is sooner computed once more on the way back of cross entropy than kept until then."""
    return False


def cross_entropy_of_scores(xp: Any, x: Any, target: Any, *, ignore_index: int, reduction: str) -> tuple[Any, Any]:
    """-log softmax(x)[..., target] along the last axis, and log(sum(exp(x))), which the way back needs beside x.

    The first result is that of `softmax_cross_entropy`. The second has the shape of ``target`` (...), and is float32 where
    x is half-width: a logarithm needs more digits than a probability.
    """
    wide = _single(xp, x)
    largest = xp.max(wide, axis=-1, keepdims=True)  # taken off first: exp overflows above 88 in float32
    shifted = wide - largest
    level = xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    losses = 0 - pick_class(xp, shifted - level, target, ignore_index=ignore_index)
    if reduction == "mean":
        losses = xp.sum(losses) / _counted(xp, wide, target, ignore_index)
    elif reduction == "sum":
        losses = xp.sum(losses)
    return _of_dtype(xp, losses, x), xp.squeeze(largest + level, axis=-1)


def cross_entropy_of_scores_backward(
    xp: Any, g: Any, x: Any, logs: Any, target: Any, *, ignore_index: int, reduction: str
) -> Any:
    """The cotangent of x from that of the loss, where logs = log(sum(exp(x)))."""
    p = softmax_of_scores(xp, x, logs)
    how: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
    return _of_dtype(xp, softmax_cross_entropy_backward(xp, _of_dtype(xp, g, p), p, target, **how), x)


def softmax_of_scores(xp: Any, x: Any, logs: Any) -> Any:
    """exp(x - logs) along the last axis, of the dtype of ``logs``."""
    return xp.exp(_single(xp, x) - xp.expand_dims(logs, axis=-1))
