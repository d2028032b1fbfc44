"""Samples of the Fourier transforms."""

from __future__ import annotations

import portanet as pn
from tests.samples import Sample, complex_, signed

ft = pn.fft
X, Z = signed(3, 4), complex_(3, 4)


def _squared(function, **options):
    """Transforms are linear: a square in front makes the remainder and the second derivative show."""
    return lambda x: function(x * x, **options)


def _sample(rule, function, x, note="", **options):
    return Sample(f"fft.{rule}", _squared(function, **options), (x,), note, needs="fft")


SAMPLES = [
    _sample("fft", ft.fft, Z),
    _sample("fft", ft.fft, X, "real"),
    _sample("fft", ft.fft, Z, "padded", n=6, axis=0, norm="ortho"),
    _sample("fft", ft.fft, Z, "cut", n=3, norm="forward"),
    _sample("ifft", ft.ifft, Z, axis=-2),
    _sample("ifft", ft.ifft, Z, "padded", n=5, norm="ortho"),
    _sample("ifft", ft.ifft, Z, "cut", n=2, norm="forward"),
    _sample("fftn", ft.fftn, complex_(2, 3, 4)),
    _sample("fftn", ft.fftn, X, "sizes", s=(2, 6), axes=(1, 0), norm="ortho"),
    _sample("ifftn", ft.ifftn, complex_(2, 3, 4), axes=(0, 2)),
    _sample("ifftn", ft.ifftn, complex_(2, 3, 4), "sizes", s=(4, -1), norm="forward"),
    _sample("rfft", ft.rfft, X),
    _sample("rfft", ft.rfft, X, "odd", axis=0, norm="ortho"),
    _sample("rfft", ft.rfft, X, "padded", n=7, norm="forward"),
    _sample("rfft", ft.rfft, X, "cut", n=2, axis=0),
    _sample("rfft", ft.rfft, X, "to one", n=1),
    _sample("rfft", ft.ihfft, X, "ihfft"),
    _sample("rfft", ft.ihfft, X, "ihfft, odd", n=5, norm="ortho"),
    _sample("irfft", ft.irfft, Z),
    _sample("irfft", ft.irfft, X, "real"),
    _sample("irfft", ft.irfft, Z, "odd", n=7, norm="ortho"),
    _sample("irfft", ft.irfft, Z, "padded", n=9, axis=0, norm="forward"),
    _sample("irfft", ft.irfft, Z, "cut", n=3),
    _sample("irfft", ft.irfft, Z, "to one", n=1),
    _sample("irfft", ft.hfft, Z, "hfft"),
    _sample("irfft", ft.hfft, Z, "hfft, odd", n=5, axis=0, norm="ortho"),
    _sample("rfftn", ft.rfftn, signed(2, 3, 4)),
    _sample("rfftn", ft.rfftn, X, "one axis", axes=(0,), norm="ortho"),
    _sample("rfftn", ft.rfftn, signed(2, 3, 4), "sizes", s=(4, 5), axes=(2, 0), norm="forward"),
    _sample("irfftn", ft.irfftn, complex_(2, 3, 4)),
    _sample("irfftn", ft.irfftn, Z, "one axis", axes=(-1,), norm="ortho"),
    _sample("irfftn", ft.irfftn, complex_(2, 3, 4), "sizes", s=(4, 5), axes=(2, 0), norm="forward"),
    Sample("roll", _squared(ft.fftshift), (X,), "fftshift"),
    Sample("roll", _squared(ft.ifftshift, axes=-1), (Z,), "ifftshift"),
]
