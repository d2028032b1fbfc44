"""Linear algebra: values beside NumPy's, gradients known by hand at awkward places, and what is refused.

That each gradient is right elsewhere is proved with the samples, in test_vjps.
"""

from __future__ import annotations

import itertools
import math

import numpy
import pytest

import portanet as pn
from portanet.kernels import generic
from portanet.library import namespace_of
from tests.samples import complex_, real, signed

la = pn.linalg
nla = numpy.linalg
needs_linalg = pytest.mark.needs("linalg")
DTYPES = ("float32", "complex128")


def matrices(*shape, dtype="float64"):
    found = complex_(*shape) - 0.5 if dtype.startswith("complex") else signed(*shape)
    return (found + 2 * numpy.eye(*shape[-2:])).astype(dtype)


def positive(*shape, dtype="float64"):
    x = matrices(*shape, dtype=dtype)
    return x @ numpy.conj(x.swapaxes(-1, -2)) + numpy.eye(shape[-1], dtype=dtype)


def close(x, expected, dtype="float64"):
    tolerance = 2e-4 if dtype in ("float32", "complex64") else 1e-9
    found = x.detach().numpy()
    assert found.shape == numpy.shape(expected)
    numpy.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def tensor(values, dtype="float64"):
    return pn.asarray(numpy.array(values, dtype=dtype))


def gradient(function, x):
    """The gradient of the sum of the real parts of what ``function`` returns."""
    x = tensor(x, numpy.asarray(x).dtype).requires_grad_()
    y = function(x)
    pn.sum(pn.real(y) if "complex" in y.dtype.name else y).backward()
    assert x.grad is not None and x.grad.dtype == x.dtype and x.grad.shape == x.shape
    return x.grad


SQUARE = {
    "det": (la.det, nla.det),
    "diagonal": (la.diagonal, nla.diagonal),
    "diagonal above": (lambda x: la.diagonal(x, offset=1), lambda x: nla.diagonal(x, offset=1)),
    "inv": (la.inv, nla.inv),
    "trace": (la.trace, nla.trace),
    "trace below": (lambda x: la.trace(x, offset=-2), lambda x: nla.trace(x, offset=-2)),
    "matrix_power 0": (lambda x: la.matrix_power(x, 0), lambda x: nla.matrix_power(x, 0)),
    "matrix_power 1": (lambda x: la.matrix_power(x, 1), lambda x: x),
    "matrix_power 6": (lambda x: la.matrix_power(x, 6) / 1e3, lambda x: nla.matrix_power(x, 6) / 1e3),
    "matrix_power -3": (lambda x: la.matrix_power(x, -3), lambda x: nla.matrix_power(x, -3)),
    "slogdet sign": (lambda x: la.slogdet(x).sign, lambda x: nla.slogdet(x)[0]),
    "slogdet size": (lambda x: la.slogdet(x).logabsdet, lambda x: nla.slogdet(x)[1]),
}
ANY = {
    "matrix_rank": (la.matrix_rank, nla.matrix_rank),
    "matrix_transpose": (la.matrix_transpose, nla.matrix_transpose),
    "pinv": (la.pinv, nla.pinv),
    "pinv rtol": (lambda x: la.pinv(x, rtol=0.9), lambda x: nla.pinv(x, rcond=0.9)),
    "svdvals": (la.svdvals, nla.svdvals),
    **{
        f"matrix_norm {ord}": (lambda x, o=ord: la.matrix_norm(x, ord=o), lambda x, o=ord: nla.matrix_norm(x, ord=o))
        for ord in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)
    },
    **{
        f"vector_norm {ord}": (
            lambda x, o=ord: la.vector_norm(x, axis=1, ord=o, keepdims=True),
            lambda x, o=ord: nla.vector_norm(x, axis=1, ord=o, keepdims=True),
        )
        for ord in (2, 1, 0, 3, 0.5, -1, math.inf, -math.inf)
    },
    "vector_norm axes": (lambda x: la.vector_norm(x, axis=(0, 2)), lambda x: nla.vector_norm(x, axis=(0, 2))),
    "vector_norm all": (la.vector_norm, nla.vector_norm),
}


@needs_linalg
@pytest.mark.heavy
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SQUARE)
def test_functions_of_square_matrices_equal_numpys(name, dtype, backend):
    function, expected = SQUARE[name]
    x = matrices(2, 4, 4, dtype=dtype)
    y = function(pn.asarray(x))
    close(y, expected(x), dtype)
    assert y.dtype == expected(x).dtype


