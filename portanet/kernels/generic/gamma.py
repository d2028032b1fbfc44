"""The gamma function's logarithm and its derivatives, the incomplete gamma and beta functions, in the standard alone.

Every loop has a fixed length: nothing but values depends on the data, so that all of it also compiles.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from portanet.kernels.generic.special import polynomial

__all__ = ["betainc", "betaln", "gamma", "gammainc", "gammaincc", "gammaln", "polygamma", "psi", "stdtr"]

# B_2, B_4, ...: the numbers of Euler and Maclaurin's formula (NIST DLMF 2.10.1, 24.2).
_BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330,
    854513 / 138, -236364091 / 2730,
)  # fmt: skip


def _zeta_minus_one(k: int) -> float:
    """2**-k + 3**-k + ...: eight terms, and Euler and Maclaurin's formula for the rest."""
    first = 10.0
    total = first ** (1 - k) / (k - 1) + 0.5 * first**-k
    factor = float(k)
    for j, number in enumerate(_BERNOULLI[:8], start=1):
        total += number / math.factorial(2 * j) * factor * first ** (1 - k - 2 * j)
        factor *= (k + 2 * j - 1) * (k + 2 * j)
    return total + math.fsum([float(m) ** -k for m in range(2, 10)])


# log(gamma(2 + t)) / t in t, highest power first (DLMF 5.7.3): good to the last digit for |t| <= 1/2.
_AROUND_TWO = tuple([(-1) ** k * _zeta_minus_one(k) / k for k in range(28, 1, -1)] + [1 - 0.57721566490153286061])
# Stirling's series in 1 / x**2 (DLMF 5.11.1), and that of its derivative.
_STIRLING = tuple([b / (2 * j * (2 * j - 1)) for j, b in enumerate(_BERNOULLI[:8], start=1)][::-1])
_STIRLING_SLOPE = tuple([b / (2 * j) for j, b in enumerate(_BERNOULLI[:8], start=1)][::-1])


def _correction(xp: Any, x: Any) -> Any:
    """What Stirling's formula lacks of log(gamma(x)), for x >= 8."""
    inverse = 1.0 / x
    return inverse * polynomial(xp, inverse * inverse, coefficients=_STIRLING)


def _log_gamma_right(xp: Any, x: Any) -> Any:
    """log(gamma(x)) for x > 0, to the last digits around its zeros 1 and 2 also."""
    large = x >= 8.5
    big = xp.where(large, x, xp.full_like(x, 10.0))
    by_stirling = (big - 0.5) * (xp.log(big) - 1.0) + (0.5 * math.log(2 * math.pi) - 0.5) + _correction(xp, big)
    # Steps of 1 lead to 2 + t with |t| <= 1/2: from above all factors are larger than 1 and nothing cancels.
    small = xp.where(large, xp.full_like(x, 2.0), x)
    steps = xp.floor(small - 1.5)
    t = small - steps - 2.0
    one = xp.ones_like(x)
    above, below = one, xp.where(steps < 0, small, one) * xp.where(steps < -1, small + 1.0, one)
    for j in range(1, 7):
        above = above * xp.where(steps >= j, small - j, one)
    by_steps = t * polynomial(xp, t, coefficients=_AROUND_TWO) + xp.log(above) - xp.log(below)
    return xp.where(large, by_stirling, by_steps)


def _folded(xp: Any, x: Any) -> tuple[Any, Any, Any, Any]:
    """x < 0; the pole at 0, -1, ...; 1 - x where it is negative and never 0; and x less its nearest whole number."""
    finite = xp.isfinite(x)
    x = xp.where(finite, x, xp.ones_like(x))
    rest = x - xp.round(x)
    pole = (x <= 0) & (rest == 0)
    negative = x < 0
    right = xp.where(negative, 1.0 - x, xp.where(pole, xp.ones_like(x), x))
    return negative, pole, right, xp.where(pole, xp.full_like(x, 0.25), rest)


