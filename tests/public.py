"""The public names of portanet, found by walking its public modules."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import portanet

# What a user imports from; deeper modules are where these names happen to live.
MODULES = """portanet portanet.autograd portanet.backend portanet.data portanet.fft portanet.linalg portanet.metrics
portanet.nn portanet.nn.features portanet.nn.functional portanet.nn.init portanet.nn.utils
portanet.nn.utils.parametrizations portanet.nn.utils.parametrize portanet.nn.utils.prune portanet.nn.utils.rnn
portanet.nn.utils.stateless portanet.optim portanet.optim.lr_scheduler portanet.optim.swa_utils portanet.random
portanet.serialization portanet.special portanet.testing portanet.training""".split()


def modules() -> list[ModuleType]:
    """Every public module, imported."""
    return [importlib.import_module(name) for name in MODULES]


def all_modules() -> list[str]:
    """The dotted name of every module of the package, public or not."""
    return ["portanet", *sorted([found.name for found in pkgutil.walk_packages(portanet.__path__, "portanet.")])]


def names(module: ModuleType) -> list[str]:
    """The names that ``module`` offers: its ``__all__``, or else all without an underscore that are portanet's own."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    return [name for name, value in vars(module).items() if not name.startswith("_") and _own(value)]


def _own(value: Any) -> bool:
    return (getattr(value, "__module__", None) or "").startswith("portanet") and not inspect.ismodule(value)


def functions_and_classes() -> Iterator[tuple[str, Any]]:
    """(dotted name, object) for every public function and class, each once, under the first name met."""
    seen = set()
    for module in modules():
        for name in names(module):
            value = getattr(module, name)
            if id(value) not in seen and (inspect.isclass(value) or inspect.isroutine(value)):
                seen.add(id(value))
                yield f"{module.__name__}.{name}", value


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class defines itself."""
    for name, value in vars(cls).items():
        value = getattr(value, "__func__", value)  # a class method or static method
        if not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
            yield name, getattr(cls, name)
