"""Dropout of channels and for SELU: what is drawn, what stays, and PyTorch's results where nothing is drawn."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import arrays, case, compared_in_float32, compared_step, printed_alike

torch = pytest.importorskip("torch")

# (module, function, shapes, how many axes of each shape a channel is counted over)
KINDS = [
    ("Dropout1d", "dropout1d", (5, 4, 3), 2),
    ("Dropout1d", "dropout1d", (4, 3), 1),
    ("Dropout2d", "dropout2d", (5, 4, 3, 2), 2),
    ("Dropout2d", "dropout2d", (5, 4, 3), 2),
    ("Dropout3d", "dropout3d", (5, 4, 3, 2, 1), 2),
    ("Dropout3d", "dropout3d", (4, 3, 2, 1), 1),
    ("AlphaDropout", "alpha_dropout", (5, 4), 2),
    ("AlphaDropout", "alpha_dropout", (), 0),
    ("FeatureAlphaDropout", "feature_alpha_dropout", (5, 4, 3), 2),
    ("FeatureAlphaDropout", "feature_alpha_dropout", (5, 4), 2),
]
IDS = [f"{name}-{'x'.join(map(str, shape))}" for name, _, shape, _ in KINDS]
LOW = -1.7580993408473766


@pytest.mark.filterwarnings("ignore:dropout2d")
@pytest.mark.parametrize(("name", "function", "shape", "axes"), KINDS, ids=IDS)
def test_where_nothing_is_drawn_the_layer_is_pytorchs(name, function, shape, axes, backend):
    for p in (0.0, 0.3, 1.0):
        one = case(name, p, shapes=[shape])
        printed_alike(one)
        ours, theirs = one.ours(), one.theirs()
        if p != 0.3:
            compared_step(ours, theirs, one.values(0))
            compared_in_float32(one)
        compared_step(ours.eval(), theirs.eval(), one.values(1))
    x = pn.ones(shape)
    assert getattr(nn, name)(0.3).eval()(x) is x
    assert getattr(nn, name)(0.0)(x) is x


@pytest.mark.parametrize(("name", "function", "shape", "axes"), KINDS, ids=IDS)
def test_the_function_is_the_module_and_draws_whole_channels(name, function, shape, axes, backend):
    x = arrays([shape])[0]
    p = 0.4
    y = getattr(F, function)(pn.asarray(x), p, training=True, generator=pn.random.Generator(8)).numpy()
    kept = nn.functional.dropout(pn.ones(shape[:axes]), 0.5, generator=pn.random.Generator(8))
    assert kept.shape == shape[:axes]
    scale, low, shift = 1 / (1 - p), 0.0, 0.0
    if "alpha" in function:
        scale = 1 / math.sqrt((1 - p) * (1 + p * LOW**2))
        low, shift = LOW, -p * LOW * scale
    mask = pn.random.Generator(8).bernoulli(shape[:axes], 1 - p).numpy()
    mask = mask.reshape(shape[:axes] + (1,) * (len(shape) - axes))
    numpy.testing.assert_allclose(y, scale * numpy.where(mask == 1, x, low) + shift, rtol=1e-12, atol=1e-12)
    pn.manual_seed(8)
    numpy.testing.assert_array_equal(getattr(nn, name)(p)(pn.asarray(x)).numpy(), y)


@pytest.mark.parametrize(("name", "function", "shape", "axes"), KINDS, ids=IDS)
def test_one_seed_drops_the_same_on_every_library(name, function, shape, axes, backend):
    x = numpy.zeros(shape) + 1.0

    def drawn():
        return getattr(F, function)(pn.asarray(x), 0.5, training=True, generator=pn.random.Generator(21)).numpy()

    mine = drawn()
    with pn.use_backend("numpy"):
        numpy.testing.assert_array_equal(mine, drawn())


@pytest.mark.parametrize("function", ["dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"])
def test_the_share_that_is_dropped_and_the_mean_that_stays(function, backend):
    shape = {"dropout3d": (100, 100, 1, 1, 1), "dropout1d": (100, 100, 1)}.get(function, (100, 100, 1, 1))
    pn.manual_seed(3)
    y = getattr(F, function)(pn.ones(shape), 0.25, training=True).numpy()
    values, counts = numpy.unique(y, return_counts=True)
    assert len(values) == 2
    assert y.dtype == numpy.float32
    assert abs(counts[0] / y.size - 0.25) < 0.02  # 4.6 standard deviations
    if "alpha" not in function:
        assert abs(y.mean() - 1.0) < 0.03


def test_alpha_dropout_keeps_mean_0_and_variance_1(backend):
    pn.manual_seed(5)
    x = numpy.random.default_rng(0).normal(size=(40_000,))
    for p in (0.1, 0.5, 0.9):
        y = nn.AlphaDropout(p)(pn.asarray(x)).numpy()
        assert abs(y.mean()) < 0.025
        assert abs(y.var() - 1) < 0.06


def test_the_numbers_of_alpha_dropout_by_hand(backend):
    # With p = 1/2: a = (1/2 (1 + low^2 / 2))^-1/2 = 0.88640, b = -a low / 2 = 0.77919.
    y = F.alpha_dropout(pn.asarray(numpy.ones(100)), 0.5, training=True).numpy()
    numpy.testing.assert_allclose(numpy.unique(y), [-0.77919, 0.88640 + 0.77919], atol=2e-5)


def test_alpha_dropout_is_off_unless_it_is_told_otherwise(backend):
    x = pn.ones((4, 3))
    assert F.alpha_dropout(x) is x
    assert F.feature_alpha_dropout(x) is x


def test_alpha_dropout_has_pytorchs_two_values(backend):
    torch.manual_seed(0)
    theirs = torch.nn.AlphaDropout(0.3)(torch.full((1000,), 0.7, dtype=torch.float64)).numpy()
    ours = nn.AlphaDropout(0.3)(pn.asarray(numpy.full(1000, 0.7))).numpy()
    numpy.testing.assert_allclose(numpy.unique(ours), numpy.unique(theirs), rtol=1e-12)


@pytest.mark.parametrize(("name", "function", "shape", "axes"), KINDS, ids=IDS)
def test_the_gradient_passes_where_the_value_passed(name, function, shape, axes, backend):
    leaf = pn.asarray(arrays([shape])[0]).requires_grad_()
    y = getattr(F, function)(leaf, 0.5, training=True, generator=pn.random.Generator(2))
    pn.sum(y).backward()
    other = getattr(F, function)(leaf.detach() + 1.0, 0.5, training=True, generator=pn.random.Generator(2))
    numpy.testing.assert_allclose(leaf.grad.numpy(), (other - y.detach()).numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "function", "shape", "axes"), KINDS, ids=IDS)
def test_raw_arrays_and_empty_ones(name, function, shape, axes, backend):
    x = pn.ones(shape)
    y = getattr(F, function)(x.array, 0.5, True)
    assert type(y) is type(x.array) or not shape  # NumPy's own have no axes
    assert pn.Tensor(y).dtype is pn.float32
    assert pn.Tensor(y).device == x.device
    if shape:
        assert getattr(F, function)(pn.ones((0, *shape[1:])), 0.5, True).shape == (0, *shape[1:])


def test_wrong_arguments_are_refused():
    refused = {
        "dropout1d": ((3,), r"expected \(C, L\) or \(N, C, L\), saw shape \(3,\)"),
        "dropout2d": ((3, 4), r"expected \(N, C, L\) or \(N, C, H, W\), saw shape \(3, 4\)"),
        "dropout3d": ((3, 4, 5), r"expected \(C, D, H, W\) or \(N, C, D, H, W\), saw shape \(3, 4, 5\)"),
        "feature_alpha_dropout": ((3,), r"expected \(N, C, ...\), saw shape \(3,\)"),
    }
    for function, (shape, words) in refused.items():
        for training in (True, False):
            with pytest.raises(ValueError, match=f"{function}: {words}"):
                getattr(F, function)(pn.ones(shape), training=training)
    for name, function, shape, _ in KINDS:
        with pytest.raises(ValueError, match=f"^{name}: p must be a probability from 0 to 1, saw 1.5"):
            getattr(nn, name)(1.5)
        with pytest.raises(ValueError, match=f"^{name}: inplace=True is not possible"):
            getattr(nn, name)(inplace=True)
        with pytest.raises(ValueError, match=f"^{function}: p must be a probability"):
            getattr(F, function)(pn.ones(shape), -0.1)
        with pytest.raises(TypeError, match=f"^{function}: expected a floating dtype, saw int64"):
            getattr(F, function)(pn.ones(shape, dtype=pn.int64))
