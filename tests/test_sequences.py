"""Recurrent layers, attention and the encoder beside PyTorch's, and kernels of these beside their definitions."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import namespace, nn
from portanet.kernels import generic
from portanet.library import to_numpy
from portanet.nn import functional as F
from tests.twins import REAL, Definitions, assert_alike, raw, rng_of, twins

torch = pytest.importorskip("torch")


# ---------------------------------------------------------------------------------------------------------- kernels


SIZES = [(1, 1, 1, 1), (3, 2, 3, 4), (20, 3, 2, 5), (9, 4, 5, 64), (5, 70, 3, 6)]  # steps, batch, input, hidden


@pytest.mark.eager
@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_lstm_kernels_are_their_definitions(size, reverse, dtype, backend):
    rng = rng_of(size, reverse)
    steps, batch, width_in, width = size
    arrays = lambda *shapes: [rng.normal(0, 0.5, shape).astype(dtype) for shape in shapes]  # noqa: E731
    x, h0, c0, w, u, b, d = arrays(
        (steps, batch, width_in), (batch, width), (batch, width), (4 * width, width_in), (4 * width, width),
        (4 * width,), (4 * width,),
    )  # fmt: skip
    for states, biases in itertools.product(([h0, c0], [None, None]), ([b, d], [b, None], [None, None])):
        args = (x, *states, w, u, *biases)
        with torch.backends.mkldnn.flags(enabled=False):  # whose record is compared below
            results = twins(backend, "lstm", args, dtype, reverse=reverse, through=True)
        y, _, _, cells, gates = results
        for arrived in ((0,), (1, 2), (0, 1, 2, 3, 4)):
            g = [rng.normal(size=r.shape).astype(dtype) if k in arrived else None for k, r in enumerate(results)]
            through = arrived != (0,)
            back = (g, y, cells, gates, x, *states, w, u)
            assert (
                twins(backend, "lstm_backward", back, dtype, reverse=reverse, through=through)[0] is None
            ) != through


ONEDNN = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


@ONEDNN
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_lstm_of_onednn_is_its_definition(size, reverse):
    rng = rng_of(size, reverse)
    steps, batch, width_in, width = size
    arrays = lambda *shapes: [rng.normal(0, 0.5, shape).astype("float32") for shape in shapes]  # noqa: E731
    x, h0, c0, w, u, b, d = arrays(
        (batch, steps, width_in), (width, batch), (batch, width), (4 * width, width_in), (4 * width, width),
        (4 * width,), (4 * width,),
    )  # fmt: skip
    x, h0 = x.swapaxes(0, 1), h0.T  # not in one piece
    g = arrays((steps, batch, width), *[(batch, width)] * 3)
    with pn.use_backend("torch") as backend:
        xp, definitions = backend.library, Definitions(backend.library)
        for states, biases in itertools.product(([h0, c0], [None, None]), ([b, d], [None, d], [None, None])):
            args = raw((x, *states, w, u, *biases))
            found, wanted = xp.lstm(*args, reverse=reverse), definitions.lstm(*args, reverse=reverse)
            assert found[4].ndim == 1
            assert_alike(found[:3], wanted[:3], "float32")
            for arrived in ((0,), (1, 2), (3,), (0, 1, 2, 3)):
                through = arrived != (0,)
                given = raw([one if k in arrived else None for k, one in enumerate(g)])
                # In the place of the cells is c, the last of them.
                of_c = [one for one in given[2:] if one is not None]
                same = [*given[:2], of_c[0] + of_c[1] if len(of_c) > 1 else of_c[0] if of_c else None, None, None]
                how = {"reverse": reverse, "through": through}
                mine = xp.lstm_backward([*given, None], found[0], *found[3:], *args, **how)
                theirs = definitions.lstm_backward(same, wanted[0], *wanted[3:], *args, **how)
                assert_alike(mine, theirs, "float32")
                # The definition reads no record of another's.
                again = definitions.lstm_backward(same, found[0], *found[3:], *args, **how)
                assert_alike(again, theirs, "float32")
            for after, before in zip(args, (x, *states, w, u, *biases), strict=True):
                assert before is None or (to_numpy(after) == before).all()


@ONEDNN
@pytest.mark.parametrize("biased", [True, False])
def test_an_lstm_of_onednn_has_second_derivatives(biased):
    rng = rng_of("second")
    shapes = [(6, 2, 3), (2, 5), (2, 5), (20, 3), (20, 5), *[(20,), (20,)] * biased]
    values = [rng.normal(0, 0.5, shape) for shape in shapes]

    def found(dtype: str) -> list[Any]:
        leaves = [pn.asarray(x.astype(dtype)).requires_grad_() for x in values]
        y, h, c = namespace.lstm(*leaves)[:3]
        first = pn.autograd.grad(pn.sum(y * y) + pn.sum(h * c), leaves, create_graph=True)
        pn.sum(pn.concat([pn.reshape(g * g, (-1,)) for g in first])).backward()
        return [leaf.grad.numpy() for leaf in leaves]

    with pn.use_backend("torch"):
        assert_alike(found("float32"), [one.astype("float32") for one in found("float64")], "float32")


def test_windows_of_steps_make_no_difference_to_the_way_back(monkeypatch):
    module = sys.modules["portanet.kernels.numpy.recurrent"]
    rng = rng_of("windows")
    with pn.use_backend("numpy") as backend:
        shapes = ((30, 4, 3), (4, 8), (4, 8), (32, 3), (32, 8), (32,))
        args = [rng.normal(0, 0.5, shape) for shape in shapes]
        y, h, _, cells, gates = backend.library.lstm(*args)
        back = ([None, h, None, None, None], y, cells, gates, *args[:5])
        how = {"reverse": False, "through": True}
        whole = backend.library.lstm_backward(*back, **how)
        monkeypatch.setattr(module, "_ROWS", 16)
        for one, other in zip(backend.library.lstm_backward(*back, **how), whole, strict=True):
            numpy.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


NORMED = [((5, 4), 1), ((4,), 1), ((2, 3, 4), 2), ((300, 130), 1), ((2, 0, 3), 1), ((2, 3, 1), 1)]


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize(("shape", "axes"), NORMED, ids=str)
def test_layer_norm_kernels_are_their_definitions(shape, axes, dtype, backend):
    rng = rng_of(shape)
    x, g = [rng.normal(2.0, 1.0, shape).astype(dtype) for _ in range(2)]
    weight, bias = [rng.normal(size=shape[len(shape) - axes :]).astype(dtype) for _ in range(2)]
    for w, b in ((weight, bias), (weight, None), (None, None)):
        twins(backend, "layer_norm", (x, w, b), dtype, axes=axes, eps=1e-3)
        twins(backend, "layer_norm_backward", (g, x, w), dtype, axes=axes, eps=1e-3)


def test_many_rows_are_normed_in_parts(monkeypatch):
    module = sys.modules["portanet.kernels.numpy.layer_norm"]
    monkeypatch.setattr(module, "_BLOCK", 64)
    with pn.use_backend("numpy") as backend:
        x, g, weight = [rng_of(i).normal(size=s) for i, s in enumerate(((37, 8), (37, 8), (8,)))]
        twins(backend, "layer_norm", (x, weight, None), "float64", axes=1, eps=1e-3)
        twins(backend, "layer_norm_backward", (g, x, weight), "float64", axes=1, eps=1e-3)


AT = numpy.asarray([0.0, -0.0, 1e-40, -1e-40, 1e-3, -0.5, 3.0, -3.0, 8.0, -8.0, 20.0, -20.0, 1e4, -1e4])


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_and_its_way_back(approximate, dtype, backend):
    rng = rng_of(approximate)
    x = numpy.concatenate([AT, rng.normal(0, 3, 70)]).astype(dtype)
    g = rng.normal(size=x.shape).astype(dtype)
    theirs = torch.from_numpy(x.astype(numpy.float64)).requires_grad_()
    wanted = torch.nn.functional.gelu(theirs, approximate=approximate)
    wanted.backward(torch.from_numpy(g.astype(numpy.float64)))
    tolerance = {"float32": 2e-6, "float64": 1e-12}[dtype]
    given = [raw(one) for one in (g, x)]
    for kernels in (backend.library, Definitions(backend.library)):
        gelu, back = kernels.gelu, kernels.gelu_backward
        y = gelu(given[1], approximate=approximate)
        numpy.testing.assert_allclose(to_numpy(y), wanted.detach().numpy(), rtol=tolerance, atol=tolerance)
        gx = to_numpy(back(given[0], y, given[1], approximate=approximate))
        assert gx.dtype == dtype
        numpy.testing.assert_allclose(gx, theirs.grad.numpy(), rtol=tolerance * 10, atol=tolerance * 20)


def test_gelu_of_many_numbers_in_any_order_of_memory(backend):
    x = rng_of("many").normal(0, 3, (700, 600)).astype("float32")
    y = pn.Tensor(backend.library.gelu(raw(x).T, approximate="none")).numpy()
    wanted = torch.nn.functional.gelu(torch.from_numpy(x.T.astype("float64"))).numpy()
    numpy.testing.assert_allclose(y, wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", REAL)
def test_sigmoid_at_both_ends(dtype, backend):
    x = numpy.asarray([0.0, 1.0, -1.0, 30.0, -30.0, -85.0, 1e4, -1e4], dtype=dtype)
    wanted = torch.sigmoid(torch.from_numpy(x.astype("float64"))).numpy()
    tolerance = {"float32": 1e-6, "float64": 1e-15}[dtype]
    numpy.testing.assert_allclose(twins(backend, "sigmoid", (x,), dtype), wanted, rtol=tolerance, atol=0)
    assert numpy.isnan(to_numpy(backend.library.sigmoid(raw(numpy.asarray([numpy.nan], dtype=dtype))))).all()


@pytest.mark.parametrize("columns", (1, 9, 300))
@pytest.mark.parametrize(("rows", "count"), [(5, 2000), (7, 30), (3000, 3000), (1, 96)])
def test_sums_of_rows_named_many_times(rows, count, columns, backend):
    rng = rng_of(rows, count)
    places, updates = rng.integers(0, rows, count), rng.integers(-9, 10, (count, columns)).astype("float32")
    x = rng.integers(-9, 10, (rows, columns)).astype("float32")
    wanted = x.copy()
    numpy.add.at(wanted, places, updates)
    numpy.testing.assert_array_equal(to_numpy(backend.library.scatter_add(*raw((x, places, updates)))), wanted)


# ---------------------------------------------------------------------------------------------- modules and PyTorch


@dataclass(frozen=True)
class Case:
    """A layer by name and arguments, the same in both libraries, the shapes of its inputs and what it is called with."""

    name: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    call: dict[str, Any]

    def __str__(self) -> str:
        options = [f"{k}={v}" for k, v in self.options.items()]
        called = [f"{k}={v if isinstance(v, bool) else numpy.shape(v)}" for k, v in self.call.items()]
        return f"{self.name}({', '.join([*map(str, self.args), *options])})-{self.shapes}-{','.join(called)}"

    def ours(self) -> nn.Module:
        return getattr(nn, self.name)(*self.args, **self.options).to(pn.float64)

    def theirs(self) -> Any:
        return getattr(torch.nn, self.name)(*self.args, **self.options).to(torch.float64)


def case(
    name: str, *args: Any, shapes: list[tuple[int, ...]], call: dict[str, Any] | None = None, **options: Any
) -> Case:
    return Case(name, args, options, tuple(shapes), call or {})


RECURRENT = [
    case("LSTM", 3, 4, shapes=[(5, 2, 3)]),
    case("LSTM", 3, 4, shapes=[(5, 3)]),
    case("LSTM", 3, 4, shapes=[(1, 1, 3)]),
    case("LSTM", 3, 4, shapes=[(5, 2, 3), (1, 2, 4), (1, 2, 4)]),
    case("LSTM", 3, 4, shapes=[(5, 3), (1, 4), (1, 4)]),
    case("LSTM", 3, 4, batch_first=True, shapes=[(2, 5, 3)]),
    case("LSTM", 3, 4, batch_first=True, shapes=[(5, 3)]),
    case("LSTM", 3, 4, bias=False, shapes=[(5, 2, 3)]),
    case("LSTM", 3, 4, 3, shapes=[(5, 2, 3), (3, 2, 4), (3, 2, 4)]),
    case("LSTM", 3, 4, bidirectional=True, shapes=[(5, 2, 3)]),
    case("LSTM", 3, 4, 2, bidirectional=True, batch_first=True, shapes=[(2, 5, 3), (4, 2, 4), (4, 2, 4)]),
    case("LSTM", 3, 4, 2, bias=False, bidirectional=True, shapes=[(5, 2, 3)]),
]

HIDES = numpy.triu(numpy.ones((5, 5), bool), 1)
PADS = numpy.asarray([[False, False, False, True, True], [False] * 5])
ADDS = rng_of("adds").normal(size=(4, 5, 5))
EACH = [(5, 2, 6)] * 3

ATTENTION = [
    case("MultiheadAttention", 6, 2, shapes=EACH),
    case("MultiheadAttention", 6, 1, shapes=[(5, 2, 6)]),
    case("MultiheadAttention", 6, 2, shapes=[(5, 2, 6)]),
    case("MultiheadAttention", 6, 3, shapes=[(5, 6)]),
    case("MultiheadAttention", 6, 2, batch_first=True, shapes=[(2, 3, 6), (2, 5, 6), (2, 5, 6)]),
    case("MultiheadAttention", 6, 2, bias=False, shapes=[(2, 2, 6)]),
    case("MultiheadAttention", 6, 2, kdim=3, vdim=4, shapes=[(2, 2, 6), (5, 2, 3), (5, 2, 4)]),
    case("MultiheadAttention", 6, 2, kdim=3, shapes=[(2, 6), (5, 3), (5, 6)]),
    case("MultiheadAttention", 6, 2, shapes=[(5, 2, 6)], call={"need_weights": False}),
    case("MultiheadAttention", 6, 2, shapes=EACH, call={"average_attn_weights": False}),
    case("MultiheadAttention", 6, 2, shapes=[(5, 2, 6)], call={"attn_mask": HIDES}),
    case(
        "MultiheadAttention",
        6,
        2,
        shapes=[(5, 2, 6)],
        call={"attn_mask": HIDES, "need_weights": False, "is_causal": True},
    ),
    case("MultiheadAttention", 6, 2, shapes=EACH, call={"attn_mask": ADDS[0]}),
    case("MultiheadAttention", 6, 2, shapes=EACH, call={"attn_mask": ADDS}),
    case("MultiheadAttention", 6, 2, shapes=[(5, 2, 6)], call={"key_padding_mask": PADS}),
    case("MultiheadAttention", 6, 2, shapes=[(5, 2, 6)], call={"key_padding_mask": PADS, "attn_mask": HIDES}),
    case(
        "MultiheadAttention",
        6,
        2,
        shapes=[(5, 2, 6)],
        call={"key_padding_mask": PADS[0:1].repeat(2, 0), "attn_mask": ADDS},
    ),
    case("MultiheadAttention", 6, 2, shapes=[(5, 6)], call={"key_padding_mask": PADS[0]}),
]

LAYER = {"dim_feedforward": 7, "dropout": 0.0}
ENCODERS = [
    case("TransformerEncoderLayer", 6, 2, **LAYER, shapes=[(5, 2, 6)]),
    case("TransformerEncoderLayer", 6, 2, **LAYER, shapes=[(5, 6)]),
    case("TransformerEncoderLayer", 6, 2, **LAYER, norm_first=True, shapes=[(5, 2, 6)]),
    case("TransformerEncoderLayer", 6, 3, **LAYER, activation="gelu", batch_first=True, shapes=[(2, 5, 6)]),
    case("TransformerEncoderLayer", 6, 3, **LAYER, bias=False, layer_norm_eps=1e-2, shapes=[(5, 2, 6)]),
    case("TransformerEncoderLayer", 6, 2, **LAYER, shapes=[(5, 2, 6)], call={"src_mask": HIDES}),
    case("TransformerEncoderLayer", 6, 2, **LAYER, shapes=[(5, 2, 6)], call={"src_key_padding_mask": PADS}),
    case("TransformerEncoderLayer", 6, 2, **LAYER, shapes=[(5, 2, 6)], call={"src_mask": HIDES, "is_causal": True}),
]


def pair(case: Case) -> tuple[nn.Module, Any]:
    """Our layer and PyTorch's with the same parameters, none of them at a special value."""
    ours, theirs = case.ours(), case.theirs()
    rng = rng_of(case.name, len(case.shapes))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(0, 0.5, tuple(parameter.shape))))
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return ours, theirs


