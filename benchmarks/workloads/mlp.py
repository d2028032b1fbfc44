"""Multi-layer perceptrons, from one that lives in the overhead to one that lives in its matrix products."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.workloads.base import Network, Product


@dataclass(frozen=True)
class MLP(Network):
    """Linear layers with ReLU between them."""

    widths: tuple[int, ...] = ()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for i, (n, m) in enumerate(pairwise(self.widths)):  # 2 * i: every other module is a ReLU
            found |= {f"{2 * i}.weight": (m, n), f"{2 * i}.bias": (m,)}
        return found

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((self.batch, self.widths[0]), dtype=np.float32)

    def classes(self) -> tuple[int, int]:
        return self.batch, self.widths[-1]

    def network(self, nn: Any, asarray: Any) -> Any:
        layers: list[Any] = []
        for n, m in pairwise(self.widths):
            layers += [nn.Linear(n, m), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def forward_products(self) -> list[Product]:
        return [Product(1, self.batch, n, m, first=i == 0) for i, (n, m) in enumerate(pairwise(self.widths))]


def mlp(*widths: int, batch: int, optimizer: str = "SGD") -> MLP:
    name = "MLP " + "-".join(str(width) for width in widths) + ("" if optimizer == "SGD" else f" {optimizer}")
    return MLP(name, batch, optimizer, widths=widths)


WORKLOADS = [
    mlp(64, 32, 10, batch=32),
    mlp(784, 128, 10, batch=64),
    mlp(784, 512, 512, 10, batch=128),
    mlp(784, 2048, 2048, 10, batch=256),
]
with_adam = replace(WORKLOADS[2], name=f"{WORKLOADS[2].name} Adam", optimizer="Adam")
WORKLOADS.insert(3, with_adam)
