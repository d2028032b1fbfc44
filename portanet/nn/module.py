"""`Module`: state with dotted names, found by assigning it to attributes, and what is done with all of it at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from portanet.library import relieve
from portanet.nn.hooks import RemovableHandle, hooked
from portanet.nn.parameter import Buffer, Parameter, is_lazy
from portanet.nn.state import IncompatibleKeys, carried, copied, misfit
from portanet.plan.recorder import restructured, writing
from portanet.tensor import Tensor

__all__ = ["Module"]


class Module:
    """The base of every layer and network: subclasses assign their state in ``__init__`` and define ``forward``.

    A `Parameter`, a `Buffer` or another Module that is assigned to an attribute is found by its dotted name, such as
    ``"layers.0.weight"``. State is walked by identity: a weight that two layers share is one parameter.

    >>> import portanet
    >>> class Affine(portanet.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.weight = portanet.nn.Parameter(portanet.ones(2))
    ...     def forward(self, x):
    ...         return self.weight * x
    >>> model = Affine()
    >>> model(portanet.asarray([1.0, 2.0])).detach()
    tensor([1., 2.])
    >>> [name for name, _ in model.named_parameters()]
    ['weight']
    """

    training: bool
    # What is registered stands in one of these three tables, in order, and once more among the attributes of the
    # instance: reading `self.weight` on every call is then a plain attribute access.
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _forward_pre_hooks: dict[int, Any]
    _forward_hooks: dict[int, Any]

    def __init__(self) -> None:
        fields = self.__dict__
        fields["training"] = True
        fields["_parameters"] = {}
        fields["_buffers"] = {}
        fields["_modules"] = {}
        fields["_transient_buffers"] = set()
        fields["_forward_pre_hooks"] = {}
        fields["_forward_hooks"] = {}

    if TYPE_CHECKING:  # what is registered by name is unknown to a type checker

        def __getattr__(self, name: str) -> Any: ...

    # ---------------------------------------------------------------------------------------------------- calling

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the module computes; every subclass defines its own."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(self, ...); write one.")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The hooks that were registered, and `forward` between them."""
        try:
            if not self._forward_pre_hooks and not self._forward_hooks:
                return self.forward(*args, **options)
            return self._hooked(args, options)
        except MemoryError as problem:
            relieve(type(self).__name__, problem)

    def _hooked(self, args: Any, options: Any) -> Any:
        for hook, with_kwargs in list(self._forward_pre_hooks.values()):
            if with_kwargs:
                changed = hook(self, args, options)
                args, options = (args, options) if changed is None else changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **options)
        for hook, with_kwargs in list(self._forward_hooks.values()):
            changed = hook(self, args, options, result) if with_kwargs else hook(self, args, result)
            result = result if changed is None else changed
        return result

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before every `forward`; what it returns, if not None, replaces the arguments.

        Args:
            hook: with ``with_kwargs`` it is ``hook(module, args, kwargs)`` and returns both or None.
            prepend: call it before the hooks that are there already.
        """
        return hooked(self._forward_pre_hooks, hook, prepend, with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after every `forward`; what it returns, if not None, replaces the output.

        Args:
            hook: with ``with_kwargs`` it is ``hook(module, args, kwargs, output)``.
            prepend: call it before the hooks that are there already.
        """
        return hooked(self._forward_hooks, hook, prepend, with_kwargs)

    # ------------------------------------------------------------------------------------------------ registering

    def __setattr__(self, name: str, value: Any) -> None:
        table = _table_for(value)
        if table is None and not self._is_registered(name):
            object.__setattr__(self, name, value)
            return
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning {name!r}.")
        if table is None:
            table = self._table_of(name)
            kind, wanted = _KINDS[table]
            if value is not None and not isinstance(value, wanted):
                raise TypeError(
                    f"{type(self).__name__}.{name} is a {kind}, so it cannot become a {type(value).__name__}; assign a "
                    f"portanet.{'' if wanted is Tensor else 'nn.'}{wanted.__name__} or None, or delete it first."
                )
        else:
            for other in _KINDS:
                if other != table:
                    self.__dict__[other].pop(name, None)
        if isinstance(value, Buffer) and not value.persistent:
            self.__dict__["_transient_buffers"].add(name)
        self._put(table, name, value)

    def __delattr__(self, name: str) -> None:
        if self._is_registered(name):
            restructured(f"deleting {type(self).__name__}.{name}")
            del self.__dict__[self._table_of(name)][name]
            self.__dict__["_transient_buffers"].discard(name)
        object.__delattr__(self, name)

    def _is_registered(self, name: str) -> bool:
        fields = self.__dict__
        if "_modules" not in fields:
            return False
        return name in fields["_parameters"] or name in fields["_buffers"] or name in fields["_modules"]

    def _table_of(self, name: str) -> str:
        for table in _KINDS:
            if name in self.__dict__[table]:
                return table
        raise KeyError(name)

    def _put(self, table: str, name: str, value: Any) -> None:
        restructured(f"assigning {type(self).__name__}.{name}")
        self.__dict__[table][name] = value
        self.__dict__[name] = value

    def _checked_name(self, name: str, table: str, kind: str) -> None:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before registering {name!r}.")
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"the name of a {kind} must be a string, not empty and without dots; saw {name!r}.")
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"{type(self).__name__} has another attribute {name!r} already; name the {kind} otherwise.")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under ``name``; None keeps the place of one that is left out, as a bias may be."""
        self._checked_name(name, "_parameters", "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"parameter {name!r} must be a portanet.nn.Parameter or None, saw {type(param).__name__}.")
        self._put("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a buffer, state that is not trained, under ``name``; without ``persistent`` the `state_dict` skips it."""
        self._checked_name(name, "_buffers", "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"buffer {name!r} must be a Tensor or None, saw {type(tensor).__name__}; see portanet.asarray."
            )
        transient = self.__dict__["_transient_buffers"]
        transient.discard(name) if persistent else transient.add(name)
        self._put("_buffers", name, tensor)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under ``name``."""
        self._checked_name(name, "_modules", "module")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"module {name!r} must be a portanet.nn.Module or None, saw {type(module).__name__}.")
        self._put("_modules", name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """`register_module` under its older name."""
        self.register_module(name, module)

    # ---------------------------------------------------------------------------------------------------- walking

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module (named ``prefix``) and all below it, with dotted names; each object once."""
        memo = set() if memo is None else memo
        # A stack, not recursion: generators within generators would hand each module up through all above it.
        waiting = [(id(None), iter([(prefix, self)]))]
        above: set[int] = set()
        while waiting:
            for place, module in waiting[-1][1]:
                if id(module) in memo:
                    continue
                if id(module) in above:
                    raise RecursionError(f"{type(module).__name__} {place!r} contains itself; take it out of there.")
                if remove_duplicate:
                    memo.add(id(module))
                yield place, module
                above.add(id(module))
                waiting.append((id(module), module._below(place)))
                break
            else:
                above.discard(waiting.pop()[0])

    def _below(self, place: str) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one, which is called ``place``, with their dotted names."""
        for name, module in self._modules.items():
            if module is not None:
                yield f"{place}.{name}" if place else name, module

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each object once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one and their names, each object once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one, each object once."""
        for _, module in self.named_children():
            yield module

    def _named(self, table: str, prefix: str, recurse: bool, remove_duplicate: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        if recurse:
            modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        else:
            modules = iter([(prefix, self)])
        for place, module in modules:
            for name, value in module.__dict__[table].items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield f"{place}.{name}" if place else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; a tied one once, under its first name."""
        yield from self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each object once: what an optimizer is given."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names."""
        yield from self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each object once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name; the empty name is this module. Raises AttributeError, naming where it ends."""
        module: Any = self
        walked = ""
        for part in target.split(".") if target else []:
            below = module._modules.get(part)
            if below is None:
                known = ", ".join(module._modules) or "none"
                raise AttributeError(f"{type(module).__name__} {walked!r} has no submodule {part!r}; it has {known}.")
            module, walked = below, f"{walked}.{part}" if walked else part
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        return self._get(target, "_parameters", "parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name."""
        return self._get(target, "_buffers", "buffer")

    def _get(self, target: str, table: str, kind: str) -> Any:
        place, _, name = target.rpartition(".")
        module = self.get_submodule(place)
        found = module.__dict__[table].get(name)
        if found is None:
            known = ", ".join(module.__dict__[table]) or "none"
            raise AttributeError(f"{type(module).__name__} {place!r} has no {kind} {name!r}; it has {known}.")
        return found

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` with every module below this one, then with this one: for initialisation of one's own."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ------------------------------------------------------------------------------------------------------ modes

    def train(self, mode: bool = True) -> Self:
        """Put this module and all below it into training mode (or out of it): dropout and batch norm ask for it."""
        if not isinstance(mode, bool):
            raise ValueError(f"train(mode): mode must be True or False, saw {mode!r}.")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all below it into evaluation mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for gradients of all parameters, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters: each ``grad`` is None afterwards."""
        for module in self.modules():
            for parameter in module._parameters.values():
                if parameter is not None and parameter.requires_grad:
                    parameter.grad = None

    # ----------------------------------------------------------------------------------------------------- moving

    def to(self, *targets: Any, device: Any = None, dtype: Any = None) -> Self:
        """Move all parameters and buffers to another library, device or floating dtype, in place; return this module.

        The targets are those of `Tensor.to`: ``model.to("torch")``, ``model.to("cuda:0")``,
        ``model.to(portanet.float64)``. The Parameter objects stay the same, so an optimizer that holds them goes on;
        gradients move with them. A dtype is for floating state alone: counters keep theirs.

        Raises:
            TypeError: the dtype is not real floating.

        >>> import portanet
        >>> portanet.nn.Linear(2, 1).to(portanet.float64).weight.dtype
        portanet.float64
        """
        seen: set[int] = set()
        for _, tensor in [*self.named_parameters(), *self.named_buffers()]:
            if id(tensor) not in seen:
                seen.add(id(tensor))
                gradient = tensor.grad
                writing(tensor)
                raw = tensor.template if is_lazy(tensor) else tensor._raw  # type: ignore[attr-defined]
                tensor._raw = carried(raw, targets, device, dtype)
                if gradient is not None:
                    tensor.grad = Tensor(carried(gradient._raw, targets, device, dtype))
        return self

    def float(self) -> Self:
        """All floating state in float32."""
        return self.to(dtype="float32")

    def double(self) -> Self:
        """All floating state in float64."""
        return self.to(dtype="float64")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        for name, value in self.__dict__.items():
            twin.__dict__[name] = copy.deepcopy(value, memo)
        return twin

    # ------------------------------------------------------------------------------------------------------ state

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """All parameters and persistent buffers by dotted name, as constants (``keep_vars``: as they are); not copied.

        >>> import portanet
        >>> list(portanet.nn.Sequential(portanet.nn.Linear(2, 1)).state_dict())
        ['0.weight', '0.bias']
        """
        found: dict[str, Tensor] = {}
        for place, tensor in _state(self):
            found[prefix + place] = tensor if keep_vars else tensor.detach()
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Give every parameter and persistent buffer the values that ``state_dict`` has under its name, copied.

        Values may be Tensors or arrays of any library; each is brought to the library, device and dtype that the
        parameter has. Nothing is changed unless everything fits.

        Args:
            state_dict: what `state_dict` returned, or any mapping from dotted names to arrays.
            strict: whether a missing or an unexpected name is an error.

        Returns:
            ``(missing_keys, unexpected_keys)``.

        Raises:
            RuntimeError: names are missing or unexpected (``strict``) or shapes differ; the message lists them all.
        """
        own = dict(_state(self))
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        problems = []
        if strict and missing:
            problems.append("missing: " + ", ".join(missing) + ".")
        if strict and unexpected:
            problems.append("unexpected: " + ", ".join(unexpected) + ".")
        common = [name for name in own if name in state_dict and not (is_lazy(own[name]) and is_lazy(state_dict[name]))]
        for name in common:
            given, bare = state_dict[name], is_lazy(own[name])
            lacking = f"{name}: uninitialized in what is loaded; call that model once before its state is taken."
            line = (
                lacking
                if is_lazy(given)
                else misfit(name, own[name], tuple(given.shape) if bare else own[name].shape, given)
            )
            problems += [line] if line else []
        if problems:
            raise RuntimeError(f"{type(self).__name__}.load_state_dict:\n    " + "\n    ".join(problems))
        for name in common:
            writing(own[name])
            if is_lazy(own[name]):
                own[name].materialize(state_dict[name].shape)  # type: ignore[attr-defined]
            own[name]._raw = copied(state_dict[name], own[name]._raw)
        return IncompatibleKeys(missing, unexpected)

    # ------------------------------------------------------------------------------------------------------- text

    def extra_repr(self) -> str:
        """What stands between the brackets of the module's own line when it is printed."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        own = extra.split("\n") if extra else []
        below = [f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()]
        return _bracketed(type(self).__name__, own, below)


_KINDS: dict[str, tuple[str, type]] = {
    "_parameters": ("parameter", Parameter),
    "_buffers": ("buffer", Tensor),
    "_modules": ("module", Module),
}


def _table_for(value: Any) -> str | None:
    """The table that a value belongs in by its type alone."""
    if isinstance(value, Tensor):
        return "_parameters" if isinstance(value, Parameter) else "_buffers" if isinstance(value, Buffer) else None
    return "_modules" if isinstance(value, Module) else None


def _state(module: Module) -> Iterator[tuple[str, Tensor]]:
    """What `state_dict` holds, in PyTorch's order; a tied weight under each of its names."""
    for place, one in module.named_modules(remove_duplicate=False):
        prefix = f"{place}." if place else ""
        for name, parameter in one._parameters.items():
            if parameter is not None:
                yield prefix + name, parameter
        for name, buffer in one._buffers.items():
            if buffer is not None and name not in one.__dict__["_transient_buffers"]:
                yield prefix + name, buffer


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _bracketed(name: str, own: list[str], below: list[str]) -> str:
    """``Name(own)`` on one line where it fits there, else one line for each part, as PyTorch prints modules."""
    if not own and not below:
        return f"{name}()"
    if len(own) == 1 and not below:
        return f"{name}({own[0]})"
    return f"{name}(\n  " + "\n  ".join([*own, *below]) + "\n)"
