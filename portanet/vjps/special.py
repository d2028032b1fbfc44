"""VJPs of the special functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

ROOT_PI = math.sqrt(math.pi)
ROOT_2PI = math.sqrt(2.0 * math.pi)


def _product_with_log(xp: Any, a: Any, x: Any) -> Any:
    """a log(x), which is 0 where a is 0, whatever x is."""
    nothing = (a == 0) & ((x <= 0) | xp.isinf(x))
    return a * xp.log(xp.where(nothing, xp.ones_like(x), x))


def _log_ndtr(xp: Any, g: Any, y: Any, x: Any) -> Any:
    # density / distribution: on the left both underflow, and their ratio is 1 / erfcx.
    left = x < 0
    z = xp.where(left, -math.sqrt(0.5) * x, xp.zeros_like(x))
    right = xp.where(left, xp.zeros_like(x), x)
    y = xp.where(left, xp.zeros_like(y), y)
    slope = xp.where(left, math.sqrt(2.0 / math.pi) / xp.erfcx(z), xp.exp(-0.5 * right * right - y) / ROOT_2PI)
    return g * slope


def _gammainc(xp: Any, g: Any, y: Any, a: Any, x: Any) -> Any:
    far = x == math.inf
    x = xp.where(far, xp.ones_like(x), x)
    density = xp.exp(_product_with_log(xp, a - 1.0, x) - x - xp.gammaln(a))
    return g * xp.where(far, xp.zeros_like(density), density)


def _betainc(xp: Any, g: Any, y: Any, a: Any, b: Any, x: Any) -> Any:
    powers = _product_with_log(xp, a - 1.0, x) + _product_with_log(xp, b - 1.0, 1.0 - x)
    return g * xp.exp(powers - xp.betaln(a, b))


def _stdtr(xp: Any, g: Any, y: Any, df: Any, t: Any) -> Any:
    normal = df == math.inf
    d = xp.where(normal, xp.ones_like(df), df)
    powers = -0.5 * (d + 1.0) * xp.log1p(t * t / d) - xp.betaln(0.5 * d, xp.full_like(d, 0.5))
    return g * xp.where(normal, xp.exp(-0.5 * t * t) / ROOT_2PI, xp.exp(powers) / xp.sqrt(d))


def _refused(name: str, parameter: str) -> Callable[..., Any]:
    def vjp(xp: Any, g: Any, y: Any, *args: Any) -> Any:
        raise NotImplementedError(
            f"{name} has a derivative here with respect to its last argument only: that with respect to {parameter} is "
            f"no elementary function. Pass {parameter} without gradient: {parameter}.detach()."
        )

    return vjp


def _i1(xp: Any, g: Any, y: Any, x: Any) -> Any:
    # I1(x) / x is 1/2 at 0, and I0(0) is 1.
    zero = x == 0
    ratio = xp.where(zero, xp.full_like(y, 0.5), y / xp.where(zero, xp.ones_like(x), x))
    return g * (xp.i0(x) - ratio)


def _i1e(xp: Any, g: Any, y: Any, x: Any) -> Any:
    zero = x == 0
    ratio = xp.where(zero, xp.full_like(y, 0.5), y / xp.where(zero, xp.ones_like(x), x))
    return g * (xp.i0e(x) - ratio - xp.sign(x) * y)


def _logsumexp(xp: Any, g: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    if not keepdims:
        axes = range(x.ndim) if axis is None else [i % x.ndim for i in (axis if isinstance(axis, tuple) else (axis,))]
        shape = tuple([1 if i in axes else length for i, length in enumerate(x.shape)])
        g, y = xp.reshape(g, shape), xp.reshape(y, shape)
    # Where the sum is 0 or infinite, infinity less itself would be nan: no share at -inf, the whole at +inf.
    finite = xp.isfinite(y)
    gap = x - xp.where(finite | xp.isnan(y), y, xp.zeros_like(y))
    share = xp.exp(xp.where(finite | xp.isnan(gap), gap, xp.full_like(gap, -math.inf)))
    return g * xp.where((y == math.inf) & (x == math.inf), xp.ones_like(share), share)


VJPS: dict[str, Any] = {
    # error functions and the normal distribution
    "erf": (lambda xp, g, y, x: g * (2.0 / ROOT_PI * xp.exp(-x * x)),),
    "erfc": (lambda xp, g, y, x: g * (-2.0 / ROOT_PI * xp.exp(-x * x)),),
    "erfcx": (lambda xp, g, y, x: g * (2.0 * x * y - 2.0 / ROOT_PI),),
    "erfinv": (lambda xp, g, y, x: g * (0.5 * ROOT_PI * xp.exp(y * y)),),
    "ndtri": (lambda xp, g, y, p: g * (ROOT_2PI * xp.exp(0.5 * y * y)),),
    "log_ndtr": (_log_ndtr,),
    # the logistic curve
    "logit": (lambda xp, g, y, p: g / (p * (1.0 - p)),),
    "log_expit": (lambda xp, g, y, x: g * xp.sigmoid(-x),),
    # gamma and beta
    "gammaln": (lambda xp, g, y, x: g * xp.psi(x),),
    "gamma": (lambda xp, g, y, x: g * (y * xp.psi(x)),),
    "psi": (lambda xp, g, y, x: g * xp.polygamma(1, x),),
    "polygamma": (None, lambda xp, g, y, n, x: g * xp.polygamma(n + 1, x)),
    "betaln": (
        lambda xp, g, y, a, b: g * (xp.psi(a) - xp.psi(a + b)),
        lambda xp, g, y, a, b: g * (xp.psi(b) - xp.psi(a + b)),
    ),
    "gammainc": (_refused("gammainc", "a"), _gammainc),
    "gammaincc": (_refused("gammaincc", "a"), lambda xp, g, y, a, x: _gammainc(xp, -g, y, a, x)),
    "betainc": (_refused("betainc", "a"), _refused("betainc", "b"), _betainc),
    "stdtr": (_refused("stdtr", "df"), _stdtr),
    # Bessel functions
    "i0": (lambda xp, g, y, x: g * xp.i1(x),),
    "i0e": (lambda xp, g, y, x: g * (xp.i1e(x) - xp.sign(x) * y),),
    "i1": (_i1,),
    "i1e": (_i1e,),
    # sums of exponentials
    "logsumexp": (_logsumexp,),
}