def flat(results: Any) -> list[Any]:
    """All results that are not None, of nested tuples."""
    if isinstance(results, (tuple, list)):
        return [one for result in results for one in flat(result)]
    return [] if results is None else [results]


def assert_close(ours: pn.Tensor, theirs: Any) -> None:
    assert ours.shape == tuple(theirs.shape)
    numpy.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6, atol=1e-10)


def called(layer: Any, case: Case, x: list[Any], convert: Any) -> list[Any]:
    call = {name: value if isinstance(value, bool) else convert(value) for name, value in case.call.items()}
    if case.name == "LSTM":
        return flat(layer(x[0], tuple(x[1:]) or None))
    return flat(layer(*(x * 3 if case.name == "MultiheadAttention" and len(x) == 1 else x), **call))


@pytest.mark.heavy
@pytest.mark.eager
@pytest.mark.parametrize("case", [*RECURRENT, *ATTENTION, *ENCODERS], ids=str)
def test_outputs_states_and_gradients_are_pytorchs(case, backend):
    ours, theirs = pair(case)
    inputs = [rng_of(case, i).normal(size=shape) for i, shape in enumerate(case.shapes)]
    x = [pn.asarray(one).requires_grad_() for one in inputs]
    t = [torch.from_numpy(one).requires_grad_() for one in inputs]
    results, expected = called(ours, case, x, pn.asarray), called(theirs, case, t, torch.from_numpy)
    assert len(results) == len(expected)
    total, wanted = 0, 0
    for i, (y, u) in enumerate(zip(results, expected, strict=True)):
        assert_close(y, u)
        weights = rng_of("cotangent", i).normal(size=tuple(u.shape))
        total = total + pn.sum(y * pn.asarray(weights))
        wanted = wanted + torch.sum(u * torch.from_numpy(weights))
    total.backward()
    wanted.backward()
    for mine, yours in zip(x, t, strict=True):
        assert_close(mine.grad, yours.grad)
    for (name, mine), (same, yours) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == same
        assert_close(mine.grad, yours.grad)


