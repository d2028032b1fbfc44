"""Scores of predictions: Python floats to print and compare, never part of a gradient.

Every function takes ``(prediction, target)``, in this order, as Tensors or arrays of one library, or as lists.
"""

from __future__ import annotations

import math
from typing import Any

from portanet.backend import get_backend
from portanet.doors import read
from portanet.library import is_array, namespace_of, require_same
from portanet.namespace.creation import asarray
from portanet.tensor import Tensor

__all__ = ["accuracy", "confusion_matrix", "mean_absolute_error", "mean_squared_error", "r2_score", "top_k_accuracy"]


def accuracy(prediction: Any, target: Any) -> float:
    """The fraction of predictions that hit their class.

    Args:
        prediction: scores (logits or probabilities) of shape (N, C, ...), of which the greatest along axis 1 counts,
            the first of equals; or classes, whole numbers or truth values, of the target's shape.
        target: the true classes, whole numbers from 0 to C - 1 or truth values, of shape (N, ...).

    Returns:
        a Python float from 0 to 1.

    Raises:
        ValueError: shapes that do not fit, a target class beyond C - 1 or below 0, no items.
        TypeError: a floating target, or floating predictions that are not scores of at least two classes.

    >>> import portanet
    >>> logits = portanet.asarray([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    >>> portanet.metrics.accuracy(logits, portanet.asarray([0, 1, 1]))
    0.6666666666666666
    """
    xp, prediction, target = _pair("accuracy", prediction, target)
    chosen, target = _classes("accuracy", xp, prediction, target)
    return read(int, xp.count_nonzero(chosen == target)) / math.prod(target.shape)


def top_k_accuracy(prediction: Any, target: Any, k: int = 5) -> float:
    """The fraction of items whose true class is among the ``k`` with the greatest scores.

    Args:
        prediction: scores of shape (N, C). Of equal scores the lower class comes first, so that ``k=1`` is `accuracy`.
            A NaN comes before all numbers, and a true class whose score is NaN is missed.
        target: the true classes, whole numbers from 0 to C - 1, of shape (N,).
        k: from 1 to C.

    Returns:
        a Python float from 0 to 1.

    Raises:
        ValueError: shapes that do not fit, ``k`` outside 1 to C, a target class outside 0 to C - 1, no items.
        TypeError: a floating target.

    >>> import portanet
    >>> scores = portanet.asarray([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    >>> portanet.metrics.top_k_accuracy(scores, portanet.asarray([1, 0]), k=2)
    0.5
    """
    name = "top_k_accuracy"
    xp, prediction, target = _pair(name, prediction, target)
    if prediction.ndim != 2:
        raise ValueError(f"{name}: prediction has shape {tuple(prediction.shape)}; scores (N, C) are needed.")
    if isinstance(k, bool) or not 1 <= k <= prediction.shape[1]:
        raise ValueError(f"{name}: k={k} with scores of {prediction.shape[1]} classes; k must be from 1 to that many.")
    _, target = _classes(name, xp, prediction, target)
    column = xp.reshape(target, (-1, 1))
    own = xp.take_along_axis(prediction, column, axis=1)
    places = xp.reshape(xp.astype(xp.positions(prediction, axis=1), target.dtype), (1, -1))
    # "Not at most" rather than "greater": comparisons with NaN are false, and must not make a class a winner.
    ahead = ~(prediction <= own) | ((prediction == own) & (places < column))
    rank = xp.count_nonzero(ahead, axis=1)
    hit = (rank < k) & (xp.reshape(own, (-1,)) == xp.reshape(own, (-1,)))
    return read(int, xp.count_nonzero(hit)) / target.shape[0]


