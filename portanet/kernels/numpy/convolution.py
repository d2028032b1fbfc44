"""Convolution for NumPy: windows are copied into a block that fits the cache, and one matrix product takes them all.

Results are views of shape (N, C, ...) on memory in which the channels come last: a window is then a few long runs of
memory, and ufuncs keep that order, so the next convolution finds it again. The way back to x is a convolution of the
cotangent, one for each remainder by the stride; nothing is scattered.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from portanet import threads
from portanet.kernels.generic import convolution as generic
from portanet.library import namespace_of

_Ints = tuple[int, ...]
_Pairs = tuple[tuple[int, int], ...]

BLOCK = 1 << 20  # bytes of windows at a time: half of a common second-level cache
SMALL = 1_000_000  # up to so many multiplications OpenBLAS multiplies in place, without packing its arguments first
PARALLEL = 30e6  # multiplications that are worth a second thread
SHORT = 64  # bytes: windows made of shorter runs of memory are copied place by place, not window by window


@dataclass(frozen=True)
class _Sweep:
    """Windows over an array: at place i and tap t they see i stride + t dilation + origin; outside of it there is 0."""

    kernel: _Ints
    stride: _Ints
    dilation: _Ints
    origin: _Ints
    output: _Ints

    def low(self, axis: int, first: int = 0) -> int:
        """The first place along ``axis`` that windows from the ``first`` on see."""
        return first * self.stride[axis] + self.origin[axis]

    def high(self, axis: int, stop: int | None = None) -> int:
        """The place after the last that windows before the ``stop``-th see."""
        last = (self.output[axis] if stop is None else stop) - 1
        return last * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + self.origin[axis] + 1


def _forward_sweep(kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints, output: _Ints) -> _Sweep:
    return _Sweep(kernel, stride, dilation, tuple([-before for before, _ in padding]), output)


def _backward_sweeps(
    size: _Ints, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints
) -> list[tuple[_Ints, tuple[slice, ...], _Sweep | None]]:
    """For each remainder r by the stride: r, the taps that reach the places r, r + stride, ..., and how to get there.

    The sweep is over the cotangent of the result; None where no tap reaches those places.
    """
    found = []
    for phase in itertools.product(*[range(min(s, n)) for s, n in zip(stride, size, strict=True)]):
        axes = []
        for r, n, k, s, (before, _), d in zip(phase, size, kernel, stride, padding, dilation, strict=True):
            taps = [t for t in range(k) if (r + before - t * d) % s == 0]
            if taps:
                step = taps[1] - taps[0] if len(taps) > 1 else 1
                origin = (r + before - taps[-1] * d) // s  # where the last tap looks: the way back runs backwards
                axes.append(
                    (slice(taps[0], taps[-1] + 1, step), len(taps), step * d // s or 1, origin, -(-(n - r) // s))
                )
        if len(axes) == len(phase):
            chosen, counts, steps, origins, output = zip(*axes, strict=True)
            found.append((phase, chosen, _Sweep(counts, (1,) * len(phase), steps, origins, output)))
        else:
            found.append((phase, (), None))
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Memory, blocks and threads.

_memory = threading.local()


def _space(name: str, shape: _Ints, dtype: Any) -> Any:
    """This thread's scratch memory of that name: what was in it is of no meaning, and it is used again."""
    wanted = math.prod(shape) * dtype.itemsize
    have = getattr(_memory, name, None)
    if have is None or have.nbytes < wanted:
        raw = np.empty(wanted + 64, np.uint8)
        start = -raw.ctypes.data % 64  # a line of the cache
        have = raw[start : start + wanted]
        setattr(_memory, name, have)
    return np.ndarray(shape, dtype, have)


_Block = tuple[int, int, int, int]  # images and rows, from and to


