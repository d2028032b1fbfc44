"""Activations in blocks that stay in the cache, in place.

Not in threads: calls of a few microseconds each are too short, the threads would wait for the interpreter most of the time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.kernels.generic import nn as generic
from portanet.library import namespace_of

_BLOCK = 1 << 15  # numbers

# Phi(x) = (1 + tanh(u)) / 2 with u = h P(h^2), h = x / 2: P by degree, fitted so that the largest error of Phi over all x
# is least, 2.9e-8, half of what float32 can tell. tanh is what NumPy computes fastest.
_EXACT = (
    1.59576988e00, 2.90664675e-01, -1.04303201e-03, -7.07919819e-03, 2.02996356e-03, -2.70881235e-04, 1.43874119e-05,
)  # fmt: skip
_CUBIC = (2 * math.sqrt(2 / math.pi), 8 * 0.044715 * math.sqrt(2 / math.pi))


def _in_blocks(work: Callable[..., None], *arrays: Any) -> None:
    """Call ``work`` with the same stretch of each of the contiguous arrays, for all stretches."""
    flat = [array.reshape(-1) for array in arrays]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        for first in range(0, flat[0].shape[0], _BLOCK):
            work(*[array[first : first + _BLOCK] for array in flat])


def sigmoid(x: Any) -> Any:
    y = np.empty(x.shape, x.dtype)
    _in_blocks(_sigmoid, np.ascontiguousarray(x), y)
    return y


def _sigmoid(x: Any, y: Any) -> None:
    np.negative(x, out=y)
    np.exp(y, out=y)  # infinite where x is far below 0, and its reciprocal is then right again: 0
    np.add(y, 1, out=y)
    np.reciprocal(y, out=y)


def gelu(x: Any, *, approximate: str) -> Any:
    if x.dtype == np.float16:
        return gelu(x.astype(np.float32), approximate=approximate).astype(np.float16)
    if approximate == "none" and x.dtype != np.float32:
        return generic.gelu(namespace_of(x), x, approximate=approximate)
    y = np.empty(x.shape, x.dtype)
    _in_blocks(functools.partial(_gelu, _EXACT if approximate == "none" else _CUBIC), np.ascontiguousarray(x), y)
    return y


def _gelu(coefficients: tuple[float, ...], x: Any, y: Any) -> None:
    h = np.multiply(x, 0.5)
    square = np.multiply(h, h)
    np.multiply(square, coefficients[-1], out=y)
    for c in coefficients[-2:0:-1]:
        np.add(y, c, out=y)
        np.multiply(y, square, out=y)
    np.add(y, coefficients[0], out=y)
    np.multiply(y, h, out=y)
    np.tanh(y, out=y)
    np.multiply(y, h, out=y)
    np.add(y, h, out=y)


def gelu_backward(g: Any, y: Any, x: Any, *, approximate: str) -> Any:
    if x.dtype == np.float16:
        wide = [array.astype(np.float32) for array in (g, y, x)]
        return gelu_backward(*wide, approximate=approximate).astype(np.float16)
    if approximate == "none" and x.dtype != np.float32:
        return generic.gelu_backward(namespace_of(x), g, y, x, approximate=approximate)
    gx = np.empty(x.shape, x.dtype)
    slope = _slope if approximate == "none" else _cubic_slope
    _in_blocks(slope, *[np.ascontiguousarray(array) for array in (g, y, x)], gx)
    return gx


def _distribution(y: Any, x: Any, out: Any) -> None:
    """Phi(x) = y / x, and 1/2 at 0."""
    np.divide(y, x, out=out)
    zero = np.equal(x, 0)
    if np.logical_or.reduce(zero):
        out[zero] = 0.5


def _slope(g: Any, y: Any, x: Any, gx: Any) -> None:
    """g (Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi))."""
    _distribution(y, x, gx)
    density = np.multiply(x, -0.5)
    np.multiply(density, x, out=density)
    np.exp(density, out=density)
    np.multiply(density, x, out=density)
    np.multiply(density, 1 / math.sqrt(2 * math.pi), out=density)
    np.add(gx, density, out=gx)
    np.multiply(gx, g, out=gx)


def _cubic_slope(g: Any, y: Any, x: Any, gx: Any) -> None:
    """g (p + 2 p (1 - p) x u'), where p = y / x = (1 + tanh(u)) / 2."""
    _distribution(y, x, gx)
    rest = np.subtract(1, gx)
    np.multiply(rest, gx, out=rest)
    x = np.clip(x, -10, 10)  # beyond, p is 0 or 1, and 0 times an overflow would be nan
    np.multiply(rest, x, out=rest)
    stretch = np.multiply(x, x)
    np.multiply(stretch, 0.75 * _CUBIC[1], out=stretch)
    np.add(stretch, _CUBIC[0], out=stretch)
    np.multiply(stretch, rest, out=stretch)
    np.add(gx, stretch, out=gx)
    np.multiply(gx, g, out=gx)
