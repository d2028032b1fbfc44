"""Recurrent layers: networks with a memory, run over sequences."""

from __future__ import annotations

import math
import warnings
from typing import Any

from portanet.namespace import empty, expand_dims, squeeze
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter
from portanet.nn.utils.rnn import PackedSequence, pad_packed_sequence, repacked

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What the recurrent layers share: parameters by PyTorch's names, their start, and their print-out. It computes
    nothing: see `RNN`, `LSTM` and `GRU`.

    Args:
        mode: ``"LSTM"``, ``"GRU"``, ``"RNN_TANH"`` or ``"RNN_RELU"``, which says how many rows the weights have.
        input_size: as the others in `LSTM`.

    >>> import portanet
    >>> list(portanet.nn.RNNBase("GRU", 3, 5, bias=False).state_dict())
    ['weight_ih_l0', 'weight_hh_l0']
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if mode not in GATES:
            raise ValueError(f"{name}: mode={mode!r}; expected one of {', '.join(GATES)}.")
        for what, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if not isinstance(size, int) or size <= 0:
                raise ValueError(f"{name}: {what} must be a positive integer, saw {size!r}.")
        for what, flag in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(flag, bool):
                raise TypeError(f"{name}: {what} must be True or False, saw {flag!r}.")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout must be a probability from 0 to 1, saw {dropout!r}.")
        if not 0 <= proj_size < hidden_size or (proj_size and mode != "LSTM"):
            raise ValueError(
                f"{name}: proj_size must lie in 0 to {hidden_size - 1}, below hidden_size, and is for LSTM alone; saw "
                f"{proj_size}."
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(f"{name}: dropout={dropout} works between layers, and there is one.", stacklevel=3)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._names: list[list[str]] = []
        rows, shown = GATES[mode] * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            size = input_size if layer == 0 else shown * (2 if bidirectional else 1)
            for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: 2 if bidirectional else 1]:
                shapes: dict[str, Any] = {"weight_ih": (rows, size), "weight_hh": (rows, shown)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for part, shape in shapes.items():
                    setattr(self, part + suffix, Parameter(empty(shape, dtype=dtype, device=device)))
                self._names.append([part + suffix for part in shapes])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew: uniform in +-1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Kept for PyTorch's sake: nothing need be done."""

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters, in a list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._names]  # which may be computed from others

    def _run(self, function: Any, input: Any, hx: Any, **options: Any) -> tuple[Any, ...]:
        """What ``function`` makes of the input, be it packed, padded or one sequence: y, and the ends of the states."""
        weights = [getattr(self, name) for names in self._names for name in names]
        how = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if isinstance(input, PackedSequence):
            self._require_axes(input.data, (2,))
            x, _ = pad_packed_sequence(input)
            y, *ends = function(x, hx, weights, *how, False, lengths=input.lengths(), **options)
            return repacked(input, y), *ends
        self._require_axes(input, (2, 3))
        if input.ndim == 3:
            found: tuple[Any, ...] = function(input, hx, weights, *how, self.batch_first, **options)
            return found
        place = 0 if self.batch_first else 1  # of the batch axis
        if isinstance(hx, (tuple, list)):
            hx = tuple([self._with_batch(state) for state in hx])
        elif hx is not None:
            hx = self._with_batch(hx)
        y, *ends = function(expand_dims(input, axis=place), hx, weights, *how, self.batch_first, **options)
        return squeeze(y, axis=place), *[squeeze(end, axis=1) for end in ends]

    def _with_batch(self, state: Any) -> Any:
        if state.ndim != 2:
            raise ValueError(
                f"{type(self).__name__}: the input has no batch, but hx has shape {tuple(state.shape)}; expected two "
                "axes: (layers * directions, hidden)."
            )
        return expand_dims(state, axis=1)

    def _require_axes(self, input: Any, counts: tuple[int, ...]) -> None:
        shape = tuple(input.shape)
        if len(shape) not in counts or shape[-1] != self.input_size:
            batched = "(batch, steps" if self.batch_first else "(steps, batch"
            raise ValueError(
                f"{type(self).__name__}(input_size={self.input_size}): the input must have shape {batched}, "
                f"{self.input_size}) or (steps, {self.input_size}), saw {shape}."
            )

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False,
        }  # fmt: skip
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase):
    """The simplest recurrent network, Elman's: in each step h = tanh(W_ih x_t + b_ih + W_hh h + b_hh), or max(..., 0)
    instead of tanh. See `portanet.nn.functional.rnn_tanh` and `portanet.nn.functional.rnn_relu`.

    Args:
        input_size: the length of the last axis of the input.
        hidden_size: that of h.
        num_layers: layers above each other, each fed with all h of the one below.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether there are b_ih and b_hh.
        batch_first: whether input and output are (batch, steps, features) instead of (steps, batch, features).
        dropout: the probability of a zero in what goes from a layer to the next, in training.
        bidirectional: whether each layer goes through time both ways.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: input (T, N, input_size), (T, input_size) without a batch, or a `portanet.nn.utils.rnn.PackedSequence`; h before
    the first step (layers * directions, N, hidden_size), zeros where it is left out. Returns all h of the last layer (T, N,
    directions * hidden_size), packed where the input was, and the last h of every layer. Parameters: ``weight_ih_l0``
    (hidden_size, input_size), ``weight_hh_l0`` (hidden_size, hidden_size), ``bias_ih_l0`` and ``bias_hh_l0`` (hidden_size,),
    at the start uniform in +-1/sqrt(hidden_size); then ``..._l0_reverse``, ``..._l1`` and so on.

    Raises:
        ValueError: an argument out of range; an input or a state of another shape.
        TypeError: an input of another dtype or library than the parameters.

    >>> import portanet
    >>> y, h = portanet.nn.RNN(3, 5, nonlinearity="relu")(portanet.ones((7, 2, 3)))
    >>> y.shape, h.shape
    ((7, 2, 5), (1, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        require_nonlinearity("RNN", nonlinearity)
        mode = f"RNN_{nonlinearity.upper()}"
        how = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(mode, input_size, hidden_size, *how, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        y, h = self._run(F.rnn_tanh if self.nonlinearity == "tanh" else F.rnn_relu, input, hx)
        return y, h


class LSTM(RNNBase):
    """Long short-term memory over whole sequences: a cell that gates keep, fill and show.

    In each step, with z = W_ih x_t + b_ih + W_hh h + b_hh cut into four equal parts: i, f, o = sigmoid(z_i),
    sigmoid(z_f), sigmoid(z_o), g = tanh(z_g), c = f c + i g, h = o tanh(c). See `portanet.nn.functional.lstm`.

    Args:
        input_size: the length of the last axis of the input.
        hidden_size: that of h and c.
        num_layers: layers above each other, each fed with all h of the one below.
        bias: whether there are b_ih and b_hh.
        batch_first: whether input and output are (batch, steps, features) instead of (steps, batch, features).
        dropout: the probability of a zero in what goes from a layer to the next, in training.
        bidirectional: whether each layer goes through time both ways.
        proj_size: P, the length that a linear map gives to h, less than ``hidden_size``; 0: h is as long as c.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: input (T, N, input_size), (T, input_size) without a batch, or a `portanet.nn.utils.rnn.PackedSequence`; the pair
    (h, c) before the first step, each (layers * directions, N, hidden_size), zeros where it is left out. Returns all h of
    the last layer (T, N, directions * hidden_size), packed where the input was, and the pair of the last h and c of every
    layer. Parameters: ``weight_ih_l0`` (4 hidden_size, input_size),
    ``weight_hh_l0`` (4 hidden_size, hidden_size), ``bias_ih_l0`` and ``bias_hh_l0`` (4 hidden_size,), rows in order i, f, g,
    o, and with ``proj_size`` ``weight_hr_l0`` (P, hidden_size), h being P long; at the start uniform in
    +-1/sqrt(hidden_size); then ``..._l0_reverse``, ``..._l1`` and so on.

    Raises:
        ValueError: an argument out of range; an input or a state of another shape.
        TypeError: an input of another dtype or library than the parameters.

    >>> import portanet
    >>> layer = portanet.nn.LSTM(3, 5, batch_first=True)
    >>> y, (h, c) = layer(portanet.ones((2, 7, 3)))
    >>> y.shape, h.shape, c.shape
    ((2, 7, 5), (1, 2, 5), (1, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        how = (num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__("LSTM", input_size, hidden_size, *how, device=device, dtype=dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, tuple[Any, Any]]:
        y, h, c = self._run(F.lstm, input, hx, projected=self.proj_size > 0)
        return y, (h, c)


class GRU(RNNBase):
    """Gated recurrent units over whole sequences: a cell that gates how much of h is replaced, and by what.

    In each step, with z = W_ih x_t + b_ih and u = W_hh h + b_hh cut into three equal parts: r = sigmoid(z_r + u_r),
    s = sigmoid(z_s + u_s), n = tanh(z_n + r u_n), h = (1 - s) n + s h. See `portanet.nn.functional.gru`.

    Args:
        input_size: the length of the last axis of the input.
        hidden_size: that of h.
        num_layers: layers above each other, each fed with all h of the one below.
        bias: whether there are b_ih and b_hh.
        batch_first: whether input and output are (batch, steps, features) instead of (steps, batch, features).
        dropout: the probability of a zero in what goes from a layer to the next, in training.
        bidirectional: whether each layer goes through time both ways.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: those of `RNN`. Parameters: those of `RNN`, with 3 hidden_size rows in order r, s, n.

    Raises:
        ValueError: an argument out of range; an input or a state of another shape.
        TypeError: an input of another dtype or library than the parameters.

    >>> import portanet
    >>> y, h = portanet.nn.GRU(3, 5, bidirectional=True)(portanet.ones((7, 2, 3)))
    >>> y.shape, h.shape
    ((7, 2, 10), (2, 2, 5))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        how = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__("GRU", input_size, hidden_size, *how, device=device, dtype=dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        y, h = self._run(F.gru, input, hx)
        return y, h


def require_nonlinearity(name: str, nonlinearity: str) -> None:
    """Raise ValueError unless it is one of those that Elman's network may have."""
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"{name}: nonlinearity={nonlinearity!r}; expected 'tanh' or 'relu'.")
