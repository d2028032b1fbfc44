"""NumPy as a careful user writes it by hand: in place where it can be, nothing computed twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.contenders.base import Contender, Step
from benchmarks.workloads.mlp import MLP

Arrays = dict[str, np.ndarray]


def mlp(workload: MLP) -> Step:
    weights = workload.weights()
    layers = [(weights[f"{2 * i}.weight"], weights[f"{2 * i}.bias"]) for i in range(len(workload.widths) - 1)]
    x, target = workload.data()
    rows = np.arange(workload.batch)
    update = UPDATES[workload.optimizer](workload.learning_rate)

    def forward() -> list[np.ndarray]:
        inputs = [x]
        for i, (weight, bias) in enumerate(layers):
            z = inputs[-1] @ weight.T
            z += bias
            if i < len(layers) - 1:
                np.maximum(z, 0, out=z)
            inputs.append(z)
        return inputs

    def step() -> np.float32:
        inputs = forward()
        loss, g = cross_entropy(inputs.pop(), rows, target)
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

    return step if workload.training else lambda: forward()[-1]


def cross_entropy(logits: np.ndarray, rows: np.ndarray, target: np.ndarray) -> tuple[np.float32, np.ndarray]:
    """The mean loss and its gradient, which takes the place of the logits."""
    logits -= logits.max(axis=1, keepdims=True)
    picked = logits[rows, target].copy()
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - picked)
    logits /= total
    logits[rows, target] -= 1
    logits /= len(rows)
    return loss, logits


def sgd(lr: float) -> Callable[[int, np.ndarray, np.ndarray], None]:
    def update(_: int, p: np.ndarray, g: np.ndarray) -> None:
        p -= lr * g

    return update


def adam(lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Callable[..., None]:
    state: dict[int, list] = {}

    def update(key: int, p: np.ndarray, g: np.ndarray) -> None:
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
BY_HAND = Contender("numpy", "NumPy by hand", ("numpy",), {MLP: mlp})
