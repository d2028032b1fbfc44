"""VJPs of recurrent layers: each a joint one, for all cotangents come out of one walk back in time."""

from __future__ import annotations

from typing import Any


def _lstm(
    xp: Any,
    g: Any,
    y: Any,
    x: Any,
    h0: Any,
    c0: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = None,
    bias_hh: Any = None,
    *,
    reverse: bool,
    through: bool,
    all_cells: bool,
) -> tuple[Any, ...]:
    h, _, _, cells, gates = y
    how = {"reverse": reverse, "through": through}
    weights = (weight_ih, weight_hh, bias_ih, bias_hh)
    *found, of_bias = xp.lstm_backward(g, h, cells, gates, x, h0, c0, *weights, **how)
    return (*found, of_bias, of_bias)


VJPS: dict[str, Any] = {"lstm": _lstm}
