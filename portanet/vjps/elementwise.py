"""VJPs of the elementwise functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

LN2 = math.log(2.0)
LN10 = math.log(10.0)


def _is_complex(xp: Any, x: Any) -> bool:
    return bool(xp.isdtype(x.dtype, "complex floating"))


def _zero(xp: Any, g: Any, y: Any, *args: Any) -> Any:
    """Steps (floor, sign, ...) are flat almost everywhere."""
    return xp.zeros_like(g)


def _share(xp: Any, g: Any, y: Any, winner: Any, loser: Any) -> Any:
    """The part of g that goes to one side of a maximum or minimum: all, none, or half at a tie."""
    half = xp.where(winner == loser, 0.5 * xp.ones_like(g), xp.ones_like(g))
    return xp.where(winner == y, g * half, xp.zeros_like(g))


def _pow_base(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    # At b = 0 the power is constant; a ** (b - 1) would be infinite at a = 0.
    if isinstance(b, (int, float, complex)):
        return xp.zeros_like(g) if b == 0 else g * (b * a ** (b - 1))
    flat = b == 0
    b_safe = xp.where(flat, xp.ones_like(b), b)
    return xp.where(flat, xp.zeros_like(g), g * b_safe * a ** (b_safe - 1))


def _pow_exponent(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    # The limit of a**b * log(a) at a = 0 is 0; clean the logarithm's argument, not its result.
    if isinstance(a, (int, float, complex)):
        a = xp.full_like(y, a)
    zero = a == 0
    return xp.where(zero, xp.zeros_like(g), g * y * xp.log(xp.where(zero, xp.ones_like(a), a)))


def _abs(xp: Any, g: Any, y: Any, x: Any) -> Any:
    return g * xp.conj(xp.sign(x)) if _is_complex(xp, x) else g * xp.sign(x)


def _sign(xp: Any, g: Any, y: Any, x: Any) -> Any:
    if not _is_complex(xp, x):
        return xp.zeros_like(g)
    # x / |x|: turning x turns the sign, stretching it does nothing.
    size = xp.abs(x)
    safe = xp.astype(xp.where(size == 0, xp.ones_like(size), size), x.dtype)
    return xp.where(size == 0, xp.zeros_like(g), (g - xp.conj(y) * xp.astype(xp.real(g * y), x.dtype)) / safe)


def _hypot(xp: Any, g: Any, y: Any, a: Any, b: Any, side: int) -> Any:
    zero = y == 0
    return xp.where(zero, xp.zeros_like(g), g * (b if side else a) / xp.where(zero, xp.ones_like(y), y))


def _logaddexp(xp: Any, g: Any, y: Any, a: Any, b: Any, side: int) -> Any:
    # Equal infinities: exp(a - y) would be exp(nan); each side then has half.
    this = b if side else a
    gap = xp.where(xp.isfinite(this) | (this != y), this - y, xp.full_like(y, -LN2))
    return g * xp.exp(gap)


def _atan2(xp: Any, g: Any, y: Any, a: Any, b: Any, side: int) -> Any:
    square = a * a + b * b
    safe = xp.where(square == 0, xp.ones_like(square), square)
    return xp.where(square == 0, xp.zeros_like(g), g * (-a if side else b) / safe)


def _sqrt(xp: Any, g: Any, y: Any, x: Any) -> Any:
    return g * 0.5 / y


def _clip(xp: Any, g: Any, y: Any, x: Any, low: Any, high: Any) -> Any:
    inside = xp.ones_like(y, dtype=xp.bool)
    if low is not None:
        inside = inside & (x >= low)
    if high is not None:
        inside = inside & (x <= high)
    return xp.where(inside, g, xp.zeros_like(g))


def _clip_low(xp: Any, g: Any, y: Any, x: Any, low: Any, high: Any) -> Any:
    chosen = x < low if high is None else (x < low) & (low <= high)
    return xp.where(chosen, g, xp.zeros_like(g))


def _clip_high(xp: Any, g: Any, y: Any, x: Any, low: Any, high: Any) -> Any:
    chosen = x > high if low is None else (x > high) | (low > high)
    return xp.where(chosen, g, xp.zeros_like(g))


def _where(side: int) -> Callable[..., Any]:
    def vjp(xp: Any, g: Any, y: Any, condition: Any, a: Any, b: Any) -> Any:
        zero = xp.zeros_like(g)
        return xp.where(condition, zero, g) if side else xp.where(condition, g, zero)

    return vjp


def _copysign(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    same = xp.signbit(xp.zeros_like(y) + a) == xp.signbit(y)
    return xp.where(same, g, -g)


VJPS: dict[str, Any] = {
    # arithmetic
    "add": (lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: g),
    "subtract": (lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g),
    "multiply": (lambda xp, g, y, a, b: g * b, lambda xp, g, y, a, b: g * a),
    "divide": (lambda xp, g, y, a, b: g / b, lambda xp, g, y, a, b: -g * y / b),
    "pow": (_pow_base, _pow_exponent),
    "remainder": (lambda xp, g, y, a, b: g, lambda xp, g, y, a, b: -g * xp.floor(a / b)),
    "floor_divide": (_zero, _zero),
    "negative": (lambda xp, g, y, x: -g,),
    "positive": (lambda xp, g, y, x: g,),
    "reciprocal": (lambda xp, g, y, x: -g * y * y,),
    "square": (lambda xp, g, y, x: g * (2 * x),),
    "sqrt": (_sqrt,),
    "abs": (_abs,),
    "sign": (_sign,),
    "hypot": (
        lambda xp, g, y, a, b: _hypot(xp, g, y, a, b, 0),
        lambda xp, g, y, a, b: _hypot(xp, g, y, a, b, 1),
    ),
    # exponentials and logarithms
    "exp": (lambda xp, g, y, x: g * y,),
    "expm1": (lambda xp, g, y, x: g * (y + 1),),
    "log": (lambda xp, g, y, x: g / x,),
    "log1p": (lambda xp, g, y, x: g / (1 + x),),
    "log2": (lambda xp, g, y, x: g / (x * LN2),),
    "log10": (lambda xp, g, y, x: g / (x * LN10),),
    "logaddexp": (
        lambda xp, g, y, a, b: _logaddexp(xp, g, y, a, b, 0),
        lambda xp, g, y, a, b: _logaddexp(xp, g, y, a, b, 1),
    ),
    # circles and hyperbolas
    "sin": (lambda xp, g, y, x: g * xp.cos(x),),
    "cos": (lambda xp, g, y, x: -g * xp.sin(x),),
    "tan": (lambda xp, g, y, x: g * (1 + y * y),),
    "asin": (lambda xp, g, y, x: g / xp.sqrt(1 - x * x),),
    "acos": (lambda xp, g, y, x: -g / xp.sqrt(1 - x * x),),
    "atan": (lambda xp, g, y, x: g / (1 + x * x),),
    "atan2": (
        lambda xp, g, y, a, b: _atan2(xp, g, y, a, b, 0),
        lambda xp, g, y, a, b: _atan2(xp, g, y, a, b, 1),
    ),
    "sinh": (lambda xp, g, y, x: g * xp.cosh(x),),
    "cosh": (lambda xp, g, y, x: g * xp.sinh(x),),
    "tanh": (lambda xp, g, y, x: g * (1 - y * y),),
    "asinh": (lambda xp, g, y, x: g / xp.sqrt(x * x + 1),),
    # sqrt(x - 1) * sqrt(x + 1), not sqrt(x**2 - 1): the branch cut of acosh in the complex plane
    "acosh": (lambda xp, g, y, x: g / (xp.sqrt(x - 1) * xp.sqrt(x + 1)),),
    "atanh": (lambda xp, g, y, x: g / (1 - x * x),),
    # choosing
    "where": (None, _where(0), _where(1)),
    "maximum": (lambda xp, g, y, a, b: _share(xp, g, y, a, b), lambda xp, g, y, a, b: _share(xp, g, y, b, a)),
    "minimum": (lambda xp, g, y, a, b: _share(xp, g, y, a, b), lambda xp, g, y, a, b: _share(xp, g, y, b, a)),
    "clip": (_clip, _clip_low, _clip_high),
    "copysign": (_copysign, _zero),
    "nextafter": (lambda xp, g, y, a, b: g, _zero),
    # steps
    "ceil": (_zero,),
    "floor": (_zero,),
    "round": (_zero,),
    "trunc": (_zero,),
    # complex numbers; the transposes of maps that are linear over the reals
    "conj": (lambda xp, g, y, x: xp.conj(g),),
    "real": (lambda xp, g, y, x: g,),
    "imag": (lambda xp, g, y, x: -1j * xp.astype(g, x.dtype) if _is_complex(xp, x) else xp.zeros_like(g),),
}
