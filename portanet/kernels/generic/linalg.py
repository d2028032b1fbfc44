"""Kernels of linear algebra: the matrix of cofactors, and eigenvalues for libraries that have none."""

from __future__ import annotations

from typing import Any


def exclusive_products(xp: Any, x: Any) -> Any:
    """Along the last axis: the product of all elements but this one; no division, so that zeros are no exception."""
    if x.shape[-1] == 0:
        return x
    one = xp.ones_like(x[..., :1])
    left = xp.cumulative_prod(xp.concat([one, x[..., :-1]], axis=-1), axis=-1)
    right = xp.flip(xp.cumulative_prod(xp.concat([one, xp.flip(x, axis=-1)[..., :-1]], axis=-1), axis=-1), axis=-1)
    return left * right


def cofactors(xp: Any, x: Any) -> Any:
    """The signed minors of square matrices (..., n, n): the derivative of det, for singular matrices too.

    cof(A) = det(A) A^-T needs an inverse. But cof(A B) = cof(A) cof(B), and cofactors of a unitary U are
    det(U) conj(U), so with A = U diag(s) V^H: cof(A) = det(U) det(V^H) conj(U) diag(products of the other s) V^T.
    """
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    unit = xp.multiply(xp.linalg.det(u), xp.linalg.det(vh))  # NumPy's operator rounds otherwise where there are no axes
    others = xp.expand_dims(exclusive_products(xp, s), axis=-2)
    return xp.expand_dims(unit, axis=(-2, -1)) * xp.matmul(xp.conj(u) * others, xp.conj(vh))


def linalg_eig(xp: Any, x: Any) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors computed on the host: general matrices are beyond some libraries."""
    import numpy

    values, vectors = numpy.linalg.eig(numpy.asarray(xp.to_host(x)))
    return _complex_from_host(xp, values, x), _complex_from_host(xp, vectors, x)


def linalg_eigvals(xp: Any, x: Any) -> Any:
    """Eigenvalues computed on the host."""
    import numpy

    return _complex_from_host(xp, numpy.linalg.eigvals(numpy.asarray(xp.to_host(x))), x)


def _complex_from_host(xp: Any, values: Any, like: Any) -> Any:
    dtype = xp.complex128 if like.dtype in (xp.float64, xp.complex128) else xp.complex64
    return xp.from_host(values, dtype, xp.device_of(like))
