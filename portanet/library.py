"""From an array to its library: every function that works on it, under the standard's names.

The only module that knows array_api_compat. Everything above asks `namespace_of(x)` once and then calls the standard.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

import numpy

from portanet import doors, dtypes, memory
from portanet.dtypes import DType
from portanet.kernels import generic
from portanet.memory import OutOfMemoryError


class _DTypes(dict[Any, DType]):
    """From a library's own data type objects to ours, each looked up once."""

    def __missing__(self, raw: Any) -> DType:
        found = self[raw] = dtypes.as_dtype(raw)
        return found


EXTENSIONS = ("fft", "linalg")


class Library:
    """One array library as rules and layers see it: every name of the standard, and every kernel, as an attribute.

    A kernel is looked for in ``kernels/<library>`` and then in ``kernels/generic``; a name of the standard in the
    former, then in the library's own namespace. So a function of the library that happens to be called like a kernel
    is never mistaken for one. What is found is kept on the instance: the next look-up costs one dictionary access.
    """

    def __init__(self, namespace: Any) -> None:
        path = namespace.__name__.split(".")
        self.library_name: str = path[1] if path[0] == "array_api_compat" else path[0]
        self.namespace = namespace
        self._raw_dtypes: dict[DType, Any] = {}
        self.dtypes = _DTypes()
        kernels = f"portanet.kernels.{self.library_name}"
        self._kernels = importlib.import_module(kernels) if importlib.util.find_spec(kernels) else None

    def __repr__(self) -> str:
        return f"<array library {self.library_name}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        plain = name.replace(".", "_")  # names of an extension come with a dot: "linalg.svd"
        found: Any = _Extension(self, name) if name in EXTENSIONS and hasattr(self.namespace, name) else None
        if found is None:
            found = getattr(self._kernels, plain, None)
        if isinstance(found, ModuleType):  # a family of kernels, such as kernels/numpy/random.py
            found = None
        if found is None and name == plain:
            found = _bound(getattr(generic, name, None), self)
        if found is None:
            found = functools.reduce(lambda owner, part: getattr(owner, part, None), name.split("."), self.namespace)
        if found is None:  # an extension's function that this library lacks
            found = _bound(getattr(generic, plain, None), self)
        if found is None:
            raise AttributeError(f"{self.library_name} has no function {name!r}, and kernels/generic defines none.")
        if name in doors.DOORS and self.library_name != HOST:
            found = doors.DOORS[name](found)
        setattr(self, name, found)
        return found

    def raw_dtype(self, dtype: Any) -> Any:
        """The library's own object for a `DType`, a string or another library's data type; None stays None."""
        if dtype is None:
            return None
        known = dtypes.as_dtype(dtype)
        raw = self._raw_dtypes.get(known)
        if raw is None:
            raw = getattr(self.namespace, known.name, None)
            if raw is None and known is dtypes.bfloat16:  # a library may have it without a name of its own
                raw = self.bfloat16_dtype()
            if raw is None:
                raise TypeError(f"{self.library_name} has no data type {known.name}.")
            self._raw_dtypes[known] = raw
        return raw

    def dtype_of(self, raw: Any) -> DType:
        """The `DType` of a library's own data type object."""
        return self.dtypes[raw]

    def devices(self) -> list[Any]:
        """The devices that the library says it can use."""
        return list(self.namespace.__array_namespace_info__().devices())

    def move_like(self, raw: Any, like: Any) -> Any:
        """``raw`` carried to the library and device of the raw array ``like``."""
        return move(raw, namespace_of(like), device_of(like))

    def receive(self, raw: Any, device: Any = None) -> Any:
        """``raw``, of any library, carried to this one and to ``device``."""
        return move(raw, self, device)

    def device(self, wanted: Any) -> Any:
        """The device object for ``"cuda:0"``, ``"cpu"``, ``"device1"`` or a number; a device object stays itself."""
        if not isinstance(wanted, (str, int)):
            return wanted
        known = [device for device in self.devices() if device is not None]
        if isinstance(wanted, int) and 0 <= wanted < len(known):
            return known[wanted]
        words = _words(str(wanted))
        for device in known:
            if words <= _words(str(device)):
                return device
        names = ", ".join(str(device) for device in known)
        raise ValueError(f"device={wanted!r}: {self.library_name} has no such device; it has {names}.")


