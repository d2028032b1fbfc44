"""Cells: single steps of recurrent networks, for loops that do something between them."""

from __future__ import annotations

import math
from typing import Any

from portanet.namespace import empty, expand_dims, squeeze
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.module import Module
from portanet.nn.modules.recurrent import require_nonlinearity
from portanet.nn.parameter import Parameter

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """What the cells share: parameters by PyTorch's names, and their start. It computes nothing: see `RNNCell`,
    `LSTMCell` and `GRUCell`.

    Args:
        input_size: the length of the last axis of the input.
        hidden_size: that of the state.
        bias: whether there are biases.
        num_chunks: how many rows the weights have for each element of the state.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    >>> import portanet
    >>> portanet.nn.RNNCellBase(3, 5, True, 4).weight_hh.shape
    (20, 5)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        for what, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int) or size <= 0:
                raise ValueError(f"{type(self).__name__}: {what} must be a positive integer, saw {size!r}.")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        shapes = {
            "weight_ih": (rows, input_size),
            "weight_hh": (rows, hidden_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        for name, shape in shapes.items():
            there = bias or name.startswith("weight")
            value = Parameter(empty(shape, device=device, dtype=dtype)) if there else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew: uniform in +-1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _run(self, function: Any, input: Any, hx: Any) -> Any:
        """What ``function`` makes of a batch, or of one input (input_size,), which is then a batch of one."""
        weights = [getattr(self, name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        if input.ndim != 1:
            return function(input, hx, *weights)
        if isinstance(hx, (tuple, list)):
            hx = tuple([expand_dims(state, axis=0) for state in hx])
        elif hx is not None:
            hx = expand_dims(hx, axis=0)
        found = function(expand_dims(input, axis=0), hx, *weights)
        return tuple([squeeze(x, axis=0) for x in found]) if isinstance(found, tuple) else squeeze(found, axis=0)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else f"{text}, bias={self.bias}"


class RNNCell(RNNCellBase):
    """One step of Elman's network: tanh(W_ih x + b_ih + W_hh h + b_hh), or max(..., 0). See `RNN`.

    Args:
        input_size: the length of the last axis of the input.
        hidden_size: that of h.
        bias: whether there are b_ih and b_hh.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: input (N, input_size) or (input_size,), h before (N, hidden_size) or (hidden_size,), zeros where it is left out;
    returns the next h. Parameters: ``weight_ih`` (hidden_size, input_size), ``weight_hh`` (hidden_size, hidden_size),
    ``bias_ih`` and ``bias_hh`` (hidden_size,), at the start uniform in +-1/sqrt(hidden_size).

    Raises:
        ValueError: an argument out of range; an input or a state of another shape.
        TypeError: an input of another dtype or library than the parameters.

    >>> import portanet
    >>> cell, h = portanet.nn.RNNCell(3, 5), None
    >>> for x in portanet.ones((7, 2, 3)):
    ...     h = cell(x, h)
    >>> h.shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        require_nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._run(F.rnn_tanh_cell if self.nonlinearity == "tanh" else F.rnn_relu_cell, input, hx)

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class LSTMCell(RNNCellBase):
    """One step of long short-term memory: see `LSTM`.

    Args:
        input_size: the length of the last axis of the input.
        hidden_size: that of h and c.
        bias: whether there are b_ih and b_hh.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: as in `RNNCell`, with the pair (h, c) before and as the result. Parameters: those of `RNNCell`, with 4
    hidden_size rows in order i, f, g, o.

    Raises:
        ValueError: an argument out of range; an input or a state of another shape.
        TypeError: an input of another dtype or library than the parameters.

    >>> import portanet
    >>> h, c = portanet.nn.LSTMCell(3, 5)(portanet.ones((2, 3)))
    >>> h.shape, c.shape
    ((2, 5), (2, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._run(F.lstm_cell, input, hx)


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit: see `GRU`.

    Args:
        input_size: the length of the last axis of the input.
        hidden_size: that of h.
        bias: whether there are b_ih and b_hh.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: as in `RNNCell`. Parameters: those of `RNNCell`, with 3 hidden_size rows in order r, s, n.

    Raises:
        ValueError: an argument out of range; an input or a state of another shape.
        TypeError: an input of another dtype or library than the parameters.

    >>> import portanet
    >>> portanet.nn.GRUCell(3, 5)(portanet.ones((2, 3)), portanet.zeros((2, 5))).shape
    (2, 5)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self._run(F.gru_cell, input, hx)
