"""Convolutions of few channels, with stride 1: what a tap sees of a plane is copied as one long run.

The way back to x adds up, as such runs, what each tap gave.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.kernels.numpy._memory import space_for
from portanet.kernels.numpy._numba import Compiled, Products, products_are_at_hand
from portanet.kernels.numpy._windows import (
    SHORT,
    Block,
    Done,
    Ints,
    Sweep,
    blocks_of,
    channels_first,
    channels_last,
    cuts_of,
    each,
    even_portions,
    images_of,
    portions_for,
    summed,
)

LIGHT = 2 * SHORT  # bytes: windows made of shorter runs of memory are taken as `Planes` where that is a compiled loop
ROOM = 1 << 20  # bytes of an image's windows, which one product takes, that stay close to the processor
PORTION = 3_500_000  # multiplications, a seventh of a millisecond of them, that are worth a thread in a compiled loop


def is_thin(channels: int, kernel: Ints, output: Ints, stride: Ints, dtype: Any) -> bool:
    """Whether neighbouring taps are so short a run of memory that `Planes` is the better form."""
    narrow = max(stride) == 1 and kernel[-1] * channels * dtype.itemsize < SHORT
    return narrow or is_light(channels, kernel, output, stride, dtype)


def is_light(channels: int, kernel: Ints, output: Ints, stride: Ints, dtype: Any) -> bool:
    """Whether it is by compiled loops alone, and then for the way back to x as well: NumPy would take longer so.

    Before they are compiled the form is the same, for it decides about the bits.
    """
    place = channels * dtype.itemsize
    few = max(stride) == 1 and place < SHORT and kernel[-1] * place < LIGHT
    light = few and math.prod(output) * math.prod(kernel) * place < ROOM
    return light and len(kernel) == 2 and dtype.char == "f" and products_are_at_hand()


def as_left(g: Any) -> Any:
    """The cotangent (N, O, ...) with the channels last in memory unless they are few: as `conv` leaves its result."""
    return g if g.shape[1] * g.itemsize < SHORT else channels_first(np.ascontiguousarray(channels_last(g)))


class Planes:
    """The windows of a sweep with stride 1 over arrays (N, C, *size) of few channels: by channel, tap, place.

    What a tap sees in a plane is one long run of memory if a line's end and the next line's beginning are seen too.
    So the places lie in lines that are as long as those of the padded array, and only ``inside`` them are windows.
    """

    def __init__(self, channels: int, size: Ints, sweep: Sweep) -> None:
        self.channels, self.kernel = channels, sweep.kernel
        self.size = tuple([sweep.high(i) - sweep.low(i) for i in range(len(sweep.kernel))])
        self.lines = (sweep.output[0], *self.size[1:])
        self.inside = tuple([slice(0, n) for n in sweep.output])
        self.plane, self.places = math.prod(self.size), math.prod(self.lines)
        self.columns = channels * math.prod(sweep.kernel)
        self.of_axis = [math.prod(self.size[i + 1 :]) for i in range(len(self.size))]
        self.steps = [n * d for n, d in zip(self.of_axis, sweep.dilation, strict=True)]  # from a tap to the next
        to, of = [], []
        for n, m, low in zip(self.size, size, sweep.origin, strict=True):
            a, b = max(0, low), min(m, low + n)
            to.append(slice(a - low, max(a, b) - low))
            of.append(slice(a, max(a, b)))
        self.to, self.of = tuple(to), tuple(of)  # where in the planes the array lies, and which part of it
        self.whole = all([s.stop - s.start == n for s, n in zip(of, size, strict=True)])

    def blocks(self, images: int, dtype: Any, portions: int) -> list[list[Block]]:
        return blocks_of(images, 1, self.columns * self.places * dtype.itemsize, portions)

    def source(self, images: int, dtype: Any) -> Any:
        """Memory for the planes of so many images, and a line more, for lines may be left late."""
        return space_for("source", (images * self.channels * self.plane + self.plane // self.size[0],), dtype)

    def windows(self, images: int, dtype: Any) -> Any:
        return space_for("windows", (images, self.columns, self.places), dtype)

    def within(self, source: Any, images: int) -> Any:
        """Where among the zeros the array lies: (n, C, ...)."""
        planes = source[: images * self.channels * self.plane].reshape(images, self.channels, *self.size)
        return planes[:, :, *self.to]

    def seen(self, source: Any, images: int) -> Any:
        """What the taps see there: (n, C, *kernel, places)."""
        item, area = source.itemsize, self.channels * self.plane
        strides = [n * item for n in (area, self.plane, *self.steps, 1)]
        return np.ndarray((images, self.channels, *self.kernel, self.places), source.dtype, source, 0, strides)

    def take(self, x: Any, done: Done) -> Any:
        """The windows of some images: (n, C x taps, places)."""
        images = x.shape[0]
        source, found = self.source(images, x.dtype), self.windows(images, x.dtype)
        if self not in done:
            source.fill(0)
            done[self] = True
        self.within(source, images)[...] = x[:, :, *self.of]
        seen = self.seen(source, images)
        found.reshape(seen.shape)[...] = seen
        return found

    def fold(self, found: Any, x: Any) -> None:
        """What the windows of some images hold, added up where the taps see it, into x."""
        images = x.shape[0]
        source = self.source(images, x.dtype)
        source.fill(0)
        seen = self.seen(source, images)
        given = found.reshape(seen.shape)
        for tap in np.ndindex(self.kernel):
            at = seen[:, :, *tap]
            np.add(at, given[:, :, *tap], out=at)
        x[:, :, *self.of] = self.within(source, images)

    @functools.cached_property
    def taps(self) -> Any:
        """Where in an image's planes each column looks."""
        shifts = [sum([t * step for t, step in zip(tap, self.steps, strict=True)]) for tap in np.ndindex(self.kernel)]
        return np.asarray([c * self.plane + shift for c in range(self.channels) for shift in shifts], np.int64)

    @functools.cached_property
    def begins(self) -> Any:
        """Where an array begins in a plane, and from one plane and line to the next: numbers."""
        first = self.to[0].start * self.of_axis[0] + self.to[1].start
        return np.asarray((first, self.plane, self.of_axis[0]), np.int64)

    def loop(self, of: Products, cost: float, out: int, *arrays: Any) -> Compiled | None:
        """The compiled loop, where there is one and NumPy has no other function, for vectors, for its products."""
        plain = len(self.size) == 2 and min(out, self.columns, self.places) > 1
        return of.at_hand(cost, *arrays) if plain else None