class _Extension:
    """The functions of an extension of the standard, `linalg` or `fft`, among them the library's kernels."""

    def __init__(self, library: Library, name: str) -> None:
        self._library, self._name = library, name

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._library, f"{self._name}.{name}")
        setattr(self, name, found)
        return found


def _bound(function: Callable[..., Any] | None, library: Library) -> Callable[..., Any] | None:
    """A generic kernel takes the namespace first; layers and rules call it without."""
    if not callable(function):  # missing, or a module of kernels, such as generic.linalg
        return None

    def kernel(*args: Any, **options: Any) -> Any:
        return function(library, *args, **options)

    return kernel


def _words(device: str) -> set[str]:
    """``<CUDA Device 0>`` and ``cuda:0`` and ``gpu:0`` have the words ``cuda`` and ``0`` in common."""
    words = {word for word in re.split(r"[^a-z0-9]+", device.lower()) if word}
    return {"cuda" if word == "gpu" else word for word in words}


# ---------------------------------------------------------------------------------------------------------------------
# From an array to its functions. Looked up on every operation, hence dictionaries keyed by the array's type.

libraries: dict[type, Library] = {}  # the types of raw arrays
namespaces: dict[type, Any] = {}  # these, and Tensor with its subclasses
_library_of_namespace: dict[int, Library] = {}
HOST = "numpy"  # the library whose arrays are host memory for all others


def library_of_namespace(namespace: Any) -> Library:
    """The one `Library` of a namespace object."""
    library = _library_of_namespace.get(id(namespace))
    if library is None:
        library = _library_of_namespace[id(namespace)] = Library(namespace)
    return library


def namespace_of(x: Any) -> Any:
    """The functions that work on ``x``: a `Library` for a raw array, portanet's own namespace for a `Tensor`.

    Raises TypeError, naming the type, where ``x`` is no array.
    """
    try:
        return namespaces[type(x)]
    except KeyError:
        return _resolve(x)


def _resolve(x: Any) -> Any:
    import array_api_compat  # here, so that `import portanet` does not pay for it

    for base in type(x).__mro__[1:]:
        if base in namespaces and base not in libraries:  # a Parameter is a Tensor
            namespaces[type(x)] = namespaces[base]
            return namespaces[base]
    try:
        namespace = array_api_compat.array_namespace(x)
    except TypeError:
        raise TypeError(
            f"expected an array, saw {type(x).__module__}.{type(x).__qualname__}; portanet.asarray makes one."
        ) from None
    library = library_of_namespace(namespace)
    if not isinstance(x, numpy.generic):  # a NumPy scalar is read as an array but never kept as one
        libraries[type(x)] = namespaces[type(x)] = library
    return library


def is_array(x: Any) -> bool:
    """Whether ``x`` is an array of some library (or a Tensor)."""
    if type(x) in namespaces:
        return True
    if isinstance(x, (bool, int, float, complex, str, bytes, list, tuple, dict)) or x is None:
        return False
    try:
        _resolve(x)
    except TypeError:
        return False
    return True


def is_host(raw: Any) -> bool:
    """Whether a raw array is a NumPy array: the memory that every library can copy from."""
    return isinstance(raw, numpy.ndarray)


def as_array(x: Any) -> Any:
    """``x`` itself, but a NumPy scalar, which NumPy returns for 'no axes', as the array it stands for."""
    return numpy.asarray(x) if isinstance(x, numpy.generic) else x


def operand(x: Any) -> Any:
    """``x`` as an operation takes it: a raw array as it is, a NumPy scalar as the Python scalar it stands for.

    A NumPy scalar carries no memory and is weak like a Python number, so that float32 arrays stay float32.
    Returns NotImplemented for anything else.
    """
    if isinstance(x, (bool, int, float, complex)):
        return x if type(x) in PYTHON_SCALARS else x.item() if isinstance(x, numpy.generic) else x
    if isinstance(x, numpy.generic):
        return x.item()
    return x if is_array(x) else NotImplemented


PYTHON_SCALARS = frozenset({bool, int, float, complex})


def device_of(raw: Any) -> Any:
    """The device of a raw array, as its library names it."""
    return namespace_of(raw).device_of(raw)


def to_device(raw: Any, device: Any) -> Any:
    """A raw array of the same library, on ``device``."""
    moved = _to_device(raw, device)
    if doors.watching:
        doors.carried(raw, moved)
    return moved