def gammaln(xp: Any, x: Any) -> Any:
    """log|gamma(x)|; to the left of 0 by the reflection gamma(x) gamma(1 - x) = pi / sin(pi x)."""
    negative, pole, right, rest = _folded(xp, x)
    y = _log_gamma_right(xp, right)
    sine = xp.abs(xp.sin(math.pi * xp.where(negative, rest, xp.full_like(x, 0.5))))
    y = xp.where(negative, math.log(math.pi) - xp.log(sine) - y, y)
    y = xp.where(pole, xp.full_like(y, math.inf), y)
    return xp.where(xp.isfinite(x), y, xp.abs(x))


def gamma(xp: Any, x: Any) -> Any:
    """The gamma function: the exponential of its logarithm, with its sign."""
    odd = (x < 0) & (xp.floor(x) / 2.0 != xp.floor(xp.floor(x) / 2.0))
    y = xp.exp(xp.gammaln(x))
    y = xp.where((x < 0) & (xp.floor(x) == x), xp.full_like(y, math.nan), xp.where(odd, -y, y))
    return xp.where(x == 0, xp.copysign(xp.full_like(y, math.inf), x), y)


def psi(xp: Any, x: Any) -> Any:
    """The derivative of `gammaln`: ten steps up, asymptotic series (DLMF 5.11.2), on the left reflection (5.5.4)."""
    negative, pole, right, rest = _folded(xp, x)
    large = right >= 10.0
    small = xp.where(large, xp.ones_like(x), right)
    sums = xp.zeros_like(x)
    for k in range(9, -1, -1):
        sums = sums + 1.0 / (small + k)
    big = xp.where(large, right, small + 10.0)
    inverse = 1.0 / big
    square = inverse * inverse
    y = xp.log(big) - 0.5 * inverse - square * polynomial(xp, square, coefficients=_STIRLING_SLOPE)
    y = xp.where(large, y, y - sums)
    y = xp.where(negative, y - math.pi * _cotangent(xp, rest), y)
    nothing = xp.full_like(y, math.nan)
    y = xp.where(pole, xp.where(x == 0, xp.copysign(xp.full_like(y, math.inf), -x), nothing), y)
    return xp.where(xp.isfinite(x), y, xp.where(x > 0, x, nothing))


def _cotangent(xp: Any, rest: Any) -> Any:
    rest = xp.where(rest == 0, xp.ones_like(rest), rest)
    return xp.cos(math.pi * rest) / xp.sin(math.pi * rest)


def polygamma(xp: Any, n: int, x: Any) -> Any:
    """The n-th derivative of `psi`: (-1)**(n + 1) n! zeta(n + 1, x), reflected left of 0 (DLMF 5.15.1, 5.15.6)."""
    if n == 0:
        return xp.psi(x)
    negative, pole, right, rest = _folded(xp, x)
    y = (-1.0) ** (n + 1) * float(math.factorial(n)) * _hurwitz_zeta(xp, n + 1, right)
    cotangent = _cotangent(xp, xp.where(negative, rest, xp.full_like(rest, 0.25)))
    turned = polynomial(xp, cotangent, coefficients=_cotangent_derivative(n))
    y = xp.where(negative, (-1.0) ** n * y - math.pi ** (n + 1) * turned, y)
    y = xp.where(pole, xp.full_like(y, math.inf if n % 2 else math.nan), y)
    beyond = xp.where(x > 0, xp.zeros_like(y), xp.full_like(y, math.nan))
    return xp.where(xp.isfinite(x), y, beyond)


def _hurwitz_zeta(xp: Any, s: int, x: Any) -> Any:
    """The sum of (x + k)**-s over k = 0, 1, ...: some terms, and Euler and Maclaurin's formula for the rest."""
    terms = 12 + 2 * s
    last = x + float(terms)
    square = 1.0 / (last * last)
    factors, factor = [], float(s)
    for j, number in enumerate(_BERNOULLI, start=1):
        factors.append(number / math.factorial(2 * j) * factor)
        factor *= (s + 2 * j - 1) * (s + 2 * j)
    y = last ** (-float(s)) * (last / (s - 1.0) + 0.5 + polynomial(xp, square, coefficients=factors[::-1]) / last)
    for k in range(terms - 1, -1, -1):
        y = y + (x + float(k)) ** (-float(s))
    return y


