"""What recurrent layers and cells share: the gates of one step, steps one after another, and layers above each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._checks import common_namespace, raw_of, require_dtype
from portanet.nn.functional._constants import constant_like
from portanet.nn.functional.dropout import dropout as dropped

NOTHING = -math.inf  # what an Elman network is given behind an end: its state stays finite there

# --------------------------------------------------------------------------------------------------------- one step


def elman_step(xp: Any, z: Any, h: Any, weight_hh: Any, activation: str) -> Any:
    """The next h (N, H): an activation of z = W_ih x + b_ih + b_hh and of W_hh h."""
    return getattr(xp, activation)(z + xp.linear(h, weight_hh))


def gru_step(xp: Any, z: Sequence[Any], h: Any, weight_hh: Any, bias_hh: Any) -> Any:
    """The next h (N, H), from the three parts of W_ih x + b_ih, each (N, H), in order reset, update, new."""
    batch, width = h.shape
    u = xp.unstack(xp.reshape(xp.linear(h, weight_hh, bias_hh), (batch, 3, width)), axis=1)
    reset, update = xp.sigmoid(z[0] + u[0]), xp.sigmoid(z[1] + u[1])
    new = xp.tanh(z[2] + reset * u[2])
    return new + update * (h - new)


def three_parts(xp: Any, z: Any) -> tuple[Any, ...]:
    """z (..., 3H) as three arrays (..., H)."""
    parts: tuple[Any, ...] = xp.unstack(xp.reshape(z, (*z.shape[:-1], 3, z.shape[-1] // 3)), axis=-2)
    return parts


def unrolled(
    xp: Any, step: Callable[[Any, list[Any]], list[Any]], inputs: Sequence[Any], states: list[Any], reverse: bool
) -> tuple[list[Any], list[Any]]:
    """``states = step(input, states)`` for all inputs: each state at all times (T, N, ...), in time's order, and the ends."""
    found = []
    for here in inputs[::-1] if reverse else inputs:
        states = step(here, states)
        found.append(states)
    in_time = found[::-1] if reverse else found
    return [xp.stack([one[k] for one in in_time]) for k in range(len(states))], states


# ------------------------------------------------------------------------------------------------ sequences of any length


def host_lengths(name: str, lengths: Any, batch: int, steps: int) -> list[int]:
    """The lengths of the sequences as numbers of the host; raises ValueError where they are not those of the input."""
    found = [int(n) for n in (lengths.tolist() if hasattr(lengths, "tolist") else lengths)]
    if len(found) != batch or any([not 1 <= n <= steps for n in found]):
        raise ValueError(
            f"{name}: the lengths are {found}; expected {batch} numbers from 1 to {steps}, one for each sequence."
        )
    return found


@dataclass(frozen=True)
class Ragged:
    """Where sequences of several lengths lie in x (T, N, ...): behind their ends it holds what must not be looked at.

    A layer in one direction never looks ahead, so that what it computes behind an end is left alone: the state there is
    picked out. One in reverse gets each sequence turned around within its own length.
    """

    seen: Any  # (T, N), where there is a step
    turned: Any  # (T * N,), for each place the row that goes there when each sequence is turned around
    last: Any  # (N,), the rows of the last steps

    @classmethod
    def of(cls, x: Any, lengths: list[int]) -> Ragged:
        xp = namespace_of(x)
        count = x.shape[0] * x.shape[1]
        ends, column = constant_like(x, lengths), xp.positions(x, axis=1)
        time = xp.expand_dims(xp.positions(x, axis=0), axis=1)
        seen = time < ends
        rows = xp.where(seen, ends - 1 - time, time) * x.shape[1] + column
        return cls(seen, xp.reshape(rows, (count,)), (ends - 1) * x.shape[1] + column)

    def turn(self, xp: Any, x: Any) -> Any:
        """x (T, N, ...) with each sequence turned around; what lies behind the ends stays."""
        return xp.reshape(xp.take(_rows(xp, x), self.turned, axis=0), x.shape)

    def ends(self, xp: Any, x: Any) -> Any:
        """The last step (N, ...) of each sequence."""
        return xp.take(_rows(xp, x), self.last, axis=0)

    def filled(self, xp: Any, x: Any, value: float) -> Any:
        """x (T, N, H) with ``value`` behind the ends."""
        return xp.where(xp.expand_dims(self.seen, axis=-1), x, xp.full_like(x, value))


def _rows(xp: Any, x: Any) -> Any:
    return xp.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


