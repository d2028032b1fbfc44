"""VJPs of products, norms, determinants, inverses and solutions.

Formulas: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation"
(2008); C. Boeddeker et al., "On the computation of complex-valued gradients" (2017) for complex matrices; G. Golub
and V. Pereyra (1973) for the pseudoinverse. The decompositions are in `portanet.vjps.decompositions`.
"""

from __future__ import annotations

import math
from typing import Any

from portanet.kernels.generic.linalg import exclusive_products
from portanet.vjps.reductions import axes_of, kept


def conjugated(xp: Any, g: Any) -> Any:
    """``g``, or each of several, with its imaginary part turned round; real numbers pass at no cost."""
    if isinstance(g, list):
        return [None if slot is None else conjugated(xp, slot) for slot in g]
    return xp.conj(g) if xp.isdtype(g.dtype, "complex floating") else g


def adjoint(rule: Any) -> Any:
    """A rule of the tape made of one as the papers give it.

    Papers pass gradients dL/dRe + i dL/dIm back by adjoints, the tape passes plain transposes: conjugate on the way
    in and out.
    """

    def vjp(xp: Any, g: Any, y: Any, x: Any, **options: Any) -> Any:
        return conjugated(xp, rule(xp, conjugated(xp, g), y, x, **options))

    return vjp


def hermitian(xp: Any, x: Any) -> Any:
    """The conjugate transpose of each matrix."""
    return conjugated(xp, xp.matrix_transpose(x))


def on_diagonal(xp: Any, x: Any, offset: int = 0) -> Any:
    """Where a matrix of the shape of ``x`` has its diagonal: truth values (rows, columns)."""
    rows = xp.expand_dims(xp.positions(x, axis=-2), axis=1)
    return xp.expand_dims(xp.positions(x, axis=-1), axis=0) == rows + offset


def over_matrices(xp: Any, x: Any) -> Any:
    """One number for each matrix of a stack, with two axes to broadcast over it."""
    return xp.expand_dims(x, axis=(-2, -1))


# ---------------------------------------------------------------------------------------------------------------------
# Products and parts.


