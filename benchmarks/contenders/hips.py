"""HIPS autograd: the loss written in its NumPy, gradients by its value_and_grad, the update in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contenders import formulas
from benchmarks.contenders.base import Contender, Step
from benchmarks.contenders.by_hand import UPDATES
from benchmarks.contenders.children import imported, peak
from benchmarks.contenders.formulas import Logits
from benchmarks.workloads.base import Network
from benchmarks.workloads.mlp import MLP
from benchmarks.workloads.others import Chain, Import, Memory
from benchmarks.workloads.sequences import LSTM, Transformer


def mlp(workload: MLP) -> Logits:
    import autograd.numpy as anp

    return formulas.mlp(anp, len(workload.widths) - 1)


def transformer(workload: Transformer) -> Logits:
    import autograd.numpy as anp

    return formulas.transformer(anp, workload)


def lstm(workload: LSTM) -> Logits:
    import autograd.numpy as anp

    h = workload.hidden

    def sigmoid(z: Any) -> Any:
        return 0.5 * (anp.tanh(0.5 * z) + 1)

    def logits(weights: dict[str, Any], x: Any) -> Any:
        bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
        inputs = anp.dot(x, weights["lstm.weight_ih_l0"].T) + bias
        recurrent = weights["lstm.weight_hh_l0"].T
        state = cell = anp.zeros((x.shape[0], h), dtype="float32")
        for t in range(workload.steps):
            z = inputs[:, t] + anp.dot(state, recurrent)
            i, f, g, o = [z[:, k * h : (k + 1) * h] for k in range(4)]
            cell = sigmoid(f) * cell + sigmoid(i) * anp.tanh(g)
            state = sigmoid(o) * anp.tanh(cell)
        return anp.dot(state, weights["head.weight"].T) + weights["head.bias"]

    return logits


FORWARD: dict[type[Network], Callable[[Any], Logits]] = {MLP: mlp, LSTM: lstm, Transformer: transformer}


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


def chain(workload: Chain) -> Step:
    import autograd
    import autograd.numpy as anp

    def total(x: Any) -> Any:
        y = x
        for _ in range(workload.length):
            y = y + x
        return anp.sum(y)

    gradient, x = autograd.grad(total), workload.start()
    return lambda: gradient(x)


BUILDERS = {
    **dict.fromkeys(FORWARD, step_of),
    Chain: chain,
    Import: imported("autograd.numpy"),
    Memory: peak("autograd"),
}
HIPS = Contender("autograd", "HIPS autograd", ("autograd",), BUILDERS)