# ------------------------------------------------------------------------------------------------ layers above each other

# layer(xp, x, states, weights, reverse, ragged): each state at all times, in time's order, and at the end.
Layer = Callable[[Any, Any, list[Any], tuple[Any, ...], bool, Ragged | None], tuple[list[Any], list[Any]]]


def layers(
    name: str,
    layer: Layer,
    input: Any,
    states: dict[str, Any],
    widths: Sequence[int],
    params: Sequence[Any],
    count: int,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    lengths: Any,
) -> tuple[Any, ...]:
    """Layers above each other, for any kind of recurrence: y of the last one, and the ends of each state of all.

    ``states`` holds the arrays (layers * directions, N, width) of the starts by their names in errors, or None for each;
    ``count`` says how many of ``params`` a layer has in each direction.
    """
    directions = 2 if bidirectional else 1
    groups = [tuple(params[k : k + count]) for k in range(0, len(params), count)]
    if len(params) != num_layers * directions * count:
        raise ValueError(
            f"{name}: {num_layers} layers in {directions} direction{'s' * bidirectional} need {count} parameters each, "
            f"{num_layers * directions * count} in all; there are {len(params)}."
        )
    xp = common_namespace(input, *params)
    x = _checked_input(name, input, raw_of(params[0]).shape[1], params, batch_first)
    if batch_first:
        x = xp.permute_dims(x, (1, 0, 2))
    starts = []
    for (what, state), width in zip(states.items(), widths, strict=True):
        if state is not None:
            _check_state(name, what, state, (len(groups), x.shape[1], width), params)
        starts.append(state)
    ragged = None
    if lengths is not None:
        ragged = Ragged.of(x, host_lengths(name, lengths, x.shape[1], x.shape[0]))
    y, ends = _stacked(xp, layer, x, starts, groups, directions, dropout if train else 0.0, ragged)
    if ragged is not None:
        y = ragged.filled(xp, y, 0.0)
    return xp.permute_dims(y, (1, 0, 2)) if batch_first else y, *ends


def _checked_input(name: str, input: Any, size: int, params: Sequence[Any], batch_first: bool) -> Any:
    """``input`` itself, if it has three axes, the last of length ``size``, and the dtype of the parameters."""
    shape = tuple(raw_of(input).shape)
    if len(shape) != 3 or shape[2] != size:
        raise ValueError(f"{name}: the input must have three axes, the last of length {size}; its shape is {shape}.")
    if shape[1 if batch_first else 0] == 0:
        raise ValueError(f"{name}: the input has no step (shape {shape}).")
    require_dtype(name, input, *params)
    return input


def _check_state(name: str, what: str, state: Any, shape: tuple[int, ...], params: Sequence[Any]) -> None:
    saw = tuple(raw_of(state).shape)
    if saw != shape:
        raise ValueError(f"{name}: {what} has shape {saw}, expected {shape}: (layers * directions, batch, hidden).")
    require_dtype(f"{name}'s {what}", state, params[0])


def _stacked(
    xp: Any,
    layer: Layer,
    x: Any,
    states: list[Any],
    groups: list[tuple[Any, ...]],
    directions: int,
    dropout: float,
    ragged: Ragged | None,
) -> tuple[Any, list[Any]]:
    ends: list[list[Any]] = [[] for _ in states]
    for first in range(0, len(groups), directions):
        if first and dropout:
            x = dropped(x, dropout)
        outputs = []
        for k in range(first, first + directions):
            state = [None if one is None else one[k, ...] for one in states]
            y, finals = _directed(xp, layer, x, state, groups[k], k > first, ragged)
            outputs.append(y)
            for kept, final in zip(ends, finals, strict=True):
                kept.append(final)
        x = outputs[0] if directions == 1 else xp.concat(outputs, axis=-1)
    return x, [xp.stack(kept) for kept in ends]


def _directed(
    xp: Any, layer: Layer, x: Any, state: list[Any], weights: tuple[Any, ...], reverse: bool, ragged: Ragged | None
) -> tuple[Any, list[Any]]:
    """y of one layer in one direction, and its last states."""
    if ragged is None:
        found, finals = layer(xp, x, state, weights, reverse, None)
        return found[0], finals
    found, _ = layer(xp, ragged.turn(xp, x) if reverse else x, state, weights, False, ragged)
    finals = [ragged.ends(xp, one) for one in found]
    return ragged.turn(xp, found[0]) if reverse else found[0], finals
