"""VJPs of the matrix decompositions.

Formulas: M. Giles (2008); J. Townsend, "Differentiating the singular value decomposition" (2016); M. Seeger et al.,
"Auto-differentiating linear algebra" (2017); S. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra
functions" (2010) for QR; C. Boeddeker et al. (2017) and Z.-Q. Wan and S.-X. Zhang (2019) for complex matrices.
Each is written with adjoints, as there; `adjoint` makes it a rule of the tape.

Vectors are only defined up to a sign, or a factor of size 1; a loss has to be blind to it. Where two eigenvalues or
singular values are equal their vectors are only defined together and have no derivative: nan, never a wrong number.
The values alone have a first derivative there too, as long as the loss treats equal ones alike.
"""

from __future__ import annotations

import math
from typing import Any

from portanet.vjps.linalg import adjoint, hermitian, on_diagonal


def _reciprocal(xp: Any, x: Any, values: Any, *, off_diagonal: bool) -> Any:
    """1 / x; nan where x is mere rounding beside the largest of ``values``; 0 on a diagonal that is left out."""
    largest = xp.max(xp.abs(values), axis=-1, keepdims=True)
    limit = 8 * xp.finfo(x.dtype).eps * (xp.expand_dims(largest, axis=-1) if x.ndim > values.ndim else largest)
    divisor = xp.where(xp.abs(x) <= limit, xp.full_like(x, math.nan), x)
    if not off_diagonal:
        return 1 / divisor
    diagonal = on_diagonal(xp, x)
    return xp.where(diagonal, xp.zeros_like(x), 1 / xp.where(diagonal, xp.ones_like(x), divisor))


def _gaps(xp: Any, values: Any) -> Any:
    """values_j - values_i at row i, column j."""
    return xp.expand_dims(values, axis=-2) - xp.expand_dims(values, axis=-1)


def _scaled_rows(xp: Any, factors: Any, x: Any) -> Any:
    """diag(factors) x."""
    return xp.expand_dims(factors, axis=-1) * x


def _plus(a: Any, b: Any) -> Any:
    """The sum of two cotangents of which either may be missing."""
    return b if a is None else a if b is None else a + b


# ---------------------------------------------------------------------------------------------------------------------
# Eigenvalues.


def _eigh(xp: Any, g: list[Any], y: Any, x: Any) -> Any:
    """A = V diag(w) V^H: g_A = V (diag(g_w) + skew(V^H g_V) / (w_j - w_i)) V^H, a Hermitian matrix as A is."""
    if math.prod(x.shape) == 0:
        return xp.zeros_like(x)
    w, v = y
    g_w, g_v = g
    vh = hermitian(xp, v)
    inner = None if g_w is None else _scaled_rows(xp, g_w, vh)
    if g_v is not None:
        turned = xp.matmul(vh, g_v)
        skew = (turned - hermitian(xp, turned)) / 2
        inner = _plus(inner, xp.matmul(skew * _reciprocal(xp, _gaps(xp, w), w, off_diagonal=True), vh))
    return xp.matmul(v, inner)


def _eig(xp: Any, g: list[Any], y: Any, x: Any) -> Any:
    """A = V diag(w) V^-1, columns of length 1: g_A = V^-H (diag(g_w) + (M - V^H V Re diag(M)) / conj(w_j - w_i)) V^H.

    M = V^H g_V; what is taken from it undoes changes of length.
    """
    if math.prod(x.shape) == 0:
        return xp.zeros_like(x)
    w, v = y
    g_w, g_v = g
    vh = hermitian(xp, v)
    inner = None if g_w is None else _scaled_rows(xp, g_w, vh)
    if g_v is not None:
        turned = xp.matmul(vh, g_v)
        stretch = xp.real(xp.sum(xp.where(on_diagonal(xp, x), turned, xp.zeros_like(turned)), axis=-2))
        turned = turned - xp.matmul(vh, v) * xp.expand_dims(stretch, axis=-2)
        inner = _plus(inner, xp.matmul(turned * xp.conj(_reciprocal(xp, _gaps(xp, w), w, off_diagonal=True)), vh))
    return xp.linalg.solve(vh, inner)


# ---------------------------------------------------------------------------------------------------------------------
# Singular values.


def _svd(xp: Any, g: list[Any], y: Any, x: Any, *, full_matrices: bool = True) -> Any:
    """A = U diag(s) V^H with thin U and V."""
    if math.prod(x.shape) == 0:
        return xp.zeros_like(x)
    u, s, vh = y
    g_u, g_s, g_vh = g
    if full_matrices and x.shape[-2] != x.shape[-1]:
        if g_u is not None or g_vh is not None:
            raise NotImplementedError(
                f"linalg.svd: the vectors that full_matrices=True adds to matrices of shape {tuple(x.shape)} are "
                "arbitrary and have no derivative; pass full_matrices=False."
            )
        u, s, vh = xp.linalg.svd(x, full_matrices=False)  # anew, so that second derivatives pass through thin vectors
    inner = None
    if g_s is not None:  # at s = 0 there is a kink, as at |0|: the subgradient 0
        inner = _scaled_rows(xp, xp.where(s == 0, xp.zeros_like(g_s), g_s), vh)
    if g_u is None and g_vh is None:
        return xp.matmul(u, inner)
    core, outside = _svd_vectors(xp, g_u, g_vh, u, s, vh)
    return _plus(xp.matmul(u, _plus(inner, xp.matmul(core, vh))), outside)


