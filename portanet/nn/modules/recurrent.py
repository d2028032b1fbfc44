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

__all__ = ["LSTM"]


class _Recurrent(Module):
    """What the recurrent layers share: parameters by PyTorch's names. A subclass says how many gates each has."""

    gates = 1

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
        super().__init__()
        name = type(self).__name__
        for what, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if not isinstance(size, int) or size <= 0:
                raise ValueError(f"{name}: {what} must be a positive integer, saw {size!r}.")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(f"{name}: dropout must be a probability from 0 to 1, saw {dropout!r}.")
        if proj_size:
            raise ValueError(f"{name}: proj_size={proj_size} is not built; leave it out, and put a Linear behind.")
        if dropout > 0 and num_layers == 1:
            warnings.warn(f"{name}: dropout={dropout} works between layers, and there is one.", stacklevel=3)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._names: list[str] = []
        rows = self.gates * hidden_size
        for layer in range(num_layers):
            size = input_size if layer == 0 else hidden_size * (2 if bidirectional else 1)
            for suffix in (f"_l{layer}", f"_l{layer}_reverse")[: 2 if bidirectional else 1]:
                shapes: dict[str, Any] = {"weight_ih": (rows, size), "weight_hh": (rows, hidden_size)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                for part, shape in shapes.items():
                    setattr(self, part + suffix, Parameter(empty(shape, dtype=dtype, device=device)))
                    self._names.append(part + suffix)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew: uniform in +-1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Kept for PyTorch's sake: nothing need be done."""

    def _values(self) -> list[Any]:
        return [getattr(self, name) for name in self._names]  # which may be computed from others

    def _require_axes(self, input: Any) -> bool:
        """Whether ``input`` is one sequence without a batch axis; raises ValueError where it is neither."""
        shape = tuple(input.shape)
        if len(shape) not in (2, 3) or shape[-1] != self.input_size:
            batched = "(batch, steps" if self.batch_first else "(steps, batch"
            raise ValueError(
                f"{type(self).__name__}(input_size={self.input_size}): the input must have shape {batched}, "
                f"{self.input_size}) or (steps, {self.input_size}), saw {shape}."
            )
        return len(shape) == 2

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class LSTM(_Recurrent):
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
        proj_size: only 0; anything else is a ValueError.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: input (T, N, input_size), or (T, input_size) without a batch; the pair (h, c) before the first step, each
    (layers * directions, N, hidden_size), zeros where it is left out. Returns all h of the last layer (T, N, directions *
    hidden_size) and the pair of the last h and c of every layer. Parameters: ``weight_ih_l0`` (4 hidden_size, input_size),
    ``weight_hh_l0`` (4 hidden_size, hidden_size), ``bias_ih_l0`` and ``bias_hh_l0`` (4 hidden_size,), rows in order i, f, g,
    o, at the start uniform in +-1/sqrt(hidden_size); then ``..._l0_reverse``, ``..._l1`` and so on.

    Raises:
        ValueError: an argument out of range; an input or a state of another shape.
        TypeError: an input of another dtype or library than the parameters.

    >>> import portanet
    >>> layer = portanet.nn.LSTM(3, 5, batch_first=True)
    >>> y, (h, c) = layer(portanet.ones((2, 7, 3)))
    >>> y.shape, h.shape, c.shape
    ((2, 7, 5), (1, 2, 5), (1, 2, 5))
    """

    gates = 4

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, tuple[Any, Any]]:
        single = self._require_axes(input)
        place = 0 if self.batch_first else 1  # of the batch axis
        if single:
            input = expand_dims(input, axis=place)
            hx = hx if hx is None else tuple([expand_dims(state, axis=1) for state in hx])
        how = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional, self.batch_first)
        y, h, c = F.lstm(input, hx, self._values(), *how)
        if single:
            y, h, c = squeeze(y, axis=place), squeeze(h, axis=1), squeeze(c, axis=1)
        return y, (h, c)
