"""Windows of an array as rows of matrices, in blocks that fit the cache, by one thread or several."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from portanet import threads
from portanet.kernels.numpy._memory import space_for

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

BLOCK = 1 << 20  # bytes of windows at a time: half of a common second-level cache
SMALL = 1_000_000  # up to so many multiplications OpenBLAS multiplies in place, without packing its arguments first
FEWEST, ANY = 96, 1 << 62  # rows of a product: where fewer than that were small enough, it is not cut
PORTION = 18e6  # multiplications, half a millisecond of them, that are worth a thread
FREE_PORTION = 7e6  # where next to nothing is done with the interpreter at hand
FEW = 4  # portions of so few; then of ever more, up to MOST
MOST = 32
RUN = 1024  # numbers: of runs shorter than this several are taken together where they lie side by side
SHORT = 64  # bytes: channels of a place that are less than that are few
LONGER = 1.1  # by how much lines of places may be longer than those of windows


@dataclass(frozen=True)
class Sweep:
    """Windows over an array: at place i and tap t they see i stride + t dilation + origin; outside of it there is 0."""

    kernel: Ints
    stride: Ints
    dilation: Ints
    origin: Ints
    output: Ints

    def low(self, axis: int, first: int = 0) -> int:
        """The first place along ``axis`` that windows from the ``first`` on see."""
        return first * self.stride[axis] + self.origin[axis]

    def high(self, axis: int, stop: int | None = None) -> int:
        """The place after the last that windows before the ``stop``-th see."""
        last = (self.output[axis] if stop is None else stop) - 1
        return last * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + self.origin[axis] + 1


def forward_sweep(kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, output: Ints) -> Sweep:
    return Sweep(kernel, stride, dilation, tuple([-before for before, _ in padding]), output)


@functools.lru_cache(maxsize=1024)
def backward_sweeps(
    size: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints
) -> list[tuple[Ints, tuple[slice, ...], Sweep | None]]:
    """For each remainder r by the stride: r, the taps that reach the places r, r + stride, ..., and how to get there.

    The sweep is over the cotangent of the result; None where no tap reaches those places.
    """
    found: list[tuple[Ints, tuple[slice, ...], Sweep | None]] = []
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
            found.append((phase, chosen, Sweep(counts, (1,) * len(phase), steps, origins, output)))
        else:
            found.append((phase, (), None))
    return found


def seen_alone(x: Any, sweep: Sweep) -> tuple[Any, Sweep]:
    """Where there is one tap: the places of x (N, C, *size) that it sees, and a sweep of stride 1 over these."""
    if math.prod(sweep.kernel) > 1 or max(sweep.stride) == 1 or any(sweep.origin):
        return x, sweep
    places = [slice(0, (n - 1) * s + 1, s) for n, s in zip(sweep.output, sweep.stride, strict=True)]
    return x[:, :, *places], replace(sweep, stride=(1,) * len(places))


# ---------------------------------------------------------------------------------------------------------------------
# Blocks and threads.

Block = tuple[int, int, int, int]  # images and rows, from and to


def portions_for(cost: float, free: bool = False) -> int:
    """In how many portions to do work of that many multiplications: as few threads or many, sums come out the same.

    ``free``: whether the work is calls so long that threads hardly ever wait for the interpreter.
    """
    if not free:
        return max(1, min(MOST, int(cost // PORTION)))
    return even_portions(cost, FREE_PORTION)


def even_portions(cost: float, portion: float) -> int:
    """The same where so many multiplications are worth a thread: few portions, then ever larger ones."""
    portions = int(cost // portion)
    return max(1, min(MOST, portions, max(FEW, portions // FEW)))


def blocks_of(images: int, rows: int, bytes_of_row: int, portions: int) -> list[list[Block]]:
    """All images and rows (of the first spatial axis) in blocks of about BLOCK bytes, by portion.

    Blocks are whole images, of a portion all as many but for the last, or rows of one.
    """
    whole = BLOCK // max(1, bytes_of_row * rows)
    if whole >= 1:
        found = []
        for first, stop in threads.cut(images, portions):
            count = -(-(stop - first) // min(whole, stop - first))
            step = -(-(stop - first) // count)  # even
            found.append([(n, min(n + step, stop), 0, rows) for n in range(first, stop, step)])
        return found
    some = max(1, BLOCK // bytes_of_row)
    blocks = [(n, n + 1, r, min(r + some, rows)) for n in range(images) for r in range(0, rows, some)]
    return [blocks[first:stop] for first, stop in threads.cut(len(blocks), portions)]


def each(portions: list[list[Block]], work: Callable[[list[Block]], None], tasks: int = MOST) -> None:
    """Call ``work`` on the blocks of each portion, by as many threads as there may be; at the end of `threads.together`.

    A thread takes one portion after the other, or several at once where there are to be fewer ``tasks``. A single one
    is not spread by BLAS either, whose sums would then be others.
    """
    if len(portions) == 1:
        with threads.one_for_blas():
            work(portions[0])
        return

    def some(first: int, stop: int) -> None:
        for blocks in portions[first:stop]:
            work(blocks)

    threads.spread_later(some, len(portions), tasks)


def images_of(portions: list[list[Block]]) -> slice:
    """The images of neighbouring portions of whole images."""
    return slice(portions[0][0][0], portions[-1][-1][1])


def cuts_of(portions: list[list[Block]]) -> Any:
    """Of each portion of whole images with which it begins and ends, and how many are a block: as loops take it."""
    return np.asarray([(blocks[0][0], blocks[-1][1], blocks[0][1] - blocks[0][0]) for blocks in portions], np.int64)


def summed(sums: dict[Block, Any]) -> Any:
    """The sum of what each portion found, by its first block: in the same order every time."""
    return np.add.reduce([sums[first] for first in sorted(sums)], axis=0)


# ---------------------------------------------------------------------------------------------------------------------
# Windows.


def channels_last(x: Any) -> Any:
    """(N, C, *spatial) seen as (N, *spatial, C)."""
    return x.transpose(0, *range(2, x.ndim), 1)


def channels_first(x: Any) -> Any:
    """(N, *spatial, C) seen as (N, C, *spatial)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def in_columns(weight: Any) -> Any:
    """Weights (O, C, *kernel) as (*kernel, C, O) in memory."""
    return np.ascontiguousarray(weight.transpose(*range(2, weight.ndim), 1, 0))