def confusion_matrix(prediction: Any, target: Any, num_classes: int | None = None) -> Tensor:
    """How often each true class (row) was predicted as each class (column).

    Args:
        prediction: scores (N, C, ...) or classes of the target's shape, as in `accuracy`.
        target: the true classes, whole numbers or truth values, of shape (N, ...).
        num_classes: the number of rows and columns; None: C where scores are given, else the greatest class plus 1.

    Returns:
        a whole-number Tensor of shape (num_classes, num_classes), in the library and on the device of ``target``,
        whose elements add up to the number of items. Rows are the truth, as in scikit-learn.

    Raises:
        ValueError: shapes that do not fit, a class below 0 or beyond the last, no items.
        TypeError: as in `accuracy`.

    >>> import portanet
    >>> portanet.metrics.confusion_matrix(portanet.asarray([0, 1, 1, 2]), portanet.asarray([0, 1, 2, 2]))
    tensor([[1, 0, 0],
            [0, 1, 0],
            [0, 1, 1]])
    """
    name = "confusion_matrix"
    xp, prediction, target = _pair(name, prediction, target)
    scored = prediction.ndim == target.ndim + 1
    chosen, target = _classes(name, xp, prediction, target)
    count = num_classes
    if count is None:
        count = prediction.shape[1] if scored else 1 + max(read(int, xp.max(chosen)), read(int, xp.max(target)))
    for what, classes in (("prediction", chosen), ("target", target)):
        _within(f"{name}: {what}", xp, classes, count)
    # Counted as wide as the backend can: small dtypes would wrap in rows * count.
    rows, columns = [xp.astype(xp.reshape(x, (-1,)), xp.positions(x).dtype) for x in (target, chosen)]
    places = rows * count + columns
    cells = xp.zeros(count * count, dtype=places.dtype, device=xp.device_of(places))
    return Tensor(xp.reshape(xp.scatter_add(cells, places, xp.ones_like(places)), (count, count)))


def mean_squared_error(prediction: Any, target: Any) -> float:
    """The mean of (prediction - target)**2 over all elements, as a Python float.

    Args:
        prediction: real numbers of any shape.
        target: real numbers of the same shape.

    Raises:
        ValueError: shapes that differ (they are never broadcast), or no elements.
        TypeError: complex numbers.

    >>> import portanet
    >>> portanet.metrics.mean_squared_error(portanet.asarray([1.0, 2.0]), portanet.asarray([1.0, 4.0]))
    2.0
    """
    xp, prediction, target = _numbers("mean_squared_error", prediction, target)
    difference = prediction - target
    return read(float, xp.mean(difference * difference))


def mean_absolute_error(prediction: Any, target: Any) -> float:
    """The mean of |prediction - target| over all elements, as a Python float.

    Args:
        prediction: real numbers of any shape.
        target: real numbers of the same shape.

    Raises:
        ValueError: shapes that differ (they are never broadcast), or no elements.
        TypeError: complex numbers.

    >>> import portanet
    >>> portanet.metrics.mean_absolute_error(portanet.asarray([1.0, 2.0]), portanet.asarray([1.0, 4.0]))
    1.0
    """
    xp, prediction, target = _numbers("mean_absolute_error", prediction, target)
    return read(float, xp.mean(xp.abs(prediction - target)))


def r2_score(prediction: Any, target: Any) -> float:
    """The coefficient of determination, 1 - sum((target - prediction)**2) / sum((target - mean(target))**2).

    1 is perfect, 0 no better than the mean of the target, below 0 worse (Draper and Smith, Applied Regression
    Analysis). With several columns, it is the mean of the columns' values. A column whose target is constant counts 1
    where it is met exactly and 0 elsewhere, as in scikit-learn.

    Args:
        prediction: real numbers of shape (N, ...), N at least 2.
        target: real numbers of the same shape.

    Returns:
        a Python float, at most 1.

    Raises:
        ValueError: shapes that differ (they are never broadcast), or fewer than two items.
        TypeError: complex numbers.

    >>> import portanet
    >>> target = portanet.asarray([1.0, 2.0, 3.0])
    >>> portanet.metrics.r2_score(portanet.asarray([1.0, 2.0, 4.0]), target)
    0.5
    """
    xp, prediction, target = _numbers("r2_score", prediction, target)
    if target.ndim == 0 or target.shape[0] < 2:
        raise ValueError(f"r2_score: shape {tuple(target.shape)}; it needs at least two items along the first axis.")
    prediction, target = [xp.reshape(x, (x.shape[0], -1)) for x in (prediction, target)]
    rest = xp.sum((target - prediction) * (target - prediction), axis=0)
    centred = target - xp.mean(target, axis=0, keepdims=True)
    spread = xp.sum(centred * centred, axis=0)
    # A constant column may leave rounding in its mean, so constancy is read off the values themselves.
    constant = xp.max(target, axis=0) == xp.min(target, axis=0)
    ones, zeros = xp.ones_like(rest), xp.zeros_like(rest)
    without = xp.where(rest == zeros, ones, zeros)
    return read(float, xp.mean(xp.where(constant, without, ones - rest / xp.where(constant, ones, spread))))


