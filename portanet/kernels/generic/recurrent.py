"""Long short-term memory: one layer in one direction over a whole sequence, and its way back."""

from __future__ import annotations

from typing import Any


def lstm_step(xp: Any, z: Any, c: Any) -> tuple[Any, Any, Any]:
    """One step: pre-activations z (N, 4H), in order i, f, g, o, and the cell before (N, H) -> gates (4, N, H), c, h."""
    width = c.shape[-1]
    i, f, g, o = [z[:, k * width : (k + 1) * width] for k in range(4)]
    # The logistic function by tanh, which cannot overflow.
    i, f, o = [0.5 * xp.tanh(0.5 * gate) + 0.5 for gate in (i, f, o)]
    g = xp.tanh(g)
    c = f * c + i * g
    return xp.stack([o, i, f, g]), c, o * xp.tanh(c)


def lstm_step_backward(xp: Any, gh: Any, gc: Any, ggates: Any, gates: Any, c: Any, before: Any) -> tuple[Any, Any]:
    """From the cotangents of h, c and the gates those of z (N, 4H) and of the cell ``before``. ``ggates`` may be None."""
    o, i, f, g = [gates[k, ...] for k in range(4)]
    t = xp.tanh(c)
    gc = gc + gh * o * (1 - t * t)
    go, gi, gf, gg = gh * t, gc * g, gc * before, gc * i
    if ggates is not None:
        go, gi, gf, gg = [mine + ggates[k, ...] for k, mine in enumerate((go, gi, gf, gg))]
    gz = xp.concat([gi * i * (1 - i), gf * f * (1 - f), gg * (1 - g * g), go * o * (1 - o)], axis=-1)
    return gz, gc * f


def lstm(
    xp: Any,
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
    """One layer of long short-term memory, from the first step to the last or in reverse.

    With z = W_ih x_t + b_ih + W_hh h + b_hh, cut in four: i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o),
    g = tanh(z_g), c = f c + i g, h = o tanh(c). Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000.

    Shapes: x (T, N, I), T > 0; h0 and c0 (N, H), or None for zeros; weight_ih (4H, I), weight_hh (4H, H), biases (4H,),
    in order i, f, g, o. ``through`` says whether the way back will be asked for the cotangent of x; here it is idle.

    Returns h of all steps (T, N, H), the last h and the last c (N, H); and what the way back needs: c of all steps, and
    the gates (T, 4, N, H) in order o, i, f, g: those with a sigmoid are neighbours, and those in front of c are.
    A library's own kernel may return the last c and a record of its own, of one axis, in the place of these two, unless
    ``all_cells`` says that c of all steps is asked for.
    """
    bias = bias_ih if bias_hh is None else bias_hh if bias_ih is None else bias_ih + bias_hh
    projected = xp.linear(x, weight_ih, bias)
    steps, width = x.shape[0], weight_hh.shape[1]
    nothing = xp.zeros_like(projected[0, :, :width])
    h = nothing if h0 is None else h0
    c = nothing if c0 is None else c0
    recurrent = xp.matrix_transpose(weight_hh)
    found: list[tuple[Any, Any, Any]] = []
    for t in range(steps - 1, -1, -1) if reverse else range(steps):
        gates, c, h = lstm_step(xp, projected[t, ...] + xp.matmul(h, recurrent), c)
        found.append((gates, c, h))
    in_time = found[::-1] if reverse else found
    all_gates, cells, y = [xp.stack([step[k] for step in in_time]) for k in range(3)]
    return y, h, c, cells, all_gates


def lstm_backward(
    xp: Any,
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
    """The way back of `lstm`: ``g`` holds the cotangents of its five results, None where none arrived.

    Returns those of x (None without ``through``), h0, c0, weight_ih, weight_hh and of either bias.
    """
    gy, gh, gc, gcells, ggates = g
    if gates.ndim == 1:  # a record that only the kernel which made it can read: for second derivatives, computed anew
        *_, cells, gates = lstm(xp, x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, reverse=reverse)
    steps = y.shape[0]
    nothing = xp.zeros_like(y[0, ...])
    first = nothing if c0 is None else c0
    gh = nothing if gh is None else gh
    gc = nothing if gc is None else gc
    found: list[Any] = []
    for t in range(steps) if reverse else range(steps - 1, -1, -1):
        gh = gh if gy is None else gh + gy[t, ...]
        gc = gc if gcells is None else gc + gcells[t, ...]
        earlier = t + 1 if reverse else t - 1
        before = cells[earlier, ...] if 0 <= earlier < steps else first
        own = None if ggates is None else ggates[t, ...]
        gz, gc = lstm_step_backward(xp, gh, gc, own, gates[t, ...], cells[t, ...], before)
        gh = xp.matmul(gz, weight_hh)
        found.append(gz)
    gz = xp.stack(found if reverse else found[::-1])
    return cotangents_of_weights(xp, gz, gh, gc, y, x, nothing if h0 is None else h0, weight_ih, reverse, through)


def cotangents_of_weights(
    xp: Any, gz: Any, gh: Any, gc: Any, y: Any, x: Any, h0: Any, weight_ih: Any, reverse: bool, through: bool
) -> tuple[Any, ...]:
    """What `lstm_backward` returns, from the cotangent gz (T, N, 4H) of all pre-activations: one product each."""
    steps, batch, width = y.shape
    h0 = xp.expand_dims(h0, axis=0)
    before = xp.concat([y[1:, ...], h0] if reverse else [h0, y[:-1, ...]], axis=0)
    flat = xp.reshape(gz, (steps * batch, 4 * width))
    turned = xp.matrix_transpose(flat)
    of_ih = xp.matmul(turned, xp.reshape(x, (steps * batch, x.shape[2])))
    of_hh = xp.matmul(turned, xp.reshape(before, (steps * batch, width)))
    gx = xp.matmul(gz, weight_ih) if through else None
    return gx, gh, gc, of_ih, of_hh, xp.sum(flat, axis=0)
