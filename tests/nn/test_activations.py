"""Activations against PyTorch in float64, at the places where they overflow or bend, and in what they refuse."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet
from portanet import nn
from portanet.nn import functional as F

# (name, arguments after the input); the functions of PyTorch have the same names and arguments
TABLE = [
    ("relu", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("leaky_relu", {"negative_slope": -0.3}),
    ("elu", {}),
    ("elu", {"alpha": 2.5}),
    ("selu", {}),
    ("celu", {}),
    ("celu", {"alpha": 0.4}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("silu", {}),
    ("mish", {}),
    ("softplus", {}),
    ("softplus", {"beta": 2.5}),
    ("softplus", {"beta": 0.5, "threshold": 1.0}),
    ("softplus", {"beta": -1.5}),
    ("logsigmoid", {}),
    ("hardtanh", {}),
    ("hardtanh", {"min_val": -0.5, "max_val": 2.0}),
    ("relu6", {}),
    ("hardsigmoid", {}),
    ("hardswish", {}),
    ("softsign", {}),
    ("softmax", {"dim": 0}),
    ("softmax", {"dim": -1}),
    ("log_softmax", {"dim": 1}),
    ("log_softmax", {"dim": -2}),
]
IDS = [name + "".join([f"-{key}={value}" for key, value in options.items()]) for name, options in TABLE]
ELEMENTWISE = [(name, options) for name, options in TABLE if "dim" not in options]
ELEMENTWISE_IDS = [one for one in IDS if "dim" not in one]

# the bends of the piecewise functions, exactly hit, and both sides of them
KINKS = [-3.0, -1.0, -0.5, 0.0, -0.0, 0.5, 1.0, 2.0, 3.0, 6.0]
POINTS = numpy.asarray([KINKS, [-30.0, -8.0, -2.5, -0.3, -1e-9, 1e-9, 0.7, 2.9, 8.0, 45.0]])


def oracle(name, options, x, g):
    """The values and the gradient that PyTorch computes."""
    torch = pytest.importorskip("torch")
    leaf = torch.tensor(x, requires_grad=True)
    y = getattr(torch.nn.functional, name)(leaf, **options)
    y.backward(torch.tensor(g))
    return y.detach().numpy(), leaf.grad.numpy()


def ours(function, x, g):
    leaf = portanet.asarray(x).requires_grad_()
    y = function(leaf)
    y.backward(portanet.asarray(g))
    return y, leaf.grad


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_values_and_gradients_are_pytorchs(name, options, backend):
    g = numpy.cos(numpy.arange(POINTS.size)).reshape(POINTS.shape)
    y, gradient = ours(lambda x: getattr(F, name)(x, **options), POINTS, g)
    expected, expected_gradient = oracle(name, options, POINTS, g)
    numpy.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12, atol=1e-14)
    digits = 1e-7 if name in ("celu", "hardsigmoid") else 1e-10  # PyTorch rounds 1 / alpha and 1 / 6 to float32 there
    numpy.testing.assert_allclose(gradient.numpy(), expected_gradient, rtol=digits, atol=1e-14)


@pytest.mark.parametrize(("name", "options"), ELEMENTWISE, ids=ELEMENTWISE_IDS)
def test_large_numbers_give_no_nan_in_float32(name, options, backend):
    x = numpy.asarray([-1e30, -1000.0, -100.0, 100.0, 1000.0, 1e30], dtype=numpy.float32)
    y, gradient = ours(lambda x: getattr(F, name)(x, **options), x, numpy.ones_like(x))
    assert y.dtype == gradient.dtype == portanet.float32
    values, slopes = y.detach().numpy(), gradient.numpy()
    assert not numpy.isnan(values).any()
    assert numpy.isfinite(slopes).all()
    expected, expected_slopes = oracle(name, options, x.astype(numpy.float64), numpy.ones(x.shape))
    if options.get("approximate") == "tanh":
        expected_slopes = numpy.asarray([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])  # PyTorch's is nan at 1e30
    with numpy.errstate(over="ignore"):
        numpy.testing.assert_allclose(values, expected.astype(numpy.float32), rtol=1e-5, atol=1e-37)
    numpy.testing.assert_allclose(slopes, expected_slopes, rtol=1e-5, atol=1e-10)


def test_the_small_end_of_a_sigmoid_keeps_its_digits(backend):
    x = portanet.asarray(numpy.asarray([-80.0, -40.0], dtype=numpy.float32))
    numpy.testing.assert_allclose(F.sigmoid(x).numpy(), numpy.exp([-80.0, -40.0]), rtol=1e-5)
    numpy.testing.assert_allclose(F.logsigmoid(-x).numpy(), -numpy.exp([-80.0, -40.0]), rtol=1e-5)
    numpy.testing.assert_allclose(F.softplus(x).numpy(), numpy.exp([-80.0, -40.0]), rtol=1e-5)


def test_softmax_of_logits_of_a_thousand(backend):
    x = numpy.asarray([[1000.0, -1000.0, 999.0], [-1000.0, -1000.0, -1000.0]], dtype=numpy.float32)
    y, gradient = ours(lambda x: F.softmax(x, dim=-1), x, numpy.asarray([[1.0, 0.0, 0.0]] * 2, dtype=numpy.float32))
    p = 1 / (1 + math.exp(-1))
    numpy.testing.assert_allclose(y.detach().numpy(), [[p, 0, 1 - p], [1 / 3] * 3], rtol=1e-6)
    slope = p * (1 - p)
    numpy.testing.assert_allclose(gradient.numpy(), [[slope, 0, -slope], [2 / 9, -1 / 9, -1 / 9]], rtol=1e-5, atol=1e-7)
    y, gradient = ours(lambda x: F.log_softmax(x, dim=-1), x, numpy.ones_like(x))
    logs = [[math.log(p), math.log(p) - 2000, math.log(p) - 1], [-math.log(3)] * 3]
    numpy.testing.assert_allclose(y.detach().numpy(), logs, rtol=1e-6)
    assert numpy.isfinite(gradient.numpy()).all()


def test_a_masked_place_has_probability_0_and_no_gradient(backend):
    x = numpy.asarray([0.0, -math.inf, 0.0])
    for function in (F.softmax, F.log_softmax):
        y, gradient = ours(lambda x, function=function: function(x, dim=0), x, numpy.asarray([1.0, 0.0, 0.0]))
        assert y.detach().numpy()[1] == (0.0 if function is F.softmax else -math.inf)
        slope = 0.25 if function is F.softmax else 0.5
        numpy.testing.assert_allclose(gradient.numpy(), [slope, 0.0, -slope], rtol=1e-15)


def test_nan_is_not_hidden(backend):
    x = numpy.asarray([math.nan, 1.0])
    for name, options in ELEMENTWISE:
        y = getattr(F, name)(portanet.asarray(x), **options).numpy()
        assert math.isnan(y[0]), name
        assert not math.isnan(y[1]), name


@pytest.mark.parametrize("weights", [(0.25,), (0.1, -0.2, 0.3)])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 2, 2)])
def test_prelu_is_pytorchs(weights, shape, backend):
    torch = pytest.importorskip("torch")
    x = numpy.sin(numpy.arange(math.prod(shape))).reshape(shape)
    a, b = torch.tensor(x, requires_grad=True), torch.tensor(weights, dtype=torch.float64, requires_grad=True)
    expected = torch.nn.functional.prelu(a, b)
    (expected**2).sum().backward()
    p, q = portanet.asarray(x).requires_grad_(), portanet.asarray(numpy.asarray(weights)).requires_grad_()
    y = F.prelu(p, q)
    portanet.sum(y**2).backward()
    for mine, his in ((y.detach(), expected.detach()), (p.grad, a.grad), (q.grad, b.grad)):
        numpy.testing.assert_allclose(mine.numpy(), his.numpy(), rtol=1e-12)


@pytest.mark.parametrize(("name", "options"), TABLE, ids=IDS)
def test_raw_arrays_and_float32_stay_what_they_are(name, options, backend):
    x = portanet.asarray([[0.5, -1.5], [2.0, -0.25]])
    y = getattr(F, name)(x, **options)
    raw = getattr(F, name)(x.array, **options)
    assert type(raw) is type(x.array)
    assert y.dtype == portanet.Tensor(raw).dtype == portanet.float32
    assert portanet.Tensor(raw).device == x.device
    numpy.testing.assert_array_equal(portanet.Tensor(raw).numpy(), y.numpy())


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_every_shape_is_kept(shape, backend):
    x = portanet.ones(shape)
    for name, options in ELEMENTWISE:
        assert getattr(F, name)(x, **options).shape == shape
    if shape:
        assert F.softmax(x, dim=-1).shape == F.log_softmax(x, dim=-1).shape == shape


MODULES = [
    (nn.Sigmoid(), "sigmoid", {}),
    (nn.Tanh(), "tanh", {}),
    (nn.ReLU(), "relu", {}),
    (nn.ReLU6(), "relu6", {}),
    (nn.LeakyReLU(0.2), "leaky_relu", {"negative_slope": 0.2}),
    (nn.ELU(0.7), "elu", {"alpha": 0.7}),
    (nn.SELU(), "selu", {}),
    (nn.CELU(0.7), "celu", {"alpha": 0.7}),
    (nn.GELU(), "gelu", {}),
    (nn.GELU("tanh"), "gelu", {"approximate": "tanh"}),
    (nn.SiLU(), "silu", {}),
    (nn.Mish(), "mish", {}),
    (nn.Softplus(2, 3), "softplus", {"beta": 2, "threshold": 3}),
    (nn.LogSigmoid(), "logsigmoid", {}),
    (nn.Hardtanh(-2.0, 0.5), "hardtanh", {"min_val": -2.0, "max_val": 0.5}),
    (nn.Hardsigmoid(), "hardsigmoid", {}),
    (nn.Hardswish(), "hardswish", {}),
    (nn.Softsign(), "softsign", {}),
    (nn.Softmax(1), "softmax", {"dim": 1}),
    (nn.LogSoftmax(dim=0), "log_softmax", {"dim": 0}),
]


@pytest.mark.parametrize(("module", "name", "options"), MODULES, ids=[str(module) for module, *_ in MODULES])
def test_a_module_is_its_function(module, name, options, backend):
    x = portanet.asarray(POINTS)
    numpy.testing.assert_array_equal(module(x).numpy(), getattr(F, name)(x, **options).numpy())


@pytest.mark.parametrize("module", [module for module, *_ in MODULES] + [nn.PReLU(3)], ids=str)
def test_a_module_is_shown_as_pytorch_shows_it(module):
    torch = pytest.importorskip("torch")
    names = "negative_slope alpha approximate beta threshold min_val max_val dim num_parameters".split()
    given = {name: getattr(module, name) for name in names if hasattr(module, name)}
    assert repr(module) == repr(getattr(torch.nn, type(module).__name__)(**given))


def test_prelu_learns_its_slopes(backend):
    module = nn.PReLU(3, init=0.1)
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    assert module.weight.shape == (3,)
    assert module.weight.dtype == portanet.float32
    x = portanet.asarray([[-1.0, 2.0, -3.0]])
    portanet.sum(module(x)).backward()
    numpy.testing.assert_array_equal(module.weight.grad.numpy(), [-1.0, 0.0, -3.0])
    numpy.testing.assert_allclose(module(x.array).detach().numpy(), [[-0.1, 2.0, -0.3]], rtol=1e-6)


def refused(error, words, function, *args, **options):
    with pytest.raises(error) as caught:
        function(*args, **options)
    for word in words:
        assert word in str(caught.value)


def test_whole_and_complex_numbers_are_refused(backend):
    whole, complex_ = portanet.asarray([[1], [2]], dtype="int64"), portanet.asarray([[1j], [2]])
    for name, options in TABLE:
        if name != "tanh":
            refused(TypeError, [name, "int64", "cast"], getattr(F, name), whole, **options)
            refused(TypeError, [name, "complex", "cast"], getattr(F, name), complex_, **options)
    refused(TypeError, ["list", "array"], F.relu, [1.0])


def test_bad_arguments_are_refused():
    x = portanet.asarray([[1.0, 2.0]])
    refused(TypeError, ["softmax", "dim=-1"], F.softmax, x)
    refused(TypeError, ["log_softmax", "dim=-1"], nn.LogSoftmax(), x)
    refused(IndexError, ["dim=2", "(1, 2)"], F.softmax, x, dim=2)
    refused(IndexError, ["dim=0", "()"], F.softmax, portanet.asarray(1.0), dim=0)
    refused(ValueError, ["'exact'", "'tanh'"], F.gelu, x, approximate="exact")
    refused(ValueError, ["min_val=2", "max_val=1"], F.hardtanh, x, 2, 1)
    refused(ValueError, ["alpha"], F.celu, x, alpha=0)
    refused(ValueError, ["beta"], F.softplus, x, beta=0)
    refused(ValueError, ["(3,)", "2 channels", "(1, 2)"], F.prelu, x, portanet.ones(3))
    refused(TypeError, ["float64", "float32"], F.prelu, portanet.asarray(numpy.ones((1, 2))), portanet.ones(2))


def test_nothing_is_done_in_place():
    x = portanet.asarray([[1.0, -2.0]])
    for name in "relu relu6 leaky_relu elu selu celu silu mish hardtanh hardsigmoid hardswish".split():
        refused(ValueError, ["inplace"], getattr(F, name), x, inplace=True)
        assert getattr(F, name)(x, inplace=False).shape == (1, 2)
    for name in "ReLU ReLU6 LeakyReLU ELU SELU CELU SiLU Mish Hardtanh Hardsigmoid Hardswish".split():
        refused(ValueError, [name, "inplace"], getattr(nn, name), inplace=True)
