"""One sample or more for every rule in `portanet.vjps`: where it is evaluated, and with which arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy


@dataclass(frozen=True)
class Sample:
    """A function at a point, in float64 (complex128), away from its kinks.

    Attributes:
        rule: the name in the tables of `portanet.vjps` that this exercises.
        function: takes Tensors, returns a Tensor or a tuple of them.
        args: NumPy arrays; they become Tensors of the backend under test.
        note: what is special, for the test's id.
        second: whether second derivatives are checked too.
        needs: "linalg", "fft", "data_dependent_shapes" or "boolean_indexing" where the sample uses one.
    """

    rule: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    note: str = ""
    second: bool = True
    needs: str = ""

    def __str__(self) -> str:
        return self.rule + (f"-{self.note}" if self.note else "")


def real(*shape: int, low: float = 0.2, high: float = 0.8, seed: int = 0) -> Any:
    """Fixed random numbers between ``low`` and ``high``."""
    return numpy.random.default_rng(seed + sum(shape)).uniform(low, high, shape)


def complex_(*shape: int, seed: int = 0) -> Any:
    """Fixed random complex numbers in a square off the axes and branch cuts."""
    return real(*shape, seed=seed) + 1j * real(*shape, seed=seed + 99)


def signed(*shape: int, seed: int = 0) -> Any:
    """Fixed random numbers of both signs, none nearer to 0 than 0.2."""
    values = real(*shape, seed=seed)
    return values * numpy.where(numpy.arange(values.size).reshape(shape) % 2, 1.0, -1.0)


def everything() -> list[Sample]:
    """The samples of every family."""
    from tests.samples import conv, elementwise, fft, indexing, linalg, nn, reductions, sequences, shapes, special

    families = (conv, elementwise, fft, indexing, linalg, nn, reductions, sequences, shapes, special)
    return [s for family in families for s in family.SAMPLES]