def _to_device(raw: Any, device: Any) -> Any:
    import array_api_compat

    return array_api_compat.to_device(raw, namespace_of(raw).device(device))


def to_numpy(raw: Any) -> Any:
    """A raw array copied to the host as a NumPy array: the one way out, for printing, saving and moving."""
    if isinstance(raw, (numpy.ndarray, numpy.generic)):
        return numpy.asarray(raw)
    return numpy.asarray(namespace_of(raw).to_host(raw))


def item(raw: Any) -> Any:
    """The one element of a raw array as a Python number."""
    return doors.read(_item, raw)


def _item(raw: Any) -> Any:
    return to_numpy(raw).item()


def text(raw: Any, indent: str) -> str:
    """The elements of a raw array as NumPy prints them."""
    return numpy.array2string(to_numpy(raw), separator=", ", prefix=indent, threshold=1000)


def move(raw: Any, library: Library, device: Any = None) -> Any:
    """A raw array carried to ``library`` and ``device``: by DLPack where both ends can, else by the host."""
    source = namespace_of(raw)
    device = library.device(device)
    if source is library:
        return raw if device is None or device_of(raw) == device else to_device(raw, device)
    try:
        moved = _shared(raw, library, device)
    except Exception:  # each library refuses in its own words: a foreign device, read-only memory, an unknown type
        dtype = library.raw_dtype(source.dtype_of(raw.dtype))
        return library.asarray(to_numpy(raw), dtype=dtype, device=device, copy=True)
    if doors.watching:
        doors.carried(raw, moved)
    return moved


def _shared(raw: Any, library: Library, device: Any) -> Any:
    moved = library.from_dlpack(raw)
    if namespace_of(moved) is not library:  # dpnp hands host memory back as a NumPy array
        raise TypeError(f"{library.library_name} left the array where it was")
    return moved if device is None or device_of(moved) == device else _to_device(moved, device)


def require_same(name: str, a: Any, b: Any) -> None:
    """Raise TypeError, naming both libraries and the way out, unless the raw arrays ``a`` and ``b`` share a library."""
    first, second = namespace_of(a), namespace_of(b)
    if first is not second:
        raise TypeError(
            f"{name}: arrays of two libraries, {first.library_name} (shape {tuple(a.shape)}) and {second.library_name} "
            f"(shape {tuple(b.shape)}). Move one: x.to({first.library_name!r})."
        )


def explain(name: str, values: Any, problem: Exception) -> NoReturn:
    """Raise a library's error, which is being handled, in terms of what portanet's caller did."""
    found: Exception | None = None
    try:
        found = explained(name, values, problem)
        if found is problem:
            raise
        raise found from problem
    finally:
        # An error that its own frames hold keeps all their arrays until the garbage collector comes.
        del found, problem


def explained(name: str, values: Any, problem: Exception) -> Exception:
    """A library's error in terms of what portanet's caller did; ``problem`` itself where there is no better."""
    exhausted = out_of_memory(name, problem)
    if exhausted is not None:
        return exhausted
    arrays = [value for value in values if type(value) in libraries]
    devices = [device_of(array) for array in arrays]
    for device in devices[1:]:
        if device != devices[0]:
            library = namespace_of(arrays[0]).library_name
            return TypeError(
                f"{name}: {library} arrays on two devices, {devices[0]} and {device}. Move one: "
                "x.to_device(other.device)."
            )
    return problem


def out_of_memory(name: str, problem: BaseException) -> OutOfMemoryError | None:
    """``problem`` as an `OutOfMemoryError` of the operation ``name``, if some library in use says so by it."""
    return memory.exhausted(name, problem, list(_library_of_namespace.values()))


def relieve(name: str, problem: MemoryError) -> NoReturn:
    """Raise an error of memory, which is being handled, without the frames it came up through and what they hold."""
    try:
        raise out_of_memory(name, problem) or problem
    finally:
        del problem  # see `explain`


def as_numpy(raw: Any, dtype: Any, copy: bool | None) -> Any:
    """What numpy.asarray makes of a raw array by its library's own rules: a device array refuses here."""
    made = numpy.array(raw, dtype=dtype, copy=copy)
    if doors.watching:
        doors.carried(raw, made)
    return made


def kind_of(obj: Any) -> str:
    """``b``, ``i``, ``f`` or ``c``: whether Python numbers, in lists or not, are truths, whole, real or complex."""
    return numpy.asarray(obj).dtype.kind