@pytest.mark.parametrize("case", [*RECURRENT, *ATTENTION, *ENCODERS], ids=str)
def test_states_of_modules_are_pytorchs(case):
    ours, theirs = case.ours().state_dict(), case.theirs().state_dict()
    assert {name: x.shape for name, x in ours.items()} == {name: tuple(x.shape) for name, x in theirs.items()}


@pytest.mark.parametrize("case", RECURRENT, ids=str)
def test_recurrent_layers_print_as_pytorchs(case):
    assert repr(case.ours()) == repr(case.theirs())


@pytest.mark.heavy
def test_the_encoder_is_pytorchs(backend):
    theirs = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(6, 2, 7, 0.0, batch_first=True, norm_first=True), 2, torch.nn.LayerNorm(6),
        enable_nested_tensor=False,
    ).double()  # fmt: skip
    ours = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(6, 2, 7, 0.0, batch_first=True, norm_first=True), 2, nn.LayerNorm(6)
    ).to(pn.float64)
    ours.load_state_dict({name: value.detach().numpy() for name, value in theirs.state_dict().items()})
    x = rng_of("encoder").normal(size=(2, 5, 6))
    y = ours(pn.asarray(x), is_causal=True)
    assert_close(y, theirs(torch.from_numpy(x), mask=torch.from_numpy(HIDES), is_causal=True))
    assert_close(ours(pn.asarray(x), mask=pn.asarray(HIDES)), theirs(torch.from_numpy(x), mask=torch.from_numpy(HIDES)))
    assert_close(
        ours(pn.asarray(x), src_key_padding_mask=pn.asarray(PADS))[1, ...],
        theirs(torch.from_numpy(x), src_key_padding_mask=torch.from_numpy(PADS))[1],
    )


