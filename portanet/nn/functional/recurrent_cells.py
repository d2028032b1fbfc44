"""Single steps of recurrent networks: the cells that the layers run over sequences."""

from __future__ import annotations

from typing import Any

from portanet.kernels.generic.recurrent import lstm_step
from portanet.nn.functional._checks import common_namespace, raw_of, require_dtype
from portanet.nn.functional._precision import like
from portanet.nn.functional._recurrence import elman_step, gru_step, three_parts

__all__ = ["gru_cell", "lstm_cell", "rnn_relu_cell", "rnn_tanh_cell"]


def lstm_cell(
    input: Any, hx: tuple[Any, Any] | None, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None
) -> tuple[Any, Any]:
    """One step of long short-term memory: see `lstm`.

    Args:
        input: x, of shape (N, input_size).
        hx: h and c before, each of shape (N, H); None: zeros.
        w_ih: W_ih, of shape (4H, input_size), rows in order i, f, g, o.
        w_hh: W_hh, of shape (4H, H).
        b_ih: b_ih, of shape (4H,), or None.
        b_hh: b_hh, of shape (4H,), or None.

    Returns:
        the next h and c, each of shape (N, H).

    Raises:
        ValueError: shapes that do not go together.
        TypeError: the input or ``hx`` has not the dtype or the library of the weights.

    >>> import portanet
    >>> w = [portanet.zeros((4, 3)), portanet.zeros((4, 1)), portanet.asarray([0.0, 0.0, 5.0, 100.0])]
    >>> h, c = portanet.nn.functional.lstm_cell(portanet.ones((1, 3)), None, *w)
    >>> c  # tanh(5) / 2
    tensor([[0.4999546]])
    """
    if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
        raise ValueError(f"LSTMCell: hx must be a pair, h and c before the step; saw {type(hx).__name__}.")
    h, c = hx or (None, None)
    xp, z, (h, c) = _projected("LSTMCell", 4, input, {"hx[0]": h, "hx[1]": c}, w_ih, w_hh, b_ih, b_hh)
    _, c, h = lstm_step(xp, z + xp.linear(h, w_hh, b_hh), c)
    return h, c


def gru_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of a gated recurrent unit: see `gru`. Arguments and errors are those of `lstm_cell`, with 3H rows in order
    r, s, n, and h (N, H) alone for ``hx`` and the result.

    >>> import portanet
    >>> w = [portanet.zeros((3, 3)), portanet.zeros((3, 1)), portanet.asarray([0.0, 0.0, 1.0])]
    >>> portanet.nn.functional.gru_cell(portanet.ones((1, 3)), None, *w)  # tanh(1) / 2
    tensor([[0.38079708]])
    """
    xp, z, (h,) = _projected("GRUCell", 3, input, {"hx": hx}, w_ih, w_hh, b_ih, b_hh)
    return gru_step(xp, three_parts(xp, z), h, w_hh, b_hh)


def rnn_tanh_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of Elman's network: tanh(W_ih x + b_ih + W_hh h + b_hh), see `rnn_tanh`. Arguments and errors are those of
    `lstm_cell`, with H rows, and h (N, H) alone for ``hx`` and the result.

    >>> import portanet
    >>> one = portanet.ones((1, 1))
    >>> portanet.nn.functional.rnn_tanh_cell(one, one, one, one)  # tanh(2)
    tensor([[0.9640276]])
    """
    return _elman("tanh", input, hx, w_ih, w_hh, b_ih, b_hh)


def rnn_relu_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One step of Elman's network with max(z, 0) instead of tanh(z): see `rnn_relu`. Arguments and errors are those of
    `lstm_cell`, with H rows, and h (N, H) alone for ``hx`` and the result.

    >>> import portanet
    >>> one = portanet.ones((1, 1))
    >>> portanet.nn.functional.rnn_relu_cell(one, one, one, one)
    tensor([[2.]])
    """
    return _elman("relu", input, hx, w_ih, w_hh, b_ih, b_hh)


def _elman(activation: str, input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
    xp, z, (h,) = _projected("RNNCell", 1, input, {"hx": hx}, w_ih, w_hh, b_ih, b_hh)
    return elman_step(xp, z if b_hh is None else z + b_hh, h, w_hh, activation)


def _projected(
    name: str, gates: int, input: Any, states: dict[str, Any], w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any
) -> tuple[Any, Any, list[Any]]:
    """The namespace, W_ih x + b_ih, and the states, of zeros where they are None; all checked."""
    x, first, second = raw_of(input), raw_of(w_ih), raw_of(w_hh)
    rows, width = second.shape
    if rows != gates * width or tuple(first.shape[:1]) != (rows,):
        raise ValueError(
            f"{name}: the weights have shapes {tuple(first.shape)} and {tuple(second.shape)}; expected ({gates}H, "
            f"input_size) and ({gates}H, H)."
        )
    if x.ndim != 2 or x.shape[1] != first.shape[1]:
        raise ValueError(
            f"{name}: the input must have two axes, (batch, {first.shape[1]}); its shape is {tuple(x.shape)}."
        )
    require_dtype(name, input, w_ih, w_hh, b_ih, b_hh)
    xp = common_namespace(input, *states.values(), w_ih, w_hh, b_ih, b_hh)
    found = []
    z = xp.linear(input, w_ih, b_ih)
    for what, state in states.items():
        if state is None:
            state = xp.zeros_like(z[:, :width])
        elif tuple(raw_of(state).shape) != (x.shape[0], width):
            saw = tuple(raw_of(state).shape)
            raise ValueError(f"{name}: {what} has shape {saw}, expected {(x.shape[0], width)}: (batch, hidden).")
        require_dtype(f"{name}'s {what}", state, w_ih)
        found.append(like(state, z))
    return xp, z, found
