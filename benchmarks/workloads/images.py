"""Convolutional networks: LeNet on 28x28 and residual networks on 32x32, images before channels last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.workloads.base import Network, Product


@dataclass(frozen=True)
class LeNet(Network):
    """LeCun and others (1998), with ReLU and max pooling as it is written today."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {"0.weight": (6, 1, 5, 5), "0.bias": (6,)}
        found |= {"3.weight": (16, 6, 5, 5), "3.bias": (16,)}
        for i, (m, n) in {7: (120, 400), 9: (84, 120), 11: (10, 84)}.items():
            found |= {f"{i}.weight": (m, n), f"{i}.bias": (m,)}
        return found

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((self.batch, 1, 28, 28), dtype=np.float32)

    def network(self, nn: Any, asarray: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip

    def forward_products(self) -> list[Product]:
        n = self.batch
        convolutions = [Product(1, n * 28 * 28, 25, 6, first=True), Product(1, n * 10 * 10, 150, 16)]
        return convolutions + [Product(1, n, k, m) for k, m in ((400, 120), (120, 84), (84, 10))]


@dataclass(frozen=True)
class ResNet(Network):
    """He and others (2015) for small images: a convolution, blocks at each of a few widths, one linear layer.

    A block is two 3x3 convolutions with batch norm, and there are ``depth`` of them at each width; where the width grows,
    the image is halved and the way around the block is a 1x1 convolution with batch norm.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    depth: int = 1

    def widths(self) -> list[tuple[int, int]]:
        """The channels before and after each block."""
        after = [width for width in self.channels for _ in range(self.depth)]
        return list(zip([self.channels[0], *after], after, strict=False))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        found = self._convolution("stem", 3, self.channels[0], 3)
        for i, (before, width) in enumerate(self.widths()):
            found |= self._convolution(f"blocks.{i}.first", before, width, 3)
            found |= self._convolution(f"blocks.{i}.second", width, width, 3)
            if width != before:
                found |= self._convolution(f"blocks.{i}.around", before, width, 1)
        return found | {"head.weight": (10, self.channels[-1]), "head.bias": (10,)}

    @staticmethod
    def _convolution(name: str, n: int, m: int, size: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.0.weight": (m, n, size, size), f"{name}.1.weight": (m,), f"{name}.1.bias": (m,)}

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((self.batch, 3, 32, 32), dtype=np.float32)

    def network(self, nn: Any, asarray: Any) -> Any:
        relu = nn.functional.relu

        def normed(n: int, m: int, size: int, stride: int) -> Any:
            convolution = nn.Conv2d(n, m, size, stride=stride, padding=size // 2, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(m))

        class Block(nn.Module):
            def __init__(self, n: int, m: int) -> None:
                super().__init__()
                stride = 1 if n == m else 2
                self.first, self.second = normed(n, m, 3, stride), normed(m, m, 3, 1)
                self.around = nn.Identity() if n == m else normed(n, m, 1, 2)

            def forward(self, x: Any) -> Any:
                return relu(self.second(relu(self.first(x))) + self.around(x))

        class Residual(nn.Module):
            def __init__(self, size: ResNet) -> None:
                super().__init__()
                self.stem = normed(3, size.channels[0], 3, 1)
                self.blocks = nn.Sequential(*[Block(n, m) for n, m in size.widths()])
                self.pool, self.flatten = nn.AvgPool2d(32 >> (len(size.channels) - 1)), nn.Flatten()
                self.head = nn.Linear(size.channels[-1], 10)

            def forward(self, x: Any) -> Any:
                return self.head(self.flatten(self.pool(self.blocks(relu(self.stem(x))))))

        return Residual(self)

    def forward_products(self) -> list[Product]:
        side = 32
        found = [Product(1, self.batch * side * side, 27, self.channels[0], first=True)]
        for before, width in self.widths():
            side = side if width == before else side // 2
            pixels = self.batch * side * side
            found += [Product(1, pixels, 9 * before, width), Product(1, pixels, 9 * width, width)]
            found += [Product(1, pixels, before, width)] if width != before else []
        return [*found, Product(1, self.batch, self.channels[-1], 10)]


WORKLOADS = [LeNet("LeNet", batch=64), ResNet("ResNet-8", batch=32)]