SDPA = [
    ({}, ((2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 7))),
    ({"is_causal": True}, ((2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4))),
    ({"is_causal": True}, ((2, 5, 4), (2, 3, 4), (2, 3, 4))),
    ({"scale": 0.3}, ((5, 4), (6, 4), (6, 2))),
    ({"attn_mask": rng_of("a").normal(size=(5, 6))}, ((2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 7))),
    ({"attn_mask": rng_of("b").random((2, 1, 5, 6)) < 0.7}, ((2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 7))),
]


@pytest.mark.heavy
@pytest.mark.parametrize(("options", "shapes"), SDPA, ids=lambda x: str(list(x)) if isinstance(x, dict) else None)
def test_scaled_dot_product_attention_is_pytorchs(options, shapes, backend):
    inputs = [rng_of(i).normal(size=shape) for i, shape in enumerate(shapes)]
    x = [pn.asarray(one).requires_grad_() for one in inputs]
    t = [torch.from_numpy(one).requires_grad_() for one in inputs]
    ours = {k: pn.asarray(v) if isinstance(v, numpy.ndarray) else v for k, v in options.items()}
    theirs = {k: torch.from_numpy(v) if isinstance(v, numpy.ndarray) else v for k, v in options.items()}
    y = F.scaled_dot_product_attention(*x, **ours)
    u = torch.nn.functional.scaled_dot_product_attention(*t, **theirs)
    assert_close(y, u)
    pn.sum(y * y).backward()
    torch.sum(u * u).backward()
    for mine, yours in zip(x, t, strict=True):
        assert_close(mine.grad, yours.grad)
    same = F.scaled_dot_product_attention(
        *[one.array for one in x], **{k: getattr(v, "array", v) for k, v in ours.items()}
    )
    assert type(same) is type(y.array)
    numpy.testing.assert_allclose(to_numpy(same), y.detach().numpy(), rtol=1e-12)


