"""The data types of the standard, as objects of our own: one `float32`, whichever library holds the array."""

from __future__ import annotations

from typing import Any

__all__ = ["DType"]


class DType:
    """A data type of the Array API standard, known by its name.

    Every backend has a ``float32`` of its own; ``portanet.float32`` stands for all of them, so that arrays of two
    libraries can be compared and moved. It equals a library's own type of the same name.

    >>> import numpy, portanet
    >>> portanet.float32 == numpy.dtype("float32")
    True
    >>> portanet.float32.itemsize
    4
    """

    __slots__ = ("itemsize", "kind", "name")

    def __init__(self, name: str, kind: str, itemsize: int) -> None:
        self.name = name
        self.kind = kind
        self.itemsize = itemsize

    def __repr__(self) -> str:
        return f"portanet.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self is other
        return other is not None and _name_of(other) == self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


def _name_of(dtype: object) -> str:
    """``float32`` for ``numpy.dtype('float32')``, ``torch.float32``, ``numpy.float32``, ``'float32'``."""
    for attribute in ("name", "__name__"):
        found = getattr(dtype, attribute, None)
        if isinstance(found, str):
            return found.rstrip("_")
    return str(dtype).rpartition(".")[2]


bool_ = DType("bool", "bool", 1)
int8 = DType("int8", "signed integer", 1)
int16 = DType("int16", "signed integer", 2)
int32 = DType("int32", "signed integer", 4)
int64 = DType("int64", "signed integer", 8)
uint8 = DType("uint8", "unsigned integer", 1)
uint16 = DType("uint16", "unsigned integer", 2)
uint32 = DType("uint32", "unsigned integer", 4)
uint64 = DType("uint64", "unsigned integer", 8)
# The two half-width types are not in the standard: they exist where the backend has them.
float16 = DType("float16", "real floating", 2)
bfloat16 = DType("bfloat16", "real floating", 2)
float32 = DType("float32", "real floating", 4)
float64 = DType("float64", "real floating", 8)
complex64 = DType("complex64", "complex floating", 8)
complex128 = DType("complex128", "complex floating", 16)

STANDARD = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64, complex64, complex128,
)  # fmt: skip
BY_NAME = {dtype.name: dtype for dtype in (*STANDARD, float16, bfloat16)}

KINDS = {
    "bool": {"bool"},
    "signed integer": {"signed integer"},
    "unsigned integer": {"unsigned integer"},
    "integral": {"signed integer", "unsigned integer"},
    "real floating": {"real floating"},
    "complex floating": {"complex floating"},
    "numeric": {"signed integer", "unsigned integer", "real floating", "complex floating"},
}


def as_dtype(dtype: Any) -> DType:
    """The `DType` that ``dtype`` names: a `DType`, a string, or any library's own data type."""
    if isinstance(dtype, DType):
        return dtype
    if dtype is float or dtype is int or dtype is complex:
        raise TypeError(f"dtype={dtype.__name__}: name the width, for example portanet.float32 or 'float32'.")
    found = BY_NAME.get(_name_of(dtype))
    if found is None:
        raise TypeError(f"dtype={dtype!r} is not known; known are {', '.join(BY_NAME)}.")
    return found


def complex_of(dtype: DType) -> DType:
    """The complex type whose parts are ``dtype``."""
    return complex128 if dtype is float64 else complex64
