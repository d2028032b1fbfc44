"""Runs what the documentation shows: the example in every public docstring, and the README's Python."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

import pytest

import portanet
from tests import public

README = Path(__file__).resolve().parents[1] / "README.md"
PUBLIC = dict(public.functions_and_classes())


def examples(name: str, value: object) -> list[doctest.DocTest]:
    """The examples of a function, or of a class and its methods (generated docstrings count)."""
    return [found for found in doctest.DocTestFinder().find(value, name, module=False, globs={}) if found.examples]


WITH_EXAMPLES = [test for name, value in PUBLIC.items() for test in examples(name, value)]


@pytest.mark.parametrize("example", WITH_EXAMPLES, ids=[test.name for test in WITH_EXAMPLES])
def test_docstring_example(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for examples that write a file
    said: list[str] = []
    with portanet.use_backend("numpy", dtype="float32"):  # also gives back what an example sets
        failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert failed.failed == 0, "".join(said)


def test_every_public_function_and_class_shows_an_example():
    mute = [name for name, value in PUBLIC.items() if ">>>" not in (inspect.getdoc(value) or "")]
    assert not mute, "\n".join(mute)


def python_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.heavy
def test_the_readme_trains_a_network_on_every_backend(backend, capsys):
    names: dict[str, object] = {}
    for block in python_of(README):
        exec(compile(block, str(README), "exec"), names)
    assert names["y"].backend == backend.name
    assert names["error"].item() < 1e-3
    assert "mean squared error" in capsys.readouterr().out


def test_the_readme_gives_two_commands_that_set_themselves_up():
    commands = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(commands) == 2
    for command in commands:
        assert command.startswith("python3 -m venv"), command
        assert "pip install" in command
    assert "examples/digits.py" in commands[0]
    assert "-m pytest" in commands[1]
