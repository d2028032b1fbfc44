"""Runs what the documentation shows: the example in every public docstring, and the README's Python."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import math
import re
from pathlib import Path

import pytest

import portanet
from tests import public

README = Path(__file__).resolve().parents[1] / "README.md"
PUBLIC = dict(public.functions_and_classes())
NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")


class NearlyEqual(doctest.OutputChecker):
    """Numbers may differ in the sixth digit: processors and libraries round exp and its kin each in their own way."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if super().check_output(want, got, optionflags):
            return True
        if "".join(NUMBER.sub("0", want).split()) != "".join(NUMBER.sub("0", got).split()):
            return False
        numbers = zip(NUMBER.findall(want), NUMBER.findall(got), strict=True)
        return all([math.isclose(float(a), float(b), rel_tol=2e-6, abs_tol=2e-7) for a, b in numbers])


def examples(name: str, value: object) -> list[doctest.DocTest]:
    """The examples of a function, or of a class and its methods (generated docstrings count)."""
    return [found for found in doctest.DocTestFinder().find(value, name, module=False, globs={}) if found.examples]


WITH_EXAMPLES = [test for name, value in PUBLIC.items() for test in examples(name, value)]


NEEDS = {"portanet.optim.scipy_minimize": "scipy"}  # what is not installed with portanet


@pytest.mark.parametrize("example", WITH_EXAMPLES, ids=[test.name for test in WITH_EXAMPLES])
def test_docstring_example(example, tmp_path, monkeypatch):
    if example.name in NEEDS:
        pytest.importorskip(NEEDS[example.name])
    monkeypatch.chdir(tmp_path)  # for examples that write a file
    said: list[str] = []
    with portanet.use_backend("numpy", dtype="float32"):  # also gives back what an example sets
        failed = doctest.DocTestRunner(NearlyEqual(), optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert failed.failed == 0, "".join(said)


def is_record(value: object) -> bool:
    """Whether this is what functions answer with: it is seen in their examples."""
    return inspect.isclass(value) and (dataclasses.is_dataclass(value) or issubclass(value, tuple))


def test_every_public_function_and_class_shows_an_example():
    public_ones = {name: value for name, value in PUBLIC.items() if not is_record(value)}
    mute = [name for name, value in public_ones.items() if ">>>" not in (inspect.getdoc(value) or "")]
    assert not mute, "\n".join(mute)


def python_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_comparison_of_examples_is_close_but_not_lax():
    same = NearlyEqual().check_output
    assert same("tensor([2.7182817, 7.389056 ])\n", "tensor([2.718282 , 7.3890557])\n", 0)
    assert not same("tensor([2.7182817])\n", "tensor([2.7182])\n", 0)
    assert not same("tensor([1., 2.])\n", "tensor([1.])\n", 0)
    assert not same("tensor([1.])\n", "tensor([1.], dtype=float64)\n", 0)
    assert not same("portanet.float32\n", "portanet.float64\n", 0)


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
    assert len(commands) == 3
    assert "-m benchmarks" in commands.pop()  # in the environment that the others have made
    for command in commands:
        assert command.startswith("python3 -m venv"), command
        assert "pip install" in command
    assert "examples/digits.py" in commands[0]
    assert "-m pytest" in commands[1]
