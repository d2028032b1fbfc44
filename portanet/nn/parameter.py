"""`Parameter` and `Buffer`: the Tensors that a module knows as its own."""

from __future__ import annotations

from typing import Any

from portanet.library import namespace_of
from portanet.namespace import asarray
from portanet.tensor import Tensor

__all__ = ["Buffer", "Parameter"]


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
