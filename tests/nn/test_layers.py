"""Every layer beside PyTorch's in float64: outputs, gradients, buffers, names, print-outs; and what it refuses."""

from __future__ import annotations

import numpy
import pytest

import portanet as pn
from portanet import nn
from tests.nn.cases import arrays, assert_close, case, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")

CASES = [
    case("Linear", 3, 4, shapes=[(5, 3)]),
    case("Linear", 3, 4, shapes=[(3,)]),
    case("Linear", 3, 4, shapes=[(0, 3)]),
    case("Linear", 3, 4, shapes=[(2, 5, 3)]),
    case("Linear", 3, 4, bias=False, shapes=[(5, 3)]),
    case("Linear", 0, 4, shapes=[(5, 0)]),
    case("Bilinear", 3, 2, 4, shapes=[(5, 3), (5, 2)]),
    case("Bilinear", 3, 2, 4, bias=False, shapes=[(3,), (2,)]),
    case("LayerNorm", 4, shapes=[(5, 4)]),
    case("LayerNorm", 4, shapes=[(4,)]),
    case("LayerNorm", 4, shapes=[(0, 4)]),
    case("LayerNorm", (3, 4), shapes=[(5, 3, 4)]),
    case("LayerNorm", 4, bias=False, shapes=[(2, 5, 4)]),
    case("LayerNorm", 4, elementwise_affine=False, eps=1e-2, shapes=[(5, 4)]),
    case("BatchNorm1d", 4, shapes=[(5, 4)]),
    case("BatchNorm1d", 4, shapes=[(0, 4)]),
    case("BatchNorm1d", 4, shapes=[(5, 4, 3)]),
    case("BatchNorm1d", 4, shapes=[(1, 4, 3)]),
    case("BatchNorm1d", 4, momentum=None, shapes=[(5, 4)]),
    case("BatchNorm1d", 4, momentum=0.7, eps=1e-2, shapes=[(5, 4)]),
    case("BatchNorm1d", 4, affine=False, shapes=[(5, 4)]),
    case("BatchNorm1d", 4, track_running_stats=False, shapes=[(5, 4)]),
    case("Flatten", shapes=[(5, 2, 3)]),
    case("Flatten", 0, 1, shapes=[(5, 2, 3)]),
    case("Flatten", shapes=[(0, 2, 3)]),
    case("Flatten", 0, shapes=[()]),
    case("Unflatten", 1, (2, -1), shapes=[(5, 6)]),
    case("Unflatten", -1, (3, 2), shapes=[(0, 6)]),
    case("Identity", 7, shapes=[(5, 2)]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_gradients_and_buffers_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


SMOOTH = [one for one in CASES if one.name in ("Linear", "Bilinear", "LayerNorm", "BatchNorm1d")]


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [one for one in SMOOTH if 0 not in one.inputs[0]], ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


# --------------------------------------------------------------------------------------------------------- Embedding

EMBEDDINGS = [{}, {"padding_idx": 1}, {"padding_idx": -1}, {"max_norm": 1.0}, {"max_norm": 0.9, "norm_type": 1.0}]


@pytest.mark.parametrize("options", EMBEDDINGS, ids=str)
@pytest.mark.parametrize("shape", [(2, 3), (), (0,)], ids=str)
def test_embedding_is_pytorchs(options, shape, backend):
    ours, theirs = (
        nn.Embedding(4, 3, **options).to(pn.float64),
        torch.nn.Embedding(4, 3, dtype=torch.float64, **options),
    )
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    ids = numpy.asarray(numpy.random.default_rng(0).integers(0, 4, shape))
    y, u = ours(pn.asarray(ids)), theirs(torch.from_numpy(ids))
    assert_close(y, u)
    assert_close(ours.weight, theirs.weight)  # max_norm has shortened rows
    cotangent = numpy.asarray(arrays([tuple(u.shape)])[0])
    y.backward(pn.asarray(cotangent))
    u.backward(torch.from_numpy(cotangent))
    assert_close(ours.weight.grad, theirs.weight.grad)


def test_embedding_starts_with_a_zero_for_the_padding(backend):
    layer = nn.Embedding(4, 3, padding_idx=2)
    rows = layer.weight.detach().numpy()
    assert (rows[2] == 0).all()
    assert (rows[[0, 1, 3]] != 0).all()


def test_embedding_refuses_what_is_no_index(backend):
    layer = nn.Embedding(4, 3)
    with pytest.raises(TypeError, match="indices must be integers, saw float32"):
        layer(pn.ones(2))
    with pytest.raises(ValueError, match="padding_idx=4, but there are 4 rows"):
        nn.Embedding(4, 3, padding_idx=4)


@pytest.mark.parametrize("index", [4, -1])
def test_an_index_that_names_no_row_never_passes_silently(index, backend):
    layer = nn.Embedding(4, 3)
    try:
        rows = layer(pn.asarray([0, index])).detach().numpy()
    except IndexError as problem:
        assert "there are 4 rows" in str(problem)
    else:  # where looking would make a device wait
        assert numpy.isnan(rows[1]).all()
        assert not numpy.isnan(rows[0]).any()


def test_embedding_from_a_table(backend):
    table = pn.asarray([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.Embedding.from_pretrained(table)
    assert not layer.weight.requires_grad
    assert layer(pn.asarray([1])).tolist() == [[3.0, 4.0]]
    assert repr(layer) == "Embedding(2, 2)"
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


# ----------------------------------------------------------------------------------------------------------- Dropout


def test_dropout_keeps_the_mean_and_drops_the_share(backend):
    pn.manual_seed(3)
    y = nn.Dropout(0.25)(pn.ones(10_000)).numpy()
    numpy.testing.assert_allclose(numpy.unique(y), [0.0, 4 / 3], rtol=1e-6)
    assert abs((y == 0).mean() - 0.25) < 0.02  # 4.6 standard deviations
    assert y.dtype == numpy.float32


MASK_OF_SEED_11 = [[2, 0, 2, 0, 2], [2, 0, 2, 0, 2], [0, 0, 0, 0, 0]]


def test_dropout_drops_the_same_elements_everywhere(backend):
    mask = nn.functional.dropout(pn.ones((3, 5)), 0.5, generator=pn.random.Generator(11)).tolist()
    assert mask == MASK_OF_SEED_11


def test_dropout_passes_the_gradient_where_it_passed_the_value(backend):
    x = pn.ones((4, 5)).requires_grad_()
    y = nn.Dropout(0.5)(x)
    pn.sum(y).backward()
    assert x.grad.tolist() == y.tolist()


def test_dropout_in_evaluation_and_at_the_ends(backend):
    x = pn.ones(5)
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert nn.Dropout(1.0)(x).tolist() == [0.0] * 5
    assert nn.Dropout(0.5)(pn.ones((0, 3))).shape == (0, 3)
    assert nn.Dropout(0.5)(pn.ones(5, dtype=pn.float64)).dtype is pn.float64
    with pytest.raises(ValueError, match="p must be a probability from 0 to 1, saw 1.5"):
        nn.Dropout(1.5)
    with pytest.raises(ValueError, match="inplace=True is not possible"):
        nn.Dropout(0.5, inplace=True)
    with pytest.raises(TypeError, match="expected a floating dtype, saw int"):
        nn.Dropout(0.5)(pn.asarray([1, 2]))


def test_dropout_prints_as_pytorchs():
    assert repr(nn.Dropout(0.3)) == repr(torch.nn.Dropout(0.3))


# ---------------------------------------------------------------------------------------------------------- Rational


def test_rational_starts_near_relu(backend):
    x = numpy.linspace(-1, 1, 20_001)
    error = nn.Rational().to(pn.float64)(pn.asarray(x)).detach().numpy() - numpy.maximum(x, 0)
    assert 0.0218 < abs(error).max() < 0.0219  # measured: 0.02189
    # The best approximation of its type takes its largest error with alternating sign: nearly so, with four digits.
    turns = error[[0, 3522, 8085, 10_000, 11_915, 16_478, 20_000]]
    numpy.testing.assert_allclose(turns, [-0.0218, 0.0218, -0.0218, 0.0218, -0.0218, 0.0218, -0.0218], atol=1e-4)


def test_rational_is_the_quotient_and_trains_its_coefficients(backend):
    p, q = [0.3, -1.0, 0.7, 0.2], [0.5, 0.1, 1.5]
    layer = nn.Rational(p, q, dtype=pn.float64)
    x = arrays([(4, 5)])[0]
    ours = pn.asarray(x).requires_grad_()
    t, tp, tq = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (x, p, q)]
    expected = (((tp[0] * t + tp[1]) * t + tp[2]) * t + tp[3]) / ((tq[0] * t + tq[1]) * t + tq[2])
    y = layer(ours)
    assert_close(y, expected)
    cotangent = arrays([(4, 5)], seed=4)[0]
    y.backward(pn.asarray(cotangent))
    expected.backward(torch.from_numpy(cotangent))
    for mine, yours in ((ours, t), (layer.numerator, tp), (layer.denominator, tq)):
        assert_close(mine.grad, yours.grad)


def test_rational_learns_a_function_that_relu_does_not_have(backend):
    layer = nn.Rational().to(pn.float64)
    x = pn.asarray(numpy.linspace(-1, 1, 41))
    target = x * x

    def loss() -> pn.Tensor:
        return pn.mean((layer(x) - target) ** 2)

    before = loss().item()
    for _ in range(100):
        layer.zero_grad()
        loss().backward()
        for parameter in layer.parameters():
            parameter._raw = (parameter.detach() - 0.5 * parameter.grad)._raw
    assert loss().item() < 0.1 * before


# ---------------------------------------------------------------------------------------------------------- refusals


def test_a_wrong_last_axis_is_named(backend):
    with pytest.raises(ValueError) as problem:
        nn.Linear(64, 2)(pn.ones((8, 32)))
    assert str(problem.value) == "Linear(in_features=64): the input's last axis is 32 (shape (8, 32))."
    with pytest.raises(ValueError, match=r"Linear\(in_features=1\): the input's axes are none \(shape \(\)\)"):
        nn.Linear(1, 2)(pn.ones(()))
    with pytest.raises(ValueError, match=r"LayerNorm\(normalized_shape=\(4,\)\).*\(5, 3\)"):
        nn.LayerNorm(4)(pn.ones((5, 3)))
    with pytest.raises(ValueError, match=r"BatchNorm1d\(num_features=4\): .* saw \(5, 3\)"):
        nn.BatchNorm1d(4)(pn.ones((5, 3)))
    with pytest.raises(ValueError, match="the second input has shape"):
        nn.Bilinear(2, 3, 1)(pn.ones(2), pn.ones(2))
    with pytest.raises(ValueError, match="the axis has length 5"):
        nn.Unflatten(1, (2, 3))(pn.ones((2, 5)))
    with pytest.raises(IndexError, match="no axis 2"):
        nn.Flatten(2)(pn.ones((2, 5)))


LAYERS = {
    "Linear": lambda: nn.Linear(3, 2),
    "LayerNorm": lambda: nn.LayerNorm(3),
    "BatchNorm": lambda: nn.BatchNorm1d(3),
    "Rational": lambda: nn.Rational(),
}


@pytest.mark.parametrize("name", LAYERS)
def test_another_dtype_is_refused_with_the_cast_to_write(name, backend):
    layer, x = LAYERS[name](), pn.ones((5, 3), dtype=pn.float64)
    with pytest.raises(TypeError) as problem:
        layer(x)
    for word in (name, "input is float64", "parameters are float32", "portanet.astype(x, portanet.float32)"):
        assert word in str(problem.value)
    assert layer(pn.astype(x, pn.float32)).dtype is pn.float32  # the cast that the message names
    assert layer.to(pn.float64)(x).dtype is pn.float64  # and the other one
    with pytest.raises(TypeError, match="input is int"):
        layer(pn.ones((5, 3), dtype=pn.int64))


def test_batch_norm_refuses_a_batch_of_one_in_training(backend):
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="no variance to train with"):
        layer(pn.ones((1, 3)))
    assert layer.eval()(pn.ones((1, 3))).shape == (1, 3)


def test_an_array_of_another_library_is_refused():
    layer = nn.Linear(3, 2)
    with pytest.raises(TypeError, match="arrays of two libraries"):
        layer(torch.ones(5, 3))


@pytest.mark.parametrize("name", LAYERS)
def test_the_functions_take_raw_arrays(name, backend):
    layer = LAYERS[name]().eval()
    x = pn.asarray(arrays([(5, 3)])[0].astype("float32"))
    raw = [p.array for p in layer.parameters()]
    F = nn.functional
    results = {
        "Linear": lambda: F.linear(x.array, *raw),
        "LayerNorm": lambda: F.layer_norm(x.array, 3, *raw),
        "BatchNorm": lambda: F.batch_norm(x.array, layer.running_mean.array, layer.running_var.array, *raw),
        "Rational": lambda: F.rational(x.array, *raw),
    }
    y = results[name]()
    assert type(y) is type(x.array)
    numpy.testing.assert_allclose(pn.Tensor(y).numpy(), layer(x).detach().numpy(), rtol=1e-6, atol=1e-6)
    assert isinstance(layer(x.array), pn.Tensor)  # a raw array that meets parameters becomes a Tensor


def test_linear_draws_pytorchs_distribution():
    pn.manual_seed(0)
    layer = nn.Linear(100, 200)
    for values, bound in ((layer.weight, 0.1), (layer.bias, 0.1)):
        values = values.detach().numpy()
        assert abs(values).max() <= bound
        assert abs(values).max() > 0.95 * bound
        assert abs(values.std() - bound / 3**0.5) < 0.1 * bound


def test_parameters_start_the_same_on_every_backend(backend):
    pn.manual_seed(5)
    values = [p.detach().numpy() for p in nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 2)).parameters()]
    pn.manual_seed(5)
    with pn.use_backend("numpy"):
        expected = [p.detach().numpy() for p in nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 2)).parameters()]
    for mine, theirs in zip(values, expected, strict=True):
        numpy.testing.assert_array_equal(mine, theirs)
