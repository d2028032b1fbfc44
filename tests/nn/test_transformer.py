"""The Transformer, its encoder and decoder beside PyTorch's, with masks of both kinds; and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from tests.nn.cases import Case, arrays, assert_close, case, compared_in_float32, compared_step, pair, proved

torch = pytest.importorskip("torch")

PADS = numpy.asarray([[False] * 5, [False, False, False, True, True]])
HIDES = numpy.random.default_rng(0).random((4, 5)) < 0.3
HIDES[:, 0] = False  # PyTorch makes nan of a query that sees no key
LATER = numpy.triu(numpy.ones((5, 5), dtype=bool), 1)
NUMBERS = numpy.random.default_rng(1).normal(size=(4, 5, 5))


def decoder(*shapes: Any, call: Any = None, **options: Any) -> Case:
    return case("TransformerDecoderLayer", 4, 2, 5, 0.0, shapes=list(shapes), forward=call, **options)


def whole(*shapes: Any, call: Any = None, **options: Any) -> Case:
    return case("Transformer", 4, 2, 1, 2, 5, 0.0, shapes=list(shapes), forward=call, **options)


TGT, MEMORY = (5, 2, 4), (3, 2, 4)
ATTENDING = [
    case("TransformerEncoderLayer", 4, 2, 5, 0.0, shapes=[(5, 2, 4)], forward={"src_key_padding_mask": PADS}),
    case("TransformerEncoderLayer", 4, 1, 5, 0.0, layer_norm_eps=1e-2, bias=False, shapes=[(5, 4)],
         forward={"src_mask": LATER, "is_causal": True}),
    case("TransformerEncoderLayer", 4, 2, 1, 0.0, "gelu", shapes=[(1, 1, 4)]),
    decoder(TGT, MEMORY),
    decoder(TGT, MEMORY, norm_first=True, activation="gelu"),
    decoder((5, 4), (3, 4), bias=False),
    decoder((2, 5, 4), (2, 1, 4), batch_first=True, layer_norm_eps=1e-2),
    decoder(TGT, MEMORY, call={"tgt_mask": LATER, "tgt_is_causal": True}),
    decoder(TGT, TGT, call={"tgt_mask": NUMBERS, "memory_mask": LATER, "memory_is_causal": True}),
    decoder((4, 2, 4), TGT, call={"memory_mask": HIDES, "memory_key_padding_mask": PADS}),
    decoder(TGT, MEMORY, call={"tgt_key_padding_mask": PADS, "tgt_mask": LATER}),
    whole(MEMORY, TGT),
    whole((2, 3, 4), (2, 5, 4), batch_first=True, norm_first=True, activation="gelu"),
    whole((3, 4), (5, 4), bias=False, layer_norm_eps=1e-2, call={"tgt_mask": LATER, "tgt_is_causal": True}),
    whole(TGT, (4, 2, 4), call={
        "src_mask": LATER, "memory_mask": HIDES, "src_key_padding_mask": PADS, "memory_key_padding_mask": PADS,
    }),
    whole(TGT, TGT, call={"tgt_key_padding_mask": PADS, "memory_mask": LATER, "memory_is_causal": True}),
    whole(TGT, TGT, call={"src_mask": LATER, "src_is_causal": True}),
]  # fmt: skip


def names(case: Case) -> str:
    return f"{case.name}-{case.options}-{case.inputs}-{list(case.forward)}"


def of(convert: Any, case: Case, narrow: bool = False) -> dict[str, Any]:
    """The arguments of the call in one library."""
    return {
        k: convert(v.astype("float32") if narrow and v.dtype.kind == "f" else v) if isinstance(v, numpy.ndarray) else v
        for k, v in case.forward.items()
    }


def masked(case: Case, ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Both layers as modules that are called with the inputs alone."""

    def around(base: Any, layer: Any, call: Any) -> Any:
        class Around(base):
            def __init__(self) -> None:
                super().__init__()
                self.layer = layer

            def forward(self, *x: Any) -> Any:
                return self.layer(*x, **call)

        return Around()

    return (
        around(nn.Module, ours, of(pn.asarray, case)),
        around(torch.nn.Module, theirs, of(torch.from_numpy, case)),
    )


@pytest.mark.heavy
@pytest.mark.eager
@pytest.mark.parametrize("case", ATTENDING, ids=names)
def test_outputs_and_gradients_are_pytorchs(case, backend):
    ours, theirs = masked(case, *pair(case))
    compared_step(ours, theirs, case.values(0), rtol=1e-8, atol=1e-9)


@pytest.mark.heavy
@pytest.mark.parametrize("case", [one for one in ATTENDING if not one.forward], ids=names)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.parametrize("case", ATTENDING, ids=names)
def test_names_and_shapes_of_the_state_are_pytorchs(case):
    ours, theirs = case.ours().state_dict(), case.theirs().state_dict()
    assert list(ours) == list(theirs)
    assert {name: x.shape for name, x in ours.items()} == {name: tuple(x.shape) for name, x in theirs.items()}


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_of_the_decoder_have_the_order_of_smooth_ones(order, backend):
    proved(case("TransformerDecoderLayer", 2, 1, 2, 0.0, "gelu", shapes=[(2, 1, 2), (1, 1, 2)]), order)


