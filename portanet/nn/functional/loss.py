"""Losses: how far predictions are from targets, as one number to be made small. Arguments and results are PyTorch's.

Where PyTorch repeats a target to the shape of the input with no more than a warning, shapes that differ are an error
here. PyTorch's deprecated ``size_average`` and ``reduce`` are left out; the arguments behind them go by keyword.
"""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._arguments import real_namespace, require_broadcast, require_dtype, require_shape, together
from portanet.nn.functional._checks import raw_of
from portanet.nn.functional._losses import (
    KL_REDUCTIONS,
    REDUCTIONS,
    alike,
    class_indices,
    reduced,
    require_class_weight,
    require_positive,
    require_reduction,
    require_smoothing,
    weighted,
)

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "huber_loss", "kl_div", "l1_loss",
    "mse_loss", "nll_loss", "smooth_l1_loss",
]  # fmt: skip

# ---------------------------------------------------------------------------------------------------------------------
# Between two arrays of one shape


def _three(name: str, input: Any, target: Any, weight: Any, reduction: str) -> tuple[Any, Any, Any, Any]:
    """As `alike`, with a weight of the same shape and dtype, or None."""
    if weight is None:
        return *alike(name, input, target, reduction), None
    input, target, weight = together(name, input, target, weight)
    xp, input, target = alike(name, input, target, reduction)
    require_shape(name, "weight", weight, input.shape, input)
    require_dtype(name, "weight", weight, input)
    return xp, input, target, weight


def _mean_by_weight(xp: Any, losses: Any, weight: Any, reduction: str) -> Any:
    if weight is None:
        return reduced(xp, losses, reduction)
    total = reduced(xp, losses * weight, "sum" if reduction == "mean" else reduction)
    return total / xp.sum(weight) if reduction == "mean" else total


def mse_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """The mean squared error: (input - target)**2, averaged over all elements.

    Args:
        input: real floating, any shape.
        target: of the same shape and dtype.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each element.
        weight: a factor for each element, of the same shape and dtype, or None; the mean is then over the weights.

    Returns:
        no axes, or the shape of the input for ``"none"``; the dtype of the input. The mean of nothing is nan.

    Raises:
        TypeError: an argument is no array, or not real floating, or the two dtypes differ.
        ValueError: the shapes differ, or another ``reduction``.

    >>> import portanet
    >>> portanet.nn.functional.mse_loss(portanet.asarray([1.0, 2.0]), portanet.asarray([1.0, 4.0]))
    tensor(2.)
    """
    xp, input, target, weight = _three("mse_loss", input, target, weight, reduction)
    return _mean_by_weight(xp, xp.square(input - target), weight, reduction)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean", weight: Any = None) -> Any:
    """The mean absolute error: |input - target|; the slope is 0 where they are equal.

    Arguments, result and errors: `mse_loss`.

    >>> import portanet
    >>> portanet.nn.functional.l1_loss(portanet.asarray([1.0, 2.0]), portanet.asarray([1.0, 4.0]))
    tensor(1.)
    """
    xp, input, target, weight = _three("l1_loss", input, target, weight, reduction)
    return _mean_by_weight(xp, xp.abs(input - target), weight, reduction)


def _huber(xp: Any, error: Any, delta: float) -> Any:
    # With c the error cut off at +-delta, c (error - c/2) is both branches in one, and its slope is c.
    cut = xp.clip(error, -delta, delta)
    return cut * (error - 0.5 * cut)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None) -> Any:
    """error**2 / 2 where |error| <= delta, and delta (|error| - delta/2) beyond (Huber 1964).

    Arguments, result and errors: `mse_loss`, but the mean is over the elements, whatever the weights; ``delta`` must
    be above 0.

    >>> import portanet
    >>> portanet.nn.functional.huber_loss(portanet.asarray([1.0, 5.0]), portanet.asarray([0.0, 0.0]), "none", delta=2.0)
    tensor([0.5, 8. ])
    """
    require_positive("huber_loss", "delta", delta)
    xp, input, target, weight = _three("huber_loss", input, target, weight, reduction)
    losses = _huber(xp, input - target, delta)
    return reduced(xp, losses if weight is None else losses * weight, reduction)