def _blocks(images: int, rows: int, bytes_of_row: int) -> list[_Block]:
    """All images and rows (of the first spatial axis) in blocks of about BLOCK bytes: whole images, or rows of one."""
    whole = BLOCK // max(1, bytes_of_row * rows)
    if whole >= 1:
        return [(n, min(n + whole, images), 0, rows) for n in range(0, images, whole)]
    some = max(1, BLOCK // bytes_of_row)
    return [(n, n + 1, r, min(r + some, rows)) for n in range(images) for r in range(0, rows, some)]


def _each(blocks: list[_Block], cost: float, work: Callable[[list[_Block]], None]) -> None:
    """Call ``work`` on all blocks, in as many portions as there are threads, if the ``cost`` is worth them."""
    count = min(threads.usable(), len(blocks)) if cost > PARALLEL else 1
    if count < 2:
        work(blocks)
        return
    ends = [i * len(blocks) // count for i in range(count + 1)]
    threads.run([lambda a=a, b=b: work(blocks[a:b]) for a, b in itertools.pairwise(ends)])


# ---------------------------------------------------------------------------------------------------------------------
# Windows.


def _last(x: Any) -> Any:
    """(N, C, *spatial) seen as (N, *spatial, C)."""
    return x.transpose(0, *range(2, x.ndim), 1)


def _first(x: Any) -> Any:
    """(N, *spatial, C) seen as (N, C, *spatial)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


class _Source:
    """Blocks of an array (N, *spatial, C) with the zeros around them that some sweeps look at."""

    def __init__(self, x: Any, sweeps: list[_Sweep]) -> None:
        self.x, self.size, self.sweeps = x, x.shape[1:-1], sweeps
        axes = range(len(self.size))
        self.low = [min(0, *[sweep.low(i) for sweep in sweeps]) for i in axes]
        self.high = [max(n, *[sweep.high(i) for sweep in sweeps]) for i, n in zip(axes, self.size, strict=True)]
        self.bare = x.flags.c_contiguous and not any(self.low) and tuple(self.high) == self.size
        self.cleared: Any = None

    def block(self, block: _Block) -> tuple[Any, int]:
        """The block with its zeros, and which place along the first axis it begins with."""
        n0, n1, r0, r1 = block
        if self.bare:
            return self.x[n0:n1], 0
        low = min([sweep.low(0, r0) for sweep in self.sweeps])
        high = max([sweep.high(0, min(r1, sweep.output[0])) for sweep in self.sweeps])
        if r0 == 0 and all([r1 >= sweep.output[0] for sweep in self.sweeps]):
            low, high = self.low[0], self.high[0]
        lows, highs = [low, *self.low[1:]], [high, *self.high[1:]]
        shape = (n1 - n0, *[b - a for a, b in zip(lows, highs, strict=True)], self.x.shape[-1])
        space = _space("source", shape, self.x.dtype)
        if self.cleared != (shape[1:], low):  # the zeros of the block before are where they are needed
            space.fill(0)
            self.cleared = (shape[1:], low)
        # A block may lie in the zeros alone: from is then no less than to.
        inside = [(max(a, 0), max(a, 0, min(b, n))) for a, b, n in zip(lows, highs, self.size, strict=True)]
        target = tuple([slice(a - at, b - at) for at, (a, b) in zip(lows, inside, strict=True)])
        space[:, *target] = self.x[n0:n1, *[slice(a, b) for a, b in inside]]
        return space, low

    def windows(self, data: Any, first: int, sweep: _Sweep, r0: int, r1: int) -> Any:
        """The windows of rows ``r0`` to ``r1`` as a matrix: one row each, its columns by tap and channel."""
        lows = [first, *([0] * (len(self.size) - 1) if self.bare else self.low[1:])]
        output = (r1 - r0, *sweep.output[1:])
        start = [sweep.low(i, r0 if i == 0 else 0) - low for i, low in enumerate(lows)]
        channels, dtype = data.shape[-1], data.dtype
        places, columns = data.shape[0] * math.prod(output), math.prod(sweep.kernel) * channels
        if math.prod(sweep.kernel) == 1 and data.shape[1:-1] == output:
            return data.reshape(places, columns)
        # Neighbouring taps lie side by side in memory: they move as one item.
        run = sweep.kernel[-1] if sweep.dilation[-1] == 1 else 1
        taps = sweep.kernel[:-1] if run == sweep.kernel[-1] else sweep.kernel
        item = np.dtype((np.void, run * channels * dtype.itemsize))
        steps = data.strides[1:-1]
        strides = (
            data.strides[0],
            *[a * b for a, b in zip(steps, sweep.stride, strict=True)],
            *[a * b for a, b, _ in zip(steps, sweep.dilation, taps, strict=False)],
        )
        offset = sum([a * b for a, b in zip(steps, start, strict=True)])
        flat = data.reshape(-1).view(np.uint8)
        seen = np.ndarray((data.shape[0], *output, *taps), item, flat, offset, strides)
        found = _space("windows", (places, columns), dtype)
        found.reshape(-1).view(item).reshape(seen.shape)[...] = seen
        return found


def _parts(rows: int, each: int) -> int:
    """In how many equal parts ``rows`` of a product, ``each`` of so many multiplications, are best taken."""
    most = SMALL // max(each, 1)
    if most >= 96:
        for count in range(-(-rows // most), rows // 64 + 1):
            if rows % count == 0:
                return count
    return 1


def _product(a: Any, b: Any, out: Any) -> None:
    """a (m, k) times b (k, n) into ``out``, all in plain order."""
    (m, k), n = a.shape, b.shape[1]
    parts = _parts(m, k * n)
    np.matmul(a.reshape(parts, -1, k), b, out=out.reshape(parts, -1, n))


def _transposed_product(a: Any, b: Any) -> Any:
    """a (m, k) transposed times b (m, n)."""
    (m, k), n = a.shape, b.shape[1]
    parts = _parts(m, k * n)
    if parts == 1:
        return np.matmul(a.T, b)
    return np.add.reduce(np.matmul(a.reshape(parts, -1, k).transpose(0, 2, 1), b.reshape(parts, -1, n)), axis=0)


# ---------------------------------------------------------------------------------------------------------------------
# The kernels.


def _is_plain(groups: int, *arrays: Any) -> bool:
    """Whether the kernels here are meant for such arrays; the others are left to the definition."""
    return groups == 1 and all([x.size > 0 and x.dtype == arrays[0].dtype for x in arrays])


def _add_line(rows: Any, values: Any, count: int) -> None:
    """Add ``values`` (n,) to each of the rows (m, n), ``count`` rows at a time: NumPy adds long runs faster."""
    lines = rows.reshape(-1, count * values.size)
    np.add(lines, np.tile(values, count), out=lines)


def _columns(weight: Any) -> Any:
    """Weights (O, C, *kernel) as a matrix: a row for each tap and channel."""
    return np.ascontiguousarray(np.moveaxis(weight, (0, 1), (-1, -2))).reshape(-1, weight.shape[0])


def conv(x: Any, weight: Any, bias: Any = None, *, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int) -> Any:
    if not _is_plain(groups, x, weight, *([] if bias is None else [bias])):
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv(namespace_of(x), x, weight, bias, **how)
    output = generic._output(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    sweep = _forward_sweep(weight.shape[2:], stride, padding, dilation, output)
    y = np.empty((x.shape[0], *output, weight.shape[0]), x.dtype)
    matrix, data = _columns(weight), _last(x)

    def work(blocks: list[_Block]) -> None:
        source = _Source(data, [sweep])
        for block in blocks:
            n0, n1, r0, r1 = block
            windows = source.windows(*source.block(block), sweep, r0, r1)
            part = y[n0:n1, r0:r1].reshape(windows.shape[0], -1)
            _product(windows, matrix, part)
            if bias is not None:
                _add_line(part, bias, output[-1] if len(output) > 1 else r1 - r0)

    rows = math.prod(output[1:]) * matrix.shape[0] * x.itemsize
    _each(_blocks(x.shape[0], output[0], rows), y.size * matrix.shape[0], work)
    return _first(y)


def conv_backward_input(
    g: Any, weight: Any, *, size: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int
) -> Any:
    if not _is_plain(groups, g, weight):
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward_input(namespace_of(g), g, weight, size=size, **how)
    data, channels = _last(g), weight.shape[1]
    phases = _backward_sweeps(size, weight.shape[2:], stride, padding, dilation)
    jobs: list[tuple[_Sweep, Any, Any]] = []
    dx = np.empty((g.shape[0], *size, channels), g.dtype)
    for phase, taps, sweep in phases:
        places = dx[:, *[slice(r, None, s) for r, s in zip(phase, stride, strict=True)]]
        if sweep is None:
            places[...] = 0
        else:
            backwards = weight[:, :, *taps][:, :, *[slice(None, None, -1)] * len(size)]
            jobs.append((sweep, _columns(backwards.swapaxes(0, 1)), places))
    sweeps = [sweep for sweep, _, _ in jobs]
    if not jobs:
        return _first(dx)

    def work(blocks: list[_Block]) -> None:
        source = _Source(data, sweeps)
        for block in blocks:
            n0, n1, r0, r1 = block
            held = source.block(block)
            for sweep, matrix, places in jobs:
                end = min(r1, sweep.output[0])
                if end <= r0:
                    continue
                target = places[n0:n1, r0:end]
                windows = source.windows(*held, sweep, r0, end)
                if target.flags.c_contiguous:
                    _product(windows, matrix, target.reshape(-1, channels))
                else:
                    part = _space("part", (windows.shape[0], channels), g.dtype)
                    _product(windows, matrix, part)
                    target[...] = part.reshape(target.shape)

    rows = max([math.prod(sweep.output[1:]) * matrix.shape[0] for sweep, matrix, _ in jobs]) * g.itemsize
    cost = sum([math.prod(sweep.output) * matrix.size for sweep, matrix, _ in jobs]) * g.shape[0]
    _each(_blocks(g.shape[0], max([sweep.output[0] for sweep in sweeps]), rows), cost, work)
    return _first(dx)


def conv_backward_weight(
    g: Any, x: Any, *, size: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int
) -> Any:
    if not _is_plain(groups, g, x):
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward_weight(namespace_of(g), g, x, size=size, **how)
    output, channels, out = g.shape[2:], x.shape[1], g.shape[1]
    sweep = _forward_sweep(size, stride, padding, dilation, output)
    data, given = _last(x), _last(g)
    plain = given.flags.c_contiguous
    sums: dict[_Block, Any] = {}

    def work(blocks: list[_Block]) -> None:
        source, total = _Source(data, [sweep]), None
        for block in blocks:
            n0, n1, r0, r1 = block
            windows = source.windows(*source.block(block), sweep, r0, r1)
            part = given[n0:n1, r0:r1]
            if not plain:
                held = _space("given", part.shape, g.dtype)
                held[...] = part
                part = held
            found = _transposed_product(part.reshape(-1, out), windows)
            total = found if total is None else np.add(total, found, out=total)
        sums[blocks[0]] = total

    columns = math.prod(size) * channels
    _each(_blocks(x.shape[0], output[0], math.prod(output[1:]) * columns * x.itemsize), g.size * columns, work)
    total = np.add.reduce([sums[first] for first in sorted(sums)], axis=0)  # in the same order every time
    weights = total.reshape(out, *size, channels)
    return np.ascontiguousarray(weights.transpose(0, len(size) + 1, *range(1, len(size) + 1)))
