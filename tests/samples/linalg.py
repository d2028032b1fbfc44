"""Samples of products and linear algebra.

Eigenvectors and singular vectors are fixed up to a sign, or a factor of size 1: the functions here do not see it.
"""

from __future__ import annotations

import math

import numpy

import portanet as pn
from tests.samples import Sample, complex_, real, signed

la = pn.linalg

PRODUCTS = [
    Sample("matmul", pn.matmul, (real(3, 4), real(4, 2))),
    Sample("matmul", pn.matmul, (real(4), real(4, seed=1)), "vectors"),
    Sample("matmul", pn.matmul, (real(4), real(2, 4, 3)), "vector by stack"),
    Sample("matmul", pn.matmul, (real(2, 3, 4), real(4)), "stack by vector"),
    Sample("matmul", pn.matmul, (real(5, 1, 3, 4), real(2, 4, 2)), "stacks broadcast"),
    Sample("matmul", pn.matmul, (complex_(3, 4), complex_(4, 2)), "complex"),
    Sample("tensordot", lambda a, b: pn.tensordot(a, b, axes=2), (real(2, 3, 4), real(3, 4, 5))),
    Sample("tensordot", lambda a, b: pn.tensordot(a, b, axes=((2, 0), (0, 1))), (real(2, 3, 4), real(4, 2, 5)), "axes"),
    Sample("tensordot", lambda a, b: pn.tensordot(a, b, axes=0), (real(2), complex_(3)), "outer"),
    Sample("vecdot", lambda a, b: pn.vecdot(a, b, axis=-2), (real(4, 3), real(4, 3, seed=1))),
    Sample("vecdot", pn.vecdot, (complex_(3, 4), complex_(4)), "complex"),
]


def _sample(rule, function, args, note="", second=True):
    return Sample(f"linalg.{rule}" if rule != "cofactors" else rule, function, args, note, second, needs="linalg")


def _regular(n, *stack, complex=False):
    """Matrices whose eigenvalues and singular values keep apart."""
    made = complex_ if complex else real
    return made(*stack, n, n) * numpy.where(numpy.eye(n), 1.0, 0.4) + numpy.diag(numpy.arange(1.0, n + 1.0))


def _hermitian(x):
    return (x + pn.conj(x.mT)) / 2


def _positive(x):
    return pn.matmul(x, pn.conj(x.mT))


def _sizes(x):
    """|x|**2, smooth and blind to signs and phases."""
    return pn.real(x * pn.conj(x))


def _eigh(x, probe):
    w, v = la.eigh(_hermitian(x))
    return w * w, _sizes(pn.matmul(probe, v))


def _eigh_projector(x):
    v = la.eigh(_hermitian(x)).eigenvectors[..., 1:2]
    return pn.matmul(v, pn.conj(v.mT))


def _eig(x, probe):
    w, v = la.eig(x)
    return w * w, _sizes(pn.matmul(probe, v))


def _svd(full):
    def function(x, left, right):
        u, s, vh = la.svd(x, full_matrices=full)
        polar = pn.matmul(u, vh)
        return s * s, _sizes(pn.matmul(left, u)), _sizes(pn.matmul(vh, right)), polar

    return function


def _low_rank_pinv(a, b):
    return la.pinv(pn.matmul(a, b), rtol=1e-9)


def _qr(part=slice(None)):
    return lambda x: tuple(la.qr(x))[part]


def _norm(**options):
    return lambda x: la.vector_norm(x, **options)


def _mnorm(ord, keepdims=False):
    return lambda x: la.matrix_norm(x, ord=ord, keepdims=keepdims)


SINGULAR = numpy.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
RANK_ONE = numpy.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0])
X, Z = signed(3, 4), complex_(3, 4) - 0.5

