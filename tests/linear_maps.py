"""Linear maps for hypothesis to draw: at least one for each rule about shapes, indices and Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import portanet as pn
from portanet import namespace
from tests.drawing import (
    SEEDS,
    SHAPES,
    WITH_AXES,
    array_key,
    axes_of,
    axis_of,
    basic_key,
    index_array,
    keyed,
    numbers,
    sized,
    tensor,
    written_shape,
)  # fmt: skip

NORMS = st.sampled_from(["backward", "ortho", "forward"])


def reshape(draw):
    shape = draw(SHAPES)
    target = list(draw(st.permutations(shape)))
    if target and math.prod(shape):
        target[0] = -1
    return lambda x: pn.reshape(x, tuple(target)), [shape]


def squeeze(draw):
    shape = draw(WITH_AXES)
    ones = axes_of(draw, shape)
    shape = tuple([1 if i in [a % len(shape) for a in ones] else n for i, n in enumerate(shape)])
    return lambda x: pn.squeeze(x, ones), [shape]


def permute_dims(draw):
    shape = draw(SHAPES)
    order = numpy.random.default_rng(draw(SEEDS)).permutation(len(shape))  # hypothesis seldom turns three in a circle
    axes = tuple([int(a) - len(shape) * draw(st.integers(0, 1)) for a in order])
    return lambda x: pn.permute_dims(x, axes), [shape]


def broadcast_to(draw):
    drawn = draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3))
    return lambda x: pn.broadcast_to(x, drawn.result_shape), [drawn.input_shapes[0]]


def broadcast_arrays(draw):
    drawn = draw(mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=3))
    return pn.broadcast_arrays, list(drawn.input_shapes)


def meshgrid(draw):
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    order = draw(st.sampled_from(["xy", "ij"]))
    return lambda *x: tuple(pn.meshgrid(*x, indexing=order)), [(n,) for n in lengths]


def concatenated(draw):
    shape = draw(WITH_AXES)
    axis = axis_of(draw, shape)
    if draw(st.integers(0, 3)) == 0:
        return lambda *x: pn.concat(x, axis=None), [draw(SHAPES), draw(SHAPES), shape]
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    pieces = [tuple([m if i == axis % len(shape) else n for i, n in enumerate(shape)]) for m in lengths]
    return lambda *x: pn.concat(x, axis=axis), pieces


def stacked(draw):
    shape = draw(SHAPES)
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    return lambda *x: pn.stack(x, axis=axis), [shape] * draw(st.integers(1, 3))


def unstack(draw):
    shape = draw(WITH_AXES)
    axis = axis_of(draw, shape)
    used = draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, unique=True))
    return lambda x: tuple([pn.unstack(x, axis=axis)[i] for i in used]), [shape]


def flip(draw):
    shape = draw(SHAPES)
    axis = draw(st.sampled_from([None, axis_of(draw, shape), axes_of(draw, shape)])) if shape else None
    return lambda x: pn.flip(x, axis=axis), [shape]


def roll(draw):
    shape = draw(SHAPES)
    shift = draw(st.integers(-9, 9))
    if not shape or draw(st.booleans()):
        axis = axis_of(draw, shape) if shape and draw(st.booleans()) else None
        return lambda x: pn.roll(x, shift, axis=axis), [shape]
    axes = axes_of(draw, shape, least=1)
    shifts = tuple([draw(st.integers(-9, 9)) for _ in axes])
    return lambda x: pn.roll(x, shifts, axis=axes), [shape]


def repeat(draw):
    shape = draw(SHAPES)
    axis = axis_of(draw, shape) if shape and draw(st.booleans()) else None
    count = draw(st.integers(0, 3))
    return lambda x: pn.repeat(x, count, axis=axis), [shape]


def repeat_by_counts(draw):
    shape = draw(WITH_AXES)
    axis = draw(st.sampled_from([None, axis_of(draw, shape)]))
    counts = numpy.random.default_rng(draw(SEEDS)).integers(0, 4, math.prod(shape) if axis is None else shape[axis])
    return lambda x: pn.repeat(x, tensor(counts), axis=axis), [shape]


def tiled(draw):
    repetitions = tuple(draw(st.lists(st.integers(0, 3), max_size=4)))
    return lambda x: pn.tile(x, repetitions), [draw(SHAPES)]


def matrix(draw):
    return draw(sized(2, 3, 4, 1, 0, least=2))


def triangle(name):
    def triangular(draw):
        k = draw(st.integers(-4, 4))
        return lambda x: getattr(pn, name)(x, k=k), [matrix(draw)]

    return triangular


def diff(draw):
    shape = draw(WITH_AXES)
    axis = axis_of(draw, shape)
    n = draw(st.integers(1, shape[axis] + 1))
    return lambda x: pn.diff(x, axis=axis, n=n), [shape]


def moved(draw):
    return lambda x: x.to("array_api_strict" if x.backend.startswith("numpy") else "numpy"), [draw(SHAPES)]


def getitem(draw):
    shape = draw(SHAPES)
    key = basic_key(draw, shape, new=True)
    return lambda x: x[key], [shape]


def getitem_by_arrays(draw):
    shape = draw(WITH_AXES)
    key = array_key(draw, shape)
    return lambda x: x[keyed(key)], [shape]


def getitem_by_mask(draw):
    shape = draw(WITH_AXES)
    mask = numbers(draw(SEEDS), shape, "bool")
    return lambda x: x[tensor(mask)], [shape]


def set_at(draw):
    shape = draw(SHAPES)
    key = basic_key(draw, shape)
    return lambda x, v: namespace.set_at(x, v, key=key), [shape, written_shape(draw, shape, key)]


def add_at(draw):
    shape = draw(WITH_AXES)
    if draw(st.booleans()):
        key = array_key(draw, shape)
        return lambda x, v: namespace.add_at(x, v, key=keyed(key)), [shape, numpy.zeros(shape)[key].shape]
    key = basic_key(draw, shape)
    return lambda x, v: namespace.add_at(x, v, key=key), [shape, numpy.zeros(shape)[key].shape]


def scatter_add(draw):
    shape = draw(WITH_AXES)
    rows = index_array(draw, (draw(st.integers(0, 6)),), shape[0], negative=False)
    return lambda x, v: namespace.scatter_add(x, tensor(rows), v), [shape, (*rows.shape, *shape[1:])]


def take(draw):
    shape = draw(WITH_AXES)
    axis = axis_of(draw, shape)
    rows = index_array(draw, (draw(st.integers(0, 6)),), shape[axis])
    return lambda x: pn.take(x, tensor(rows), axis=axis), [shape]


def along_axis(draw, broadcast):
    shape = draw(WITH_AXES)
    axis = axis_of(draw, shape)
    count = draw(st.integers(0, 4))
    one = [broadcast and draw(st.booleans()) for _ in shape]
    taken = tuple([count if i == axis % len(shape) else 1 if one[i] else n for i, n in enumerate(shape)])
    return shape, axis, index_array(draw, taken, shape[axis])


def take_along_axis(draw):
    shape, axis, places = along_axis(draw, broadcast=True)
    return lambda x: pn.take_along_axis(x, tensor(places), axis=axis), [shape]


def add_along_axis(draw):
    shape, axis, places = along_axis(draw, broadcast=False)
    return lambda x, v: namespace.add_along_axis(x, tensor(places), v, axis=axis), [shape, places.shape]


def transform(name):
    def transformed(draw):
        shape = draw(WITH_AXES)
        axis = axis_of(draw, shape)
        n = draw(st.integers(1, 7))
        norm = draw(NORMS)
        return lambda x: getattr(pn.fft, name)(x, n=n, axis=axis, norm=norm), [shape]

    return transformed


def transform_of_axes(name):
    def transformed(draw):
        shape = draw(WITH_AXES)
        axes = axes_of(draw, shape, least=1)
        s = tuple([draw(st.integers(1, 5)) for _ in axes])
        norm = draw(NORMS)
        return lambda x: getattr(pn.fft, name)(x, s=s, axes=axes, norm=norm), [shape]

    return transformed


# "rule" or "rule, variant" -> draws a linear map and the shapes of what it takes
LINEAR: dict[str, Callable[..., Any]] = {
    "reshape": reshape,
    "squeeze": squeeze,
    "permute_dims": permute_dims,
    "matrix_transpose": lambda draw: (pn.matrix_transpose, [matrix(draw)]),
    "broadcast_to": broadcast_to,
    "broadcast_arrays": broadcast_arrays,
    "meshgrid": meshgrid,
    "concatenated": concatenated,
    "stacked": stacked,
    "unstack": unstack,
    "flip": flip,
    "roll": roll,
    "repeat": repeat,
    "repeat, counts": repeat_by_counts,
    "tiled": tiled,
    "tril": triangle("tril"),
    "triu": triangle("triu"),
    "diff": diff,
    "cast": lambda draw: (lambda x: pn.astype(x, pn.float32), [draw(SHAPES)]),
    "copy": lambda draw: (lambda x: pn.asarray(x, copy=True), [draw(SHAPES)]),
    "moved": moved,
    "getitem": getitem,
    "getitem, arrays": getitem_by_arrays,
    "getitem, mask": getitem_by_mask,
    "set_at": set_at,
    "add_at": add_at,
    "scatter_add": scatter_add,
    "take": take,
    "take_along_axis": take_along_axis,
    "add_along_axis": add_along_axis,
    **{f"fft.{name}": transform(name) for name in ("fft", "ifft", "rfft", "irfft")},
    **{f"fft.{name}": transform_of_axes(name) for name in ("fftn", "ifftn", "rfftn", "irfftn")},
}
