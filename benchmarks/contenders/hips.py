"""HIPS autograd: the loss written in its NumPy, gradients by its value_and_grad, the update in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contenders.base import Contender, Step
from benchmarks.contenders.by_hand import UPDATES
from benchmarks.workloads.base import Network
from benchmarks.workloads.mlp import MLP

Forward = Callable[[dict[str, Any], Any], Any]


def mlp(workload: MLP) -> Forward:
    import autograd.numpy as anp

    layers = range(len(workload.widths) - 1)

    def forward(weights: dict[str, Any], x: Any) -> Any:
        for i in layers:
            x = anp.dot(x, weights[f"{2 * i}.weight"].T) + weights[f"{2 * i}.bias"]
            if i < layers[-1]:
                x = anp.maximum(x, 0)
        return x

    return forward


FORWARD: dict[type[Network], Callable[[Any], Forward]] = {MLP: mlp}


def step_of(workload: Network) -> Step:
    import autograd
    import autograd.numpy as anp

    forward = FORWARD[type(workload)](workload)
    weights = workload.weights()
    x, target = workload.data()
    if not workload.training:
        return lambda: forward(weights, x)
    rows = anp.arange(len(target))
    update = UPDATES[workload.optimizer](workload.learning_rate)

    def loss_of(weights: dict[str, Any]) -> Any:
        logits = forward(weights, x)
        logits = logits - anp.max(logits, axis=1, keepdims=True)
        return anp.mean(anp.log(anp.sum(anp.exp(logits), axis=1)) - logits[rows, target])

    both = autograd.value_and_grad(loss_of)

    def step() -> float:
        loss, gradients = both(weights)
        for name, p in weights.items():
            update(name, p, gradients[name])
        return loss

    return step


HIPS = Contender("autograd", "HIPS autograd", ("autograd",), dict.fromkeys(FORWARD, step_of))
