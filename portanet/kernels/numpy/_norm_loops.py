"""Batch norm as loops that Numba compiles: what `norm` does in several passes over a block, in one or two.

Arrays are seen as rows of many places at once, whose channels come last, and cut into blocks of ``step`` rows. Sums over
the rows of a block are taken one row after the other, as NumPy takes them, so they are the same bit by bit.
"""

from __future__ import annotations

from typing import Any


def moments(x: Any, step: int, own: Any, squares: Any, line: Any) -> None:
    """For each block the sum of each channel divided by its places into ``own``, and the sum of squares about that."""
    channels = own.shape[1]
    length = x.shape[1]
    mean = line[1]
    for block in range(own.shape[0]):
        first, stop = block * step, min(block * step + step, x.shape[0])
        places = (stop - first) * (length // channels)
        total = line[0]
        for j in range(length):
            total[j] = x[first, j]
        for i in range(first + 1, stop):
            for j in range(length):
                total[j] += x[i, j]
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
            d = x[first, j] - mean[j]
            total[j] = d * d
        for i in range(first + 1, stop):
            for j in range(length):
                d = x[i, j] - mean[j]
                total[j] += d * d
        squares[block] = 0
        for r in range(0, length, channels):
            for c in range(channels):
                squares[block, c] += total[r + c]


def scaled(x: Any, scales: Any, shifts: Any, y: Any) -> None:
    """y = x scales + shifts, row by row."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] * scales[j] + shifts[j]


def products(g: Any, x: Any, step: int, sums: Any, both: Any, line: Any) -> None:
    """For each block the sum of g for each channel into ``sums``, and that of g x into ``both``."""
    channels = sums.shape[1]
    length = x.shape[1]
    for block in range(sums.shape[0]):
        first, stop = block * step, min(block * step + step, x.shape[0])
        one, other = line[0], line[1]
        for j in range(length):
            one[j] = g[first, j]
            other[j] = x[first, j] * g[first, j]
        for i in range(first + 1, stop):
            for j in range(length):
                one[j] += g[i, j]
                other[j] += x[i, j] * g[i, j]
        sums[block] = 0
        both[block] = 0
        for r in range(0, length, channels):
            for c in range(channels):
                sums[block, c] += one[r + c]
                both[block, c] += other[r + c]


def slopes(g: Any, x: Any, factors: Any, slopes: Any, rest: Any, dx: Any) -> None:
    """dx = g factors + (x slopes + rest), row by row."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = g[i, j] * factors[j] + (x[i, j] * slopes[j] + rest[j])
