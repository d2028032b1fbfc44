"""Losses of margins and embeddings beside PyTorch's, by hand, at their kinks, and in what they refuse."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import assert_close, case, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")

RANDOM = numpy.random.default_rng(11)
REDUCTIONS = ["mean", "sum", "none"]
SIGNS = numpy.where(RANDOM.uniform(size=(5, 4)) < 0.5, -1, 1)
LABELS = numpy.asarray([2, 0, 3, 3, 1])
LISTS = numpy.asarray([[2, 0, -1, 1], [0, 1, 2, 3], [-1, 1, 2, 3], [3, -1, -1, -1], [1, 1, 0, -1]])
ONES = numpy.asarray(RANDOM.uniform(size=(5, 4)) < 0.5, dtype=numpy.float64)
SCORES = RANDOM.normal(size=(5, 4)) * 2


def of_all(name, *args, shapes, **options):
    return [case(name, *args, shapes=shapes, reduction=how, **options) for how in REDUCTIONS]


def distances(shape):
    return numpy.asarray(abs(RANDOM.normal(size=shape)) * 2)


CASES = [
    *of_all("MarginRankingLoss", shapes=[(5, 4), (5, 4), SIGNS]),
    case("MarginRankingLoss", 0.5, shapes=[(5, 4), (5, 4), SIGNS.astype(numpy.float64)]),
    case("MarginRankingLoss", reduction="none", shapes=[(5, 4), (1, 4), SIGNS[:, :1]]),
    case("MarginRankingLoss", -0.5, shapes=[(), (), numpy.asarray(1)]),
    case("MarginRankingLoss", reduction="none", shapes=[(0, 3), (0, 3), numpy.ones((0, 3), dtype=numpy.int64)]),
    *of_all("HingeEmbeddingLoss", shapes=[distances((5, 4)), SIGNS]),
    case("HingeEmbeddingLoss", 2.5, shapes=[distances(5), SIGNS[:, 0]]),
    case("HingeEmbeddingLoss", reduction="none", shapes=[distances((2, 2)), numpy.asarray([[0, 1], [-1, 2]])]),
    case("HingeEmbeddingLoss", shapes=[distances(()), numpy.asarray(-1)]),
    case("HingeEmbeddingLoss", reduction="sum", shapes=[(0, 3), numpy.ones((0, 3), dtype=numpy.int64)]),
    *of_all("SoftMarginLoss", shapes=[(5, 4), SIGNS]),
    case("SoftMarginLoss", shapes=[(), numpy.asarray(-1)]),
    *of_all("MultiMarginLoss", shapes=[(5, 4), LABELS]),
    *of_all("MultiMarginLoss", 2, 0.7, shapes=[(5, 4), LABELS]),
    case("MultiMarginLoss", margin=-0.5, shapes=[(4,), numpy.asarray(2)]),
    case("MultiMarginLoss", 2, reduction="none", shapes=[(4,), numpy.asarray(0)]),
    case("MultiMarginLoss", shapes=[(5, 1), numpy.zeros(5, dtype=numpy.int64)]),
    case("MultiMarginLoss", reduction="none", shapes=[(0, 4), numpy.zeros(0, dtype=numpy.int64)]),
    *of_all("MultiLabelMarginLoss", shapes=[(5, 4), LISTS]),
    case("MultiLabelMarginLoss", reduction="none", shapes=[(4,), LISTS[0]]),
    case("MultiLabelMarginLoss", shapes=[(5, 1), LISTS[:, :1] * 0]),
    case("MultiLabelMarginLoss", reduction="none", shapes=[(0, 4), LISTS[:0]]),
    *of_all("MultiLabelSoftMarginLoss", shapes=[(5, 4), ONES]),
    case("MultiLabelSoftMarginLoss", reduction="none", shapes=[(2, 3, 4), ONES[:3] * numpy.ones((2, 1, 1))]),
    case("MultiLabelSoftMarginLoss", reduction="none", shapes=[(4,), LISTS[0] % 2]),
    case("MultiLabelSoftMarginLoss", reduction="none", shapes=[(0, 4), LISTS[:0]]),
    *of_all("CosineEmbeddingLoss", shapes=[(5, 4), (5, 4), SIGNS[:, 0]]),
    case("CosineEmbeddingLoss", 0.3, shapes=[(5, 4), (5, 4), SIGNS[:, 1].astype(numpy.float64)]),
    case(
        "CosineEmbeddingLoss", reduction="none", shapes=[(5, 4), (1, 4), SIGNS[:, 0] * numpy.asarray([0, 1, 1, 1, 1])]
    ),
    case("CosineEmbeddingLoss", -0.5, shapes=[(3,), (3,), numpy.asarray(-1)]),
    case("CosineEmbeddingLoss", shapes=[(5, 1), (5, 1), SIGNS[:, 0]]),
    case("CosineEmbeddingLoss", reduction="none", shapes=[(0, 3), (0, 3), SIGNS[:0, 0]]),
    *of_all("TripletMarginLoss", shapes=[(5, 4), (5, 4), (5, 4)]),
    *[case("TripletMarginLoss", 2.0, p, shapes=[(5, 4)] * 3) for p in (1.0, 3.0, 0.5, math.inf)],
    case("TripletMarginLoss", 0.5, 2.0, 0.1, True, shapes=[(5, 4)] * 3),
    case("TripletMarginLoss", swap=True, eps=0.0, reduction="none", shapes=[(4,)] * 3),
    case("TripletMarginLoss", reduction="none", shapes=[(2, 1, 3), (2, 1, 3), (1, 4, 3)]),
    case("TripletMarginLoss", reduction="none", shapes=[(0, 4)] * 3),
]
FEW = [one for k, one in enumerate(CASES) if k == 0 or str(one).split("(")[0] != str(CASES[k - 1]).split("(")[0]]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_losses_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", FEW, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.parametrize("case", FEW, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


SMOOTH = [
    case("SoftMarginLoss", shapes=[(5, 4), SIGNS]),
    case("MultiLabelSoftMarginLoss", shapes=[(5, 4), ONES]),
    case("MultiMarginLoss", 2, 20.0, shapes=[(5, 4), LABELS]),  # margins so wide that no hinge is near its kink
    case("MultiMarginLoss", 1, 20.0, shapes=[(5, 4), LABELS]),
    case("MarginRankingLoss", 20.0, shapes=[(5, 4), (5, 4), SIGNS]),
    case("HingeEmbeddingLoss", 20.0, shapes=[(5, 4), SIGNS]),
    case("CosineEmbeddingLoss", -1.0, shapes=[(5, 4), (5, 4), SIGNS[:, 0]]),
    case("TripletMarginLoss", 20.0, shapes=[(5, 4)] * 3),
    case("TripletMarginLoss", 20.0, 3.0, shapes=[(5, 4)] * 3),
]


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


# ------------------------------------------------------------------------------------------------- weights, distances


def both(name, arrays, weight, **options):
    """The loss and the first array's gradient, ours and PyTorch's, with a weight."""
    x, t = pn.asarray(arrays[0]).requires_grad_(), torch.tensor(arrays[0], requires_grad=True)
    y = getattr(F, name)(x, pn.asarray(arrays[1]), weight=pn.asarray(weight), **options)
    u = getattr(torch.nn.functional, name)(t, torch.tensor(arrays[1]), weight=torch.tensor(weight), **options)
    pn.sum(y).backward()
    u.sum().backward()
    return (y, u), (x.grad, t.grad)


WEIGHT = numpy.asarray([0.5, 2.0, 1.5, 0.0])
POSITIVE = RANDOM.uniform(0.1, 2.0, size=(5, 4))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "target", "weight", "options"),
    [
        ("multi_margin_loss", LABELS, WEIGHT, {}),
        ("multi_margin_loss", LABELS, WEIGHT, {"p": 2, "margin": 3.0}),
        ("multilabel_soft_margin_loss", ONES, WEIGHT, {}),
        ("multilabel_soft_margin_loss", ONES, POSITIVE, {}),
        ("mse_loss", ONES, POSITIVE, {}),
        ("l1_loss", ONES, POSITIVE, {}),
        ("huber_loss", ONES, POSITIVE, {"delta": 0.5}),
    ],
)
def test_weights_are_pytorchs(name, target, weight, options, reduction, backend):
    for mine, his in both(name, [SCORES, target], weight, reduction=reduction, **options):
        assert_close(mine, his)


def test_the_weight_of_a_mean_gets_pytorchs_gradient(backend):
    w, v = pn.asarray(POSITIVE).requires_grad_(), torch.tensor(POSITIVE, requires_grad=True)
    F.mse_loss(pn.asarray(SCORES), pn.asarray(ONES), weight=w).backward()
    torch.nn.functional.mse_loss(torch.tensor(SCORES), torch.tensor(ONES), weight=v).backward()
    assert_close(w.grad, v.grad)


def test_modules_keep_their_weights_as_buffers(backend):
    weight = pn.asarray(WEIGHT)
    for module, target in ((nn.MultiMarginLoss(2, 0.5, weight), LABELS), (nn.MultiLabelSoftMarginLoss(weight), ONES)):
        assert list(module.state_dict()) == ["weight"]
        his = getattr(torch.nn, type(module).__name__)
        theirs = his(2, 0.5, torch.tensor(WEIGHT)) if target is LABELS else his(torch.tensor(WEIGHT))
        assert_close(module(pn.asarray(SCORES), pn.asarray(target)), theirs(torch.tensor(SCORES), torch.tensor(target)))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("swap", [False, True])
def test_triplets_by_another_distance_are_pytorchs(swap, reduction, backend):
    points = [RANDOM.normal(size=(5, 4)) for _ in range(3)]
    ours = nn.TripletMarginWithDistanceLoss(
        distance_function=lambda a, b: pn.max(pn.abs(a - b), axis=1), margin=0.7, swap=swap, reduction=reduction
    )
    theirs = torch.nn.TripletMarginWithDistanceLoss(
        distance_function=lambda a, b: (a - b).abs().amax(1), margin=0.7, swap=swap, reduction=reduction
    )
    default = nn.TripletMarginWithDistanceLoss(margin=0.7, swap=swap, reduction=reduction)
    his = torch.nn.TripletMarginWithDistanceLoss(margin=0.7, swap=swap, reduction=reduction)
    for mine, other in ((ours, theirs), (default, his)):
        x = [pn.asarray(p).requires_grad_() for p in points]
        t = [torch.tensor(p, requires_grad=True) for p in points]
        y, u = mine(*x), other(*t)
        assert_close(y, u)
        pn.sum(y).backward()
        u.sum().backward()
        for a, b in zip(x, t, strict=True):
            assert_close(a.grad, b.grad)


def test_a_distance_that_is_a_module_is_a_part_of_the_loss(backend):
    class Stretched(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(3, 2, bias=False)

        def forward(self, a, b):
            return pn.sum(pn.abs(self.map(a - b)), axis=-1)

    loss = nn.TripletMarginWithDistanceLoss(distance_function=Stretched())
    assert list(loss.state_dict()) == ["distance_function.map.weight"]
    x = pn.ones((2, 3))
    assert loss(x, x, x).item() == 1.0


def test_the_norm_of_order_0_counts_the_differences(backend):
    anchor, near, far = pn.asarray([1.0, 2.0, 3.0]), pn.asarray([1.0, 2.0, 4.0]), pn.asarray([0.0, 2.0, 4.0])
    assert F.triplet_margin_loss(anchor, near, far, 1.5, p=0, eps=0.0).item() == 1.5 + 1 - 2


# -------------------------------------------------------------------------------------------------------- by hand


def value(name, *arrays, **options):
    return getattr(F, name)(*[pn.asarray(x) for x in arrays], **options)


BY_HAND = [
    ("margin_ranking_loss", ([3.0, 1.0], [1.0, 2.0], [1, 1]), {"margin": 0.5}, 0.75),
    ("hinge_embedding_loss", ([0.5, 0.25, 3.0], [1, -1, -1]), {}, 1.25 / 3),
    ("soft_margin_loss", ([0.0, math.log(3.0)], [1, -1]), {"reduction": "sum"}, math.log(2) + math.log(4)),
    ("multi_margin_loss", ([[0.5, 2.0, 0.0]], [0]), {"p": 2}, (2.5**2 + 0.5**2) / 3),
    ("multilabel_margin_loss", ([[0.1, 0.2, 0.4, 0.8]], [[3, 0, -1, 1]]), {}, 0.85),
    ("multilabel_soft_margin_loss", ([[0.0, math.log(3.0)]], [[1, 0]]), {}, 1.5 * math.log(2)),
    ("cosine_embedding_loss", ([[3.0, 4.0]], [[4.0, 3.0]], [-1]), {"margin": 0.5}, 0.46),
    ("triplet_margin_loss", ([[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 5.5]]), {"eps": 0.0}, 0.5),
    ("triplet_margin_with_distance_loss", ([[0.0]], [[3.0]], [[5.0]]), {"margin": 4.0, "swap": True}, 5.0),
]


@pytest.mark.parametrize(("name", "arrays", "options", "expected"), BY_HAND, ids=[row[0] for row in BY_HAND])
def test_a_number_by_hand(name, arrays, options, expected, backend):
    loss = value(name, *arrays, **options)
    assert loss.dtype is pn.float32
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "arrays", "options", "expected"), BY_HAND, ids=[row[0] for row in BY_HAND])
def test_raw_arrays_stay_raw(name, arrays, options, expected, backend):
    raw = [pn.asarray(x).array for x in arrays]
    loss = getattr(F, name)(*raw, **options)
    assert not isinstance(loss, pn.Tensor)
    assert pn.Tensor(loss).item() == pytest.approx(expected, rel=1e-5)
    assert isinstance(getattr(F, name)(raw[0], pn.Tensor(raw[1]), *raw[2:], **options), pn.Tensor)


def test_scores_of_a_thousand_on_the_wrong_side_cost_a_thousand(backend):
    x = pn.asarray([1000.0, -1000.0]).requires_grad_()
    loss = F.soft_margin_loss(x, pn.asarray([-1, -1]), reduction="sum")
    loss.backward()
    assert loss.item() == 1000.0
    assert x.grad.tolist() == [1.0, 0.0]


def test_points_that_coincide_feel_the_margin(backend):
    x = pn.zeros((2, 3)).requires_grad_()
    loss = F.margin_ranking_loss(x, pn.zeros((2, 3)), pn.ones((2, 3)), reduction="sum")
    loss.backward()
    assert x.grad.tolist() == [[-1.0] * 3] * 2


def test_triplets_that_coincide_have_no_infinite_slope(backend):
    for p in (2.0, 0.5, 3.0):
        x = pn.zeros((2, 3)).requires_grad_()
        F.triplet_margin_loss(x, pn.zeros((2, 3)), pn.ones((2, 3)), 9.0, p, eps=0.0).backward()
        assert numpy.isfinite(x.grad.numpy()).all()


# --------------------------------------------------------------------------------------------------------- refusals


def refused(error, words, function, *args, **options):
    with pytest.raises(error) as caught:
        function(*args, **options)
    for word in words:
        assert word in str(caught.value)


def test_shapes_that_do_not_go_together_are_refused(backend):
    x, signs = pn.ones((4, 3)), pn.ones((4, 3), dtype=pn.int64)
    refused(ValueError, ["margin_ranking_loss", "input2", "(3,)"], F.margin_ranking_loss, x, x[0, :], signs)
    refused(ValueError, ["margin_ranking_loss", "target", "(2, 3)"], F.margin_ranking_loss, x, x, signs[:2, :])
    for function in (
        F.hinge_embedding_loss,
        F.soft_margin_loss,
        F.multilabel_soft_margin_loss,
        F.multilabel_margin_loss,
    ):
        refused(ValueError, [function.__name__, "target", "(3,)", "(4, 3)"], function, x, signs[0, :])
    refused(ValueError, ["multi_margin_loss", "target", "(4, 3)", "(4,)"], F.multi_margin_loss, x, signs)
    refused(ValueError, ["(C,) or (N, C)", "(1, 4, 3)"], F.multi_margin_loss, x[None, :, :], signs)
    refused(ValueError, ["weight", "(4,)", "(3,)"], F.multi_margin_loss, x, signs[:, 0], weight=pn.ones(4))
    refused(
        ValueError, ["multilabel_soft_margin_loss", "without axes"], F.multilabel_soft_margin_loss, x[0, 0], x[0, 0]
    )
    refused(ValueError, ["cosine_embedding_loss", "target", "(3,)", "(4,)"], F.cosine_embedding_loss, x, x, signs[0, :])
    refused(ValueError, ["(D,) or (N, D)", "(1, 4, 3)"], F.cosine_embedding_loss, x[None, :, :], x, signs)
    refused(ValueError, ["triplet_margin_loss", "negative", "(4, 2)"], F.triplet_margin_loss, x, x, x[:, :2])
    own = {"distance_function": lambda a, b: pn.sum(a - b)}
    refused(ValueError, ["[2, 2, 1] axes"], F.triplet_margin_with_distance_loss, x, x, x[0, :], **own)
    refused(ValueError, ["mse_loss", "weight", "(3,)", "(4, 3)"], F.mse_loss, x, x, weight=x[0, :])


def test_dtypes_that_do_not_go_together_are_refused(backend):
    x, wide, signs = pn.ones((4, 3)), pn.ones((4, 3), dtype=pn.float64), pn.ones((4, 3), dtype=pn.int64)
    refused(TypeError, ["input2", "float64", "float32"], F.margin_ranking_loss, x, wide, signs)
    refused(TypeError, ["target", "float64", "float32"], F.hinge_embedding_loss, x, wide)
    refused(TypeError, ["negative", "float64", "float32"], F.triplet_margin_loss, x, x, wide)
    refused(TypeError, ["label indices", "integer", "float32"], F.multilabel_margin_loss, x, x)
    refused(TypeError, ["real floating", "int64"], F.soft_margin_loss, signs, signs)
    refused(TypeError, ["list"], F.cosine_embedding_loss, x, x, [1, 1, 1, 1])


def test_numbers_out_of_range_are_refused():
    x = pn.ones((4, 3))
    refused(ValueError, ["p=3", "1 or 2"], nn.MultiMarginLoss, 3)
    refused(ValueError, ["p=3", "1 or 2"], F.multi_margin_loss, x, pn.asarray([0, 1, 2, 0]), 3)
    for kind in (nn.TripletMarginLoss, nn.TripletMarginWithDistanceLoss):
        refused(ValueError, [kind.__name__, "margin=0.0", "> 0"], kind, margin=0.0)
    refused(ValueError, ["triplet_margin_loss", "margin=-1"], F.triplet_margin_loss, x, x, x, -1)
    refused(ValueError, ["triplet_margin_loss", "p=-1"], F.triplet_margin_loss, x, x, x, p=-1)
    for kind in (nn.MarginRankingLoss, nn.CosineEmbeddingLoss, nn.SoftMarginLoss, nn.MultiLabelMarginLoss):
        refused(ValueError, [kind.__name__, "'batchmean'", "mean, sum, none"], kind, reduction="batchmean")


@pytest.mark.parametrize("wrong", [4, -2])
def test_an_index_that_names_no_class_is_an_error_on_the_host_and_nan_elsewhere(wrong, backend):
    x = pn.asarray(SCORES)
    labels, lists = pn.asarray(numpy.asarray([0, wrong, 1, 2, 3])), LISTS.copy()
    lists[1, 2] = wrong if wrong > 0 else -2
    calls = [(F.multi_margin_loss, labels)]
    if wrong > 0:  # below 0 a list ends, wherever PyTorch looks no further
        calls.append((F.multilabel_margin_loss, pn.asarray(lists)))
    for function, target in calls:
        if backend.name in ("numpy", "torch", "jax"):
            refused(IndexError, [function.__name__, str(wrong), "to 3"], function, x, target)
        else:
            losses = function(x, target, reduction="none").numpy()
            assert numpy.isnan(losses).tolist() == [False, True, False, False, False]


def test_the_losses_compile_to_the_same_numbers():
    jax = pytest.importorskip("jax")

    def both(x, signs, labels, lists):
        pairs = F.hinge_embedding_loss(x, signs) + F.margin_ranking_loss(x, 0 - x, signs)
        return pairs + F.multi_margin_loss(x, labels) + F.multilabel_margin_loss(x, lists)

    arrays = [jax.numpy.asarray(a) for a in (SCORES, SIGNS, LABELS, LISTS)]
    assert float(jax.jit(both)(*arrays)) == pytest.approx(float(both(*arrays)), rel=1e-12)
