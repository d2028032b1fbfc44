"""Batch norm as loops that Numba compiles: what `norm` does in several passes over a block, in one or two.

Arrays are seen as rows of many places at once, whose channels come last, and cut into blocks of ``step`` rows. Sums over
the rows of a block are taken one row after the other, as NumPy takes them, so they are the same bit by bit. Each loop
is for one of so many portions of the blocks, or rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def moments(portion: int, portions: int, x: Any, own: Any, squares: Any, step: int) -> None:
    """For each block the sum of each channel divided by its places into ``own``, and the sum of squares about that."""
    blocks, channels = own.shape
    length = x.shape[1]
    total, mean = np.empty(length, x.dtype), np.empty(length, x.dtype)
    for block in range(portion * blocks // portions, (portion + 1) * blocks // portions):
        rows = x[block * step : block * step + step]
        places = rows.shape[0] * (length // channels)
        for j in range(length):
            total[j] = rows[0, j]
        for i in range(1, rows.shape[0]):
            for j in range(length):
                total[j] += rows[i, j]
        own[block] = 0
        for r in range(0, length, channels):
            for c in range(channels):
                own[block, c] += total[r + c]
        for c in range(channels):
            own[block, c] /= places
        for r in range(0, length, channels):
            for c in range(channels):
                mean[r + c] = own[block, c]
        for j in range(length):
            d = rows[0, j] - mean[j]
            total[j] = d * d
        for i in range(1, rows.shape[0]):
            for j in range(length):
                d = rows[i, j] - mean[j]
                total[j] += d * d
        squares[block] = 0
        for r in range(0, length, channels):
            for c in range(channels):
                squares[block, c] += total[r + c]


def scaled(portion: int, portions: int, xs: Any, ys: Any, scales: Any, shifts: Any) -> None:
    """y = x scales + shifts, row by row."""
    here = slice(portion * xs.shape[0] // portions, (portion + 1) * xs.shape[0] // portions)
    x, y = xs[here], ys[here]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] * scales[j] + shifts[j]


def products(portion: int, portions: int, g: Any, x: Any, sums: Any, both: Any, step: int) -> None:
    """For each block the sum of g for each channel into ``sums``, and that of g x into ``both``."""
    blocks, channels = sums.shape
    length = x.shape[1]
    one, other = np.empty(length, x.dtype), np.empty(length, x.dtype)
    for block in range(portion * blocks // portions, (portion + 1) * blocks // portions):
        rows, given = x[block * step : block * step + step], g[block * step : block * step + step]
        for j in range(length):
            one[j] = given[0, j]
            other[j] = rows[0, j] * given[0, j]
        for i in range(1, rows.shape[0]):
            for j in range(length):
                one[j] += given[i, j]
                other[j] += rows[i, j] * given[i, j]
        sums[block] = 0
        both[block] = 0
        for r in range(0, length, channels):
            for c in range(channels):
                sums[block, c] += one[r + c]
                both[block, c] += other[r + c]


def slopes(portion: int, portions: int, gs: Any, xs: Any, dxs: Any, factors: Any, slopes: Any, rest: Any) -> None:
    """dx = g factors + (x slopes + rest), row by row."""
    here = slice(portion * xs.shape[0] // portions, (portion + 1) * xs.shape[0] // portions)
    g, x, dx = gs[here], xs[here], dxs[here]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = g[i, j] * factors[j] + (x[i, j] * slopes[j] + rest[j])
