"""Layer normalisation in blocks of rows that stay in the cache; sums along the rows are products with a vector."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import threads
from portanet.kernels.generic.layer_norm import layer_norm as defined
from portanet.kernels.generic.layer_norm import layer_norm_backward as defined_backward
from portanet.library import namespace_of

_BLOCK = 1 << 15  # numbers
_PARALLEL = 1 << 18  # numbers from which on a second thread pays


def _in_blocks(work: Callable[[int, int, int], None], rows: int, width: int) -> int:
    """Call ``work(part, first, last)`` for all blocks of rows; the parts run side by side. Returns how many there are."""
    parts = min(threads.usable(), rows) if rows * width >= _PARALLEL else 1
    step = max(1, _BLOCK // width)

    def run(part: int, begin: int, end: int) -> None:
        for first in range(begin, end, step):
            work(part, first, min(first + step, end))

    bounds = [rows * i // parts for i in range(parts + 1)]
    tasks = [functools.partial(run, i, *pair) for i, pair in enumerate(itertools.pairwise(bounds))]
    if parts < 2:
        tasks[0]()
    else:
        threads.run(tasks)
    return parts


def _centred(x: Any, mean_of: Any, eps: float) -> tuple[Any, Any]:
    """Rows without their mean, and 1 / sqrt(variance + eps) of each."""
    centred = np.subtract(x, np.matmul(x, mean_of)[:, None])
    scale = np.vecdot(centred, centred)
    np.divide(scale, x.shape[1], out=scale)
    np.add(scale, eps, out=scale)
    np.sqrt(scale, out=scale)
    np.reciprocal(scale, out=scale)
    return centred, scale


def _tiled(parameter: Any, width: int, rows: int) -> Any:
    """A parameter under itself as often as a block has rows: NumPy is quicker where nothing is repeated."""
    return None if parameter is None else np.tile(parameter.reshape(width), (rows, 1))


def layer_norm(x: Any, weight: Any = None, bias: Any = None, *, axes: int, eps: float) -> Any:
    if x.size == 0:
        return defined(namespace_of(x), x, weight, bias, axes=axes, eps=eps)
    width = math.prod(x.shape[x.ndim - axes :])
    data, y = x.reshape(-1, width), np.empty(x.shape, x.dtype)
    target = y.reshape(-1, width)
    most = min(data.shape[0], max(1, _BLOCK // width))
    weights, biases = _tiled(weight, width, most), _tiled(bias, width, most)
    mean_of = np.full(width, 1 / width, x.dtype)

    def work(part: int, first: int, last: int) -> None:
        centred, scale = _centred(data[first:last], mean_of, eps)
        block = np.multiply(centred, scale[:, None], out=target[first:last])
        if weights is not None:
            np.multiply(block, weights[: last - first], out=block)
        if biases is not None:
            np.add(block, biases[: last - first], out=block)

    _in_blocks(work, data.shape[0], width)
    return y


def layer_norm_backward(g: Any, x: Any, weight: Any = None, *, axes: int, eps: float) -> tuple[Any, Any, Any]:
    if x.size == 0:
        return defined_backward(namespace_of(x), g, x, weight, axes=axes, eps=eps)
    shape = x.shape[x.ndim - axes :]
    width = math.prod(shape)
    data, given, gx = x.reshape(-1, width), g.reshape(-1, width), np.empty(x.shape, x.dtype)
    target = gx.reshape(-1, width)
    mean_of = np.full(width, 1 / width, x.dtype)
    most = min(data.shape[0], max(1, _BLOCK // width))
    weights = _tiled(weight, width, most)
    weighted_mean_of = mean_of if weight is None else weight.reshape(width) * mean_of
    ones = np.ones(most, x.dtype)
    sums = np.zeros((threads.usable() + 1, 2, width), x.dtype)  # those of weight and bias, for each part

    def work(part: int, first: int, last: int) -> None:
        centred, scale = _centred(data[first:last], mean_of, eps)
        here, block = given[first:last], target[first:last]
        product = np.multiply(here, centred)
        sums[part, 0] += np.matmul(scale, product)
        sums[part, 1] += np.matmul(ones[: last - first], here)
        # dx = scale (g w - mean(g w) - z mean(g w z)) with z = scale centred
        level, slope = np.matmul(here, weighted_mean_of), np.matmul(product, weighted_mean_of)
        np.multiply(slope, scale, out=slope)
        np.multiply(slope, scale, out=slope)
        np.multiply(centred, slope[:, None], out=centred)
        np.add(centred, level[:, None], out=centred)
        start = here if weights is None else np.multiply(here, weights[: last - first], out=block)
        np.subtract(start, centred, out=block)
        np.multiply(block, scale[:, None], out=block)

    parts = _in_blocks(work, data.shape[0], width)
    of_weight, of_bias = np.add.reduce(sums[:parts], axis=0)
    return gx, of_weight.reshape(shape), of_bias.reshape(shape)
