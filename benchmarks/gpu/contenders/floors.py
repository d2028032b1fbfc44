"""What the card itself can do, by PyTorch: the products of a step and nothing else, and as many bytes copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contenders.base import NotMine
from benchmarks.gpu.contenders.base import Run
from benchmarks.gpu.contenders.pytorch import captured, runner
from benchmarks.gpu.place import Place
from benchmarks.gpu.workloads import WIDE, moved
from benchmarks.workloads.base import Workload
from benchmarks.workloads.mlp import MLP

Shape = tuple[int, int, int]


def products(place: Place) -> Callable[[MLP], Run]:
    """The products of a step as they lie in it: x W' forward, g' x for the weights, g W on the way down."""

    def calls(torch: Any, m: int, k: int, n: int, first: bool) -> list[tuple[Any, Any, Any]]:
        def drawn(*shape: int) -> Any:
            return torch.randn(shape, device=place.device)

        def made(*shape: int) -> Any:
            return torch.empty(shape, device=place.device)

        x, weight, g = drawn(m, k), drawn(n, k), drawn(m, n)
        found = [(x, weight.T, made(m, n)), (g.T, x, made(n, k))]
        return found if first else [*found, (g, weight, made(m, k))]

    return _multiplied(place, calls)


def gemm(place: Place) -> Callable[[MLP], Run]:
    """As many products of the same shapes, all in the layout x W', in which both factors lie along the summed axis."""

    def calls(torch: Any, m: int, k: int, n: int, first: bool) -> list[tuple[Any, Any, Any]]:
        shapes = [(m, k, n), (n, m, k), (m, n, k)][: 2 if first else 3]
        return [
            (
                torch.randn((a, b), device=place.device),
                torch.randn((c, b), device=place.device).T,
                torch.empty((a, c), device=place.device),
            )
            for a, b, c in shapes
        ]

    return _multiplied(place, calls)


def _multiplied(place: Place, calls: Callable[..., list[tuple[Any, Any, Any]]]) -> Callable[[MLP], Run]:
    def build(workload: MLP) -> Run:
        if workload.name != WIDE.name:
            raise NotMine("its products are too small to measure a card with")
        import torch

        made: dict[Any, Any] = {}
        found = []
        for p in workload.forward_products():
            key = (p.m, p.k, p.n, p.first)
            made[key] = made[key] if key in made else calls(torch, *key)
            found += made[key]

        def step() -> None:
            for a, b, out in found:
                torch.mm(a, b, out=out)

        return runner(place, captured(place, step))

    return build


def copy(place: Place) -> Callable[[Workload], Run]:
    """A copy from one place of the card's memory to another: half of the bytes are read, half written."""

    def build(workload: Workload) -> Run:
        import torch

        numbers = moved(workload) // 8
        source, target = [torch.ones(numbers, device=place.device) for _ in range(2)]
        return runner(place, lambda: target.copy_(source))

    return build