PARTS_AND_NORMS = [
    _sample("cross", la.cross, (signed(2, 3), signed(3))),
    _sample("cross", lambda a, b: la.cross(a, b, axis=1), (signed(2, 3, 4), real(2, 3, 4)), "axis"),
    _sample("cross", lambda a, b: la.cross(a, b, axis=-2), (complex_(3, 1), complex_(2, 3, 4)), "complex, broadcast"),
    _sample("diagonal", lambda x: la.diagonal(x * x), (signed(2, 3, 4),)),
    _sample("diagonal", lambda x: la.diagonal(x * x, offset=2), (signed(2, 3, 4),), "above"),
    _sample("diagonal", lambda x: la.diagonal(x * x, offset=-1), (complex_(4, 3),), "below, complex"),
    _sample("diagonal", lambda x: la.trace(x * x, offset=1), (signed(2, 3, 4),), "trace"),
    _sample("diagonal", lambda x: la.trace(x * x), (complex_(3, 3),), "trace, complex"),
    Sample("multiply", la.outer, (signed(3), complex_(2)), "outer", needs="linalg"),
    _sample("vector_norm", la.vector_norm, (X,)),
    _sample("vector_norm", _norm(axis=(0, 2)), (signed(2, 3, 4),), "axes"),
    _sample("vector_norm", _norm(axis=1, keepdims=True), (Z,), "complex"),
    _sample("vector_norm", _norm(axis=0, ord=3), (X,), "3"),
    _sample("vector_norm", _norm(axis=-1, ord=2.5), (Z,), "2.5, complex"),
    _sample("vector_norm", _norm(axis=0, ord=0.5, keepdims=True), (X,), "half"),
    _sample("vector_norm", _norm(axis=1, ord=-2), (X,), "minus 2"),
    _sample("vector_norm", _norm(axis=1, ord=1), (Z,), "1, complex"),
    _sample("vector_norm", _norm(axis=1, ord=math.inf), (Z,), "inf, complex"),
    _sample("vector_norm", lambda x: la.vector_norm(x * x, axis=0, ord=-math.inf), (X,), "minus inf"),
    _sample("vector_norm", lambda x: la.vector_norm(x * x, ord=0), (X,), "count"),
    _sample("vector_norm", _mnorm("fro"), (signed(2, 3, 4),), "frobenius"),
    _sample("svd", _mnorm("nuc"), (X,), "nuclear norm"),
    _sample("svd", _mnorm("nuc", True), (Z,), "nuclear norm, complex"),
    _sample("svd", _mnorm(2), (_regular(3, 2),), "spectral norm"),
    _sample("svd", _mnorm(-2, True), (_regular(3, complex=True),), "smallest singular value"),
    Sample("max", _mnorm(1), (Z,), "matrix_norm 1", needs="linalg"),
    Sample(
        "max", lambda x: la.matrix_norm(x * x, ord=math.inf, keepdims=True), (X,), "matrix_norm inf", needs="linalg"
    ),
    Sample("min", lambda x: la.matrix_norm(x * x, ord=-1), (signed(2, 3, 4),), "matrix_norm -1", needs="linalg"),
    Sample("min", _mnorm(-math.inf), (Z,), "matrix_norm -inf", needs="linalg"),
    Sample("matmul", lambda x: la.matrix_power(x, 5), (_regular(3, 2) / 4,), "matrix_power", needs="linalg"),
]

INVERSES = [
    _sample("det", la.det, (_regular(3, 2),)),
    _sample("det", la.det, (_regular(3, complex=True),), "complex"),
    _sample("det", la.det, (SINGULAR,), "singular"),
    _sample("det", la.det, (RANK_ONE,), "rank 1"),
    _sample("det", la.det, (RANK_ONE * (1 + 2j),), "rank 1, complex"),
    _sample("det", la.det, (numpy.zeros((2, 3, 3)),), "zero"),
    _sample("det", la.det, (numpy.eye(4),), "identity"),
    _sample("det", la.det, (real(2, 1, 1),), "one element"),
    # Third derivatives pass through singular vectors, whose values must differ.
    _sample("cofactors", pn.namespace.cofactors, (_regular(4, 2),)),
    _sample("cofactors", pn.namespace.cofactors, (_regular(3, complex=True),), "complex"),
    _sample("cofactors", pn.namespace.cofactors, (RANK_ONE,), "rank 1", False),
    _sample("slogdet", la.slogdet, (_regular(3, 2),)),
    _sample("slogdet", la.slogdet, (_regular(3, 2, complex=True),), "complex"),
    _sample("slogdet", lambda x: la.slogdet(x).sign, (_regular(3, complex=True),), "sign alone"),
    _sample("slogdet", lambda x: la.slogdet(x).logabsdet, (_regular(3, complex=True),), "logarithm alone"),
    _sample("inv", la.inv, (_regular(3, 2),)),
    _sample("inv", la.inv, (_regular(3, complex=True),), "complex"),
    _sample("inv", lambda x: la.matrix_power(x, -3), (_regular(3),), "matrix_power"),
    _sample("solve", la.solve, (_regular(3, 2), real(3, 4))),
    _sample("solve", la.solve, (_regular(3, 2), real(3)), "vector"),
    _sample("solve", la.solve, (_regular(3), complex_(5, 3, 1)), "real by complex"),
    _sample("solve", la.solve, (_regular(3, complex=True), complex_(3)), "complex"),
    _sample("pinv", la.pinv, (signed(2, 4, 2),), "tall"),
    _sample("pinv", la.pinv, (complex_(2, 3) - 0.5,), "wide, complex"),
    _sample("pinv", la.pinv, (_regular(3),), "square"),
    _sample("pinv", _low_rank_pinv, (real(4, 2), signed(2, 3)), "rank 2 of 3"),
]

