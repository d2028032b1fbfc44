"""Long short-term memory for PyTorch tensors: by oneDNN where PyTorch itself would use it, else in few calls a step."""

from __future__ import annotations

from typing import Any

import torch

from portanet.kernels._torch_tracing import is_tracing
from portanet.kernels.generic import recurrent as generic
from portanet.library import namespace_of

__all__ = ["lstm", "lstm_backward"]

_layer: Any = getattr(torch.ops.aten, "mkldnn_rnn_layer", None)
_layer_backward: Any = getattr(torch.ops.aten, "mkldnn_rnn_layer_backward", None)
_LSTM = 2  # PyTorch's number


def _is_native(x: Any, weight_hh: Any) -> bool:
    """Whether a whole layer is one call of oneDNN's. While a compiler traces its record would have no known size."""
    if x.dtype is not torch.float32 or x.device.type != "cpu" or _layer is None or _layer_backward is None:
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled) or is_tracing():
        return False
    return x.numel() > 0 and weight_hh.numel() > 0


def _native(x: Any, h0: Any, c0: Any, weight_ih: Any, weight_hh: Any, bias_ih: Any, bias_hh: Any) -> list[Any]:
    """The arguments as oneDNN takes them: in one piece each, zeros for those that are not given."""
    width = weight_hh.shape[1]
    biases = [x.new_zeros(4 * width) if one is None else one for one in (bias_ih, bias_hh)]
    states = [x.new_zeros((x.shape[1], width)) if one is None else one for one in (h0, c0)]
    return [one.contiguous() for one in (x, weight_ih, weight_hh, *biases, *states)]


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
    if not all_cells and _is_native(x, weight_hh):
        given = _native(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh)
        y, h, c, record = _layer(*given, reverse, [], _LSTM, weight_hh.shape[1], 1, True, False, False, True)
        return y, h, c, c, record
    bias = bias_ih if bias_hh is None else bias_hh if bias_ih is None else bias_ih + bias_hh
    steps, batch, width = x.shape[0], x.shape[1], weight_hh.shape[1]
    # All that does not wait for a step is done for all at once. In the order o, i, f, g: the three with a sigmoid are neighbours.
    turned = None if bias is None else torch.roll(bias, width)
    rows = x.reshape(steps * batch, x.shape[2])  # as one product, also where batches come first in memory
    gates = torch.nn.functional.linear(rows, torch.roll(weight_ih, width, 0), turned).view(steps, batch, 4 * width)
    recurrent = torch.roll(weight_hh, width, 0).T.contiguous()
    cells, y = gates.new_empty((2, steps, batch, width))
    nothing = gates.new_zeros((batch, width))
    h, c = nothing if h0 is None else h0, nothing if c0 is None else c0
    for t in range(steps - 1, -1, -1) if reverse else range(steps):
        z = gates[t].addmm_(h, recurrent)
        z[:, : 3 * width].sigmoid_()
        z[:, 3 * width :].tanh_()
        o, i, f, g = z.split(width, 1)
        c = torch.mul(f, c, out=cells[t]).addcmul_(i, g)
        h = torch.mul(o, torch.tanh(c), out=y[t])
    # The last states in memory of their own: a view would keep those of all steps alive.
    return y, h.clone(), c.clone(), cells, gates.view(steps, batch, 4, width).permute(0, 2, 1, 3)


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
    gy, gh, gc, gcells, ggates = g
    if gates.ndim == 1:  # oneDNN's record, and the last c for the cells
        gc = gcells if gc is None else gc if gcells is None else gc + gcells
        x, *weights, h0, c0 = _native(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh)
        last = y[0 if reverse else -1]
        arrived = [None if one is None else one.contiguous() for one in (gy, gh, gc)]
        how: tuple[Any, ...] = (reverse, _LSTM, y.shape[2], 1, True, True, False, [], False, gates)
        gx, *of_weights, of_bias, _, gh, gc = _layer_backward(x, *weights, h0, c0, y, last, cells, *arrived, *how)
        return (gx if through else None), gh, gc, *of_weights, of_bias
    if gcells is not None or ggates is not None:  # only where second derivatives are taken
        options: dict[str, Any] = {"reverse": reverse, "through": through}
        return generic.lstm_backward(namespace_of(y), g, y, cells, gates, x, h0, c0, weight_ih, weight_hh, **options)
    steps, batch, width = y.shape
    nothing = y.new_zeros((batch, width))
    first = nothing if c0 is None else c0
    gh, gc = nothing if gh is None else gh, nothing if gc is None else gc
    before = torch.cat([cells[1:], first[None]] if reverse else [first[None], cells[:-1]])
    into_cell, factors = _factors(cells, before, gates)
    f = gates[:, 2]
    gz = y.new_empty((steps, batch, 4, width))
    flat = gz.view(steps, batch, 4 * width)
    for t in range(steps) if reverse else range(steps - 1, -1, -1):
        gh = gh if gy is None else gh + gy[t]
        gc = torch.addcmul(gc, gh, into_cell[t])
        torch.mul(factors[t, :, :3], gc[:, None], out=gz[t, :, :3])
        torch.mul(factors[t, :, 3], gh, out=gz[t, :, 3])
        gc = gc * f[t]
        gh = torch.mm(flat[t], weight_hh)
    start = nothing if h0 is None else h0
    return generic.cotangents_of_weights(namespace_of(y), flat, gh, gc, y, x, start, weight_ih, reverse, through)


def _factors(cells: Any, before: Any, gates: Any) -> tuple[Any, Any]:
    """What the cotangent of h is multiplied with on its way to the cell; and what those of the cell (i, f, g) and of h
    (o) are, on their way to the pre-activations (T, N, 4, H), which have the order of the weights."""
    o, i, f, g = gates.unbind(1)
    bent = torch.tanh(cells)
    into_cell = o * (1 - bent * bent)
    steps, batch, width = cells.shape
    factors = cells.new_empty((steps, batch, 4, width))
    for k, (gate, other) in enumerate(((i, g), (f, before))):
        torch.mul(other, gate * (1 - gate), out=factors[:, :, k])
    torch.mul(i, 1 - g * g, out=factors[:, :, 2])
    torch.mul(bent, o * (1 - o), out=factors[:, :, 3])
    return into_cell, factors
