"""What is timed on a GPU: the networks of the CPU at sizes that suit one, Adam, and four operations bound by memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from benchmarks.workloads import images, mlp
from benchmarks.workloads.base import Network, Workload
from benchmarks.workloads.others import Update
from benchmarks.workloads.sequences import Transformer

Arrays = dict[str, np.ndarray]
SAMPLE = 4  # about so many rows of a matrix are compared


@dataclass(frozen=True)
class Operation(Workload):
    """One operation on a matrix of float32, and its gradient.

    ``forward`` and ``both`` are the bytes for each element that must be moved for the value alone, and for value and
    gradients: each array that is needed is read once and each result written once in either pass.
    """

    shape: tuple[int, int]
    forward: int
    both: int
    counted: str
    apply: Callable[[Any, dict[str, Any]], Any] = field(compare=False)  # (torch.nn.functional or alike, arrays)
    leaves: tuple[str, ...] = ("x",)
    backward: bool = True
    checked: int = field(default=1, kw_only=True)

    def moved(self) -> int:
        """The bytes that must be moved."""
        return (self.both if self.backward else self.forward) * math.prod(self.shape)

    def alone(self) -> Operation:
        """The value without gradients."""
        return replace(self, name=f"{self.name}, forward", backward=False)

    def arrays(self) -> Arrays:
        """The argument, and what else an operation takes; "g" is the gradient of the result where that is no number."""
        rng = np.random.default_rng(0)
        rows, columns = self.shape
        found: Arrays = {"x": rng.standard_normal(self.shape, dtype=np.float32)}
        if "cross entropy" in self.name:
            return found | {"target": rng.integers(0, columns, rows)}
        if "weight" in self.leaves:
            found |= {name: rng.standard_normal(columns, dtype=np.float32) for name in ("weight", "bias")}
        return found | ({"g": rng.standard_normal(self.shape, dtype=np.float32)} if self.backward else {})

    def digest(self, results: list[np.ndarray]) -> list[np.ndarray]:
        """What all contenders must agree on, from the sampled result and gradients."""
        if "dropout" not in self.name:
            return results
        arrays = self.arrays()
        kept = results[0] != 0
        factors = [result / sampled(arrays[of]) for result, of in zip(results, ("x", "g"))]
        # Each library has random numbers of its own. But what is kept is doubled, on both ways, and it is about half.
        exact = [np.max(np.abs(factor - np.where(kept, 2, 0))) for factor in factors]
        return [np.asarray([1 + error for error in exact]), np.asarray(float(abs(kept.mean() - 0.5) < 0.1))]


def sampled(x: Any) -> Any:
    """A few rows of a matrix, the same in every library; anything else as it is."""
    return x[:: max(1, x.shape[0] // SAMPLE), :] if len(x.shape) == 2 else x


def _functions() -> list[Operation]:
    large, wide = (16384, 2048), (4096, 32768)
    return [
        Operation(
            "cross entropy", wide, 4, 12, "the logits read; backward: read again, and their gradient written",
            lambda F, a: F.cross_entropy(a["x"], a["target"]),
        ),
        Operation(
            "layer norm", large, 8, 20, "x read, y written; backward: x and y's gradient read, x's written",
            lambda F, a: F.layer_norm(a["x"], (a["x"].shape[-1],), a["weight"], a["bias"]), ("x", "weight", "bias"),
        ),
        Operation(
            "GELU", large, 8, 20, "x read, y written; backward: x and y's gradient read, x's written",
            lambda F, a: F.gelu(a["x"]),
        ),
        Operation(
            "dropout", large, 8, 16, "x read, y written; backward: y's gradient read, x's written; no mask",
            lambda F, a: F.dropout(a["x"], 0.5),
        ),
    ]  # fmt: skip


def moved(workload: Workload) -> int | None:
    """The bytes that must be moved for a workload that is bound by memory; None for others."""
    if isinstance(workload, Update):  # p, g, m, v read and p, m, v written
        return 28 * 1_000_000 * workload.arrays
    return workload.moved() if isinstance(workload, Operation) else None


def operations(workload: Network) -> int:
    """The additions and multiplications of all its matrix products."""
    return sum([2 * p.stack * p.m * p.k * p.n for p in workload.products()])


# ------------------------------------------------------------------------------------------------------- what is timed

SMALL_MLP = next(one for one in mlp.WORKLOADS if one.name == "MLP 784-512-512-10")
WIDE = replace(mlp.mlp(*[4096] * 9, batch=4096), name="MLP 8 x 4096")
NETWORKS: list[Network] = [
    SMALL_MLP,
    mlp.with_adam,
    images.WORKLOADS[0],
    images.ResNet("ResNet-18", batch=256, channels=(64, 128, 256, 512), depth=2),
    Transformer("transformer 6 x 512", 32, layers=6, width=512, heads=8, between=2048, context=512),
    WIDE,
]
UPDATE = Update("Adam on 100 M parameters", arrays=100)
OPERATIONS = [one for both in _functions() for one in (both, both.alone())]
ALL: dict[str, Workload] = {one.name: one for one in [*NETWORKS, UPDATE, *OPERATIONS]}
TF32 = ("ResNet-18", "transformer 6 x 512", "MLP 8 x 4096")  # those that live in their matrix products


class Job(NamedTuple):
    """A workload, and whether products may round their factors to TF32 meanwhile."""

    workload: str
    tf32: bool = False

    @property
    def name(self) -> str:
        """What the tables call it."""
        return f"{self.workload}, TF32" if self.tf32 else self.workload


JOBS = {job.name: job for job in [*map(Job, ALL), *[Job(name, True) for name in TF32]]}


def chosen(patterns: list[str]) -> list[Job]:
    """The jobs whose name holds one of the patterns, in whatever case; all of them without a pattern."""
    found = [job for name, job in JOBS.items() if not patterns or any(p.lower() in name.lower() for p in patterns)]
    if not found:
        raise ValueError(f"no workload has {' or '.join(patterns)} in its name; there are {', '.join(JOBS)}")
    return found


def small(workload: Workload) -> Workload:
    """The same kind of work under the same name, of a size that any machine does at once: to see that all of it works."""
    if isinstance(workload, Operation):
        return replace(workload, shape=(8, 512))
    if isinstance(workload, Update):
        return replace(workload, arrays=2)
    if isinstance(workload, images.ResNet):
        return replace(workload, batch=4, channels=(8, 12, 16, 24))
    if isinstance(workload, Transformer):
        return replace(workload, batch=2, layers=2, width=32, heads=2, between=64, context=16)
    if isinstance(workload, mlp.MLP):
        return replace(workload, batch=16, widths=tuple([min(width, 48) for width in workload.widths]))
    return replace(workload, batch=8)


def drawn_once(workload: Workload) -> Any:
    """The same workload, which draws its numbers once and gives each contender a copy: there may be gigabytes of them."""
    found = replace(workload)
    for name in ("weights", "data", "gradients", "arrays"):
        if hasattr(workload, name) and callable(getattr(workload, name)):
            draw = functools.cache(getattr(workload, name))
            object.__setattr__(found, name, lambda draw=draw: _copied(draw()))
    return found


def _copied(drawn: Any) -> Any:
    if isinstance(drawn, dict):
        return {name: one.copy() for name, one in drawn.items()}
    return type(drawn)([one.copy() for one in drawn])