def test_gradients_reach_a_mask_of_numbers(backend):
    q, m = [rng_of(i).normal(size=s) for i, s in enumerate(((2, 3, 4), (3, 3)))]
    mask, theirs = pn.asarray(m).requires_grad_(), torch.from_numpy(m).requires_grad_()
    x, t = pn.asarray(q), torch.from_numpy(q)
    pn.sum(F.scaled_dot_product_attention(x, x, x, mask) ** 2).backward()
    (torch.nn.functional.scaled_dot_product_attention(t, t, t, theirs) ** 2).sum().backward()
    assert_close(mask.grad, theirs.grad)


# --------------------------------------------------------------------------------------------------------- dropout


def test_dropout_works_between_recurrent_layers_in_training_alone(backend):
    layer = nn.LSTM(3, 4, 2, dropout=0.5)
    x = pn.asarray(rng_of("x").normal(size=(5, 2, 3)).astype("float32"))
    one, other = layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy()
    assert not numpy.array_equal(one, other)
    layer.eval()
    numpy.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())


def test_dropout_of_attention_keeps_the_mean(backend):
    pn.manual_seed(2)
    v = pn.ones((1, 4000, 1))
    q, k = pn.zeros((1, 4, 1)), pn.zeros((1, 4000, 1))
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25).numpy()
    assert abs(y - 1).max() < 0.04  # 4.4 standard deviations
    assert len(numpy.unique(y)) > 1