DECOMPOSITIONS = [
    _sample("cholesky", lambda x: la.cholesky(_positive(x)), (_regular(3, 2),)),
    _sample(
        "cholesky", lambda x: la.cholesky(_positive(x), upper=True), (_regular(3, complex=True),), "upper, complex"
    ),
    _sample("qr", _qr(), (_regular(3, 2),)),
    _sample("qr", _qr(), (_regular(4)[:, :2],), "tall"),
    _sample("qr", _qr(), (_regular(4, complex=True)[:, :2],), "tall, complex"),
    _sample("qr", _qr(), (_regular(4, 2)[:, :2, :],), "wide"),
    _sample("qr", _qr(), (_regular(4, complex=True)[:2, :],), "wide, complex"),
    _sample("qr", _qr(slice(0, 1)), (_regular(4)[:2, :],), "wide, Q alone"),
    _sample("qr", _qr(slice(0, 1)), (_regular(3),), "Q alone"),
    _sample("qr", _qr(slice(1, 2)), (_regular(4)[:, :3],), "R alone"),
    _sample("qr", lambda x: la.qr(x, mode="complete"), (_regular(4)[:3, :],), "complete and wide"),
    _sample("eigh", _eigh, (_regular(3, 2), signed(2, 3))),
    _sample("eigh", _eigh, (_regular(4, complex=True), complex_(2, 4)), "complex"),
    _sample("eigh", _eigh_projector, (_regular(3),), "one vector"),
    _sample("eigh", lambda x: la.eigvalsh(_hermitian(x)) ** 3, (_regular(3, 2),), "eigvalsh"),
    _sample("eigh", lambda x: la.eigvalsh(_hermitian(x)) ** 3, (_regular(3, complex=True),), "eigvalsh, complex"),
    # Second derivatives at equal values pass through vectors that are not defined: nan, as documented.
    _sample("eigh", lambda x: pn.sum(la.eigvalsh(_hermitian(x)) ** 3), (numpy.eye(3),), "equal values", False),
    _sample("eig", _eig, (_regular(3, 2), signed(2, 3))),
    _sample(
        "eig", _eig, (numpy.asarray([[1.0, -2.0, 0.3], [1.5, 0.5, 0.2], [0.1, 0.4, 3.0]]), signed(2, 3)), "turning"
    ),
    _sample("eig", _eig, (_regular(3, complex=True), complex_(2, 3)), "complex"),
    _sample("eig", lambda x: la.eigvals(x) ** 3, (_regular(3, 2),), "eigvals"),
    _sample("svd", _svd(False), (_regular(3, 2), signed(2, 3), signed(3, 2))),
    _sample("svd", _svd(True), (_regular(3, complex=True), complex_(2, 3), complex_(3, 2)), "complex"),
    _sample("svd", _svd(False), (_regular(4)[:, :2], signed(2, 4), signed(2, 2)), "tall"),
    _sample("svd", _svd(False), (_regular(4, complex=True)[:, :2], complex_(2, 4), complex_(2, 2)), "tall, complex"),
    _sample("svd", _svd(False), (_regular(4, 2)[:, :3, :], signed(2, 3), signed(4, 2)), "wide"),
    _sample("svd", _svd(False), (_regular(4, complex=True)[:2, :], complex_(2, 2), complex_(4, 2)), "wide, complex"),
    _sample("svd", lambda x, c: _sizes(pn.matmul(c, la.svd(x).U)), (_regular(3), signed(2, 3)), "U alone"),
    _sample("svd", lambda x, c: _sizes(pn.matmul(la.svd(x).Vh, c)), (_regular(3), signed(3, 2)), "Vh alone"),
    _sample("svd", lambda x: la.svd(x).S ** 3, (_regular(4)[:, :2],), "full, values alone"),
    _sample("svd", lambda x: la.svdvals(x) ** 3, (_regular(4, 2, complex=True)[:, :2, :],), "svdvals, complex"),
    _sample("svd", lambda x: pn.sum(la.svdvals(x) ** 3), (numpy.eye(3),), "equal values", False),
    _sample("svd", lambda x: pn.sum(la.svdvals(x) ** 4), (RANK_ONE,), "values that are 0", False),
]

SAMPLES = PRODUCTS + PARTS_AND_NORMS + INVERSES + DECOMPOSITIONS
