"""What is not one step of one network: an optimizer alone, a single operation, an epoch from disk, imports, memory."""

from __future__ import annotations

import gzip
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks.workloads.base import Measured, Network, Workload
from benchmarks.workloads.mlp import MLP


@dataclass(frozen=True)
class Update(Workload):
    """One step of Adam on so many arrays of a million parameters, the gradients given. They start at 0."""

    arrays: int = 10
    learning_rate: float = 1e-3

    def gradients(self) -> list[np.ndarray]:
        rng = np.random.default_rng(0)
        return [rng.standard_normal((1000, 1000), dtype=np.float32) for _ in range(self.arrays)]


@dataclass(frozen=True)
class Adds(Workload):
    """So many sums of two small matrices, one after the other; where there is a tape, it records them."""

    count: int = 100

    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        return rng.standard_normal((4, 4), dtype=np.float32), rng.standard_normal((4, 4), dtype=np.float32)


@dataclass(frozen=True)
class Chain(Workload):
    """A sum of so many terms of a small matrix, one after the other, and its gradient."""

    length: int

    def start(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((4, 4), dtype=np.float32)


@dataclass(frozen=True)
class Epoch(Workload):
    """MNIST's training images from their files to the last step of an epoch: unpack, scale, batch in a fixed order."""

    absent: ClassVar[str] = "the files of MNIST are looked for in the folder mnist of $PORTANET_DATA"
    model: MLP = field(default_factory=lambda: MLP("MLP of MNIST", 64, widths=(784, 128, 10)))
    checked: int = field(default=1, kw_only=True)

    @staticmethod
    def folder() -> Path | None:
        """Where the files are, or None."""
        root = os.environ.get("PORTANET_DATA")
        found = Path(root) / "mnist" if root else None
        return found if found and (found / "train-images-idx3-ubyte.gz").exists() else None

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Images as rows of centred and scaled float32 numbers, and their classes."""
        images, labels = [self._read(name) for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")]
        rows = images.reshape(-1, 784).astype(np.float32)
        rows -= np.float32(0.1307 * 255)
        rows /= np.float32(0.3081 * 255)
        return rows, labels.astype(np.int64)

    def _read(self, name: str) -> np.ndarray:
        content = gzip.decompress((self.folder() / name).read_bytes())
        lengths = np.frombuffer(content, ">i4", count=content[3], offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(lengths)

    def order(self, count: int) -> np.ndarray:
        return np.random.default_rng(0).permutation(count)


@dataclass(frozen=True)
class Import(Measured):
    """The seconds that an import takes in an interpreter that has just started."""

    turns: int = 5


@dataclass(frozen=True)
class Memory(Measured):
    """The most memory that training holds at once: parameters, state, a batch, and what a step makes.

    ``way`` is "allocated" (what Python and NumPy asked for, to the byte) or "resident" (what the process occupied over
    what its libraries occupy by themselves; the only one that sees the memory of PyTorch and JAX).
    """

    unit: str = "B"
    network: Network = field(default_factory=lambda: MLP("", 1))
    way: str = "allocated"


UPDATE = Update("Adam on 10 M parameters")
ADDS = Adds("100 recorded adds on 4x4")
EPOCH = Epoch("an epoch of MNIST from disk")
IMPORT = Import("import")


def memory(network: Network) -> list[Memory]:
    """Both ways of looking at the memory of a step; one, where a page more or less would outweigh what it needs."""
    found = [Memory(f"peak memory of {network.name}", network=network, way="allocated")]
    parameters = sum([math.prod(shape) for shape in network.shapes().values()])
    if parameters < 500_000 and isinstance(network, MLP):
        return found
    return [*found, Memory(f"resident memory of {network.name}", network=network, way="resident")]
