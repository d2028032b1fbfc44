"""NumPy as a careful user writes it by hand: in place where it can be, nothing computed twice."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contenders.base import Contender, LeftOut, Step
from benchmarks.contenders.children import imported, peak
from benchmarks.workloads.mlp import MLP
from benchmarks.workloads.others import Adds, Epoch, Import, Memory, Update

Arrays = dict[str, np.ndarray]


def mlp(workload: MLP) -> Step:
    x, target = workload.data()
    forward, train = _mlp(workload)
    return (lambda: train(x, target)) if workload.training else (lambda: forward(x)[-1])


def _mlp(workload: MLP) -> tuple[Callable[..., list[np.ndarray]], Callable[..., np.float32]]:
    """The forward pass, and a step of training."""
    weights = workload.weights()
    layers = [(weights[f"{2 * i}.weight"], weights[f"{2 * i}.bias"]) for i in range(len(workload.widths) - 1)]
    update = UPDATES[workload.optimizer](workload.learning_rate)

    def forward(x: np.ndarray) -> list[np.ndarray]:
        inputs = [x]
        for i, (weight, bias) in enumerate(layers):
            z = inputs[-1] @ weight.T
            z += bias
            if i < len(layers) - 1:
                np.maximum(z, 0, out=z)
            inputs.append(z)
        return inputs

    def train(x: np.ndarray, target: np.ndarray) -> np.float32:
        inputs = forward(x)
        loss, g = cross_entropy(inputs.pop(), target)
        for i in reversed(range(len(layers))):
            weight, bias = layers[i]
            h = inputs[i]
            down = g @ weight if i else None
            update(2 * i, weight, g.T @ h)
            update(2 * i + 1, bias, g.sum(axis=0))
            if down is not None:
                down *= h > 0
                g = down
        return loss

    return forward, train


def cross_entropy(logits: np.ndarray, target: np.ndarray) -> tuple[np.float32, np.ndarray]:
    """The mean loss and its gradient, which takes the place of the logits."""
    rows = _rows(len(target))
    logits -= logits.max(axis=1, keepdims=True)
    picked = logits[rows, target].copy()
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - picked)
    logits /= total
    logits[rows, target] -= 1
    logits /= len(rows)
    return loss, logits


@functools.cache
def _rows(count: int) -> np.ndarray:
    return np.arange(count)


def sgd(lr: float) -> Callable[[Any, np.ndarray, np.ndarray], None]:
    def update(_: Any, p: np.ndarray, g: np.ndarray) -> None:
        p -= lr * g

    return update


def adam(lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Callable[..., None]:
    state: dict[Any, list] = {}

    def update(key: Any, p: np.ndarray, g: np.ndarray) -> None:
        if key not in state:
            state[key] = [0, np.zeros_like(p), np.zeros_like(p)]
        kept = state[key]
        kept[0] += 1
        t, m, v = kept
        m *= b1
        m += (1 - b1) * g
        v *= b2
        v += (1 - b2) * (g * g)
        root = np.sqrt(v)
        root /= (1 - b2**t) ** 0.5
        root += eps
        np.divide(m, root, out=root)
        root *= lr / (1 - b1**t)
        p -= root

    return update


UPDATES = {"SGD": sgd, "Adam": adam}


def update(workload: Update) -> Step:
    gradients = workload.gradients()
    values = [np.zeros_like(g) for g in gradients]
    rule = adam(workload.learning_rate)

    def step() -> np.ndarray:
        for i, (p, g) in enumerate(zip(values, gradients, strict=True)):
            rule(i, p, g)
        return values[0][0, :4]

    return step


def adds(workload: Adds) -> Step:
    a, b = workload.operands()

    def step() -> np.ndarray:
        for _ in range(workload.count):
            y = a + b
        return y

    return step


def epoch(workload: Epoch) -> Step:
    if workload.folder() is None:
        raise LeftOut(workload.absent)

    def step() -> float:
        _, train = _mlp(workload.model)
        x, target = workload.read()
        order, size, total = workload.order(len(x)), workload.model.batch, 0.0
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            total += train(x[rows], target[rows])
        return total / -(-len(x) // size)

    return step


BUILDERS = {
    MLP: mlp, Update: update, Adds: adds, Epoch: epoch, Import: imported("numpy"), Memory: peak("numpy"),
}  # fmt: skip
BY_HAND = Contender("numpy", "NumPy by hand", ("numpy",), BUILDERS)
