"""What a workload is: one step of training (or one inference) whose numbers are the same for whoever computes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np

LEARNING_RATES = {"SGD": 0.01, "Adam": 1e-4}


class Product(NamedTuple):
    """``stack`` matrix products (m, k) @ (k, n).

    ``first`` where no gradient flows on to the left factor, ``shared`` where the right factor is one for the whole stack.
    """

    stack: int
    m: int
    k: int
    n: int
    first: bool = False
    shared: bool = False


@dataclass(frozen=True)
class Workload:
    """A name in tables and options; float32 throughout. So many ``checked`` steps are compared before any is timed."""

    name: str
    checked: int = field(default=3, kw_only=True)


@dataclass(frozen=True)
class Measured(Workload):
    """Work whose step returns what is compared: nothing is timed from outside, nothing must agree.

    ``unit`` is "s" for seconds or "B" for bytes, ``turns`` how often each contender is asked. The number of threads plays
    no part, so it is done once.
    """

    checked: int = field(default=0, kw_only=True)
    unit: str = "s"
    turns: int = 1


@dataclass(frozen=True)
class Network(Workload):
    """A classifier with cross entropy. Parameters have PyTorch's names and shapes, and start alike for everyone."""

    batch: int
    optimizer: str = "SGD"
    training: bool = True

    @property
    def learning_rate(self) -> float:
        return LEARNING_RATES[self.optimizer]

    def alone(self) -> Self:
        """The same network asked for one answer: inference at batch 1."""
        return replace(self, name=f"{self.name}, inference", batch=1, training=False)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter."""
        raise NotImplementedError

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        """A batch of inputs."""
        raise NotImplementedError

    def classes(self) -> tuple[int, int]:
        """How many answers a batch has, and among how many classes each is."""
        return self.batch, 10

    def network(self, nn: Any, asarray: Any) -> Any:
        """The model in a library that has PyTorch's names, from inputs to logits; ``asarray`` makes its constants."""
        raise NotImplementedError

    def forward_products(self) -> list[Product]:
        """The matrix products of the forward pass, a convolution counted as the product of its windows."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------- the same for all of them

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """The same random batch for every contender: inputs and the classes that are right."""
        rng = np.random.default_rng(0)
        x = self.inputs(rng)
        return x, rng.integers(0, self.classes()[1], self.classes()[0])

    def weights(self) -> dict[str, np.ndarray]:
        """The same start for every contender: a unit's weights of variance 1 / inputs, small biases, scales of 1."""
        rng = np.random.default_rng(1)
        found = {}
        for name, shape in self.shapes().items():
            if len(shape) > 1:
                scale = 1 / math.sqrt(math.prod(shape[1:]))
                found[name] = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
            elif "bias" in name:
                found[name] = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.01)
            else:
                found[name] = np.ones(shape, np.float32)
        return found

    def products(self) -> list[Product]:
        """All matrix products of a step: forward, and two for each on the way back (one where no gradient flows on)."""
        forward = self.forward_products()
        if not self.training:
            return forward
        weights = [Product(p.stack, p.k, p.m, p.n) for p in forward]
        down = [Product(p.stack, p.m, p.n, p.k, shared=p.shared) for p in forward if not p.first]
        return forward + weights + down
