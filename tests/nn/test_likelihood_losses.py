"""Gaussian and Poisson losses beside PyTorch's, by hand, where logarithms run out, and in what they refuse."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import assert_close, case, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")

RANDOM = numpy.random.default_rng(3)
REDUCTIONS = ["mean", "sum", "none"]
VARIANCES = RANDOM.uniform(0.2, 3.0, size=(5, 4))
SMALL = VARIANCES.copy()
SMALL[1, 2] = 0.0
SMALL[3, :] = 0.05  # below the eps of its case
# As numbers that vary they are none of them 0, where PyTorch's slope is nan with full=True.
COUNTS = RANDOM.integers(0, 5, size=(5, 4))
MEANS = RANDOM.uniform(0.2, 4.0, size=(5, 4))

CASES = [
    *[case("GaussianNLLLoss", reduction=how, shapes=[(5, 4), (5, 4), VARIANCES]) for how in REDUCTIONS],
    case("GaussianNLLLoss", full=True, shapes=[(5, 4), (5, 4), VARIANCES]),
    case("GaussianNLLLoss", eps=0.1, reduction="none", shapes=[(5, 4), (5, 4), SMALL]),
    case("GaussianNLLLoss", shapes=[(5, 4), (5, 4), VARIANCES[:, :1]]),
    case("GaussianNLLLoss", shapes=[(5, 4), (5, 4), VARIANCES[:, 0]]),
    case("GaussianNLLLoss", reduction="none", shapes=[(5, 4), (5, 4), VARIANCES[:1, :]]),
    case("GaussianNLLLoss", shapes=[(), (), numpy.asarray(2.0)]),
    case("GaussianNLLLoss", reduction="none", shapes=[(0, 4), (0, 4), VARIANCES[:0, :]]),
    *[case("PoissonNLLLoss", reduction=how, shapes=[(5, 4), COUNTS]) for how in REDUCTIONS],
    case("PoissonNLLLoss", True, True, shapes=[(5, 4), COUNTS + 0.5]),
    case("PoissonNLLLoss", full=True, shapes=[(5, 4), MEANS]),
    case("PoissonNLLLoss", False, shapes=[MEANS, COUNTS]),
    case("PoissonNLLLoss", False, eps=0.5, full=True, reduction="none", shapes=[MEANS, COUNTS + 0.25]),
    case("PoissonNLLLoss", shapes=[(), numpy.asarray(3)]),
    case("PoissonNLLLoss", reduction="none", shapes=[(0, 4), COUNTS[:0, :]]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_losses_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.parametrize("case", [CASES[3], CASES[-3]], ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [one for one in CASES if "none" not in str(one)], ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


@pytest.mark.parametrize("var", [2.0, 0.0, 3])
def test_a_variance_may_be_a_number(var, backend):
    x, y = RANDOM.normal(size=(2, 5, 4))
    mine = F.gaussian_nll_loss(pn.asarray(x), pn.asarray(y), var, eps=0.1)
    his = torch.nn.functional.gaussian_nll_loss(torch.tensor(x), torch.tensor(y), float(var), eps=0.1)
    assert_close(mine, his)


BY_HAND = [
    ("gaussian_nll_loss", ([0.0, 1.0], [2.0, 1.0], [4.0, 1.0]), {}, (math.log(4) / 2 + 0.5) / 2),
    ("gaussian_nll_loss", ([0.0], [1.0], [1.0]), {"full": True}, -math.log(math.exp(-0.5) / math.sqrt(2 * math.pi))),
    ("poisson_nll_loss", ([0.0, 1.0], [3, 0]), {"reduction": "sum"}, 1 + math.e),
    ("poisson_nll_loss", ([2.0], [3]), {"log_input": False}, 2 - 3 * math.log(2)),
    ("poisson_nll_loss", ([0.0], [20]), {"full": True}, 1 + math.lgamma(21) - 1 / 240),  # Stirling's next term
]


@pytest.mark.parametrize(("name", "arrays", "options", "expected"), BY_HAND)
def test_a_number_by_hand(name, arrays, options, expected, backend):
    loss = getattr(F, name)(*[pn.asarray(x) for x in arrays], **options)
    assert loss.dtype is pn.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    raw = getattr(F, name)(*[pn.asarray(x).array for x in arrays], **options)
    assert not isinstance(raw, pn.Tensor)
    assert pn.Tensor(raw).item() == pytest.approx(expected, rel=1e-5)


def test_no_events_have_finite_slopes(backend):
    x, none = pn.asarray([0.5, 0.0]).requires_grad_(), pn.zeros(2).requires_grad_()
    F.poisson_nll_loss(x, none, log_input=False, full=True).backward()
    assert numpy.isfinite(x.grad.numpy()).all()
    assert numpy.isfinite(none.grad.numpy()).all()


def refused(error, words, function, *args, **options):
    with pytest.raises(error) as caught:
        function(*args, **options)
    for word in words:
        assert word in str(caught.value)


def test_what_does_not_go_together_is_refused(backend):
    x, wide = pn.ones((5, 4)), pn.ones((5, 4), dtype=pn.float64)
    refused(ValueError, ["gaussian_nll_loss", "target", "(4,)", "(5, 4)"], F.gaussian_nll_loss, x, x[0, :], x)
    refused(ValueError, ["gaussian_nll_loss", "var", "(4,)", "(5, 4)"], F.gaussian_nll_loss, x, x, x[0, :])
    refused(ValueError, ["gaussian_nll_loss", "var", "(5, 3)"], F.gaussian_nll_loss, x, x, x[:, :3])
    refused(TypeError, ["gaussian_nll_loss", "var", "float64"], F.gaussian_nll_loss, x, x, wide)
    refused(ValueError, ["gaussian_nll_loss", "var=-1"], F.gaussian_nll_loss, x, x, -1.0)
    refused(ValueError, ["gaussian_nll_loss", "eps=0"], F.gaussian_nll_loss, x, x, x, eps=0)
    refused(ValueError, ["GaussianNLLLoss", "eps=-1"], nn.GaussianNLLLoss, eps=-1)
    refused(ValueError, ["poisson_nll_loss", "target", "(5, 1)"], F.poisson_nll_loss, x, x[:, :1])
    refused(TypeError, ["poisson_nll_loss", "target", "float64"], F.poisson_nll_loss, x, wide)
    for function in (F.poisson_nll_loss, lambda *a, **o: F.gaussian_nll_loss(*a, x, **o)):
        refused(ValueError, ["'average'", "mean, sum, none"], function, x, x, reduction="average")


def test_variances_below_0_are_an_error_on_the_host_and_nan_elsewhere(backend):
    x, var = pn.ones(3), pn.asarray([1.0, -1.0, 2.0])
    if backend.name in ("numpy", "torch", "jax"):
        refused(ValueError, ["gaussian_nll_loss", "variances", "-1.0 to 2.0"], F.gaussian_nll_loss, x, x, var)
    else:
        losses = F.gaussian_nll_loss(x, x, var, reduction="none").numpy()
        assert numpy.isnan(losses).tolist() == [False, True, False]
