"""Attributes of one module that are computed at each reading: where a weight was, a formula of other state stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.nn.module import Module
from portanet.plan.recorder import restructured

Getter = Callable[[Module], Any]
Setter = Callable[[Module, Any], None]


def compute(module: Module, name: str, get: Getter, set_to: Setter | None = None, prefix: str = "") -> None:
    """From here on ``module.name`` is ``get(module)``; ``set_to(module, value)`` is what assigning to it does.

    A property belongs to a class, so the module gets a class of its own, named like its own after ``prefix``. It is
    never changed afterwards: a deep copy shares it.
    """
    base, computed = base_of(module), dict(_computed(module))
    computed[name] = (get, set_to, prefix)
    _become(module, base, computed)


def forget(module: Module, name: str) -> None:
    """Undo `compute`: the name is free again."""
    computed = dict(_computed(module))
    del computed[name]
    _become(module, base_of(module), computed)


def base_of(module: Module) -> type[Module]:
    """The class of a module as it was before `compute`."""
    found: type[Module] = type(module).__dict__.get("_base", type(module))
    return found


def is_computed(module: Module, name: str) -> bool:
    """Whether ``module.name`` is such an attribute."""
    return name in _computed(module)


def taken(where: str, module: Module, name: str) -> Any:
    """The parameter ``name`` of a module, to be taken out of it. Raises ValueError where there is none."""
    if is_computed(module, name):
        raise ValueError(f"{where}: {type(module).__name__}.{name} is computed from other parameters already.")
    parameter = module._parameters.get(name)
    if parameter is None:
        has = ", ".join([one for one, value in module._parameters.items() if value is not None]) or "none"
        raise ValueError(f"{where}: {type(module).__name__} has no parameter {name!r}; it has {has}.")
    return parameter


def _computed(module: Module) -> dict[str, Any]:
    found: dict[str, Any] = type(module).__dict__.get("_computed", {})
    return found


def _become(module: Module, base: type[Module], computed: dict[str, Any]) -> None:
    restructured(f"changing what {base.__name__} computes")
    if not computed:
        module.__class__ = base
        return

    def assign(self: Module, name: str, value: Any) -> None:
        if name not in computed:
            base.__setattr__(self, name, value)
        elif computed[name][1] is None:
            raise AttributeError(
                f"{type(self).__name__}.{name} is computed from other parameters; change those, or undo that first."
            )
        else:
            computed[name][1](self, value)

    prefix = "".join(dict.fromkeys([part for _, _, part in computed.values()]))
    members = {name: property(get) for name, (get, _, _) in computed.items()}
    module.__class__ = type(
        prefix + base.__name__, (base,), {**members, "__setattr__": assign, "_base": base, "_computed": computed}
    )
