"""VJPs of the discrete Fourier transforms: the matrix of the DFT is symmetric, so each is its own transpose.

Around it stand the transposes of what the functions do besides: cutting or padding an axis to its length ``n``, and
leaving out the half of a spectrum that a real signal makes redundant.
"""

from __future__ import annotations

from typing import Any

# The transform with the same sign of the exponent but the other direction's name scales by the other convention.
OPPOSITE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _part(x: Any, axis: int, stop: int) -> Any:
    axis = axis % x.ndim
    return x[(slice(None),) * axis + (slice(0, stop),) + (slice(None),) * (x.ndim - axis - 1)]


def _fitted(xp: Any, g: Any, axis: int, length: int) -> Any:
    """Cut or padded with zeros to ``length``: the transpose of having padded or cut to what it is now."""
    present = g.shape[axis]
    if present > length:
        return _part(g, axis, length)
    if present < length:
        shape = list(g.shape)
        shape[axis] = length - present
        return xp.concat([g, xp.broadcast_to(xp.zeros_like(_part(g, axis, 1)), tuple(shape))], axis=axis)
    return g


def _all_fitted(xp: Any, g: Any, axes: Any, x: Any) -> Any:
    for axis in axes:
        g = _fitted(xp, g, axis, x.shape[axis])
    return g


def _doubled(xp: Any, x: Any, axis: int, n: int, halve: bool = False) -> Any:
    """Twice (or half) each frequency that stands for its mirror image too: all but 0 and, for even n, n / 2."""
    k = xp.positions(x, axis=axis)
    k = xp.reshape(k, (-1,) + (1,) * (x.ndim - axis % x.ndim - 1))
    return xp.where((k == 0) | (2 * k == n), x, x / 2 if halve else 2 * x)


def _transposed_rfft(xp: Any, g: Any, n: int, axis: int, norm: str) -> Any:
    """Re sum_k g_k exp(-2 pi i k j / n): irfft adds the mirror images, so each gets half."""
    return xp.fft.irfft(_doubled(xp, xp.conj(g), axis, n, halve=True), n=n, axis=axis, norm=OPPOSITE[norm])


def _transposed_irfft(xp: Any, g: Any, n: int, axis: int, norm: str) -> Any:
    """sum_j g_j exp(2 pi i k j / n), twice where a frequency spoke for two."""
    return _doubled(xp, xp.conj(xp.fft.rfft(g, n=n, axis=axis, norm=OPPOSITE[norm])), axis, n)


def _fft(xp: Any, g: Any, y: Any, x: Any, *, n: int, axis: int, norm: str) -> Any:
    return _fitted(xp, xp.fft.fft(g, axis=axis, norm=norm), axis, x.shape[axis])


def _ifft(xp: Any, g: Any, y: Any, x: Any, *, n: int, axis: int, norm: str) -> Any:
    return _fitted(xp, xp.fft.ifft(g, axis=axis, norm=norm), axis, x.shape[axis])


def _fftn(xp: Any, g: Any, y: Any, x: Any, *, s: Any, axes: Any, norm: str) -> Any:
    return _all_fitted(xp, xp.fft.fftn(g, axes=axes, norm=norm), axes, x)


def _ifftn(xp: Any, g: Any, y: Any, x: Any, *, s: Any, axes: Any, norm: str) -> Any:
    return _all_fitted(xp, xp.fft.ifftn(g, axes=axes, norm=norm), axes, x)


def _rfft(xp: Any, g: Any, y: Any, x: Any, *, n: int, axis: int, norm: str) -> Any:
    return _fitted(xp, _transposed_rfft(xp, g, n, axis, norm), axis, x.shape[axis])


def _irfft(xp: Any, g: Any, y: Any, x: Any, *, n: int, axis: int, norm: str) -> Any:
    return _fitted(xp, _transposed_irfft(xp, g, n, axis, norm), axis, x.shape[axis])


def _rfftn(xp: Any, g: Any, y: Any, x: Any, *, s: Any, axes: Any, norm: str) -> Any:
    # rfftn is rfft over the last axis, then fftn over the others.
    if len(axes) > 1:
        g = xp.fft.fftn(g, axes=axes[:-1], norm=norm)
    return _all_fitted(xp, _transposed_rfft(xp, g, s[-1], axes[-1], norm), axes, x)


def _irfftn(xp: Any, g: Any, y: Any, x: Any, *, s: Any, axes: Any, norm: str) -> Any:
    g = _transposed_irfft(xp, g, s[-1], axes[-1], norm)
    if len(axes) > 1:
        g = xp.fft.ifftn(g, axes=axes[:-1], norm=norm)
    return _all_fitted(xp, g, axes, x)


VJPS: dict[str, Any] = {
    "fft.fft": (_fft,),
    "fft.ifft": (_ifft,),
    "fft.fftn": (_fftn,),
    "fft.ifftn": (_ifftn,),
    "fft.rfft": (_rfft,),
    "fft.irfft": (_irfft,),
    "fft.rfftn": (_rfftn,),
    "fft.irfftn": (_irfftn,),
}
