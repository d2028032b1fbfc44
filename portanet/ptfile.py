"""Checkpoints that PyTorch wrote, read without PyTorch, and without running what a pickle may say.

A ``.pt`` file (since PyTorch 1.6) is a zip archive: ``data.pkl`` is a pickle of the structure, in which each tensor
names a storage, an offset, a shape and strides; the storages lie beside it as plain bytes. A pickle can call any
function by its name. Here it can call those of `ALLOWED`, each of which builds plain data, and is refused at any other.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portanet.dtypes import BY_NAME
from portanet.host import from_strides

__all__ = ["StoredArray", "is_pt_file", "read_pt"]


@dataclass(frozen=True)
class StoredArray:
    """One tensor of the file: a NumPy array (where bfloat16 has become float32), and the data type that it had."""

    host: Any
    dtype: str


@dataclass(frozen=True)
class _Storage:
    data: bytes
    dtype: str


class _Allowed:
    """A stand-in for one function or class of PyTorch's. It has no attributes that a pickle could change."""

    __slots__ = ()


class _Tensor(_Allowed):
    __slots__ = ()

    def __call__(self, storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> StoredArray:
        if not isinstance(storage, _Storage):
            raise ValueError(f"a tensor without a storage, with {type(storage).__name__} in its place")
        array = from_strides(storage.data, storage.dtype, offset, tuple(shape), tuple(strides))
        return StoredArray(array, storage.dtype)


class _Parameter(_Allowed):
    __slots__ = ()

    def __call__(self, tensor: Any, *_: Any) -> Any:
        return tensor


class _Tuple(_Allowed):
    __slots__ = ()

    def __call__(self, *given: Any) -> Any:
        return tuple(*given)


class _Text(_Allowed):
    """A device, as its name."""

    __slots__ = ()

    def __call__(self, *given: Any) -> str:
        return ":".join([str(part) for part in given])


# What a pickle of tensors in dicts, lists and tuples names. All else is refused.
ALLOWED: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor(),
    ("torch._utils", "_rebuild_parameter"): _Parameter(),
    ("torch", "Size"): _Tuple(),
    ("torch", "device"): _Text(),
    ("collections", "OrderedDict"): OrderedDict,
}
_STORAGES = {
    "BoolStorage": "bool", "ByteStorage": "uint8", "CharStorage": "int8", "ShortStorage": "int16",
    "IntStorage": "int32", "LongStorage": "int64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32", "DoubleStorage": "float64", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}  # fmt: skip


class _Reader(pickle.Unpickler):
    """An unpickler that finds nothing but what is allowed."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        self.archive, self.folder = archive, folder
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name; ValueError for one that is not allowed."""
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and name in BY_NAME:  # a data type by itself
            return name
        found = ALLOWED.get((module, name))
        if found is None:
            raise ValueError(
                f"it asks for {module}.{name}, and portanet builds nothing but tensors, numbers, strings, dicts, lists "
                "and tuples from a file. Save model.state_dict() instead of the model"
            )
        return found

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage that a tensor names: ("storage", type, key, device, number of elements)."""
        if not isinstance(pid, tuple) or len(pid) < 3 or pid[0] != "storage" or pid[1] not in _STORAGES.values():
            raise ValueError(f"it names a storage of an unknown kind, {pid!r}")
        key = str(pid[2])
        if key not in self.storages:
            self.storages[key] = _Storage(self.archive.read(f"{self.folder}/data/{key}"), pid[1])
        return self.storages[key]


def is_pt_file(path: Path) -> bool:
    """Whether this is a zip archive with PyTorch's pickle in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return _folder(archive) is not None


def _folder(archive: zipfile.ZipFile) -> str | None:
    """The one folder at the top, which is called as the file was."""
    found = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    return found[0].partition("/")[0] if found else None


def read_pt(path: Path) -> Any:
    """What ``torch.save`` wrote: dicts, lists, tuples, numbers and strings as they are, tensors as `StoredArray`.

    Raises ValueError, in one line that names what was asked for, where the file holds anything else or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            folder = _folder(archive) or ""
            order = f"{folder}/byteorder"
            if order in archive.namelist() and archive.read(order) != b"little":
                raise ValueError("it was written on a big-endian machine")
            return _plain(_Reader(archive, folder).load())
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError,
            IndexError) as problem:  # fmt: skip
        raise ValueError(f"{path}: a checkpoint of PyTorch's that is not read: {problem}.") from None


def _plain(tree: Any) -> Any:
    """Ordered dicts as dicts: an order is kept by both."""
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)([_plain(value) for value in tree])
    return tree