def smooth_l1_loss(input: Any, target: Any, *, reduction: str = "mean", beta: float = 1.0) -> Any:
    """error**2 / (2 beta) where |error| < beta, and |error| - beta/2 beyond: `huber_loss` over beta (Girshick 2015).

    Arguments, result and errors: `mse_loss`; ``beta`` must be at least 0, and with 0 this is `l1_loss`.

    >>> import portanet
    >>> error = portanet.asarray([1.0, 5.0])
    >>> portanet.nn.functional.smooth_l1_loss(error, portanet.zeros(2), reduction="none", beta=2.0)
    tensor([0.25, 4.  ])
    """
    require_positive("smooth_l1_loss", "beta", beta, zero=True)
    xp, input, target = alike("smooth_l1_loss", input, target, reduction)
    error = input - target
    return reduced(xp, xp.abs(error) if beta == 0 else _huber(xp, error, beta) / beta, reduction)


def kl_div(input: Any, target: Any, *, reduction: str = "mean", log_target: bool = False) -> Any:
    """The Kullback-Leibler divergence target (log(target) - input), where ``input`` holds log-probabilities.

    Where the target is 0 the loss is 0, whatever the input, and no gradient passes to the target.

    Args:
        input: logarithms of probabilities, real floating, any shape.
        target: probabilities, or with ``log_target`` their logarithms; of the same shape and dtype.
        reduction: ``"batchmean"`` (the sum over the length of the first axis: the divergence itself), ``"mean"`` over
            all elements, ``"sum"``, or ``"none"``.
        log_target: whether the target comes as logarithms.

    Returns and raises: as `mse_loss`.

    >>> import portanet
    >>> p, q = portanet.asarray([[0.5, 0.5]]), portanet.asarray([[1.0, 0.0]])
    >>> portanet.nn.functional.kl_div(portanet.log(p), q, reduction="batchmean")
    tensor(0.6931472)
    """
    xp, input, target = alike("kl_div", input, target, reduction, KL_REDUCTIONS)
    # Where the target is 0, log(target) is -inf, and the input may be.
    if log_target:
        p = xp.exp(target)
        log_p = xp.where(p == 0, xp.zeros_like(p), target)
    else:
        p = target
        log_p = xp.log(xp.where(p == 0, xp.ones_like(p), p))
    losses = p * xp.where(p == 0, xp.zeros_like(p), log_p - input)
    if reduction == "batchmean":
        return xp.sum(losses) / (input.shape[0] if input.ndim else 1)
    return reduced(xp, losses, reduction)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, *, reduction: str = "mean") -> Any:
    """-target log(input) - (1 - target) log(1 - input), no logarithm counted below -100.

    After a sigmoid take `binary_cross_entropy_with_logits` instead, which is exact where the sigmoid is 0 or 1.

    Args:
        input: probabilities from 0 to 1, real floating, any shape.
        target: from 0 to 1, of the same shape and dtype.
        weight: a factor for each element, of the same dtype and of a shape that broadcasts to the input's, or None.
        reduction: ``"mean"`` (over all elements, whatever the weights), ``"sum"`` or ``"none"``.

    Raises:
        TypeError: an argument is no array, or not real floating, or the dtypes differ.
        ValueError: the shapes differ, another ``reduction``, or a number outside 0 to 1. The numbers are looked at
            where that means no waiting: on NumPy, and in PyTorch and JAX on the CPU. Elsewhere an input outside gives
            nan.

    >>> import portanet
    >>> portanet.nn.functional.binary_cross_entropy(portanet.asarray([0.5, 1.0]), portanet.asarray([1.0, 1.0]))
    tensor(0.3465736)
    """
    name = "binary_cross_entropy"
    input, target, weight = together(name, input, target, weight)
    xp, input, target = alike(name, input, target, reduction)
    losses = xp.binary_cross_entropy(input, target)
    return reduced(xp, weighted(name, losses, weight, input), reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """`binary_cross_entropy` of sigmoid(input), computed without the logarithm of 0.

    Args:
        input: logits, real floating, any shape.
        target: from 0 to 1, of the same shape and dtype.
        weight: a factor for each element, of the same dtype and of a shape that broadcasts to the input's, or None.
        reduction: ``"mean"`` (over all elements, whatever the weights), ``"sum"`` or ``"none"``.
        pos_weight: a factor for the part of the loss that has ``target``, broadcast likewise: how much more a
            missed positive counts than a false one.

    Raises:
        TypeError: an argument is no array, or not real floating, or the dtypes differ.
        ValueError: the shapes differ, or another ``reduction``.

    >>> import portanet
    >>> logits, target = portanet.asarray([0.0, 1000.0]), portanet.asarray([1.0, 0.0])
    >>> portanet.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    tensor(1000.6932)
    """
    name = "binary_cross_entropy_with_logits"
    input, target, weight, pos_weight = together(name, input, target, weight, pos_weight)
    xp, input, target = alike(name, input, target, reduction)
    losses = xp.sigmoid_cross_entropy(input, target)
    if pos_weight is not None:
        require_broadcast(name, "pos_weight", pos_weight, input)
        require_dtype(name, "pos_weight", pos_weight, input)
        losses = losses + (pos_weight - 1) * target * xp.softplus(-input, beta=1.0, threshold=math.inf)
    return reduced(xp, weighted(name, losses, weight, input), reduction)


# ---------------------------------------------------------------------------------------------------------------------
# Between scores of classes and the right class


def _classes_last(xp: Any, x: Any) -> Any:
    return x if x.ndim < 3 else xp.moveaxis(x, 1, -1)


def _over_examples(
    xp: Any, losses: Any, scores: Any, target: Any, weight: Any, ignore_index: int, reduction: str
) -> Any:
    """The losses reduced; the mean is over the weights of the examples that are not ignored, as PyTorch has it."""
    if reduction != "mean":
        return reduced(xp, losses, reduction)
    if weight is None:
        shares = xp.astype(target != ignore_index, losses.dtype)
    else:
        shares = _class_weights(xp, scores, target, weight, ignore_index)
    return xp.sum(losses) / xp.sum(shares)


def _class_weights(xp: Any, scores: Any, target: Any, weight: Any, ignore_index: int) -> Any:
    return xp.pick_class(xp.broadcast_to(weight, scores.shape), target, ignore_index=ignore_index)


def nll_loss(input: Any, target: Any, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """The negative log-likelihood -input[target], where ``input`` holds log-probabilities of classes.

    Arguments, result and errors: `cross_entropy` with class indices, but the input has been through `log_softmax`.

    >>> import portanet
    >>> log_p = portanet.log(portanet.asarray([[0.5, 0.5], [0.25, 0.75]]))
    >>> portanet.nn.functional.nll_loss(log_p, portanet.asarray([0, 1]), reduction="none")
    tensor([0.6931472, 0.2876821])
    """
    name = "nll_loss"
    require_reduction(name, reduction)
    input, target, weight = together(name, input, target, weight)
    xp = real_namespace(name, input)
    target = class_indices(name, xp, target, input)
    require_class_weight(name, weight, input)
    scores = _classes_last(xp, input)
    losses = 0 - xp.pick_class(scores, target, ignore_index=ignore_index)  # not -x: no loss should read -0
    if weight is not None:
        losses = losses * _class_weights(xp, scores, target, weight, ignore_index)
    return _over_examples(xp, losses, scores, target, weight, ignore_index, reduction)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-log softmax(input)[target]: the cross entropy between logits and classes, or probabilities of classes.

    Args:
        input: logits, real floating, shape (C,), (N, C) or (N, C, d1, ...).
        target: class indices from 0 to C - 1, of any integer dtype and of the input's shape without C; or
            probabilities of classes, of the input's shape and dtype.
        weight: a factor for each class, shape (C,), of the input's dtype, or None.
        ignore_index: examples with this index count for nothing. Not for probabilities.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each example. With indices the mean is over the
            weights of the examples that count (nan where none does), with probabilities over the examples.
        label_smoothing: this part, from 0 to 1, of each target is spread evenly over the classes (Szegedy and
            others 2016).

    Returns:
        no axes, or for ``"none"`` the input's shape without C; the dtype of the input.

    Raises:
        TypeError: an argument is no array, or the dtypes do not go together.
        ValueError: the shapes do not go together, or another ``reduction`` or ``label_smoothing``.
        IndexError: an index names no class. It is looked for where that means no waiting: on NumPy, and in PyTorch
            and JAX on the CPU. Elsewhere, as on a GPU, the loss is nan then.

    >>> import portanet
    >>> logits = portanet.asarray([[0.0, 0.0], [1000.0, 0.0]])
    >>> portanet.nn.functional.cross_entropy(logits, portanet.asarray([1, 0]), reduction="none")
    tensor([0.6931472, 0.       ])
    """
    name = "cross_entropy"
    if reduction not in REDUCTIONS:
        require_reduction(name, reduction)
    if label_smoothing != 0:
        require_smoothing(name, label_smoothing)
    input, target, weight = together(name, input, target, weight)
    xp = real_namespace(name, input)
    if weight is not None:
        require_class_weight(name, weight, input)
    x, t = raw_of(input), raw_of(target)
    library = namespace_of(x)
    if library.dtypes[t.dtype].kind == "real floating":
        return _with_probabilities(xp, input, target, weight, ignore_index, reduction, label_smoothing)
    target = class_indices(name, xp, target, input)
    scores = _classes_last(xp, input)
    formula = xp.cross_entropy_of_scores if library.keeps_scores() else xp.softmax_cross_entropy
    if weight is None and label_smoothing == 0:
        return formula(scores, target, ignore_index=ignore_index, reduction=reduction)[0]
    losses, _ = formula(scores, target, ignore_index=ignore_index, reduction="none")
    if weight is not None:
        losses = losses * _class_weights(xp, scores, target, weight, ignore_index)
    if label_smoothing > 0:
        even = _even_losses(xp, scores, target, weight, ignore_index)
        losses = (1 - label_smoothing) * losses + (label_smoothing / scores.shape[-1]) * even
    return _over_examples(xp, losses, scores, target, weight, ignore_index, reduction)


def _even_losses(xp: Any, scores: Any, target: Any, weight: Any, ignore_index: int) -> Any:
    """For each example the losses of all classes together, 0 where it is ignored."""
    logs = xp.log_softmax(scores, axis=-1)
    losses = -xp.sum(logs if weight is None else logs * weight, axis=-1)
    return xp.where(target == ignore_index, xp.zeros_like(losses), losses)


def _with_probabilities(
    xp: Any, input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, label_smoothing: float
) -> Any:
    name = "cross_entropy"
    if ignore_index >= 0:
        raise ValueError(f"{name}: ignore_index={ignore_index} is for class indices, the target holds probabilities.")
    require_shape(name, "target of probabilities", target, input.shape, input)
    require_dtype(name, "target", target, input)
    scores, p = _classes_last(xp, input), _classes_last(xp, target)
    if label_smoothing > 0:
        p = (1 - label_smoothing) * p + label_smoothing / scores.shape[-1]
    logs = xp.log_softmax(scores, axis=-1)
    return reduced(xp, -xp.sum(p * (logs if weight is None else logs * weight), axis=-1), reduction)
