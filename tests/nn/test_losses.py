"""Losses against PyTorch in float64, by hand, at the places where logarithms run out, and in what they refuse."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet
from portanet import nn
from portanet.nn import functional as F
from portanet.testing import check_gradient

RANDOM = numpy.random.default_rng(7)
REDUCTIONS = ["mean", "sum", "none"]

INPUT = RANDOM.normal(size=(4, 3)) * 2
TARGET = INPUT + RANDOM.normal(size=(4, 3)) * 1.5
TARGET[0, 0] = INPUT[0, 0]  # the kink of the absolute error, hit exactly
TARGET[1, 1] = INPUT[1, 1] + 1.0  # and the bend of Huber's
PROBABILITIES = RANDOM.uniform(0.05, 0.95, size=(4, 3))
LOGITS = RANDOM.normal(size=(4, 3)) * 4
LOGITS[2, 1] = 0.0
SHARES = RANDOM.dirichlet([1.0, 1.0, 1.0], size=4)
SHARES[0] = [0.0, 1.0, 0.0]
LOGS = numpy.log(RANDOM.dirichlet([1.0, 1.0, 1.0], size=4))
WEIGHT = numpy.asarray([0.5, 2.0, 1.5])
LABELS = numpy.asarray([2, 0, 1, 2])
SOME = numpy.asarray([2, -100, 1, 0])
IMAGE = RANDOM.normal(size=(2, 3, 4, 5))
IMAGE_LABELS = RANDOM.integers(0, 3, size=(2, 4, 5))
IMAGE_SHARES = numpy.moveaxis(RANDOM.dirichlet([1.0, 1.0, 1.0], size=(2, 4, 5)), -1, 1)

# (name, input, target, options); arrays among the options become arrays of each library
TABLE = [
    ("mse_loss", INPUT, TARGET, {}),
    ("l1_loss", INPUT, TARGET, {}),
    ("mse_loss", INPUT, TARGET, {"weight": PROBABILITIES}),
    ("l1_loss", INPUT, TARGET, {"weight": PROBABILITIES}),
    ("huber_loss", INPUT, TARGET, {"weight": PROBABILITIES}),
    ("smooth_l1_loss", INPUT, TARGET, {}),
    ("smooth_l1_loss", INPUT, TARGET, {"beta": 0.3}),
    ("smooth_l1_loss", INPUT, TARGET, {"beta": 0.0}),
    ("huber_loss", INPUT, TARGET, {}),
    ("huber_loss", INPUT, TARGET, {"delta": 0.7}),
    ("kl_div", LOGS, SHARES, {}),
    ("kl_div", LOGS, numpy.log(PROBABILITIES), {"log_target": True}),
    ("binary_cross_entropy", PROBABILITIES, SHARES, {}),
    ("binary_cross_entropy", PROBABILITIES, SHARES, {"weight": WEIGHT}),
    ("binary_cross_entropy_with_logits", LOGITS, SHARES, {}),
    ("binary_cross_entropy_with_logits", LOGITS, SHARES, {"pos_weight": WEIGHT}),
    ("binary_cross_entropy_with_logits", LOGITS, SHARES, {"pos_weight": WEIGHT, "weight": PROBABILITIES[:, :1]}),
    ("nll_loss", LOGS, LABELS, {}),
    ("nll_loss", LOGS, SOME, {"weight": WEIGHT}),
    ("nll_loss", LOGS, LABELS, {"ignore_index": 2}),
    ("nll_loss", LOGS[0], LABELS[0], {}),
    ("nll_loss", IMAGE, IMAGE_LABELS, {"weight": WEIGHT}),
    ("cross_entropy", LOGITS, LABELS, {}),
    ("cross_entropy", LOGITS, SOME, {}),
    ("cross_entropy", LOGITS, LABELS, {"ignore_index": 2}),
    ("cross_entropy", LOGITS, SOME, {"weight": WEIGHT}),
    ("cross_entropy", LOGITS, LABELS, {"label_smoothing": 0.1}),
    ("cross_entropy", LOGITS, SOME, {"label_smoothing": 0.3, "weight": WEIGHT}),
    ("cross_entropy", LOGITS, LABELS, {"label_smoothing": 1.0, "ignore_index": 2}),
    ("cross_entropy", LOGITS[0], LABELS[0], {}),
    ("cross_entropy", LOGITS[0], LABELS[0], {"label_smoothing": 0.1, "weight": WEIGHT}),
    ("cross_entropy", IMAGE, IMAGE_LABELS, {}),
    ("cross_entropy", IMAGE, IMAGE_LABELS, {"label_smoothing": 0.2, "weight": WEIGHT, "ignore_index": 1}),
    ("cross_entropy", LOGITS, SHARES, {}),
    ("cross_entropy", LOGITS, SHARES, {"weight": WEIGHT}),
    ("cross_entropy", LOGITS, SHARES, {"label_smoothing": 0.1, "weight": WEIGHT}),
    ("cross_entropy", LOGITS[0], SHARES[0], {"label_smoothing": 0.1}),
    ("cross_entropy", IMAGE, IMAGE_SHARES, {"weight": WEIGHT}),
]


def named(row):
    name, input, target, options = row
    kind = "shares" if target.dtype.kind == "f" and name == "cross_entropy" else f"{input.ndim}d"
    given = [key if isinstance(value, numpy.ndarray) else f"{key}={value}" for key, value in options.items()]
    return "-".join([name, kind, *given])


IDS = [named(row) for row in TABLE]


def arrays(options, make):
    return {key: make(value) if isinstance(value, numpy.ndarray) else value for key, value in options.items()}


def oracle(name, input, target, options):
    """The loss that PyTorch computes and its gradients: of the input, and of the target where that is a real number."""
    torch = pytest.importorskip("torch")
    x, t = torch.tensor(input, requires_grad=True), torch.tensor(target, requires_grad=target.dtype.kind == "f")
    y = getattr(torch.nn.functional, name)(x, t, **arrays(options, torch.tensor))
    y.backward(torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape))
    return y.detach().numpy(), x.grad.numpy(), None if t.grad is None else t.grad.numpy()


def ours(name, input, target, options, varied=True):
    x, t = portanet.asarray(input).requires_grad_(), portanet.asarray(target)
    if varied and target.dtype.kind == "f":
        t.requires_grad_()
    y = getattr(F, name)(x, t, **arrays(options, portanet.asarray))
    g = numpy.cos(numpy.arange(y.size, dtype=input.dtype)).reshape(y.shape)
    y.backward(portanet.asarray(g))
    return y.detach().numpy(), x.grad.numpy(), None if t.grad is None else t.grad.numpy()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("name", "input", "target", "options"), TABLE, ids=IDS)
def test_values_and_gradients_are_pytorchs(name, input, target, options, reduction, backend):
    options = {**options, "reduction": reduction}
    expected = oracle(name, input, target, options)
    if name == "kl_div" and not options.get("log_target"):
        expected[2][target == 0] = -0.0  # PyTorch's gradient is nan there
    for mine, his in zip(ours(name, input, target, options), expected, strict=True):
        if his is None:
            assert mine is None
        else:
            numpy.testing.assert_allclose(mine, his, rtol=1e-11, atol=1e-13)


def test_kl_div_over_the_batch_is_pytorchs(backend):
    for mine, his in zip(
        ours("kl_div", LOGS, PROBABILITIES, {"reduction": "batchmean"}),
        oracle("kl_div", LOGS, PROBABILITIES, {"reduction": "batchmean"}),
        strict=True,
    ):
        numpy.testing.assert_allclose(mine, his, rtol=1e-12)


LN2 = math.log(2.0)
BY_HAND = [
    (F.mse_loss, [1.0, 2.0], [3.0, 1.0], {}, 2.5),
    (F.l1_loss, [1.0, 2.0], [3.0, 1.0], {}, 1.5),
    (F.smooth_l1_loss, [1.0, 2.0], [3.0, 1.5], {}, (1.5 + 0.125) / 2),
    (F.huber_loss, [1.0, 2.0], [4.0, 1.5], {"delta": 2.0}, (2 * (3 - 1) + 0.125) / 2),
    (F.cross_entropy, [[0.0, math.log(3.0)]], [1], {}, math.log(4 / 3)),
    (F.cross_entropy, [[0.0, math.log(3.0)]], [[0.25, 0.75]], {}, 0.25 * math.log(4) + 0.75 * math.log(4 / 3)),
    (F.nll_loss, [[-1.0, -2.0], [-3.0, -4.0]], [1, 0], {}, 2.5),
    (F.binary_cross_entropy, [0.25, 0.5], [1.0, 0.0], {}, 1.5 * LN2),
    (F.binary_cross_entropy_with_logits, [0.0, math.log(3.0)], [1.0, 0.0], {}, 1.5 * LN2),
    (F.kl_div, [[math.log(0.5), math.log(0.5)]], [[0.25, 0.75]], {"reduction": "sum"}, 0.75 * math.log(3.0) - LN2),
]


@pytest.mark.parametrize(
    ("function", "input", "target", "options", "value"), BY_HAND, ids=lambda x: getattr(x, "__name__", "")
)
def test_a_number_by_hand(function, input, target, options, value, backend):
    loss = function(portanet.asarray(input), portanet.asarray(target), **options)
    assert loss.dtype == portanet.float32
    assert loss.shape == ()
    assert loss.item() == pytest.approx(value, rel=1e-6)


# -------------------------------------------------------------------------------------------------------- extremes


def test_cross_entropy_of_logits_of_a_thousand(backend):
    x = numpy.asarray([[1000.0, -1000.0, 0.0], [-1000.0, 1000.0, 0.0]], dtype=numpy.float32)
    loss, gradient, _ = ours("cross_entropy", x, numpy.asarray([0, 0]), {"reduction": "none"})
    numpy.testing.assert_array_equal(loss, [0.0, 2000.0])
    numpy.testing.assert_allclose(gradient, [[0.0, 0.0, 0.0], [-math.cos(1), math.cos(1), 0.0]], rtol=1e-6)
    loss, gradient, _ = ours("cross_entropy", x, numpy.asarray([0, 0]), {"label_smoothing": 0.1, "reduction": "sum"})
    assert numpy.isfinite(loss)
    assert numpy.isfinite(gradient).all()


def test_binary_cross_entropy_of_logits_of_a_thousand(backend):
    x = numpy.asarray([1000.0, 1000.0, -1000.0, -1000.0, -80.0, 0.0], dtype=numpy.float32)
    t = numpy.asarray([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], dtype=numpy.float32)
    for options in ({}, {"pos_weight": numpy.asarray(1.0, dtype=numpy.float32)}):
        loss, gradient, _ = ours("binary_cross_entropy_with_logits", x, t, {**options, "reduction": "sum"})
        assert loss == pytest.approx(2000.0 + LN2, rel=1e-6)
        numpy.testing.assert_allclose(gradient, [0.0, 1.0, -1.0, 0.0, math.exp(-80), -0.5], rtol=1e-5)


def test_binary_cross_entropy_of_sure_probabilities_is_clamped(backend):
    p = numpy.asarray([0.0, 0.0, 1.0, 1.0, 1e-60])
    t = numpy.asarray([0.0, 1.0, 0.0, 1.0, 1.0])
    mine = ours("binary_cross_entropy", p, t, {"reduction": "none"})
    numpy.testing.assert_allclose(mine[0], [0.0, 100.0, 100.0, 0.0, 100.0], atol=1e-15)
    expected = oracle("binary_cross_entropy", p, t, {"reduction": "none"})
    numpy.testing.assert_allclose(mine[1], expected[1], rtol=1e-8, atol=1e-15)  # PyTorch's 1e-12 is a float32
    # By the target PyTorch's slope is infinite here; ours is that of the clamped loss.
    slopes = numpy.asarray([100.0, 100.0, -100.0, -100.0, -100.0 + 200.0])
    numpy.testing.assert_allclose(mine[2], slopes * numpy.cos(numpy.arange(5)), rtol=1e-12)


def test_kl_div_of_zero_probabilities(backend):
    zero = numpy.asarray([0.0, 1.0])
    logs = numpy.asarray([-math.inf, 0.0])
    for target, options in ((zero, {}), (logs, {"log_target": True})):
        loss, gradient, slope = ours("kl_div", logs, target, {**options, "reduction": "sum"})
        assert loss == 0.0
        numpy.testing.assert_array_equal(gradient, [0.0, -1.0])
        assert numpy.isfinite(slope).all()


def test_the_mean_where_nothing_counts_is_nan_as_in_pytorch(backend):
    x = portanet.asarray(LOGITS)
    nothing = portanet.asarray(numpy.full(4, -100))
    with numpy.errstate(invalid="ignore"):
        assert math.isnan(F.cross_entropy(x, nothing).item())
    assert F.cross_entropy(x, nothing, reduction="sum").item() == 0.0


def test_no_examples_have_no_losses(backend):
    empty, labels = portanet.zeros((0, 3)), portanet.asarray(numpy.zeros(0, dtype=numpy.int64))
    assert F.cross_entropy(empty, labels, reduction="none").shape == (0,)
    assert F.cross_entropy(empty, labels, reduction="sum").item() == 0.0
    assert F.mse_loss(empty, empty, reduction="sum").item() == 0.0


# ---------------------------------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_class_indices_of_every_integer_dtype(dtype, backend):
    try:
        labels = portanet.asarray(LABELS.astype(dtype))
    except TypeError:
        pytest.skip(f"{backend.name} has no {dtype}")
    x = portanet.asarray(LOGITS)
    expected = F.cross_entropy(x, portanet.asarray(LABELS)).item()
    assert F.cross_entropy(x, labels).item() == expected
    assert F.nll_loss(F.log_softmax(x, 1), labels).item() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("name", "input", "target", "options"), TABLE, ids=IDS)
def test_float32_stays_float32_and_raw_arrays_raw(name, input, target, options, backend):
    def narrow(x):
        return portanet.asarray(x.astype(numpy.float32) if x.dtype.kind == "f" else x)

    x, t, given = narrow(input), narrow(target), arrays(options, narrow)
    loss = getattr(F, name)(x.requires_grad_(), t, **given)
    assert loss.dtype == portanet.float32
    loss.backward()
    assert x.grad.dtype == portanet.float32
    raw_options = {key: value.array if isinstance(value, portanet.Tensor) else value for key, value in given.items()}
    raw = portanet.Tensor(getattr(F, name)(x.array, t.array, **raw_options))
    assert raw.dtype == portanet.float32
    assert raw.device == x.device
    numpy.testing.assert_allclose(raw.numpy(), loss.detach().numpy(), rtol=1e-6)
    assert getattr(F, name)(x.array, t, **given).dtype == portanet.float32  # a raw array beside Tensors


TWICE = [row for row in TABLE if row[1].ndim == 2 and row[0] not in ("l1_loss", "smooth_l1_loss", "huber_loss")]


@pytest.mark.parametrize("row", TWICE, ids=named)
@pytest.mark.parametrize("order", [1, 2])
def test_losses_can_be_differentiated_twice(row, order):
    name, input, target, options = row
    if name == "kl_div" and not options:
        target = PROBABILITIES  # a target of 0 is its edge
    given, labels = arrays(options, portanet.asarray), portanet.asarray(target)
    report = check_gradient(
        lambda x: getattr(F, name)(x, labels, **given), portanet.asarray(input), order=order, verbose=False
    )
    assert report.order > 1.8


def test_the_curvature_of_hubers_loss_at_no_error_is_1(backend):
    x = portanet.asarray(numpy.zeros(2)).requires_grad_()
    loss = F.huber_loss(x, portanet.asarray(numpy.asarray([0.0, 3.0])), "sum")
    (slope,) = portanet.autograd.grad(loss, x, create_graph=True)
    (curvature,) = portanet.autograd.grad(portanet.sum(slope), x)
    numpy.testing.assert_array_equal(curvature.numpy(), [1.0, 0.0])


# --------------------------------------------------------------------------------------------------------- modules

MODULES = [
    (lambda make: nn.MSELoss(), "mse_loss", INPUT, TARGET, {}),
    (lambda make: nn.L1Loss(reduction="sum"), "l1_loss", INPUT, TARGET, {"reduction": "sum"}),
    (lambda make: nn.SmoothL1Loss(beta=0.5), "smooth_l1_loss", INPUT, TARGET, {"beta": 0.5}),
    (lambda make: nn.HuberLoss("none", 0.5), "huber_loss", INPUT, TARGET, {"delta": 0.5, "reduction": "none"}),
    (lambda make: nn.CrossEntropyLoss(), "cross_entropy", LOGITS, LABELS, {}),
    (
        lambda make: nn.CrossEntropyLoss(make(WEIGHT), ignore_index=2, reduction="sum", label_smoothing=0.1),
        "cross_entropy",
        LOGITS,
        LABELS,
        {"weight": WEIGHT, "ignore_index": 2, "reduction": "sum", "label_smoothing": 0.1},
    ),
    (
        lambda make: nn.NLLLoss(make(WEIGHT), ignore_index=1),
        "nll_loss",
        LOGS,
        LABELS,
        {"weight": WEIGHT, "ignore_index": 1},
    ),
    (lambda make: nn.BCELoss(make(WEIGHT)), "binary_cross_entropy", PROBABILITIES, SHARES, {"weight": WEIGHT}),
    (
        lambda make: nn.BCEWithLogitsLoss(make(WEIGHT), pos_weight=make(WEIGHT)),
        "binary_cross_entropy_with_logits",
        LOGITS,
        SHARES,
        {"weight": WEIGHT, "pos_weight": WEIGHT},
    ),
    (
        lambda make: nn.KLDivLoss(reduction="batchmean", log_target=True),
        "kl_div",
        LOGS,
        LOGS[::-1].copy(),
        {"reduction": "batchmean", "log_target": True},
    ),
]


@pytest.mark.parametrize(
    ("build", "name", "input", "target", "options"), MODULES, ids=[f"{i}-{row[1]}" for i, row in enumerate(MODULES)]
)
def test_a_module_is_its_function(build, name, input, target, options, backend):
    module = build(portanet.asarray)
    x, t = portanet.asarray(input), portanet.asarray(target)
    expected = getattr(F, name)(x, t, **arrays(options, portanet.asarray))
    numpy.testing.assert_array_equal(module(x, t).numpy(), expected.numpy())
    assert repr(module) == f"{type(module).__name__}()"


def test_the_weights_of_a_loss_are_buffers(backend):
    module = nn.BCEWithLogitsLoss(portanet.asarray(WEIGHT), pos_weight=portanet.asarray(WEIGHT))
    assert list(module.state_dict()) == ["weight", "pos_weight"]
    assert list(nn.CrossEntropyLoss(portanet.asarray(WEIGHT)).state_dict()) == ["weight"]
    assert list(nn.CrossEntropyLoss().state_dict()) == []
    assert list(module.parameters()) == []


# ---------------------------------------------------------------------------------------------------------- errors


def refused(error, words, function, *args, **options):
    with pytest.raises(error) as caught:
        function(*args, **options)
    for word in words:
        assert word in str(caught.value)


PAIRED = """mse_loss l1_loss smooth_l1_loss huber_loss kl_div binary_cross_entropy
binary_cross_entropy_with_logits""".split()


@pytest.mark.parametrize("name", PAIRED)
def test_two_sides_that_do_not_go_together_are_refused(name, backend):
    function, x = getattr(F, name), portanet.full((4, 1), 0.5)
    refused(ValueError, [name, "target", "(4,)", "(4, 1)"], function, x, portanet.full((4,), 0.5))
    wide, whole = portanet.ones((4, 1), dtype="float64"), portanet.ones((4, 1), dtype="int64")
    refused(TypeError, [name, "target", "float64", "float32", "Cast"], function, x, wide)
    refused(TypeError, [name, "target", "int64"], function, x, whole)
    refused(TypeError, [name, "int64"], function, whole, x)
    refused(TypeError, ["list"], function, x, [[0.5]] * 4)
    refused(ValueError, [name, "'average'", "mean, sum, none"], function, x, x, reduction="average")


def test_only_kl_div_knows_batchmean():
    x = portanet.full((2, 2), 0.5)
    refused(ValueError, ["batchmean", "mean, sum, none"], F.mse_loss, x, x, reduction="batchmean")
    refused(ValueError, ["MSELoss", "batchmean"], nn.MSELoss, reduction="batchmean")
    assert nn.KLDivLoss(reduction="batchmean").reduction == "batchmean"


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_class_indices_that_do_not_go_with_the_input_are_refused(function, backend):
    x, labels, name = portanet.asarray(LOGITS), portanet.asarray(LABELS), function.__name__
    refused(ValueError, [name, "(3,)", "(4,)", "(4, 3)"], function, x, portanet.asarray(LABELS[:3]))
    refused(ValueError, [name, "(4, 1)", "(4,)"], function, x, portanet.asarray(LABELS[:, None]))
    refused(TypeError, [name, "integer", "bool"], function, x, portanet.asarray(LABELS > 0))
    refused(ValueError, [name, "weight", "(2,)", "(3,)"], function, x, labels, portanet.asarray(WEIGHT[:2]))
    weight = portanet.asarray(WEIGHT, dtype=portanet.float32)
    refused(TypeError, [name, "weight", "float32", "float64"], function, x, labels, weight)
    refused(ValueError, [name, "(C,)"], function, portanet.asarray(1.0), portanet.asarray(0))


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("wrong", [3, -1, -99, 200])
def test_an_index_that_names_no_class_is_an_error_on_the_host_and_nan_elsewhere(function, wrong, backend):
    x = portanet.asarray(LOGITS)
    labels = portanet.asarray(numpy.asarray([0, wrong, 1, -100]))
    if backend.name in ("numpy", "torch", "jax"):
        refused(IndexError, [str(wrong), "0 to 2", "3 classes", "ignore_index=-100"], function, x, labels)
    else:
        losses = function(x, labels, reduction="none").numpy()
        assert numpy.isnan(losses).tolist() == [False, True, False, False]
        assert math.isnan(function(x, labels).item())


def test_probabilities_outside_0_to_1_are_an_error_on_the_host_and_nan_elsewhere(backend):
    good, wrong = portanet.asarray([0.5, 0.5]), portanet.asarray([0.5, 1.5])
    if backend.name in ("numpy", "torch", "jax"):
        refused(ValueError, ["input", "0 to 1", "with_logits"], F.binary_cross_entropy, wrong, good)
        refused(ValueError, ["target", "0 to 1"], F.binary_cross_entropy, good, wrong)
        refused(ValueError, ["input", "nan"], F.binary_cross_entropy, portanet.asarray([math.nan, 0.5]), good)
    else:
        with numpy.errstate(invalid="ignore"):
            assert math.isnan(F.binary_cross_entropy(wrong, good).item())


def test_probabilities_of_classes_that_do_not_go_with_the_input_are_refused(backend):
    x = portanet.asarray(LOGITS)
    refused(ValueError, ["probabilities", "(4, 2)", "(4, 3)"], F.cross_entropy, x, portanet.asarray(SHARES[:, :2]))
    refused(TypeError, ["float32", "float64"], F.cross_entropy, x, portanet.asarray(SHARES, dtype=portanet.float32))
    refused(ValueError, ["ignore_index=1"], F.cross_entropy, x, portanet.asarray(SHARES), ignore_index=1)


def test_weights_that_would_make_the_loss_larger_are_refused(backend):
    x = portanet.full((4, 3), 0.5)
    for function in (F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        refused(ValueError, ["weight", "(4,)", "(4, 3)"], function, x, x, portanet.ones(4))
        refused(ValueError, ["weight", "(2, 4, 3)"], function, x, x, portanet.ones((2, 4, 3)))
        refused(TypeError, ["weight", "float64"], function, x, x, portanet.ones(3, dtype=portanet.float64))
    refused(ValueError, ["pos_weight", "(4,)"], F.binary_cross_entropy_with_logits, x, x, pos_weight=portanet.ones(4))


def test_numbers_out_of_range_are_refused():
    x = portanet.ones((2, 2))
    refused(ValueError, ["delta=0"], F.huber_loss, x, x, delta=0)
    refused(ValueError, ["delta=-1"], nn.HuberLoss, delta=-1)
    refused(ValueError, ["beta=-1"], F.smooth_l1_loss, x, x, beta=-1)
    refused(ValueError, ["beta=nan"], nn.SmoothL1Loss, beta=math.nan)
    refused(ValueError, ["label_smoothing=1.5"], F.cross_entropy, x, x, label_smoothing=1.5)
    refused(ValueError, ["label_smoothing=-0.1"], nn.CrossEntropyLoss, label_smoothing=-0.1)


def test_arrays_of_two_libraries_are_refused():
    pytest.importorskip("array_api_strict")
    x = portanet.ones(2)
    other = portanet.ones(2).to("array_api_strict")
    refused(TypeError, ["numpy", "array_api_strict"], F.mse_loss, x, other)
    refused(TypeError, ["numpy", "array_api_strict"], F.mse_loss, x.array, other.array)


def test_a_compiler_can_trace_the_losses_and_a_wrong_index_is_then_nan():
    jax = pytest.importorskip("jax")

    @jax.jit
    def step(x, labels, targets):
        leaf = portanet.Tensor(x).requires_grad_()
        loss = F.cross_entropy(leaf, labels) + F.binary_cross_entropy(F.sigmoid(leaf), targets)
        loss.backward()
        return loss.array, leaf.grad.array

    x, targets = jax.numpy.asarray(LOGITS), jax.numpy.asarray(SHARES)
    loss, gradient = step(x, jax.numpy.asarray(SOME), targets)
    eager = portanet.Tensor(x).requires_grad_()
    expected = F.cross_entropy(eager, jax.numpy.asarray(SOME)) + F.binary_cross_entropy(F.sigmoid(eager), targets)
    expected.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-12)
    numpy.testing.assert_allclose(gradient, eager.grad.numpy(), rtol=1e-12)
    assert math.isnan(float(step(x, jax.numpy.asarray(LABELS + 1), targets)[0]))
