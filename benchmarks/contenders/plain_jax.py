"""Plain JAX by hand: the forward pass as a function of a dict of weights, and the whole step under jax.jit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contenders.base import Contender, Step
from benchmarks.workloads.base import Network
from benchmarks.workloads.mlp import MLP

Weights = dict[str, Any]
Forward = Callable[[Weights, Any], tuple[Any, Weights]]  # (weights, x) -> (logits, what else has a new value)


def mlp(workload: MLP) -> Forward:
    import jax

    layers = range(len(workload.widths) - 1)

    def forward(weights: Weights, x: Any) -> tuple[Any, Weights]:
        for i in layers:
            x = x @ weights[f"{2 * i}.weight"].T + weights[f"{2 * i}.bias"]
            if i < layers[-1]:
                x = jax.nn.relu(x)
        return x, {}

    return forward


FORWARD: dict[type[Network], Callable[[Any], Forward]] = {MLP: mlp}


def jitted(workload: Network) -> Step:
    """One compiled function from old weights and state to new ones; the old ones' memory is given away for them."""
    import jax
    import jax.numpy as jnp

    forward = FORWARD[type(workload)](workload)
    weights = {name: jnp.asarray(value) for name, value in workload.weights().items()}
    raw_x, raw_target = workload.data()
    x, target = jnp.asarray(raw_x), jnp.asarray(raw_target.astype("int32"))
    if not workload.training:
        infer = jax.jit(lambda weights, x: forward(weights, x)[0])
        return lambda: infer(weights, x).block_until_ready()
    update, state = UPDATES[workload.optimizer](weights, workload.learning_rate)

    def loss_of(weights: Weights, x: Any, target: Any) -> tuple[Any, Weights]:
        logits, others = forward(weights, x)
        picked = jnp.take_along_axis(logits, target[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked), others

    def train(weights: Weights, state: Any, x: Any, target: Any) -> tuple[Any, Weights, Any]:
        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, x, target)
        new, state = update(weights, gradients, state)
        return loss, new | others, state

    train = jax.jit(train, donate_argnums=(0, 1))

    def step() -> float:
        nonlocal weights, state
        loss, weights, state = train(weights, state, x, target)
        jax.block_until_ready(weights)
        return float(loss)

    return step


def sgd(weights: Weights, lr: float) -> tuple[Callable[..., Any], Any]:
    def update(weights: Weights, gradients: Weights, state: Any) -> tuple[Weights, Any]:
        return {name: p - lr * gradients[name] for name, p in weights.items()}, state

    return update, {}


def adam(weights: Weights, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> tuple[Any, Any]:
    import jax.numpy as jnp

    def update(weights: Weights, gradients: Weights, state: Any) -> tuple[Weights, Any]:
        t, moments = state[0] + 1, {}
        new = {}
        for name, p in weights.items():
            m, v = state[1][name]
            g = gradients[name]
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            moments[name] = (m, v)
            new[name] = p - lr * (m / (1 - b1**t)) / (jnp.sqrt(v / (1 - b2**t)) + eps)
        return new, (t, moments)

    zeros = {name: (jnp.zeros_like(p), jnp.zeros_like(p)) for name, p in weights.items()}
    return update, (jnp.float32(0), zeros)


UPDATES = {"SGD": sgd, "Adam": adam}
JAX = Contender("jax", "JAX jit, by hand", ("jax",), dict.fromkeys(FORWARD, jitted))
