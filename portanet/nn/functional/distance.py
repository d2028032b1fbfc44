"""Lengths of vectors, distances and angles between them, along one axis."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._arguments import real_namespace, require_axis, require_dtype, together
from portanet.nn.functional._checks import raw_of
from portanet.nn.functional._precision import widened

__all__ = ["cosine_similarity", "normalize", "pairwise_distance", "pdist"]


def require_order(name: str, p: float) -> None:
    """Raise ValueError unless ``p`` is the p of a norm: a number from 0 to inf."""
    if not p >= 0:
        raise ValueError(f"{name}: p={p}; expected a number >= 0, or inf.")


def lengths(xp: Any, x: Any, p: float, axis: int | tuple[int, ...]) -> Any:
    """(sum |x|^p)^(1/p) over ``axis``, which stays with length 1: the largest \\|x| for inf, how many are not 0 for 0.

    Where all is 0, the gradient is 0, one of the subgradients.
    """
    if p == 0:
        return xp.sum(xp.abs(xp.sign(x)), axis=axis, keepdims=True)
    if p == math.inf and 0 not in x.shape:
        return xp.max(xp.abs(x), axis=axis, keepdims=True)
    if p == 1 or 0 in x.shape:
        return xp.sum(xp.abs(x), axis=axis, keepdims=True)
    if p == 2:
        powers = x * x
    else:
        # A root has no slope at 0, and a power below 1 neither: clean what goes in, and put the 0 in its place after.
        zero = x == 0
        powers = xp.where(zero, xp.zeros_like(x), xp.abs(xp.where(zero, xp.ones_like(x), x)) ** p)
    total = xp.sum(powers, axis=axis, keepdims=True)
    empty = total == 0
    full = xp.where(empty, xp.ones_like(total), total)
    return xp.where(empty, xp.zeros_like(total), xp.sqrt(full) if p == 2 else full ** (1 / p))


def normalize(input: Any, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Any:
    """x / max(\\|x|, eps), \\|x| being the p-norm along ``dim``: vectors of length 1.

    Args:
        input: real floating, of any shape.
        p: the p of the norm, from 0 to inf.
        dim: the axis that the vectors lie along, or several.
        eps: what shorter vectors are divided by.

    Returns:
        of the shape and dtype of the input. A vector of zeros stays one.

    Raises:
        TypeError: ``input`` is no array, or not real floating.
        IndexError: ``dim`` is no axis of the input.
        ValueError: ``p`` is negative.

    >>> import portanet
    >>> portanet.nn.functional.normalize(portanet.asarray([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6, 0.8],
            [0. , 0. ]])
    """
    require_order("normalize", p)
    xp, input = real_namespace("normalize", input), widened(input)
    axes = dim if isinstance(dim, tuple) else (dim,)
    for axis in axes:
        require_axis("normalize", axis, input)
    return input / _at_least(xp, lengths(xp, input, p, axes), eps)


def _at_least(xp: Any, x: Any, eps: float) -> Any:
    # Not maximum, which would halve the slope where the two are equal.
    return xp.where(x < eps, xp.full_like(x, eps), x)


def _of_two(name: str, x1: Any, x2: Any) -> tuple[Any, Any, Any]:
    """The library and the two arrays, of one dtype and of shapes that broadcast."""
    x1, x2 = together(name, x1, x2)
    xp = real_namespace(name, x1)
    require_dtype(name, "second input", x2, x1)
    a, b = tuple(x1.shape), tuple(x2.shape)
    length = min(len(a), len(b))
    pairs = zip(a[len(a) - length :], b[len(b) - length :], strict=True)
    if any([n != m and 1 not in (n, m) for n, m in pairs]):
        raise ValueError(f"{name}: the inputs have shapes {a} and {b}, which do not broadcast to one.")
    return xp, x1, x2


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors: x1 . x2 / (max(\\|x1|, eps) max(\\|x2|, eps)).

    Args:
        x1, x2: real floating, of one dtype, and of shapes that broadcast to one.
        dim: the axis of that shape which the vectors lie along; it is gone in the result.
        eps: the least length that is divided by.

    Raises:
        TypeError: an input is no array, or not real floating; the dtypes differ.
        IndexError: ``dim`` is no axis.
        ValueError: the shapes do not broadcast.

    >>> import portanet
    >>> x = portanet.asarray([[3.0, 4.0], [0.0, 2.0]])
    >>> portanet.nn.functional.cosine_similarity(x, portanet.asarray([[4.0, 3.0]]))
    tensor([0.96, 0.6 ])
    """
    xp, x1, x2 = _of_two("cosine_similarity", x1, x2)
    x1, x2 = xp.broadcast_arrays(x1, x2)
    require_axis("cosine_similarity", dim, x1)
    x1, x2 = [x / _at_least(xp, lengths(xp, x, 2, dim), eps) for x in (x1, x2)]
    return xp.sum(x1 * x2, axis=dim)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """The p-norm of x1 - x2 + eps along the last axis.

    Args:
        x1, x2: real floating, of one dtype, and of shapes that broadcast to one with at least one axis.
        p: the p of the norm, from 0 to inf.
        eps: added to each difference, so that equal vectors have a gradient.
        keepdim: keep the last axis, with length 1.

    Raises:
        TypeError: an input is no array, or not real floating; the dtypes differ.
        ValueError: the shapes do not broadcast, there is no axis, or ``p`` is negative.

    >>> import portanet
    >>> x = portanet.asarray([[3.0, 4.0], [0.0, 2.0]])
    >>> portanet.nn.functional.pairwise_distance(x, portanet.zeros(2), eps=0.0)
    tensor([5., 2.])
    """
    require_order("pairwise_distance", p)
    xp, x1, x2 = _of_two("pairwise_distance", x1, x2)
    if max(x1.ndim, x2.ndim) == 0:
        raise ValueError("pairwise_distance: the inputs have no axis; expected vectors (..., D).")
    distances = lengths(xp, x1 - x2 + eps, p, -1)
    return distances if keepdim else xp.squeeze(distances, axis=-1)


