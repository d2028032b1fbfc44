"""Samples of the functions that move elements about."""

from __future__ import annotations

import numpy

import portanet as pn
from tests.samples import Sample, complex_, real, signed

X = signed(2, 3, 4)


def _squared(function):
    """Moving elements is linear: a square in front makes the remainder and the second derivative show."""
    return lambda *xs: function(*[x * x for x in xs])


SAMPLES = [
    Sample("reshape", _squared(lambda x: pn.reshape(x, (4, -1))), (X,)),
    Sample("reshape", _squared(lambda x: pn.expand_dims(x, (0, 2))), (X,), "expand_dims"),
    Sample("squeeze", _squared(lambda x: pn.squeeze(x, 1)), (real(2, 1, 3),)),
    Sample("permute_dims", _squared(lambda x: pn.permute_dims(x, (2, 0, 1))), (X,)),
    Sample("permute_dims", _squared(lambda x: pn.moveaxis(x, (0, -1), (1, 0))), (X,), "moveaxis"),
    Sample("matrix_transpose", _squared(lambda x: x.mT), (X,)),
    Sample("broadcast_to", _squared(lambda x: pn.broadcast_to(x, (5, 2, 3, 4))), (real(2, 1, 4),)),
    Sample("broadcast_arrays", _squared(pn.broadcast_arrays), (real(2, 1), real(3))),
    Sample("broadcast_arrays", _squared(lambda a, b: pn.broadcast_arrays(a, b)[1]), (real(2, 1), real(3)), "one used"),
    Sample("meshgrid", _squared(pn.meshgrid), (real(2), real(3), real(4))),
    Sample("meshgrid", _squared(lambda *x: pn.meshgrid(*x, indexing="ij")), (real(2), real(3)), "ij"),
    Sample("concatenated", _squared(lambda a, b: pn.concat([a, b], axis=1)), (real(2, 3), real(2, 2))),
    Sample(
        "concatenated", _squared(lambda a, b: pn.concat([a, b], axis=None)), (real(2, 3), complex_(2, 2)), "flattened"
    ),
    Sample("stacked", _squared(lambda a, b: pn.stack([a, b], axis=1)), (real(2, 3), real(2, 3, seed=1))),
    Sample("unstack", _squared(lambda x: pn.unstack(x, axis=1)), (X,)),
    Sample("unstack", _squared(lambda x: pn.unstack(x, axis=-1)[2]), (X,), "one used"),
    Sample("flip", _squared(lambda x: pn.flip(x, axis=(0, 2))), (X,)),
    Sample("roll", _squared(lambda x: pn.roll(x, (1, -2), axis=(0, 2))), (X,)),
    Sample("roll", _squared(lambda x: pn.roll(x, 5)), (X,), "flattened"),
    Sample("repeat", _squared(lambda x: pn.repeat(x, 3, axis=1)), (X,)),
    Sample("repeat", _squared(lambda x: pn.repeat(x, 2)), (X,), "flattened"),
    Sample(
        "repeat",
        _squared(lambda x: pn.repeat(x, pn.asarray([2, 0, 1]), axis=1)),
        (X,),
        "counts",
        needs="data_dependent_shapes",
    ),
    Sample("tiled", _squared(lambda x: pn.tile(x, (2, 1, 3))), (X,)),
    Sample("tiled", _squared(lambda x: pn.tile(x, (2, 1, 1, 3))), (X,), "more axes"),
    Sample("tril", _squared(lambda x: pn.tril(x, k=-1)), (X,)),
    Sample("triu", _squared(lambda x: pn.triu(x, k=1)), (X,)),
    Sample("diff", _squared(lambda x: pn.diff(x, axis=1, n=2)), (X,)),
    Sample("diff", _squared(lambda x, e: pn.diff(x, axis=0, prepend=e, append=e)), (X, real(1, 3, 4)), "with ends"),
    Sample("copy", _squared(lambda x: pn.asarray(x, copy=True)), (X,)),
    Sample("moved", _squared(lambda x: x.to("numpy")), (X,)),
    Sample("reshape", _squared(lambda x: pn.reshape(x, (3, 0))), (numpy.zeros((0, 3)),), "empty"),
]
