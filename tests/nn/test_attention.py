"""Attention beside PyTorch's: heads in groups, more keys, keys that are given, masks of both kinds; and refusals."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import Case, arrays, assert_close, compared, compared_in_float32, proved

torch = pytest.importorskip("torch")

RNG = numpy.random.default_rng(0)
HIDES = RNG.random((5, 5)) < 0.3
HIDES[:, 0] = False  # every query sees a key: PyTorch makes nan of a query that sees none
OF_EACH = RNG.normal(size=(4, 5, 5))
PADS = numpy.asarray([[False] * 5, [False, False, False, True, True]])
LATER = numpy.triu(numpy.ones((5, 5), dtype=bool), 1)


class Attending(Case):
    """Attention of one input to itself, or of three; masks are the same arrays in both libraries."""

    def __str__(self) -> str:
        call = {k: v.shape if isinstance(v, numpy.ndarray) else v for k, v in self.forward.items()}
        return f"MultiheadAttention({self.args}, {self.options})-{self.inputs}-{call}"

    def ours(self, dtype: Any = pn.float64) -> Any:
        call = {k: pn.asarray(_cast(v, dtype)) if isinstance(v, numpy.ndarray) else v for k, v in self.forward.items()}
        return _around(nn.Module, super().ours(dtype), call)

    def theirs(self) -> Any:
        call = {k: torch.from_numpy(v) if isinstance(v, numpy.ndarray) else v for k, v in self.forward.items()}
        return _around(torch.nn.Module, super().theirs(), call)


def _cast(mask: Any, dtype: Any) -> Any:
    return mask if mask.dtype == bool else mask.astype(str(dtype))


def _around(base: Any, layer: Any, call: Any) -> Any:
    class Around(base):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, *x: Any, **_: Any) -> Any:
            return self.layer(*(x * 3 if len(x) == 1 else x), **call)

    return Around()


def case(*args: Any, shapes: list[Any], call: Any = None, **options: Any) -> Case:
    return Attending("MultiheadAttention", args, options, tuple(shapes), call or {})


ONE, BATCH = [(5, 6)], [(5, 2, 6)]
MULTIHEAD = [
    case(6, 2, add_bias_kv=True, shapes=BATCH),
    case(6, 2, add_zero_attn=True, shapes=BATCH),
    case(6, 2, add_bias_kv=True, add_zero_attn=True, bias=False, shapes=BATCH, call={"need_weights": False}),
    case(6, 2, add_bias_kv=True, shapes=ONE, call={"average_attn_weights": False}),
    case(6, 3, add_bias_kv=True, batch_first=True, shapes=[(2, 5, 6)], call={"attn_mask": HIDES}),
    case(6, 2, add_bias_kv=True, shapes=BATCH, call={"attn_mask": OF_EACH, "need_weights": False}),
    case(6, 2, add_bias_kv=True, add_zero_attn=True, shapes=BATCH, call={"key_padding_mask": PADS, "attn_mask": HIDES}),
    case(6, 2, add_bias_kv=True, shapes=BATCH, call={"attn_mask": LATER, "is_causal": True}),
    case(6, 2, add_zero_attn=True, shapes=BATCH, call={"attn_mask": LATER, "is_causal": True, "key_padding_mask": PADS}),
    case(6, 2, kdim=3, vdim=4, add_bias_kv=True, shapes=[(4, 2, 6), (5, 2, 3), (5, 2, 4)]),
    case(6, 2, kdim=3, shapes=[(4, 6), (5, 3), (5, 6)]),
    case(6, 2, vdim=3, batch_first=True, bias=False, shapes=[(2, 1, 6), (2, 5, 6), (2, 5, 3)],
         call={"key_padding_mask": PADS}),
    case(6, 1, shapes=[(1, 1, 6)], call={"average_attn_weights": False}),
    case(6, 6, shapes=ONE, call={"key_padding_mask": PADS[1], "average_attn_weights": False}),
    case(6, 2, shapes=[(4, 2, 6), (5, 2, 6), (5, 2, 6)], call={"attn_mask": OF_EACH[:, :4, :]}),
]  # fmt: skip


@pytest.mark.heavy
@pytest.mark.eager
@pytest.mark.parametrize("case", MULTIHEAD, ids=str)
def test_multihead_attention_is_pytorchs(case, backend):
    compared(case)


@pytest.mark.heavy
@pytest.mark.parametrize("case", MULTIHEAD[::3], ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.parametrize("case", MULTIHEAD, ids=str)
def test_names_and_shapes_of_the_state_are_pytorchs(case):
    ours, theirs = case.ours().layer.state_dict(), case.theirs().layer.state_dict()
    assert {name: x.shape for name, x in ours.items()} == {name: tuple(x.shape) for name, x in theirs.items()}
    assert list(ours) == list(theirs)


SMOOTH = [
    case(4, 2, add_bias_kv=True, add_zero_attn=True, shapes=[(2, 1, 4)]),
    case(4, 2, kdim=3, vdim=2, shapes=[(2, 4), (3, 3), (3, 2)], call={"average_attn_weights": False}),
]


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


def test_the_parameters_start_as_pytorchs():
    pn.manual_seed(0)
    layer = nn.MultiheadAttention(64, 2, add_bias_kv=True)
    bound = (6 / (4 * 64)) ** 0.5
    weight = layer.in_proj_weight.detach().numpy()
    assert 0.98 * bound < abs(weight).max() <= bound
    assert (layer.in_proj_bias.detach().numpy() == 0).all()
    theirs = torch.nn.MultiheadAttention(64, 2, add_bias_kv=True).bias_k
    assert 0.5 < layer.bias_k.detach().numpy().std() / theirs.detach().numpy().std() < 2


# --------------------------------------------------------------------------------------------------------- functions

HEADS, SIZE = 2, 3


def forwarded(function: Any, convert: Any, shapes: Any, options: Any, static: bool, separate: bool) -> Any:
    """One call of `multi_head_attention_forward` of either library, on the same numbers: its results."""
    x = [convert(a) for a in arrays(shapes, seed=1)]
    weights = [convert(a) for a in arrays([(18, 6), (18,), (1, 1, 6), (1, 1, 6), (6, 6), (6,)], seed=2)]
    apart = [convert(a) for a in arrays([(6, 6)] * 3, seed=3)]
    how = dict(zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), apart, strict=True)) if separate else {}
    how["use_separate_proj_weight"] = separate
    if static:
        how |= {"static_k": convert(arrays([(4, 7, 3)], 4)[0]), "static_v": convert(arrays([(4, 7, 3)], 5)[0])}
    in_weight, in_bias, bias_k, bias_v, out_weight, out_bias = weights
    if not options.get("biases"):
        bias_k = bias_v = None
    rest = (None if separate else in_weight, in_bias, bias_k, bias_v, options.get("zero", False), 0.0)
    return function(*x, 6, HEADS, *rest, out_weight, out_bias, **how)


FORWARDED = [
    ([(5, 2, 6)] * 3, {}, False, False),
    ([(5, 2, 6), (4, 2, 6), (4, 2, 6)], {"biases": True, "zero": True}, False, True),
    ([(5, 2, 6)] * 3, {"zero": True}, True, False),
    ([(5, 2, 6)] * 3, {}, True, True),
    ([(5, 6)] * 3, {"biases": True}, False, False),
]


@pytest.mark.heavy
@pytest.mark.parametrize("given", FORWARDED, ids=str)
def test_the_function_is_pytorchs(given, backend):
    ours = forwarded(F.multi_head_attention_forward, pn.asarray, *given)
    theirs = forwarded(torch.nn.functional.multi_head_attention_forward, torch.from_numpy, *given)
    raw = forwarded(F.multi_head_attention_forward, lambda a: pn.asarray(a).array, *given)
    for one, other, plain in zip(ours, theirs, raw, strict=True):
        assert_close(one, other)
        assert type(plain) is type(one.array)
        numpy.testing.assert_array_equal(pn.Tensor(plain).numpy(), one.numpy())


GROUPS = [
    ({}, (4, 2)),
    ({"is_causal": True}, (6, 3)),
    ({"scale": 0.3}, (4, 1)),
    ({"attn_mask": RNG.random((5, 5)) < 0.8}, (4, 2)),
    ({"attn_mask": RNG.normal(size=(2, 4, 5, 5))}, (4, 2)),
    ({"attn_mask": RNG.random((2, 1, 5, 5)) < 0.8}, (4, 2)),
    ({}, (2, 2)),
    ({}, (1, 1)),
]


@pytest.mark.heavy
@pytest.mark.parametrize(("options", "heads"), GROUPS, ids=lambda x: str(list(x)))
def test_heads_in_groups_are_pytorchs(options, heads, backend):
    inputs = arrays([(2, heads[0], 5, 4), (2, heads[1], 5, 4), (2, heads[1], 5, 3)])
    x = [pn.asarray(one).requires_grad_() for one in inputs]
    t = [torch.from_numpy(one).requires_grad_() for one in inputs]
    ours = {k: pn.asarray(v) if isinstance(v, numpy.ndarray) else v for k, v in options.items()}
    theirs = {k: torch.from_numpy(v) if isinstance(v, numpy.ndarray) else v for k, v in options.items()}
    y = F.scaled_dot_product_attention(*x, **ours, enable_gqa=True)
    u = torch.nn.functional.scaled_dot_product_attention(*t, **theirs, enable_gqa=True)
    assert_close(y, u)
    pn.sum(y * y).backward()
    torch.sum(u * u).backward()
    for mine, yours in zip(x, t, strict=True):
        assert_close(mine.grad, yours.grad)


def test_dropout_of_heads_in_groups_differs_from_head_to_head(backend):
    pn.manual_seed(1)
    q, k = pn.zeros((4, 3, 1)), pn.zeros((2, 100, 1))
    y = F.scaled_dot_product_attention(q, k, pn.ones((2, 100, 1)), dropout_p=0.5, enable_gqa=True).numpy()
    assert abs(y - 1).max() < 0.5  # 5 standard deviations
    assert len(numpy.unique(y[:, 0, 0])) > 1


def test_an_added_key_of_zeros_draws_attention_away(backend):
    v = pn.asarray([[4.0]])  # its own score is 0, as that of the zeros
    maps = (pn.asarray([[0.0], [0.0], [1.0]]), None, None, None, True, 0.0, pn.ones((1, 1)), None)
    y, weights = F.multi_head_attention_forward(v, v, v, 1, 1, *maps)
    assert y.tolist() == [[2.0]]
    assert weights.tolist() == [[0.5, 0.5]]


# ---------------------------------------------------------------------------------------------------------- refusals


def called(query: Any, **options: Any) -> Any:
    maps = (pn.ones((18, 6)), None, None, None, False, 0.0, pn.ones((6, 6)), None)
    return F.multi_head_attention_forward(query, query, query, 6, 2, *maps, **options)


WRONG = {
    r"query \(2, 3, 5, 4\), key \(2, 2, 5, 4\), value \(2, 2, 5, 4\); expected .*a multiple of the groups": lambda: (
        F.scaled_dot_product_attention(
            pn.ones((2, 3, 5, 4)), pn.ones((2, 2, 5, 4)), pn.ones((2, 2, 5, 4)), enable_gqa=True
        )
    ),
    r"\(enable_gqa=True\): query \(5, 4\)": lambda: F.scaled_dot_product_attention(
        *[pn.ones((5, 4))] * 3, enable_gqa=True
    ),
    r"static_k has shape \(3, 7, 3\), expected \(4, 'S', 3\)": lambda: called(
        pn.ones((5, 2, 6)), static_k=pn.ones((3, 7, 3)), static_v=pn.ones((4, 7, 3))
    ),
    r"give in_proj_weight, or with use_separate_proj_weight q_, k_ and v_proj_weight": lambda: called(
        pn.ones((5, 2, 6)), use_separate_proj_weight=True
    ),
    r"MultiheadAttention\(embed_dim=6, num_heads=2\): query, key and value have shapes \(5, 2, 5\)": lambda: called(
        pn.ones((5, 2, 5))
    ),
    r"key_padding_mask has shape \(4,\), expected \(5,\)": lambda: called(
        pn.ones((5, 6)), key_padding_mask=pn.ones(4, dtype=pn.bool)
    ),
    r"out_proj_weight has shape \(6, 6\); expected \(7, 7\)": lambda: F.multi_head_attention_forward(
        *[pn.ones((5, 7))] * 3, 7, 7, pn.ones((21, 7)), None, None, None, False, 0.0, pn.ones((6, 6)), None
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_uses_are_refused(message, backend):
    with pytest.raises(ValueError, match=message):
        WRONG[message]()
