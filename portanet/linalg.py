"""Linear algebra on Tensors: the standard's ``linalg`` extension, differentiable."""

from __future__ import annotations

from typing import Any

from portanet.tensor import Tensor, apply

__all__ = ["matmul", "matrix_transpose", "tensordot", "vecdot"]


def matmul(x1: Any, x2: Any, /) -> Tensor:
    """The matrix product over the last two axes; earlier axes broadcast, a single axis is a vector.

    >>> import portanet
    >>> portanet.matmul(portanet.asarray([[1.0, 2.0]]), portanet.asarray([3.0, 4.0]))
    tensor([11.])
    """
    return apply("matmul", x1, x2)


def matrix_transpose(x: Any, /) -> Tensor:
    """The last two axes swapped.

    >>> import portanet
    >>> portanet.matrix_transpose(portanet.ones((2, 3))).shape
    (3, 2)
    """
    return apply("matrix_transpose", x)


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Tensor:
    """The sum of products over ``axes``: the last ``axes`` of x1 with the first of x2, or two sequences of axes.

    >>> import portanet
    >>> portanet.tensordot(portanet.ones((2, 3)), portanet.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    axes = axes if isinstance(axes, int) else (tuple(axes[0]), tuple(axes[1]))
    return apply("tensordot", x1, x2, axes=axes)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The dot product along ``axis``, the first factor conjugated.

    >>> import portanet
    >>> portanet.vecdot(portanet.asarray([1.0, 2.0]), portanet.asarray([3.0, 4.0]))
    tensor(11.)
    """
    return apply("vecdot", x1, x2, axis=axis)
