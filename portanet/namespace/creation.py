"""Creation functions: the only ones that ask for the current backend, device and default dtype."""

from __future__ import annotations

from typing import Any

from portanet import doors
from portanet.backend import get_backend
from portanet.dtypes import as_dtype, complex_of
from portanet.library import Library, explain, is_host, kind_of, libraries, namespace_of, operand
from portanet.tensor import Tensor, apply, cast, moved

__all__ = [
    "arange", "asarray", "empty", "empty_like", "eye", "from_dlpack", "full", "full_like", "linspace", "meshgrid",
    "ones", "ones_like", "tensor", "tril", "triu", "zeros", "zeros_like",
]  # fmt: skip


def _place(dtype: Any, device: Any, kind: str = "f") -> tuple[Library, dict[str, Any]]:
    """The current library, with ``dtype=`` and ``device=`` as it wants them; ``kind`` stands in where none is given."""
    backend = get_backend()
    library = backend.library
    if dtype is None:
        dtype = {"f": backend.dtype, "c": complex_of(backend.dtype)}.get(kind)
    return library, {
        "dtype": library.raw_dtype(dtype),
        "device": backend.device if device is None else library.device(device),
    }


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """A Tensor of numbers, nested lists of numbers, or an array.

    Args:
        obj: Python numbers and lists, and NumPy arrays, go to the current backend. An array of another library, and
            a Tensor, stay in their library; move them by `Tensor.to`. Lists of Tensors are stacked.
        dtype: None keeps the dtype of an array; Python floats then get the default dtype, float32 at the start.
        device: None is the backend's device; for arrays that are elsewhere, where they are.
        copy: whether to copy (True), never to (False: ValueError where it must), or only where needed (None).

    >>> import portanet
    >>> portanet.asarray([[1.0, 2.0], [3.0, 4.0]]).shape
    (2, 2)
    """
    if isinstance(obj, Tensor):
        x = obj if device is None else moved(obj, namespace_of(obj._raw), namespace_of(obj._raw).device(device))
        if dtype is not None and as_dtype(dtype) is not x.dtype:
            x = cast(x, as_dtype(dtype))
        if copy is False and x is not obj:
            raise ValueError("copy=False: another dtype or device needs a copy; leave copy out.")
        return apply("copy", x) if copy else x
    if operand(obj) is not NotImplemented and type(operand(obj)) in libraries:
        return _from_array(obj, dtype, device, copy)
    if _holds_tensors(obj):
        return asarray(apply("stacked", *[asarray(part) for part in obj], axis=0), dtype=dtype, device=device)
    if copy is False and not hasattr(obj, "__dlpack__") and not hasattr(obj, "__array__"):
        raise ValueError("copy=False: Python numbers are always copied; leave copy out.")
    library, place = _place(dtype, device, kind_of(obj))
    try:
        return Tensor(library.asarray(obj, copy=copy, **place))
    except Exception as problem:
        explain("asarray", (), problem)


def _holds_tensors(obj: Any) -> bool:
    """Whether the first of all numbers in nested lists is a Tensor: these are stacked where they are, under the tape."""
    while isinstance(obj, (list, tuple)) and obj:
        obj = obj[0]
    return isinstance(obj, Tensor)


def _from_array(raw: Any, dtype: Any, device: Any, copy: bool | None) -> Tensor:
    library, backend = namespace_of(raw), get_backend()
    if is_host(raw) and backend.library is not library:
        if copy is False:
            raise ValueError(f"copy=False: a NumPy array has to be copied to {backend.name}.")
        library, place = _place(dtype or library.dtype_of(raw.dtype), device)
        try:
            return Tensor(library.from_host(raw, **place))
        except Exception as problem:
            explain("asarray", (), problem)
    try:
        return Tensor(library.asarray(raw, dtype=library.raw_dtype(dtype), device=library.device(device), copy=copy))
    except Exception as problem:
        explain("asarray", (), problem)


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new Tensor, copied from ``data``, under PyTorch's name: a leaf when ``requires_grad``.

    >>> import portanet
    >>> portanet.tensor([1.0, 2.0], requires_grad=True)
    tensor([1., 2.], requires_grad=True)
    """
    return asarray(data, dtype=dtype, device=device, copy=True).detach().requires_grad_(requires_grad)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Evenly spaced numbers from ``start`` (0 if only one is given) up to, not including, ``stop``.

    >>> import portanet
    >>> portanet.arange(4)
    tensor([0, 1, 2, 3])
    """
    kind = kind_of([number for number in (start, stop, step) if number is not None])
    library, place = _place(dtype, device, kind)
    start, stop = (0, start) if stop is None else (start, stop)
    try:
        return Tensor(library.arange(start, stop, step, **place))
    except Exception as problem:
        explain("arange", (), problem)


