"""The modified Bessel functions of order 0 and 1, in the standard alone."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["i0", "i0e", "i1", "i1e"]

_SWITCH = 20.0  # below: the power series, whose terms are all positive; from here on: the asymptotic series


def _scaled(xp: Any, x: Any, order: int) -> tuple[Any, Any, Any]:
    """I(x) for |x| < 20 and exp(-|x|) I(|x|) beyond, by DLMF 10.25.2 and 10.40.1, and which of them holds."""
    size = xp.abs(x)
    large = size >= _SWITCH
    near = xp.where(large, xp.ones_like(x), x)
    quarter = 0.25 * near * near
    series = xp.ones_like(x)
    for k in range(44, 0, -1):  # from inside out: a power of x on its own would overflow float32
        series = 1.0 + series * quarter / float(k * (k + order))
    if order:
        series = 0.5 * near * series
    far = xp.where(large, size, xp.full_like(x, _SWITCH))
    inverse = 0.125 / far
    tail = xp.ones_like(x)
    for k in range(30, 0, -1):
        tail = 1.0 + tail * inverse * (((2 * k - 1) ** 2 - 4 * order * order) / k)
    tail = tail / xp.sqrt(2.0 * math.pi * far)
    tail = xp.where(xp.isnan(x), x, tail)
    return large, series, xp.where(x < 0, -tail, tail) if order else tail


def _plain(xp: Any, x: Any, order: int) -> Any:
    large, series, tail = _scaled(xp, x, order)
    # In two halves, so that the product overflows no sooner than the function.
    half = xp.exp(0.5 * xp.where(large, xp.abs(x), xp.zeros_like(x)))
    return xp.where(large, half * tail * half, series)


def _damped(xp: Any, x: Any, order: int) -> Any:
    large, series, tail = _scaled(xp, x, order)
    return xp.where(large, tail, xp.exp(-xp.where(large, xp.zeros_like(x), xp.abs(x))) * series)


def i0(xp: Any, x: Any) -> Any:
    """The modified Bessel function of order 0."""
    return xp.where(xp.isinf(x), xp.abs(x), _plain(xp, xp.where(xp.isinf(x), xp.zeros_like(x), x), 0))


def i0e(xp: Any, x: Any) -> Any:
    """exp(-|x|) times `i0`."""
    return _damped(xp, x, 0)


def i1(xp: Any, x: Any) -> Any:
    """The modified Bessel function of order 1."""
    return xp.where(xp.isinf(x), x, _plain(xp, xp.where(xp.isinf(x), xp.zeros_like(x), x), 1))


def i1e(xp: Any, x: Any) -> Any:
    """exp(-|x|) times `i1`."""
    return _damped(xp, x, 1)