@needs_linalg
@pytest.mark.heavy
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 4, 3), (3, 2, 4)])
@pytest.mark.parametrize("name", ANY)
def test_functions_of_any_matrices_equal_numpys(name, shape, dtype, backend):
    function, expected = ANY[name]
    x = matrices(*shape, dtype=dtype)
    y = function(pn.asarray(x))
    close(y, expected(x), dtype)
    assert y.dtype.name == str(expected(x).dtype) or name == "matrix_rank"


@needs_linalg
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_equal_numpys(dtype, backend):
    a, b = matrices(2, 3, 4, dtype=dtype), matrices(2, 3, 4, dtype=dtype)[::-1] + 1
    x, y = pn.asarray(a), pn.asarray(numpy.array(b))
    close(la.cross(x, y, axis=1), numpy.cross(a, b, axis=1), dtype)
    close(la.cross(x[:1, ...], y, axis=-2), numpy.cross(a[:1], b, axis=1), dtype)
    close(la.outer(x[0, 0, :], y[0, :, 0]), numpy.outer(a[0, 0], b[0, :, 0]), dtype)
    close(la.vecdot(x, y, axis=-2), nla.vecdot(a, b, axis=-2), dtype)
    close(la.tensordot(x, y, axes=((0, 2), (0, 2))), numpy.tensordot(a, b, axes=((0, 2), (0, 2))), dtype)
    close(la.matmul(x, y.mT), a @ b.swapaxes(-1, -2), dtype)


@needs_linalg
@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 3, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_solve_takes_a_vector_or_matrices(shape, dtype, backend):
    a, b = matrices(2, 3, 3, dtype=dtype), complex_(*shape) if dtype == "complex128" else signed(*shape)
    b = b.astype(dtype)
    close(la.solve(pn.asarray(a), pn.asarray(b)), nla.solve(a, b), dtype)


@needs_linalg
@pytest.mark.heavy
@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "complex128"))
def test_decompositions_compose_to_what_they_were_made_of(dtype, backend):
    x, p = matrices(2, 4, 3, dtype=dtype), positive(2, 3, 3, dtype=dtype)
    adjoint = lambda y: pn.conj(y.mT)  # noqa: E731
    real_dtype = str(numpy.empty(0, dtype).real.dtype)
    for full in (True, False):
        u, s, vh = la.svd(pn.asarray(x), full_matrices=full)
        assert u.shape == (2, 4, 4 if full else 3) and vh.shape == (2, 3, 3)
        close((u[..., :3] * s[:, None, :]) @ vh, x, dtype)
        close(adjoint(u) @ u, numpy.broadcast_to(numpy.eye(u.shape[-1]), (2, *u.shape[-1:] * 2)), dtype)
        assert (u.dtype, s.dtype, vh.dtype) == (dtype, real_dtype, dtype)
    for mode in ("reduced", "complete"):
        q, r = la.qr(pn.asarray(x), mode=mode)
        assert q.shape == (2, 4, 3 if mode == "reduced" else 4)
        close(q @ r, x, dtype)
        close(pn.tril(r, k=-1), numpy.zeros(r.shape), dtype)
    w, v = la.eigh(pn.asarray(p))
    close((v * w[:, None, :]) @ adjoint(v), p, dtype)
    close(w, nla.eigvalsh(p), dtype)
    close(la.eigvalsh(pn.asarray(p)), nla.eigvalsh(p), dtype)
    w, v = la.eig(pn.asarray(p))
    assert w.dtype == v.dtype == ("complex64" if dtype in ("float32", "complex64") else "complex128")
    close(v * w[:, None, :], (pn.asarray(p.astype(str(w.dtype))) @ v).numpy(), dtype)
    close(pn.sum(la.eigvals(pn.asarray(p)), axis=-1), nla.trace(p), dtype)
    low, up = la.cholesky(pn.asarray(p)), la.cholesky(pn.asarray(p), upper=True)
    close(low, nla.cholesky(p), dtype)
    close(up, nla.cholesky(p, upper=True), dtype)


@needs_linalg
def test_results_have_the_names_of_the_standard(backend):
    x = tensor(positive(3, 3))
    assert la.eigh(x)._fields == la.eig(x)._fields == ("eigenvalues", "eigenvectors")
    assert (la.qr(x)._fields, la.slogdet(x)._fields) == (("Q", "R"), ("sign", "logabsdet"))
    assert la.svd(x)._fields == ("U", "S", "Vh")


# ---------------------------------------------------------------------------------------------------------------------
# Gradients at awkward places.


