"""Recurrent layers for JAX: a loop that is traced once, however many steps there are."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from portanet.kernels.generic.recurrent import cotangents_of_weights, lstm_step, lstm_step_backward


def lstm(
    x: Any,
    h0: Any,
    c0: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = None,
    bias_hh: Any = None,
    *,
    reverse: bool = False,
    through: bool = True,
    all_cells: bool = False,
) -> tuple[Any, ...]:
    projected = x @ weight_ih.T
    for bias in (bias_ih, bias_hh):
        projected = projected if bias is None else projected + bias
    nothing = jnp.zeros_like(projected[0, :, : weight_hh.shape[1]])

    def step(state: Any, z: Any) -> Any:
        h, c = state
        gates, c, h = lstm_step(jnp, z + h @ weight_hh.T, c)
        return (h, c), (h, c, gates)

    start = (nothing if h0 is None else h0, nothing if c0 is None else c0)
    (h, c), (y, cells, gates) = jax.lax.scan(step, start, projected, reverse=reverse)
    return y, h, c, cells, gates


def lstm_backward(
    g: Any,
    y: Any,
    cells: Any,
    gates: Any,
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
) -> tuple[Any, ...]:
    gy, gh, gc, gcells, ggates = [
        jnp.zeros_like(whole) if one is None else one
        for one, whole in zip(g, (y, y[0], y[0], cells, gates), strict=True)
    ]
    nothing = jnp.zeros_like(y[0])
    first = (nothing if c0 is None else c0)[None]
    before = jnp.concatenate([cells[1:], first] if reverse else [first, cells[:-1]])

    def step(state: Any, here: Any) -> Any:
        gh, gc = state
        gy, gcells, ggates, gates, c, earlier = here
        gz, gc = lstm_step_backward(jnp, gh + gy, gc + gcells, ggates, gates, c, earlier)
        return (gz @ weight_hh, gc), gz

    steps = (gy, gcells, ggates, gates, cells, before)
    (gh, gc), gz = jax.lax.scan(step, (gh, gc), steps, reverse=not reverse)
    h0 = nothing if h0 is None else h0
    return cotangents_of_weights(jnp, gz, gh, gc, y, x, h0, weight_ih, reverse, through)