# ---------------------------------------------------------------------------------------------------------------------
# What the functions above accept.


def _pair(name: str, prediction: Any, target: Any) -> tuple[Any, Any, Any]:
    """The library of the two arrays and the arrays themselves: no Tensors, so that nothing is recorded."""
    prediction, target = [x if is_array(x) else asarray(x) for x in (prediction, target)]
    prediction, target = [x.array if isinstance(x, Tensor) else x for x in (prediction, target)]
    require_same(name, prediction, target)
    if 0 in target.shape or 0 in prediction.shape:
        raise ValueError(f"{name}: no items (shapes {tuple(prediction.shape)} and {tuple(target.shape)}).")
    return namespace_of(prediction), prediction, target


def _classes(name: str, xp: Any, prediction: Any, target: Any) -> tuple[Any, Any]:
    """The predicted and the true classes, as whole numbers of the target's shape."""
    shapes = f"prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)}"
    if not xp.isdtype(target.dtype, ("integral", "bool")):
        raise TypeError(f"{name}: target has dtype {target.dtype}; classes must be whole numbers or truth values.")
    if xp.isdtype(target.dtype, "bool"):
        target = xp.astype(target, xp.positions(xp.reshape(target, (-1,))).dtype)
    if prediction.ndim == target.ndim + 1:
        if prediction.shape[:1] + prediction.shape[2:] != target.shape:
            raise ValueError(f"{name}: {shapes}; scores (N, C, ...) go with classes (N, ...).")
        if prediction.shape[1] == 1:
            raise ValueError(
                f"{name}: {shapes}; one score decides nothing by its greatest. For two classes and one logit, pass "
                "classes: logit[:, 0] > 0."
            )
        _within(f"{name}: target", xp, target, prediction.shape[1])
        chosen = xp.argmax(prediction, axis=1)
        return chosen, xp.astype(target, chosen.dtype)  # not the other way: a small dtype would wrap class 256 to 0
    if prediction.shape != target.shape:
        raise ValueError(f"{name}: {shapes}; scores (N, C, ...) or classes (N, ...) go with classes (N, ...).")
    if not xp.isdtype(prediction.dtype, ("integral", "bool")):
        raise TypeError(
            f"{name}: prediction has dtype {prediction.dtype} and the shape of the target, so it should hold classes, "
            "which are whole numbers or truth values; for one logit an item, pass logit > 0."
        )
    if xp.isdtype(prediction.dtype, "bool"):
        prediction = xp.astype(prediction, target.dtype)
    return prediction, target


def _within(what: str, xp: Any, classes: Any, count: int) -> None:
    low, high = read(int, xp.min(classes)), read(int, xp.max(classes))
    if low < 0 or high >= count:
        raise ValueError(f"{what} has class {low if low < 0 else high}, and there are classes 0 to {count - 1}.")


def _numbers(name: str, prediction: Any, target: Any) -> tuple[Any, Any, Any]:
    """Two real floating arrays of one shape, wide enough to add up."""
    xp, prediction, target = _pair(name, prediction, target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name}: prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)}; they must be "
            "equal. portanet.reshape, or prediction[:, 0] for one output, makes them so."
        )
    return xp, _wide(name, xp, prediction), _wide(name, xp, target)


def _wide(name: str, xp: Any, x: Any) -> Any:
    if xp.isdtype(x.dtype, "complex floating"):
        raise TypeError(f"{name}: {x.dtype} numbers have no order; pass real ones.")
    if not xp.isdtype(x.dtype, "real floating"):
        return xp.astype(x, xp.raw_dtype(get_backend().dtype))
    # Half-width sums lose their last items: 2048 + 1 is 2048 in float16.
    return xp.astype(x, xp.float32) if xp.dtype_of(x.dtype).itemsize == 2 else x
