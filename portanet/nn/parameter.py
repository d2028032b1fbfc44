"""`Parameter` and `Buffer`: the Tensors that a module knows as its own; and such as have no shape yet."""

from __future__ import annotations

from typing import Any, ClassVar

from portanet.dtypes import DType
from portanet.library import device_of, namespace_of
from portanet.namespace import asarray, empty
from portanet.nn.state import carried
from portanet.tensor import Tensor

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter"]


class Parameter(Tensor):
    """A Tensor that a `Module` to which it is assigned counts among its parameters: a leaf that requires grad.

    Args:
        data: a Tensor or an array of any library; a NumPy array goes to the current backend, as by `portanet.asarray`.
            It is not copied, and its own graph is left behind.
        requires_grad: whether `backward` computes a gradient for it. Only floating dtypes may.

    >>> import portanet
    >>> portanet.nn.Parameter(portanet.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(_raw(data))
        if requires_grad:
            self.requires_grad_()

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A Tensor that a `Module` to which it is assigned counts among its buffers: state that is not trained.

    Args:
        data: a Tensor or an array of any library, not copied.
        persistent: whether it belongs to the module's `state_dict`.

    >>> import portanet
    >>> module = portanet.nn.Module()
    >>> module.scale = portanet.nn.Buffer(portanet.ones(2))
    >>> list(module.state_dict())
    ['scale']
    """

    __slots__ = ("persistent",)

    def __init__(self, data: Any, persistent: bool = True) -> None:
        super().__init__(_raw(data))
        self.persistent = persistent

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        twin = super().__deepcopy__(memo)
        twin.persistent = self.persistent  # type: ignore[attr-defined]
        return twin


def _raw(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data._raw
    namespace_of(data)  # refuses lists and numbers: what dtype and device they become should be said
    return asarray(data)._raw


# Where every Tensor keeps its array: an uninitialised one keeps an empty one there, of its library, device and dtype.
_ARRAY: Any = Tensor._raw  # type: ignore[misc]


class _Uninitialized(Tensor):
    """A Tensor without a shape: all but its dtype is unknown before `materialize`."""

    __slots__ = ()

    _becomes: ClassVar[Any]

    @property
    def _raw(self) -> Any:
        raise RuntimeError(
            f"this {type(self).__name__} has no values yet: its shape comes from the first input. Call the model once "
            "with an example before its parameters are read, counted or given to an optimizer."
        )

    @_raw.setter
    def _raw(self, raw: Any) -> None:
        _ARRAY.__set__(self, raw)

    @property
    def template(self) -> Any:
        """An empty raw array of the library, device and dtype."""
        return _ARRAY.__get__(self)

    @property
    def dtype(self) -> DType:
        found: DType = namespace_of(self.template).dtype_of(self.template.dtype)
        return found

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Become an ordinary one of this shape, without particular values."""
        old = self.template
        raw = namespace_of(old).empty(shape, dtype=old.dtype, device=device_of(old))
        self.__class__ = self._becomes
        self._raw = carried(raw, (), device, dtype)

    def detach(self) -> Tensor:
        """Itself: there is nothing to be detached."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin._raw, twin._node = self.template, None
        return twin.requires_grad_(self.requires_grad)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A Parameter whose shape the first input will tell: lazy layers have such. Reading it is an error that says so.

    Args:
        requires_grad: whether it will want a gradient.
        device: where it will lie; None: the current backend's device.
        dtype: of it; None: the default, float32.

    >>> import portanet
    >>> p = portanet.nn.UninitializedParameter()
    >>> p
    <UninitializedParameter>
    >>> p.materialize((2, 3))
    >>> type(p).__name__, p.shape
    ('Parameter', (2, 3))
    """

    __slots__ = ()
    _becomes = Parameter

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        Parameter.__init__(self, empty(0, dtype=dtype, device=device), requires_grad)


class UninitializedBuffer(_Uninitialized):
    """A buffer whose shape the first input will tell.

    Args:
        device: where it will lie; None: the current backend's device.
        dtype: of it; None: the default, float32.

    >>> import portanet
    >>> portanet.nn.UninitializedBuffer()
    <UninitializedBuffer>
    """

    __slots__ = ()
    _becomes = Tensor

    def __init__(self, device: Any = None, dtype: Any = None) -> None:
        Tensor.__init__(self, empty(0, dtype=dtype, device=device)._raw)


def is_lazy(x: Any) -> bool:
    """Whether a Tensor has no shape yet."""
    return isinstance(x, _Uninitialized)
