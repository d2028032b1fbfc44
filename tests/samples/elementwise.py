"""Samples of the elementwise rules."""

from __future__ import annotations

import numpy

import portanet as pn
from tests.samples import Sample, complex_, real, signed

_INSIDE = ["acos", "asin", "atanh"]
_ANYWHERE = [
    "asinh",
    "atan",
    "cos",
    "cosh",
    "exp",
    "expm1",
    "sin",
    "sinh",
    "square",
    "tan",
    "tanh",
    "negative",
    "positive",
]
_POSITIVE = ["log", "log1p", "log2", "log10", "sqrt", "reciprocal"]
_STEPS = ["ceil", "floor", "round", "trunc"]

SAMPLES = [
    *[Sample(name, getattr(pn, name), (signed(3, 4),)) for name in _INSIDE + _ANYWHERE],
    *[
        Sample(name, getattr(pn, name), (complex_(3, 4),), "complex")
        for name in [*_INSIDE, *_ANYWHERE, *_POSITIVE, "acosh"]
    ],
    *[Sample(name, getattr(pn, name), (real(3, 4),)) for name in _POSITIVE],
    *[Sample(name, getattr(pn, name), (real(3, 4, low=0.2, high=0.3),)) for name in _STEPS],
    Sample("acosh", pn.acosh, (real(5, low=1.5, high=2.5),)),
    Sample("abs", pn.abs, (signed(3, 4),)),
    Sample("abs", pn.abs, (complex_(3, 4),), "complex"),
    Sample("sign", pn.sign, (signed(3, 4),)),
    Sample("sign", pn.sign, (complex_(3, 4),), "complex"),
    Sample("conj", pn.conj, (complex_(3, 4),), "complex"),
    Sample("real", pn.real, (complex_(3, 4),), "complex"),
    Sample("imag", pn.imag, (complex_(3, 4),), "complex"),
    *[
        Sample(name, getattr(pn, name), (signed(3, 4), real(4, seed=1)), "broadcast")
        for name in ["add", "subtract", "multiply", "divide", "hypot", "logaddexp", "atan2"]
    ],
    *[
        Sample(name, getattr(pn, name), (complex_(3, 4), complex_(3, 1, seed=1)), "complex")
        for name in ["add", "subtract", "multiply", "divide", "pow"]
    ],
    Sample("pow", pn.pow, (real(3, 4), signed(4, seed=1)), "broadcast"),
    Sample("pow", lambda x: x**3, (signed(3),), "number"),
    Sample("pow", lambda x: 2.0**x, (signed(3),), "of a number"),
    Sample("multiply", pn.multiply, (real(3, 4), complex_(4)), "real by complex"),
    Sample("remainder", pn.remainder, (real(3, low=5.1, high=5.4), real(3, low=1.1, high=1.2))),
    Sample("floor_divide", pn.floor_divide, (real(3, low=5.1, high=5.4), real(3, low=1.1, high=1.2))),
    Sample("where", lambda a, b: pn.where(a > b, a, b * b), (real(3, 4), real(4, seed=5))),
    Sample("where", lambda x: pn.where(x > 0, x, pn.expm1(pn.minimum(x, 0.0))), (signed(6) * 100,), "cleaned branch"),
    Sample("maximum", pn.maximum, (real(3, 4), real(4, seed=5) + 0.3)),
    Sample("minimum", pn.minimum, (real(3, 4), real(4, seed=5) + 0.3)),
    Sample("clip", pn.clip, (real(5), numpy.asarray(0.37), numpy.asarray(0.61))),
    Sample("clip", lambda x: pn.clip(x, None, 0.5), (real(5),), "one side"),
    Sample("copysign", pn.copysign, (signed(4), signed(4, seed=3)[::-1].copy())),
    Sample("nextafter", pn.nextafter, (real(4), real(4, seed=1))),
    Sample("cast", lambda x: pn.astype(x, pn.complex128) ** 2, (real(4),)),
    Sample("multiply", lambda x: x * x, (numpy.asarray(0.7),), "0-d"),
    Sample("multiply", lambda x: x * x + 1.0, (numpy.zeros((0, 3)),), "empty"),
    Sample("exp", pn.exp, (real(4, 6)[::2, ::-1].T,), "not contiguous"),
]
