"""Norms, distances and angles beside PyTorch's; where vectors are zero or equal; and by hand."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from portanet.testing import check_gradient
from tests.nn.cases import arrays, assert_close, case, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")

CASES = [
    case("CosineSimilarity", shapes=[(3, 4), (3, 4)]),
    case("CosineSimilarity", 0, shapes=[(3, 4), (3, 4)]),
    case("CosineSimilarity", dim=-1, eps=10.0, shapes=[(2, 3, 4), (2, 3, 4)]),
    case("CosineSimilarity", 2, shapes=[(2, 3, 4), (4,)]),
    case("CosineSimilarity", shapes=[(3, 1), (1, 4)]),
    case("CosineSimilarity", 0, shapes=[(4,), (4,)]),
    case("CosineSimilarity", shapes=[(0, 4), (0, 4)]),
    case("PairwiseDistance", shapes=[(3, 4), (3, 4)]),
    case("PairwiseDistance", 1, shapes=[(3, 4), (3, 4)]),
    case("PairwiseDistance", p=3.5, eps=0.1, shapes=[(3, 4), (3, 4)]),
    case("PairwiseDistance", 0.5, shapes=[(3, 4), (3, 4)]),
    case("PairwiseDistance", math.inf, shapes=[(3, 4), (3, 4)]),
    case("PairwiseDistance", 0, shapes=[(3, 4), (3, 4)]),
    case("PairwiseDistance", keepdim=True, shapes=[(2, 3, 4), (4,)]),
    case("PairwiseDistance", shapes=[(4,), (4,)]),
    case("PairwiseDistance", shapes=[(3, 1), (3, 1)]),
    case("PairwiseDistance", shapes=[(0, 4), (0, 4)]),
]
SMOOTH = [
    case("CosineSimilarity", shapes=[(3, 4), (3, 4)]),
    case("PairwiseDistance", shapes=[(3, 4), (3, 4)]),
    case("PairwiseDistance", p=3.5, shapes=[(3, 4), (4,)]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_are_pytorchs(case, backend):
    if case.options.get("eps") == 10.0:  # PyTorch cuts the length off, but not its slope
        x, y = case.values(0)
        ours = case.ours()(pn.asarray(x), pn.asarray(y))
        assert_close(ours, case.theirs()(torch.from_numpy(x), torch.from_numpy(y)))
    else:
        compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_is_pytorchs(case):
    printed_alike(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


def beside(name, x, options):
    """Value and gradient of a function of one array, beside PyTorch's."""
    ours, theirs = pn.asarray(x).requires_grad_(), torch.from_numpy(x).requires_grad_()
    y, u = getattr(F, name)(ours, **options), getattr(torch.nn.functional, name)(theirs, **options)
    assert_close(y, u)
    g = numpy.asarray(arrays([tuple(u.shape)], seed=9)[0])
    y.backward(pn.asarray(g))
    u.backward(torch.from_numpy(g))
    assert_close(ours.grad, theirs.grad)


NORMALIZED = [
    ((3, 4), {}),
    ((3, 4), {"p": 1.0, "dim": 0}),
    ((3, 4), {"p": 3.0}),
    ((3, 4), {"p": 0.5}),
    ((3, 4), {"p": math.inf}),
    ((3, 4), {"p": 0}),
    ((3, 4), {"eps": 100.0}),
    ((2, 3, 4), {"dim": -1}),
    ((2, 3, 4), {"dim": (0, 2)}),
    ((4,), {"dim": 0}),
    ((3, 1), {}),
    ((0, 4), {}),
]


@pytest.mark.parametrize(("shape", "options"), NORMALIZED, ids=str)
def test_normalize_is_pytorchs(shape, options, backend):
    beside("normalize", arrays([shape])[0], options)


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, math.inf])
@pytest.mark.parametrize("shape", [(5, 3), (2, 1)], ids=str)
def test_pdist_is_pytorchs(p, shape, backend):
    beside("pdist", arrays([shape])[0], {"p": p})


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (0, 0), (3, 0)], ids=str)
def test_pdist_of_nothing(shape, backend):
    x = pn.ones(shape).requires_grad_()
    y = F.pdist(x)
    assert y.shape == (shape[0] * (shape[0] - 1) // 2 if shape[0] else 0,)
    assert y.tolist() == [0.0] * y.shape[0]
    pn.sum(y).backward()
    assert x.grad.tolist() == pn.zeros(shape).tolist()


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_of_functions_have_the_order_of_smooth_ones(order, backend):
    x = pn.asarray(arrays([(4, 3)])[0])
    for function in (F.normalize, F.pdist, lambda x: F.normalize(x, 3.0, 0), lambda x: F.pdist(x, 2.5)):
        assert check_gradient(function, x, order=order, verbose=False).order > 1.8


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, math.inf])
def test_zero_and_equal_vectors_have_a_gradient_of_0(p, backend):
    x = pn.asarray([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]).requires_grad_()
    pn.sum(F.pdist(x, p)).backward()
    assert numpy.isfinite(x.grad.numpy()).all()
    x = pn.zeros((2, 3)).requires_grad_()
    y = F.normalize(x, p)
    assert y.tolist() == [[0.0] * 3] * 2
    pn.sum(F.pairwise_distance(x, pn.zeros(3), p, eps=0.0)).backward()
    assert x.grad.tolist() == [[0.0] * 3] * 2
    z = pn.zeros((2, 3)).requires_grad_()
    cosines = F.cosine_similarity(z, pn.ones((2, 3)))
    assert cosines.tolist() == [0.0, 0.0]
    pn.sum(cosines).backward()
    numpy.testing.assert_allclose(z.grad.numpy(), 1e8 / math.sqrt(3), rtol=1e-5)  # as PyTorch's


