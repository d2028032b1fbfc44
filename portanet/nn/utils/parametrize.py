"""Parameters computed from others by modules: a constraint, such as symmetry or a norm, that training keeps.

``layer.weight`` becomes what the modules in ``layer.parametrizations.weight`` make of the trained
``layer.parametrizations.weight.original``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from portanet.autograd import no_grad
from portanet.nn.module import Module
from portanet.nn.modules.container import ModuleDict, ModuleList
from portanet.nn.parameter import Buffer, Parameter
from portanet.nn.utils._computed import base_of, compute, forget
from portanet.plan.recorder import active, writing
from portanet.tensor import Tensor

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
    "type_before_parametrizations",
]  # fmt: skip

M = TypeVar("M", bound=Module)

_cache: ContextVar[dict[Any, Any] | None] = ContextVar("portanet_parametrizations", default=None)


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Within this block each parametrised tensor is computed once, however often it is read.

    It is for a weight that is used several times in one forward pass; after an optimizer's step the block must end.

    >>> import portanet
    >>> from portanet.nn.utils import parametrizations, parametrize
    >>> layer = parametrizations.weight_norm(portanet.nn.Linear(3, 2))
    >>> with parametrize.cached():
    ...     layer.weight is layer.weight
    True
    """
    if _cache.get() is not None:  # the outermost block decides
        yield
        return
    token = _cache.set({})
    try:
        yield
    finally:
        _cache.reset(token)


