"""Sums, products, extrema, truth over axes, and their running forms."""

from __future__ import annotations

from typing import Any

from portanet.library import namespace_of
from portanet.tensor import Tensor, apply

__all__ = [
    "all", "any", "cumulative_prod", "cumulative_sum", "diff", "max", "mean", "min", "prod", "std", "sum", "var",
]  # fmt: skip


def _typed(x: Any, dtype: Any) -> dict[str, Any]:
    """``dtype=`` as the library of ``x`` wants it; nothing where it was not given."""
    if dtype is None:
        return {}
    return {"dtype": namespace_of(x._raw if isinstance(x, Tensor) else x).raw_dtype(dtype)}


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The sum of the elements over ``axis`` (an int, a tuple, or None for all), in ``dtype`` if given.

    >>> import portanet
    >>> portanet.sum(portanet.asarray([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    tensor([4., 6.])
    """
    return apply("sum", x, axis=axis, keepdims=keepdims, **_typed(x, dtype))


def mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over ``axis`` (an int, a tuple, or None for all).

    >>> import portanet
    >>> portanet.mean(portanet.asarray([1.0, 2.0, 6.0]))
    tensor(3.)
    """
    return apply("mean", x, axis=axis, keepdims=keepdims)


def prod(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The product of the elements over ``axis``. Its gradient is right where elements are zero.

    >>> import portanet
    >>> portanet.prod(portanet.asarray([1.0, 2.0, 3.0]))
    tensor(6.)
    """
    return apply("prod", x, axis=axis, keepdims=keepdims, **_typed(x, dtype))


def max(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The largest element over ``axis``. Where several share that place, they share its gradient alike.

    >>> import portanet
    >>> portanet.max(portanet.asarray([[1.0, 5.0], [4.0, 2.0]]), axis=1)
    tensor([5., 4.])
    """
    return apply("max", x, axis=axis, keepdims=keepdims)


def min(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The smallest element over ``axis``. Where several share that place, they share its gradient alike.

    >>> import portanet
    >>> portanet.min(portanet.asarray([[1.0, 5.0], [4.0, 2.0]]), axis=1)
    tensor([1., 2.])
    """
    return apply("min", x, axis=axis, keepdims=keepdims)


def var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over ``axis``: sum((x - mean)**2) / (N - correction).

    >>> import portanet
    >>> portanet.var(portanet.asarray([1.0, 3.0]))
    tensor(1.)
    """
    return apply("var", x, axis=axis, correction=correction, keepdims=keepdims)


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation over ``axis``, the root of `var`. Its gradient is 0 where all elements are equal.

    >>> import portanet
    >>> portanet.std(portanet.asarray([1.0, 3.0]))
    tensor(1.)
    """
    return apply("std", x, axis=axis, correction=correction, keepdims=keepdims)


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """The running sum along ``axis``; with ``include_initial`` it starts from a 0 in front.

    >>> import portanet
    >>> portanet.cumulative_sum(portanet.asarray([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])
    """
    return apply("cumulative_sum", x, axis=axis, include_initial=include_initial, **_typed(x, dtype))


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """The running product along ``axis``; with ``include_initial`` it starts from a 1 in front.

    >>> import portanet
    >>> portanet.cumulative_prod(portanet.asarray([1.0, 2.0, 3.0]))
    tensor([1., 2., 6.])
    """
    return apply("cumulative_prod", x, axis=axis, include_initial=include_initial, **_typed(x, dtype))


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """The n-th difference of neighbours along ``axis``, after joining ``prepend`` and ``append`` to the ends.

    >>> import portanet
    >>> portanet.diff(portanet.asarray([1.0, 4.0, 9.0]))
    tensor([3., 5.])
    """
    parts = [part for part in (prepend, x, append) if part is not None]
    if len(parts) > 1:
        x = apply("concatenated", *parts, axis=axis)
    length = x.shape[axis]  # after that many differences nothing is left, and more change nothing
    return apply("diff", x, axis=axis, n=length if n > length else n)


def all(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether all elements over ``axis`` are true (not zero).

    >>> import portanet
    >>> portanet.all(portanet.asarray([True, False]))
    tensor(False)
    """
    return apply("all", x, axis=axis, keepdims=keepdims)


def any(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether any element over ``axis`` is true (not zero).

    >>> import portanet
    >>> portanet.any(portanet.asarray([True, False]))
    tensor(True)
    """
    return apply("any", x, axis=axis, keepdims=keepdims)