@needs_linalg
@pytest.mark.parametrize("ord", (2, 1, 3, 0.5, 0, -1, math.inf, -math.inf))
@pytest.mark.parametrize("dtype", ("float32", "complex128"))
def test_the_gradient_of_the_norm_of_a_zero_vector_is_zero(ord, dtype, backend):
    close(gradient(lambda x: la.vector_norm(x, ord=ord, axis=-1), numpy.zeros((2, 3), dtype)), numpy.zeros((2, 3)))


@needs_linalg
@pytest.mark.parametrize("ord", ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf))
def test_the_gradient_of_the_norm_of_a_zero_matrix_is_zero(ord, backend):
    close(gradient(lambda x: la.matrix_norm(x, ord=ord), numpy.zeros((2, 3, 2))), numpy.zeros((2, 3, 2)))


@needs_linalg
def test_a_zero_among_the_elements_leaves_the_gradient_of_a_norm_finite(backend):
    close(gradient(la.vector_norm, [3.0, 0.0, -4.0]), [0.6, 0.0, -0.8])
    close(gradient(lambda x: la.vector_norm(x, ord=3), [0.0, 2.0]), [0.0, 1.0])
    close(gradient(lambda x: la.vector_norm(x, ord=math.inf), [-2.0, 1.0, 2.0]), [-0.5, 0.0, 0.5])
    close(gradient(la.vector_norm, [3.0 + 4.0j, 0.0]), [0.6 + 0.8j, 0.0])


@needs_linalg
def test_second_derivatives_of_a_norm_at_a_zero_vector_of_a_stack_are_zero(backend):
    x = tensor([[3.0, 4.0], [0.0, 0.0]]).requires_grad_()
    (g,) = pn.autograd.grad(pn.sum(la.vector_norm(x, axis=-1)), x, create_graph=True)
    (h,) = pn.autograd.grad(g[0, 0] + g[1, 0], x)
    close(h, [[0.128, -0.096], [0.0, 0.0]])


def minors(x):
    n = x.shape[-1]
    found = numpy.zeros_like(x)
    for i, j in itertools.product(range(n), range(n)):
        rest = numpy.delete(numpy.delete(x, i, axis=0), j, axis=1)
        found[i, j] = (-1) ** (i + j) * nla.det(rest)
    return found


NINE = numpy.arange(1.0, 10.0).reshape(3, 3)


@needs_linalg
@pytest.mark.parametrize(
    "x",
    [
        NINE,
        numpy.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0]),
        numpy.zeros((3, 3)),
        numpy.eye(3),
        signed(5, 5),
        complex_(4, 4),
        NINE * (1 + 2j),
    ],
    ids=["rank 2", "rank 1", "zero", "identity", "real", "complex", "rank 2, complex"],
)
def test_the_gradient_of_det_is_the_matrix_of_cofactors_at_any_rank(x, backend):
    close(gradient(la.det, x), numpy.conj(minors(x)))


@needs_linalg
def test_the_gradient_of_det_by_hand(backend):
    close(gradient(la.det, [[1.0, 2.0], [2.0, 4.0]]), [[4.0, -2.0], [-2.0, 1.0]])
    close(gradient(la.det, [[3.0]]), [[1.0]])
    hessian = numpy.zeros((2, 2, 2, 2))
    hessian[0, 0, 1, 1] = hessian[1, 1, 0, 0] = 1.0
    hessian[0, 1, 1, 0] = hessian[1, 0, 0, 1] = -1.0
    close(pn.autograd.hessian(la.det, tensor([[0.0, 0.0], [0.0, 0.0]])), hessian)


@needs_linalg
def test_one_singular_matrix_of_a_stack_spoils_no_other(backend):
    x = numpy.stack([numpy.diag([2.0, 4.0]), numpy.ones((2, 2))])
    g = gradient(lambda x: la.slogdet(x).logabsdet, x).numpy()
    numpy.testing.assert_allclose(g[0], numpy.diag([0.5, 0.25]))
    assert numpy.isnan(g[1]).all()
    close(
        gradient(lambda x: la.slogdet(x).logabsdet[:1], x), numpy.stack([numpy.diag([0.5, 0.25]), numpy.zeros((2, 2))])
    )
    close(gradient(lambda x: la.slogdet(x).sign, x), numpy.zeros((2, 2, 2)))