def _svd_vectors(xp: Any, g_u: Any, g_vh: Any, u: Any, s: Any, vh: Any) -> tuple[Any, Any]:
    """What the cotangents of U and V^H say in the basis of U and V, and outside of what U and V span.

    With a, b the skew parts of U^H g_U and V^H g_V the core is ((a + b) / (s_j - s_i) + (a - b) / (s_j + s_i)) / 2.
    The second sum has a diagonal, too: the phase of complex vectors.
    """
    uh, v = hermitian(xp, u), hermitian(xp, vh)
    g_v = None if g_vh is None else hermitian(xp, g_vh)
    a = None if g_u is None else _twice_skew(xp, xp.matmul(uh, g_u))
    b = None if g_v is None else _twice_skew(xp, xp.matmul(vh, g_v))
    both, apart = _plus(a, b), _plus(a, None if b is None else -b)
    sums = xp.expand_dims(s, axis=-2) + xp.expand_dims(s, axis=-1)
    real = not xp.isdtype(u.dtype, "complex floating")
    core = both * _reciprocal(xp, _gaps(xp, s), s, off_diagonal=True)
    core = (core + apart * _reciprocal(xp, sums, s, off_diagonal=real)) / 2
    inverse = _reciprocal(xp, s, s, off_diagonal=False)
    outside = None
    if g_u is not None and u.shape[-2] > u.shape[-1]:
        beyond = g_u - xp.matmul(u, xp.matmul(uh, g_u))
        outside = xp.matmul(beyond * xp.expand_dims(inverse, axis=-2), vh)
    if g_v is not None and v.shape[-2] > v.shape[-1]:
        beyond = g_v - xp.matmul(v, xp.matmul(vh, g_v))
        outside = _plus(outside, xp.matmul(u, hermitian(xp, beyond * xp.expand_dims(inverse, axis=-2))))
    return core, outside


def _twice_skew(xp: Any, x: Any) -> Any:
    return x - hermitian(xp, x)


# ---------------------------------------------------------------------------------------------------------------------
# Triangular factors.


def _lower_mirrored(xp: Any, x: Any) -> Any:
    """The lower triangle, and its conjugate in the upper: a Hermitian matrix with the real part of the diagonal."""
    below = xp.tril(x, k=-1)
    mirrored = xp.tril(x) + hermitian(xp, below)
    if not xp.isdtype(x.dtype, "complex floating"):
        return mirrored
    return xp.where(on_diagonal(xp, x), xp.astype(xp.real(mirrored), x.dtype), mirrored)


def _cholesky(xp: Any, g: Any, y: Any, x: Any, *, upper: bool = False) -> Any:
    """A = L L^H: g_A = L^-H mirrored(L^H g_L) L^-1 / 2."""
    lower, g = (hermitian(xp, y), hermitian(xp, g)) if upper else (y, g)
    lh = hermitian(xp, lower)
    half = xp.linalg.solve(lh, _lower_mirrored(xp, xp.matmul(lh, g)) / 2)
    return hermitian(xp, xp.linalg.solve(lh, hermitian(xp, half)))


def _qr(xp: Any, g: list[Any], y: Any, x: Any, *, mode: str = "reduced") -> Any:
    """A = Q R: g_A = (g_Q + Q mirrored(R g_R^H - g_Q^H Q)) R^-H; columns beyond the square are Q times those of R."""
    rows, columns = x.shape[-2:]
    if mode == "complete" and rows > columns:
        raise NotImplementedError(
            f"linalg.qr: the columns that mode='complete' adds to Q for matrices of shape {tuple(x.shape)} are "
            "arbitrary and have no derivative; use mode='reduced'."
        )
    if math.prod(x.shape) == 0:
        return xp.zeros_like(x)
    q, r = y
    g_q, g_r = g
    if rows >= columns:
        return _qr_tall(xp, g_q, g_r, q, r)
    if g_r is None:
        square = _qr_tall(xp, g_q, None, q, r[..., :rows])
        return xp.concat([square, xp.zeros_like(x[..., rows:])], axis=-1)
    beyond = g_r[..., rows:]
    g_q = _plus(g_q, xp.matmul(x[..., rows:], hermitian(xp, beyond)))
    square = _qr_tall(xp, g_q, g_r[..., :rows], q, r[..., :rows])
    return xp.concat([square, xp.matmul(q, beyond)], axis=-1)


def _qr_tall(xp: Any, g_q: Any, g_r: Any, q: Any, r: Any) -> Any:
    inner = None if g_r is None else xp.matmul(r, hermitian(xp, g_r))
    inner = _plus(inner, None if g_q is None else -xp.matmul(hermitian(xp, g_q), q))
    total = _plus(g_q, xp.matmul(q, _lower_mirrored(xp, inner)))
    return hermitian(xp, xp.linalg.solve(r, hermitian(xp, total)))


VJPS: dict[str, Any] = {
    "linalg.eigh": (adjoint(_eigh),),
    "linalg.eig": (adjoint(_eig),),
    "linalg.svd": (adjoint(_svd),),
    "linalg.cholesky": (adjoint(_cholesky),),
    "linalg.qr": (adjoint(_qr),),
}
