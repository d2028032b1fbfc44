"""Samples of the reductions and running forms."""

from __future__ import annotations

import numpy

import portanet as pn
from tests.samples import Sample, complex_, signed

_ZEROS = signed(3, 4)
_ZEROS[0, 1] = _ZEROS[1, 1] = _ZEROS[1, 3] = 0.0

SAMPLES = [
    *[
        Sample(name, function, (signed(3, 4),), f"axis {axis}" + (" kept" if keepdims else ""))
        for name in ["sum", "mean", "prod", "max", "min", "var", "std"]
        for axis in [None, 1, -2, (0, 1)]
        for keepdims in [False, True]
        for function in [
            lambda x, name=name, axis=axis, keepdims=keepdims: getattr(pn, name)(x, axis=axis, keepdims=keepdims)
        ]
    ],
    *[Sample(name, getattr(pn, name), (complex_(3, 4),), "complex") for name in ["sum", "mean", "prod"]],
    Sample("var", lambda x: pn.var(x, axis=0, correction=1), (signed(3, 4),), "corrected"),
    Sample("std", lambda x: pn.std(x, axis=0, correction=1), (signed(3, 4),), "corrected"),
    Sample("prod", lambda x: pn.prod(x, axis=1), (_ZEROS,), "zeros"),
    Sample("prod", pn.prod, (_ZEROS,), "zeros, all axes"),
    Sample("prod", lambda x: pn.prod(x, axis=(0, 2)), (signed(2, 3, 2),), "two axes of three"),
    *[
        Sample(name, function, (x,), f"axis {axis}, {note}" + (" with initial" if initial else ""))
        for name in ["cumulative_sum", "cumulative_prod"]
        for axis in [0, 1]
        for initial in [False, True]
        for note, x in [("real", signed(3, 5)), ("zeros", _ZEROS), ("complex", complex_(2, 3))]
        for function in [
            lambda x, name=name, axis=axis, initial=initial: getattr(pn, name)(x, axis=axis, include_initial=initial)
        ]
    ],
    Sample("cumulative_prod", pn.cumulative_prod, (numpy.asarray([0.5, 0.0, 2.0, 0.0, 3.0]),), "one axis"),
    Sample("sum", lambda x: pn.sum(x, axis=0), (numpy.zeros((0, 3)),), "empty"),
]
