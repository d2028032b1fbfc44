"""Layer normalisation in blocks of rows that stay in the cache; sums along the rows are products with a vector.

What lies between the products is NumPy's calls or, to the same bits, loops that Numba compiles; see `_layer_norm_loops`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from portanet.kernels.generic.layer_norm import layer_norm as defined
from portanet.kernels.generic.layer_norm import layer_norm_backward as defined_backward
from portanet.kernels.numpy._loops import loop_of
from portanet.kernels.numpy._numba import Compiled, Routine
from portanet.library import namespace_of

_BLOCK = 1 << 15  # numbers
_PORTION = 1 << 17  # numbers that are worth a thread, where the loops are compiled
_forward_loops, _backward_loops = [Routine("_layer_norm_loops", name, "fd") for name in ("forward", "backward")]


def _compiled(loops: Routine, x: Any, *others: Any) -> Compiled | None:
    """``loops`` as functions of portions, arrays, and rows in a block; None where NumPy's calls must do."""
    types = x.dtype.char
    if not all([one is None or (one.dtype == x.dtype and one.flags.carray) for one in (x, *others)]):
        return None
    own = [loop_of(function, f"{types}{types}->{types}") for function in (np.matmul, np.vecdot)]
    found = None if None in own else loops.at_hand(x.size, x)
    return None if found is None else found.having(*own)


def _blocks(rows: int, width: int) -> list[slice]:
    """All rows in stretches that stay in the cache."""
    step = max(1, _BLOCK // width)
    return [slice(first, first + step) for first in range(0, rows, step)]


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
    mean_of = np.full(width, 1 / width, x.dtype)
    run = None if weight is None and bias is not None else _compiled(_forward_loops, x, weight, bias)
    if run is not None:
        flat = [None if one is None else one.reshape(width) for one in (weight, bias)]
        run.over(
            -(-len(data) // most),
            x.size // _PORTION,
            lambda i, j: (data[i * most : j * most], target[i * most : j * most]),
            *flat,
            mean_of,
            x.dtype.type(eps),
            most,
        )
        return y
    weights, biases = _tiled(weight, width, most), _tiled(bias, width, most)

    for rows in _blocks(data.shape[0], width):
        centred, scale = _centred(data[rows], mean_of, eps)
        block = np.multiply(centred, scale[:, None], out=target[rows])
        if weights is not None:
            np.multiply(block, weights[: len(block)], out=block)
        if biases is not None:
            np.add(block, biases[: len(block)], out=block)
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
    weighted_mean_of = mean_of if weight is None else weight.reshape(width) * mean_of
    ones = np.ones(most, x.dtype)
    of_weight, of_bias = np.zeros((2, width), x.dtype)
    run = _compiled(_backward_loops, x, g, weight)
    if run is not None:
        sums = np.empty((2, -(-len(data) // most), width), x.dtype)
        flat = None if weight is None else weight.reshape(width)

        def cut(i: int, j: int) -> list[Any]:
            return [*[x[i * most : j * most] for x in (given, data, target)], *sums[:, i:j]]

        run.over(sums.shape[1], x.size // _PORTION, cut, flat, mean_of, weighted_mean_of, ones, x.dtype.type(eps), most)
        for total, parts in zip((of_weight, of_bias), sums, strict=True):
            for part in parts:
                total += part
        return gx, of_weight.reshape(shape), of_bias.reshape(shape)
    weights = _tiled(weight, width, most)
    for rows in _blocks(data.shape[0], width):
        centred, scale = _centred(data[rows], mean_of, eps)
        here, block = given[rows], target[rows]
        product = np.multiply(here, centred)
        of_weight += np.matmul(scale, product)
        of_bias += np.matmul(ones[: len(here)], here)
        # dx = scale (g w - mean(g w) - z mean(g w z)) with z = scale centred
        level, slope = np.matmul(here, weighted_mean_of), np.matmul(product, weighted_mean_of)
        np.multiply(slope, scale, out=slope)
        np.multiply(slope, scale, out=slope)
        np.multiply(centred, slope[:, None], out=centred)
        np.add(centred, level[:, None], out=centred)
        start = here if weights is None else np.multiply(here, weights[: len(here)], out=block)
        np.subtract(start, centred, out=block)
        np.multiply(block, scale[:, None], out=block)
    return gx, of_weight.reshape(shape), of_bias.reshape(shape)
