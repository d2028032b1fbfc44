"""The adaptive softmax and the cross entropy of a linear map beside PyTorch's, by hand, and in what they refuse."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import assert_close, case, compared, compared_in_float32, pair, printed_alike, proved
from tests.oracle import of_newest

torch = pytest.importorskip("torch")

RANDOM = numpy.random.default_rng(9)
EVERY = numpy.asarray([0, 11, 3, 4, 7, 8, 2])
LABELS = numpy.asarray([2, 0, 1, 3, 3])
SOME = numpy.asarray([2, -100, 1, 3, 0])
MAPS = RANDOM.integers(0, 4, size=(5, 2, 3))
SHARES = RANDOM.dirichlet([1.0] * 4, size=5)

ADAPTIVE = [
    case("AdaptiveLogSoftmaxWithLoss", 8, 12, [4, 8], 2.0, shapes=[(7, 8), EVERY]),
    case("AdaptiveLogSoftmaxWithLoss", 8, 12, (3, 5, 9), 2.0, True, shapes=[(7, 8), EVERY]),
    case("AdaptiveLogSoftmaxWithLoss", 8, 12, [1], div_value=1.5, shapes=[(7, 8), EVERY]),
    case("AdaptiveLogSoftmaxWithLoss", 8, 12, [4, 8], shapes=[(7, 8), EVERY % 4]),  # a cluster that nothing is in
    case("AdaptiveLogSoftmaxWithLoss", 8, 12, [4, 8], shapes=[(8,), numpy.asarray(9)]),
    case("AdaptiveLogSoftmaxWithLoss", 8, 12, [4, 8], shapes=[(1, 8), EVERY[:1]]),
]
LINEAR = [
    *[case("LinearCrossEntropyLoss", 3, 4, reduction=how, shapes=[(5, 3), LABELS]) for how in ("mean", "sum", "none")],
    case("LinearCrossEntropyLoss", 3, 4, bias=True, label_smoothing=0.2, shapes=[(5, 3), SOME]),
    case("LinearCrossEntropyLoss", 3, 4, ignore_index=3, shapes=[(5, 3), LABELS]),
    case("LinearCrossEntropyLoss", 3, 4, out_features=(2, 3), bias=True, shapes=[(5, 3), MAPS]),
    case("LinearCrossEntropyLoss", 3, 4, bias=True, shapes=[(3,), numpy.asarray(2)]),
    case("LinearCrossEntropyLoss", 3, 4, shapes=[(5, 3), SHARES]),
    case("LinearCrossEntropyLoss", 3, 4, reduction="none", shapes=[(0, 3), LABELS[:0]]),
]
CASES = [*ADAPTIVE, *LINEAR]
EVERYWHERE = (ADAPTIVE[1], LINEAR[3], LINEAR[5])  # the others where no new shape has to be compiled
SHAPED = [one if any([one is some for some in EVERYWHERE]) else pytest.param(one, marks=pytest.mark.eager)
          for one in CASES]  # fmt: skip


@pytest.mark.parametrize("case", SHAPED, ids=str)
def test_losses_gradients_and_state_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", SHAPED, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [ADAPTIVE[0], ADAPTIVE[1], LINEAR[3], LINEAR[5], LINEAR[7]], ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


@pytest.mark.parametrize("case", ADAPTIVE[:3], ids=str)
def test_probabilities_of_all_classes_and_predictions_are_pytorchs(case, backend):
    ours, theirs = pair(case)
    x = RANDOM.normal(size=(20, 8))
    assert_close(ours.log_prob(pn.asarray(x)), theirs.log_prob(torch.tensor(x)))
    predicted = ours.predict(pn.asarray(x)).tolist()
    assert predicted == theirs.predict(torch.tensor(x)).tolist()
    assert len(set(predicted)) > 2
    sums = numpy.exp(ours.log_prob(pn.asarray(x)).detach().numpy()).sum(axis=1)
    numpy.testing.assert_allclose(sums, numpy.ones(20), rtol=1e-12)
    assert_close(ours.log_prob(pn.asarray(x[0])), theirs.log_prob(torch.tensor(x[:1]))[0])


def test_the_answer_names_its_parts(backend):
    softmax = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4, 8])
    answer = softmax(pn.ones((7, 8)), pn.asarray(EVERY))
    assert answer._fields == ("output", "loss")
    assert answer.loss.item() == pytest.approx(-answer.output.detach().numpy().mean(), rel=1e-6)


def test_even_scores_share_the_probability_evenly_by_the_levels(backend):
    softmax = nn.AdaptiveLogSoftmaxWithLoss(4, 10, [2, 4]).to(pn.float64)
    answer = softmax(pn.zeros((3, 4), dtype=pn.float64), pn.asarray([1, 2, 9]))  # a head of 4, clusters of 2 and 6
    numpy.testing.assert_allclose(answer.output.detach().numpy(), -numpy.log([4.0, 8.0, 24.0]), rtol=1e-14)


def test_drawing_anew_changes_every_map(backend):
    softmax = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4, 8], 2.0, head_bias=True)
    before = [p.detach().numpy().copy() for p in softmax.parameters()]
    softmax.reset_parameters()
    after = [p.detach().numpy() for p in softmax.parameters()]
    assert all([(a != b).any() for a, b in zip(after, before, strict=True)])


def test_the_linear_map_is_part_of_the_loss_by_hand(backend):
    x, w = pn.asarray([[1.0, 2.0]]), pn.asarray([[0.0, 0.0], [math.log(3.0), 0.0]])
    loss = F.linear_cross_entropy(x, w, pn.asarray([0]), linear_bias=pn.asarray([0.0, 0.0]))
    assert loss.item() == pytest.approx(math.log(4.0), rel=1e-6)
    assert not isinstance(F.linear_cross_entropy(x.array, w.array, pn.asarray([0]).array), pn.Tensor)


@of_newest
def test_weights_of_classes_are_pytorchs(backend):
    weight = RANDOM.uniform(0.2, 2.0, size=4)
    x, rows = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=(4, 3))
    mine = F.linear_cross_entropy(pn.asarray(x), pn.asarray(rows), pn.asarray(LABELS), weight=pn.asarray(weight))
    his = torch.nn.functional.linear_cross_entropy(
        *[torch.tensor(a) for a in (x, rows, LABELS)], weight=torch.tensor(weight)
    )
    assert_close(mine, his)
    module = nn.LinearCrossEntropyLoss(3, 4, weight=pn.asarray(weight), dtype=pn.float64)
    assert list(module.state_dict()) == ["weight", "linear.weight"]
    module.linear.load_state_dict({"weight": rows})
    assert module(pn.asarray(x), pn.asarray(LABELS)).item() == mine.item()


def test_the_old_name_of_the_loss_of_images_is_that_loss(backend):
    logs = F.log_softmax(pn.asarray(RANDOM.normal(size=(2, 3, 4, 5))), 1)
    labels = pn.asarray(RANDOM.integers(0, 3, size=(2, 4, 5)))
    assert nn.NLLLoss2d(ignore_index=1)(logs, labels).item() == nn.NLLLoss(ignore_index=1)(logs, labels).item()
    assert repr(nn.NLLLoss2d()) == "NLLLoss2d()"


def refused(error, words, function, *args, **options):
    with pytest.raises(error) as caught:
        function(*args, **options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("cutoffs", [[], [0, 3], [3, 3], [5, 3], [3, 10], [2.5]], ids=str)
def test_cutoffs_that_do_not_rise_are_refused(cutoffs):
    refused(ValueError, ["n_classes=10", f"cutoffs={cutoffs}", "9"], nn.AdaptiveLogSoftmaxWithLoss, 4, 10, cutoffs)


def test_what_does_not_go_together_is_refused(backend):
    softmax, x, labels = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4, 8]), pn.ones((5, 8)), pn.asarray(LABELS)
    name = "AdaptiveLogSoftmaxWithLoss"
    refused(ValueError, [name, "target", "(3,)", "(5,)"], softmax, x, labels[:3])
    refused(ValueError, [name, "(N, 8)", "(1, 5, 8)"], softmax, x[None, :, :], labels)
    refused(TypeError, [name, "integer", "float32"], softmax, x, x[:, 0])
    refused(ValueError, ["in_features=8", "(5, 7)"], softmax, x[:, :7], labels)
    function, w = F.linear_cross_entropy, pn.ones((4, 8))
    refused(ValueError, ["linear_cross_entropy", "(1, 5, 8)"], function, x[None, :, :], w, labels)
    refused(
        ValueError, ["linear_cross_entropy", "linear_bias", "(8,)", "(4,)"], function, x, w, labels, linear_bias=x[0, :]
    )
    refused(ValueError, ["(8,)", "(4, 2, 8)", "N"], function, x[0, :], pn.ones((4, 2, 8)), labels)
    refused(ValueError, ["in_features=8", "(5, 7)"], function, x[:, :7], w, labels)
    refused(ValueError, ["ignore_index=2", "probabilities"], function, x, w, pn.ones((5, 4)), ignore_index=2)
    refused(ValueError, ["linear_cross_entropy", "options", "leave it out"], function, x, w, labels, options=object())
    refused(ValueError, ["LinearCrossEntropyLoss", "options"], nn.LinearCrossEntropyLoss, 3, 4, options=object())
    refused(ValueError, ["num_classes=4", "(3,)"], nn.LinearCrossEntropyLoss, 3, 4, weight=pn.ones(3))
    refused(
        ValueError, ["LinearCrossEntropyLoss", "label_smoothing=2"], nn.LinearCrossEntropyLoss, 3, 4, label_smoothing=2
    )


@pytest.mark.parametrize("wrong", [12, -1, -100])
def test_a_target_that_names_no_class_is_an_error_on_the_host_and_nan_elsewhere(wrong, backend):
    softmax, x = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [4, 8]), pn.ones((3, 8))
    target = pn.asarray(numpy.asarray([0, wrong, 11]))
    if backend.name in ("numpy", "torch", "jax"):
        refused(IndexError, ["AdaptiveLogSoftmaxWithLoss", str(wrong), "0 to 11"], softmax, x, target)
    else:
        output = softmax(x, target).output.detach().numpy()
        assert numpy.isnan(output).tolist() == [False, True, False]
