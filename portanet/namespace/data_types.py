"""Data types: what they are, what they turn into, and what the namespace says of itself."""

from __future__ import annotations

from typing import Any, NamedTuple

from portanet import dtypes
from portanet.backend import get_backend
from portanet.dtypes import DType, as_dtype, complex_of
from portanet.library import Library, libraries, namespace_of, operand
from portanet.tensor import Tensor, cast, moved

__all__ = ["__array_namespace_info__", "astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]


class FloatInfo(NamedTuple):
    """The machine limits of a floating dtype, as `finfo` returns them."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntegerInfo(NamedTuple):
    """The machine limits of an integer dtype, as `iinfo` returns them."""

    bits: int
    max: int
    min: int
    dtype: DType


def _library(x: Any) -> Library:
    """The library that speaks for a Tensor, or for a dtype alone the current backend's."""
    found: Library = namespace_of(x._raw) if isinstance(x, Tensor) else get_backend().library
    return found


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """``x`` with another dtype.

    Args:
        x: an array of any shape.
        dtype: a `DType` or its name. Complex to real is refused: take `real` or `imag`.
        copy: kept for the standard's sake; a Tensor's elements never change, so none is needed.
        device: where the result is to lie; None: where ``x`` is.

    Gradients are cast back on the way back.

    >>> import portanet
    >>> portanet.astype(portanet.asarray([1.7, -1.7]), portanet.int32)
    tensor([ 1, -1])
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    wanted = as_dtype(dtype)
    if x.dtype.kind == "complex floating" and wanted.kind != "complex floating":
        raise TypeError(f"astype from {x.dtype} to {wanted} would drop the imaginary part; take portanet.real first.")
    if device is not None:
        x = moved(x, _library(x), _library(x).device(device))
    return x if x.dtype is wanted and not copy else cast(x, wanted)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether ``from_`` (a dtype or an array) turns into dtype ``to`` by the standard's promotion without loss.

    >>> import portanet
    >>> portanet.can_cast(portanet.int16, portanet.int32), portanet.can_cast(portanet.float64, portanet.float32)
    (True, False)
    """
    source = from_.dtype if isinstance(from_, Tensor) else as_dtype(from_)
    library = _library(from_)
    return bool(library.can_cast(library.raw_dtype(source), library.raw_dtype(to)))


def finfo(type: Any, /) -> FloatInfo:
    """The machine limits of a floating dtype, or of the parts of a complex one.

    >>> import portanet
    >>> portanet.finfo(portanet.float32).bits
    32
    """
    dtype = type.dtype if isinstance(type, Tensor) else as_dtype(type)
    if dtype.kind not in ("real floating", "complex floating"):
        raise TypeError(f"finfo is for floating dtypes, saw {dtype}; use iinfo.")
    library = _library(type)
    found = library.finfo(library.raw_dtype(dtype))
    part = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}.get(dtype, dtype)
    largest, smallest = float(found.max), float(found.min)
    return FloatInfo(int(found.bits), float(found.eps), largest, smallest, float(found.smallest_normal), part)


def iinfo(type: Any, /) -> IntegerInfo:
    """The machine limits of an integer dtype.

    >>> import portanet
    >>> portanet.iinfo(portanet.int8).max
    127
    """
    dtype = type.dtype if isinstance(type, Tensor) else as_dtype(type)
    if "integer" not in dtype.kind:
        raise TypeError(f"iinfo is for integer dtypes, saw {dtype}; use finfo.")
    bits, signed = 8 * dtype.itemsize, dtype.kind == "signed integer"
    return IntegerInfo(bits, 2 ** (bits - signed) - 1, -(2 ** (bits - 1)) if signed else 0, dtype)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether ``dtype`` is of a ``kind``: a dtype, "bool", "signed integer", "unsigned integer", "integral",
    "real floating", "complex floating", "numeric", or a tuple of these.

    >>> import portanet
    >>> portanet.isdtype(portanet.float32, ("integral", "real floating"))
    True
    """
    dtype = as_dtype(dtype)
    if isinstance(kind, tuple):
        return any([isdtype(dtype, one) for one in kind])
    if isinstance(kind, str) and kind in dtypes.KINDS:
        return dtype.kind in dtypes.KINDS[kind]
    if isinstance(kind, str) and kind not in dtypes.BY_NAME:
        raise ValueError(f"kind={kind!r} is not known; known are {', '.join(dtypes.KINDS)}.")
    return dtype is as_dtype(kind)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that an operation on these arrays, dtypes and Python numbers gives, by the standard's promotion.

    >>> import portanet
    >>> portanet.result_type(portanet.float32, portanet.asarray([1.0]), 2.0)
    portanet.float32
    """
    library, given = None, []
    for entry in arrays_and_dtypes:
        if isinstance(entry, Tensor):
            library = library or namespace_of(entry._raw)
        given.append(entry._raw if isinstance(entry, Tensor) else entry)
    library = library or get_backend().library
    raws = []
    for entry in given:
        number = isinstance(entry, (bool, int, float, complex))
        raws.append(operand(entry) if number or type(entry) in libraries else library.raw_dtype(entry))
    return library.dtype_of(library.result_type(*raws))


class _Info:
    """What the namespace says of itself: the standard's inspection interface."""

    def capabilities(self) -> dict[str, Any]:
        """What the current backend can do: boolean indexing, data-dependent shapes, the most axes."""
        return dict(get_backend().library.namespace.__array_namespace_info__().capabilities())

    def default_device(self) -> Any:
        """The device of new arrays."""
        backend = get_backend()
        if backend.device is not None:
            return backend.device
        return backend.library.namespace.__array_namespace_info__().default_device()

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of new arrays: float32 unless `set_default_dtype` said otherwise."""
        backend = get_backend()
        found = backend.library.namespace.__array_namespace_info__().default_dtypes()
        whole = {kind: backend.library.dtype_of(found[kind]) for kind in ("integral", "indexing")}
        return {"real floating": backend.dtype, "complex floating": complex_of(backend.dtype), **whole}

    def devices(self) -> tuple[Any, ...]:
        """The devices of the current backend."""
        return tuple(get_backend().library.devices())

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The dtypes that the current backend has, by name."""
        info = get_backend().library.namespace.__array_namespace_info__()
        known = info.dtypes(device=get_backend().library.device(device), kind=kind)
        return {name: dtypes.BY_NAME[name] for name in known}


def __array_namespace_info__() -> _Info:
    """The standard's inspection interface: default dtypes, devices and capabilities of the current backend.

    >>> import portanet
    >>> portanet.__array_namespace_info__().default_dtypes()["real floating"]
    portanet.float32
    """
    return _Info()
