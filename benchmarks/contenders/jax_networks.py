"""The forward passes of all networks in plain JAX: functions of a dict of weights, with the names that all share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contenders import formulas
from benchmarks.workloads.base import Network
from benchmarks.workloads.images import LeNet, ResNet
from benchmarks.workloads.mlp import MLP
from benchmarks.workloads.sequences import LSTM, Transformer

Weights = dict[str, Any]
Forward = Callable[[Weights, Any], tuple[Any, Weights]]  # (weights, x) -> (logits, what else has a new value)


def stateless(logits: Callable[[Weights, Any], Any]) -> Forward:
    """A network of which nothing but the weights changes."""
    return lambda weights, x: (logits(weights, x), {})


def mlp(workload: MLP) -> Forward:
    import jax.numpy as jnp

    return stateless(formulas.mlp(jnp, len(workload.widths) - 1))


def transformer(workload: Transformer) -> Forward:
    import jax.numpy as jnp

    return stateless(formulas.transformer(jnp, workload))


def convolve(x: Any, weight: Any, stride: int, padding: int) -> Any:
    import jax

    around = [(padding, padding), (padding, padding)]
    names = ("NCHW", "OIHW", "NCHW")
    return jax.lax.conv_general_dilated(x, weight, (stride, stride), around, dimension_numbers=names)


def halved(x: Any) -> Any:
    """Max pooling of 2x2."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))


def lenet(workload: LeNet) -> Forward:
    import jax

    def logits(weights: Weights, x: Any) -> Any:
        for i, padding in ((0, 2), (3, 0)):
            x = convolve(x, weights[f"{i}.weight"], 1, padding) + weights[f"{i}.bias"][:, None, None]
            x = halved(jax.nn.relu(x))
        x = x.reshape(x.shape[0], -1)
        for i in (7, 9, 11):
            x = x @ weights[f"{i}.weight"].T + weights[f"{i}.bias"]
            x = jax.nn.relu(x) if i < 11 else x
        return x

    return stateless(logits)


def resnet(workload: ResNet) -> Forward:
    import jax

    relu = jax.nn.relu

    def normed(weights: Weights, name: str, x: Any, new: Weights, stride: int = 1) -> Any:
        kernel = weights[f"{name}.0.weight"]
        x = convolve(x, kernel, stride, kernel.shape[-1] // 2)
        known = [f"{name}.1.running_mean", f"{name}.1.running_var"]
        if workload.training:
            mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            count = x.size // x.shape[1]
            for key, value in zip(known, (mean, variance * (count / (count - 1))), strict=True):
                new[key] = 0.9 * weights[key] + 0.1 * value
        else:
            mean, variance = [weights[key] for key in known]
        scale = weights[f"{name}.1.weight"] / jax.numpy.sqrt(variance + 1e-5)
        shift = weights[f"{name}.1.bias"] - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def forward(weights: Weights, x: Any) -> tuple[Any, Weights]:
        new: Weights = {}
        x = relu(normed(weights, "stem", x, new))
        for i in range(len(workload.widths())):
            name = f"blocks.{i}"
            stride = 2 if f"{name}.around.0.weight" in weights else 1
            y = relu(normed(weights, f"{name}.first", x, new, stride))
            y = normed(weights, f"{name}.second", y, new)
            x = relu(y + (normed(weights, f"{name}.around", x, new, stride) if stride == 2 else x))
        return x.mean(axis=(2, 3)) @ weights["head.weight"].T + weights["head.bias"], new

    return forward


def lstm(workload: LSTM) -> Forward:
    import jax
    import jax.numpy as jnp

    def logits(weights: Weights, x: Any) -> Any:
        recurrent = weights["lstm.weight_hh_l0"].T
        bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
        inputs = jnp.swapaxes(x, 0, 1) @ weights["lstm.weight_ih_l0"].T + bias  # all steps at once

        def one(state: Any, z: Any) -> Any:
            h, c = state
            i, f, g, o = jnp.split(z + h @ recurrent, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), None

        zeros = jnp.zeros((x.shape[0], workload.hidden), x.dtype)
        (h, _), _ = jax.lax.scan(one, (zeros, zeros), inputs)
        return h @ weights["head.weight"].T + weights["head.bias"]

    return stateless(logits)


FORWARD: dict[type[Network], Callable[[Any], Forward]] = {
    MLP: mlp, LeNet: lenet, ResNet: resnet, LSTM: lstm, Transformer: transformer,
}  # fmt: skip


def buffers(workload: Network) -> Weights:
    """What is no weight but kept from step to step: the running means and variances of batch norm."""
    found: Weights = {}
    if isinstance(workload, ResNet):
        import jax.numpy as jnp

        for name, shape in workload.shapes().items():
            if name.endswith(".1.weight"):
                found[name.replace("weight", "running_mean")] = jnp.zeros(shape, "float32")
                found[name.replace("weight", "running_var")] = jnp.ones(shape, "float32")
    return found
