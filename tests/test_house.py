"""Keeps the house standing: what may import what, how long a file may be, where a library may be named."""

from __future__ import annotations

import ast
import graphlib
import inspect
import subprocess
import sys
from pathlib import Path

from tests import public

PACKAGE = Path(__file__).resolve().parents[1] / "portanet"
LONGEST = 500
LIBRARIES = {"numpy", "cupy", "cupyx", "torch", "jax", "jaxlib", "dpnp", "array_api_strict", "array_api_compat"}

# A module stands on the floor of the longest entry that its name begins with; it imports from its own floor or below.
FLOORS = {
    "portanet.dtypes": 0, "portanet.library": 0, "portanet.backend": 0, "portanet.kernels": 0, "portanet.host": 0,
    "portanet.plan": 0, "portanet.threads": 0,
    "portanet.reads": 0, "portanet.ptfile": 0, "portanet.precision": 0, "portanet.whereabouts": 0, "portanet.doors": 0,
    "portanet.memory": 0,
    "portanet.tape": 1,
    "portanet.vjps": 2,
    "portanet.reading": 3, "portanet.autocasting": 3, "portanet.pullback": 3, "portanet.tensor": 3, "portanet.namespace": 3,
    "portanet.linalg": 3, "portanet.fft": 3, "portanet.special": 3, "portanet.autograd": 3,
    "portanet.random": 4, "portanet.generator": 4, "portanet.nn.functional": 4, "portanet.nn.init": 4,
    "portanet.nn.module": 5, "portanet.nn.parameter": 5, "portanet.nn.hooks": 5, "portanet.nn.state": 5,
    "portanet.nn.modules": 6, "portanet.nn.features": 6, "portanet.nn.utils": 6, "portanet.nn": 6,
    "portanet.optim": 6, "portanet.data": 6, "portanet.metrics": 6,
    "portanet.amp": 7, "portanet.lifting": 7, "portanet.captured": 7, "portanet.replay": 7, "portanet.traced": 7,
    "portanet.compiled": 7,
    "portanet.training": 7, "portanet.serialization": 7, "portanet.testing": 7,
    "portanet": 8,
}  # fmt: skip
GROUND_FLOOR = 0

FILES = sorted(PACKAGE.rglob("*.py"))


def dotted(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {dotted(file): ast.parse(file.read_text()) for file in FILES}


def floor(module: str) -> int | None:
    """The floor of a module, or None where the table lacks it. Only the package itself stands on the roof."""
    parts = module.split(".")
    for length in range(len(parts), min(len(parts), 2) - 1, -1):
        if ".".join(parts[:length]) in FLOORS:
            return FLOORS[".".join(parts[:length])]
    return None


def imports(module: str) -> list[tuple[int, str]]:
    """(line, dotted name) of everything that a module imports, inside functions too."""
    found = []
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            assert node.level == 0, f"{module}:{node.lineno}: a relative import; write portanet. in full."
            inner = [f"{base}.{alias.name}" for alias in node.names]  # from portanet import tape: the module tape
            found += [(node.lineno, name if name in TREES else base) for name in inner]
    return found


def report(violations: list[str]) -> str:
    return "\n".join([f"{len(violations)} against the rule:", *violations])


def own_imports(module: str) -> list[tuple[int, str]]:
    return [(line, name) for line, name in imports(module) if name.split(".")[0] == "portanet"]


def test_every_module_stands_on_a_floor():
    homeless = [module for module in TREES if floor(module) is None]
    assert not homeless, report(homeless)


def test_every_floor_is_of_the_real_tree():
    gone = [name for name in FLOORS if name not in TREES]
    assert not gone, report(gone)


def test_imports_go_down():
    up = [
        f"{module}:{line} (floor {floor(module)}) imports {name} (floor {floor(name)})"
        for module in TREES
        for line, name in own_imports(module)
        if None not in (above := floor(name), below := floor(module)) and above > below
    ]
    assert not up, report(up)


def test_no_import_cycle():
    graph = {module: {name for _, name in own_imports(module)} for module in TREES}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the modules on the cycle


def test_no_file_is_too_long():
    lengths = {dotted(file): len(file.read_text().splitlines()) for file in FILES}
    long = [f"{module} has {length} lines" for module, length in lengths.items() if length > LONGEST]
    assert not long, report(long)


def docstrings(tree: ast.Module) -> set[int]:
    """The identities of the string nodes that stand alone: docstrings, in which any library may be named."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def test_libraries_are_named_on_the_ground_floor_alone():
    named = []
    for module, tree in TREES.items():
        if floor(module) == GROUND_FLOOR:
            continue
        named += [
            f"{module}:{line} imports {name}" for line, name in imports(module) if name.split(".")[0] in LIBRARIES
        ]
        prose = docstrings(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in LIBRARIES and id(node) not in prose:
                named.append(f"{module}:{node.lineno} says {node.value!r}")
    assert not named, report(named)


def test_every_file_begins_by_saying_what_it_is():
    silent = [module for module, tree in TREES.items() if not ast.get_docstring(tree)]
    assert not silent, report(silent)


def test_every_public_name_has_a_docstring():
    bare = [name for name, value in public.functions_and_classes() if not inspect.getdoc(value)]
    for name, value in public.functions_and_classes():
        if inspect.isclass(value):
            bare += [
                f"{name}.{member}"
                for member, method in public.members(value)
                if not (inspect.getdoc(method) or inspect.getdoc(getattr(value, member, None)))
            ]
    assert not bare, report(bare)


def test_importing_portanet_imports_nothing_that_was_not_asked_for():
    unasked = sorted((LIBRARIES - {"numpy", "array_api_compat"}) | {"scipy", "tqdm", "safetensors", "matplotlib"})
    script = f"import sys, portanet; print(*[name for name in {unasked} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
