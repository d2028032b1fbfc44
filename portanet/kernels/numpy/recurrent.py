"""Recurrent layers: buffers made once, every step in place, what does not depend on the step before done for many."""

from __future__ import annotations

from typing import Any

import numpy as np

_ORDER = [3, 0, 1, 2]  # o, i, f, g: the sigmoids lie together, and so do the gates in front of the cell
_SMALL = 900_000  # multiplications below which OpenBLAS multiplies without copying the matrices first
_ROWS = 512  # how many rows the products for the weights' cotangents take at once: what stays in the cache
_CACHED = 1 << 19  # bytes of the slopes that are computed at once


def _columns(batch: int, width: int) -> int:
    """Into how many blocks of columns one gate's matrix is cut, so that each is a small product."""
    for size in (64, 32):
        if width % size == 0 and batch * size * width <= _SMALL:
            return width // size
    return 1


def _halved(weight: Any) -> Any:
    """A gate's sigmoid is 0.5 tanh(z / 2) + 0.5: halve its rows, which rounds nothing, instead of every z."""
    weight[:3] *= 0.5
    return weight


def _projected(x: Any, weight: Any, bias: Any, gates: Any) -> Any:
    """W x + b for all steps, (T, 4, N, H): in ``gates`` where the products are small, else in an array of its own."""
    steps, batch, size = x.shape
    width = weight.shape[0] // 4
    count = size if bias is None else size + 1  # the bias is the weight of a column of ones
    packed = np.empty((4, count, width), weight.dtype)
    packed[:, :size] = weight.reshape(4, width, size)[_ORDER].swapaxes(1, 2)
    if bias is not None:
        packed[:, size] = bias.reshape(4, width)[_ORDER]
        bare, x = x, np.empty((steps, batch, count), x.dtype)
        x[..., :size] = bare
        x[..., size] = 1
    _halved(packed)
    if batch >= 8 and batch * count * width <= _SMALL:
        np.matmul(x, packed[:, None], out=gates.swapaxes(0, 1))
        return gates
    whole = np.matmul(x.reshape(steps * batch, count), packed)
    return whole.reshape(4, steps, batch, width).swapaxes(0, 1)


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
    steps, batch, _ = x.shape
    width, dtype = weight_hh.shape[1], weight_hh.dtype
    all_gates = np.empty((steps, 4, batch, width), dtype)
    every_cell, all_y = np.empty((2, steps, batch, width), dtype)
    turned = slice(None, None, -1 if reverse else 1)
    gates, cells, y = all_gates[turned], every_cell[turned], all_y[turned]
    bias = bias_ih if bias_hh is None else bias_hh if bias_ih is None else bias_ih + bias_hh
    projected = _projected(x[turned], weight_ih, bias, gates)
    parts = _columns(batch, width)
    shape = (4, parts, width // parts, width)
    recurrent = _halved(np.array(weight_hh.reshape(shape)[_ORDER].swapaxes(2, 3), order="C"))
    z = np.empty((4, batch, width), dtype)
    blocks = z.reshape(4, batch, parts, width // parts).swapaxes(1, 2)  # z as the product of the blocks fills it
    h = np.zeros((batch, width), dtype) if h0 is None else h0
    c = np.zeros((batch, width), dtype) if c0 is None else c0
    product = np.empty((batch, width), dtype)
    matmul, multiply, add, tanh = np.matmul, np.multiply, np.add, np.tanh
    for gate, given, cell, shown in zip(gates, projected, cells, y, strict=True):
        matmul(h, recurrent, out=blocks)
        add(z, given, out=gate)
        tanh(gate, out=gate)
        sigmoids, (_, i, f, g) = gate[:3], gate
        multiply(sigmoids, 0.5, out=sigmoids)
        add(sigmoids, 0.5, out=sigmoids)
        multiply(f, c, out=cell)
        multiply(i, g, out=product)
        c = add(cell, product, out=cell)
        tanh(c, out=product)
        h = multiply(gate[0], product, out=shown)
    return all_y, h, c, every_cell, all_gates


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
    if reverse:
        y, cells, gates, x = y[::-1], cells[::-1], gates[::-1], x[::-1]
        gy, gcells, ggates = [None if one is None else one[::-1] for one in (gy, gcells, ggates)]
    way = _WayBack(y, cells, gates, x, h0, c0, weight_ih, weight_hh, through)
    own = None if ggates is None else _times_slopes(ggates, gates)
    gh, gc = way.walk(gy, gh, gc, gcells, own)
    gx = way.gx if not reverse or way.gx is None else way.gx[::-1]
    size = x.shape[2]
    of_ih, of_hh, of_bias = way.sums[:, :size], way.sums[:, size:-1], way.sums[:, -1]
    return gx, gh, gc, *[np.array(one, order="C") for one in (of_ih, of_hh, of_bias)]


def _times_slopes(ggates: Any, gates: Any) -> Any:
    """The cotangents of the gates as cotangents of what they are the sigmoid or tanh of."""
    squares = gates * gates
    gz = np.empty_like(gates)
    gz[:, :3] = ggates[:, :3] * (gates[:, :3] - squares[:, :3])
    gz[:, 3] = ggates[:, 3] * (1 - squares[:, 3])
    return gz


class _WayBack:
    """The walk back in time in windows of steps: of each, the slopes, the recurrence, and its part of the weights'."""

    def __init__(
        self, y: Any, cells: Any, gates: Any, x: Any, h0: Any, c0: Any, weight_ih: Any, weight_hh: Any, through: bool
    ) -> None:
        self.y, self.cells, self.gates, self.x, self.weight_ih = y, cells, gates, x, weight_ih
        steps, batch, width = y.shape
        dtype = y.dtype
        self.h0 = np.zeros((batch, width), dtype) if h0 is None else h0
        self.c0 = np.zeros((batch, width), dtype) if c0 is None else c0
        self.gx = np.empty(x.shape, dtype) if through else None
        self.sums = np.zeros(
            (4 * width, x.shape[2] + width + 1), dtype
        )  # the cotangent of (weight_ih, weight_hh, bias)
        self.window = max(1, min(steps, _ROWS // max(1, batch)))
        self.part = np.empty_like(self.sums)  # one window's
        self.rows = np.empty((self.window, batch, 4, width), dtype)  # cotangents in PyTorch's order: i, f, g, o
        self.given = np.ones(
            (self.window, batch, x.shape[2] + width + 1), dtype
        )  # what the weights were multiplied with
        self.chunk = max(1, min(8, self.window, _CACHED // max(1, 4 * y[0].nbytes)))
        self.slope = np.empty((self.chunk, 4, batch, width), dtype)
        self.factors = np.empty((self.chunk, 2, batch, width), dtype)
        self.of_cell = np.empty((self.chunk, batch, width), dtype)
        parts = _columns(batch, width)
        blocks = weight_hh.reshape(4, width, parts, width // parts)[_ORDER].swapaxes(1, 2)
        self.weight = np.array(blocks, order="C")  # (4, parts, H, H / parts)
        self.terms = np.empty((4, batch, width), dtype)  # of gh, one for each gate
        self.blocks = self.terms.reshape(4, batch, parts, width // parts).swapaxes(1, 2)

    def walk(self, gy: Any, gh: Any, gc: Any, gcells: Any, own: Any) -> tuple[Any, Any]:
        """Through all windows, the last first; returns the cotangents of h0 and c0."""
        steps, batch, width = self.y.shape
        before = np.zeros((2, batch, width), self.y.dtype)
        for mine, given in zip(before, (gh, gc), strict=True):
            if given is not None:
                mine[...] = given
        gh, gc = before[0], before[1]
        starts = range((steps - 1) // self.window * self.window, -1, -self.window)
        shape = (4, self.window, batch, width)
        gz = np.empty(shape, self.y.dtype)
        for start in starts:
            self.recur(start, gz, gh, gc, gy, gcells, own)
            self.collect(start, gz)
        return gh, gc

    def recur(self, start: int, gz: Any, gh: Any, gc: Any, gy: Any, gcells: Any, own: Any) -> None:
        """Fill ``gz`` with the cotangents of the pre-activations of one window; ``gh`` and ``gc`` become those before."""
        stop = min(start + self.window, self.y.shape[0])
        product = np.empty_like(gh)
        matmul, multiply, add = np.matmul, np.multiply, np.add
        for first in range(start + (stop - start - 1) // self.chunk * self.chunk, start - 1, -self.chunk):
            last = min(first + self.chunk, stop)
            self.slopes(first, last)
            for t in range(last - 1, first - 1, -1):
                slope, here = self.slope[t - first], gz[:, t - start]
                if gy is not None:
                    add(gh, gy[t], out=gh)
                if gcells is not None:
                    add(gc, gcells[t], out=gc)
                multiply(self.of_cell[t - first], gh, out=product)
                add(gc, product, out=gc)
                multiply(slope[1:], gc, out=here[1:])
                multiply(slope[0], gh, out=here[0])
                if own is not None:
                    add(here, own[t], out=here)
                multiply(gc, self.gates[t, 2], out=gc)
                matmul(here[:, None], self.weight, out=self.blocks)
                add.reduce(self.terms, axis=0, out=gh)

    def slopes(self, first: int, last: int) -> None:
        """What multiplies the cotangents of h (o) and of c (i, f, g) in each step, and dh / dc.

        With p = i g and f c' = c - p, c' being the cell before: o (1 - o) tanh(c) = h (1 - o), i (1 - i) g = p (1 - i),
        f (1 - f) c' = (c - p) (1 - f), (1 - g g) i = i - p g, and o (1 - tanh(c)**2) = o - h tanh(c).
        """
        count = last - first
        gates, cells, y = self.gates[first:last], self.cells[first:last], self.y[first:last]
        slope, factors, of_cell = self.slope[:count], self.factors[:count], self.of_cell[:count]
        p = np.multiply(gates[:, 1], gates[:, 3], out=factors[:, 0])
        np.subtract(cells, p, out=factors[:, 1])
        np.tanh(cells, out=of_cell)
        np.multiply(of_cell, y, out=of_cell)
        np.subtract(gates[:, 0], of_cell, out=of_cell)
        np.subtract(1, gates[:, :3], out=slope[:, :3])
        np.multiply(slope[:, 1:3], factors, out=slope[:, 1:3])
        np.multiply(slope[:, 0], y, out=slope[:, 0])
        np.multiply(p, gates[:, 3], out=slope[:, 3])
        np.subtract(gates[:, 1], slope[:, 3], out=slope[:, 3])

    def collect(self, start: int, gz: Any) -> None:
        """Add one window's part of the weights' cotangent, and write its part of that of x."""
        steps, batch, width = self.y.shape
        stop = min(start + self.window, steps)
        size, count = self.x.shape[2], stop - start
        rows, given = self.rows[:count], self.given[:count]
        rows[:, :, :3] = gz[1:, :count].transpose(1, 2, 0, 3)
        rows[:, :, 3] = gz[0, :count]
        flat = rows.reshape(count * batch, 4 * width)
        given[..., :size] = self.x[start:stop]
        given[0, :, size:-1] = self.y[start - 1] if start else self.h0
        given[1:, :, size:-1] = self.y[start : stop - 1]
        np.add(self.sums, np.matmul(flat.T, given.reshape(count * batch, given.shape[2]), out=self.part), out=self.sums)
        if self.gx is not None:
            np.matmul(flat, self.weight_ih, out=self.gx[start:stop].reshape(count * batch, size))
