"""Modules and parameters in sequences and dictionaries, found by `Module` as if they were attributes."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from portanet.nn.module import Module
from portanet.nn.parameter import Parameter
from portanet.tensor import Tensor

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


class _Numbered(Module):
    """Entries under the names "0", "1", ...: what the sequences share. ``_table`` says where they are kept."""

    _table = "_modules"

    def _entries(self) -> list[Any]:
        return list(self.__dict__[self._table].values())

    def _names(self) -> list[str]:
        """The names in order, kept from call to call: a loop over places would otherwise list all at each."""
        names: list[str] | None = self.__dict__.get("_order")
        if names is None or len(names) != len(self):
            names = self.__dict__["_order"] = list(self.__dict__[self._table])
        return names

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self.__dict__["_order"] = None

    def _checked(self, value: Any) -> Any:
        if not isinstance(value, Module):
            raise TypeError(f"{type(self).__name__} holds modules, saw {type(value).__name__}.")
        return value

    def _refill(self, values: list[Any]) -> None:
        """Make ``values`` the entries, numbered from 0."""
        checked = [self._checked(value) for value in values]
        for name in list(self.__dict__[self._table]):
            delattr(self, name)
        for i, value in enumerate(checked):
            self._put(self._table, str(i), value)

    def _place(self, index: int) -> int:
        index, count = operator.index(index), len(self)
        if not -count <= index < count:
            raise IndexError(f"{type(self).__name__} has {count} entries, so there is no index {index}.")
        return index % count

    def __len__(self) -> int:
        return len(self.__dict__[self._table])

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries())

    def __contains__(self, value: object) -> bool:
        return any([value is entry for entry in self._entries()])

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.isdigit()]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(self._entries()[index])  # type: ignore[call-arg]
        return self.__dict__[self._table][self._names()[self._place(index)]]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            entries = self._entries()
            entries[index] = list(value)
            self._refill(entries)
        else:
            name = self._names()[self._place(index)]
            self._put(self._table, name, self._checked(value))

    def __delitem__(self, index: Any) -> None:
        entries = self._entries()
        del entries[index if isinstance(index, slice) else self._place(index)]
        self._refill(entries)

    def insert(self, index: int, value: Any) -> None:
        """Put ``value`` before the entry ``index``."""
        entries = self._entries()
        entries.insert(index, value)
        self._refill(entries)

    def append(self, value: Any) -> Self:
        """Put ``value`` at the end."""
        names, name = self._names(), str(len(self))
        self._put(self._table, name, self._checked(value))
        if len(names) < len(self):
            names.append(name)
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Put all ``values`` at the end, in order."""
        for value in list(values):
            self.append(value)
        return self

    def pop(self, index: int = -1) -> Any:
        """Take the entry ``index`` out and return it."""
        value = self[index]
        del self[index]
        return value

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)


class Sequential(_Numbered):
    """Modules one after another: each is given what the one before returned.

    Args:
        modules: the modules in order, or one dictionary that names them; their names are "0", "1", ... otherwise.

    Indexing gives a module; a slice gives a Sequential of the same modules.

    >>> import portanet
    >>> nn = portanet.nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> model(portanet.ones((5, 2))).shape
    (5, 1)
    >>> model[0]
    Linear(in_features=2, out_features=3, bias=True)
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.register_module(name, self._checked(module))
        else:
            self.extend(modules)

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)  # type: ignore[misc]
        return input

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return super().__getitem__(index)

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)


class ModuleList(_Numbered):
    """A list of modules, for a ``forward`` of one's own to use: it has none itself.

    >>> import portanet
    >>> layers = portanet.nn.ModuleList([portanet.nn.Linear(4, 4) for _ in range(3)])
    >>> layers
    ModuleList(
      (0-2): 3 x Linear(in_features=4, out_features=4, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or [])

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        """Equal modules that follow each other are printed once, with their number."""
        groups: list[list[Any]] = []  # [first, last, text]
        for i, text in enumerate([repr(module) for module in self]):
            if groups and groups[-1][2] == text:
                groups[-1][1] = i
            else:
                groups.append([i, i, text])
        lines = []
        for first, last, text in groups:
            text = text.replace("\n", "\n  ")
            lines.append(f"({first}): {text}" if first == last else f"({first}-{last}): {last - first + 1} x {text}")
        return f"{type(self).__name__}(" + ("\n  " + "\n  ".join(lines) + "\n" if lines else "") + ")"


class _Named(Module):
    """Entries under names of their own: what the dictionaries share."""

    _table = "_modules"

    def _register(self, name: str, value: Any) -> None:
        self.register_module(name, value)

    def __len__(self) -> int:
        return len(self.__dict__[self._table])

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__[self._table])

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__[self._table]

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[self._table][name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._register(name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        delattr(self, name)

    def keys(self) -> Iterable[str]:
        """The names, in the order in which they were added."""
        return self.__dict__[self._table].keys()

    def values(self) -> Iterable[Any]:
        """What the names stand for."""
        return self.__dict__[self._table].values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of a name and what it stands for."""
        return self.__dict__[self._table].items()

    def update(self, entries: Any) -> None:
        """Add all of a mapping, or of pairs of a name and a value."""
        for name, value in entries.items() if hasattr(entries, "items") else entries:
            self[name] = value

    def pop(self, name: str) -> Any:
        """Take the entry ``name`` out and return it."""
        value = self[name]
        del self[name]
        return value

    def clear(self) -> None:
        """Take all entries out."""
        for name in list(self):
            del self[name]


class ModuleDict(_Named):
    """A dictionary of modules, for a ``forward`` of one's own to use.

    >>> import portanet
    >>> heads = portanet.nn.ModuleDict({"price": portanet.nn.Linear(4, 1), "class": portanet.nn.Linear(4, 3)})
    >>> heads["price"](portanet.ones(4)).shape
    (1,)
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update(modules or {})


def _as_parameter(value: Any, owner: str) -> Parameter:
    if isinstance(value, Parameter):
        return value
    if not isinstance(value, Tensor):
        raise TypeError(f"{owner} holds parameters, saw {type(value).__name__}; portanet.nn.Parameter makes one.")
    return Parameter(value)


def _described(parameter: Parameter) -> str:
    return f"Parameter containing: [{parameter.dtype!r} of size {'x'.join([str(n) for n in parameter.shape])}]"


class ParameterList(_Numbered):
    """A list of parameters; Tensors that are put in become parameters.

    >>> import portanet
    >>> weights = portanet.nn.ParameterList([portanet.ones(2), portanet.ones(3)])
    >>> [name for name, _ in weights.named_parameters()]
    ['0', '1']
    """

    _table = "_parameters"

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.extend(values or [])

    def _checked(self, value: Any) -> Parameter:
        return _as_parameter(value, "ParameterList")

    def extra_repr(self) -> str:
        return "\n".join([f"  ({i}): {_described(parameter)}" for i, parameter in enumerate(self)])

    def __repr__(self) -> str:
        lines = self.extra_repr().split("\n")
        return "ParameterList(" + ("\n  " + "\n  ".join(lines) + "\n" if len(self) else "") + ")"


class ParameterDict(_Named):
    """A dictionary of parameters; Tensors that are put in become parameters.

    >>> import portanet
    >>> portanet.nn.ParameterDict({"scale": portanet.ones(2)})["scale"].requires_grad
    True
    """

    _table = "_parameters"

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def _register(self, name: str, value: Any) -> None:
        self.register_parameter(name, _as_parameter(value, "ParameterDict"))

    def extra_repr(self) -> str:
        return "\n".join([f"  ({name}): {_described(parameter)}" for name, parameter in self.items()])