@pytest.mark.heavy
@pytest.mark.parametrize("normed", [False, True])
def test_stacks_of_layers_are_pytorchs(normed, backend):
    def stacks(lib: Any, **extra: Any) -> list[Any]:
        norm = [lib.LayerNorm(4) if normed else None for _ in range(2)]
        return [
            lib.TransformerEncoder(lib.TransformerEncoderLayer(4, 2, 5, 0.0), 2, norm[0], **extra),
            lib.TransformerDecoder(lib.TransformerDecoderLayer(4, 2, 5, 0.0), 2, norm[1]),
        ]

    src, tgt = arrays([(5, 2, 4), (4, 2, 4)])
    later = numpy.triu(numpy.ones((4, 4), dtype=bool), 1)
    ours, theirs = stacks(nn), stacks(torch.nn, enable_nested_tensor=False)
    for mine, yours in zip(ours, theirs, strict=True):
        yours.double()
        mine.to(pn.float64).load_state_dict({name: x.numpy() for name, x in yours.state_dict().items()})
    memory = ours[0](pn.asarray(src), mask=pn.asarray(LATER), src_key_padding_mask=pn.asarray(PADS))
    wanted = theirs[0](torch.from_numpy(src), mask=torch.from_numpy(LATER), src_key_padding_mask=torch.from_numpy(PADS))
    assert_close(memory, wanted)
    y = ours[1](pn.asarray(tgt), memory, pn.asarray(later), pn.asarray(HIDES), memory_key_padding_mask=pn.asarray(PADS))
    u = theirs[1](
        torch.from_numpy(tgt), wanted, torch.from_numpy(later), torch.from_numpy(HIDES),
        memory_key_padding_mask=torch.from_numpy(PADS),
    )  # fmt: skip
    assert_close(y, u)
    assert_close(ours[1](pn.asarray(tgt), memory, tgt_is_causal=True),
                 theirs[1](torch.from_numpy(tgt), wanted, torch.from_numpy(later), tgt_is_causal=True))  # fmt: skip
    first, second = [layer.linear1.weight for layer in ours[1].layers]
    assert first is not second


def test_the_mask_of_what_comes_later_is_pytorchs(backend):
    ours = nn.Transformer.generate_square_subsequent_mask(4)
    assert_close(ours, torch.nn.Transformer.generate_square_subsequent_mask(4))
    assert nn.Transformer.generate_square_subsequent_mask(2, dtype=pn.float64).dtype is pn.float64
    layer = nn.TransformerEncoderLayer(4, 2, 5, 0.0)
    x = pn.asarray(arrays([(4, 2, 4)])[0].astype("float32"))
    numpy.testing.assert_allclose(
        layer(x, ours).detach().numpy(), layer(x, is_causal=True).detach().numpy(), rtol=1e-5, atol=1e-6
    )


def test_what_comes_later_has_no_influence(backend):
    model = nn.Transformer(4, 2, 1, 1, 5, 0.0)
    src, tgt, other = [pn.asarray(a.astype("float32")) for a in arrays([(3, 1, 4), (5, 1, 4), (5, 1, 4)])]
    mixed = pn.concat([tgt[:3, ...], other[3:, ...]])
    one, two = [model(src, t, tgt_is_causal=True).detach().numpy() for t in (tgt, mixed)]
    numpy.testing.assert_allclose(one[:3], two[:3], rtol=1e-5, atol=1e-6)
    assert not numpy.allclose(one[3:], two[3:])


def test_encoder_and_decoder_may_be_given():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 1, 5), 1)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 1, 5), 1)
    model = nn.Transformer(4, 1, custom_encoder=encoder, custom_decoder=decoder)
    assert model.encoder is encoder
    assert model.decoder is decoder


def test_weights_start_uniform_as_by_glorot():
    pn.manual_seed(0)
    model = nn.Transformer(16, 2, 1, 1, 64)
    bound = (6 / (16 + 64)) ** 0.5  # Linear's own start would stay within 1 / 4
    assert 0.95 * bound < abs(model.decoder.layers[0].linear1.weight.detach().numpy()).max() <= bound


def test_dropout_works_in_training_alone(backend):
    layer = nn.TransformerDecoderLayer(4, 2, 5, 0.5)
    x = pn.asarray(arrays([(5, 2, 4)])[0].astype("float32"))
    assert not numpy.array_equal(layer(x, x).detach().numpy(), layer(x, x).detach().numpy())
    layer.eval()
    numpy.testing.assert_array_equal(layer(x, x).detach().numpy(), layer(x, x).detach().numpy())


WRONG = {
    r"TransformerDecoderLayer: activation='tanh'; expected 'relu', 'gelu' or a function": lambda: (
        nn.TransformerDecoderLayer(4, 2, activation="tanh")
    ),
    r"TransformerDecoder: num_layers must be positive, saw 0": lambda: nn.TransformerDecoder(nn.Linear(1, 1), 0),
    r"Transformer\(d_model=4\): src and tgt have shapes \(3, 2, 4\) and \(5, 1, 4\); expected \(S, N, 4\)": lambda: (
        nn.Transformer(4, 2, 1, 1, 5)(pn.ones((3, 2, 4)), pn.ones((5, 1, 4)))
    ),
    r"shapes \(3, 4\) and \(5, 1, 4\)": lambda: nn.Transformer(4, 2, 1, 1, 5)(pn.ones((3, 4)), pn.ones((5, 1, 4))),
    r"shapes \(2, 3, 4\) and \(2, 5, 3\); expected \(N, S, 4\)": lambda: nn.Transformer(
        4, 2, 1, 1, 5, batch_first=True
    )(pn.ones((2, 3, 4)), pn.ones((2, 5, 3))),
    r"attn_mask has shape \(3, 3\), expected \(5, 5\)": lambda: nn.TransformerDecoderLayer(4, 2, 5)(
        pn.ones((5, 2, 4)), pn.ones((3, 2, 4)), tgt_mask=pn.zeros((3, 3))
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_uses_are_refused(message, backend):
    with pytest.raises(ValueError, match=message):
        WRONG[message]()
