"""Losses of vectors that stand for things: like ones should be near, unlike ones far apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.nn.functional._arguments import real_namespace, require_dtype, require_shape, together
from portanet.nn.functional._losses import (
    as_numbers,
    hinge,
    reduced,
    require_one_shape,
    require_positive,
    require_reduction,
)
from portanet.nn.functional.distance import pairwise_distance

__all__ = ["cosine_embedding_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss"]


def _cosine(xp: Any, a: Any, b: Any) -> Any:
    # PyTorch adds this number to the squares here; its cosine_similarity bounds the lengths instead.
    tiny = 1e-12
    lengths = xp.sqrt((xp.sum(a * a, axis=-1) + tiny) * (xp.sum(b * b, axis=-1) + tiny))
    return xp.sum(a * b, axis=-1) / lengths


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean"
) -> Any:
    """1 - cos(input1, input2) where the target is 1, and max(0, cos(input1, input2) - margin) where it is -1.

    Args:
        input1: vectors, real floating, shape (D,) or (N, D).
        input2: of the same dtype; axes of length 1 are repeated.
        target: 1 or -1, shape () or (N,), of the same dtype or an integer one.
        margin: the cosine below which unlike pairs cost nothing, from -1 to 1.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each pair.

    Returns:
        no axes, or for ``"none"`` the shape of the target; the dtype of the inputs.

    Raises:
        TypeError: an argument is no array, or the dtypes do not go together.
        ValueError: the shapes do not go together, or another ``reduction``.

    >>> import portanet
    >>> x, y = portanet.asarray([[1.0, 0.0], [1.0, 0.0]]), portanet.asarray([[0.0, 1.0], [2.0, 0.0]])
    >>> portanet.nn.functional.cosine_embedding_loss(x, y, portanet.asarray([1, -1]), 0.25, reduction="none")
    tensor([1.  , 0.75])
    """
    name = "cosine_embedding_loss"
    require_reduction(name, reduction)
    input1, input2, target = together(name, input1, input2, target)
    xp = real_namespace(name, input1)
    if input1.ndim not in (1, 2):
        raise ValueError(f"{name}: expected inputs of shape (D,) or (N, D), saw {tuple(input1.shape)}.")
    require_one_shape(name, input1=input1, input2=input2)
    require_dtype(name, "input2", input2, input1)
    target = as_numbers(xp, target, input1)
    require_dtype(name, "target", target, input1)
    cosine = _cosine(xp, input1, input2)
    require_shape(name, "target", target, cosine.shape, input1)
    zero = xp.zeros_like(cosine)
    losses = xp.where(target == 1, 1 - cosine, zero) + xp.where(target == -1, hinge(xp, cosine - margin), zero)
    return reduced(xp, losses, reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Any:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), with the p-norm of the difference as distance d.

    Balntas, Riba, Ponsa and Mikolajczyk 2016, "Learning local feature descriptors with triplets".

    Args:
        anchor: vectors, real floating, shape (..., D).
        positive: of the same dtype: what should be nearer to the anchor; axes of length 1 are repeated.
        negative: of the same dtype: what should be farther from it; axes of length 1 are repeated.
        margin: by how much, above 0.
        p: the norm, at least 0.
        eps: added to each difference.
        swap: whether the negative's distance to the positive counts, where it is nearer to that than to the anchor.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each triplet.

    Returns:
        no axes, or for ``"none"`` the shape of the anchor without D; its dtype.

    Raises:
        TypeError: an argument is no array, or the dtypes differ.
        ValueError: the shapes differ, or a number is out of range, or another ``reduction``.

    >>> import portanet
    >>> anchor, near, far = portanet.asarray([0.0, 0.0]), portanet.asarray([3.0, 4.0]), portanet.asarray([0.0, 5.5])
    >>> portanet.nn.functional.triplet_margin_loss(anchor, near, far, eps=0.0)
    tensor(0.5)
    """
    name = "triplet_margin_loss"
    require_positive(name, "p", p, zero=True)
    anchor, positive, negative = together(name, anchor, positive, negative)
    xp = real_namespace(name, anchor)
    require_one_shape(name, anchor=anchor, positive=positive, negative=negative)
    require_one_shape(name, positive=positive, negative=negative)
    if anchor.ndim == 0:
        raise ValueError(f"{name}: expected an anchor of shape (..., D), saw one without axes.")
    require_dtype(name, "positive", positive, anchor)
    require_dtype(name, "negative", negative, anchor)

    def distance(a: Any, b: Any) -> Any:
        return pairwise_distance(a, b, p, eps)

    return _triplets(name, xp, (anchor, positive, negative), distance, margin, swap, reduction)


def _triplets(
    name: str,
    xp: Any,
    points: tuple[Any, Any, Any],
    distance: Callable[[Any, Any], Any],
    margin: float,
    swap: bool,
    reduction: str,
) -> Any:
    require_reduction(name, reduction)
    require_positive(name, "margin", margin)
    anchor, positive, negative = points
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = xp.minimum(far, distance(positive, negative))
    return reduced(xp, hinge(xp, margin + near - far), reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) with a distance of your own.

    Args:
        anchor: real floating, of a shape that the distance takes; so are ``positive`` and ``negative``.
        positive: what should be nearer to the anchor.
        negative: what should be farther from it.
        distance_function: takes two of them and returns the distances; None: the length of the difference, as in
            `triplet_margin_loss`.
        margin: by how much, above 0.
        swap: whether the negative's distance to the positive counts, where it is nearer to that than to the anchor.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each triplet.

    Returns:
        no axes, or for ``"none"`` the shape of the distances.

    Raises:
        TypeError: an argument is no array.
        ValueError: the numbers of axes differ, or ``margin`` is not above 0, or another ``reduction``.

    >>> import portanet
    >>> anchor, near, far = portanet.asarray([0.0]), portanet.asarray([2.0]), portanet.asarray([-2.5])
    >>> def distance(a, b):
    ...     return portanet.sum(portanet.abs(a - b), axis=-1)
    >>> F = portanet.nn.functional
    >>> F.triplet_margin_with_distance_loss(anchor, near, far, distance_function=distance)
    tensor(0.5)
    """
    name = "triplet_margin_with_distance_loss"
    if distance_function is None:
        return triplet_margin_loss(anchor, positive, negative, margin, swap=swap, reduction=reduction)
    anchor, positive, negative = together(name, anchor, positive, negative)
    xp = real_namespace(name, anchor)
    counts = [anchor.ndim, positive.ndim, negative.ndim]
    if len(set(counts)) > 1:
        raise ValueError(f"{name}: anchor, positive and negative have {counts} axes; expected equally many.")
    return _triplets(name, xp, (anchor, positive, negative), distance_function, margin, swap, reduction)
