"""The training steps that are timed: a multi-layer perceptron, once in portanet and once by hand in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import portanet
from portanet import nn, optim


@dataclass(frozen=True)
class MLP:
    """Layer widths and batch size. ReLU between the layers, cross entropy, SGD with learning rate 0.01, float32."""

    widths: tuple[int, ...]
    batch: int

    def __str__(self) -> str:
        return "-".join(str(width) for width in self.widths) + f" batch {self.batch}"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """The same random batch for every contender."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.batch, self.widths[0]), dtype=np.float32)
        return x, rng.integers(0, self.widths[-1], self.batch)

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same start for every contender: one (out, in) matrix and one bias a layer."""
        rng = np.random.default_rng(1)
        pairs = zip(self.widths, self.widths[1:], strict=False)
        return [
            (rng.standard_normal((m, n), dtype=np.float32) / np.float32(np.sqrt(n)), np.zeros(m, np.float32))
            for n, m in pairs
        ]


MLPS = [MLP((64, 32, 10), 32), MLP((784, 128, 10), 64), MLP((784, 512, 512, 10), 128)]
LEARNING_RATE = 0.01


def portanet_step(workload: MLP) -> Callable[[], portanet.Tensor]:
    """One step in portanet, on the current backend: zero_grad, forward, loss, backward, step. Returns the loss."""
    layers: list[nn.Module] = []
    for weight, bias in workload.weights():
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": portanet.asarray(weight), "bias": portanet.asarray(bias)})
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimizer = optim.SGD(model.parameters(), lr=LEARNING_RATE)
    loss = nn.CrossEntropyLoss()
    x, target = [portanet.asarray(part) for part in workload.data()]

    def step() -> portanet.Tensor:
        optimizer.zero_grad()
        value = loss(model(x), target)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def handwritten_step(workload: MLP) -> Callable[[], np.float32]:
    """The same step as a careful user of NumPy writes it: in place where it can be, nothing computed twice."""
    layers = workload.weights()
    x, target = workload.data()
    rows = np.arange(workload.batch)

    def step() -> np.float32:
        inputs = [x]
        for i, (weight, bias) in enumerate(layers):
            z = inputs[-1] @ weight.T
            z += bias
            if i < len(layers) - 1:
                np.maximum(z, 0, out=z)
            inputs.append(z)
        logits = inputs.pop()
        logits -= logits.max(axis=1, keepdims=True)
        picked = logits[rows, target].copy()
        np.exp(logits, out=logits)
        total = logits.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - picked)
        logits /= total
        logits[rows, target] -= 1
        logits /= workload.batch
        g = logits
        for i in reversed(range(len(layers))):
            weight, bias = layers[i]
            h = inputs[i]
            down = g @ weight if i else None
            weight -= LEARNING_RATE * (g.T @ h)
            bias -= LEARNING_RATE * g.sum(axis=0)
            if down is not None:
                down *= h > 0
                g = down
        return loss

    return step
