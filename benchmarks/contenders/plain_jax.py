"""Plain JAX by hand: the forward pass as a function of a dict of weights, and the whole step under jax.jit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contenders.base import Contender, Step
from benchmarks.contenders.children import imported, peak
from benchmarks.contenders.jax_networks import FORWARD, Weights, buffers
from benchmarks.workloads.base import Network
from benchmarks.workloads.others import Adds, Import, Memory, Update


def jitted(workload: Network) -> Step:
    """A step that is done when it returns."""
    import jax

    if not workload.training:
        return _inference(workload)
    advance = trained(workload)

    def step() -> float:
        loss, weights = advance()
        jax.block_until_ready(weights)
        return float(loss)

    return step


def _inference(workload: Network) -> Step:
    import jax
    import jax.numpy as jnp

    forward = FORWARD[type(workload)](workload)
    weights = {name: jnp.asarray(value) for name, value in workload.weights().items()} | buffers(workload)
    x = jnp.asarray(workload.data()[0])
    infer = jax.jit(lambda weights, x: forward(weights, x)[0])
    return lambda: infer(weights, x).block_until_ready()


def trained(workload: Network) -> Callable[[], tuple[Any, Weights]]:
    """A step that is started when it returns: the loss and the new weights.

    It is one compiled function from old weights and state to new ones; the old ones' memory is given away for them.
    """
    import jax
    import jax.numpy as jnp

    forward = FORWARD[type(workload)](workload)
    weights = {name: jnp.asarray(value) for name, value in workload.weights().items()}
    raw_x, raw_target = workload.data()
    x, target = jnp.asarray(raw_x), jnp.asarray(raw_target.astype("int32"))
    others = buffers(workload)
    update, state = UPDATES[workload.optimizer](weights, workload.learning_rate)

    def loss_of(weights: Weights, others: Weights, x: Any, target: Any) -> tuple[Any, Weights]:
        logits, others = forward(weights | others, x)
        picked = jnp.take_along_axis(logits, target[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked), others

    def train(weights: Weights, others: Weights, state: Any, x: Any, target: Any) -> tuple[Any, ...]:
        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, others, x, target)
        return loss, *update(weights, gradients, state), others

    compiled = jax.jit(train, donate_argnums=(0, 1, 2))

    def advance() -> tuple[Any, Weights]:
        nonlocal weights, others, state
        loss, weights, state, others = compiled(weights, others, state, x, target)
        return loss, weights

    return advance


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


def update(workload: Update) -> Step:
    """Adam alone, compiled."""
    import jax

    advance = updated(workload)

    def step() -> Any:
        values = advance()
        jax.block_until_ready(values)
        return values["0"][0, :4]

    return step


def updated(workload: Update) -> Callable[[], Weights]:
    """A step of Adam that is started when it returns the new values."""
    import jax
    import jax.numpy as jnp

    gradients = {str(i): jnp.asarray(g) for i, g in enumerate(workload.gradients())}
    values = {name: jnp.zeros_like(g) for name, g in gradients.items()}
    rule, state = adam(values, workload.learning_rate)
    compiled = jax.jit(rule, donate_argnums=(0, 2))

    def advance() -> Weights:
        nonlocal values, state
        values, state = compiled(values, gradients, state)
        return values

    return advance


def adds(workload: Adds) -> Step:
    """Sums one by one, as they come: nothing is compiled and nothing recorded."""
    import jax.numpy as jnp

    a, b = [jnp.asarray(part) for part in workload.operands()]

    def step() -> Any:
        for _ in range(workload.count):
            y = a + b
        return y.block_until_ready()

    return step


BUILDERS = {**dict.fromkeys(FORWARD, jitted), Update: update, Adds: adds, Import: imported("jax"), Memory: peak("jax")}
JAX = Contender("jax", "JAX jit, by hand", ("jax",), BUILDERS)