@functools.cache
def _cotangent_derivative(n: int) -> tuple[float, ...]:
    """The polynomial in c = cot(z), highest power first, that is the n-th derivative of cot(z): c' = -(1 + c**2)."""
    powers = [0.0, 1.0]  # lowest first
    for _ in range(n):
        slope = [i * a for i, a in enumerate(powers)][1:]
        powers = [-a - b for a, b in zip([*slope, 0.0, 0.0], [0.0, 0.0, *slope], strict=True)]
    return tuple(powers[::-1])


def betaln(xp: Any, a: Any, b: Any) -> Any:
    """log|gamma(a) gamma(b) / gamma(a + b)|; where one is large, the large parts are cancelled by hand."""
    nothing = (a == 0) | (b == 0)
    endless = ((a == math.inf) & (b > 0)) | ((b == math.inf) & (a > 0))
    edge = nothing | endless
    known = xp.where(nothing, xp.full_like(a + b, math.inf), xp.full_like(a + b, -math.inf))
    a, b = xp.where(edge, 1.0, a), xp.where(edge, 1.0, b)
    plain = xp.gammaln(a) + xp.gammaln(b) - xp.gammaln(a + b)
    small, large = xp.minimum(a, b), xp.maximum(a, b)
    stirling = (small > 0) & (large >= 10.0)
    p, q = xp.where(stirling, small, xp.ones_like(small)), xp.where(stirling, large, xp.full_like(large, 10.0))
    fraction = xp.log1p(p / q)
    y = xp.gammaln(p) + p - p * xp.log(p + q) - (q - 0.5) * fraction + _correction(xp, q) - _correction(xp, p + q)
    return xp.where(edge, known, xp.where(stirling, y, plain))


# ---------------------------------------------------------------------------------------------------------------------
# Incomplete integrals: a series or continued fraction where it converges fast, quadrature for large parameters.

_LARGE = 100.0  # from here on, quadrature
_DEPTH = 160  # terms of series and continued fractions: enough below that


@functools.cache
def _gauss_legendre(count: int) -> tuple[tuple[float, float], ...]:
    """Nodes and weights on (0, 1), by Newton's method on the Legendre polynomial (DLMF 3.5.20)."""
    pairs = []
    for i in range(count):
        x = math.cos(math.pi * (i + 0.75) / (count + 0.5))
        for _ in range(8):
            before, value = 1.0, x
            for k in range(2, count + 1):
                before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
            slope = count * (x * value - before) / (x * x - 1)
            x -= value / slope
        pairs.append(((1 + x) / 2, 1 / ((1 - x * x) * slope * slope)))
    return tuple(pairs)


def _integral(xp: Any, start: Any, stop: Any, integrand: Any) -> Any:
    total = xp.zeros_like(start)
    for node, weight in _gauss_legendre(40):
        total = total + weight * integrand(start + node * (stop - start))
    return total * (stop - start)


def _gamma_pair(xp: Any, a: Any, x: Any) -> tuple[Any, Any]:
    """The two incomplete gamma functions, lower and upper; the smaller is computed, the other is 1 less it."""
    inside = (a > 0) & (x > 0) & (a < math.inf) & (x < math.inf)
    a_in, x_in = xp.where(inside, a, 1.0), xp.where(inside, x, 1.0)
    lower = x_in < a_in + 1.0
    large = a_in >= _LARGE
    part = xp.where(large, _gamma_large(xp, a_in, x_in, lower, large), _gamma_small(xp, a_in, x_in, lower, large))
    p, q = xp.where(lower, part, 1.0 - part), xp.where(lower, 1.0 - part, part)
    zero, one = xp.zeros_like(p), xp.ones_like(p)
    known_p = xp.where((a >= 0) & (x == math.inf) & (a < math.inf) | (a == 0) & (x > 0), one, xp.full_like(p, math.nan))
    known_p = xp.where((a > 0) & (x == 0) | (a == math.inf) & (x >= 0) & (x < math.inf), zero, known_p)
    return xp.where(inside, p, known_p), xp.where(inside, q, 1.0 - known_p)