Done = dict[Any, Any]  # which zeros lie ready, by the windows that they belong to


class Windows:
    """The windows of a sweep over blocks of an array (N, *spatial, C), as rows of matrices: by tap, then by channel.

    It knows the shapes alone, and is made once for each. ``done`` is what one thread's run over blocks remembers.
    """

    def __init__(self, size: Ints, channels: int, sweep: Sweep) -> None:
        self.size, self.channels, self.sweep = size, channels, sweep
        self.low = [min(0, sweep.low(i)) for i in range(len(size))]
        self.high = [max(n, sweep.high(i)) for i, n in enumerate(size)]
        self.bare = not any(self.low) and tuple(self.high) == size
        self.width = sweep.output[-1]  # how many rows there are for each line of places

    @property
    def row(self) -> int:
        """How many numbers the windows of one row of one image are."""
        return math.prod(self.sweep.output[1:]) * math.prod(self.sweep.kernel) * self.channels

    def columns(self, weight: Any) -> Any:
        """Weights (O, C, *kernel) as a matrix with a row for each column of the windows."""
        return in_columns(weight).reshape(-1, weight.shape[0])

    def weights(self, columns: Any) -> Any:
        """A matrix (O, columns of the windows) as weights (O, C, *kernel)."""
        weights = columns.reshape(columns.shape[0], *self.sweep.kernel, -1)
        return np.ascontiguousarray(weights.transpose(0, weights.ndim - 1, *range(1, weights.ndim - 1)))

    def take(self, x: Any, block: Block, done: Done) -> list[tuple[Any, slice]]:
        """Matrices, and to which of the block's places, counted in lines of ``width``, their rows belong."""
        data, first = self._padded(x, block, done)
        n0, n1, r0, r1 = block
        sweep, output = self.sweep, (r1 - r0, *self.sweep.output[1:])
        channels, dtype = data.shape[-1], data.dtype
        places, columns = (n1 - n0) * math.prod(output), math.prod(sweep.kernel) * channels
        if math.prod(sweep.kernel) == 1 and data.shape[1:-1] == output:
            return [(data.reshape(places, columns), slice(None))]
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
        start = [sweep.low(0, r0) - first, *[sweep.low(i) - self.low[i] for i in range(1, len(output))]]
        offset = sum([a * b for a, b in zip(steps, start, strict=True)])
        flat = data.reshape(-1).view(np.uint8)
        seen = np.ndarray((n1 - n0, *output, *taps), item, flat, offset, strides)
        found = space_for("windows", (places, columns), dtype)
        found.reshape(-1).view(item).reshape(seen.shape)[...] = seen
        return [(found, slice(None))]

    def by_loop(self, loop: Callable[..., None], x: Any, g: Any, portions: list[list[Block]]) -> Any:
        """For each portion of the images the sums of g (N, *windows, O), without gaps, times the windows of x (N, *size, C)."""
        length, out = math.prod(self.sweep.kernel) * self.channels, g.shape[-1]
        totals = np.empty((len(portions), out, length), x.dtype)
        rows = rows_of_product(out * length)
        loop(in_lines(x), g.reshape(len(g), -1, out), totals, cuts_of(portions), *self._numbers, rows)
        return totals

    @functools.cached_property
    def _numbers(self) -> list[Any]:
        """Where things lie among the zeros of an image, as the loop takes it: numbers from its beginning."""
        sweep, channels = self.sweep, self.channels
        height, pitch = self.high[0] - self.low[0], (self.high[1] - self.low[1]) * channels
        run = sweep.kernel[1] if sweep.dilation[1] == 1 else 1  # neighbouring taps that lie side by side
        lines = [sweep.low(0) - self.low[0] + t * sweep.dilation[0] for t in range(sweep.kernel[0])]
        places = [sweep.low(1) - self.low[1] + t * sweep.dilation[1] for t in range(0, sweep.kernel[1], run)]
        taps = [line * pitch + place * channels for line in lines for place in places]
        first = -self.low[0] * pitch - self.low[1] * channels
        steps = (pitch, sweep.stride[0] * pitch, sweep.stride[1] * channels, run * channels)
        rest = (height * pitch, sweep.output[1])
        return [np.asarray(taps, np.int64), np.asarray((first, *steps, *rest), np.int64)]

    def _padded(self, x: Any, block: Block, done: Done) -> tuple[Any, int]:
        """The block with the zeros around it, and which place along the first axis it begins with."""
        n0, n1, r0, r1 = block
        if self.bare and x.flags.c_contiguous:
            return x[n0:n1], 0
        low, high = self.low[0], self.high[0]
        if r1 - r0 < self.sweep.output[0]:
            low, high = self.sweep.low(0, r0), self.sweep.high(0, r1)
        lows, highs = [low, *self.low[1:]], [high, *self.high[1:]]
        shape = (n1 - n0, *[b - a for a, b in zip(lows, highs, strict=True)], self.channels)
        space = space_for("source", shape, x.dtype)
        if done.get(self) != (shape[1:], low):  # else the zeros of the block before are where they are needed
            space.fill(0)
            done[self] = (shape[1:], low)
        # A block may lie in the zeros alone: from is then no less than to.
        inside = [(max(a, 0), max(a, 0, min(b, n))) for a, b, n in zip(lows, highs, self.size, strict=True)]
        target = tuple([slice(a - at, b - at) for at, (a, b) in zip(lows, inside, strict=True)])
        space[:, *target] = x[n0:n1, *[slice(a, b) for a, b in inside]]
        return space, low


