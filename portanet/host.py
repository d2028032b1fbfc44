"""The host side of files: Python numbers and bytes to NumPy arrays, and arrays of any library back to bytes."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy

from portanet.dtypes import BY_NAME
from portanet.library import Library, namespace_of, to_numpy


def from_rows(rows: Sequence[Any], shape: tuple[int, ...]) -> Any:
    """Nested Python floats as a float64 NumPy array; ``shape`` is given because no rows say nothing of their width."""
    return numpy.asarray(rows, dtype=numpy.float64).reshape(shape)


def to_bytes(raw: Any) -> bytes:
    """The elements of an array, row by row, little-endian; complex ones as the pair of their parts.

    bfloat16, which NumPy lacks, travels as float32 whose lower half is zero: its upper half is the bfloat16.
    """
    library = namespace_of(raw)
    dtype = library.dtype_of(raw.dtype)
    if dtype.name == "bfloat16":
        bits = to_numpy(library.cast(raw, dtype=library.raw_dtype("float32"))).view(numpy.uint32)
        return (bits >> 16).astype("<u2").tobytes()
    host = to_numpy(raw)
    return host.astype(host.dtype.newbyteorder("<"), copy=False).tobytes()


def from_bytes(data: Any, dtype: str, shape: Sequence[int]) -> Any:
    """`to_bytes` undone: a NumPy array, where bfloat16 has become float32."""
    if dtype == "bfloat16":
        bits = numpy.frombuffer(data, dtype="<u2").astype(numpy.uint32) << 16
        return bits.view(numpy.float32).reshape(shape)
    host = numpy.frombuffer(data, dtype=numpy.dtype(dtype).newbyteorder("<"), count=math.prod(shape))
    # A copy: the file's buffer may be read-only, and would be kept whole by its smallest array.
    return host.astype(host.dtype.newbyteorder("="), copy=True).reshape(shape)


def from_strides(data: bytes, dtype: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The array whose element (i, j, ...) stands at offset + i strides[0] + j strides[1] + ... in ``data``, copied.

    All are counted in elements. Raises ValueError where that leads out of ``data``.
    """
    count = len(data) // BY_NAME[dtype].itemsize
    flat = from_bytes(data, dtype, (count,))
    if len(shape) != len(strides) or min((*shape, offset, 0)) < 0:
        raise ValueError(f"an array of shape {shape} with strides {strides} at {offset}")
    if 0 in shape:
        return numpy.empty(shape, flat.dtype)
    reach = [(n - 1) * step for n, step in zip(shape, strides)]
    first, last = offset + sum([r for r in reach if r < 0]), offset + sum([r for r in reach if r > 0])
    if first < 0 or last >= count:
        raise ValueError(f"an array of shape {shape} with strides {strides} at {offset} leaves its {count} elements")
    steps = tuple([step * flat.itemsize for step in strides])
    return numpy.lib.stride_tricks.as_strided(flat[offset:], shape, steps).copy()


def has_dtype(library: Library, dtype: Any) -> bool:
    """Whether ``library`` has this data type: the half-width ones are not in the standard."""
    return getattr(library.namespace, BY_NAME[str(dtype)].name, None) is not None


def is_constant(raw: Any) -> bool:
    """Whether this is a NumPy array that nobody can write to: read-only, and so is every array that it is a view of."""
    while isinstance(raw, numpy.ndarray):
        if raw.flags.writeable:
            return False
        raw = raw.base
    return raw is None or isinstance(raw, (bytes, mmap.mmap))


def equal(a: Any, b: Any) -> bool:
    """Whether two arrays, of any libraries, have the same elements (a NaN equals a NaN)."""
    first, second = to_numpy(a), to_numpy(b)
    return numpy.array_equal(first, second, equal_nan=first.dtype.kind in "fc")