@needs_linalg
def test_equal_singular_values_have_a_gradient(backend):
    close(gradient(la.svdvals, numpy.eye(3)), numpy.eye(3))
    close(gradient(lambda x: la.matrix_norm(x, ord="nuc"), -2.0 * numpy.eye(2)), -numpy.eye(2))
    close(gradient(lambda x: la.svdvals(x) ** 2, numpy.ones((2, 2))), 2 * numpy.ones((2, 2)))
    close(gradient(lambda x: la.svd(x).S ** 2, numpy.eye(3)[:2]), 2 * numpy.eye(3)[:2])


@needs_linalg
def test_equal_eigenvalues_have_a_gradient(backend):
    close(gradient(la.eigvalsh, numpy.eye(3)), numpy.eye(3))
    close(gradient(lambda x: la.eigvalsh(x) ** 3, 2.0 * numpy.eye(2, dtype=complex)), 12.0 * numpy.eye(2))
    close(gradient(la.eigvals, numpy.eye(2)), numpy.eye(2))


TURNED = nla.qr(signed(3, 3) + numpy.eye(3))[0]


@needs_linalg
@pytest.mark.parametrize(
    "x", [numpy.eye(3), TURNED @ numpy.diag([1.0, 1.0, 2.0]) @ TURNED.T], ids=["exactly", "but for rounding"]
)
def test_what_needs_the_vectors_of_equal_values_is_nan_and_never_a_wrong_number(x, backend):
    x = (x + x.T) / 2
    assert numpy.isnan(gradient(lambda x: la.eigh(x).eigenvectors[0, 0] ** 2, x).numpy()).any()
    assert numpy.isnan(gradient(lambda x: la.svd(x).U[0, 0] ** 2, x).numpy()).any()
    matrix_function = lambda x: (la.eigh(x)[1] * pn.log(la.eigh(x)[0])) @ la.eigh(x)[1].mT  # noqa: E731
    assert numpy.isnan(gradient(matrix_function, x).numpy()).any()
    leaf = tensor(x).requires_grad_()
    (g,) = pn.autograd.grad(pn.sum((la.eigvalsh(leaf) - 1) ** 2), leaf, create_graph=True)
    assert numpy.isnan(pn.autograd.grad(g[0, 1], leaf)[0].numpy()).any()


@needs_linalg
@pytest.mark.parametrize("scale", (1e-30, 1e30))
def test_how_near_values_are_is_judged_by_their_size(scale, backend):
    x = numpy.diag([1.0, 2.0, 4.0])
    g = gradient(lambda y: la.eigh(y).eigenvectors @ tensor(numpy.diag([1.0, 2.0, 3.0])) @ la.eigh(y)[1].mT, x * scale)
    expected = gradient(lambda y: la.eigh(y).eigenvectors @ tensor(numpy.diag([1.0, 2.0, 3.0])) @ la.eigh(y)[1].mT, x)
    close(g * scale, expected.numpy())
    assert numpy.abs(expected.numpy()).max() > 0.1
    g = gradient(lambda y: la.svd(y).U[:, :1] @ la.svd(y).Vh[:1, :], x * scale)
    close(g * scale, gradient(lambda y: la.svd(y).U[:, :1] @ la.svd(y).Vh[:1, :], x).numpy())


@needs_linalg
def test_an_output_that_is_not_used_adds_nothing(backend):
    x = matrices(3, 3)
    close(gradient(lambda x: la.slogdet(x).sign, x), numpy.zeros((3, 3)))
    close(gradient(lambda x: la.svd(x).S, numpy.zeros((3, 3))), numpy.zeros((3, 3)))
    q_alone, r_alone = gradient(lambda x: la.qr(x).Q, x), gradient(lambda x: la.qr(x).R, x)
    close(gradient(lambda x: la.qr(x).Q + la.qr(x).R, x), q_alone.numpy() + r_alone.numpy())


@needs_linalg
@pytest.mark.parametrize("dtype", ("float64", "complex128"))
def test_the_gradient_at_a_hermitian_matrix_is_hermitian(dtype, backend):
    p = positive(3, 3, dtype=dtype)
    for function in (la.cholesky, lambda x: la.eigvalsh(x) ** 2, lambda x: pn.abs(la.eigh(x).eigenvectors) ** 3):
        g = gradient(function, p)
        close(pn.conj(g.mT), g.numpy())


@needs_linalg
def test_empty_stacks_and_empty_matrices_have_gradients(backend):
    for shape in ((0, 2, 2), (2, 0, 0)):
        x = numpy.zeros(shape)
        for function in (
            la.det,
            la.inv,
            la.eigvalsh,
            la.svdvals,
            lambda x: la.qr(x).R,
            lambda x: la.slogdet(x).logabsdet,
        ):
            assert gradient(function, x).shape == shape


