"""The windows of an array as columns, and columns added up where they came from. Shapes and words as in `convolution`."""

from __future__ import annotations

import math
from typing import Any

from portanet.kernels.generic.convolution import (
    _filled,
    _inside,
    _Ints,
    _key,
    _output,
    _padded,
    _Pairs,
    _taps,
)

__all__ = ["fold", "unfold"]


def unfold(xp: Any, x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> Any:
    """All windows as columns, by channel, then by tap. Shapes: (N, C, *size) -> (N, C taps, windows)."""
    output = _output(x.shape[2:], kernel, stride, padding, dilation)
    wide = _padded(xp, x, padding)
    seen = [wide[_key(tap, output, stride, dilation)] for tap in _taps(kernel)]
    return xp.reshape(xp.stack(seen, axis=2), (x.shape[0], x.shape[1] * len(seen), math.prod(output)))


def fold(xp: Any, x: Any, *, size: _Ints, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> Any:
    """The transpose of `unfold`: columns added up in an array whose spatial axes have the lengths ``size``.

    Shapes: (N, C taps, windows) -> (N, C, *size).
    """
    taps, output = _taps(kernel), _output(size, kernel, stride, padding, dilation)
    channels = x.shape[1] // len(taps)
    columns = xp.reshape(x, (x.shape[0], channels, len(taps), *output))
    rest = (slice(None),) * len(output)
    wide = tuple([n + before + after for n, (before, after) in zip(size, padding, strict=True)])
    y = _filled(xp, x, (x.shape[0], channels, *wide), 0.0)
    for i, tap in enumerate(taps):
        y = xp.add_at(y, columns[(slice(None), slice(None), i, *rest)], key=_key(tap, output, stride, dilation))
    return y[_inside(size, padding)]
