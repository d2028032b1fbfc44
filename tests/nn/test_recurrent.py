"""Recurrent layers and cells beside PyTorch's, on padded and on packed sequences; and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import Case, arrays, assert_close, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")


def wrapped(base: Any, utils: Any) -> Any:
    """A module around a recurrent layer, of either library, that takes (h, c) as two inputs, and packs its first."""

    class Around(base):
        def __init__(self, layer: Any, lengths: Any, enforce_sorted: bool, paired: bool) -> None:
            super().__init__()
            self.layer, self.lengths, self.enforce_sorted, self.paired = layer, lengths, enforce_sorted, paired

        def forward(self, x: Any, *states: Any) -> Any:
            hx = (states if self.paired else states[0]) if states else None
            if self.lengths is None:
                return self.layer(x, hx)
            packed = utils.pack_padded_sequence(x, self.lengths, self.layer.batch_first, self.enforce_sorted)
            y, ends = self.layer(packed, hx)
            return y.data, utils.pad_packed_sequence(y)[0], ends

    return Around


OURS, THEIRS = wrapped(nn.Module, nn.utils.rnn), wrapped(torch.nn.Module, torch.nn.utils.rnn)


@dataclass(frozen=True)
class Recurrent(Case):
    lengths: Any = None
    enforce_sorted: bool = True

    def __str__(self) -> str:
        return f"{super().__str__()}-{len(self.inputs)}" + (f"-{self.lengths}" if self.lengths else "")

    def ours(self, dtype: Any = pn.float64) -> Any:
        return OURS(super().ours(dtype), self.lengths, self.enforce_sorted, self.name.startswith("LSTM"))

    def theirs(self) -> Any:
        return THEIRS(super().theirs(), self.lengths, self.enforce_sorted, self.name.startswith("LSTM"))


def case(
    name: str, *args: Any, shapes: list[Any], lengths: Any = None, enforce_sorted: bool = True, **options: Any
) -> Case:
    return Recurrent(name, args, options, tuple(shapes), {}, lengths, enforce_sorted)


H = (1, 2, 4)
KINDS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {"proj_size": 2})]
PADDED = [
    one
    for name, how in KINDS
    for one in (
        case(name, 3, 4, **how, shapes=[(5, 2, 3)]),
        case(name, 3, 4, **how, shapes=[(5, 3)]),
        case(name, 3, 4, **how, batch_first=True, bias=False, shapes=[(2, 5, 3)]),
        case(name, 3, 4, 2, **how, bidirectional=True, shapes=[(5, 2, 3)]),
    )
] + [
    case("RNN", 3, 4, 2, "relu", False, True, shapes=[(1, 2, 3)]),
    case("RNN", 3, 4, shapes=[(5, 2, 3), H]),
    case("RNN", 3, 4, shapes=[(5, 0, 3)]),
    case("GRU", 3, 4, shapes=[(5, 2, 3), H]),
    case("GRU", 3, 4, shapes=[(5, 3), (1, 4)]),
    case("GRU", 1, 1, shapes=[(1, 1, 1)]),
    case("GRU", 3, 4, shapes=[(5, 0, 3)]),
    case("GRU", 3, 4, batch_first=True, bidirectional=True, shapes=[(2, 5, 3), (2, 2, 4)]),
    case("LSTM", 3, 4, shapes=[(5, 0, 3)]),
    case("LSTM", 3, 4, shapes=[(5, 3), (1, 4), (1, 4)]),
    case("LSTM", 3, 4, proj_size=2, shapes=[(5, 2, 3), (1, 2, 2), H]),
    case("LSTM", 3, 4, 2, proj_size=1, bidirectional=True, bias=False, shapes=[(5, 2, 3), (4, 2, 1), (4, 2, 4)]),
]
PACKED = [
    one
    for name, how in [*KINDS, ("LSTM", {})]
    for one in (
        case(name, 3, 4, **how, shapes=[(5, 3, 3)], lengths=[5, 3, 1]),
        case(name, 3, 4, 2, **how, batch_first=True, bidirectional=True, shapes=[(3, 5, 3)], lengths=[2, 4, 3],
             enforce_sorted=False),
    )
] + [
    case("GRU", 3, 4, bidirectional=True, shapes=[(5, 3, 3), (2, 3, 4)], lengths=[2, 5, 3], enforce_sorted=False),
    case("RNN", 3, 4, shapes=[(5, 3, 3), (1, 3, 4)], lengths=[2, 5, 3], enforce_sorted=False),
    case("LSTM", 3, 4, bidirectional=True, shapes=[(5, 3, 3), (2, 3, 4), (2, 3, 4)], lengths=[2, 5, 3],
         enforce_sorted=False),
]  # fmt: skip
CELLS = [
    one
    for name, how in [("RNNCell", {}), ("RNNCell", {"nonlinearity": "relu"}), ("GRUCell", {}), ("LSTMCell", {})]
    for states in (2 if name == "LSTMCell" else 1,)
    for one in (
        case(name, 3, 4, **how, shapes=[(2, 3)]),
        case(name, 3, 4, **how, shapes=[(2, 3), *[(2, 4)] * states]),
        case(name, 3, 4, False, **how, shapes=[(3,), *[(4,)] * states]),
        case(name, 3, 4, **how, shapes=[(0, 3)]),
        case(name, 1, 1, **how, shapes=[(1,)]),
    )
]
CASES = [*PADDED, *PACKED, *CELLS]


@pytest.mark.heavy
@pytest.mark.eager
@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_states_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.heavy
@pytest.mark.parametrize("case", [*PADDED[::3], *PACKED[::3], *CELLS[::2]], ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.parametrize("case", [*PADDED, *CELLS], ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(Case(case.name, case.args, case.options, case.inputs))


SMOOTH = [
    case("RNN", 2, 2, bidirectional=True, shapes=[(3, 2, 2), (2, 2, 2)]),
    case("GRU", 2, 2, 2, shapes=[(3, 2, 2), (2, 2, 2)]),
    case("LSTM", 2, 3, proj_size=2, shapes=[(3, 2, 2), (1, 2, 2), (1, 2, 3)]),
    case("RNN", 2, 2, bidirectional=True, shapes=[(3, 2, 2)], lengths=[3, 1]),
    case("GRU", 2, 2, bidirectional=True, shapes=[(3, 2, 2)], lengths=[1, 3], enforce_sorted=False),
    case("LSTM", 2, 2, bidirectional=True, shapes=[(3, 2, 2)], lengths=[3, 1]),
    case("RNNCell", 2, 2, shapes=[(2, 2), (2, 2)]),
    case("GRUCell", 2, 2, shapes=[(2, 2), (2, 2)]),
    case("LSTMCell", 2, 2, shapes=[(2, 2), (2, 2), (2, 2)]),
]


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", SMOOTH, ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


# ------------------------------------------------------------------------------------------------------ by hand


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_cell_in_a_loop_is_the_layer(kind, backend):
    layer, cell = getattr(nn, kind)(3, 4), getattr(nn, f"{kind}Cell")(3, 4)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x = pn.asarray(arrays([(5, 2, 3)])[0].astype("float32"))
    y, ends = layer(x)
    state: Any = None
    for t in range(5):
        state = cell(x[t, ...], state)
        h = state[0] if kind == "LSTM" else state
        numpy.testing.assert_allclose(h.detach().numpy(), y[t, ...].detach().numpy(), rtol=1e-5, atol=1e-6)
    ends, states = (ends, state) if kind == "LSTM" else ([ends], [state])
    for end, last in zip(ends, states, strict=True):
        numpy.testing.assert_allclose(end.detach().numpy()[0], last.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_one_step_by_hand(backend):
    one, two = pn.asarray([[1.0]], dtype=pn.float64), pn.asarray([[2.0]], dtype=pn.float64)
    z, sigmoid = numpy.tanh(3.0), lambda v: 1 / (1 + numpy.exp(-v))
    assert abs(F.rnn_tanh_cell(one, two, one, one).item() - z) < 1e-12
    assert F.rnn_relu_cell(one, two, one, -one).item() == 0.0
    w3, w4 = pn.ones((3, 1), dtype=pn.float64), pn.ones((4, 1), dtype=pn.float64)
    gate, new = sigmoid(3.0), numpy.tanh(1.0 + sigmoid(3.0) * 2.0)
    assert abs(F.gru_cell(one, two, w3, w3).item() - ((1 - gate) * new + gate * 2.0)) < 1e-12
    h, c = F.lstm_cell(one, (two, one), w4, w4)
    assert abs(c.item() - (gate + gate * z)) < 1e-12
    assert abs(h.item() - gate * numpy.tanh(gate + gate * z)) < 1e-12


def test_the_functions_take_raw_arrays_and_lengths(backend):
    x = pn.asarray(arrays([(5, 2, 3)])[0].astype("float32"))
    for kind, function in (("LSTM", F.lstm), ("GRU", F.gru), ("RNN", F.rnn_tanh)):
        layer = getattr(nn, kind)(3, 4, bidirectional=True)
        raw = [p.array for p in layer.parameters()]
        y, *ends = function(x.array, None, raw, bidirectional=True, lengths=pn.asarray([2, 5]))
        assert type(y) is type(x.array)
        alone, finals = layer(x[:2, :1, ...])
        y, finals = pn.Tensor(y).numpy(), finals if kind == "LSTM" else (finals,)
        numpy.testing.assert_allclose(y[:2, :1], alone.detach().numpy(), rtol=1e-5, atol=1e-6)
        assert (y[2:, 0] == 0).all()
        assert (y[2:, 1] != 0).any()
        for end, final in zip(ends, finals, strict=True):
            numpy.testing.assert_allclose(pn.Tensor(end).numpy()[:, :1], final.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_lies_behind_an_end_is_never_looked_at(bidirectional, backend):
    steps = 12
    weights = [pn.asarray(w) for w in arrays([(2, 2), (2, 2)] * (2 if bidirectional else 1))]
    leaves = [pn.asarray(w * 1e100).requires_grad_() for w in weights]  # relu overflows after three steps
    x = pn.asarray(numpy.abs(arrays([(steps, 2, 2)])[0])).requires_grad_()
    y, h = F.rnn_relu(x, None, leaves, False, bidirectional=bidirectional, lengths=[1, 1])
    (pn.sum(y) + pn.sum(h)).backward()
    for found in (y, h, x.grad, *[leaf.grad for leaf in leaves]):
        assert numpy.isfinite(found.detach().numpy()).all()
    assert (x.grad.numpy()[1:] == 0).all()


def test_dropout_works_between_layers_in_training_alone(backend):
    layer = nn.GRU(3, 4, 2, dropout=0.5)
    x = pn.asarray(arrays([(5, 2, 3)])[0].astype("float32"))
    assert not numpy.array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    layer.eval()
    numpy.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())


def test_all_weights_are_listed_by_layer_and_direction():
    ours, theirs = (
        nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
        torch.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
    )
    shapes = [[tuple(w.shape) for w in group] for group in theirs.all_weights]
    assert [[w.shape for w in group] for group in ours.all_weights] == shapes
    assert ours.all_weights[1][4] is ours.weight_hr_l0_reverse


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_parameters_start_uniform_as_pytorchs(name):
    pn.manual_seed(0)
    for values in getattr(nn, name)(30, 100).parameters():
        values = values.detach().numpy()
        assert abs(values).max() <= 0.1
        assert abs(values.std() - 0.1 / 3**0.5) < 0.01


# ------------------------------------------------------------------------------------------------------ refusals

WRONG = {
    r"RNNBase: proj_size must lie in 0 to 3, below hidden_size, and is for LSTM alone; saw 2": lambda: nn.RNNBase(
        "GRU", 3, 4, proj_size=2
    ),
    r"RNNBase: mode='ELMAN'; expected one of LSTM, GRU, RNN_TANH, RNN_RELU": lambda: nn.RNNBase("ELMAN", 3, 4),
    r"RNN: nonlinearity='gelu'; expected 'tanh' or 'relu'": lambda: nn.RNN(3, 4, nonlinearity="gelu"),
    r"RNNCell: nonlinearity='gelu'": lambda: nn.RNNCell(3, 4, nonlinearity="gelu"),
    r"GRUCell: hidden_size must be a positive integer, saw 0": lambda: nn.GRUCell(3, 0),
    r"GRU\(input_size=3\): the input must have shape \(steps, batch, 3\).*saw \(5, 2, 4\)": lambda: nn.GRU(3, 4)(
        pn.ones((5, 2, 4))
    ),
    r"RNN: hx has shape \(1, 3, 4\), expected \(1, 2, 4\)": lambda: nn.RNN(3, 4)(pn.ones((5, 2, 3)), pn.ones((1, 3, 4))),
    r"GRU: the input has no batch, but hx has shape \(1, 1, 4\)": lambda: nn.GRU(3, 4)(
        pn.ones((5, 3)), pn.ones((1, 1, 4))
    ),
    r"GRU: the input has no step \(shape \(0, 2, 3\)\)": lambda: nn.GRU(3, 4)(pn.ones((0, 2, 3))),
    r"the lengths are \[5, 6\]; expected 2 numbers from 1 to 5": lambda: F.gru(
        pn.ones((5, 2, 3)), None, list(nn.GRU(3, 4).parameters()), lengths=[5, 6]
    ),
    r"GRU: 2 layers in 2 directions need 4 parameters each, 16 in all; there are 4": lambda: F.gru(
        pn.ones((5, 2, 3)), None, list(nn.GRU(3, 4).parameters()), num_layers=2, bidirectional=True
    ),
    r"GRUCell: the input must have two axes, \(batch, 3\); its shape is \(2, 4\)": lambda: nn.GRUCell(3, 4)(
        pn.ones((2, 4))
    ),
    r"LSTMCell: hx must be a pair": lambda: nn.LSTMCell(3, 4)(pn.ones((2, 3)), pn.ones((2, 4))),
    r"LSTMCell: hx\[1\] has shape \(3, 4\), expected \(2, 4\)": lambda: nn.LSTMCell(3, 4)(
        pn.ones((2, 3)), (pn.ones((2, 4)), pn.ones((3, 4)))
    ),
    r"GRUCell: the weights have shapes \(12, 3\) and \(12, 3\); expected \(3H, input_size\) and \(3H, H\)": lambda: (
        F.gru_cell(pn.ones((2, 3)), None, pn.ones((12, 3)), pn.ones((12, 3)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_wrong_uses_are_refused(message, backend):
    with pytest.raises(ValueError, match=message):
        WRONG[message]()


@pytest.mark.parametrize("name", ["GRU", "RNN", "GRUCell", "RNNCell", "LSTMCell"])
def test_another_dtype_is_refused(name, backend):
    layer = getattr(nn, name)(3, 4)
    with pytest.raises(TypeError, match=f"{name}: the input is float64, the parameters are float32"):
        layer(pn.ones((2, 3), dtype=pn.float64))
    with pytest.raises(TypeError, match="GRU's hx: the input is float64"):
        nn.GRU(3, 4)(pn.ones((5, 3)), pn.ones((1, 4), dtype=pn.float64))
    with pytest.raises(TypeError, match="bias must be True or False, saw 'tanh'"):
        nn.GRU(3, 4, 1, "tanh")
    with pytest.warns(UserWarning, match="dropout=0.5 works between layers, and there is one"):
        nn.GRU(3, 4, dropout=0.5)


# ------------------------------------------------------------------------------------------------ packed sequences

rnn, theirs_rnn = nn.utils.rnn, torch.nn.utils.rnn
SEQUENCES = [numpy.arange(1, 3), numpy.arange(3, 7), numpy.arange(7, 8), numpy.arange(8, 11)]


def plain(x: Any) -> Any:
    return None if x is None else x.tolist() if hasattr(x, "tolist") else list(x)


@pytest.mark.parametrize("tail", [(), (2,)], ids=str)
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_sequences_are_pytorchs(enforce_sorted, tail, backend):
    given = [numpy.broadcast_to(s.reshape(-1, *[1] * len(tail)), (len(s), *tail)).astype("float32") for s in SEQUENCES]
    given = sorted(given, key=len, reverse=True) if enforce_sorted else given
    mine, yours = [pn.asarray(s) for s in given], [torch.from_numpy(s) for s in given]
    packed, expected = rnn.pack_sequence(mine, enforce_sorted), theirs_rnn.pack_sequence(yours, enforce_sorted)
    for one, other in zip(packed, expected, strict=True):
        assert plain(one) == plain(other)
    for how in ({}, {"batch_first": True}, {"padding_value": -1.0, "total_length": 6}):
        padded, lengths = rnn.pad_packed_sequence(packed, **how)
        wanted, ends = theirs_rnn.pad_packed_sequence(expected, **how)
        assert_close(padded, wanted)
        assert lengths.tolist() == ends.tolist() == packed.lengths()
        first = how.get("batch_first", False)
        assert plain(rnn.pack_padded_sequence(padded, lengths, first, enforce_sorted).data) == plain(expected.data)
        for one, other in zip(rnn.unpad_sequence(padded, lengths, first), yours, strict=True):
            assert plain(one) == plain(other)
    for one, other in zip(rnn.unpack_sequence(packed), yours, strict=True):
        assert plain(one) == plain(other)


@pytest.mark.parametrize("how", [{}, {"batch_first": True, "padding_value": 9}, {"padding_side": "left"}], ids=str)
def test_padded_sequences_are_pytorchs(how, backend):
    padded = rnn.pad_sequence([pn.asarray(s) for s in SEQUENCES], **how)
    assert plain(padded) == plain(theirs_rnn.pad_sequence([torch.from_numpy(s) for s in SEQUENCES], **how))
    assert str(padded.dtype) == "int64"


def test_gradients_pass_through_packing_and_padding(backend):
    x = [pn.asarray(s.astype("float32")).requires_grad_() for s in SEQUENCES]
    packed = rnn.pack_sequence(x, enforce_sorted=False)
    padded, _ = rnn.pad_packed_sequence(packed._replace(data=packed.data * packed.data), padding_value=5.0)
    pn.sum(padded).backward()
    for leaf, s in zip(x, SEQUENCES, strict=True):
        assert leaf.grad.tolist() == (2 * s).tolist()


def test_packed_sequences_change_dtype_and_stay_packed(backend):
    packed = rnn.pack_sequence([pn.asarray([1.0, 2.0]), pn.asarray([3.0])])
    assert packed.to(pn.float64).data.dtype is pn.float64
    assert packed.to(pn.float64).batch_sizes == (2, 1)
    assert rnn.invert_permutation(None) is None


PACKED_WRONG = {
    r"the lengths \[1, 2\] grow; sort the sequences, or pass enforce_sorted=False": lambda: rnn.pack_sequence(
        [pn.ones(1), pn.ones(2)]
    ),
    r"pack_padded_sequence: the lengths are \[3, 0\]; expected 2 numbers from 1 to 3": lambda: rnn.pack_padded_sequence(
        pn.ones((3, 2)), [3, 0]
    ),
    r"unpad_sequence: the lengths are \[3\]; expected 2 numbers": lambda: rnn.unpad_sequence(pn.ones((3, 2)), [3]),
    r"pack_padded_sequence: there is no sequence": lambda: rnn.pack_padded_sequence(pn.ones((3, 0)), []),
    r"must have an axis of time and one of the batch, saw shape \(3,\)": lambda: rnn.pack_padded_sequence(
        pn.ones(3), [3]
    ),
    r"total_length=1, but a sequence has 2 steps": lambda: rnn.pad_packed_sequence(
        rnn.pack_sequence([pn.ones(2)]), total_length=1
    ),
    r"padding_side='both'": lambda: rnn.pad_sequence([pn.ones(2)], padding_side="both"),
    r"pad_sequence: shapes \[\(2,\), \(2, 3\)\]": lambda: rnn.pad_sequence([pn.ones(2), pn.ones((2, 3))]),
    r"pad_sequence: shapes \[\]": lambda: rnn.pad_sequence([]),
    r"GRU\(input_size=3\).*saw \(3, 4\)": lambda: nn.GRU(3, 4)(rnn.pack_sequence([pn.ones((3, 4))])),
}


@pytest.mark.parametrize("message", PACKED_WRONG)
def test_wrong_packing_is_refused(message, backend):
    with pytest.raises(ValueError, match=message):
        PACKED_WRONG[message]()


def test_what_is_not_packed_is_refused():
    with pytest.raises(TypeError, match="unpack_sequence: expected a PackedSequence, saw Tensor"):
        rnn.unpack_sequence(pn.ones(3))
    with pytest.raises(TypeError, match="pad_packed_sequence: expected a PackedSequence, saw Tensor"):
        rnn.pad_packed_sequence(pn.ones(3))


@pytest.mark.parametrize("kind", ["GRU", "RNN", "LSTM"])
def test_a_compiled_step_on_packed_sequences_is_the_step(kind):
    def losses(compiled: bool) -> list[float]:
        pn.manual_seed(0)
        layer = getattr(nn, kind)(3, 4, bidirectional=True)
        optimizer = pn.optim.SGD(layer.parameters(), lr=0.1)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            y, _ = layer(rnn.pack_padded_sequence(x, [2, 5], enforce_sorted=False))
            loss = pn.mean(y.data**2)
            loss.backward()
            optimizer.step()
            return loss

        run = pn.compile(step, state=(layer, optimizer)) if compiled else step
        found = [run(pn.asarray(arrays([(5, 2, 3)], seed)[0].astype("float32"))).item() for seed in range(4)]
        assert not compiled or run.reason == ""
        return found

    with pn.use_backend("numpy"):
        assert losses(True) == losses(False)