@functools.lru_cache(maxsize=1024)
def planes_of(channels: int, size: Ints, sweep: Sweep) -> Planes:
    return Planes(channels, size, sweep)


class Lines:
    """What windows make, or their cotangent, in lines of places, by ``out`` channels that lie first or ``last``."""

    def __init__(self, planes: Planes, out: int, last: bool) -> None:
        self.planes, self.out, self.last = planes, out, last

    def empty(self, images: int, dtype: Any) -> Any:
        """(N, O, *windows) for what comes out."""
        output = [s.stop for s in self.planes.inside]
        if self.last:
            return channels_first(np.empty((images, *output, self.out), dtype))
        return np.empty((images, self.out, *output), dtype)

    def space(self, images: int, dtype: Any) -> Any:
        """Memory for the places as matrices: (n, places, O) or, channels first, (n, O, places)."""
        places, out = self.planes.places, self.out
        return space_for("lines", (images, *((places, out) if self.last else (out, places))), dtype)

    def inside(self, lines: Any) -> Any:
        """Those of windows in such matrices: (n, O, *windows)."""
        if self.last:
            return channels_first(lines.reshape(-1, *self.planes.lines, self.out)[:, *self.planes.inside])
        return lines.reshape(-1, self.out, *self.planes.lines)[:, :, *self.planes.inside]

    @property
    def sizes(self) -> Any:
        """What compiled loops need of memory: the planes of an image and a line more, a row of its windows, and the
        shape of its places, (groups, lines, numbers of a line)."""
        planes, groups = self.planes, 1 if self.last else self.out
        lines, width = planes.lines[0], planes.places // planes.lines[0]
        source = planes.channels * planes.plane + planes.plane // planes.size[0]
        return np.asarray((source, planes.places, groups, lines, width * self.out if self.last else width), np.int64)

    def flat(self, x: Any) -> Any:
        """(N, O, *windows), which lies so, as they see it: (N, groups, lines, numbers of a line)."""
        return channels_last(x).reshape(x.shape[0], 1, x.shape[2], -1) if self.last else x

    def bias(self, bias: Any) -> Any:
        """The channels' numbers as a line of each group needs them."""
        width = self.planes.inside[-1].stop
        return np.tile(bias, width)[None] if self.last else np.repeat(bias[:, None], width, axis=1)


_conv, _weights, _fold = [Products("_thin_loops", name) for name in ("conv", "weights", "fold")]


