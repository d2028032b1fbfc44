"""A small nonconvex problem, as PyTorch and as any backend see it: the oracle for optimizers and schedules."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy
import pytest

import portanet
from portanet import optim

rng = numpy.random.default_rng(5)
X, Y = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
# Weights, a bias, and a scale without axes: every shape that an update has to keep.
START = {
    "w": rng.normal(size=(3, 4)),
    "b": rng.normal(size=(4,)),
    "v": rng.normal(size=(4, 2)),
    "s": numpy.asarray(0.7),
}


def parameters(dtype: Any = None) -> dict[str, portanet.Tensor]:
    """The starting point on the current backend."""
    return {
        name: portanet.tensor(value.tolist(), dtype=dtype or portanet.float64, requires_grad=True)
        for name, value in START.items()
    }


def loss(p: dict[str, portanet.Tensor]) -> portanet.Tensor:
    """How far a network of one hidden layer is off: many minima, and bounded, so that going uphill has an end."""
    x, y = [portanet.asarray(a.tolist(), dtype=p["w"].dtype) for a in (X, Y)]
    error = p["s"] * (portanet.tanh(x @ p["w"] + p["b"]) @ p["v"]) - y
    square = error * error
    return portanet.mean(square / (1 + square))


def values(p: dict[str, portanet.Tensor]) -> numpy.ndarray:
    """All parameters in a row."""
    return numpy.concatenate([p[name].detach().numpy().reshape(-1) for name in p])


def path(p: dict[str, portanet.Tensor], optimizer: Any, steps: int, after: Callable[[], Any] = int) -> numpy.ndarray:
    """The parameters after each step, shape (steps, count)."""
    points = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss(p).backward()
        optimizer.step()
        after()
        points.append(values(p))
    return numpy.stack(points)


class Oracle:
    """The same problem in PyTorch, in float64."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.p = {name: torch.tensor(value, requires_grad=True) for name, value in START.items()}

    def loss(self) -> Any:
        x, y = self.torch.tensor(X), self.torch.tensor(Y)
        error = self.p["s"] * (self.torch.tanh(x @ self.p["w"] + self.p["b"]) @ self.p["v"]) - y
        square = error * error
        return (square / (1 + square)).mean()

    def path(self, optimizer: Any, steps: int, after: Callable[[], Any] = int) -> numpy.ndarray:
        points = []
        for _ in range(steps):
            optimizer.zero_grad()
            self.loss().backward()
            optimizer.step()
            after()
            points.append(numpy.concatenate([p.detach().numpy().reshape(-1) for p in self.p.values()]))
        return numpy.stack(points)


# One of each whose state has everything in it.
FULL = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.02, "momentum": 0.5, "centered": True}),
]


def named(case: Any) -> str:
    """The id of a case: an optimizer's name and its options."""
    name, options = case
    # Functions print with their address, which differs from process to process.
    return "-".join([name, *[re.sub(r" at 0x[0-9a-f]+", "", f"{key}={value}") for key, value in options.items()]])


def made(name: str, params: Any, options: Any) -> Any:
    """The optimizer of that name."""
    return getattr(optim, name)(params, **options)


def oracle_of(name: str, options: Any, params: Any = None) -> Any:
    """PyTorch's problem, and its optimizer of that name."""
    torch = pytest.importorskip("torch")
    oracle = Oracle()
    return oracle, getattr(torch.optim, name)(list(oracle.p.values()) if params is None else params(oracle), **options)


def one(value: float = 1.0, dtype: Any = portanet.float64) -> portanet.Tensor:
    """A parameter of one element."""
    return portanet.tensor([value], dtype=dtype, requires_grad=True)


def with_gradient(p: portanet.Tensor, g: float) -> portanet.Tensor:
    """The parameter, its gradient set."""
    p.grad = portanet.asarray([g], dtype=p.dtype)
    return p
