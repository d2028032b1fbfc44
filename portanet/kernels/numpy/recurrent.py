"""Recurrent layers: buffers made once, every step in place, what does not depend on the step before done for many.

The steps are NumPy's calls or, to the same bits, loops that Numba compiles; see `_lstm_loops`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import threads
from portanet.kernels.numpy import _lstm_loops, _products
from portanet.kernels.numpy._loops import loop_of
from portanet.kernels.numpy._numba import Late

_ORDER = [3, 0, 1, 2]  # o, i, f, g: the sigmoids lie together, and so do the gates in front of the cell
_SMALL = 900_000  # multiplications below which OpenBLAS multiplies without copying the matrices first
_ROWS = 2048  # how many rows the products for the weights' cotangents take at once
_PORTION = 1 << 25  # multiplications that are worth a thread
_CALLS = 4096  # numbers that are computed in the time that NumPy's calls for one step take apart from computing
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


def _packed(weight: Any, bias: Any) -> Any:
    """The weights of the input as `_projected` multiplies with them, (4, features, H); the bias is one more feature."""
    width, size = weight.shape[0] // 4, weight.shape[1]
    packed = np.empty((4, size if bias is None else size + 1, width), weight.dtype)
    packed[:, :size] = weight.reshape(4, width, size)[_ORDER].swapaxes(1, 2)
    if bias is not None:
        packed[:, size] = bias.reshape(4, width)[_ORDER]
    return _halved(packed)


def _projected(x: Any, packed: Any, gates: Any) -> Any:
    """W x + b for all steps, (T, 4, N, H): in ``gates`` where the products are small, else in an array of its own."""
    steps, batch, size = x.shape
    _, count, width = packed.shape
    if count > size:
        bare, x = x, np.empty((steps, batch, count), x.dtype)
        x[..., :size] = bare
        x[..., size] = 1
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
    packed = _packed(weight_ih, bias)
    h = np.zeros((batch, width), dtype) if h0 is None else h0
    c = np.zeros((batch, width), dtype) if c0 is None else c0
    parts = _columns(batch, width)
    recurrent = weight_hh.reshape(4, parts, width // parts, width)[_ORDER].swapaxes(2, 3)
    recurrent = _halved(np.array(recurrent, order="C"))  # (4, parts, H, H / parts)
    walk = _compiled(_forward_loops, gates, h, c)
    if walk is None:
        h, c = _forward(_projected(x[turned], packed, gates), gates, cells, y, h, c, recurrent)
    else:
        h, c = [np.array(one, order="C") for one in (h, c)]
        arrays = [*[_cut(one, parts) for one in (all_gates, every_cell, all_y, h, c)], recurrent]

        def work(first: int, last: int) -> None:
            mine = gates[:, :, first:last]
            projected = _projected(x[turned, first:last], packed, mine)
            if projected is not mine:
                mine[...] = projected
            walk(*arrays, first, last, reverse)

        threads.run([functools.partial(work, *stretch) for stretch in _stretches(batch, width)])
        h, c = y[-1], cells[-1]
    return all_y, h, c, every_cell, all_gates


def _forward(projected: Any, gates: Any, cells: Any, y: Any, h: Any, c: Any, recurrent: Any) -> tuple[Any, Any]:
    """Fill ``gates``, ``cells`` and ``y``; returns the last states."""
    batch, width = h.shape
    parts = recurrent.shape[1]
    z = np.empty((4, batch, width), y.dtype)
    blocks = z.reshape(4, batch, parts, width // parts).swapaxes(1, 2)  # z as the product of the blocks fills it
    product = np.empty((batch, width), y.dtype)
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
    return h, c


# ---------------------------------------------------------------------------------------------------------------------
# Compiled steps.

_forward_loops, _backward_loops = Late(_lstm_loops.forward), Late(_lstm_loops.backward)


def _compiled(loops: Late, gates: Any, *states: Any) -> Callable[..., None] | None:
    """``loops`` as a function of its arrays, of a stretch of examples, and ``reverse``; None where NumPy's calls must do."""
    types = gates.dtype.char
    steps, _, batch, width = gates.shape
    if types not in "fd" or not gates.size or any([one.dtype != gates.dtype for one in states]):
        return None
    product, tanh = loop_of(np.matmul, f"{types}{types}->{types}"), loop_of(np.tanh, f"{types}->{types}")
    walk = None if product is None or tanh is None else loops.after(steps * (4 * batch * width + _CALLS))
    return None if walk is None else functools.partial(walk, product, tanh)


