"""What every function with parameters asks of its input: an array, of the parameters' library and dtype."""

from __future__ import annotations

from typing import Any

from portanet import autocasting
from portanet.dtypes import DType
from portanet.library import namespace_of, require_same
from portanet.tensor import Tensor


def raw_of(x: Any) -> Any:
    """The array inside a Tensor; a raw array as it is. Raises TypeError for anything else."""
    if isinstance(x, Tensor):
        return x._raw
    namespace_of(x)
    return x


def common_namespace(*arrays: Any) -> Any:
    """The functions that work on all of these: portanet's where one of them is a Tensor. None is passed over."""
    for x in arrays:
        if isinstance(x, Tensor):
            return namespace_of(x)
    return namespace_of(arrays[0])


def dtype_of(raw: Any) -> DType:
    """The `DType` of a raw array."""
    found: DType = namespace_of(raw).dtypes[raw.dtype]
    return found


def refuse_dtype(name: str, x: Any, parameter: Any) -> None:
    """Raise TypeError for an input whose dtype or library is not that of the parameters: promotion would hide it."""
    require_same(name, x, parameter)
    given, own = dtype_of(x), dtype_of(parameter)
    if given is own or autocasting.allowed(given, own):
        return
    cast = f"cast the input with portanet.astype(x, {own!r})"
    if given.kind == own.kind:
        cast += f", or the layer with layer.to({given!r})"
    raise TypeError(f"{name}: the input is {given}, the parameters are {own}; {cast}.")


def require_dtype(name: str, x: Any, *parameters: Any) -> None:
    """Raise TypeError unless ``x`` has the dtype of each parameter that is not None."""
    a = raw_of(x)
    for parameter in parameters:
        if parameter is not None:
            w = raw_of(parameter)
            if a.dtype != w.dtype or type(a) is not type(w):
                refuse_dtype(name, a, w)
