"""Searching, sorting, sets, and reading by index."""

from __future__ import annotations

from typing import Any, NamedTuple

from portanet.backend import get_default_dtype
from portanet.dtypes import bool_, complex_of, int64
from portanet.library import kind_of
from portanet.namespace.creation import full_like
from portanet.tensor import Tensor, apply

__all__ = [
    "argmax", "argmin", "argsort", "count_nonzero", "isin", "nonzero", "searchsorted", "sort", "take",
    "take_along_axis", "unique_all", "unique_counts", "unique_inverse", "unique_values", "where",
]  # fmt: skip


class UniqueAllResult(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCountsResult(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverseResult(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def argmax(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the largest element along ``axis`` is; the first where several are.

    >>> import portanet
    >>> portanet.argmax(portanet.asarray([1.0, 3.0, 2.0]))
    tensor(1)
    """
    return apply("argmax", x, axis=axis, keepdims=keepdims)


def argmin(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the smallest element along ``axis`` is; the first where several are.

    >>> import portanet
    >>> portanet.argmin(portanet.asarray([1.0, 3.0, 2.0]))
    tensor(0)
    """
    return apply("argmin", x, axis=axis, keepdims=keepdims)


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """How many elements over ``axis`` are not zero.

    >>> import portanet
    >>> portanet.count_nonzero(portanet.asarray([1.0, 0.0, 2.0]))
    tensor(2)
    """
    return apply("count_nonzero", x, axis=axis, keepdims=keepdims)


def nonzero(x: Any, /) -> tuple[Tensor, ...]:
    """The indices of the elements that are not zero, one array an axis.

    >>> import portanet
    >>> portanet.nonzero(portanet.asarray([1.0, 0.0, 2.0]))
    (tensor([0, 2]),)
    """
    found: tuple[Tensor, ...] = apply("nonzero", x)
    return found


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Tensor:
    """Where each element of ``x2`` would go into ``x1``, sorted and one-dimensional, for it to stay sorted.

    >>> import portanet
    >>> portanet.searchsorted(portanet.asarray([1.0, 3.0]), portanet.asarray([2.0]))
    tensor([1])
    """
    if sorter is not None:
        x1 = take(x1, sorter)
    return apply("searchsorted", x1, x2, side=side)


def where(condition: Any, x1: Any, x2: Any, /) -> Tensor:
    """``x1`` where the condition holds and ``x2`` elsewhere; all three broadcast together.

    The gradient of the branch not taken is 0 here; make sure that branch computes no infinity, though, for
    0 times infinity is nan: clean its input, not its result.

    >>> import portanet
    >>> x = portanet.asarray([-1.0, 2.0])
    >>> portanet.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    if not hasattr(x1, "dtype") and not hasattr(x2, "dtype"):
        # Of two numbers neither has a dtype that the result could take: it is the default one of their kind.
        kind = kind_of([x1, x2])
        default = {"f": get_default_dtype(), "c": complex_of(get_default_dtype())}.get(kind)
        x1 = full_like(condition, x1, dtype=default or {"b": bool_, "i": int64}[kind])
    return apply("where", condition, x1, x2)


def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Tensor:
    """The slices of ``x`` at whole-number ``indices`` (one-dimensional) along ``axis``.

    Repeated indices are right in the gradient too: they add up.

    >>> import portanet
    >>> portanet.take(portanet.asarray([10.0, 20.0, 30.0]), portanet.asarray([2, 0, 0]))
    tensor([30., 10., 10.])
    """
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take from shape {tuple(x.shape)} needs an axis.")
        axis = 0
    return apply("take", x, indices, axis=axis)


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Tensor:
    """For each place along the other axes, the elements at its own ``indices`` along ``axis``.

    >>> import portanet
    >>> x = portanet.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> portanet.take_along_axis(x, portanet.asarray([[1], [0]]))
    tensor([[2.],
            [3.]])
    """
    return apply("take_along_axis", x, indices, axis=axis)


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort ``x`` along ``axis``.

    >>> import portanet
    >>> portanet.argsort(portanet.asarray([3.0, 1.0, 2.0]))
    tensor([1, 2, 0])
    """
    return apply("argsort", x, axis=axis, descending=descending, stable=stable)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """``x`` sorted along ``axis``. Under the tape the order is fixed, and gradients go back by it.

    >>> import portanet
    >>> portanet.sort(portanet.asarray([3.0, 1.0, 2.0]))
    tensor([1., 2., 3.])
    """
    if isinstance(x, Tensor) and x.requires_grad:
        order = argsort(x, axis=axis, descending=descending, stable=stable)
        return take_along_axis(x, order, axis=axis)
    return apply("sort", x, axis=axis, descending=descending, stable=stable)


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    """Whether each element of ``x1`` occurs in ``x2`` (or, with ``invert``, does not).

    >>> import portanet
    >>> portanet.isin(portanet.asarray([1, 2]), portanet.asarray([2, 3]))
    tensor([False,  True])
    """
    return apply("isin", x1, x2, invert=invert)


def unique_all(x: Any, /) -> UniqueAllResult:
    """The distinct values, the first index and count of each, and which of them each element is.

    >>> import portanet
    >>> portanet.unique_all(portanet.asarray([2, 1, 2])).counts
    tensor([1, 2])
    """
    return UniqueAllResult(*apply("unique_all", x))


def unique_counts(x: Any, /) -> UniqueCountsResult:
    """The distinct values and how often each occurs.

    >>> import portanet
    >>> portanet.unique_counts(portanet.asarray([2, 1, 2])).values
    tensor([1, 2])
    """
    return UniqueCountsResult(*apply("unique_counts", x))


def unique_inverse(x: Any, /) -> UniqueInverseResult:
    """The distinct values and, for each element, which of them it is.

    >>> import portanet
    >>> portanet.unique_inverse(portanet.asarray([2, 1, 2])).inverse_indices
    tensor([1, 0, 1])
    """
    return UniqueInverseResult(*apply("unique_inverse", x))


def unique_values(x: Any, /) -> Tensor:
    """The distinct values.

    >>> import portanet
    >>> portanet.unique_values(portanet.asarray([2, 1, 2]))
    tensor([1, 2])
    """
    return apply("unique_values", x)
