"""The calls of a plan as one Python function: its text is a call a line, the arrays are its globals.

A loop over the calls would look each of them up in a list and its arguments in an object that binds them. And a text can
name what is another array at each replay: the arguments of the step, which are then not copied to a fixed place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from portanet.plan.fresh import Part

LITERALS = (bool, int, str, type(None))
STATEMENTS: dict[Any, str] = {}  # functions whose calls are said in another way: {0}, {1} ... are their arguments


def statement(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: calls of the function are written as ``text``, which does the same without a call."""

    def said(function: Callable[..., Any]) -> Callable[..., Any]:
        STATEMENTS[function] = text
        return function

    return said


class Program:
    """Calls that are made one after the other.

    Args:
        calls: (function, arguments, options) each; the arguments are arrays, `Part`s and plain values, and tuples, lists
            and dicts of these.
        inputs: arrays in whose place each run is given others.
        results: arrays and `Part`s, of which each run returns copies.

    Attributes:
        text: the function, as it might have been written.
        run: the function: it takes the inputs and returns the results in a list.
    """

    def __init__(self, calls: Sequence[Any], inputs: Sequence[Any] = (), results: Sequence[Any] = ()) -> None:
        self._names = {id(x): f"input{i}" for i, x in enumerate(inputs)}
        self._values: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        lines = [self._line(*call) for call in calls]
        lines.append(f"return [{', '.join([f'{self._said(x)}.copy()' for x in results])}]")
        head = f"def run({', '.join([f'input{i}' for i in range(len(inputs))])}):"
        self.text = "\n    ".join([head, *lines])
        exec(compile(self.text, "<plan>", "exec"), self._values)
        self.run: Callable[..., list[Any]] = self._values.pop("run")  # which knows the values; they need not know it

    def _line(self, function: Any, args: Any, options: Any) -> str:
        said = [*map(self._said, args)]
        if isinstance(function, FunctionType) and function in STATEMENTS:
            return STATEMENTS[function].format(*said, function=self._named(function))
        said += [f"{name}={self._said(x)}" for name, x in options.items()]
        return f"{self._named(function)}({', '.join(said)})"

    def _said(self, x: Any) -> str:
        """What stands for ``x`` in the text."""
        if type(x) is Part:
            return f"{self._named(x)}.now()"
        if type(x) in LITERALS:
            return repr(x)
        if not _has_places(x):
            return self._named(x)
        if isinstance(x, dict):
            return f"{{{', '.join([f'{self._named(name)}: {self._said(one)}' for name, one in x.items()])}}}"
        if isinstance(x, list):
            return f"[{', '.join(map(self._said, x))}]"
        if isinstance(x, tuple):
            return f"({''.join([f'{self._said(one)}, ' for one in x])})"
        return self._named(x)

    def _named(self, x: Any) -> str:
        known = self._names.get(id(x))
        if known is None:
            label = _label(x)
            self._counts[label] = self._counts.get(label, 0) + 1
            known = self._names[id(x)] = f"{label}{self._counts[label]}"
            self._values[known] = x  # which also keeps its identity its own
        return known


def read_or_copied(places: Sequence[Any], viewed: set[int]) -> tuple[list[Any], list[Any]]:
    """The inputs of a program whose arguments lay at these places when it was recorded, and its first calls.

    An argument is read where it lies, unless parts of it are read: these are at the place, to which it is then copied.
    """
    inputs = [np.empty(0) if id(place) in viewed else place for place in places]
    return inputs, [(np.copyto, (place, x), {}) for x, place in zip(inputs, places) if x is not place]


def _has_places(x: Any) -> bool:
    """Whether it is made of others some of which may be elsewhere at each run."""
    if isinstance(x, dict):
        return any([_has_places(one) for one in x.values()])
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
        return any([_has_places(one) for one in x])
    return isinstance(x, (np.ndarray, Part))


def _label(x: Any) -> str:
    """A name that tells what it is."""
    if isinstance(x, np.ndarray):
        return "x"
    name = getattr(x, "__name__", "")
    return f"{name}_" if name.isidentifier() and name.isascii() else "value"
