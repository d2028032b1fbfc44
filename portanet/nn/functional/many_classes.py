"""Losses whose scores are the last linear map of a network: over classes so many that the map is part of the loss."""

from __future__ import annotations

import math
from typing import Any

from portanet.nn.functional._checks import common_namespace, raw_of
from portanet.nn.functional.linear import linear
from portanet.nn.functional.loss import cross_entropy

__all__ = ["linear_cross_entropy"]


def refuse_options(name: str, options: Any) -> None:
    """Raise ValueError unless ``options``, PyTorch's way to ask for scores piece by piece, are None."""
    if options is not None:
        raise ValueError(f"{name}: options={options!r}; the scores are computed in one piece here, leave it out.")


def linear_cross_entropy(
    input: Any,
    linear_weight: Any,
    target: Any,
    *,
    linear_bias: Any = None,
    weight: Any = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: None = None,
) -> Any:
    """`cross_entropy` of `linear`: the scores of the classes are input linear_weight^T + linear_bias.

    Args:
        input: real floating, shape (in_features,) or (N, in_features).
        linear_weight: of the same dtype, shape (C, in_features); or (C, d1, ..., in_features) for N examples with
            several targets each.
        target: class indices of shape (), (N,) or (N, d1, ...); or probabilities with C before d1.
        linear_bias: shape (C,) or (C, d1, ...), or None.
        weight: a factor for each class, shape (C,), or None.
        reduction: as in `cross_entropy`.
        ignore_index: examples with this index count for nothing; None is -100.
        label_smoothing: as in `cross_entropy`.
        options: kept for PyTorch's sake, which can compute the scores piece by piece; only None is possible.

    Returns:
        no axes, or for ``"none"`` the shape of the target of indices; the dtype of the input.

    Raises:
        TypeError: an argument is no array, or the dtypes do not go together.
        ValueError: the shapes do not go together, or as in `cross_entropy`.
        IndexError: an index names no class, as in `cross_entropy`.

    >>> import portanet
    >>> x, w = portanet.asarray([[1.0, 2.0]]), portanet.asarray([[3.0, 4.0], [3.0, 4.0]])
    >>> portanet.nn.functional.linear_cross_entropy(x, w, portanet.asarray([1]))
    tensor(0.6931472)
    """
    name = "linear_cross_entropy"
    refuse_options(name, options)
    x, w = raw_of(input), raw_of(linear_weight)
    if x.ndim not in (1, 2) or w.ndim < 2 or (x.ndim == 1 and w.ndim > 2):
        raise ValueError(
            f"{name}: expected an input of shape (in_features,) or (N, in_features) and a linear_weight of shape "
            "(C, in_features), or (C, d1, ..., in_features) where there is an N; saw "
            f"{tuple(x.shape)} and {tuple(w.shape)}."
        )
    scores = tuple(w.shape[:-1])
    if linear_bias is not None and tuple(raw_of(linear_bias).shape) != scores:
        raise ValueError(
            f"{name}: linear_bias has shape {tuple(linear_bias.shape)}, expected {scores} for a linear_weight of shape "
            f"{tuple(w.shape)}."
        )
    xp = common_namespace(input, linear_weight, linear_bias)
    rows = xp.reshape(linear_weight, (math.prod(scores), w.shape[-1]))
    bias = None if linear_bias is None else xp.reshape(linear_bias, (math.prod(scores),))
    logits = xp.reshape(linear(input, rows, bias), (*x.shape[:-1], *scores))
    return cross_entropy(
        logits,
        target,
        weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
