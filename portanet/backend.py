"""The current backend: the library, device and dtype of arrays that are made from nothing."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from portanet import dtypes
from portanet.dtypes import DType
from portanet.library import Library, library_of_namespace

__all__ = [
    "Backend",
    "BackendInfo",
    "available_backends",
    "get_backend",
    "get_default_dtype",
    "set_backend",
    "set_default_dtype",
    "use_backend",
]

# name -> (module that conforms, what to install)
KNOWN = {
    "numpy": ("array_api_compat.numpy", "numpy"),
    "cupy": ("array_api_compat.cupy", "portanet[cuda13]"),
    "torch": ("array_api_compat.torch", "portanet[torch]"),
    "jax": ("jax.numpy", "portanet[jax]"),
    "array_api_strict": ("array_api_strict", "array-api-strict"),
    "dpnp": ("dpnp", "dpnp intel-opencl-rt"),
}
# what else there is to know about that
HINTS = {"cupy": " (or 'portanet[cuda12]', where the driver is not yet that of CUDA 13: nvidia-smi tells)"}


@dataclass(frozen=True)
class Backend:
    """Where creation functions make arrays: a library, a device (None: the library's own choice) and a dtype.

    >>> import portanet
    >>> portanet.get_backend()
    <backend numpy on its default device, float32>
    """

    library: Library
    device: Any = None
    dtype: DType = dtypes.float32

    @property
    def name(self) -> str:
        """The name of the library: ``"numpy"``, ``"cupy"``, ..."""
        return self.library.library_name

    def __repr__(self) -> str:
        device = "its default device" if self.device is None else self.device
        return f"<backend {self.name} on {device}, {self.dtype}>"


@dataclass(frozen=True)
class BackendInfo:
    """One line of `available_backends`: ``reason`` says why a backend cannot be used, and is None where it can."""

    name: str
    version: str | None
    devices: tuple[str, ...]
    reason: str | None

    @property
    def available(self) -> bool:
        """Whether it can be used here."""
        return self.reason is None


_process: Backend | None = None  # what set_backend chose: seen by every thread
_scoped: ContextVar[Backend | None] = ContextVar("portanet_backend", default=None)  # what use_backend chose


def get_backend() -> Backend:
    """The backend that creation functions use now.

    It is what the innermost `use_backend` or else `set_backend` chose; before either, the environment variable
    ``PORTANET_BACKEND``, and without that NumPy.

    >>> import portanet
    >>> portanet.get_backend().name
    'numpy'
    """
    global _process
    backend = _scoped.get() or _process
    if backend is None:
        backend = _process = _backend(os.environ.get("PORTANET_BACKEND") or "numpy", None, None)
    return backend


def set_backend(name: str | Any, *, device: Any = None, dtype: Any = None) -> None:
    """Choose the library that makes new arrays and parameters from here on.

    Args:
        name: ``"numpy"``, ``"cupy"``, ``"torch"``, ``"jax"``, ``"array_api_strict"``, ``"dpnp"``; ``"auto"`` for CuPy
            where a GPU works and NumPy elsewhere; the name of any importable module that conforms to the Array API
            standard, or such a namespace itself. ``"torch:cuda"`` is short for ``device="cuda"``.
        device: the library's own device object, its name (``"cuda:0"``, ``"cpu"``) or number; None: its default.
        dtype: the default floating dtype; None keeps the present one, float32 at the start.

    It steers creation functions, new parameters and defaults only: every operation follows the arrays it is given.
    The choice is seen by all threads; within `use_backend` it lasts to the end of that block.

    Raises:
        ValueError: the name is not known, or the device is not there.
        ImportError: the library is not installed; the message has the pip line.
        RuntimeError: CuPy has no driver, no GPU, or not all of the toolkit; the message says which.

    >>> import portanet
    >>> portanet.set_backend("numpy")
    >>> portanet.zeros(2)
    tensor([0., 0.])
    """
    global _process
    backend = _backend(name, device, dtype)
    if _scoped.get() is not None:
        _scoped.set(backend)
    else:
        _process = backend


@contextlib.contextmanager
def use_backend(name: str | Any, *, device: Any = None, dtype: Any = None) -> Iterator[Backend]:
    """As `set_backend`, within a ``with`` block, for this thread or asyncio task alone.

    >>> import portanet
    >>> with portanet.use_backend("numpy", dtype="float64"):
    ...     portanet.zeros(2).dtype
    portanet.float64
    """
    backend = _backend(name, device, dtype)
    token = _scoped.set(backend)
    try:
        yield backend
    finally:
        _scoped.reset(token)


def get_default_dtype() -> DType:
    """The dtype of new floating arrays and parameters.

    >>> import portanet
    >>> portanet.get_default_dtype()
    portanet.float32
    """
    return get_backend().dtype


def set_default_dtype(dtype: Any) -> None:
    """Make ``dtype`` (a real floating one) the dtype of new floating arrays and parameters.

    >>> import portanet
    >>> portanet.set_default_dtype(portanet.float64)
    >>> portanet.ones(1).dtype
    portanet.float64
    >>> portanet.set_default_dtype("float32")
    """
    global _process
    backend = replace(get_backend(), dtype=_floating(dtype))
    if _scoped.get() is not None:
        _scoped.set(backend)
    else:
        _process = backend


def available_backends() -> dict[str, BackendInfo]:
    """Every backend known by name: its version and devices, or the reason why it cannot be used here.

    It imports each library that is installed, so the first call may take seconds.

    >>> import portanet
    >>> portanet.available_backends()["numpy"].available
    True
    """
    return {name: _info(name) for name in KNOWN}


def _info(name: str) -> BackendInfo:
    try:
        library = load(name)
    except (ImportError, RuntimeError) as problem:
        return BackendInfo(name, None, (), str(problem))
    version = getattr(importlib.import_module(name), "__version__", None)
    try:
        devices = tuple(str(device) for device in library.devices() if device is not None)
    except Exception as problem:  # each library has its own error for a missing device
        return BackendInfo(name, version, (), f"{name} is installed but finds no device: {problem}")
    if not devices:
        return BackendInfo(name, version, (), f"{name} is installed but finds no device.")
    return BackendInfo(name, version, devices, None)


def _backend(name: str | Any, device: Any, dtype: Any) -> Backend:
    present = _scoped.get() or _process
    default = present.dtype if present is not None else dtypes.float32
    if isinstance(name, Backend):
        place = name.device if device is None else name.library.device(device)
        return replace(name, device=place, dtype=name.dtype if dtype is None else _floating(dtype))
    if isinstance(name, str) and ":" in name:
        name, device = name.split(":", 1)
    library = load(name)
    return Backend(library, library.device(device), default if dtype is None else _floating(dtype))


def _floating(dtype: Any) -> DType:
    known = dtypes.as_dtype(dtype)
    if known.kind != "real floating":
        raise TypeError(f"the default dtype must be real floating, saw {known}; try portanet.float32.")
    return known


def load(name: str | Any) -> Library:
    """The `Library` of a backend's name, of a module's name, or of a namespace object."""
    if isinstance(name, Library):
        return name
    if not isinstance(name, str):
        return library_of_namespace(_conforming(name, repr(name)))
    if name == "auto":
        return load("cupy" if _info("cupy").available else "numpy")
    module, package = KNOWN.get(name, (name, name))
    library = library_of_namespace(_conforming(_imported(name, module, package), name))
    reason = library.unavailable()
    if reason is not None:
        raise RuntimeError(reason)
    return library


def _imported(name: str, module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        missing = getattr(problem, "name", None)
        itself = isinstance(problem, ModuleNotFoundError) and (missing is None or missing in {name, *module.split(".")})
        if name not in KNOWN and itself:
            known = ", ".join(sorted(KNOWN))
            raise ValueError(
                f"backend {name!r} is not known; known are auto, {known}, or the name of an importable module that "
                "conforms to the Array API standard."
            ) from problem
        line = f"pip install '{package}'{HINTS.get(name, '')}"
        if itself:
            raise ImportError(f"backend {name!r} is not installed; install it with: {line}") from problem
        # Some libraries wrap the cause in a page of advice for all cases.
        cause = str(problem.__cause__ or problem).strip().partition("\n")[0]
        raise ImportError(
            f"backend {name!r} is installed but does not import: {cause}; uninstall it and install it anew with: {line}"
        ) from problem


def _conforming(namespace: Any, name: str) -> Any:
    missing = [
        function for function in ("asarray", "matmul", "__array_namespace_info__") if not hasattr(namespace, function)
    ]
    if missing:
        raise ValueError(f"backend {name} does not conform to the Array API standard: it lacks {', '.join(missing)}.")
    return namespace


def destination(
    targets: tuple[Any, ...], library: Library, device: Any, dtype: Any
) -> tuple[Library, Any, DType | None]:
    """What ``x.to(...)`` means: a library, a device of it (None: leave it) and a dtype (None: leave it).

    Each target may be a backend's name (``"torch"``, ``"cupy:1"``), a `Backend`, a device or its name, or a dtype.
    """
    for target in targets:
        if isinstance(target, Backend):
            library, device = target.library, target.device if device is None else device
        elif isinstance(target, DType) or (isinstance(target, str) and target in dtypes.BY_NAME):
            dtype = target
        elif isinstance(target, str) and target.partition(":")[0] in KNOWN:
            name, _, where = target.partition(":")
            library, device = load(name), where or device
        else:
            device = target
    return library, library.device(device), None if dtype is None else dtypes.as_dtype(dtype)
