"""How cost grows: the step's time against width, depth, batch and length of the graph; and whether anything is quadratic."""

from __future__ import annotations

import gc
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import contenders, timing
from benchmarks.workloads.base import Network, Workload
from benchmarks.workloads.mlp import mlp
from benchmarks.workloads.others import Chain

PATIENCE = 4.0  # seconds: what takes longer is done once, the rest up to three times

# What is made longer, and the networks or chains of each size.
CURVES: dict[str, dict[int, Workload]] = {
    "width": {w: mlp(w, w, w, 10, batch=64) for w in (16, 32, 64, 128, 256, 512, 1024, 2048)},
    "depth": {d: mlp(*[64] * (d + 1), 10, batch=32) for d in (1, 2, 4, 8, 16, 32, 64)},
    "batch": {b: mlp(128, 256, 10, batch=b) for b in (1, 4, 16, 64, 256, 1024, 4096)},
    "graph length": {n: Chain(f"chain of {n}", n) for n in (10, 100, 1000, 10_000, 100_000)},
}
SAYS = {
    "width": "w-w-w-10, batch 64",
    "depth": "so many layers of 64, batch 32",
    "batch": "128-256-10",
    "graph length": "so many sums of 4x4, forward and backward",
}
WHO = ("floor", "numpy", "torch", "jax", "autograd", "portanet-numpy", "portanet-compile")


def curves(who: Sequence[str], small: bool, seconds: float, threads: int = 1) -> Iterator[dict[str, Any]]:
    """For each figure and contender the median times of a step at each size; all contenders by turns."""
    for figure, sizes in CURVES.items():
        found: dict[str, tuple[list[int], list[float]]] = {}
        for size, workload in itertools.islice(sizes.items(), 2 if small else None):
            steps = _steps(workload, who)
            turns = timing.alternate(list(steps.values()), seconds, least=3, threads=threads)
            for name, times in zip(steps, zip(*turns, strict=True), strict=True):
                found.setdefault(name, ([], []))
                found[name][0].append(size)
                found[name][1].append(statistics.median(times))
        for name, (counts, times) in found.items():
            yield {"figure": figure, "contender": name, "sizes": counts, "seconds": times}


def _steps(workload: Workload, who: Sequence[str]) -> dict[str, Callable[[], Any]]:
    found = {}
    for name in who:
        if name in WHO and not (name == "autograd" and isinstance(workload, Network)):
            try:
                found[name] = contenders.ALL[name].build(workload)
            except contenders.LeftOut:
                continue
    return found


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The power of the size that the time grows with: the slope of the best line through their logarithms."""
    x, y = [math.log(one) for one in sizes], [math.log(one) for one in seconds]
    return statistics.linear_regression(x, y).slope


# ------------------------------------------------------------------------------------------------------- no quadratic


def growth(small: bool) -> Iterator[dict[str, Any]]:
    """The time of each thing at its size, twice and four times that, by turns, and the power it grows with."""
    for name, (size, prepare) in GROWTH.items():
        sizes = [size, 2 * size, 4 * size]
        if small:
            sizes = [one // 100 for one in sizes]
        actions = [prepare(one) for one in sizes]
        times: list[list[float]] = [[] for _ in sizes]
        started = time.perf_counter()
        while not times[0] or (time.perf_counter() - started < PATIENCE and len(times[0]) < 3 and not small):
            for action, kept in zip(actions, times, strict=True):
                gc.collect()
                before = time.perf_counter()
                action()
                kept.append(time.perf_counter() - before)
        seconds = [min(kept) for kept in times]
        yield {"name": name, "sizes": sizes, "seconds": seconds, "exponent": exponent(sizes, seconds)}


def _tape(count: int) -> Callable[[], Any]:
    import portanet

    x = portanet.asarray(np.ones((4, 4), np.float32)).requires_grad_()

    def action() -> None:
        x.grad = None
        y = x
        for _ in range(count):
            y = y + x
        portanet.sum(y).backward()

    return action


def _layers(count: int) -> Any:
    from portanet import nn

    return nn.Sequential(*[nn.Linear(8, 8) for _ in range(count)])


def _making(count: int) -> Callable[[], Any]:
    return lambda: _layers(count)


def _training(count: int) -> Callable[[], Any]:
    import portanet
    from portanet import optim

    model = _layers(count)
    optimizer = optim.Adam(model.parameters())
    x = portanet.asarray(np.ones((4, 8), np.float32))

    def action() -> None:
        optimizer.zero_grad()
        portanet.sum(model(x)).backward()
        optimizer.step()

    return action


def _recording(count: int) -> Callable[[], Any]:
    import portanet
    from portanet import optim

    x = portanet.asarray(np.ones((4, 8), np.float32))

    def action() -> None:
        model = _layers(count)
        optimizer = optim.Adam(model.parameters())

        @portanet.compile(state=(model, optimizer))
        def step(x: portanet.Tensor) -> portanet.Tensor:
            optimizer.zero_grad()
            loss = portanet.sum(model(x))
            loss.backward()
            optimizer.step()
            return loss

        for _ in range(3):  # a step that makes the optimizer's state, one that finds it, and a replay
            step(x)

    return action


def _walking(count: int) -> Callable[[], Any]:
    model = _layers(count)

    def action() -> None:
        model.train()
        model.zero_grad()
        list(model.named_parameters())
        list(model.named_modules())

    return action


def _loading(count: int) -> Callable[[], Any]:
    import portanet
    from portanet import data

    x = portanet.asarray(np.zeros(count, np.float32))
    loader = data.DataLoader(data.TensorDataset(x), batch_size=10_000, shuffle=True)

    def action() -> None:
        for _ in loader:
            pass

    return action


def _entries(count: int) -> Any:
    from portanet import nn

    return nn.Sequential(*[nn.LayerNorm(4) for _ in range(count // 2)])


def _state(count: int) -> Callable[[], Any]:
    model = _entries(count)
    return lambda: model.load_state_dict(model.state_dict())


def _saving(count: int) -> Callable[[], Any]:
    import portanet

    state = _entries(count).state_dict()

    def action() -> None:
        with tempfile.TemporaryDirectory() as folder:
            portanet.save(state, Path(folder) / "state")
            portanet.load(Path(folder) / "state")

    return action


GROWTH: dict[str, tuple[int, Callable[[int], Callable[[], Any]]]] = {
    "a tape of 100,000 nodes, recorded and walked back": (100_000, _tape),
    "2,000 layers, made": (2_000, _making),
    "2,000 layers, one step of training with Adam": (2_000, _training),
    "2,000 layers, their parameters and modules listed": (2_000, _walking),
    "500 layers, a step recorded by portanet.compile": (500, _recording),
    "a DataLoader over 10,000,000 rows, one shuffled epoch": (10_000_000, _loading),
    "a state_dict of 50,000 entries, taken and put back": (50_000, _state),
    "a state_dict of 50,000 entries, saved and loaded": (50_000, _saving),
}
