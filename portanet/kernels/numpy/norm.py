"""Normalisation for NumPy: block by block, so that what several passes read is still in the cache.

A block of channels that come last in memory is seen as rows of many places at once: NumPy is quick where runs are long.
Sums are taken of blocks in their own precision and put together in float64.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from portanet.kernels.generic import norm as generic
from portanet.kernels.numpy._memory import space_for
from portanet.kernels.numpy._numba import PORTION as SHARE
from portanet.kernels.numpy._numba import Compiled, Routine
from portanet.kernels.numpy._windows import RUN, channels_last
from portanet.library import namespace_of

__all__ = ["batch_norm", "batch_norm_backward", "channel_moments"]

BLOCK = 1 << 18  # bytes of one array at a time
PORTION = 1 << 20  # numbers that are worth a thread of ours
MOST = 8  # portions

_moments, _scaled, _products, _slopes = [
    Routine("_norm_loops", name) for name in ("moments", "scaled", "products", "slopes")
]


class _Channels:
    """An array (N, C, ...) as a stack of blocks: how to cut it, sum over it, and spread numbers of channels over it."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, last: bool) -> None:
        self.count = shape[1]
        size = math.prod(shape)
        self.places = size // self.count
        self.last = last
        if last:
            most = max(1, RUN // self.count)
            self.run = next(n for n in range(min(most, self.places), 0, -1) if self.places % n == 0)
            self.rows, self.length = self.places // self.run, self.run * self.count
        else:
            self.run = 1
            self.rows, self.length = shape[0], size // shape[0]
        self.step = step = max(1, BLOCK // (self.length * dtype.itemsize))
        self.portions = max(1, min(MOST, size // PORTION))
        self.shares = max(1, size // SHARE)
        self.cuts = [(i, min(i + step, self.rows)) for i in range(0, self.rows, step)]
        self.counts = np.asarray([[(b - a) * (self.length // self.count)] for a, b in self.cuts], np.float64)
        self.dtype = dtype

    def view(self, x: Any) -> Any:
        """The whole array as it is cut along its first axis: (rows, run x C) or (N, C, places)."""
        if self.last:
            return channels_last(x).reshape(self.rows, self.length)
        return x.reshape(self.rows, self.count, -1)

    def spread(self, values: Any) -> Any:
        """Numbers of channels (C,) so that they broadcast to a block."""
        values = values.astype(self.dtype, copy=False)
        return np.concatenate([values] * self.run) if self.last else values.reshape(-1, 1)

    def sums(self, block: Any) -> Any:
        """The sum over a block, for each channel, in float64."""
        if self.last:
            return self._joined(np.add.reduce(block, axis=0))
        return np.add.reduce(np.add.reduce(block, axis=2), axis=0, dtype=np.float64)

    def products(self, a: Any, b: Any) -> Any:
        """The sum of the products over two blocks, for each channel, in float64."""
        space = np.multiply(a, b, out=space_for("products", a.shape, a.dtype))
        return self.sums(space)

    def _joined(self, line: Any) -> Any:
        return np.add.reduce(line.reshape(self.run, self.count), axis=0, dtype=np.float64)

    def loop(self, routine: Routine, *arrays: Any) -> Compiled | None:
        """A compiled loop, where there is one for such arrays."""
        return routine.at_hand(arrays[0].size, *arrays) if self.last and self.length > 1 else None

    def by_blocks(self, loop: Compiled, *arrays: Any) -> tuple[Any, Any]:
        """What a loop finds for each block and channel, two numbers; threads take blocks."""
        found, step = np.empty((2, len(self.cuts), self.count)), self.step

        def cut(a: int, b: int) -> list[Any]:
            return [*[x[a * step : b * step] for x in arrays], *found[:, a:b]]

        loop.over(len(self.cuts), self.shares, cut, step, ours=self.portions)
        return found[0], found[1]

    def by_rows(self, loop: Compiled, arrays: list[Any], *lines: Any) -> None:
        """A loop over rows of arrays, the last of which is for the result, with lines of numbers for all of them."""
        loop.over(self.rows, self.shares, lambda a, b: [x[a:b] for x in arrays], *lines, ours=self.portions)

    def alike(self, g: Any, x: Any) -> Any:
        """``g`` in memory as ``x`` is."""
        if g.strides == x.strides:
            return g
        y = np.empty_like(x, dtype=g.dtype)
        y[...] = g
        return y


@functools.lru_cache(maxsize=256)
def _of_shape(shape: tuple[int, ...], dtype: Any, last: bool) -> _Channels:
    return _Channels(shape, dtype, last)


def _channels(x: Any) -> _Channels:
    last = channels_last(x).flags.c_contiguous or (x.flags.c_contiguous and math.prod(x.shape[2:]) == 1)
    return _of_shape(x.shape, x.dtype, last)


def _is_plain(x: Any, *others: Any) -> bool:
    """Whether the kernels here are meant for such arrays; the others are left to the definition."""
    arrays = [x, *[other for other in others if other is not None]]
    if x.size == 0 or x.dtype.kind != "f" or any([other.dtype != x.dtype for other in arrays]):
        return False
    return x.flags.c_contiguous or channels_last(x).flags.c_contiguous


def channel_moments(x: Any) -> tuple[Any, Any]:
    if not _is_plain(x):
        return generic.channel_moments(namespace_of(x), x)
    how = _channels(x)
    data = how.view(x)
    loop = how.loop(_moments, x)
    found = how.by_blocks(loop, data) if loop else tuple(zip(*[_moments_of(how, data[a:b]) for a, b in how.cuts]))
    own, about = [np.asarray(numbers) for numbers in found]
    counts = how.counts
    mean = np.add.reduce(own * counts, axis=0) / how.places
    away = own - mean  # Chan, Golub and LeVeque 1979: the squares about a common mean
    squares = np.add.reduce(about + away * away * counts, axis=0)
    return mean.astype(x.dtype), (squares / how.places).astype(x.dtype)


def _moments_of(how: _Channels, block: Any) -> tuple[Any, Any]:
    """Of a block: the mean of each channel, and the sum of squares about it."""
    own = how.sums(block) / (block.size // how.count)
    space = np.subtract(block, how.spread(own), out=space_for("centred", block.shape, block.dtype))
    return own, how.products(space, space)


def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *, eps: float, own: bool) -> Any:
    if not _is_plain(x, weight, bias, mean, variance):
        return generic.batch_norm(namespace_of(x), x, weight, bias, mean, variance, eps=eps, own=own)
    scale = 1 / np.sqrt(variance.astype(np.float64) + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    how, y = _channels(x), np.empty_like(x)
    data, target = how.view(x), how.view(y)
    scales, shifts = how.spread(scale), how.spread(shift)
    loop = how.loop(_scaled, x)
    if loop is not None:
        how.by_rows(loop, [data, target], scales, shifts)
        return y
    for a, b in how.cuts:
        block = np.multiply(data[a:b], scales, out=target[a:b])
        np.add(block, shifts, out=block)
    return y


def batch_norm_backward(
    g: Any, x: Any, weight: Any, mean: Any, variance: Any, *, eps: float, own: bool
) -> tuple[Any, Any, Any]:
    if not _is_plain(x, g, weight, mean, variance):
        xp = namespace_of(x)
        return generic.batch_norm_backward(xp, g, x, weight, mean, variance, eps=eps, own=own)
    how = _channels(x)
    dx = np.empty_like(x)
    data, given, target = how.view(x), how.view(how.alike(g, x)), how.view(dx)
    loop = how.loop(_products, x)
    found = (
        how.by_blocks(loop, given, data)
        if loop
        else tuple(zip(*[(how.sums(given[a:b]), how.products(data[a:b], given[a:b])) for a, b in how.cuts]))
    )
    of_blocks, both = [np.asarray(numbers) for numbers in found]
    of_bias = np.add.reduce(of_blocks, axis=0)
    # Of g (x - mean); the mean is taken off in float64, where nothing that x still holds is lost.
    of_weight = np.add.reduce(both - mean * of_blocks, axis=0)
    scale = 1 / np.sqrt(variance.astype(np.float64) + eps)
    of_weight *= scale
    # dx = scale weight (g - of_bias / n - z of_weight / n) with z = (x - mean) scale, as factors of g and x
    factor = scale if weight is None else scale * weight
    factors = how.spread(factor)
    slope = -factor * scale * of_weight / how.places
    slopes, rest = how.spread(slope), how.spread(-factor * of_bias / how.places - slope * mean)
    loop = how.loop(_slopes, x) if own else None
    if loop is not None:
        how.by_rows(loop, [given, data, target], factors, slopes, rest)
        return dx, of_weight.astype(x.dtype), of_bias.astype(x.dtype)
    for a, b in how.cuts:
        block = np.multiply(given[a:b], factors, out=target[a:b])
        if own:
            space = np.multiply(data[a:b], slopes, out=space_for("centred", block.shape, x.dtype))
            np.add(space, rest, out=space)
            np.add(block, space, out=block)
    return dx, of_weight.astype(x.dtype), of_bias.astype(x.dtype)