def empty(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array of ``shape`` whose elements are not set.

    >>> import portanet
    >>> portanet.empty((2, 3)).shape
    (2, 3)
    """
    library, place = _place(dtype, device)
    try:
        return Tensor(library.empty(shape, **place))
    except Exception as problem:
        explain("empty", (), problem)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones on the k-th diagonal of an (n_rows, n_cols) matrix, zeros elsewhere.

    >>> import portanet
    >>> portanet.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    library, place = _place(dtype, device)
    try:
        return Tensor(library.eye(n_rows, n_cols, k=k, **place))
    except Exception as problem:
        explain("eye", (), problem)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A Tensor of the current backend that shares memory, where it can, with any object that speaks DLPack.

    >>> import numpy, portanet
    >>> portanet.from_dlpack(numpy.ones(2, dtype="float32"))
    tensor([1., 1.])
    """
    library = get_backend().library
    if isinstance(x, Tensor):  # a step of the graph, as `Tensor.to` is: gradients come back the same way
        moved_here = moved(x, library, library.device(device))
        return apply("copy", moved_here) if copy else moved_here
    options = {"device": library.device(device), "copy": copy}
    made = library.from_dlpack(x, **{name: value for name, value in options.items() if value is not None})
    if doors.watching:
        doors.carried(x, made)
    return Tensor(made)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array of ``shape`` filled with one number, whose kind chooses the dtype where none is given.

    >>> import portanet
    >>> portanet.full(2, 7.0)
    tensor([7., 7.])
    """
    library, place = _place(dtype, device, kind_of(fill_value))
    try:
        return Tensor(library.full(shape, fill_value, **place))
    except Exception as problem:
        explain("full", (), problem)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: bool = True
) -> Tensor:
    """``num`` evenly spaced numbers from ``start`` to ``stop``, which is included unless ``endpoint`` is False.

    >>> import portanet
    >>> portanet.linspace(0.0, 1.0, 3)
    tensor([0. , 0.5, 1. ])
    """
    kind = "c" if kind_of([start, stop]) == "c" else "f"
    library, place = _place(dtype, device, kind)
    try:
        return Tensor(library.linspace(start, stop, num, endpoint=endpoint, **place))
    except Exception as problem:
        explain("linspace", (), problem)


def ones(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array of ``shape`` filled with ones.

    >>> import portanet
    >>> portanet.ones(2)
    tensor([1., 1.])
    """
    library, place = _place(dtype, device)
    try:
        return Tensor(library.ones(shape, **place))
    except Exception as problem:
        explain("ones", (), problem)


def zeros(shape: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array of ``shape`` filled with zeros.

    >>> import portanet
    >>> portanet.zeros(2)
    tensor([0., 0.])
    """
    library, place = _place(dtype, device)
    try:
        return Tensor(library.zeros(shape, **place))
    except Exception as problem:
        explain("zeros", (), problem)


def _like(name: str, x: Any, dtype: Any, device: Any, *values: Any) -> Tensor:
    """As ``x`` in shape, library, device and dtype, unless told otherwise. Never part of the graph."""
    raw = x._raw if isinstance(x, Tensor) else x
    library = namespace_of(raw)
    options = {"dtype": library.raw_dtype(dtype), "device": library.device(device)}
    chosen = {key: value for key, value in options.items() if value is not None}
    return Tensor(getattr(library, name)(raw, *values, **chosen))


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array like ``x`` in shape, dtype and device, whose elements are not set.

    >>> import portanet
    >>> portanet.empty_like(portanet.ones((2, 3))).shape
    (2, 3)
    """
    return _like("empty_like", x, dtype, device)


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array like ``x`` in shape, dtype and device, filled with one number.

    >>> import portanet
    >>> portanet.full_like(portanet.ones(2), 7.0)
    tensor([7., 7.])
    """
    return _like("full_like", x, dtype, device, fill_value)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array like ``x`` in shape, dtype and device, filled with ones.

    >>> import portanet
    >>> portanet.ones_like(portanet.zeros(2))
    tensor([1., 1.])
    """
    return _like("ones_like", x, dtype, device)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array like ``x`` in shape, dtype and device, filled with zeros.

    >>> import portanet
    >>> portanet.zeros_like(portanet.ones(2))
    tensor([0., 0.])
    """
    return _like("zeros_like", x, dtype, device)


def meshgrid(*arrays: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """The coordinates of a grid, one array for each axis, from the positions along each axis.

    Args:
        arrays: one-dimensional, of one dtype.
        indexing: ``"xy"``: the first array runs along columns, as in a picture; ``"ij"``: along rows, as in a matrix.

    >>> import portanet
    >>> x, y = portanet.meshgrid(portanet.asarray([1.0, 2.0]), portanet.asarray([3.0]))
    >>> x
    tensor([[1., 2.]])
    """
    found: tuple[Tensor, ...] = apply("meshgrid", *arrays, indexing=indexing)
    return found


def tril(x: Any, /, *, k: int = 0) -> Tensor:
    """The lower triangle of each matrix: zeros above the k-th diagonal.

    >>> import portanet
    >>> portanet.tril(portanet.ones((2, 2)))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return apply("tril", x, k=k)


def triu(x: Any, /, *, k: int = 0) -> Tensor:
    """The upper triangle of each matrix: zeros below the k-th diagonal.

    >>> import portanet
    >>> portanet.triu(portanet.ones((2, 2)))
    tensor([[1., 1.],
            [0., 1.]])
    """
    return apply("triu", x, k=k)
