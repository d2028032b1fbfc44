"""portanet beside array_api_strict, which is the standard and nothing else: the same names, the same signatures.

The official suite (tests/conformance) checks far more, but has to be fetched; this runs everywhere.
"""

from __future__ import annotations

import inspect
import types

import array_api_strict
import pytest

import portanet

# What array_api_strict has for its own sake.
NOT_STANDARD = {
    "ArrayAPIStrictFlags", "Device", "get_array_api_strict_flags", "reset_array_api_strict_flags",
    "set_array_api_strict_flags",
}  # fmt: skip
NAMESPACES = {"": (array_api_strict, portanet)} | {
    name: (getattr(array_api_strict, name), getattr(portanet, name)) for name in ("linalg", "fft")
}


def public(module: types.ModuleType) -> set[str]:
    """The names of a namespace that the standard has."""
    return {name for name in module.__all__ if not name.startswith("_")} - NOT_STANDARD


NAMES = [(space, name) for space, (strict, _) in NAMESPACES.items() for name in sorted(public(strict))]
FUNCTIONS = [(space, name) for space, name in NAMES if inspect.isfunction(getattr(NAMESPACES[space][0], name))]


def test_the_list_is_the_whole_standard():
    assert len([space for space, _ in FUNCTIONS if space == ""]) >= 134
    assert len([space for space, _ in FUNCTIONS if space == "linalg"]) >= 23
    assert len([space for space, _ in FUNCTIONS if space == "fft"]) == 14


@pytest.mark.parametrize(("space", "name"), NAMES)
def test_every_name_of_the_standard_is_there(space, name):
    assert hasattr(NAMESPACES[space][1], name)


@pytest.mark.parametrize(("space", "name"), FUNCTIONS)
def test_every_signature_is_the_standard_s(space, name):
    strict, ours = [inspect.signature(getattr(module, name)).parameters.values() for module in NAMESPACES[space]]
    positional_only = inspect.Parameter.POSITIONAL_ONLY
    mine = {p.name: p for p in ours}
    # Positional-only arguments are known by their places, all others by their names.
    count = len([p for p in strict if p.kind is positional_only])
    assert len([p for p in ours if p.kind is positional_only]) == count
    for theirs in list(strict)[count:]:
        assert theirs.name in mine, f"{name} lacks {theirs.name}"
        assert mine[theirs.name].kind is theirs.kind, theirs.name
        if theirs.default is not inspect.Parameter.empty:
            assert mine[theirs.name].default is not inspect.Parameter.empty, f"{theirs.name} may be left out"
    extra = [p for p in ours if p.name not in {q.name for q in strict} and p.kind is not positional_only]
    assert all([p.default is not inspect.Parameter.empty or p.kind is p.VAR_POSITIONAL for p in extra])


def test_every_method_and_attribute_of_an_array_is_there():
    array = type(array_api_strict.ones(1))
    missing = [name for name in vars(array) if not hasattr(portanet.Tensor, name) and not name.startswith("_")]
    assert missing == []
    dunders = {name for name in vars(array) if name.startswith("__") and callable(vars(array)[name])}
    in_place = {name for name in dunders if name.startswith("__i") and hasattr(portanet.Tensor, "__" + name[3:])}
    # Python makes x += y of x = x + y where a type has no __iadd__.
    assert {name for name in dunders - in_place if not hasattr(portanet.Tensor, name)} <= {"__buffer__"}


def test_what_the_namespace_says_of_itself():
    assert portanet.__array_api_version__ == "2025.12"
    info = portanet.__array_namespace_info__()
    assert {"boolean indexing", "data-dependent shapes", "max dimensions"} <= set(info.capabilities())
    assert info.default_device() in info.devices()
    kinds = {"real floating", "complex floating", "integral", "indexing"}
    assert set(info.default_dtypes()) == kinds
    assert set(info.dtypes(kind="real floating")) == {"float32", "float64"}
    assert info.dtypes()["int8"] is portanet.int8
