"""The windows of a sweep times weights, without copies of the windows: products of runs of memory, added up.

The taps along the last axis are one run of the padded array for each place. Those of neighbouring places overlap, but
those of every k-th place, k taps being along the axis, do not, and are a matrix as they lie there. What such a matrix
makes with the weights of one tap along the other axes is a share of the result. One call of NumPy's takes all of these
products, which are small enough for OpenBLAS to multiply them without packing its arguments first; so threads hardly
ever wait for the interpreter.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.kernels.numpy._memory import space_for
from portanet.kernels.numpy._numba import Compiled, Products
from portanet.kernels.numpy._windows import SMALL, Block, Done, Ints, Sweep, in_columns, in_lines, shifts_of

HEAVY = 1 << 15  # numbers: weights of one product that stay close to the processor
LEAST = 4  # places that are worth a product
LEAST_CHANNELS = 16  # of both arrays


class Runs:
    """Which products those are for arrays (N, *size, C) and ``out`` channels of the result."""

    def __init__(self, size: Ints, channels: int, out: int, sweep: Sweep) -> None:
        self.size, self.channels, self.out, self.sweep = size, channels, out, sweep
        self.layout = shifts_of(size, sweep)
        self.others, stride = sweep.kernel[:-1], sweep.stride
        *outer, lines, _ = sweep.output
        self.pitch = self.layout.pitch[-1] // stride[-1]  # places from one line to the next
        self.residues = -(-sweep.kernel[-1] // stride[-1])
        merged = [1]
        if stride[-2] == stride[-1] == 1:
            merged = [n for n in range(1, lines + 1) if lines % n == 0 and self._weight_of(n) <= SMALL] or [1]
        self.merged = merged[-1]  # how many lines one product takes
        self.count = self._places(self.merged)
        self.groups = (*outer, lines // self.merged)
        # Places after the last image that are looked at in vain.
        along = [n * s * (m - 1) for n, s, m in zip(self.layout.of_axis, stride, self.groups, strict=False)]
        along[-1] *= self.merged
        furthest = sum(along) + self.layout.furthest + (self.count * self.residues - 1) * stride[-1] + 1
        self.beyond = max(0, furthest - self.layout.places)
        self.length = max(self.count * self.residues, self.merged * self.pitch)  # of a group in the shares

    def _places(self, lines: int) -> int:
        return -(-((lines - 1) * self.pitch + self.sweep.output[-1]) // self.residues)

    def _weight_of(self, lines: int) -> int:
        return self._places(lines) * self.sweep.kernel[-1] * self.channels * self.out

    @property
    def row(self) -> int:
        """How many numbers are at hand for one row of one image."""
        rows = self.sweep.output[0]
        shares = math.prod(self.groups) * self.length * self.out * math.prod(self.others)
        return (self.layout.places * self.channels + shares) // rows

    def columns(self, weight: Any) -> Any:
        """Weights (O, C, *kernel) as matrices: for each tap along the other axes (taps along the last x C, O)."""
        return in_columns(weight).reshape(*self.others, *[1] * (len(self.groups) + 2), -1, self.out)

    def part(self, r0: int, r1: int) -> Runs:
        """The same for some rows alone."""
        sweep = self.sweep
        if r1 - r0 == sweep.output[0]:
            return self
        origin = (sweep.low(0, r0), *sweep.origin[1:])
        part = Sweep(sweep.kernel, sweep.stride, sweep.dilation, origin, (r1 - r0, *sweep.output[1:]))
        return _runs(self.size, self.channels, self.out, part)

    def multiply(self, x: Any, block: Block, columns: Any, bias: Any, y: Any, done: Done) -> None:
        """The results at a block's places into y (N, *places, O)."""
        n0, n1, r0, r1 = block
        this, target = self.part(r0, r1), y[n0:n1, r0:r1]
        this._add(this._shares(x[n0:n1], columns, done), target)
        if bias is not None:
            np.add(target, bias, out=target)

    def _add(self, shares: list[Any], target: Any) -> None:
        shape = (target.shape[0], *self.groups, self.merged, *target.shape[-2:])
        target = target.reshape(shape)  # a view: it parts one axis
        if len(shares) == 1:
            target[...] = shares[0]
            return
        np.add(shares[0], shares[1], out=target)
        for share in shares[2:]:
            np.add(target, share, out=target)

    def _shares(self, x: Any, columns: Any, done: Done) -> list[Any]:
        """What each tap along the other axes gives to the places (n, *groups, lines, places, O)."""
        images, channels, out, dtype = x.shape[0], self.channels, self.out, x.dtype
        layout, sweep, item = self.layout, self.sweep, x.itemsize
        area = layout.places * channels
        space = space_for("source", (images * area + self.beyond * channels,), dtype)
        if done.get("of") is not self or done["images"] < images:  # else the zeros are where they are needed
            space.fill(0)
            done["of"], done["images"] = self, images
        seen = space[: images * area].reshape(images, *layout.pitch, channels)
        seen[:, *layout.target] = x[:, *layout.inside]

        steps = [n * channels * item for n in layout.of_axis]
        along = [step * s for step, s in zip(steps, sweep.stride, strict=True)]
        along[-2] *= self.merged
        taps = [n * channels * item for n in layout.steps[:-1]]
        shape = (*self.others, images, *self.groups, self.residues, self.count, sweep.kernel[-1] * channels)
        strides = (*taps, area * item, *along[:-1], along[-1], along[-1] * self.residues, item)
        windows = np.ndarray(shape, dtype, space, 0, strides)

        held = space_for("lines", (*self.others, images, *self.groups, self.length, out), dtype)
        found = np.ndarray(
            (*shape[:-1], out), dtype, held, 0, (*held.strides[:-2], out * item, out * item * self.residues, item)
        )
        np.matmul(windows, columns, out=found)
        lines = held[..., : self.merged * self.pitch, :] if self.merged > 1 else held[..., : sweep.output[-1], :]
        lines = lines.reshape(-1, images, *self.groups, self.merged, lines.shape[-2] // self.merged, out)
        return list(lines[..., : sweep.output[-1], :])

    def loop(self, cost: float, x: Any) -> Compiled | None:
        """The loop that `by_loop` calls, where there is one."""
        return _multiply.at_hand(cost, x) if self._is_plain() else None

    def _is_plain(self) -> bool:
        return len(self.size) == 2 and self.count > 1 and self.out > 1  # NumPy has another function for vectors

    def by_loop(self, loop: Callable[..., None], x: Any, block: Block, columns: Any, bias: Any, y: Any) -> None:
        """The same as `multiply`."""
        n0, n1, r0, r1 = block
        this = self.part(r0, r1)
        if not this._is_plain():
            return self.multiply(x, block, columns, bias, y, {})
        if bias is not None:
            bias = np.tile(bias, y.shape[2])  # for a line of places; where these lie apart, each takes its beginning
        seen, taps = in_lines(x[n0:n1, *this.layout.inside]), columns.reshape(len(columns), -1, self.out)
        loop(seen, taps, bias, in_lines(y[n0:n1, r0:r1]), *this._numbers)

    @functools.cached_property
    def _numbers(self) -> list[Any]:
        """Where things lie, as the loop takes it."""
        layout, channels, out, along = self.layout, self.channels, self.out, self.sweep.stride
        pitch = layout.pitch[-1] * channels
        places = (layout.target[0].start * pitch + layout.target[1].start * channels, pitch)
        rows = (self.merged, self.residues, self.count, self.pitch * out)
        steps = (
            layout.steps[0] * channels,
            along[0] * self.merged * pitch,
            along[1] * channels,
            along[1] * channels * self.residues,
        )
        sizes = ((layout.places + self.beyond) * channels, *self.groups, self.length * out)
        return [np.asarray(numbers, np.int64) for numbers in (places, rows, steps, sizes)]


_multiply = Products("_conv_loops", "multiply")


@functools.lru_cache(maxsize=1024)
def _runs(size: Ints, channels: int, out: int, sweep: Sweep) -> Runs:
    return Runs(size, channels, out, sweep)


def runs_of(size: Ints, channels: int, out: int, sweep: Sweep) -> Runs | None:
    """The products for a sweep; None where other forms are better."""
    taps = sweep.kernel[-1]
    if len(size) < 2 or (taps > 1 and sweep.dilation[-1] > 1):
        return None
    if taps * channels * out > HEAVY or min(channels, out) < LEAST_CHANNELS:
        return None
    found = _runs(size, channels, out, sweep)
    return found if found.count >= LEAST else None
