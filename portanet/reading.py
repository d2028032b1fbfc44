"""What a Tensor tells of itself: its attributes, and its elements as Python numbers, NumPy arrays and text."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from portanet import doors
from portanet import library as lib
from portanet.dtypes import DType
from portanet.library import libraries, namespace_of, require_same
from portanet.tape import Leaf, Node

API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")


class Reading:
    """The part of `Tensor` that makes no Tensors: it holds the array and the node, and reads them."""

    __slots__ = ("_node", "_raw")
    _raw: Any
    _node: Node | None

    @property
    def dtype(self) -> DType:
        """The data type of the elements."""
        raw = self._raw
        return libraries[type(raw)].dtypes[raw.dtype]

    @property
    def device(self) -> Any:
        """The device that holds the elements, as the library names it."""
        return lib.device_of(self._raw)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(self._raw.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return int(self._raw.ndim)

    @property
    def size(self) -> int:
        """The number of elements."""
        size = 1
        for length in self._raw.shape:
            size *= length
        return size

    @property
    def backend(self) -> str:
        """The name of the library that holds the elements."""
        return str(namespace_of(self._raw).library_name)

    @property
    def is_leaf(self) -> bool:
        """Whether this was made by the user, not computed under the tape."""
        return self._node is None or isinstance(self._node, Leaf)

    @property
    def array(self) -> Any:
        """The array of the library itself, not copied. It is not to be written to."""
        return self._raw

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """The namespace of functions that take Tensors: portanet itself."""
        if api_version is not None and api_version not in API_VERSIONS:
            raise ValueError(f"api_version={api_version!r}: portanet follows {', '.join(API_VERSIONS)}.")
        return namespace_of(self).public()

    def register_hook(self, hook: Callable[[Any], Any]) -> Callable[[], None]:
        """Call ``hook(gradient)`` when this Tensor's gradient is known; what it returns, if not None, replaces it.

        Returns a function that takes the hook away again.
        """
        node = self._node
        if node is None:
            raise RuntimeError("a hook needs a Tensor that requires grad; call requires_grad_() first.")
        if node.hooks is None:
            node.hooks = []
        hooks = node.hooks
        hooks.append(hook)

        def remove() -> None:
            if hook in hooks:
                hooks.remove(hook)

        return remove

    def item(self) -> bool | int | float | complex:
        """The single element as a Python number."""
        if self.size != 1:
            raise ValueError(f"item() needs exactly one element, this has shape {self.shape}; use tolist().")
        return lib.item(self._raw)

    def numpy(self) -> Any:
        """The elements as a NumPy array, copied from the device where needed. Raises where a gradient would be lost."""
        self._refuse_to_lose_gradient("numpy()")
        return lib.to_numpy(self._raw)

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return lib.to_numpy(self._raw).tolist()

    def _refuse_to_lose_gradient(self, what: str) -> None:
        if self._node is not None:
            raise RuntimeError(f"{what} would lose the gradient of a Tensor that requires grad; write x.detach().")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self._refuse_to_lose_gradient("conversion to a NumPy array")
        return lib.as_numpy(self._raw, dtype, copy)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        self._refuse_to_lose_gradient("DLPack export")
        if doors.watching and dl_device is not None and int(dl_device[0]) in doors.HOST_KINDS:
            doors.leaves(self._raw)
        given = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        return self._raw.__dlpack__(**{name: value for name, value in given.items() if value is not None})

    def __dlpack_device__(self) -> Any:
        return self._raw.__dlpack_device__()

    def __bool__(self) -> bool:
        return doors.read(bool, self._raw)

    def __int__(self) -> int:
        return doors.read(int, self._raw)

    def __float__(self) -> float:
        return doors.read(float, self._raw)

    def __complex__(self) -> complex:
        return doors.read(complex, self._raw)

    def __index__(self) -> int:
        return doors.read(_index, self._raw)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a Tensor with no axes.")
        return int(self._raw.shape[0])

    def __repr__(self) -> str:
        shown = ["tensor(" + lib.text(self._raw, "tensor(")]
        if self.dtype.kind in ("real floating", "complex floating") and self.dtype.name not in ("float32", "complex64"):
            shown.append(f"dtype={self.dtype}")
        if self.backend != lib.HOST:
            shown.append(f"backend={self.backend!r}")
        if isinstance(self._node, Leaf):
            shown.append("requires_grad=True")
        elif self._node is not None and self._node.rule is not None:
            shown.append(f"from={self._node.rule.name}")
        return ", ".join(shown) + ")"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else format(str(self), spec)


def _index(raw: Any) -> int:
    # Some arrays on a GPU tell their only element, but are no index.
    return operator.index(raw if hasattr(raw, "__index__") or raw.ndim else raw.item())


def raw_key(key: Any, raw: Any) -> Any:
    """An index with its Tensors replaced by their arrays."""
    if isinstance(key, tuple):
        return tuple([raw_key(entry, raw) for entry in key])
    if isinstance(key, Reading):
        key = key._raw
        if doors.watching:
            doors.chosen(key)
    if type(key) in libraries and type(key) is not type(raw):
        require_same("indexing", raw, key)
    return key
