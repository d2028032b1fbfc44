"""Losses of scores that should be apart by a margin: pairs that are ranked, classes, and labels of which several hold.

Signs are 1 or -1, in the dtype of the input or any integer one.
"""

from __future__ import annotations

import math
from typing import Any

from portanet.kernels.generic.nn import class_mask
from portanet.nn.functional._arguments import real_namespace, require_dtype, require_shape, together
from portanet.nn.functional._losses import (
    alike,
    as_numbers,
    class_indices,
    counted,
    hinge,
    reduced,
    require_class_weight,
    require_one_shape,
    require_reduction,
    require_whole,
    require_within,
    weighted,
)

__all__ = [
    "hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "soft_margin_loss",
]  # fmt: skip

NONE_IGNORED = -(2**31)  # for pick_class, which takes an index that counts for nothing


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: str = "mean") -> Any:
    """max(0, margin - target (input1 - input2)): the first score should be the higher one where the target is 1.

    Args:
        input1: real floating, any shape.
        input2: of the same dtype; axes of length 1 are repeated.
        target: 1 or -1, of the same dtype or an integer one; axes of length 1 are repeated.
        margin: by how much the one should be higher.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each pair.

    Returns:
        no axes, or for ``"none"`` the shape of the inputs; the dtype of the inputs.

    Raises:
        TypeError: an argument is no array, or the dtypes do not go together.
        ValueError: the shapes differ, or another ``reduction``.

    >>> import portanet
    >>> better, worse = portanet.asarray([3.0, 1.0]), portanet.asarray([1.0, 2.0])
    >>> portanet.nn.functional.margin_ranking_loss(better, worse, portanet.asarray([1, 1]), 0.5, reduction="none")
    tensor([0. , 1.5])
    """
    name = "margin_ranking_loss"
    require_reduction(name, reduction)
    input1, input2, target = together(name, input1, input2, target)
    xp = real_namespace(name, input1)
    require_one_shape(name, input1=input1, input2=input2, target=target)
    require_dtype(name, "input2", input2, input1)
    target = as_numbers(xp, target, input1)
    require_dtype(name, "target", target, input1)
    return reduced(xp, hinge(xp, margin - target * (input1 - input2)), reduction)


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, *, reduction: str = "mean") -> Any:
    """The input where the target is 1, and max(0, margin - input) where it is -1: distances of like and unlike pairs.

    Args:
        input: distances, real floating, any shape.
        target: 1 or -1, of the same shape, and of the same dtype or an integer one.
        margin: the distance beyond which unlike pairs cost nothing.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each element.

    Returns:
        no axes, or the shape of the input for ``"none"``; the dtype of the input.

    Raises:
        TypeError: an argument is no array, or the dtypes do not go together.
        ValueError: the shapes differ, or another ``reduction``.

    >>> import portanet
    >>> distances = portanet.asarray([0.5, 0.25, 3.0])
    >>> portanet.nn.functional.hinge_embedding_loss(distances, portanet.asarray([1, -1, -1]), reduction="none")
    tensor([0.5 , 0.75, 0.  ])
    """
    xp, input, target = counted("hinge_embedding_loss", input, target, reduction)
    zero = xp.zeros_like(input)
    like = xp.where(target != -1, input, zero)
    return reduced(xp, like + xp.where(target != 1, hinge(xp, margin - input), zero), reduction)


def soft_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """log(1 + exp(-target input)): the logistic loss of a score whose sign should be the target's.

    It is computed without overflow: for a score of 1000 on the wrong side it is 1000, where PyTorch has infinity in
    float32.

    Args:
        input: scores, real floating, any shape.
        target: 1 or -1, of the same shape, and of the same dtype or an integer one.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each element.

    Returns and raises: as `hinge_embedding_loss`.

    >>> import portanet
    >>> portanet.nn.functional.soft_margin_loss(portanet.asarray([0.0, 1000.0]), portanet.asarray([1, 1]))
    tensor(0.3465736)
    """
    xp, input, target = counted("soft_margin_loss", input, target, reduction)
    return reduced(xp, xp.softplus(-(target * input), beta=1.0, threshold=math.inf), reduction)