def test_the_arbitrary_vectors_of_a_full_svd_have_no_gradient():
    with pytest.raises(NotImplementedError, match=r"shape \(4, 3\).*full_matrices=False"):
        gradient(lambda x: la.svd(x).U, matrices(4, 3))
    with pytest.raises(NotImplementedError, match="full_matrices=False"):
        gradient(lambda x: la.svd(x).Vh, matrices(3, 4))
    with pytest.raises(NotImplementedError, match=r"mode='reduced'"):
        gradient(lambda x: la.qr(x, mode="complete").R, matrices(4, 3))


def test_the_rank_is_a_constant():
    assert not la.matrix_rank(tensor(NINE).requires_grad_()).requires_grad
    assert la.matrix_rank(tensor(NINE)).item() == 2
    assert la.matrix_rank(tensor(numpy.diag([1.0, 0.1])), rtol=tensor(0.5)).item() == 1


# ---------------------------------------------------------------------------------------------------------------------
# Kernels, and what is refused.


@needs_linalg
@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "complex128"))
def test_eigenvalues_for_libraries_that_have_none(dtype, backend):
    x = pn.asarray(matrices(2, 3, 3, dtype=dtype))
    xp = namespace_of(x.array)
    values, vectors = [pn.Tensor(y) for y in generic.linalg_eig(xp, x.array)]
    assert values.dtype == ("complex64" if dtype in ("float32", "complex64") else "complex128")
    assert values.device == x.device
    close(pn.astype(x, values.dtype) @ vectors, (vectors * values[:, None, :]).numpy(), dtype)
    close(
        pn.sum(pn.Tensor(generic.linalg_eigvals(xp, x.array)), axis=-1), numpy.trace(x.numpy(), axis1=1, axis2=2), dtype
    )


def test_exclusive_products_do_not_divide(backend):
    x = tensor([[2.0, 3.0, 0.0], [0.0, 5.0, 0.0]])
    xp = namespace_of(x.array)
    close(pn.Tensor(generic.exclusive_products(xp, x.array)), [[0.0, 0.0, 6.0], [0.0, 0.0, 0.0]])


REFUSED = {
    "inv of a tall matrix": (lambda: la.inv(pn.ones((3, 2))), ValueError, r"square.*\(3, 2\)"),
    "det of a vector": (lambda: la.det(pn.ones(3)), ValueError, r"matrices.*\(3,\)"),
    "eigh of whole numbers": (lambda: la.eigh(pn.asarray([[1, 0], [0, 1]])), TypeError, "int64.*astype"),
    "norm of whole numbers": (lambda: la.vector_norm(pn.asarray([1, 2])), TypeError, "int64.*astype"),
    "svd of a list": (lambda: la.svd([[1.0]]), TypeError, "list.*asarray"),
    "solve with a stack of vectors": (lambda: la.solve(pn.ones((5, 3, 3)), pn.ones((5, 3))), ValueError, "None"),
    "solve with a short vector": (lambda: la.solve(pn.ones((3, 3)), pn.ones(2)), ValueError, r"\(3,\).*saw \(2,\)"),
    "cross of two elements": (lambda: la.cross(pn.ones(2), pn.ones(2)), ValueError, "three elements"),
    "cross along another axis": (lambda: la.cross(pn.ones((3, 3)), pn.ones(3), axis=0), ValueError, "from the end"),
    "cross along no axis": (lambda: la.cross(pn.ones(3), pn.ones(3), axis=2), ValueError, "three elements"),
    "outer of matrices": (lambda: la.outer(pn.ones((2, 2)), pn.ones(2)), ValueError, "two vectors"),
    "diagonal of a vector": (lambda: la.diagonal(pn.ones(2)), ValueError, "matrices"),
    "an unknown norm": (lambda: la.matrix_norm(pn.ones((2, 2)), ord=3), ValueError, "ord=3.*'fro'"),
    "an unknown mode": (lambda: la.qr(pn.ones((2, 2)), mode="full"), ValueError, "'reduced' and 'complete'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_a_gradient_of_real_solves_against_finite_differences_in_float32():
    a = real(3, 3).astype("float32") + 2 * numpy.eye(3, dtype="float32")
    g = gradient(lambda x: la.solve(x, pn.ones(3)), a).numpy()
    step = numpy.zeros((3, 3))
    step[1, 2] = 1e-6
    slope = (nla.solve(a + step, numpy.ones(3)).sum() - nla.solve(a - step, numpy.ones(3)).sum()) / 2e-6
    assert g[1, 2] == pytest.approx(slope, rel=1e-4)