def _gamma_small(xp: Any, a: Any, x: Any, lower: Any, large: Any) -> Any:
    a = xp.where(large, 1.0, a)
    x = xp.where(large, xp.where(lower, xp.ones_like(x), xp.full_like(x, 3.0)), x)
    front = xp.exp(a * xp.log(x) - x - xp.gammaln(a))
    # x**a exp(-x) / gamma(a + 1) (1 + x / (a + 1) + x**2 / ((a + 1) (a + 2)) + ...), DLMF 8.7.1
    x_low = xp.where(lower, x, 0.0)
    series = xp.ones_like(x)
    for k in range(_DEPTH, 0, -1):
        series = 1.0 + series * x_low / (a + float(k))
    # DLMF 8.9.2, from its far end
    x_high = xp.where(lower, a + 2.0, x)
    fraction = x_high + (2.0 * _DEPTH + 1.0) - a
    for k in range(_DEPTH, 0, -1):
        fraction = x_high + (2.0 * k - 1.0) - a + float(k) * (a - float(k)) / fraction
    return front * xp.where(lower, series / a, 1.0 / fraction)


def _gamma_large(xp: Any, a: Any, x: Any, lower: Any, large: Any) -> Any:
    """The tail beyond x by quadrature, over as many widths of the peak at a - 1 as hold it."""
    a = xp.where(large, a, _LARGE)
    x = xp.where(large, x, _LARGE)
    peak = a - 1.0
    width = xp.sqrt(peak)
    left = xp.minimum(peak - 9.0 * width, x - 6.0 * width)
    left = xp.where(left > 0, left, 0.0)
    right = xp.maximum(peak + 12.0 * width, x + 8.0 * width)

    def density(t: Any) -> Any:
        u = (t - peak) / peak
        return xp.exp(peak * (xp.log1p(u) - u))

    whole = xp.exp(-_correction(xp, peak)) / xp.sqrt(2 * math.pi * peak)
    return whole * _integral(xp, xp.where(lower, left, x), xp.where(lower, x, right), density)


def gammainc(xp: Any, a: Any, x: Any) -> Any:
    """The regularised lower incomplete gamma function."""
    return _gamma_pair(xp, a, x)[0]


def gammaincc(xp: Any, a: Any, x: Any) -> Any:
    """The regularised upper incomplete gamma function."""
    return _gamma_pair(xp, a, x)[1]