def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    *,
    reduction: str = "mean",
) -> Any:
    """sum over the other classes j of max(0, margin - input[target] + input[j])**p, over the number of classes.

    The hinge loss of several classes (Weston and Watkins 1999).

    Args:
        input: scores, real floating, shape (C,) or (N, C).
        target: class indices from 0 to C - 1, of any integer dtype, shape () or (N,).
        p: 1 or 2.
        margin: by how much the right class should be ahead of each other one.
        weight: a factor for the losses of each class, shape (C,), of the input's dtype, or None. With p = 2 it is not
            squared.
        reduction: ``"mean"`` (over the examples, whatever the weights), ``"sum"``, or ``"none"``.

    Returns:
        no axes, or for ``"none"`` the shape of the target; the dtype of the input.

    Raises:
        TypeError: an argument is no array, or the dtypes do not go together.
        ValueError: the shapes do not go together, or another ``p`` or ``reduction``.
        IndexError: an index names no class; looked for as in `cross_entropy`, and nan where that is not done.

    >>> import portanet
    >>> scores = portanet.asarray([[0.5, 2.0, 0.0]])
    >>> portanet.nn.functional.multi_margin_loss(scores, portanet.asarray([0]))
    tensor(1.)
    """
    name = "multi_margin_loss"
    require_reduction(name, reduction)
    if p not in (1, 2):
        raise ValueError(f"{name}: p={p}; expected 1 or 2.")
    input, target, weight = together(name, input, target, weight)
    xp = real_namespace(name, input)
    _require_rows(name, input)
    target = class_indices(name, xp, target, input)
    require_class_weight(name, weight, input)
    count = input.shape[-1]
    require_within(name, "class indices", target, 0, count - 1)
    right = xp.pick_class(input, target, ignore_index=NONE_IGNORED)
    behind = xp.relu(margin - xp.expand_dims(right, axis=-1) + input)
    losses = xp.where(class_mask(xp, input, target), xp.zeros_like(input), behind if p == 1 else behind * behind)
    losses = xp.sum(losses, axis=-1) / count
    if weight is not None:
        losses = losses * xp.pick_class(xp.broadcast_to(weight, input.shape), target, ignore_index=NONE_IGNORED)
    return reduced(xp, losses, reduction)


def _require_rows(name: str, input: Any) -> None:
    if input.ndim not in (1, 2):
        raise ValueError(f"{name}: expected an input of shape (C,) or (N, C), saw {tuple(input.shape)}.")


def multilabel_margin_loss(input: Any, target: Any, *, reduction: str = "mean") -> Any:
    """sum over labels i that hold and j that do not of max(0, 1 - input[i] + input[j]), over the number of labels.

    Args:
        input: scores, real floating, shape (C,) or (N, C).
        target: for each example the indices of the labels that hold, of any integer dtype and of the input's shape.
            The list ends before the first -1, what follows counts for nothing.
        reduction: ``"mean"`` (over the examples), ``"sum"``, or ``"none"`` for the loss of each example.

    Returns:
        no axes, or for ``"none"`` the input's shape without C; the dtype of the input.

    Raises:
        TypeError: an argument is no array, or the dtypes do not go together.
        ValueError: the shapes differ, or another ``reduction``.
        IndexError: an index names no label; looked for as in `cross_entropy`, and nan where that is not done.

    >>> import portanet
    >>> scores = portanet.asarray([0.1, 0.2, 0.4, 0.8])
    >>> portanet.nn.functional.multilabel_margin_loss(scores, portanet.asarray([3, 0, -1, 1]))
    tensor(0.85)
    """
    name = "multilabel_margin_loss"
    require_reduction(name, reduction)
    input, target = together(name, input, target)
    xp = real_namespace(name, input)
    _require_rows(name, input)
    require_whole(name, "label indices", target)
    require_shape(name, "target", target, input.shape, input)
    count = input.shape[-1]
    target = xp.astype(target, xp.positions(input, axis=-1).dtype)
    require_within(name, "label indices", target, -1, count - 1)
    ended = xp.cumulative_sum(xp.astype(target < 0, target.dtype), axis=-1) > 0
    labels = xp.where(ended, xp.full_like(target, -1), target)
    pairs = (*input.shape, count)  # label i that holds, then label j
    scores = xp.broadcast_to(xp.expand_dims(input, axis=-2), pairs)
    named = class_mask(xp, scores, labels)
    holds = xp.any(named, axis=-2)
    behind = xp.relu(1 - xp.expand_dims(xp.pick_class(scores, labels, ignore_index=-1), axis=-1) + scores)
    apart = xp.expand_dims(~ended, axis=-1) & xp.expand_dims(~holds, axis=-2)
    losses = xp.sum(xp.where(apart, behind, xp.zeros_like(behind)), axis=(-2, -1)) / count
    return reduced(xp, losses, reduction)


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """`binary_cross_entropy_with_logits` of each label, averaged over the labels: the last axis.

    Args:
        input: logits, real floating, shape (..., C).
        target: from 0 to 1, of the same shape, and of the same dtype or an integer one.
        weight: a factor for each label, of the same dtype and of a shape that broadcasts to the input's, or None.
        reduction: ``"mean"`` (over the examples), ``"sum"``, or ``"none"`` for the loss of each example.

    Returns:
        no axes, or for ``"none"`` the input's shape without C; the dtype of the input.

    Raises:
        TypeError: an argument is no array, or the dtypes do not go together.
        ValueError: the shapes differ, the input has no axes, or another ``reduction``.

    >>> import portanet
    >>> logits, target = portanet.asarray([[0.0, 1000.0]]), portanet.asarray([[1, 1]])
    >>> portanet.nn.functional.multilabel_soft_margin_loss(logits, target)
    tensor(0.3465736)
    """
    name = "multilabel_soft_margin_loss"
    require_reduction(name, reduction)
    input, target, weight = together(name, input, target, weight)
    xp = real_namespace(name, input)
    if input.ndim == 0:
        raise ValueError(f"{name}: expected an input of shape (..., C), saw one without axes.")
    xp, input, target = alike(name, input, as_numbers(xp, target, input), reduction)
    losses = weighted(name, xp.sigmoid_cross_entropy(input, target), weight, input)
    return reduced(xp, xp.sum(losses, axis=-1) / input.shape[-1], reduction)