def test_numbers_by_hand(backend):
    x = pn.asarray([[3.0, 4.0], [0.0, 2.0]])
    numpy.testing.assert_allclose(F.normalize(x).numpy(), [[0.6, 0.8], [0.0, 1.0]], rtol=1e-6)
    numpy.testing.assert_allclose(F.cosine_similarity(x, pn.asarray([[4.0, 3.0]])).numpy(), [0.96, 0.6], rtol=1e-6)
    assert F.pairwise_distance(x, pn.zeros(2), 1, eps=0.0).tolist() == [7.0, 2.0]
    assert F.pairwise_distance(x, pn.zeros(2), math.inf, eps=0.0, keepdim=True).tolist() == [[4.0], [2.0]]
    triangle = pn.asarray([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [3.0, 4.0]])
    assert F.pdist(triangle).tolist() == [3.0, 4.0, 5.0, 5.0, 4.0, 3.0]
    assert F.pdist(triangle, 0).tolist() == [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]


def test_the_pairs_come_in_order_for_many_rows(backend):
    x = arrays([(23, 2)])[0]
    i, j = numpy.triu_indices(23, 1)
    expected = numpy.sqrt(((x[i] - x[j]) ** 2).sum(axis=1))
    numpy.testing.assert_allclose(F.pdist(pn.asarray(x)).numpy(), expected, rtol=1e-12)


def test_raw_arrays_stay_raw(backend):
    x = pn.asarray(arrays([(3, 4)])[0].astype("float32"))
    two = {"cosine_similarity": 1, "pairwise_distance": 1, "normalize": 0, "pdist": 0}
    for name, more in two.items():
        y = getattr(F, name)(x.array, *[x.array * 2] * more)
        assert type(y) is type(x.array), name
        assert pn.Tensor(y).dtype is pn.float32
        mixed = getattr(F, name)(x, *[x.array * 2] * more)  # where one is a Tensor, the result is one
        numpy.testing.assert_array_equal(pn.Tensor(y).numpy(), mixed.numpy())


def test_wrong_arguments_are_refused():
    x = pn.ones((2, 3))
    with pytest.raises(ValueError, match=r"cosine_similarity: the inputs have shapes \(2, 3\) and \(2, 4\)"):
        nn.CosineSimilarity()(x, pn.ones((2, 4)))
    with pytest.raises(ValueError, match=r"pairwise_distance: the inputs have shapes \(2, 3\) and \(4,\)"):
        nn.PairwiseDistance()(x, pn.ones(4))
    with pytest.raises(TypeError, match="pairwise_distance: the second input is float64, the input float32"):
        nn.PairwiseDistance()(x, pn.ones((2, 3), dtype=pn.float64))
    with pytest.raises(IndexError, match=r"cosine_similarity: dim=2 is not an axis .* \(2, 3\)"):
        nn.CosineSimilarity(2)(x, x)
    with pytest.raises(IndexError, match=r"normalize: dim=1 is not an axis .* \(3,\)"):
        F.normalize(pn.ones(3))
    with pytest.raises(ValueError, match="pairwise_distance: the inputs have no axis"):
        F.pairwise_distance(pn.asarray(1.0), pn.asarray(2.0))
    with pytest.raises(ValueError, match=r"pdist: expected an input of shape \(N, M\), saw \(3,\)"):
        F.pdist(pn.ones(3))
    with pytest.raises(ValueError, match="PairwiseDistance: p=-1; expected a number >= 0, or inf"):
        nn.PairwiseDistance(-1)
    for name in ("normalize", "pdist"):
        with pytest.raises(ValueError, match=f"{name}: p=-1; expected a number >= 0, or inf"):
            getattr(F, name)(x, -1)
        with pytest.raises(TypeError, match=f"{name}: expected a real floating input, saw int"):
            getattr(F, name)(pn.asarray([[1, 2]]))