def betainc(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """The regularised incomplete beta function."""
    inside = (a > 0) & (b > 0) & (x > 0) & (x < 1) & (a < math.inf) & (b < math.inf)
    x_in = xp.where(inside, x, 0.5)
    y = _beta_pair(xp, xp.where(inside, a, 1.0), xp.where(inside, b, 1.0), x_in, 1.0 - x_in)[0]
    low = (x == 0) | ((b == 0) | (a == math.inf)) & (x < 1)
    valid = (a >= 0) & (b >= 0) & (x >= 0) & (x <= 1) & ~((a == 0) & (b == 0)) & ~((a == math.inf) & (b == math.inf))
    edge = xp.where(low, xp.zeros_like(y), xp.ones_like(y))
    return xp.where(inside, y, xp.where(valid, edge, xp.full_like(y, math.nan)))


def _beta_pair(xp: Any, a: Any, b: Any, x: Any, rest: Any) -> tuple[Any, Any]:
    """The beta integrals from 0 to x and from x to 1; ``rest`` is 1 - x, given apart for its last digits.

    The continued fraction converges fast on one side of the peak; the other is 1 less what it gives.
    """
    swapped = x > (a + 1.0) / (a + b + 2.0)
    p, q = xp.where(swapped, b, a), xp.where(swapped, a, b)
    z, rest = xp.where(swapped, rest, x), xp.where(swapped, x, rest)
    large = (p > _LARGE) & (q > _LARGE)
    part = xp.where(large, _beta_large(xp, p, q, z, large), _beta_small(xp, p, q, z, rest, large))
    return xp.where(swapped, 1.0 - part, part), xp.where(swapped, part, 1.0 - part)


def _beta_small(xp: Any, a: Any, b: Any, x: Any, rest: Any, large: Any) -> Any:
    """The continued fraction of DiDonato and Morris (1992), ACM TOMS 18, 360-373, eq. 9, from its far end."""
    a, b = xp.where(large, 1.0, a), xp.where(large, 1.0, b)
    x, rest = xp.where(large, 0.5, x), xp.where(large, 0.5, rest)
    left = x < 0.5  # the smaller of x and 1 - x has the digits
    distance = xp.where(left, a - (a + b) * x, (a + b) * rest - b) + 1.0
    fraction = xp.ones_like(x)
    for n in range(_DEPTH, -1, -1):
        odd = a + (2.0 * n + 1.0)
        beta = (a + float(n)) / odd * (distance + float(n) * (1.0 + rest))
        if n:
            twice, step = a + (2.0 * n - 1.0), n * (b - float(n)) * x
            beta = beta + float(n) + step / twice
        if n < _DEPTH:
            above = (a + float(n)) * (a + b + float(n)) / (odd * odd) * ((n + 1.0) * (b - (n + 1.0)) * x * x)
            beta = beta + above / fraction
        fraction = beta
    log_x = xp.where(left, xp.log(x), xp.log1p(-rest))
    log_rest = xp.where(left, xp.log1p(-x), xp.log(rest))
    return xp.exp(a * log_x + b * log_rest - xp.betaln(a, b)) / fraction


def _beta_large(xp: Any, a: Any, b: Any, x: Any, large: Any) -> Any:
    """The tail below x by quadrature, over as many widths of the peak as hold it."""
    a, b, x = xp.where(large, a, 1e4), xp.where(large, b, 1e4), xp.where(large, x, 0.5)
    p, q = a - 1.0, b - 1.0
    peak = p / (p + q)
    width = xp.sqrt(peak * (1.0 - peak) / (p + q))
    left = xp.minimum(peak - 9.0 * width, x - 6.0 * width)
    left = xp.where(left > 0, left, 0.0)

    def density(t: Any) -> Any:
        return xp.exp(p * xp.log1p((t - peak) / peak) + q * xp.log1p((peak - t) / (1.0 - peak)))

    # peak**p (1 - peak)**q / B(a, b) by Stirling's formula: the large powers cancel
    whole = (p + q + 1.0) * xp.sqrt((p + q) / (2.0 * math.pi * p * q))
    whole = whole * xp.exp(_correction(xp, p + q) - _correction(xp, p) - _correction(xp, q))
    return whole * _integral(xp, left, x, density)


def stdtr(xp: Any, df: Any, t: Any) -> Any:
    """Student's distribution function: half of a beta integral (DLMF 8.17, with x = t**2 / (df + t**2))."""
    normal = df == math.inf
    valid = (df > 0) & ~xp.isnan(t)
    d = xp.where(valid & ~normal, df, 1.0)
    ratio = xp.abs(xp.where(valid & (xp.abs(t) < math.inf), t, 1.0)) / xp.sqrt(d)
    high = ratio > 1.0
    square = xp.where(high, 1.0 / xp.where(high, ratio, 1.0), ratio) ** 2.0
    nothing = square == 0  # t so near 0, or so far, that its square underflows
    square = xp.where(nothing, 1.0, square)
    larger, smaller = 1.0 / (1.0 + square), square / (1.0 + square)
    x, rest = xp.where(high, larger, smaller), xp.where(high, smaller, larger)
    tail = 0.5 * _beta_pair(xp, xp.full_like(d, 0.5), 0.5 * d, x, rest)[1]
    tail = xp.where(nothing, xp.where(high, xp.zeros_like(tail), xp.full_like(tail, 0.5)), tail)
    tail = xp.where(normal, 0.5 * xp.erfc(xp.abs(xp.where(valid, t, 0.0)) * math.sqrt(0.5)), tail)
    tail = xp.where(xp.abs(t) == math.inf, 0.0, tail)
    return xp.where(valid, xp.where(t < 0, tail, 1.0 - tail), math.nan)