class Lines(Windows):
    """The same windows where the stride along the last axis is 1, with less copying.

    What the taps along all other axes see is put side by side, place by place. Windows are then runs of this memory
    that begin at every place and overlap; those that begin at every k-th place, k taps being along the last axis, do
    not, and are a matrix as they lie there. The price is rows for places between one line and the next, which see
    parts of both: they are computed in vain. Zeros at the end of a line serve as those before the next.
    """

    def __init__(self, size: Ints, channels: int, sweep: Sweep) -> None:
        super().__init__(size, channels, sweep)
        self.taps = sweep.kernel[-1]
        needed = sweep.output[-1] + self.taps - 1
        before, after = max(0, -sweep.origin[-1]), max(0, sweep.high(-1) - self.size[-1])
        self.width = max(sweep.output[-1], needed - min(before, after))
        self.inside = (before, min(self.width, self.size[-1] - sweep.origin[-1]))
        self.others = list(itertools.product(*[range(k) for k in sweep.kernel[:-1]]))
        self.whole = self._moves(0, sweep.output[0])

    @property
    def row(self) -> int:
        places = math.prod(self.sweep.output[1:-1]) * self.width
        return places * len(self.others) * self.channels * 3 // 2  # what comes out takes its share of the cache too

    def columns(self, weight: Any) -> Any:
        return super().columns(np.moveaxis(weight, -1, 2))

    def weights(self, columns: Any) -> Any:
        *others, last = self.sweep.kernel
        weights = columns.reshape(columns.shape[0], last, *others, -1)
        ndim = weights.ndim
        return np.ascontiguousarray(weights.transpose(0, ndim - 1, *range(2, ndim - 1), 1))

    def _moves(self, r0: int, r1: int) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """For the taps along the other axes: which places of rows r0 to r1 see the array there, and where in it."""
        sweep, found = self.sweep, []
        for tap in self.others:
            to, of = [], []
            for axis, t in enumerate(tap):
                a, b = (r0, r1) if axis == 0 else (0, sweep.output[axis])
                step, at = sweep.stride[axis], t * sweep.dilation[axis] + sweep.origin[axis]
                first = max(a, -(at // step))
                stop = max(first, min(b, (self.size[axis] - 1 - at) // step + 1))
                to.append(slice(first - a, stop - a))
                of.append(slice(first * step + at, (stop - 1) * step + at + 1, step) if stop > first else slice(0, 0))
            found.append((tuple(to), tuple(of)))
        return found

    def take(self, x: Any, block: Block, done: Done) -> list[tuple[Any, slice]]:
        n0, n1, r0, r1 = block
        sweep, taps = self.sweep, self.taps
        lines = (n1 - n0, r1 - r0, *sweep.output[1:-1])
        places, each = math.prod(lines) * self.width, len(self.others) * self.channels
        space = space_for("windows", ((places + taps) * each,), x.dtype)
        if done.get(self) != (lines[1:], r0):
            space.fill(0)
            done[self] = (lines[1:], r0)
        target = space[: places * each].reshape(*lines, self.width, len(self.others), self.channels)
        if x.strides[-1] == x.itemsize:  # channels side by side: a place moves as one item
            item = np.dtype((np.void, self.channels * x.itemsize))
            x, target = x.view(item)[..., 0], target.view(item)[..., 0]
        begin, end = self.inside
        if end > begin:
            at = sweep.origin[-1]
            moves = self.whole if r1 - r0 == sweep.output[0] else self._moves(r0, r1)
            for i, (to, of) in enumerate(moves):
                target[:, *to, begin:end, i] = x[n0:n1, *of, begin + at : end + at]
        found = []
        for residue in range(min(taps, places)):
            count = -(-(places - residue) // taps)
            run = space[residue * each : (residue + count * taps) * each]
            found.append((run.reshape(count, taps * each), slice(residue, places, taps)))
        return found


@functools.lru_cache(maxsize=1024)
def windows_of(size: Ints, channels: int, sweep: Sweep) -> Windows:
    """The windows of a sweep in the form that costs least."""
    if len(sweep.kernel) > 1 and sweep.stride[-1] == sweep.dilation[-1] == 1:
        lines = Lines(size, channels, sweep)
        if lines.width <= sweep.output[-1] * LONGER:
            return lines
    return Windows(size, channels, sweep)


class Shifts:
    """How an array (N, *size, C) is to be laid out for a sweep of stride 1, so that each tap sees it as it lies, shifted.

    Between the ends of two lines, planes and images stand as many zeros as the windows need on one side: those before
    a line serve as those after the one above.
    """

    def __init__(self, size: Ints, sweep: Sweep) -> None:
        self.kernel = sweep.kernel
        pitch, target, inside = [], [], []
        for i, n in enumerate(size):
            before, after = max(0, -sweep.low(i)), max(0, sweep.high(i) - n)
            whole = sweep.high(i) - sweep.low(i)
            pitch.append(max(sweep.output[i], whole - min(before, after)))
            end = max(before, min(pitch[i], n - sweep.low(i)))
            target.append(slice(before, end))
            inside.append(slice(before + sweep.low(i), end + sweep.low(i)))
        self.pitch, self.target, self.inside = tuple(pitch), tuple(target), tuple(inside)
        self.windows = tuple([slice(0, n) for n in sweep.output])
        self.places = math.prod(pitch)
        self.of_axis = [math.prod(pitch[i + 1 :]) for i in range(len(pitch))]
        self.steps = [n * d for n, d in zip(self.of_axis, sweep.dilation, strict=True)]  # from a tap to the next
        self.furthest = sum([(k - 1) * step for k, step in zip(sweep.kernel, self.steps, strict=True)])
        axes = [range(0, k * step, step) for k, step in zip(sweep.kernel, self.steps, strict=True)]
        self.taps = np.asarray([sum(tap) for tap in itertools.product(*axes)], np.int64)  # where each looks

    def by_loop(self, loop: Callable[..., None], x: Any, g: Any, portions: list[list[Block]], rows: int) -> Any:
        """For each portion of the images the sums of g (N, *windows, O) times what each tap sees of x (N, *size, C)."""
        channels, out = x.shape[-1], g.shape[-1]
        totals = np.empty((len(portions), *self.kernel, out, channels), x.dtype)
        first = self.target[0].start * self.pitch[1] + self.target[1].start
        loop(
            in_lines(x[:, *self.inside]),
            in_lines(g),
            totals.reshape(len(portions), -1, out * channels),
            cuts_of(portions),
            self.taps * channels,
            np.asarray((first, self.pitch[1], self.places, rows, out, channels, self.furthest), np.int64),
        )
        return totals


@functools.lru_cache(maxsize=1024)
def shifts_of(size: Ints, sweep: Sweep) -> Shifts:
    return Shifts(size, sweep)


def in_lines(x: Any) -> Any:
    """(N, lines, places, C) with the places of a line as one run where they lie side by side."""
    if x.strides[2] == x.shape[3] * x.itemsize and x.strides[3] == x.itemsize:
        return x.reshape(*x.shape[:2], 1, x.shape[2] * x.shape[3])
    return x


def rows_of_product(each: int) -> int:
    """How many rows, each of which costs so many multiplications, are to go into one product."""
    most = SMALL // max(1, each)
    return most if most >= FEWEST else ANY


def product(a: Any, b: Any, out: Any) -> None:
    """a (m, k) times b (k, n) into ``out``, in parts that are small enough where that pays."""
    (m, k), n = a.shape, b.shape[1]
    rows = rows_of_product(k * n)
    whole = m - m % rows
    if whole == 0:
        np.matmul(a, b, out=out)
        return
    np.matmul(a[:whole].reshape(-1, rows, k), b, out=out[:whole].reshape(-1, rows, n))
    if whole < m:
        np.matmul(a[whole:], b, out=out[whole:])


def transposed_product(a: Any, b: Any) -> Any:
    """a (m, k) transposed times b (m, n)."""
    (m, k), n = a.shape, b.shape[1]
    rows = rows_of_product(k * n)
    whole = m - m % rows
    if whole == 0:
        return np.matmul(a.T, b)
    products = np.matmul(a[:whole].reshape(-1, rows, k).transpose(0, 2, 1), b[:whole].reshape(-1, rows, n))
    total = np.add.reduce(products, axis=0)
    return total if whole == m else np.add(total, np.matmul(a[whole:].T, b[whole:]), out=total)
