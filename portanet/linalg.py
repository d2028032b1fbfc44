"""Linear algebra on Tensors: the standard's ``linalg`` extension, differentiable, for real and complex matrices.

Matrices are the last two axes; the axes before are a stack, each matrix treated alone. Derivatives of decompositions
need values that differ: where two eigenvalues or singular values are equal, their vectors have no derivative and a
gradient through them is nan; the values themselves have a first derivative there too.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from portanet.dtypes import complex_of
from portanet.library import namespace_of
from portanet.tape import recording
from portanet.tensor import Tensor, apply, cast

__all__ = [
    "EigResult", "EighResult", "QRResult", "SVDResult", "SlogdetResult", "cholesky", "cross", "det", "diagonal", "eig",
    "eigh", "eigvals", "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose",
    "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def _floating(name: str, x: Any) -> Tensor:
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind not in ("real floating", "complex floating"):
        raise TypeError(
            f"linalg.{name} needs a floating dtype, saw {x.dtype}; write portanet.astype(x, portanet.float32)."
        )
    return x


def _matrices(name: str, x: Any) -> Tensor:
    x = _floating(name, x)
    if x.ndim < 2:
        raise ValueError(f"linalg.{name} needs matrices, shape (..., M, N), saw shape {x.shape}.")
    return x


def _square(name: str, x: Any) -> Tensor:
    x = _matrices(name, x)
    if x.shape[-1] != x.shape[-2]:
        raise ValueError(f"linalg.{name} needs square matrices, shape (..., M, M), saw shape {x.shape}.")
    return x


def _tracked(x: Tensor) -> bool:
    return x.requires_grad and recording.get()


def _raw_option(value: Any) -> Any:
    return value._raw if isinstance(value, Tensor) else value


# ---------------------------------------------------------------------------------------------------------------------
# Products and parts.


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


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of three elements along ``axis``; the other axes broadcast.

    ``axis`` is counted from the end; from the front only where both arrays have the same number of axes.

    >>> import portanet
    >>> portanet.linalg.cross(portanet.asarray([1.0, 0.0, 0.0]), portanet.asarray([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    x1, x2 = [x if isinstance(x, Tensor) else Tensor(x) for x in (x1, x2)]
    if axis >= 0 and x1.ndim != x2.ndim:
        raise ValueError(
            f"linalg.cross: axis={axis} is not the same axis of shapes {x1.shape} and {x2.shape}; count from the end."
        )
    axis = axis if axis < 0 else axis - x1.ndim
    for x in (x1, x2):
        if x.ndim < -axis or axis >= 0 or x.shape[axis] != 3:
            raise ValueError(
                f"linalg.cross needs three elements along axis {axis}, saw shapes {x1.shape} and {x2.shape}."
            )
    return apply("linalg.cross", x1, x2, axis=axis)


def outer(x1: Any, x2: Any, /) -> Tensor:
    """All products of elements of two vectors: shape (M,), (N,) -> (M, N), y_ij = x1_i x2_j.

    >>> import portanet
    >>> portanet.linalg.outer(portanet.asarray([1.0, 2.0]), portanet.asarray([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    x1, x2 = [x if isinstance(x, Tensor) else Tensor(x) for x in (x1, x2)]
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"linalg.outer needs two vectors, shapes (M,) and (N,), saw {x1.shape} and {x2.shape}.")
    xp = namespace_of(x1)
    return xp.multiply(xp.expand_dims(x1, axis=1), x2)


def diagonal(x: Any, /, *, offset: int = 0) -> Tensor:
    """The elements x[..., i, i + offset] of each matrix.

    >>> import portanet
    >>> portanet.linalg.diagonal(portanet.asarray([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.ndim < 2:
        raise ValueError(f"linalg.diagonal needs matrices, shape (..., M, N), saw shape {x.shape}.")
    return apply("linalg.diagonal", x, offset=offset)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of the `diagonal` of each matrix, in ``dtype`` if given (else as `portanet.sum` chooses it).

    >>> import portanet
    >>> portanet.linalg.trace(portanet.asarray([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    y = diagonal(x, offset=offset)
    return namespace_of(y).sum(y, axis=-1, dtype=dtype)


def matrix_power(x: Any, n: int, /) -> Tensor:
    """The product of ``n`` copies of each square matrix; of its inverse for n < 0, the identity for n = 0.

    >>> import portanet
    >>> portanet.linalg.matrix_power(portanet.asarray([[1.0, 1.0], [0.0, 1.0]]), 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    x = _square("matrix_power", x)
    xp = namespace_of(x)
    if n == 0:
        rows = xp.expand_dims(xp.positions(x, axis=-1), axis=1)
        return xp.where(rows == xp.positions(x, axis=-1), xp.ones_like(x), xp.zeros_like(x))
    square, n = (x, n) if n > 0 else (inv(x), -n)
    result = None
    while True:  # one squaring for each binary digit of n
        if n % 2:
            result = square if result is None else matmul(result, square)
        n //= 2
        if n == 0:
            assert result is not None
            return result
        square = matmul(square, square)


# ---------------------------------------------------------------------------------------------------------------------
# Norms and sizes.


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """The length of vectors: (sum |x_i|^ord)^(1/ord), over ``axis`` (an int, a tuple, None for all elements).

    ``ord`` is any number; inf and -inf are the largest and smallest \\|x_i\\|, 0 counts the elements that are not 0.
    The gradient of the length of a zero vector is 0, one of its subgradients; ties share as in `portanet.max`.

    >>> import portanet
    >>> portanet.linalg.vector_norm(portanet.asarray([3.0, 4.0]))
    tensor(5.)
    """
    axis = tuple(axis) if isinstance(axis, list) else axis
    return apply("linalg.vector_norm", _floating("vector_norm", x), axis=axis, keepdims=keepdims, ord=ord)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """A norm of each matrix (..., M, N), real.

    Args:
        x: matrices of a floating dtype.
        keepdims: keep the two axes, with length 1.
        ord: ``"fro"``: the root of the sum of squares; ``"nuc"``: the sum of the singular values; 2, -2: the largest
            and smallest of them; 1, -1: the largest and smallest column sum of \\|x\\|; inf, -inf: of the row sums.

    The gradient at a zero matrix is 0, one of the subgradients; ties share as in `portanet.max`.

    >>> import portanet
    >>> portanet.linalg.matrix_norm(portanet.asarray([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    """
    x = _matrices("matrix_norm", x)
    xp = namespace_of(x)
    if ord == "fro":
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord == "nuc":
        norm = xp.sum(svdvals(x), axis=-1)
    elif ord in (1, -1, 2, -2, math.inf, -math.inf):
        sizes = svdvals(x) if ord in (2, -2) else xp.sum(xp.abs(x), axis=-2 if ord in (1, -1) else -1)
        norm = xp.max(sizes, axis=-1) if ord > 0 else xp.min(sizes, axis=-1)
    else:
        raise ValueError(
            f"linalg.matrix_norm: ord={ord!r} is not known; known are 'fro', 'nuc', 1, -1, 2, -2, inf, -inf."
        )
    return xp.expand_dims(norm, axis=(-2, -1)) if keepdims else norm


def matrix_rank(x: Any, /, *, rtol: Any = None) -> Tensor:
    """How many singular values of each matrix are above ``rtol`` times the largest (default: max(M, N) eps).

    Whole numbers, through which no gradient passes.

    >>> import portanet
    >>> portanet.linalg.matrix_rank(portanet.ones((3, 3)))
    tensor(1)
    """
    return apply("linalg.matrix_rank", _matrices("matrix_rank", x), rtol=_raw_option(rtol))


def det(x: Any, /) -> Tensor:
    """The determinant of each square matrix: (..., M, M) -> (...). The gradient, the cofactors, is right at any rank.

    >>> import portanet
    >>> portanet.linalg.det(portanet.asarray([[2.0, 0.0], [0.0, 3.0]]))
    tensor(6.)
    """
    return apply("linalg.det", _square("det", x))


def slogdet(x: Any, /) -> SlogdetResult:
    """The sign and the logarithm of the size of each determinant: det = sign exp(logabsdet), without overflow.

    A singular matrix has sign 0 and logarithm -inf, whose gradient is nan. The sign of a complex one has size 1.

    >>> import portanet
    >>> portanet.linalg.slogdet(portanet.asarray([[-1.0, 0.0], [0.0, 1.0]]))
    SlogdetResult(sign=tensor(-1.), logabsdet=tensor(0.))
    """
    return SlogdetResult(*apply("linalg.slogdet", _square("slogdet", x)))


# ---------------------------------------------------------------------------------------------------------------------
# Inverses and solutions.


def inv(x: Any, /) -> Tensor:
    """The inverse of each square matrix. A singular one is refused by the library, or gives inf or nan (JAX).

    >>> import portanet
    >>> portanet.linalg.inv(portanet.asarray([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    return apply("linalg.inv", _square("inv", x))


def solve(x1: Any, x2: Any, /) -> Tensor:
    """The solution of x1 @ y = x2 for square, regular x1 of shape (..., M, M).

    Args:
        x1: the matrices.
        x2: a single vector of shape (M,), or matrices of shape (..., M, K); the axes before broadcast with those of x1.

    Returns:
        shape (..., M) for a vector, (..., M, K) for matrices.

    Raises:
        ValueError: x1 is not square or x2 does not fit. A stack of vectors needs an axis more: x2[..., None].

    >>> import portanet
    >>> portanet.linalg.solve(portanet.asarray([[2.0, 0.0], [0.0, 4.0]]), portanet.asarray([1.0, 1.0]))
    tensor([0.5 , 0.25])
    """
    x1, x2 = _square("solve", x1), _floating("solve", x2)
    if x2.ndim == 0 or x2.shape[0 if x2.ndim == 1 else -2] != x1.shape[-1]:
        raise ValueError(
            f"linalg.solve: x1 has shape {x1.shape}, so x2 must be a vector of shape ({x1.shape[-1]},) or matrices of "
            f"shape (..., {x1.shape[-1]}, K), saw {x2.shape}; write x2[..., None] for a stack of vectors."
        )
    return apply("linalg.solve", x1, x2)


def pinv(x: Any, /, *, rtol: Any = None) -> Tensor:
    """The pseudoinverse of Moore and Penrose: (..., M, N) -> (..., N, M).

    Singular values up to ``rtol`` times the largest (default: max(M, N) eps) count as 0. The gradient holds
    as long as the rank stays the same (Golub and Pereyra 1973).

    >>> import portanet
    >>> portanet.linalg.pinv(portanet.asarray([[2.0], [0.0]]))
    tensor([[0.5, 0. ]])
    """
    return apply("linalg.pinv", _matrices("pinv", x), rtol=_raw_option(rtol))


# ---------------------------------------------------------------------------------------------------------------------
# Decompositions.


def cholesky(x: Any, /, *, upper: bool = False) -> Tensor:
    """The triangular L with x = L L^H, of Hermitian positive definite matrices; ``upper``: U = L^H with x = U^H U.

    The gradient is Hermitian, as the matrices are. Others are refused by the library, or give nan (JAX).

    >>> import portanet
    >>> portanet.linalg.cholesky(portanet.asarray([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    return apply("linalg.cholesky", _square("cholesky", x), upper=upper)


def qr(x: Any, /, *, mode: str = "reduced") -> QRResult:
    """x = Q R with the columns of Q orthonormal and R upper triangular.

    Args:
        x: matrices (..., M, N) of a floating dtype. For the gradient their first min(M, N) columns must be independent.
        mode: ``"reduced"``: Q (..., M, K), R (..., K, N) with K = min(M, N); ``"complete"``: K = M. The columns that
            this adds to Q where M > N are arbitrary: a gradient is refused there.

    >>> import portanet
    >>> Q, R = portanet.linalg.qr(portanet.asarray([[3.0, 1.0], [4.0, 2.0]]))
    >>> portanet.max(portanet.abs(Q @ R - portanet.asarray([[3.0, 1.0], [4.0, 2.0]]))).item() < 1e-6
    True
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f"linalg.qr: mode={mode!r} is not known; known are 'reduced' and 'complete'.")
    return QRResult(*apply("linalg.qr", _matrices("qr", x), mode=mode))


def svd(x: Any, /, *, full_matrices: bool = True) -> SVDResult:
    """x = U diag(S) Vh with orthonormal columns of U and rows of Vh, and S >= 0, falling.

    Args:
        x: matrices (..., M, N) of a floating dtype.
        full_matrices: U (..., M, M) and Vh (..., N, N), filled up with arbitrary vectors; a gradient through these is
            refused unless M = N. False: U (..., M, K) and Vh (..., K, N), K = min(M, N).

    Vectors are defined up to a common sign (a factor of size 1): a loss must not depend on it. Their gradient needs
    singular values that differ, and are not 0 where M and N differ; it is nan otherwise. The gradient of S alone
    exists always: at S = 0 it is the subgradient 0. (Townsend 2016; Wan and Zhang 2019 for complex x.)

    >>> import portanet
    >>> portanet.linalg.svd(portanet.asarray([[0.0, 2.0], [1.0, 0.0]])).S
    tensor([2., 1.])
    """
    return SVDResult(*apply("linalg.svd", _matrices("svd", x), full_matrices=full_matrices))


def svdvals(x: Any, /) -> Tensor:
    """The singular values of each matrix, falling: (..., M, N) -> (..., min(M, N)). The gradient is as in `svd`.

    >>> import portanet
    >>> portanet.linalg.svdvals(portanet.asarray([[0.0, 2.0], [1.0, 0.0]]))
    tensor([2., 1.])
    """
    x = _matrices("svdvals", x)
    return svd(x, full_matrices=False).S if _tracked(x) else apply("linalg.svdvals", x)


def eigh(x: Any, /) -> EighResult:
    """Eigenvalues, rising, and orthonormal eigenvectors (columns) of Hermitian matrices: x = V diag(w) V^H.

    Only one triangle may be read; the gradient is Hermitian, as the matrices are. Vectors are defined up to a sign (a
    factor of size 1): a loss must not depend on it. Their gradient is nan where eigenvalues are equal. (Giles 2008.)

    >>> import portanet
    >>> portanet.linalg.eigh(portanet.asarray([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    return EighResult(*apply("linalg.eigh", _square("eigh", x)))


def eigvalsh(x: Any, /) -> Tensor:
    """The eigenvalues of Hermitian matrices, rising. The gradient is as in `eigh`.

    >>> import portanet
    >>> portanet.linalg.eigvalsh(portanet.asarray([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    x = _square("eigvalsh", x)
    return eigh(x).eigenvalues if _tracked(x) else apply("linalg.eigvalsh", x)


def eig(x: Any, /) -> EigResult:
    """Eigenvalues and eigenvectors (columns of length 1) of square matrices, in no particular order; always complex.

    Vectors are defined up to a factor of size 1: a loss must not depend on it. The gradient needs eigenvectors that
    span the space, and where it passes through the vectors, eigenvalues that differ: it is nan otherwise.

    >>> import portanet
    >>> portanet.linalg.eig(portanet.asarray([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([2.+0.j, 1.+0.j])
    """
    values, vectors = apply("linalg.eig", _square("eig", x))
    return EigResult(_complex(values), _complex(vectors))


def eigvals(x: Any, /) -> Tensor:
    """The eigenvalues of square matrices, in no particular order; always complex. The gradient is as in `eig`.

    >>> import portanet
    >>> portanet.linalg.eigvals(portanet.asarray([[2.0, 0.0], [0.0, 1.0]]))
    tensor([2.+0.j, 1.+0.j])
    """
    x = _square("eigvals", x)
    return eig(x).eigenvalues if _tracked(x) else _complex(apply("linalg.eigvals", x))


def _complex(x: Tensor) -> Tensor:
    """Some libraries return real numbers where all eigenvalues are real."""
    return x if x.dtype.kind == "complex floating" else cast(x, complex_of(x.dtype))