def pdist(input: Any, p: float = 2.0) -> Any:
    """The p-norm distances of all pairs of rows, each pair once: (0, 1), (0, 2), ..., (1, 2), ....

    Args:
        input: real floating, shape (N, M).
        p: the p of the norm, from 0 to inf.

    Returns:
        of shape (N (N - 1) / 2,): the triangle above the diagonal of all distances, row by row. Between equal rows the
        gradient is 0.

    Raises:
        TypeError: ``input`` is no array, or not real floating.
        ValueError: ``input`` has not two axes, or ``p`` is negative.

    >>> import portanet
    >>> portanet.nn.functional.pdist(portanet.asarray([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
    tensor([5.       , 1.       , 4.2426405])
    """
    require_order("pdist", p)
    xp, input = real_namespace("pdist", input), widened(input)
    if input.ndim != 2:
        raise ValueError(f"pdist: expected an input of shape (N, M), saw {tuple(input.shape)}.")
    first, second = _pairs(raw_of(input))
    differences = xp.take(input, first, axis=0) - xp.take(input, second, axis=0)
    return xp.squeeze(lengths(xp, differences, p, -1), axis=-1)


def _pairs(x: Any) -> tuple[Any, Any]:
    """The numbers i < j of all pairs of rows of the raw array ``x``, in order."""
    xp, count = namespace_of(x), x.shape[0]
    rows = xp.positions(x)
    # Row i has count - 1 - i pairs; where they start tells the row of each.
    starts = rows * (count - 1) - (rows * (rows - 1)) // 2
    places = xp.arange(count * (count - 1) // 2, dtype=rows.dtype, device=xp.device_of(x))
    first = xp.astype(xp.searchsorted(starts, places, side="right"), rows.dtype) - 1
    # The last row starts where the pairs end, so no place is there.
    return first, places - xp.take(starts, first) + first + 1