def conv(x: Any, weight: Any, bias: Any, sweep: Sweep) -> Any:
    """The convolution of few channels; so few that come out, too, are left in planes."""
    out, dtype = weight.shape[0], x.dtype
    planes = planes_of(x.shape[1], x.shape[2:], sweep)
    form = Lines(planes, out, out * x.itemsize >= SHORT)
    y = form.empty(x.shape[0], dtype)
    matrix = np.ascontiguousarray(weight.reshape(out, -1))
    cost = y.size * matrix.shape[1]
    loop = planes.loop(_conv, cost, out, x)

    def work(blocks: list[Block]) -> None:
        done: Done = {}
        for n0, n1, _, _ in blocks:
            windows, lines = planes.take(x[n0:n1], done), form.space(n1 - n0, dtype)
            if form.last:
                np.matmul(windows.transpose(0, 2, 1), matrix.T, out=lines)
            else:
                np.matmul(matrix, windows, out=lines)
            if bias is None:
                y[n0:n1] = form.inside(lines)
            else:
                np.add(form.inside(lines), bias.reshape(-1, *[1] * (x.ndim - 2)), out=y[n0:n1])

    def by_loop(run: Any, portions: list[list[Block]]) -> None:
        part, added = images_of(portions), None if bias is None else form.bias(bias)
        given, where = x[part, :, *planes.of], (form.sizes, planes.taps, planes.begins)
        run(form.last, given, matrix, added, form.flat(y[part]), *where)

    _spread(planes, x.shape[0], dtype, cost, work, loop, by_loop)
    return y


def backward_weight(g: Any, x: Any, sweep: Sweep) -> Callable[[], Any]:
    """What gives the weights' cotangent once the threads are done."""
    g, out, dtype, sums = as_left(g), g.shape[1], g.dtype, {}
    planes = planes_of(x.shape[1], x.shape[2:], sweep)
    form = Lines(planes, out, channels_last(g).flags.c_contiguous)
    cost = g.size * planes.columns
    loop = planes.loop(_weights, cost, out, g, x)

    def work(blocks: list[Block]) -> None:
        done: Done = {}
        total = 0.0
        for n0, n1, _, _ in blocks:
            windows, lines = planes.take(x[n0:n1], done), _laid(form, g[n0:n1], n0 == blocks[0][0])
            if form.last:
                part = np.matmul(windows, lines)
            else:
                part = np.matmul(lines, windows.transpose(0, 2, 1))
            total = total + np.add.reduce(part, axis=0)
        sums[blocks[0]] = total

    def by_loop(run: Any, portions: list[list[Block]]) -> None:
        totals = np.empty((len(portions), out * planes.columns), dtype)
        where = (form.sizes, planes.taps, planes.begins)
        run(form.last, x[:, :, *planes.of], form.flat(g), totals, cuts_of(portions), *where)
        for blocks, total in zip(portions, totals, strict=True):
            sums[blocks[0]] = total.reshape((-1, out) if form.last else (out, -1))

    def finish() -> Any:
        found = summed(sums)
        return np.ascontiguousarray(found.T if form.last else found).reshape(out, x.shape[1], *sweep.kernel)

    _spread(planes, x.shape[0], dtype, cost, work, loop, by_loop)
    return finish


def backward_input(g: Any, weight: Any, size: Ints, sweep: Sweep) -> Any:
    g, (out, channels), dtype = as_left(g), weight.shape[:2], g.dtype
    planes = planes_of(channels, size, sweep)
    form = Lines(planes, out, channels_last(g).flags.c_contiguous)
    dx = (np.empty if planes.whole else np.zeros)((g.shape[0], channels, *size), dtype)
    matrix = np.ascontiguousarray(weight.reshape(out, -1))
    cost = g.size * planes.columns
    loop = planes.loop(_fold, cost, out, g)

    def work(blocks: list[Block]) -> None:
        for n0, n1, _, _ in blocks:
            lines, found = _laid(form, g[n0:n1], n0 == blocks[0][0]), planes.windows(n1 - n0, dtype)
            np.matmul(matrix.T, lines.transpose(0, 2, 1) if form.last else lines, out=found)
            planes.fold(found, dx[n0:n1])

    def by_loop(run: Any, portions: list[list[Block]]) -> None:
        part, where = images_of(portions), (form.sizes, planes.taps, planes.begins)
        run(form.last, form.flat(g[part]), matrix, dx[part, :, *planes.of], *where)

    _spread(planes, g.shape[0], dtype, cost, work, loop, by_loop)
    return dx


def _laid(form: Lines, g: Any, anew: bool) -> Any:
    """The cotangent in lines of places; what belongs to no window is 0, and adds nothing."""
    lines = form.space(g.shape[0], g.dtype)
    if anew:
        lines.fill(0)
    form.inside(lines)[...] = g
    return lines


def _spread(
    planes: Planes, images: int, dtype: Any, cost: float, work: Any, loop: Compiled | None, by_loop: Any
) -> None:
    """Do it by threads, cut for the loop; without one they would wait for the interpreter, so several parts are one."""
    portions = planes.blocks(images, dtype, even_portions(cost, PORTION))
    if loop is None:
        each(portions, work, portions_for(cost))
    elif loop.is_shared and len(portions) > 1:
        by_loop(functools.partial(loop.shared, len(portions)), portions)
    else:
        each(portions, lambda blocks: by_loop(loop.alone, [blocks]), len(portions))


def is_worth_threads(cost: float) -> bool:
    """Whether two threads are of use for so many multiplications."""
    return cost >= 2 * PORTION and products_are_at_hand()