def test_the_weights_that_attention_returns_are_those_it_used(backend):
    pn.manual_seed(4)
    layer = nn.MultiheadAttention(4, 2, dropout=0.5, bias=False, batch_first=True)
    x = pn.asarray(rng_of("w").normal(size=(1, 6, 4)).astype("float32"))
    y, weights = layer(x, x, x, average_attn_weights=False)
    _, _, value = pn.unstack(pn.reshape(x @ layer.in_proj_weight.T, (1, 6, 3, 2, 2)), axis=2)
    used = pn.matmul(weights, pn.permute_dims(value, (0, 2, 1, 3)))
    again = pn.reshape(pn.permute_dims(used, (0, 2, 1, 3)), (1, 6, 4)) @ layer.out_proj.weight.T
    numpy.testing.assert_allclose(y.detach().numpy(), again.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert (weights.detach().numpy() == 0).any()


# -------------------------------------------------------------------------------------------------------- refusals

WRONG = {
    r"LSTM\(input_size=3\): the input must have shape \(steps, batch, 3\).*saw \(5, 2, 4\)": lambda: nn.LSTM(3, 4)(
        pn.ones((5, 2, 4))
    ),
    r"batch, steps, 3\).*saw \(5,\)": lambda: nn.LSTM(3, 4, batch_first=True)(pn.ones((5,))),
    r"no step \(shape \(0, 2, 3\)\)": lambda: nn.LSTM(3, 4)(pn.ones((0, 2, 3))),
    r"hx\[1\] has shape \(1, 3, 4\), expected \(1, 2, 4\)": lambda: nn.LSTM(3, 4)(
        pn.ones((5, 2, 3)), (pn.ones((1, 2, 4)), pn.ones((1, 3, 4)))
    ),
    r"hx must be a pair": lambda: nn.LSTM(3, 4)(pn.ones((5, 2, 3)), pn.ones((1, 2, 4))),
    r"proj_size must lie in 0 to 3": lambda: nn.LSTM(3, 4, proj_size=4),
    r"hidden_size must be a positive integer, saw 0": lambda: nn.LSTM(3, 0),
    r"dropout must be a probability from 0 to 1, saw 1.5": lambda: nn.LSTM(3, 4, 2, dropout=1.5),
    r"2 layers in 1 direction need 4 parameters each, 8 in all; there are 4": lambda: F.lstm(
        pn.ones((5, 2, 3)), None, list(nn.LSTM(3, 4).parameters()), num_layers=2
    ),
    r"embed_dim must be a positive multiple of num_heads.*embed_dim=6, num_heads=4": lambda: nn.MultiheadAttention(
        6, 4
    ),
    r"dropout must be a probability from 0 to below 1": lambda: nn.MultiheadAttention(6, 2, dropout=1.0),
    r"shapes \(5, 2, 6\), \(5, 2, 4\), \(5, 2, 6\); expected \(L, N, 6\)": lambda: nn.MultiheadAttention(6, 2)(
        pn.ones((5, 2, 6)), pn.ones((5, 2, 4)), pn.ones((5, 2, 6))
    ),
    r"attn_mask has shape \(5, 4\), expected \(5, 5\) or \(4, 5, 5\)": lambda: nn.MultiheadAttention(6, 2)(
        *[pn.ones((5, 2, 6))] * 3, attn_mask=pn.ones((5, 4))
    ),
    r"key_padding_mask has shape \(5, 2\), expected \(2, 5\)": lambda: nn.MultiheadAttention(6, 2)(
        *[pn.ones((5, 2, 6))] * 3, key_padding_mask=pn.ones((5, 2))
    ),
    r"activation='tanh'; expected 'relu', 'gelu' or a function": lambda: nn.TransformerEncoderLayer(
        6, 2, activation="tanh"
    ),
    r"num_layers must be positive, saw 0": lambda: nn.TransformerEncoder(nn.Linear(1, 1), 0),
    r"query \(5, 4\), key \(6, 3\), value \(6, 2\)": lambda: F.scaled_dot_product_attention(
        pn.ones((5, 4)), pn.ones((6, 3)), pn.ones((6, 2))
    ),
    r"axes in front do not broadcast": lambda: F.scaled_dot_product_attention(
        pn.ones((2, 5, 4)), pn.ones((3, 6, 4)), pn.ones((3, 6, 2))
    ),
    r"give attn_mask or is_causal=True, not both": lambda: F.scaled_dot_product_attention(
        *[pn.ones((5, 4))] * 3, pn.ones((5, 5)), is_causal=True
    ),
    r"dropout must lie in \[0, 1\), saw 1": lambda: F.scaled_dot_product_attention(
        *[pn.ones((5, 4))] * 3, dropout_p=1.0
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_uses_are_refused(message, backend):
    with pytest.raises(ValueError, match=message):
        WRONG[message]()


def test_another_dtype_is_refused(backend):
    x = pn.ones((5, 2, 6), dtype=pn.float64)
    with pytest.raises(TypeError, match="LSTM: the input is float64, the parameters are float32"):
        nn.LSTM(6, 4)(x)
    with pytest.raises(TypeError, match=r"LSTM's hx\[0\]: the input is float64"):
        nn.LSTM(6, 4)(pn.ones((5, 2, 6)), (pn.ones((1, 2, 4), dtype=pn.float64), pn.ones((1, 2, 4))))
    with pytest.raises(TypeError, match="MultiheadAttention: the input is float64, the parameters are float32"):
        nn.MultiheadAttention(6, 2)(x, x, x)
    with pytest.raises(TypeError, match="key: the input is float32, the parameters are float64"):
        F.scaled_dot_product_attention(x, pn.ones((5, 2, 6)), x)


def test_dropout_with_one_recurrent_layer_warns(backend):
    with pytest.warns(UserWarning, match="dropout=0.5 works between layers, and there is one"):
        nn.LSTM(3, 4, dropout=0.5)


# ------------------------------------------------------------------------------------------------------------- JAX


@pytest.mark.parametrize("reverse", [False, True])
def test_jaxs_loop_is_the_definition(reverse):
    pytest.importorskip("jax")
    rng = rng_of("jax", reverse)
    shapes = ((5, 2, 3), (2, 4), (2, 4), (16, 3), (16, 4), (16,), (16,))
    args = [rng.normal(0, 0.5, shape) for shape in shapes]
    how = {"reverse": reverse, "through": True}
    with pn.use_backend("numpy") as backend:
        wanted = generic.lstm(backend.library, *args, **how)
        g = [rng.normal(size=one.shape) for one in wanted]
        slots = (g, [None, g[1], None, None, None])
        back = [(one, wanted[0], *wanted[3:], *args[:5]) for one in slots]
        cotangents = [generic.lstm_backward(backend.library, *one, **how) for one in back]
    with pn.use_backend("jax") as backend:
        assert_alike(backend.library.lstm(*raw(args), **how), wanted, "float64")
        for one, other in zip(back, cotangents, strict=True):
            assert_alike(backend.library.lstm_backward(*raw(one), **how), other, "float64")


def test_jax_traces_an_lstm_of_any_length_into_one_program():
    jax = pytest.importorskip("jax")
    with pn.use_backend("jax"):
        layer = nn.LSTM(3, 4)
        weights = [p.array for p in layer.parameters()]

        def step(x: Any, *weights: Any) -> Any:
            leaves = [pn.Tensor(w).requires_grad_() for w in weights]
            y = F.lstm(pn.Tensor(x), None, leaves)[0]
            pn.sum(y * y).backward()
            return [leaf.grad.array for leaf in leaves]

        sizes = [len(str(jax.make_jaxpr(step)(pn.ones((n, 2, 3)).array, *weights))) for n in (4, 40)]
    assert sizes[1] < 1.1 * sizes[0]
