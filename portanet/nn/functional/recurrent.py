"""Recurrent layers over whole sequences: layers above each other, in one direction or in both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from portanet.nn.functional._checks import common_namespace, raw_of, require_dtype
from portanet.nn.functional.dropout import dropout as dropped

__all__ = ["lstm"]


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
) -> tuple[Any, Any, Any]:
    """Long short-term memory: ``num_layers`` layers, each fed with all h of the one below.

    In each step, with z = W_ih x_t + b_ih + W_hh h + b_hh cut into four equal parts: i, f, o = sigmoid(z_i),
    sigmoid(z_f), sigmoid(z_o), g = tanh(z_g), c = f c + i g, h = o tanh(c). Hochreiter and Schmidhuber 1997, "Long
    short-term memory"; with the forget gate f of Gers, Schmidhuber and Cummins 2000.

    Args:
        input: of shape (T, N, input_size), or (N, T, input_size) where ``batch_first``; T > 0.
        hx: h and c before the first step, each of shape (layers * directions, N, H); None: zeros.
        params: for each layer, and in it for each direction: weight_ih (4H, size of its input), weight_hh (4H, H),
            and where ``has_biases`` bias_ih and bias_hh (4H,); rows in order i, f, g, o.
        has_biases: whether there are biases among ``params``.
        num_layers: how many layers.
        dropout: the probability of a zero in what goes from a layer to the next, when ``train``.
        train: whether dropout works.
        bidirectional: whether each layer goes through time both ways; the next is fed with both h, one after the other.
        batch_first: whether the batch is the first axis of ``input`` and of the result.

    Returns:
        all h of the last layer, of shape (T, N, directions * H) or with the first axes swapped; and the last h and the
        last c of each layer and direction, of shape (layers * directions, N, H).

    Raises:
        ValueError: shapes that do not go together, no step, or another number of ``params``.
        TypeError: the input or ``hx`` has not the dtype or the library of the parameters.

    >>> import portanet
    >>> w = [portanet.zeros((4, 3)), portanet.zeros((4, 1)), portanet.asarray([0.0, 0.0, 5.0, 100.0]), portanet.zeros(4)]
    >>> y, h, c = portanet.nn.functional.lstm(portanet.ones((2, 1, 3)), None, w)
    >>> c  # two steps of c / 2 + tanh(5) / 2
    tensor([[[0.74993193]]])
    """
    directions = 2 if bidirectional else 1
    count = 4 if has_biases else 2
    groups = [tuple(params[k : k + count]) for k in range(0, len(params), count)]
    if len(params) != num_layers * directions * count:
        raise ValueError(
            f"LSTM: {num_layers} layers in {directions} direction{'s' * bidirectional} need {count} parameters each, "
            f"{num_layers * directions * count} in all; there are {len(params)}."
        )
    xp = common_namespace(input, *params)
    x = checked_input("LSTM", input, raw_of(params[0]).shape[1], params)
    if batch_first:
        x = xp.permute_dims(x, (1, 0, 2))
    states: list[Any] = [None, None]
    if hx is not None:
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise ValueError(f"LSTM: hx must be a pair, h and c before the first step; saw {type(hx).__name__}.")
        shape = (num_layers * directions, x.shape[1], raw_of(params[1]).shape[1])
        states = [checked_state("LSTM", f"hx[{k}]", state, shape, params) for k, state in enumerate(hx)]

    def layer(x: Any, state: list[Any], weights: tuple[Any, ...], reverse: bool) -> tuple[Any, list[Any]]:
        y, h, c = xp.lstm(x, *state, *weights, reverse=reverse)[:3]
        return y, [h, c]

    y, (h, c) = stacked(xp, layer, x, states, groups, directions, dropout, train)
    return (xp.permute_dims(y, (1, 0, 2)) if batch_first else y), h, c


def checked_input(name: str, input: Any, size: int, params: Sequence[Any]) -> Any:
    """``input`` itself, if it has three axes, the last of length ``size``, and the dtype of the parameters."""
    shape = tuple(raw_of(input).shape)
    if len(shape) != 3 or shape[2] != size:
        raise ValueError(f"{name}: the input must have three axes, the last of length {size}; its shape is {shape}.")
    if 0 in (shape[0], shape[1]):
        raise ValueError(f"{name}: the input has no step or no sequence (shape {shape}).")
    require_dtype(name, input, *params)
    return input


def checked_state(name: str, what: str, state: Any, shape: tuple[int, ...], params: Sequence[Any]) -> Any:
    """``state`` itself, if it has ``shape`` and the dtype of the parameters."""
    saw = tuple(raw_of(state).shape)
    if saw != shape:
        raise ValueError(f"{name}: {what} has shape {saw}, expected {shape}: (layers * directions, batch, hidden).")
    require_dtype(f"{name}'s {what}", state, params[0])
    return state


def stacked(
    xp: Any,
    layer: Callable[..., tuple[Any, list[Any]]],
    x: Any,
    states: list[Any],
    groups: list[tuple[Any, ...]],
    directions: int,
    dropout: float,
    train: bool,
) -> tuple[Any, list[Any]]:
    """Layers above each other, for any kind of recurrence: ``layer(x, state, weights, reverse)`` gives y and its ends.

    ``states`` holds the arrays (layers * directions, N, H) of the starts, or None for each; the ends come back alike.
    """
    ends: list[list[Any]] = [[] for _ in states]
    for first in range(0, len(groups), directions):
        if first and dropout and train:
            x = dropped(x, dropout)
        outputs = []
        for k in range(first, first + directions):
            state = [None if one is None else one[k, ...] for one in states]
            y, finals = layer(x, state, groups[k], k > first)
            outputs.append(y)
            for kept, final in zip(ends, finals, strict=True):
                kept.append(final)
        x = outputs[0] if directions == 1 else xp.concat(outputs, axis=-1)
    return x, [xp.stack(kept) for kept in ends]