def _matmul_left(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if b.ndim == 1:
        return xp.expand_dims(g, axis=-1) * b
    if a.ndim == 1:
        return xp.reshape(xp.matmul(b, xp.expand_dims(g, axis=-1)), b.shape[:-1])
    return xp.matmul(g, xp.matrix_transpose(b))


def _matmul_right(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if a.ndim == 1:
        if b.ndim == 1:
            return g * a
        return xp.expand_dims(a, axis=-1) * xp.expand_dims(g, axis=-2)
    if b.ndim == 1:
        return xp.reshape(xp.matmul(xp.matrix_transpose(a), xp.expand_dims(g, axis=-1)), (*a.shape[:-2], a.shape[-1]))
    return xp.matmul(xp.matrix_transpose(a), g)


def _contracted(a: Any, b: Any, axes: Any) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        return list(range(a.ndim - axes, a.ndim)), list(range(axes))
    return [i % a.ndim for i in axes[0]], [i % b.ndim for i in axes[1]]


def _tensordot_left(xp: Any, g: Any, y: Any, a: Any, b: Any, *, axes: Any = 2) -> Any:
    inner_a, inner_b = _contracted(a, b, axes)
    outer_a = [i for i in range(a.ndim) if i not in inner_a]
    outer_b = [i for i in range(b.ndim) if i not in inner_b]
    kept_in_g = list(range(len(outer_a), g.ndim))
    # What comes out has a's free axes, then the contracted ones in the order of b.
    product = xp.tensordot(g, b, axes=(tuple(kept_in_g), tuple(outer_b)))
    order = outer_a + [inner_a[inner_b.index(i)] for i in sorted(inner_b)]
    return xp.permute_dims(product, tuple([order.index(i) for i in range(a.ndim)]))


def _tensordot_right(xp: Any, g: Any, y: Any, a: Any, b: Any, *, axes: Any = 2) -> Any:
    inner_a, inner_b = _contracted(a, b, axes)
    outer_a = [i for i in range(a.ndim) if i not in inner_a]
    outer_b = [i for i in range(b.ndim) if i not in inner_b]
    product = xp.tensordot(a, g, axes=(tuple(outer_a), tuple(range(len(outer_a)))))
    order = [inner_b[inner_a.index(i)] for i in sorted(inner_a)] + outer_b
    return xp.permute_dims(product, tuple([order.index(i) for i in range(b.ndim)]))


def _vecdot(side: int) -> Any:
    def vjp(xp: Any, g: Any, y: Any, a: Any, b: Any, *, axis: int = -1) -> Any:
        g = xp.expand_dims(g, axis=axis)
        return g * xp.conj(a) if side else xp.conj(g * b)

    return vjp


def _diagonal(xp: Any, g: Any, y: Any, x: Any, *, offset: int = 0) -> Any:
    """The cotangents put back on the diagonal that they came from."""
    shape = (*x.shape[:-2], x.shape[-2] if offset >= 0 else x.shape[-1])  # one for each row, or for each column
    missing = xp.broadcast_to(
        xp.sum(xp.zeros_like(g), axis=-1, keepdims=True), (*g.shape[:-1], shape[-1] - g.shape[-1])
    )
    values = xp.expand_dims(xp.concat([g, missing], axis=-1), axis=-1 if offset >= 0 else -2)
    return xp.where(on_diagonal(xp, x, offset), values, xp.zeros_like(x))


# ---------------------------------------------------------------------------------------------------------------------
# Norms.


def _vector_norm(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, ord: Any = 2, keepdims: bool = False) -> Any:
    """x / |x| for length, sign(x) (|x| / y)^(p-1) for the p-norm; where that has no value (at 0) the subgradient 0."""
    g, y = kept(xp, g, x, axis), kept(xp, y, x, axis)
    if ord == 2:
        return conjugated(xp, x) * (_zero_at_zero(xp, y, g) / _one_at_zero(xp, y))
    if ord == 0:
        return xp.zeros_like(x)
    size = xp.abs(x)
    direction = conjugated(xp, x) / _one_at_zero(xp, size)
    if ord == 1:
        return g * direction
    if math.isinf(ord):
        chosen = xp.astype(size == y, y.dtype)  # ties share alike
        return g * chosen / xp.sum(chosen, axis=axes_of(x, axis), keepdims=True) * direction
    flat = (size == 0) | (y == 0)
    ratio = xp.where(flat, xp.ones_like(size), size / _one_at_zero(xp, y))
    return xp.where(flat, xp.zeros_like(x), g * ratio ** (ord - 1) * direction)


def _one_at_zero(xp: Any, y: Any) -> Any:
    return xp.where(y == 0, xp.ones_like(y), y)


def _zero_at_zero(xp: Any, y: Any, g: Any) -> Any:
    return xp.where(y == 0, xp.zeros_like(g), g)


# ---------------------------------------------------------------------------------------------------------------------
# Determinants, inverses, solutions.


def _det(xp: Any, g: Any, y: Any, x: Any) -> Any:
    """d det(A) = sum of cof(A) * dA: Jacobi's formula without an inverse, so singular matrices are no exception."""
    return over_matrices(xp, g) * xp.cofactors(x)


def _cofactors(xp: Any, g: Any, y: Any, x: Any) -> Any:
    """The second derivative of det: products of all singular values but two.

    In the basis where A is diag(s): d cof_ii = sum over j of p_ij dA_jj, d cof_ij = -p_ij dA_ji, with p_ij the product
    of all s but the i-th and j-th, and p_ii = 0. This map is its own transpose.
    """
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    unit = xp.multiply(xp.linalg.det(u), xp.linalg.det(vh))
    diagonal = on_diagonal(xp, x)
    without_one = xp.where(diagonal, xp.ones_like(xp.expand_dims(s, axis=-2)), xp.expand_dims(s, axis=-2))
    pairs = xp.where(diagonal, xp.zeros_like(without_one), exclusive_products(xp, without_one))
    turned = xp.matmul(xp.matmul(hermitian(xp, u), g), hermitian(xp, vh))
    stretched = xp.sum(xp.where(diagonal, turned, xp.zeros_like(turned)), axis=-2)
    on = xp.expand_dims(xp.sum(pairs * xp.expand_dims(stretched, axis=-2), axis=-1), axis=-1)
    core = xp.where(diagonal, on, -pairs * xp.matrix_transpose(turned))
    return over_matrices(xp, unit) * xp.matmul(xp.matmul(xp.conj(u), core), xp.conj(vh))


def _slogdet(xp: Any, g: list[Any], y: Any, x: Any) -> Any:
    """d log|det A| = Re tr(A^-1 dA), d sign = i sign Im tr(A^-1 dA)."""
    sign, _ = y
    g_sign, g_log = g
    slope = xp.zeros_like(sign)
    if g_log is not None:
        slope = slope + g_log
    if g_sign is not None and xp.isdtype(x.dtype, "complex floating"):
        slope = slope + 1j * xp.astype(xp.imag(g_sign * xp.conj(sign)), x.dtype)
    # log 0 has no derivative: nan there, if it is asked for, and no error for the other matrices of the stack.
    singular = sign == 0
    slope = xp.where(singular & (slope != 0), xp.full_like(slope, math.nan), slope)
    identity = xp.where(on_diagonal(xp, x), xp.ones_like(x), xp.zeros_like(x))
    safe = xp.where(over_matrices(xp, singular), identity, x)
    return over_matrices(xp, slope) * hermitian(xp, xp.linalg.inv(safe))


def _inv(xp: Any, g: Any, y: Any, x: Any) -> Any:
    """d A^-1 = -A^-1 dA A^-1."""
    back = xp.matrix_transpose(y)
    return -xp.matmul(xp.matmul(back, g), back)


def _solve(xp: Any, g: Any, y: Any, a: Any, b: Any) -> list[Any]:
    """With A x = b: g_b = A^-T g, g_A = -g_b x^T."""
    back = xp.matrix_transpose(a)
    if b.ndim == 1:
        g_b = xp.linalg.solve(back, xp.expand_dims(g, axis=-1))
        return [-g_b * xp.expand_dims(y, axis=-2), g_b[..., 0]]
    g_b = xp.linalg.solve(back, g)
    return [-xp.matmul(g_b, xp.matrix_transpose(y)), g_b]


def _pinv(xp: Any, g: Any, y: Any, x: Any, **_: Any) -> Any:
    """Golub and Pereyra (1973), transposed: exact as long as the rank stays the same."""
    p, ph, gh = y, hermitian(xp, y), hermitian(xp, g)
    inside = -xp.matmul(xp.matmul(ph, g), ph)
    left = xp.matmul(xp.matmul(gh, p), ph)  # times the part of the columns that A does not reach
    right = xp.matmul(xp.matmul(ph, p), gh)
    return inside + left - xp.matmul(x, xp.matmul(p, left)) + right - xp.matmul(xp.matmul(right, p), x)


VJPS: dict[str, Any] = {
    "matmul": (_matmul_left, _matmul_right),
    "tensordot": (_tensordot_left, _tensordot_right),
    "vecdot": (_vecdot(0), _vecdot(1)),
    # a.(b x g) = b.(g x a) = g.(a x b)
    "linalg.cross": (
        lambda xp, g, y, a, b, *, axis=-1: xp.linalg.cross(b, g, axis=axis),
        lambda xp, g, y, a, b, *, axis=-1: xp.linalg.cross(g, a, axis=axis),
    ),
    "linalg.diagonal": (_diagonal,),
    "linalg.vector_norm": (_vector_norm,),
    "linalg.det": (_det,),
    "cofactors": (_cofactors,),
    "linalg.slogdet": (adjoint(_slogdet),),
    "linalg.inv": (_inv,),
    "linalg.solve": _solve,
    "linalg.pinv": (adjoint(_pinv),),
}
