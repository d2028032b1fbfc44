"""The values of a module's state, brought from elsewhere: checked, copied, carried."""

from __future__ import annotations

from typing import Any, NamedTuple

from portanet.backend import destination
from portanet.dtypes import complex_of
from portanet.library import is_array, move, namespace_of
from portanet.tensor import Tensor


class IncompatibleKeys(NamedTuple):
    """What `Module.load_state_dict` found on one side only."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def misfit(name: str, own: Tensor, shape: tuple[int, ...], given: Any) -> str:
    """Why ``given`` cannot become the value of ``own``, which has this shape; empty where it can."""
    if not is_array(given):
        return f"{name}: expected an array, saw {type(given).__name__}."
    if tuple(given.shape) != shape:
        return f"{name}: shape {shape} here, {tuple(given.shape)} in what is loaded."
    given = given if isinstance(given, Tensor) else Tensor(given)
    if given.dtype.kind == "complex floating" and own.dtype.kind != "complex floating":
        return f"{name}: {own.dtype} here, {given.dtype} in what is loaded."
    return ""


def copied(given: Any, like: Any) -> Any:
    """A raw array with the values of ``given`` and the library, device and dtype of the raw array ``like``."""
    library = namespace_of(like)
    given = given._raw if isinstance(given, Tensor) else Tensor(given)._raw
    raw = move(given, library, library.device_of(like))
    return library.astype(raw, like.dtype, copy=True)


def carried(raw: Any, targets: tuple[Any, ...], device: Any, dtype: Any) -> Any:
    """A raw array where ``targets`` say; both parts of a complex one get the dtype, whole numbers keep theirs."""
    source = namespace_of(raw)
    library, device, dtype = destination(targets, source, device, dtype)
    if dtype is not None and dtype.kind != "real floating":
        raise TypeError(f"Module.to: the dtype must be real floating, saw {dtype}; try portanet.float32.")
    own = source.dtype_of(raw.dtype)
    if dtype is not None and "floating" in own.kind:
        wanted = complex_of(dtype) if own.kind == "complex floating" else dtype
        raw = raw if own is wanted else source.astype(raw, source.raw_dtype(wanted))
    return move(raw, library, device)
