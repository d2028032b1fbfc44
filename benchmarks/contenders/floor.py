"""The floor: the matrix products of a workload alone, by NumPy's BLAS into arrays that are there already."""

from __future__ import annotations

import numpy as np

from benchmarks.contenders.base import Contender, Step
from benchmarks.workloads.base import Network, Product


def products(workload: Network) -> Step:
    rng = np.random.default_rng(0)
    calls = [_operands(rng, product) for product in workload.products()]

    def step() -> None:
        for a, b, out in calls:
            np.matmul(a, b, out=out)

    return step


def _operands(rng: np.random.Generator, p: Product) -> list[np.ndarray]:
    stack = (p.stack,) if p.stack > 1 else ()
    a = rng.standard_normal((*stack, p.m, p.k), dtype=np.float32)
    b = rng.standard_normal((*(() if p.shared else stack), p.k, p.n), dtype=np.float32)
    return [a, b, np.empty((*stack, p.m, p.n), np.float32)]


FLOOR = Contender("floor", "its matrix products alone", ("numpy",), {Network: products}, agrees=False)
