"""Error functions, the normal and logistic curves, and the sum of exponentials, in the standard alone.

Branches are cleaned at their input, so that what is not chosen neither overflows nor warns.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["erf", "erfc", "erfcx", "erfinv", "log_expit", "log_ndtr", "logit", "logsumexp", "ndtri"]

# Rational approximations of W. J. Cody (1969), Math. Comp. 23, 631-637, in the form of his CALERF; highest power first.
# erf(x) / x in x**2 up to 0.46875; exp(x**2) erfc(x) in x up to 4, and in 1 / x**2 from there on.
_NEAR = (
    (0.185777706184603153, 3.16112374387056560, 113.864154151050156, 377.485237685302021, 3209.37758913846947),
    (1.0, 23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062),
)
_MIDDLE = (
    (
        2.15311535474403846e-8, 0.564188496988670089, 8.88314979438837594, 66.1191906371416295, 298.635138197400131,
        881.952221241769090, 1712.04761263407058, 2051.07837782607147, 1230.33935479799725,
    ),
    (
        1.0, 15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019,
        3290.79923573345963, 4362.61909014324716, 3439.36767414372164, 1230.33935480374942,
    ),
)  # fmt: skip
_FAR = (
    (
        0.0163153871373020978, 0.305326634961232344, 0.360344899949804439, 0.125781726111229246,
        0.0160837851487422766, 6.58749161529837803e-4,
    ),
    (
        1.0, 2.56852019228982242, 1.87295284992346725, 0.527905102951428412, 0.0605183413124413191,
        2.33520497626869185e-3,
    ),
)  # fmt: skip

# The normal quantile of M. J. Wichura (1988), Algorithm AS 241, Applied Statistics 37, 477-484: in
# 0.425**2 - (p - 1/2)**2 in the middle; in sqrt(-log(tail)), less 1.6 or 5, outside. Relative error about 1e-16.
_QUANTILE_MIDDLE = (
    (
        2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
        13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080,
    ),
    (
        5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
        5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0,
    ),
)  # fmt: skip
_QUANTILE_TAIL = (
    (
        7.74545014278341407640e-4, 0.0227238449892691845833, 0.241780725177450611770, 1.27045825245236838258,
        3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734,
    ),
    (
        1.05075007164441684324e-9, 5.47593808499534494600e-4, 0.0151986665636164571966, 0.148103976427480074590,
        0.689767334985100004550, 1.67638483018380384940, 2.05319162663775882187, 1.0,
    ),
)  # fmt: skip
_QUANTILE_FAR = (
    (
        2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 0.0265321895265761230930,
        0.296560571828504891230, 1.78482653991729133580, 5.46378491116411436990, 6.65790464350110377720,
    ),
    (
        2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
        0.0148753612908506148525, 0.136929880922735805310, 0.599832206555887937690, 1.0,
    ),
)  # fmt: skip


def polynomial(xp: Any, x: Any, *, coefficients: Any) -> Any:
    """The polynomial with these coefficients, highest power first, by Horner's rule."""
    y = xp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        y = y * x + coefficient
    return y


def _ratio(xp: Any, x: Any, pair: Any) -> Any:
    return polynomial(xp, x, coefficients=pair[0]) / polynomial(xp, x, coefficients=pair[1])


def _exp_of_square(xp: Any, y: Any, sign: int) -> Any:
    """exp(sign * y**2) for y >= 0: the square's rounding error, which exp would blow up, is split off exactly."""
    y = xp.where(y > 30.0, xp.full_like(y, 30.0), y)  # beyond, both float64 and float32 are at 0 or infinity
    head = xp.trunc(16.0 * y) / 16.0
    return xp.exp(sign * head * head) * xp.exp(sign * (y - head) * (y + head))


