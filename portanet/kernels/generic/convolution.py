"""Convolution and pooling over any number of spatial axes, as sums over the taps of the window.

Arrays are (N, C, *spatial); ``padding`` holds a pair (before, after) for each spatial axis. A tap is one place in the
window: what all windows have there is a slice of the padded input, with the stride as its step.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

_Ints = tuple[int, ...]
_Pairs = tuple[tuple[int, int], ...]


def _filled(xp: Any, x: Any, shape: _Ints, value: float) -> Any:
    """An array of ``shape`` with ``value`` everywhere, of the library, device and dtype of ``x``."""
    return xp.broadcast_to(xp.sum(xp.zeros_like(x)) + value, shape)


def _padded(xp: Any, x: Any, padding: _Pairs, value: float = 0.0) -> Any:
    if not any([before or after for before, after in padding]):
        return x
    shape = (*x.shape[:2], *[n + before + after for n, (before, after) in zip(x.shape[2:], padding, strict=True)])
    return xp.set_at(_filled(xp, x, shape, value), x, key=_inside(x.shape[2:], padding))


def _inside(size: _Ints, padding: _Pairs) -> tuple[slice, ...]:
    """The key of what is not padding."""
    return (slice(None), slice(None), *[slice(b, b + n) for n, (b, _) in zip(size, padding, strict=True)])


def _output(size: _Ints, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> _Ints:
    """How many windows fit along each axis."""
    return tuple(
        [
            (n + b + a - d * (k - 1) - 1) // s + 1
            for n, k, s, (b, a), d in zip(size, kernel, stride, padding, dilation, strict=True)
        ]
    )


def _taps(kernel: _Ints) -> list[_Ints]:
    return list(itertools.product(*[range(k) for k in kernel]))


def _key(tap: _Ints, output: _Ints, stride: _Ints, dilation: _Ints) -> tuple[slice, ...]:
    """The key, in the padded input, of what every window has at ``tap``."""
    slices = [
        slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in zip(tap, output, stride, dilation, strict=True)
    ]
    return (slice(None), slice(None), *slices)


def _grouped(xp: Any, x: Any, groups: int) -> Any:
    """(N, C, *spatial) as matrices (N, groups, C / groups, number of places)."""
    return xp.reshape(x, (x.shape[0], groups, x.shape[1] // groups, math.prod(x.shape[2:])))


def _matrix(xp: Any, weight: Any, tap: _Ints, groups: int) -> Any:
    """The weights at one tap as matrices (groups, O / groups, C / groups)."""
    out, into = weight.shape[:2]
    return xp.reshape(weight[(slice(None), slice(None), *tap)], (groups, out // groups, into))


def conv(
    xp: Any,
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    stride: _Ints,
    padding: _Pairs,
    dilation: _Ints,
    groups: int,
) -> Any:
    """y[n, o, i] = bias[o] + sum over c, k of weight[o, c, k] x[n, c, stride i + dilation k - padding].

    Shapes: x (N, C, *size), weight (O, C / groups, *kernel), bias (O,); the result (N, O, *windows). The channels of
    a group see those of the same group only.
    """
    # One product for each tap, not one of all windows: `unfold` and one product take about 0.6 of the time (measured on
    # NumPy for 32 images of 16 x 32 x 32, 32 channels out, a window of 3 x 3), but a window's size times the memory.
    # A definition need not be the fastest; the libraries that most use have kernels of their own.
    output = _output(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    x = _padded(xp, x, padding)
    y: Any = None
    for tap in _taps(weight.shape[2:]):
        seen = _grouped(xp, x[_key(tap, output, stride, dilation)], groups)
        part = xp.matmul(_matrix(xp, weight, tap, groups), seen)
        y = part if y is None else y + part
    y = xp.reshape(y, (x.shape[0], weight.shape[0], *output))
    return y if bias is None else y + xp.reshape(bias, (-1,) + (1,) * len(output))


def conv_backward_input(
    xp: Any, g: Any, weight: Any, *, size: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int
) -> Any:
    """The cotangent of conv's x, whose spatial axes have the lengths ``size``, from that of its result."""
    output, channels = g.shape[2:], weight.shape[1] * groups
    wide = tuple([n + b + a for n, (b, a) in zip(size, padding, strict=True)])
    x = _filled(xp, g, (g.shape[0], channels, *wide), 0.0)
    flat = _grouped(xp, g, groups)
    for tap in _taps(weight.shape[2:]):
        part = xp.matmul(xp.matrix_transpose(_matrix(xp, weight, tap, groups)), flat)
        part = xp.reshape(part, (g.shape[0], channels, *output))
        x = xp.add_at(x, part, key=_key(tap, output, stride, dilation))
    return x[_inside(size, padding)]


