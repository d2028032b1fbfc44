"""Samples of reading and writing by index."""

from __future__ import annotations

import numpy

import portanet as pn
from portanet import namespace
from tests.samples import Sample, real, signed

X = signed(3, 4)
ROWS = numpy.asarray([2, 0, 2, 2, 1])


def _written(x, v, key):
    y = x * x
    y[key] = v * v
    return y


SAMPLES = [
    Sample("getitem", lambda x: (x * x)[1:, ::2], (X,), "slices"),
    Sample("getitem", lambda x: (x * x)[..., 1], (X,), "ellipsis and number"),
    Sample("getitem", lambda x: (x * x)[:, None, :], (X,), "new axis"),
    Sample("getitem", lambda x, i, j: (x * x)[i, j], (X, ROWS, ROWS), "repeated arrays"),
    Sample("getitem", lambda x: (x * x)[x > 0], (X,), "mask", needs="boolean_indexing"),
    Sample("set_at", lambda x, v: _written(x, v, (slice(1, None), slice(None, None, 2))), (X, real(2, 2)), "slices"),
    Sample("set_at", lambda x, v: _written(x, v, (0, ...)), (X, numpy.asarray(0.4)), "broadcast"),
    Sample("add_at", lambda x, v, i: namespace.add_at(x * x, v * v, key=(i, i)), (X, real(5), ROWS), "repeated"),
    Sample("scatter_add", lambda x, i, v: namespace.scatter_add(x * x, i, v * v), (X, ROWS, real(5, 4))),
    Sample("take", lambda x, i: pn.take(x * x, i, axis=0), (X, ROWS), "first axis"),
    Sample("take", lambda x, i: pn.take(x * x, i, axis=-1), (X, ROWS), "last axis"),
    Sample("take_along_axis", lambda x: pn.take_along_axis(x * x, pn.argsort(x, axis=1)[:, :2], axis=1), (X,)),
    Sample("take_along_axis", lambda x: pn.sort(x * x, axis=0, descending=True), (X,), "sort"),
    Sample(
        "add_along_axis",
        lambda x, i, v: namespace.add_along_axis(x * x, i, v * v, axis=0),
        (X, numpy.asarray([[0, 1, 2, 0], [0, 0, 2, 2]]), real(2, 4)),
    ),
]