def _erf_parts(xp: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    """|x|, where it is small, erf(x) for there, and exp(x**2) erfc(|x|) for elsewhere."""
    y = xp.abs(x)
    small = y <= 0.46875
    near = xp.where(small, x, xp.zeros_like(x))
    y = xp.where(small, xp.ones_like(x), y)
    far = y > 4.0
    middle = _ratio(xp, xp.where(far, xp.ones_like(y), y), _MIDDLE)
    y_far = xp.where(far, y, xp.full_like(y, 8.0))
    inverse = 1.0 / y_far
    tail = (1.0 / math.sqrt(math.pi) - inverse * inverse * _ratio(xp, inverse * inverse, _FAR)) * inverse
    return y, small, near * _ratio(xp, near * near, _NEAR), xp.where(far, tail, middle)


def erf(xp: Any, x: Any) -> Any:
    """The error function."""
    y, small, near, scaled = _erf_parts(xp, x)
    tail = 1.0 - _exp_of_square(xp, y, -1) * scaled
    return xp.where(small, near, xp.where(x < 0, -tail, tail))


def erfc(xp: Any, x: Any) -> Any:
    """1 - erf(x), without the cancellation."""
    y, small, near, scaled = _erf_parts(xp, x)
    tail = _exp_of_square(xp, y, -1) * scaled
    return xp.where(small, 1.0 - near, xp.where(x < 0, 2.0 - tail, tail))


def erfcx(xp: Any, x: Any) -> Any:
    """exp(x**2) erfc(x), which falls as 1 / x only."""
    y, small, near, scaled = _erf_parts(xp, x)
    negative = xp.where(small | (x > 0), xp.zeros_like(y), y)
    left = 2.0 * _exp_of_square(xp, negative, 1) - scaled
    x_near = xp.where(small, x, xp.zeros_like(x))
    return xp.where(small, xp.exp(x_near * x_near) * (1.0 - near), xp.where(x < 0, left, scaled))


def _quantile(xp: Any, q: Any, tail: Any) -> Any:
    """Where the normal distribution reaches 1/2 + q; ``tail`` is what is left beyond it, with all its digits."""
    middle = xp.abs(q) <= 0.425
    q_middle = xp.where(middle, q, xp.zeros_like(q))
    centre = q_middle * _ratio(xp, 0.180625 - q_middle * q_middle, _QUANTILE_MIDDLE)
    inside = (tail > 0) & ~middle
    r = xp.sqrt(-xp.log(xp.where(inside, tail, xp.full_like(tail, 0.05))))
    far = r > 5.0
    near_tail = _ratio(xp, xp.where(far, xp.zeros_like(r), r - 1.6), _QUANTILE_TAIL)
    far_tail = _ratio(xp, xp.where(far, r - 5.0, xp.zeros_like(r)), _QUANTILE_FAR)
    size = xp.where(far, far_tail, near_tail)
    size = xp.where(tail == 0, xp.full_like(size, math.inf), size)
    size = xp.where((tail >= 0) | middle, size, xp.full_like(size, math.nan))
    return xp.where(middle, centre, xp.where(q < 0, -size, size))


def erfinv(xp: Any, x: Any) -> Any:
    """The inverse of `erf`."""
    return _quantile(xp, 0.5 * x, 0.5 * (1.0 - xp.abs(x))) * math.sqrt(0.5)


def ndtri(xp: Any, p: Any) -> Any:
    """The inverse of the normal distribution function."""
    return _quantile(xp, p - 0.5, xp.where(p < 0.5, p, 1.0 - p))


def log_ndtr(xp: Any, x: Any) -> Any:
    """The logarithm of the normal distribution function; in the left tail by `erfcx`, where ndtr itself underflows."""
    left = x < -1.0
    z = xp.where(left & (x > -math.inf), -math.sqrt(0.5) * x, xp.ones_like(x))
    x_left = xp.where(left, x, xp.zeros_like(x))
    tail = xp.log(0.5 * xp.erfcx(z)) - 0.5 * x_left * x_left
    return xp.where(left, tail, xp.log1p(-0.5 * xp.erfc(math.sqrt(0.5) * xp.where(left, xp.ones_like(x), x))))


def log_expit(xp: Any, x: Any) -> Any:
    """log(1 / (1 + exp(-x)))."""
    return xp.where(x < 0, x, xp.zeros_like(x)) - xp.log1p(xp.exp(-xp.abs(x)))


def logit(xp: Any, p: Any) -> Any:
    """log(p / (1 - p)); around 1/2 by the odd series' closed form, which keeps the digits of p - 1/2."""
    s = 2.0 * p - 1.0
    middle = xp.abs(s) < 0.4
    s = xp.where(middle, s, xp.zeros_like(s))
    inside = (p > 0) & (p < 1)
    outer = xp.where(inside & ~middle, p, xp.full_like(p, 0.5))
    y = xp.where(middle, xp.log1p(s) - xp.log1p(-s), xp.log(outer) - xp.log1p(-outer))
    outside = xp.where(p == 0, xp.full_like(p, -math.inf), xp.full_like(p, math.nan))
    return xp.where(inside, y, xp.where(p == 1, xp.full_like(p, math.inf), outside))


def logsumexp(xp: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))); the largest element is taken out first, for exp overflows above 88 in float32."""
    peak = xp.max(x, axis=axis, keepdims=True)
    peak = xp.where(xp.isinf(peak), xp.zeros_like(peak), peak)  # infinity less itself would be nan
    total = xp.sum(xp.exp(x - peak), axis=axis, keepdims=True)
    nothing = total == 0
    y = peak + xp.where(nothing, xp.full_like(total, -math.inf), xp.log(xp.where(nothing, xp.ones_like(total), total)))
    return y if keepdims else xp.squeeze(y, axis=tuple(range(x.ndim)) if axis is None else axis)
