"""Checkpoints: nested dicts of arrays and numbers as one safetensors file, without pickle.

The format (https://github.com/huggingface/safetensors): eight bytes with the header's length, the header in JSON with
the dtype, shape and place of each array, then their bytes. The structure around the arrays is JSON in its metadata.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from portanet.backend import Backend, get_backend, use_backend
from portanet.dtypes import BY_NAME
from portanet.host import equal, from_bytes, has_dtype, to_bytes
from portanet.library import is_array, namespace_of, operand
from portanet.ptfile import StoredArray, is_pt_file, read_pt
from portanet.tensor import Tensor, cast, moved

__all__ = ["load", "save"]

# Our names of data types and those of the format. Complex numbers are stored as pairs of their parts, since the
# format has no complex128 and older readers no complex64; the structure says what they were.
CODES = {
    "bool": "BOOL", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16",
    "uint32": "U32", "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}  # fmt: skip
NAMES = {code: name for name, code in CODES.items()} | {"C64": "complex64"}
PARTS = {"complex64": "float32", "complex128": "float64"}
STRUCTURE = "portanet"  # the key of the metadata that holds the structure


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write arrays, and whatever plain Python holds them together, to a safetensors file.

    Args:
        obj: the ``state_dict()`` of a Module or optimizer, or any nesting of dicts, lists and tuples of Tensors,
            arrays, numbers, strings, truth values and None: ``{"model": ..., "optimizer": ..., "epoch": 3}``. Dict keys
            are strings, whole numbers, truth values or None.
        path: the file; what was there is replaced once the new file is complete, so that a crash leaves the old one.

    Arrays are named by their way from the top, joined by dots (``model.0.weight``), and any reader of safetensors
    finds them under these names. Complex ones are stored as pairs: their last axis, of length 2, holds real and
    imaginary part. A Parameter, or a Tensor that requires grad, is stored by its values.

    Raises:
        TypeError: ``obj`` holds something else; the message says where. Nothing is pickled.
        ValueError: two arrays get the same name; or a loop, ``obj`` within itself.

    >>> import pathlib, tempfile, portanet
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "checkpoint.safetensors"
    >>> portanet.save({"model": {"weight": portanet.ones(2)}, "epoch": 3}, path)
    >>> portanet.load(path)
    {'model': {'weight': tensor([1., 1.])}, 'epoch': 3}
    >>> folder.cleanup()
    """
    arrays: dict[str, Any] = {}
    tree = _taken_apart(obj, (), arrays, [])
    # Wide types first: every array then begins at a multiple of its item size, as readers that map the file want it.
    order = sorted(arrays, key=lambda name: (-BY_NAME[_stored(arrays[name])[0]].itemsize, name))
    split = {name: _dtype(raw) for name, raw in arrays.items() if _dtype(raw) in PARTS}
    header: dict[str, Any] = {"__metadata__": {STRUCTURE: json.dumps({"tree": tree, "complex": split})}}
    start = 0
    for name in order:
        dtype, shape = _stored(arrays[name])
        stop = start + math.prod(shape) * BY_NAME[dtype].itemsize
        header[name] = {"dtype": CODES[dtype], "shape": shape, "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with _replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:  # one at a time: a second copy of all arrays may not fit
            file.write(to_bytes(arrays[name]))


def load(path: str | os.PathLike[str], backend: Any = None, *, device: Any = None) -> Any:
    """Read what `save` wrote, any safetensors file, or what PyTorch's ``torch.save`` wrote, its arrays as Tensors.

    Args:
        path: the file.
        backend: the library of the Tensors, as `set_backend` names it; None: the current backend.
        device: where they go; None: the backend's device.

    Returns:
        the same nesting of dicts, lists and tuples, with every number and array as it was saved, to the last bit; from
        a file of another program, a flat dict of name -> Tensor; from a ``.pt`` file what was in it: dicts, lists, tuples,
        numbers and strings, with a tensor's values as a constant. Dtypes are kept, but for two cases without loss: a
        half-width type that the backend lacks becomes float32, and whole numbers that fit become narrower where the
        backend makes them so (JAX without ``jax_enable_x64``).

    Raises:
        ValueError: a file that is neither, is cut short or damaged (one line that says which); a ``.pt`` file with
            anything but plain data in it, such as a whole model, which only code could build; or an array that the
            backend cannot hold exactly (float64 in JAX without ``jax_enable_x64``).
        FileNotFoundError: no such file.

    >>> import pathlib, tempfile, portanet
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "model.safetensors"
    >>> portanet.save({"layers.0.bias": portanet.zeros(2)}, path)
    >>> portanet.load(path, backend="numpy")
    {'layers.0.bias': tensor([0., 0.])}
    >>> folder.cleanup()
    """
    path = Path(path)
    target = get_backend() if backend is None else backend
    if isinstance(target, Backend):
        target, device = target.library, target.device if device is None else device
    if is_pt_file(path):
        with use_backend(target, device=device) as place:
            return _with_tensors(read_pt(path), str(path), place)
    entries, structure = _read(path)
    split = {} if structure is None else structure["complex"]
    with use_backend(target, device=device) as place:
        tensors = {name: _tensor(f"{path}: {name}", entry, split.get(name), place) for name, entry in entries}
    if structure is None:
        return tensors
    try:
        return _put_together(structure["tree"], tensors)
    except (KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"{path}: the structure in its metadata does not fit its arrays ({problem!r}).") from None


# ---------------------------------------------------------------------------------------------------------------------
# The structure: plain JSON, in which what JSON lacks is an object with one key that says what it stands for.


def _taken_apart(obj: Any, way: tuple[str, ...], arrays: dict[str, Any], above: list[int]) -> Any:
    """``obj`` as JSON, its arrays put into ``arrays`` under the names that stand for them."""
    if obj is None or isinstance(obj, str):
        return obj
    number = operand(obj)  # before arrays: a NumPy scalar counts as the number it stands for
    if isinstance(number, (bool, int, float, complex)):
        return _number(number)
    if is_array(obj):
        name = ".".join(way) or "array"
        if name in arrays or name == "__metadata__":
            raise ValueError(f"save: two entries would be called {name!r} in the file; rename one.")
        arrays[name] = obj.array if isinstance(obj, Tensor) else obj
        return {"array": name}
    if id(obj) in above:
        raise ValueError(f"save: {'.'.join(way)} holds itself; a file cannot.")
    above = [*above, id(obj)]
    if isinstance(obj, Mapping):
        items = [(_key(key, way), _taken_apart(value, (*way, str(key)), arrays, above)) for key, value in obj.items()]
        return {"dict": items}
    if isinstance(obj, (tuple, list)):
        entries = [_taken_apart(value, (*way, str(i)), arrays, above) for i, value in enumerate(obj)]
        return entries if isinstance(obj, list) else {"tuple": entries}
    where = f"{'.'.join(way) or 'this'} is a {type(obj).__name__}"
    advice = "pass its state_dict()" if hasattr(obj, "state_dict") else "leave it out, or make it numbers and strings"
    raise TypeError(f"save: {where}, which no file without pickle holds; {advice}.")


def _number(number: Any) -> Any:
    if isinstance(number, complex):
        return {"complex": [repr(number.real), repr(number.imag)]}
    if isinstance(number, float) and not math.isfinite(number):
        return {"float": repr(number)}  # NaN and Infinity are not JSON
    return number


def _key(key: Any, way: tuple[str, ...]) -> Any:
    if key is None or isinstance(key, (str, bool, int)):
        return key
    raise TypeError(
        f"save: {'.'.join(way) or 'the dict'} has a key {key!r} of type {type(key).__name__}; keys are strings or "
        "whole numbers."
    )


def _put_together(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """`_taken_apart` undone."""
    unused = set(tensors)
    result = _value(tree, tensors, unused)
    if unused:
        raise ValueError(f"no place for {', '.join(sorted(unused))}")
    return result


def _value(tree: Any, tensors: dict[str, Tensor], unused: set[str]) -> Any:
    if isinstance(tree, list):
        return [_value(entry, tensors, unused) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "array":
        unused.discard(content)
        return tensors[content]
    if kind == "dict":
        return {key: _value(entry, tensors, unused) for key, entry in content}
    if kind == "tuple":
        return tuple([_value(entry, tensors, unused) for entry in content])
    if kind == "complex":
        return complex(float(content[0]), float(content[1]))
    if kind == "float":
        return float(content)
    raise ValueError(f"unknown entry {kind!r}")


# ---------------------------------------------------------------------------------------------------------------------
# The file.


def _dtype(raw: Any) -> str:
    return str(namespace_of(raw).dtype_of(raw.dtype))


def _stored(raw: Any) -> tuple[str, list[int]]:
    """The dtype and shape under which an array lies in the file."""
    dtype, shape = _dtype(raw), [int(length) for length in raw.shape]
    return (PARTS[dtype], [*shape, 2]) if dtype in PARTS else (dtype, shape)


@contextlib.contextmanager
def _replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file beside ``path`` that takes its place when all is written, and vanishes where that fails."""
    final = Path(os.path.realpath(path))  # a link stays a link
    beside = final.with_name(f".{final.name}.{os.urandom(8).hex()}")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, final)
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path) -> tuple[list[tuple[str, Any]], Any]:
    """The arrays in the file, as names with dtype, shape and bytes, and the structure if `save` left one."""
    from safetensors import SafetensorError, deserialize  # here, so that `import portanet` does not pay for it

    data = path.read_bytes()
    try:
        entries: list[tuple[str, Any]] = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as problem:
        raise ValueError(f"{path}: {_what_is_wrong(data, problem)}") from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = (header.get("__metadata__") or {}).get(STRUCTURE)
    if text is None:
        return entries, None
    try:
        structure = json.loads(text)
        structure["tree"], structure["complex"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ValueError(f"{path}: the structure in its metadata is damaged ({problem!r}).") from None
    return entries, structure


STARTS = {
    b"\x80": "a pickle, which portanet never opens, because a pickle can run any code",
    b"PK": "a zip archive, and not one of torch.save's; numpy.load reads those of numpy.savez",
    b"\x93NUMPY": "a NumPy .npy file; numpy.load reads it",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip file; unpack it first",
}


def _what_is_wrong(data: bytes, problem: Exception) -> str:
    """One line on a file that safetensors refuses."""
    length = int.from_bytes(data[:8], "little")
    if data[8:9] == b"{":
        if 8 + length > len(data):
            return f"cut short: {len(data)} bytes, and its header alone should have {length}."
        end = _end_of(data[8 : 8 + length])
        if end is not None and 8 + length + end > len(data):
            return f"cut short: {len(data)} of {8 + length + end} bytes."
        return f"a damaged safetensors file ({problem})."
    if not data:
        return "an empty file, no safetensors file."
    for start, what in STARTS.items():
        if data.startswith(start):
            return f"no safetensors file but {what}."
    return f"no safetensors file ({problem})."


def _end_of(header: bytes) -> int | None:
    """Where the last array ends, by the header, or None where that cannot be read."""
    try:
        entries = json.loads(header)
        return max([entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _tensor(what: str, entry: Any, whole: str | None, place: Backend) -> Tensor:
    """One array of the file where it is wanted; ``whole`` is the complex type that its pairs are the parts of."""
    name, shape = NAMES.get(entry["dtype"]), list(entry["shape"])
    if name is None:
        raise ValueError(f"{what} has data type {entry['dtype']}, which no backend has; known are {', '.join(NAMES)}.")
    if whole is not None:
        if PARTS.get(whole) != name or shape[-1:] != [2]:
            raise ValueError(f"{what} should be pairs that make {whole}, and has {name} of shape {tuple(shape)}.")
        name, shape = whole, shape[:-1]
    return _placed(what, Tensor(from_bytes(entry["data"], name, shape)), name, place)


def _with_tensors(tree: Any, what: str, place: Backend) -> Any:
    """What `read_pt` gave, its arrays as Tensors where they are wanted."""
    if isinstance(tree, StoredArray):
        return _placed(what, Tensor(tree.host), tree.dtype, place)
    if isinstance(tree, dict):
        return {key: _with_tensors(value, f"{what}: {key}", place) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)([_with_tensors(value, what, place) for value in tree])
    return tree


def _placed(what: str, host: Tensor, name: str, place: Backend) -> Tensor:
    """An array that was read, where it is wanted; ``name`` is the data type that it had."""
    wanted = BY_NAME[name] if has_dtype(place.library, name) else BY_NAME["float32"]
    if host.dtype.itemsize == 2 and wanted.name == "float32":
        host = cast(host, wanted)
    x = moved(host, place.library, place.device)
    if x.dtype is not wanted and name == "bfloat16":
        return cast(x, wanted)
    if x.dtype is not wanted and not equal(host.array, x.array):
        raise ValueError(
            f"{what} is {wanted}, and {place.name} made it {x.dtype} with other values. Let it have {wanted} (JAX: "
            "jax.config.update('jax_enable_x64', True)), or load with backend='numpy' and convert."
        )
    return x
