"""Layer normalisation as loops that Numba compiles: what lies between the products takes one pass over each block.

The products are NumPy's own loops on the blocks of `layer_norm`, and the rest is computed in its order: the bits are the
same. The arguments of a product are set before each, for NumPy's loops write to them. This module imports Numba; it is
imported when a loop is compiled.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

numba: Any = importlib.import_module("numba")


def _forward(
    product: Any, squares: Any, x: Any, y: Any, weight: Any, bias: Any, mean_of: Any, eps: Any, block: int,
    first: int, last: int,
) -> None:  # fmt: skip
    """Rows ``first`` to ``last`` of ``y``, (rows, width), from those of ``x``; ``weight`` and ``bias`` may be None."""
    width, size = x.shape[1], x.itemsize
    centred = np.empty((block, width), x.dtype)
    scale = np.empty(block, x.dtype)
    one, count = x.dtype.type(1), x.dtype.type(width)
    at, each = np.empty(3, np.int64), np.array([0, 0, 0, width * size, size, size, size, size, size])
    rows_of = np.array([width * size, width * size, size, size, size])
    for start in range(first, last, block):
        rows = min(block, last - start)
        at[0], at[1], at[2] = x.ctypes.data + start * width * size, mean_of.ctypes.data, scale.ctypes.data
        product(at.ctypes, np.array([1, rows, width, 1]).ctypes, each.ctypes, 0)
        for i in range(rows):
            mean = scale[i]
            for j in range(width):
                centred[i, j] = x[start + i, j] - mean
        at[0], at[1], at[2] = centred.ctypes.data, centred.ctypes.data, scale.ctypes.data
        squares(at.ctypes, np.array([rows, width]).ctypes, rows_of.ctypes, 0)
        for i in range(rows):
            factor = one / np.sqrt(scale[i] / count + eps)
            if weight is None:
                for j in range(width):
                    y[start + i, j] = centred[i, j] * factor
            elif bias is None:
                for j in range(width):
                    y[start + i, j] = centred[i, j] * factor * weight[j]
            else:
                for j in range(width):
                    y[start + i, j] = centred[i, j] * factor * weight[j] + bias[j]


def _backward(
    product: Any, squares: Any, g: Any, x: Any, gx: Any, of_weight: Any, of_bias: Any, weight: Any, mean_of: Any,
    weighted: Any, ones: Any, eps: Any, block: int, first: int, last: int,
) -> None:  # fmt: skip
    """Rows ``first`` to ``last`` of ``gx``, and of each block a row of ``of_weight`` and of ``of_bias``."""
    width, size = x.shape[1], x.itemsize
    centred, times = np.empty((block, width), x.dtype), np.empty((block, width), x.dtype)
    scale, level, slope = np.empty(block, x.dtype), np.empty(block, x.dtype), np.empty(block, x.dtype)
    one, count = x.dtype.type(1), x.dtype.type(width)
    at, each = np.empty(3, np.int64), np.array([0, 0, 0, width * size, size, size, size, size, size])
    over = np.array([0, 0, 0, size, size, width * size, size, size, size])
    rows_of = np.array([width * size, width * size, size, size, size])
    for start in range(first, last, block):
        rows = min(block, last - start)
        along, across = np.array([1, rows, width, 1]), np.array([1, 1, rows, width])
        here = g.ctypes.data + start * width * size
        at[0], at[1], at[2] = x.ctypes.data + start * width * size, mean_of.ctypes.data, scale.ctypes.data
        product(at.ctypes, along.ctypes, each.ctypes, 0)
        for i in range(rows):
            mean = scale[i]
            for j in range(width):
                centred[i, j] = x[start + i, j] - mean
            for j in range(width):
                times[i, j] = g[start + i, j] * centred[i, j]
        at[0], at[1], at[2] = centred.ctypes.data, centred.ctypes.data, scale.ctypes.data
        squares(at.ctypes, np.array([rows, width]).ctypes, rows_of.ctypes, 0)
        for i in range(rows):
            scale[i] = one / np.sqrt(scale[i] / count + eps)
        line = start // block * width * size
        at[0], at[1], at[2] = scale.ctypes.data, times.ctypes.data, of_weight.ctypes.data + line
        product(at.ctypes, across.ctypes, over.ctypes, 0)
        at[0], at[1], at[2] = ones.ctypes.data, here, of_bias.ctypes.data + line
        product(at.ctypes, across.ctypes, over.ctypes, 0)
        at[0], at[1], at[2] = here, weighted.ctypes.data, level.ctypes.data
        product(at.ctypes, along.ctypes, each.ctypes, 0)
        at[0], at[1], at[2] = times.ctypes.data, weighted.ctypes.data, slope.ctypes.data
        product(at.ctypes, along.ctypes, each.ctypes, 0)
        for i in range(rows):
            factor, shift = scale[i], level[i]
            turn = slope[i] * factor * factor
            if weight is None:
                for j in range(width):
                    gx[start + i, j] = (g[start + i, j] - (centred[i, j] * turn + shift)) * factor
            else:
                for j in range(width):
                    gx[start + i, j] = (g[start + i, j] * weight[j] - (centred[i, j] * turn + shift)) * factor


forward_rows, backward_rows = [numba.njit(nogil=True, error_model="numpy")(one) for one in (_forward, _backward)]


def forward(
    portion: int, portions: int, product: Any, squares: Any, x: Any, y: Any, weight: Any, bias: Any, mean_of: Any,
    eps: Any, block: int,
) -> None:  # fmt: skip
    """One of so many portions of the blocks of rows."""
    rows = x.shape[0]
    blocks = -(-rows // block)
    first, last = portion * blocks // portions * block, min(rows, (portion + 1) * blocks // portions * block)
    forward_rows(product, squares, x, y, weight, bias, mean_of, eps, block, first, last)


def backward(
    portion: int, portions: int, product: Any, squares: Any, g: Any, x: Any, gx: Any, of_weight: Any, of_bias: Any,
    weight: Any, mean_of: Any, weighted: Any, ones: Any, eps: Any, block: int,
) -> None:  # fmt: skip
    """One of so many portions of the blocks of rows."""
    rows = x.shape[0]
    blocks = -(-rows // block)
    first, last = portion * blocks // portions * block, min(rows, (portion + 1) * blocks // portions * block)
    backward_rows(
        product, squares, g, x, gx, of_weight, of_bias, weight, mean_of, weighted, ones, eps, block, first, last
    )