def _stretches(batch: int, width: int) -> list[tuple[int, int]]:
    """The stretches of a batch that go through the steps side by side, by the sizes alone: so are the products.

    The wider the weights, the more rows must share their way into the cache.
    """
    return threads.cut(batch, batch // (16 if width <= 256 else 64))


def _cut(x: Any, parts: int) -> Any:
    """(..., H) -> (..., parts, H / parts)."""
    return x.reshape(*x.shape[:-1], parts, x.shape[-1] // parts)


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
    way = _WayBack(y, cells, gates, x, h0, c0, weight_ih, weight_hh, through, reverse)
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
        self, y: Any, cells: Any, gates: Any, x: Any, h0: Any, c0: Any, weight_ih: Any, weight_hh: Any,
        through: bool, reverse: bool,
    ) -> None:  # fmt: skip
        self.y, self.cells, self.gates, self.x, self.weight_ih = y, cells, gates, x, weight_ih
        self.turned = slice(None, None, -1 if reverse else 1)
        steps, batch, width = y.shape
        dtype = y.dtype
        self.h0 = np.zeros((batch, width), dtype) if h0 is None else h0
        self.gx = np.empty(x.shape, dtype) if through else None
        # The cotangent of (weight_ih, weight_hh, bias), and what these were multiplied with in a window.
        self.sums = np.zeros((4 * width, x.shape[2] + width + 1), dtype)
        self.window = max(1, min(steps, _ROWS // max(1, batch)))
        self.given = np.ones((self.window, batch, self.sums.shape[1]), dtype)
        self.rows = np.empty((self.window, batch, 4, width), dtype)  # cotangents in PyTorch's order: i, f, g, o
        parts = _columns(batch, width)
        blocks = weight_hh.reshape(4, width, parts, width // parts).swapaxes(1, 2)
        self.weight = np.array(blocks, order="C")  # (4, parts, H, H / parts)

    def walk(self, gy: Any, gh: Any, gc: Any, gcells: Any, own: Any) -> tuple[Any, Any]:
        """Through all windows, the last first; returns the cotangents of h0 and c0."""
        steps, batch, width = self.y.shape
        before = np.zeros((2, batch, width), self.y.dtype)
        for mine, given in zip(before, (gh, gc), strict=True):
            if given is not None:
                mine[...] = given
        gh, gc = before[0], before[1]
        straight = [x[self.turned] for x in (self.gates, self.cells, self.y)]
        simple = gcells is None and own is None and all([x.flags.c_contiguous for x in straight])
        walk = _compiled(_backward_loops, self.gates, self.cells, self.y) if simple else None
        if walk is None:
            self.chunk = max(1, min(8, self.window, _CACHED // max(1, 4 * self.y[:1].nbytes)))
            self.slope = np.empty((self.chunk, 4, batch, width), self.y.dtype)
            self.factors = np.empty((self.chunk, 2, batch, width), self.y.dtype)
            self.of_cell = np.empty((self.chunk, batch, width), self.y.dtype)
            self.terms = np.empty((4, batch, width), self.y.dtype)  # of gh, one for each gate
        windows = range((steps - 1) // self.window * self.window, -1, -self.window)
        if walk is not None:
            phases = [self.phases(walk, start, min(start + self.window, steps), gh, gc, gy) for start in windows]
            threads.run_in_turn(*itertools.chain(*phases))
            return gh, gc
        for start in windows:
            stop = min(start + self.window, steps)
            self.recur(start, stop, gh, gc, gy, gcells, own)
            self.gather(start, stop, 0, batch)
            for task in self.collect(start, stop):
                task()
        return gh, gc

    def phases(self, walk: Callable[..., None], start: int, stop: int, gh: Any, gc: Any, gy: Any) -> list[list[Any]]:
        """The work on a window: what `recur` and `gather` do, on stretches of the batch; then what is collected."""
        parts, turned = self.weight.shape[1], self.turned
        given = None if gy is None else _cut(np.ascontiguousarray(gy[start:stop][turned]), parts)
        arrays = [_cut(x[start:stop][turned], parts) for x in (self.gates, self.cells, self.y)]
        arrays = [*[_cut(x, parts) for x in (self.rows, gh, gc)], given, *arrays, self.weight]

        def work(first: int, last: int) -> None:
            walk(*arrays, first, last, turned.step < 0)
            self.gather(start, stop, first, last)

        stretches = _stretches(gh.shape[0], gh.shape[1])
        return [[functools.partial(work, *stretch) for stretch in stretches], self.collect(start, stop)]

    def recur(self, start: int, stop: int, gh: Any, gc: Any, gy: Any, gcells: Any, own: Any) -> None:
        """Fill ``rows`` with the cotangents of the pre-activations of a window; ``gh`` and ``gc`` become those before."""
        product = np.empty_like(gh)
        parts = self.weight.shape[1]
        blocks = _cut(self.terms, parts).swapaxes(1, 2)  # as the product fills them
        matmul, multiply, add = np.matmul, np.multiply, np.add
        for first in range(start + (stop - start - 1) // self.chunk * self.chunk, start - 1, -self.chunk):
            last = min(first + self.chunk, stop)
            self.slopes(first, last)
            for t in range(last - 1, first - 1, -1):
                slope, here = self.slope[t - first], self.rows[t - start].swapaxes(0, 1)
                if gy is not None:
                    add(gh, gy[t], out=gh)
                if gcells is not None:
                    add(gc, gcells[t], out=gc)
                multiply(self.of_cell[t - first], gh, out=product)
                add(gc, product, out=gc)
                multiply(slope[1:], gc, out=here[:3])
                multiply(slope[0], gh, out=here[3])
                if own is not None:
                    add(here[:3], own[t, 1:], out=here[:3])
                    add(here[3], own[t, 0], out=here[3])
                multiply(gc, self.gates[t, 2], out=gc)
                matmul(here[:, None], self.weight, out=blocks)
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

    def gather(self, start: int, stop: int, first: int, last: int) -> None:
        """Fill ``given`` with what the weights were multiplied with, of a stretch of the batch in a window."""
        size, own = self.x.shape[2], slice(first, last)
        given = self.given[: stop - start, own]
        given[..., :size] = self.x[start:stop, own]
        given[:1, :, size:-1] = self.y[start - 1, own] if start else self.h0[own]
        given[1:, :, size:-1] = self.y[start : stop - 1, own]

    def collect(self, start: int, stop: int) -> list[Callable[[], None]]:
        """Tasks that add a window's part of the weights' cotangent, and write its part of that of x.

        They are cut by the sizes alone: the products have the same bits with any number of threads.
        """
        count, size = (stop - start) * self.y.shape[1], self.x.shape[2]
        rows = self.rows[: stop - start].reshape(count, self.sums.shape[0])
        given = self.given[: stop - start].reshape(count, self.sums.shape[1])

        def of_weights(first: int, last: int) -> None:
            self.sums[first:last] += _products.product(rows.T[first:last], given)

        work = [(of_weights, rows.shape[1], given.shape[1])]
        if self.gx is not None:
            target = self.gx[start:stop].reshape(count, size)

            def of_x(first: int, last: int) -> None:
                _products.product(rows[first:last], self.weight_ih, target[first:last])

            work.append((of_x, count, size))
        tasks: list[Callable[[], None]] = []
        for function, length, other in work:
            portions = min(length // 256, rows.size * other // _PORTION)
            tasks += [functools.partial(function, *stretch) for stretch in threads.cut(length, portions, step=64)]
        return tasks