def conv_backward_weight(
    xp: Any, g: Any, x: Any, *, size: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int
) -> Any:
    """The cotangent of conv's weight, whose spatial axes have the lengths ``size``, from that of its result."""
    output = g.shape[2:]
    x, flat = _padded(xp, x, padding), _grouped(xp, g, groups)
    parts = []
    for tap in _taps(size):
        seen = _grouped(xp, x[_key(tap, output, stride, dilation)], groups)
        parts.append(xp.sum(xp.matmul(flat, xp.matrix_transpose(seen)), axis=0))  # (groups, O / groups, C / groups)
    return xp.reshape(xp.stack(parts, axis=-1), (g.shape[1], x.shape[1] // groups, *size))


def channel_sums(xp: Any, x: Any) -> Any:
    """The sum over all axes but the channels', the second: the cotangent of a bias. Shapes: (N, C, ...) -> (C,)."""
    return xp.sum(x, axis=(0, *range(2, x.ndim)), dtype=x.dtype)


def conv_backward(
    xp: Any,
    g: Any,
    x: Any,
    weight: Any,
    *,
    wanted: tuple[bool, ...],
    stride: _Ints,
    padding: _Pairs,
    dilation: _Ints,
    groups: int,
) -> tuple[Any, Any, Any]:
    """The cotangents of conv's x, weight and bias from that of its result; None for what is not ``wanted``."""
    how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    of_x = xp.conv_backward_input(g, weight, size=tuple(x.shape[2:]), **how) if wanted[0] else None
    of_weight = xp.conv_backward_weight(g, x, size=tuple(weight.shape[2:]), **how) if wanted[1] else None
    return of_x, of_weight, xp.channel_sums(g) if any(wanted[2:]) else None


# ---------------------------------------------------------------------------------------------------------------------
# Pooling.


def max_pool(xp: Any, x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> Any:
    """The largest value in each window; padding is never the largest. Shapes: (N, C, *size) -> (N, C, *windows)."""
    output = _output(x.shape[2:], kernel, stride, padding, dilation)
    x = _padded(xp, x, padding, -math.inf)
    y: Any = None
    for tap in _taps(kernel):
        seen = x[_key(tap, output, stride, dilation)]
        y = seen if y is None else xp.maximum(y, seen)
    return y


def max_pool_backward(
    xp: Any, g: Any, y: Any, x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints
) -> Any:
    """The cotangent of max_pool's x: what arrives at a window goes to the first of its largest values.

    Where nan is the largest, one of the window's values gets it, which one is left open.
    """
    output, size = y.shape[2:], x.shape[2:]
    x = _padded(xp, x, padding, -math.inf)
    dx, zero = xp.zeros_like(x), xp.zeros_like(g)
    open_ = xp.ones_like(y, dtype=xp.bool)  # the windows that have not given theirs away
    for tap in _taps(kernel):
        key = _key(tap, output, stride, dilation)
        chosen = open_ & ~(x[key] < y)
        open_ = open_ & ~chosen
        dx = xp.add_at(dx, xp.where(chosen, g, zero), key=key)
    return dx[_inside(size, padding)]


def avg_pool(
    xp: Any, x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, counted: _Pairs, divisor: int | None
) -> Any:
    """The sum of each window over how many values are in it, or over ``divisor``.

    ``counted`` says how much of the padding (its values are 0) counts as values, a pair (before, after) for each axis.
    Shapes: (N, C, *size) -> (N, C, *windows).
    """
    size, one = x.shape[2:], (1,) * len(kernel)
    output = _output(size, kernel, stride, padding, one)
    x = _padded(xp, x, padding)
    y: Any = None
    for tap in _taps(kernel):
        seen = x[_key(tap, output, stride, one)]
        y = seen if y is None else y + seen
    return y / _divisors(xp, y, size, kernel, stride, padding, counted, divisor)


def avg_pool_backward(
    xp: Any, g: Any, *, size: _Ints, kernel: _Ints, stride: _Ints, padding: _Pairs, counted: _Pairs, divisor: int | None
) -> Any:
    """The cotangent of avg_pool's x, whose spatial axes have the lengths ``size``."""
    output, one = g.shape[2:], (1,) * len(kernel)
    g = g / _divisors(xp, g, size, kernel, stride, padding, counted, divisor)
    wide = tuple([n + b + a for n, (b, a) in zip(size, padding, strict=True)])
    x = _filled(xp, g, (*g.shape[:2], *wide), 0.0)
    for tap in _taps(kernel):
        x = xp.add_at(x, g, key=_key(tap, output, stride, one))
    return x[_inside(size, padding)]


def _divisors(
    xp: Any, y: Any, size: _Ints, kernel: _Ints, stride: _Ints, padding: _Pairs, counted: _Pairs, divisor: int | None
) -> Any:
    """By what each window's sum is divided: a number, or an array that broadcasts to y (N, C, *windows)."""
    if divisor is not None:
        return float(divisor)
    found: Any = float(math.prod(kernel))
    for i, (n, k, s, (before, after), (low, high)) in enumerate(
        zip(size, kernel, stride, padding, counted, strict=True)
    ):
        if (before, after) == (low, high):
            continue  # all of the window counts
        start = xp.positions(y, axis=i + 2) * s - before
        end = xp.minimum(start + k, xp.full_like(start, n + high))
        start = xp.maximum(start, xp.full_like(start, -low))
        count = xp.astype(end - start, y.dtype) / k
        found = xp.reshape(count, (-1,) + (1,) * (len(size) - 1 - i)) * found
    return found
