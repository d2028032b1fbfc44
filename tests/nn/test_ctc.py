"""CTC beside PyTorch's and beside the sum over all paths, with every form of its arguments, and what it refuses."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from portanet.testing import check_gradient
from tests.nn.cases import assert_close

torch = pytest.importorskip("torch")

REDUCTIONS = ["mean", "sum", "none"]
RANDOM = numpy.random.default_rng(5)
LOGITS = RANDOM.normal(size=(6, 3, 5)) * 2
PADDED = numpy.asarray([[1, 1, 4, 9], [3, 2, 0, 0], [4, 3, 4, 3]])  # what is beyond the lengths is passed over
STEPS = (6, 4, 6)
COUNTS = (3, 2, 4)
JOINED = numpy.asarray([1, 1, 4, 3, 2, 4, 3, 4, 3])


def ours(logits, targets, steps, counts, **options):
    x = pn.asarray(logits).requires_grad_()
    how = [pn.asarray(numpy.asarray(n)) if isinstance(n, numpy.ndarray) else n for n in (steps, counts)]
    y = F.ctc_loss(F.log_softmax(x, -1), pn.asarray(targets), *how, **options)
    y.backward(pn.asarray(numpy.cos(numpy.arange(y.size, dtype=logits.dtype)).reshape(y.shape)))
    return y, x.grad


def theirs(logits, targets, steps, counts, **options):
    x = torch.tensor(logits, requires_grad=True)
    how = [torch.tensor(n) for n in (steps, counts)]
    y = torch.nn.functional.ctc_loss(torch.log_softmax(x, -1), torch.tensor(targets), *how, **options)
    y.backward(torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape))
    return y, x.grad


# (logits, targets, steps, counts, options)
TABLE = {
    "padded": (LOGITS, PADDED, STEPS, COUNTS, {}),
    "joined": (LOGITS, JOINED, STEPS, COUNTS, {}),
    "another blank": (LOGITS, numpy.where(PADDED == 2, 0, PADDED), STEPS, COUNTS, {"blank": 2}),
    "the last label for blank": (LOGITS, PADDED % 4, STEPS, COUNTS, {"blank": 4}),
    "empty targets": (LOGITS, PADDED, STEPS, (0, 2, 0), {}),
    "empty targets, joined": (LOGITS, JOINED[:3], STEPS, (0, 3, 0), {}),
    "nothing but empty targets": (LOGITS, JOINED[:0], STEPS, (0, 0, 0), {}),
    "no path, no cost": (LOGITS, PADDED, (6, 1, 3), COUNTS, {"zero_infinity": True}),
    "no steps": (LOGITS, PADDED, (6, 0, 0), (3, 1, 0), {"zero_infinity": True}),
    "one step": (LOGITS[:1, :, :], PADDED, (1, 1, 1), (1, 0, 1), {}),
    "one sequence": (LOGITS[:, 0, :], PADDED[0, :3], 6, 3, {}),
    "one sequence, one row": (LOGITS[:, :1, :], PADDED[:1, :], (5,), (2,), {}),
    "32 bits": (LOGITS, PADDED.astype(numpy.int32), STEPS, COUNTS, {}),
}

EVERYWHERE = ("padded", "no path, no cost")  # the others where no new shape has to be compiled
ROWS = [row if row in EVERYWHERE else pytest.param(row, marks=pytest.mark.eager) for row in TABLE]


@pytest.mark.parametrize("lengths", ["tuples", "arrays"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("row", ROWS)
def test_losses_and_gradients_are_pytorchs(row, reduction, lengths, backend):
    logits, targets, steps, counts, options = TABLE[row]
    given = (steps, counts) if lengths == "tuples" else (numpy.asarray(steps), numpy.asarray(counts, dtype="int32"))
    expected = theirs(logits, targets, steps, counts, reduction=reduction, **options)
    for mine, his in zip(ours(logits, targets, *given, reduction=reduction, **options), expected, strict=True):
        assert_close(mine, his, rtol=1e-7)  # PyTorch's own gradient sums to 0 to no more than that


def over_all_paths(logits, target, blank=0):
    """The definition: the sum over every path that reads as the target."""
    p = numpy.exp(logits - numpy.log(numpy.exp(logits).sum(-1, keepdims=True)))
    total = 0.0
    for path in itertools.product(range(p.shape[1]), repeat=p.shape[0]):
        read = [k for k, _ in itertools.groupby(path) if k != blank]
        if read == list(target):
            total += math.prod([p[t, k] for t, k in enumerate(path)])
    return -math.log(total)


@pytest.mark.eager
@pytest.mark.parametrize("target", [(), (1,), (1, 1), (2, 1, 2), (1, 1, 2)], ids=str)
@pytest.mark.parametrize("blank", [0, 3])
def test_it_is_the_sum_over_all_paths(target, blank, backend):
    logits = LOGITS[:5, 0, :4]
    labels = pn.asarray(numpy.asarray(target, dtype=numpy.int64))
    loss = F.ctc_loss(F.log_softmax(pn.asarray(logits), -1), labels, 5, len(target), blank, "sum")
    assert loss.item() == pytest.approx(over_all_paths(logits, target, blank), rel=1e-12)


def test_a_target_without_a_path_has_an_infinite_loss(backend):
    loss, gradient = ours(LOGITS, PADDED, (6, 1, 4), (3, 2, 4), reduction="none")
    assert [math.isinf(x) for x in loss.tolist()] == [False, True, False]
    assert numpy.isfinite(gradient.numpy()[:, [0, 2], :]).all()
    loss, gradient = ours(LOGITS, PADDED, (2, 2, 2), (2, 3, 3), zero_infinity=True)  # 1, 1 needs a blank between
    assert loss.item() == 0.0
    assert (gradient.numpy() == 0).all()


def test_steps_beyond_the_length_get_no_gradient(backend):
    _, gradient = ours(LOGITS, PADDED, STEPS, COUNTS)
    assert (gradient.numpy()[4:, 1, :] == 0).all()
    assert (gradient.numpy()[:4, 1, :] != 0).all()


@pytest.mark.eager
def test_labels_of_probability_0_are_no_trouble(backend):
    logs = numpy.full((3, 1, 3), -math.inf)
    logs[[0, 1, 2], 0, [1, 0, 2]] = 0.0  # the one path there is
    x = pn.asarray(logs).requires_grad_()
    loss = F.ctc_loss(x, pn.asarray([[1, 2]]), (3,), (2,))
    loss.backward()
    assert loss.item() == 0.0
    assert x.grad.tolist() == [[[0.0, -0.5, 0.0]], [[-0.5, 0.0, 0.0]], [[0.0, 0.0, -0.5]]]


def test_float32_stays_float32(backend):
    loss, gradient = ours(LOGITS.astype(numpy.float32), PADDED, STEPS, COUNTS)
    assert loss.dtype is pn.float32
    assert gradient.dtype is pn.float32
    assert loss.item() == pytest.approx(theirs(LOGITS, PADDED, STEPS, COUNTS)[0].item(), rel=1e-5)


def test_raw_arrays_stay_raw(backend):
    logs = F.log_softmax(pn.asarray(LOGITS), -1)
    raw = F.ctc_loss(logs.array, pn.asarray(PADDED).array, STEPS, pn.asarray(numpy.asarray(COUNTS)).array)
    assert not isinstance(raw, pn.Tensor)
    assert pn.Tensor(raw).item() == F.ctc_loss(logs, pn.asarray(PADDED), STEPS, COUNTS).item()


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("row", ["padded", "joined", "empty targets", "no path, no cost", "one sequence"])
def test_gradients_have_the_order_of_smooth_ones(row, order, backend):
    logits, targets, steps, counts, options = TABLE[row]
    report = check_gradient(
        lambda x: F.ctc_loss(x, pn.asarray(targets), steps, counts, reduction="none", **options),
        F.log_softmax(pn.asarray(logits), -1),
        order=order,
        verbose=False,
    )
    assert report.order > 1.8, str(report)


def test_the_module_is_its_function_and_prints_as_pytorchs(backend):
    logs, targets = F.log_softmax(pn.asarray(LOGITS), -1), pn.asarray(PADDED % 4)
    loss = nn.CTCLoss(4, "sum", True)
    expected = F.ctc_loss(logs, targets, (6, 1, 6), COUNTS, 4, "sum", True)
    assert loss(logs, targets, (6, 1, 6), COUNTS).item() == expected.item()
    assert repr(loss) == repr(torch.nn.CTCLoss(4, "sum", True))


def refused(error, words, *args, **options):
    with pytest.raises(error) as caught:
        F.ctc_loss(*args, **options)
    for word in ["ctc_loss", *words]:
        assert word in str(caught.value)


def test_what_does_not_go_together_is_refused(backend):
    logs, targets, joined = pn.zeros((6, 3, 5)), pn.asarray(PADDED % 5), pn.asarray(JOINED)
    refused(ValueError, ["(T, N, C)", "(6,)"], logs[:, 0, 0], targets, STEPS, COUNTS)
    refused(ValueError, ["blank=5", "0 to 4"], logs, targets, STEPS, COUNTS, 5)
    refused(ValueError, ["targets", "(2, 4)", "(3, S)"], logs, targets[:2, :], STEPS, COUNTS)
    refused(ValueError, ["input_lengths", "(2,)", "(3,)"], logs, targets, (6, 6), COUNTS)
    refused(ValueError, ["target_lengths", "(1,)", "(3,)"], logs, targets, STEPS, 4)
    refused(ValueError, ["targets", "(9,)", "add up to 10"], logs, joined, STEPS, (4, 2, 4))
    refused(ValueError, ["'average'"], logs, targets, STEPS, COUNTS, reduction="average")
    refused(TypeError, ["targets", "integer", "float32"], logs, pn.zeros((3, 4)), STEPS, COUNTS)
    refused(TypeError, ["input_lengths", "integer", "float32"], logs, targets, pn.asarray([6.0, 6.0, 6.0]), COUNTS)
    with pytest.raises(ValueError, match="CTCLoss: reduction='average'"):
        nn.CTCLoss(reduction="average")


def test_lengths_and_labels_out_of_range_are_an_error_on_the_host(backend):
    logs, targets, joined = pn.zeros((6, 3, 5)), pn.asarray(PADDED % 5), pn.asarray(JOINED)
    wrong = pn.asarray(numpy.asarray([[1, 7, 2, 3], [1, 2, 3, 4], [4, 3, 2, 1]]))
    if backend.name in ("numpy", "torch", "jax"):
        refused(ValueError, ["input_lengths", "7", "0 to 6"], logs, targets, (6, 7, 6), COUNTS)
        refused(ValueError, ["target_lengths", "-1", "0 to 4"], logs, targets, STEPS, (3, -1, 4))
        refused(ValueError, ["sums", "10", "9"], logs, joined, STEPS, pn.asarray([4, 2, 4]))
        refused(IndexError, ["targets", "7", "0 to 4"], logs, wrong, STEPS, COUNTS)
    else:
        losses = F.ctc_loss(logs, wrong, STEPS, COUNTS, reduction="none").numpy()
        assert numpy.isnan(losses).tolist() == [True, False, False]


def test_a_compiler_can_trace_it_with_lengths_that_it_does_not_know():
    jax = pytest.importorskip("jax")

    @jax.jit
    def step(logits, targets, steps, counts):
        x = pn.Tensor(logits).requires_grad_()
        loss = F.ctc_loss(F.log_softmax(x, -1), pn.Tensor(targets), pn.Tensor(steps), pn.Tensor(counts))
        loss.backward()
        return loss.array, x.grad.array

    for targets in (PADDED, JOINED):
        given = [jax.numpy.asarray(x) for x in (LOGITS, targets, STEPS, COUNTS)]
        for mine, his in zip(step(*given), theirs(LOGITS, targets, STEPS, COUNTS), strict=True):
            numpy.testing.assert_allclose(mine, his.detach().numpy(), rtol=1e-6, atol=1e-9)
