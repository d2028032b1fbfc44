"""Products in half width, what needs it in float32: as PyTorch's autocast has it, on every library with such a dtype."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy
import pytest

import portanet
from portanet import nn
from portanet.autocasting import Region, current
from portanet.dtypes import BY_NAME

F = nn.functional
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def ordinary(*shape: int, seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal(shape).astype("float32")


def halves() -> list[str]:
    """The half-width dtypes of the current library."""
    found = []
    for name in EPS:
        try:
            portanet.get_backend().library.raw_dtype(name)
        except TypeError:
            continue
        found.append(name)
    return found


@pytest.fixture(params=list(EPS))
def half(request, backend):
    if request.param not in halves():
        pytest.skip(f"no {request.param} there")
    return request.param


# ---------------------------------------------------------------------------------------------------------------------
# What runs in which dtype

X, IMAGE = ordinary(4, 6), ordinary(2, 3, 8, 8)
CLASSES = numpy.asarray([0, 1, 2, 3])

NARROW = {
    "linear": (lambda m, f, x, w, b: f.linear(x, w, b), (X, ordinary(5, 6), ordinary(5))),
    "@": (lambda m, f, x, w: x @ w.T, (X, ordinary(5, 6))),
    "matmul": (lambda m, f, x, w: m.matmul(x, w.T), (X, ordinary(5, 6))),
    "vecdot": (lambda m, f, x: m.linalg.vecdot(x, x), (X,)),
    "conv2d": (lambda m, f, x, w, b: f.conv2d(x, w, b, padding=1), (IMAGE, ordinary(4, 3, 3, 3), ordinary(4))),
    "conv_transpose2d": (lambda m, f, x, w, b: f.conv_transpose2d(x, w, b), (IMAGE, ordinary(3, 4, 3, 3), ordinary(4))),
    "attention": (lambda m, f, q: f.scaled_dot_product_attention(q, q, q), (ordinary(2, 4, 8),)),
}
FOLLOWING = {  # in the dtype of their input, which is half-width here
    "relu": lambda m, f, x: f.relu(x),
    "gelu": lambda m, f, x: f.gelu(x),
    "elu": lambda m, f, x: f.elu(x),
    "selu": lambda m, f, x: f.selu(x),
    "mish": lambda m, f, x: f.mish(x),
    "logsigmoid": lambda m, f, x: f.logsigmoid(x),
    "tanh": lambda m, f, x: m.tanh(x),
    "silu": lambda m, f, x: f.silu(x),
    "glu": lambda m, f, x: f.glu(x),
    "product": lambda m, f, x: x * x,
    "half": lambda m, f, x: x / 2,
    "mean": lambda m, f, x: m.mean(x),
    "batch_norm": lambda m, f, x: f.batch_norm(x, None, None, m.ones(6), m.zeros(6), training=True),
    "mse_loss": lambda m, f, x: f.mse_loss(x, 2 * x),  # PyTorch has losses in float32 on the CPU, too
    "l1_loss": lambda m, f, x: f.l1_loss(x, 2 * x),
    "smooth_l1_loss": lambda m, f, x: f.smooth_l1_loss(x, 2 * x),
    "huber_loss": lambda m, f, x: f.huber_loss(x, 2 * x),
    "cross_entropy": lambda m, f, x: f.cross_entropy(x, m.asarray(CLASSES)),
    "nll_loss": lambda m, f, x: f.nll_loss(x, m.asarray(CLASSES)),
    "bce": lambda m, f, x: f.binary_cross_entropy_with_logits(x, x * x),
    "kl_div": lambda m, f, x: f.kl_div(x, x * x, reduction="batchmean"),
    "and float32": lambda m, f, x: x + m.asarray(X),
}
WIDE = {  # in float32 on a GPU by PyTorch's lists, which for the CPU leave them out
    "softmax": lambda m, f, x: f.softmax(x, 1),
    "log_softmax": lambda m, f, x: f.log_softmax(x, 1),
    "exp": lambda m, f, x: m.exp(x),
    "log": lambda m, f, x: m.log(x * x + 1),
    "pow": lambda m, f, x: x**2,
    "2**": lambda m, f, x: 2**x,
    "1 /": lambda m, f, x: 1 / x,
    "sum": lambda m, f, x: m.sum(x),
    "softplus": lambda m, f, x: f.softplus(x),
    "layer_norm": lambda m, f, x: f.layer_norm(x, (6,)),
    "group_norm": lambda m, f, x: f.group_norm(x, 2),
    "rms_norm": lambda m, f, x: f.rms_norm(x, (6,)),
    "normalize": lambda m, f, x: f.normalize(x),
    "cosine_similarity": lambda m, f, x: f.cosine_similarity(x, 2 * x),
    "vector_norm": lambda m, f, x: m.linalg.vector_norm(x),
}


def ours(function, arrays, half: str, narrow: bool):
    given = [portanet.asarray(x) for x in arrays]
    with portanet.autocast(dtype=half):
        return function(portanet, F, *[x.to(half) if narrow else x for x in given])


@pytest.mark.parametrize("half", list(EPS))
@pytest.mark.parametrize("name", [*NARROW, *FOLLOWING, *WIDE])
def test_dtypes_and_values_are_pytorchs(name, half):
    torch = pytest.importorskip("torch")
    function, arrays = NARROW.get(name) or (FOLLOWING.get(name) or WIDE[name], (X,))
    narrow = name not in NARROW
    with portanet.use_backend("torch"):
        y = ours(function, arrays, half, narrow)
    with torch.autocast("cpu", getattr(torch, half)):
        given = [torch.asarray(x) for x in arrays]
        expected = function(torch, torch.nn.functional, *[x.to(getattr(torch, half)) if narrow else x for x in given])
    assert str(y.dtype) == ("float32" if name in WIDE else str(expected.dtype).removeprefix("torch."))
    difference = (y.array.double() - expected.double()).abs().max()
    assert difference <= (3 if name == "rms_norm" else 1.5) * EPS[half] * expected.double().abs().max()


@pytest.mark.parametrize("name", [*NARROW, *FOLLOWING, *WIDE])
def test_dtypes_and_values_on_every_library(name, half):
    function, arrays = NARROW.get(name) or (FOLLOWING.get(name) or WIDE[name], (X,))
    narrow = name not in NARROW
    y = ours(function, arrays, half, narrow)
    losses = name in ("cross_entropy", "bce", "kl_div", "and float32") or name.endswith("_loss")
    assert str(y.dtype) == ("float32" if name in WIDE or losses else half)
    exact = function(portanet, F, *[portanet.asarray(x) for x in arrays])
    error = portanet.max(portanet.abs(y.to("float32") - exact))
    assert float(error) <= 8 * EPS[half] * max(1.0, float(portanet.max(portanet.abs(exact))))


LAYERS = {
    "LSTM": (lambda: nn.LSTM(3, 4, 2), (5, 2, 3)),
    "GRU": (lambda: nn.GRU(3, 4, bidirectional=True), (5, 2, 3)),
    "RNN": (lambda: nn.RNN(3, 4), (5, 2, 3)),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), (5, 2, 8)),
    "images": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ELU(), nn.MaxPool2d(2), nn.ConvTranspose2d(4, 2, 3)
        ),
        (2, 3, 8, 8),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_whole_layers_and_their_gradients(name, half):
    if name == "LSTM" and half == "bfloat16" and portanet.get_backend().name == "cupy":
        pytest.skip("CuPy gives float32 for an array of bfloat16 times a Python float")
    make, shape = LAYERS[name]
    portanet.manual_seed(0)
    model, x = make(), portanet.asarray(ordinary(*shape))

    def gradients(autocast: bool) -> list[portanet.Tensor]:
        model.zero_grad()
        with portanet.autocast(dtype=half, enabled=autocast):
            y = model(x)
        y = y[0] if isinstance(y, tuple) else y
        assert str(y.dtype) == ("float32" if not autocast or name == "transformer" else half)
        portanet.mean(y.to("float32") ** 2).backward()
        return [p.grad for p in model.parameters()]

    exact, near = gradients(False), gradients(True)
    assert {str(g.dtype) for g in near} == {"float32"}
    largest = max(float(portanet.max(portanet.abs(g))) for g in exact)
    for g, h in zip(exact, near, strict=True):
        assert float(portanet.max(portanet.abs(g - h))) <= 12 * EPS[half] * largest


def test_statistics_do_not_overflow(backend):
    if "float16" not in halves():
        pytest.skip("no float16 there")
    x = portanet.asarray([[300.0, -300.0], [1000.0, 900.0]], dtype="float16")
    mean, variance = portanet.zeros(2), portanet.ones(2)
    with portanet.autocast():
        y = F.batch_norm(x, mean, variance, training=True, momentum=1.0)
        found = [F.rms_norm(x, (2,)), F.normalize(x), F.mse_loss(x, -x), F.layer_norm(x, (2,)), y]
    assert all(bool(portanet.all(portanet.isfinite(one))) for one in found)
    assert variance.tolist() == [245000.0, 720000.0]


# ---------------------------------------------------------------------------------------------------------------------
# What is refused, and what is left alone


def test_a_library_without_the_dtype_says_so(backend):
    for name in EPS:
        if name in halves():
            continue
        with pytest.raises(TypeError, match=f"has no {name}.*to a library that has it"), portanet.autocast(dtype=name):
            F.linear(portanet.ones((1, 2)), portanet.ones((3, 2)))


def test_other_dtypes_are_no_choice():
    with pytest.raises(ValueError, match="expected 'float16' or 'bfloat16'"):
        portanet.autocast(dtype="float32")


def test_a_mistake_in_dtypes_is_still_one(backend):
    x, w = portanet.ones((1, 2), dtype="float64"), portanet.ones((3, 2))
    with pytest.raises(TypeError, match="cast"), portanet.autocast():
        F.linear(x, w)
    if "float16" in halves():
        with pytest.raises(TypeError, match="cast"):
            F.linear(x.to("float16"), w)


def test_float64_and_raw_arrays_are_left_alone():
    x, w = ordinary(2, 3).astype("float64"), ordinary(4, 3).astype("float64")
    with portanet.autocast():
        y = F.mse_loss(F.linear(portanet.asarray(x), portanet.asarray(w)), portanet.zeros((2, 4), dtype="float64"))
        raw = F.linear(x.astype("float32"), w.astype("float32"))
    assert y.dtype is portanet.float64
    assert float(y) == pytest.approx(((x @ w.T) ** 2).mean(), rel=1e-14)
    assert type(raw) is numpy.ndarray
    assert raw.dtype == numpy.float32


def test_a_dtype_that_was_asked_for_is_kept():
    with portanet.autocast():
        assert portanet.sum(portanet.ones(3, dtype="float16"), dtype="float16").dtype is portanet.float16


# ---------------------------------------------------------------------------------------------------------------------
# The block


def test_blocks_within_blocks():
    x = portanet.ones((2, 2))
    with portanet.autocast():
        with portanet.autocast(enabled=False):
            assert (x @ x).dtype is portanet.float32
        assert (x @ x).dtype is portanet.float16
    assert (x @ x).dtype is portanet.float32
    with pytest.raises(KeyError), portanet.autocast():
        raise KeyError
    assert current.get() is None


def test_as_a_decorator_and_in_another_thread():
    @portanet.autocast(dtype="float16")
    def product(x):
        return x @ x

    found = []
    with portanet.autocast():
        thread = threading.Thread(target=lambda: found.append((portanet.ones((2, 2)) @ portanet.ones((2, 2))).dtype))
        thread.start()
        thread.join()
    assert found == [portanet.float32]
    assert product(portanet.ones((2, 2))).dtype is portanet.float16


def casts_of(w: portanet.Tensor, *ys: portanet.Tensor) -> int:
    """How many casts of ``w`` the results were computed through."""
    nodes = {y._node for y in ys}
    seen = list(nodes)
    for node in seen:
        seen += [p for p in node.parents or () if p is not None and p not in seen]
    return len(
        {node for node in seen if node.rule is not None and node.rule.name == "cast" and node.parents[0] is w._node}
    )


def test_a_parameter_is_cast_once_in_a_block():
    w, x = portanet.ones((2, 2)).requires_grad_(), portanet.ones((2, 2))
    with portanet.autocast():
        first = x @ w
        with portanet.autocast():
            second = x @ w
    with portanet.autocast():
        third = x @ w
    assert casts_of(w, first, second) == 1
    assert casts_of(w, first, second, third) == 2
    with portanet.autocast(cache_enabled=False):
        assert casts_of(w, x @ w, x @ w) == 2


def test_a_cast_is_of_the_present_value():
    w, x = portanet.ones((2, 2)).requires_grad_(), portanet.ones((2, 2))
    optimizer = portanet.optim.SGD([w], lr=1.0)
    with portanet.autocast():
        for value in (1.0, 0.0, -1.0):  # the gradient of each element is 1; the optimizer may write in place
            y = x[:1, :] @ w
            assert y.tolist() == [[2 * value] * 2]
            optimizer.zero_grad()
            y.backward(portanet.ones((1, 2), dtype="float16"))
            optimizer.step()


def test_a_cast_without_a_tape_does_not_stand_for_one_with_it():
    w, x = portanet.ones((2, 2)).requires_grad_(), portanet.ones((2, 2))
    with portanet.autocast():
        with portanet.no_grad():
            x @ w
        portanet.sum(x @ w).backward()
    assert w.grad is not None


def test_nothing_is_held_after_the_block_and_no_cycle_is_made():
    gc.disable()
    try:
        w = portanet.ones((2, 2)).requires_grad_()
        held = weakref.ref(w)
        with portanet.autocast():
            portanet.sum(portanet.ones((2, 2)) @ w).backward()
            assert current.get().cache
        del w
        assert held() is None
    finally:
        gc.enable()


def test_a_region_that_is_left_knows_no_casts():
    region = Region(BY_NAME["float16"], None)
    region.cache[0] = 1
    region.left()
    assert not region.cache


# ---------------------------------------------------------------------------------------------------------------------
# The way back


def test_second_derivatives(half):
    x, w = portanet.asarray(ordinary(3, 4)), portanet.asarray(ordinary(2, 4, seed=1)).requires_grad_()

    def curvature(autocast: bool) -> portanet.Tensor:
        with portanet.autocast(dtype=half, enabled=autocast):
            loss = portanet.sum(portanet.tanh(F.linear(x, w)) ** 2)
        (first,) = portanet.autograd.grad(loss, [w], create_graph=True)
        assert first.dtype is portanet.float32
        (second,) = portanet.autograd.grad(portanet.sum(first * first), [w])
        return second

    exact, near = curvature(False), curvature(True)
    assert near.dtype is portanet.float32
    error = float(portanet.max(portanet.abs(exact - near)))
    assert error <= 16 * EPS[half] * float(portanet.max(portanet.abs(exact)))


def test_backward_inside_of_a_block_is_that_outside(half):
    """Products of the way back, of a forward pass in float32, recorded in a block of autocast: nothing is cast."""
    x, w = portanet.asarray(ordinary(3, 4)), portanet.asarray(ordinary(2, 4, seed=1)).requires_grad_()

    def gradient(inside: bool) -> list[float]:
        loss = portanet.sum(portanet.exp(F.linear(x, w)))
        with portanet.autocast(dtype=half, enabled=inside):
            return portanet.autograd.grad(loss, [w], create_graph=True)[0].tolist()

    assert gradient(True) == gradient(False)


def test_checkpoints_are_computed_again_in_their_block(half):
    x, w = portanet.asarray(ordinary(3, 4)), portanet.asarray(ordinary(2, 4, seed=1)).requires_grad_()
    seen = []

    def part(x):
        y = F.linear(x, w)
        seen.append(str(y.dtype))
        return y

    def gradient(run) -> list[float]:
        w.grad = None
        with portanet.autocast(dtype=half):
            y = run(x)
        portanet.sum(y.to("float32") ** 2).backward()
        return w.grad.tolist()

    assert gradient(part) == gradient(lambda x: portanet.autograd.checkpoint(part, x))
    assert set(seen) == {half}
    assert current.get() is None


@pytest.mark.parametrize("name", [name for name in WIDE if name not in ("1 /",)])
def test_derivatives_of_what_is_float32_converge_as_before(name):
    """In float64, which nothing casts: the error of first derivatives vanishes at second order inside of the block, too."""

    def f(x):
        with portanet.autocast():
            return portanet.sum(portanet.sin(WIDE[name](portanet, F, x)))

    assert portanet.testing.check_gradient(f, portanet.asarray(X.astype("float64")), order=2, verbose=False)


def test_attention_over_many_keys_has_its_gradient(half):
    """The logarithm of the sum, of about 6, rounded to half width, would be a factor before the softmax of the way back."""
    if portanet.get_backend().name == "dpnp":
        pytest.skip("dpnp multiplies no vectors of float16")
    count = {"float16": 570, "bfloat16": 580}[half]  # whose logarithms lie between two numbers
    zeros = portanet.zeros((1, 1, 4), dtype="float32").to(half)
    v = portanet.ones((1, count, 1)).to(half).requires_grad_()
    y = F.scaled_dot_product_attention(zeros, portanet.broadcast_to(zeros, (1, count, 4)), v)
    portanet.sum(y.to("float32")).backward()
    assert str(v.grad.dtype) == half
    assert float(portanet.max(portanet.abs(v.grad.to("float32") * count - 1))) < EPS[half]


def test_attention_in_heads_stays_in_half_width(half):
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True).to(half), portanet.asarray(ordinary(2, 5, 8)).to(half)
    y, weights = layer(x, x, x)
    assert str(y.dtype) == str(weights.dtype) == half
    portanet.sum(y).backward()
    assert {str(p.grad.dtype) for p in layer.parameters()} == {half}
