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
from portanet.kernels.numpy._windows import RUN, channels_last
from portanet.library import namespace_of

__all__ = ["batch_norm", "batch_norm_backward", "channel_moments"]

BLOCK = 1 << 18  # bytes of one array at a time


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
        step = max(1, BLOCK // (self.length * dtype.itemsize))
        self.cuts = [(i, min(i + step, self.rows)) for i in range(0, self.rows, step)]
        self.dtype = dtype
        self.ones = np.ones(step, dtype)

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
        if self.last:  # BLAS reads memory faster than a reduction does
            return self._joined(np.matmul(self.ones[: block.shape[0]], block))
        return np.add.reduce(np.add.reduce(block, axis=2), axis=0, dtype=np.float64)

    def products(self, a: Any, b: Any) -> Any:
        """The sum of the products over two blocks, for each channel, in float64."""
        if self.last:
            return self._joined(np.einsum("ij,ij->j", a, b))
        return np.add.reduce(np.einsum("ijk,ijk->ij", a, b), axis=0, dtype=np.float64)

    def _joined(self, line: Any) -> Any:
        return np.add.reduce(line.reshape(self.run, self.count), axis=0, dtype=np.float64)

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
    total, mean, squares = 0, np.zeros(how.count), np.zeros(how.count)
    for a, b in how.cuts:
        block = data[a:b]
        count = block.size // how.count
        own = how.sums(block) / count
        space = np.subtract(block, how.spread(own), out=space_for("centred", block.shape, x.dtype))
        step = own - mean  # Chan, Golub and LeVeque 1979: the squares about a common mean
        mean = mean + step * (count / (total + count))
        squares = squares + how.products(space, space) + step * step * (total * count / (total + count))
        total += count
    return mean.astype(x.dtype), (squares / total).astype(x.dtype)


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
    of_weight, of_bias = np.zeros((2, how.count))
    for a, b in how.cuts:
        of_block = how.sums(given[a:b])
        of_bias += of_block
        # Of g (x - mean); the mean is taken off in float64, where nothing that x still holds is lost.
        of_weight += how.products(data[a:b], given[a:b]) - mean * of_block
    scale = 1 / np.sqrt(variance.astype(np.float64) + eps)
    of_weight *= scale
    # dx = scale weight (g - of_bias / n - z of_weight / n) with z = (x - mean) scale, as factors of g and x
    factor = scale if weight is None else scale * weight
    factors = how.spread(factor)
    slope = -factor * scale * of_weight / how.places
    slopes, rest = how.spread(slope), how.spread(-factor * of_bias / how.places - slope * mean)
    for a, b in how.cuts:
        block = np.multiply(given[a:b], factors, out=target[a:b])
        if own:
            space = np.multiply(data[a:b], slopes, out=space_for("centred", block.shape, x.dtype))
            np.add(space, rest, out=space)
            np.add(block, space, out=block)
    return dx, of_weight.astype(x.dtype), of_bias.astype(x.dtype)
