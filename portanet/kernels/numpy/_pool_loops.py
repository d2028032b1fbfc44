"""The way back of a maximum over windows of 2 x 2 that tile, as loops that Numba compiles: what `pooling` does.

This module is imported when they are compiled.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

numba: Any = importlib.import_module("numba")


def _shares(g: Any, y: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """What each of a window's values, the lines a b and c d, gets of g: all goes to the first line that is not less than
    y, and there to the first value that is not less than the other. Products, as NumPy has them: of infinity, too."""
    below = (a < y) & (b < y)
    of_line, of_next = g * np.float32(not below), g * np.float32(below)
    later, next_later = a < b, c < d
    return (
        of_line * np.float32(not later),
        of_line * np.float32(later),
        of_next * np.float32(not next_later),
        of_next * np.float32(next_later),
    )


shares = numba.njit(nogil=True, inline="always")(_shares)


def planes(portion: int, portions: int, g: Any, y: Any, x: Any, dx: Any) -> None:
    """A portion of the first axis of (N, lines, places)."""
    for image in range(portion * y.shape[0] // portions, (portion + 1) * y.shape[0] // portions):
        for i in range(y.shape[1]):
            high, low, to, below = x[image, 2 * i], x[image, 2 * i + 1], dx[image, 2 * i], dx[image, 2 * i + 1]
            of, most = g[image, i], y[image, i]
            for j in range(y.shape[2]):
                k = 2 * j
                to[k], to[k + 1], below[k], below[k + 1] = shares(
                    of[j], most[j], high[k], high[k + 1], low[k], low[k + 1]
                )


def channels(portion: int, portions: int, g: Any, y: Any, x: Any, dx: Any) -> None:
    """A portion of the first axis of (N, lines, places, channels)."""
    for image in range(portion * y.shape[0] // portions, (portion + 1) * y.shape[0] // portions):
        for i in range(y.shape[1]):
            high, low, to, below = x[image, 2 * i], x[image, 2 * i + 1], dx[image, 2 * i], dx[image, 2 * i + 1]
            of, most = g[image, i], y[image, i]
            for j in range(y.shape[2]):
                k = 2 * j
                for c in range(y.shape[3]):
                    to[k, c], to[k + 1, c], below[k, c], below[k + 1, c] = shares(
                        of[j, c], most[j, c], high[k, c], high[k + 1, c], low[k, c], low[k + 1, c]
                    )