class ParametrizationList(ModuleList):
    """The modules that a tensor goes through one after the other, and what it starts from.

    Args:
        modules: the parametrizations; the first takes the original, or several.
        original: the tensor as it is; by the ``right_inverse`` of the modules, where they have it, it becomes the
            ``original``, or ``original0``, ``original1`` and so on where that returns several.
        unsafe: whether another shape or dtype may come out than went in.

    Raises:
        ValueError: another shape or dtype comes out, or no Tensor.

    >>> import portanet
    >>> class Doubled(portanet.nn.Module):
    ...     def forward(self, x):
    ...         return 2 * x
    >>> portanet.nn.utils.parametrize.ParametrizationList([Doubled()], portanet.ones(2))()
    tensor([2., 2.])
    """

    def __init__(self, modules: Iterable[Module], original: Tensor, unsafe: bool = False) -> None:
        super().__init__(modules)
        if not len(self):
            raise ValueError("ParametrizationList: there is no module; give at least one.")
        self.unsafe = unsafe
        start: Any = original.detach()
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with contextlib.suppress(NotImplementedError):  # it then starts from the value itself
                        start = module.right_inverse(start)
        self.is_tensor = isinstance(start, Tensor)
        if self.is_tensor:
            if not unsafe:
                _require_like("right_inverse returns", start, original)
            writing(original)
            original._raw = start._raw
            self._keep("original", original)
        else:
            self.ntensors = len(start)
            for i, one in enumerate(start):
                like = Parameter(one, original.requires_grad) if isinstance(original, Parameter) else one
                self._keep(f"original{i}", like)
        if not unsafe:
            made = self()
            if not isinstance(made, Tensor):
                raise ValueError(f"a parametrization must return a Tensor, saw {type(made).__name__}.")
            _require_like("the parametrization returns", made, original)

    def _keep(self, name: str, value: Tensor) -> None:
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value, getattr(value, "persistent", True))

    def originals(self) -> list[Tensor]:
        """What the tensor is computed from."""
        return [getattr(self, name) for name in (["original"] if self.is_tensor else self._names_of_originals())]

    def _names_of_originals(self) -> list[str]:
        return [f"original{i}" for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Give the originals values from which ``value`` is computed.

        Raises RuntimeError where a module has no ``right_inverse``.
        """
        found: Any = value.detach()
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"{type(module).__name__} has no right_inverse(value), so its result cannot be assigned; define one."
                    )
                found = module.right_inverse(found)
        given, originals = [found] if self.is_tensor else list(found), self.originals()
        if len(given) != len(originals):
            raise ValueError(f"right_inverse returns {len(given)} tensors, there are {len(originals)} originals.")
        for original, new in zip(originals, given, strict=True):
            _require_like("right_inverse returns", new, original)
            writing(original)
            original._raw = new._raw

    def forward(self) -> Any:
        first, *rest = list(self)
        x = first(*self.originals())
        for module in rest:
            x = module(x)
        return x


def _require_like(what: str, new: Any, old: Tensor) -> None:
    if not isinstance(new, Tensor) or new.shape != old.shape or new.dtype is not old.dtype:
        seen = f"{new.dtype} of shape {new.shape}" if isinstance(new, Tensor) else f"a {type(new).__name__}"
        raise ValueError(
            f"{what} {seen}, but the tensor is {old.dtype} of shape {old.shape}; unsafe=True allows such a change."
        )


def register_parametrization(module: M, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> M:
    """From here on the parameter or buffer ``tensor_name`` is what ``parametrization`` makes of it.

    A second one takes what the first returns. A module with ``right_inverse(value)`` says from what a value is computed,
    so that the tensor keeps its value, and another can be assigned to it.

    Args:
        module: has the tensor; it is changed in place.
        tensor_name: of a parameter or buffer.
        parametrization: a module that takes the tensor and returns one.
        unsafe: whether it may change shape or dtype.

    Returns:
        the module.

    Raises:
        ValueError: there is no such tensor; shape or dtype would change.

    >>> import portanet
    >>> class Symmetric(portanet.nn.Module):
    ...     def forward(self, x):
    ...         return portanet.triu(x) + portanet.triu(x, k=1).T
    >>> layer = portanet.nn.Linear(3, 3)
    >>> _ = portanet.nn.utils.parametrize.register_parametrization(layer, "weight", Symmetric())
    >>> bool(portanet.all(layer.weight == layer.weight.T))
    True
    >>> list(layer.state_dict())
    ['bias', 'parametrizations.weight.original']
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        held = module.parametrizations[tensor_name]
        if not (unsafe or held.unsafe):
            before = getattr(module, tensor_name)
            _require_like("the parametrization returns", parametrization(before), before)
        held.append(parametrization)
        held.unsafe = held.unsafe or unsafe
        return module
    original: Tensor | None = module._parameters.get(tensor_name)
    original = module._buffers.get(tensor_name) if original is None else original
    if original is None:
        raise ValueError(
            f"register_parametrization: {type(module).__name__} has no parameter or buffer {tensor_name!r}."
        )
    made = ParametrizationList([parametrization], original, unsafe)
    made.train(module.training)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = made

    def get(owner: Module) -> Any:
        return _computed(owner, tensor_name)

    def set_to(owner: Module, value: Any) -> None:
        owner.parametrizations[tensor_name].right_inverse(value)

    compute(module, tensor_name, get, set_to, prefix="Parametrized")
    return module


def _computed(module: Module, name: str) -> Any:
    held, cache = module.__dict__["parametrizations"][name], _cache.get()
    if cache is None:
        return held()
    key = (active.get(), id(held))  # what a recording computes is not for others
    if key not in cache:
        cache[key] = held()
    return cache[key]


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrizations, or one of this tensor.

    >>> import portanet
    >>> portanet.nn.utils.parametrize.is_parametrized(portanet.nn.Linear(3, 2))
    False
    """
    held = module._modules.get("parametrizations")
    if not isinstance(held, ModuleDict):
        return False
    return len(held) > 0 if tensor_name is None else tensor_name in held


def remove_parametrizations(module: M, tensor_name: str, leave_parametrized: bool = True) -> M:
    """Make the tensor one parameter or buffer again.

    Args:
        module: it is changed in place.
        tensor_name: of the tensor.
        leave_parametrized: whether its value is what was computed; else it is the original.

    Returns:
        the module.

    Raises:
        ValueError: there is nothing to remove; the originals are several, and none of them is the tensor.

    >>> import portanet
    >>> from portanet.nn.utils import parametrizations, parametrize
    >>> layer = parametrizations.weight_norm(portanet.nn.Linear(3, 2))
    >>> parametrize.remove_parametrizations(layer, "weight")
    Linear(in_features=3, out_features=2, bias=True)
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"remove_parametrizations: {type(module).__name__}.{tensor_name} has no parametrization.")
    held = module.parametrizations[tensor_name]
    if not held.is_tensor and not leave_parametrized:
        raise ValueError(
            f"remove_parametrizations: {tensor_name} is computed from several tensors, so leave_parametrized must be True."
        )
    value: Tensor = held()
    if held.is_tensor:
        kept = held.original
        if leave_parametrized:
            writing(kept)
            kept._raw = value._raw
    else:
        kept = Parameter(value) if value.requires_grad else Buffer(value)
    del module.parametrizations[tensor_name]
    forget(module, tensor_name)
    if isinstance(kept, Parameter):
        module.register_parameter(tensor_name, kept)
    else:
        module.register_buffer(tensor_name, kept)
    if not len(module.parametrizations):
        del module.parametrizations
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of a module, without what parametrizations have made of it.

    >>> import portanet
    >>> from portanet.nn.utils import parametrizations, parametrize
    >>> layer = parametrizations.weight_norm(portanet.nn.Linear(3, 2))
    >>> parametrize.type_before_parametrizations(layer) is portanet.nn.Linear
    True
    """
    return base_of(module)
