"""Recurrent layers over whole sequences: layers above each other, in one direction or in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portanet.kernels.generic.recurrent import lstm_step
from portanet.nn.functional._checks import raw_of
from portanet.nn.functional._precision import like
from portanet.nn.functional._recurrence import (
    NOTHING,
    Layer,
    Ragged,
    elman_step,
    gru_step,
    layers,
    three_parts,
    unrolled,
)

__all__ = ["gru", "lstm", "rnn_relu", "rnn_tanh"]


def lstm(
    input: Any,
    hx: tuple[Any, Any] | None,
    params: Sequence[Any],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    lengths: Any = None,
    projected: bool = False,
) -> tuple[Any, Any, Any]:
    """Long short-term memory: ``num_layers`` layers, each fed with all h of the one below.

    In each step, with z = W_ih x_t + b_ih + W_hh h + b_hh cut into four equal parts: i, f, o = sigmoid(z_i),
    sigmoid(z_f), sigmoid(z_o), g = tanh(z_g), c = f c + i g, h = o tanh(c). Hochreiter and Schmidhuber 1997, "Long
    short-term memory"; with the forget gate f of Gers, Schmidhuber and Cummins 2000. Where ``projected``, h = W_hr (o
    tanh(c)) is shorter than c: Sak, Senior and Beaufays 2014, "Long short-term memory recurrent neural network
    architectures for large scale acoustic modeling".

    Args:
        input: of shape (T, N, input_size), or (N, T, input_size) where ``batch_first``; T > 0.
        hx: h and c before the first step, each of shape (layers * directions, N, H); None: zeros.
        params: for each layer, and in it for each direction: weight_ih (4H, size of its input), weight_hh (4H, H),
            where ``has_biases`` bias_ih and bias_hh (4H,), and where ``projected`` weight_hr (P, H), h being of length P
            everywhere; rows in order i, f, g, o.
        has_biases: whether there are biases among ``params``.
        num_layers: how many layers.
        dropout: the probability of a zero in what goes from a layer to the next, when ``train``.
        train: whether dropout works.
        bidirectional: whether each layer goes through time both ways; the next is fed with both h, one after the other.
        batch_first: whether the batch is the first axis of ``input`` and of the result.
        lengths: how many steps each of the N sequences has, whole numbers from 1 to T; None: all have T. What lies
            behind an end has no influence.
        projected: whether there is a weight_hr among ``params``.

    Returns:
        all h of the last layer, of shape (T, N, directions * H) or with the first axes swapped, 0 behind the ends; and
        the last h and the last c of each layer and direction, of shape (layers * directions, N, H).

    Raises:
        ValueError: shapes that do not go together, no step, or another number of ``params``.
        TypeError: the input or ``hx`` has not the dtype or the library of the parameters.

    >>> import portanet
    >>> w = [portanet.zeros((4, 3)), portanet.zeros((4, 1)), portanet.asarray([0.0, 0.0, 5.0, 100.0]), portanet.zeros(4)]
    >>> y, h, c = portanet.nn.functional.lstm(portanet.ones((2, 1, 3)), None, w)
    >>> c  # two steps of c / 2 + tanh(5) / 2
    tensor([[[0.74993193]]])
    """
    states = {"hx[0]": None, "hx[1]": None}
    if hx is not None:
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise ValueError(f"LSTM: hx must be a pair, h and c before the first step; saw {type(hx).__name__}.")
        states = {"hx[0]": hx[0], "hx[1]": hx[1]}
    count = 2 + 2 * has_biases + projected
    shown, width = _widths(params, 4)
    how = (num_layers, dropout, train, bidirectional, batch_first, lengths)
    layer = _projected_lstm if projected else _lstm
    y, h, c = layers("LSTM", layer, input, states, (shown, width), params, count, *how)
    return y, h, c


def gru(
    input: Any,
    hx: Any,
    params: Sequence[Any],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    lengths: Any = None,
) -> tuple[Any, Any]:
    """Gated recurrent units: ``num_layers`` layers, each fed with all h of the one below.

    In each step, with z = W_ih x_t + b_ih and u = W_hh h + b_hh cut into three equal parts: r = sigmoid(z_r + u_r),
    s = sigmoid(z_s + u_s), n = tanh(z_n + r u_n), h = (1 - s) n + s h. Cho and others 2014, "Learning phrase
    representations using RNN encoder-decoder for statistical machine translation", with r behind W_hh.

    Args:
        input: of shape (T, N, input_size), or (N, T, input_size) where ``batch_first``; T > 0.
        hx: h before the first step, of shape (layers * directions, N, H); None: zeros.
        params: for each layer, and in it for each direction: weight_ih (3H, size of its input), weight_hh (3H, H), and
            where ``has_biases`` bias_ih and bias_hh (3H,); rows in order r, s, n.
        has_biases: whether there are biases among ``params``.
        num_layers: how many layers.
        dropout: the probability of a zero in what goes from a layer to the next, when ``train``.
        train: whether dropout works.
        bidirectional: whether each layer goes through time both ways; the next is fed with both h, one after the other.
        batch_first: whether the batch is the first axis of ``input`` and of the result.
        lengths: how many steps each of the N sequences has, as in `lstm`.

    Returns:
        all h of the last layer, of shape (T, N, directions * H) or with the first axes swapped, 0 behind the ends; and
        the last h of each layer and direction, of shape (layers * directions, N, H).

    Raises:
        ValueError: shapes that do not go together, no step, or another number of ``params``.
        TypeError: the input or ``hx`` has not the dtype or the library of the parameters.

    >>> import portanet
    >>> w = [portanet.zeros((3, 3)), portanet.zeros((3, 1)), portanet.asarray([0.0, 0.0, 1.0]), portanet.zeros(3)]
    >>> portanet.nn.functional.gru(portanet.ones((2, 1, 3)), None, w)[1]  # two steps of h / 2 + tanh(1) / 2
    tensor([[[0.5711956]]])
    """
    how = (num_layers, dropout, train, bidirectional, batch_first, lengths)
    y, h = layers("GRU", _gru, input, {"hx": hx}, _widths(params, 3)[:1], params, 4 if has_biases else 2, *how)
    return y, h


def rnn_tanh(
    input: Any,
    hx: Any,
    params: Sequence[Any],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    lengths: Any = None,
) -> tuple[Any, Any]:
    """The simplest recurrence: in each step h = tanh(W_ih x_t + b_ih + W_hh h + b_hh). Elman 1990, "Finding structure in
    time". Arguments, results and errors are those of `gru`, with weights of H instead of 3H rows.

    >>> import portanet
    >>> w = [portanet.ones((1, 1)), portanet.ones((1, 1))]
    >>> x = portanet.ones((2, 1, 1))
    >>> portanet.nn.functional.rnn_tanh(x, None, w, has_biases=False)[1]  # tanh(1 + tanh(1))
    tensor([[[0.9426808]]])
    """
    how = (num_layers, dropout, train, bidirectional, batch_first, lengths)
    return _rnn("tanh", input, hx, params, has_biases, *how)


def rnn_relu(
    input: Any,
    hx: Any,
    params: Sequence[Any],
    has_biases: bool = True,
    num_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    *,
    lengths: Any = None,
) -> tuple[Any, Any]:
    """In each step h = max(W_ih x_t + b_ih + W_hh h + b_hh, 0). Le, Jaitly and Hinton 2015, "A simple way to initialize
    recurrent networks of rectified linear units". Arguments, results and errors are those of `gru`, with weights of H
    instead of 3H rows.

    >>> import portanet
    >>> w = [portanet.ones((1, 1)), portanet.ones((1, 1))]
    >>> portanet.nn.functional.rnn_relu(portanet.ones((3, 1, 1)), None, w, has_biases=False)[1]  # it counts
    tensor([[[3.]]])
    """
    how = (num_layers, dropout, train, bidirectional, batch_first, lengths)
    return _rnn("relu", input, hx, params, has_biases, *how)


def _rnn(activation: str, input: Any, hx: Any, params: Sequence[Any], has_biases: bool, *how: Any) -> tuple[Any, Any]:
    y, h = layers(
        "RNN", _elman(activation), input, {"hx": hx}, _widths(params, 1)[:1], params, 4 if has_biases else 2, *how
    )
    return y, h


def _widths(params: Sequence[Any], gates: int) -> tuple[int, int]:
    """The length of h and, where it differs, that of the gates. A wrong number of ``params`` is seen later."""
    if len(params) < 2:
        return 0, 0
    rows, shown = raw_of(params[1]).shape
    return shown, rows // gates


# ------------------------------------------------------------------------------------------- one layer in one direction


def _lstm(
    xp: Any, x: Any, states: list[Any], weights: tuple[Any, ...], reverse: bool, ragged: Ragged | None
) -> tuple[list[Any], list[Any]]:
    y, h, c, cells = xp.lstm(x, *states, *weights, reverse=reverse, all_cells=ragged is not None)[:4]
    return [y, cells], [h, c]


def _projected_lstm(
    xp: Any, x: Any, states: list[Any], weights: tuple[Any, ...], reverse: bool, ragged: Ragged | None
) -> tuple[list[Any], list[Any]]:
    weight_ih, weight_hh, *biases, weight_hr = weights
    inputs = xp.unstack(xp.linear(x, weight_ih, _sum(biases)))
    shown, width = raw_of(weight_hr).shape
    starts = [_start(xp, states[0], inputs[0], shown), _start(xp, states[1], inputs[0], width)]

    def step(z: Any, states: list[Any]) -> list[Any]:
        _, c, h = lstm_step(xp, z + xp.linear(states[0], weight_hh), states[1])
        return [xp.linear(h, weight_hr), c]

    return unrolled(xp, step, inputs, starts, reverse)


def _gru(
    xp: Any, x: Any, states: list[Any], weights: tuple[Any, ...], reverse: bool, ragged: Ragged | None
) -> tuple[list[Any], list[Any]]:
    weight_ih, weight_hh, *biases = weights
    bias_ih, bias_hh = biases or (None, None)
    parts = [xp.unstack(part) for part in three_parts(xp, xp.linear(x, weight_ih, bias_ih))]
    inputs = list(zip(*parts, strict=True))

    def step(z: Any, states: list[Any]) -> list[Any]:
        return [gru_step(xp, z, states[0], weight_hh, bias_hh)]

    start = _start(xp, states[0], inputs[0][0], raw_of(weight_hh).shape[1])
    return unrolled(xp, step, inputs, [start], reverse)


def _elman(activation: str) -> Layer:
    def layer(
        xp: Any, x: Any, states: list[Any], weights: tuple[Any, ...], reverse: bool, ragged: Ragged | None
    ) -> tuple[list[Any], list[Any]]:
        weight_ih, weight_hh, *biases = weights
        z = xp.linear(x, weight_ih, _sum(biases))
        if ragged is not None:
            z = ragged.filled(xp, z, NOTHING)  # relu could grow without end behind an end, and infinity times 0 is nan
        inputs = xp.unstack(z)

        def step(z: Any, states: list[Any]) -> list[Any]:
            return [elman_step(xp, z, states[0], weight_hh, activation)]

        return unrolled(xp, step, inputs, [_start(xp, states[0], inputs[0], z.shape[-1])], reverse)

    return layer


def _sum(biases: Sequence[Any]) -> Any:
    return biases[0] + biases[1] if biases else None


def _start(xp: Any, state: Any, inputs: Any, width: int) -> Any:
    """The state before the first step: as it was given, or zeros (N, width)."""
    return xp.zeros_like(inputs[:, :width]) if state is None else like(state, inputs)
