"""Plain JAX on the GPU: each workload as one function under jax.jit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contenders.base import LeftOut
from benchmarks.contenders.plain_jax import trained, updated
from benchmarks.gpu.contenders.base import Run, number
from benchmarks.gpu.place import Place
from benchmarks.gpu.workloads import Operation, sampled
from benchmarks.workloads.base import Network
from benchmarks.workloads.others import Update


def _jax(place: Place) -> Any:
    import jax

    if place.real and jax.default_backend() != "gpu":
        raise LeftOut("this JAX finds no GPU")
    return jax


def network(place: Place) -> Callable[[Network], Run]:
    def build(workload: Network) -> Run:
        jax = _jax(place)
        return Run(trained(workload), jax.block_until_ready, lambda found: number(found[0]))

    return build


def update(place: Place) -> Callable[[Update], Run]:
    def build(workload: Update) -> Run:
        jax, ends = _jax(place), (0, workload.arrays - 1)
        return Run(updated(workload), jax.block_until_ready, lambda values: [np.array(values[str(i)][0]) for i in ends])

    return build


def _cross_entropy(jax: Any, a: dict[str, Any], _: Any) -> Any:
    picked = jax.numpy.take_along_axis(a["x"], a["target"][:, None], axis=1)[:, 0]
    return jax.numpy.mean(jax.nn.logsumexp(a["x"], axis=1) - picked)


def _layer_norm(jax: Any, a: dict[str, Any], _: Any) -> Any:
    x = a["x"]
    centred = x - jax.numpy.mean(x, axis=-1, keepdims=True)
    variance = jax.numpy.mean(centred * centred, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-5) * a["weight"] + a["bias"]


def _gelu(jax: Any, a: dict[str, Any], _: Any) -> Any:
    return jax.nn.gelu(a["x"], approximate=False)


def _dropout(jax: Any, a: dict[str, Any], key: Any) -> Any:
    x = a["x"]
    return jax.numpy.where(jax.random.bernoulli(key, 0.5, x.shape), x * 2, 0)


FUNCTIONS = {"cross entropy": _cross_entropy, "layer norm": _layer_norm, "GELU": _gelu, "dropout": _dropout}


def operation(place: Place) -> Callable[[Operation], Run]:
    """Value and gradients by one compiled function; the key of random numbers goes in and comes out anew."""

    def build(workload: Operation) -> Run:
        jax = _jax(place)
        function = FUNCTIONS[workload.name.removesuffix(", forward")]
        drawn = {name: one.astype("int32") if name == "target" else one for name, one in workload.arrays().items()}
        arrays = {name: jax.numpy.asarray(one) for name, one in drawn.items()}
        g = arrays.pop("g", jax.numpy.float32(1))
        key = jax.random.key(0)

        def results(arrays: dict[str, Any], g: Any, key: Any) -> Any:
            key, now = jax.random.split(key)
            if not workload.backward:
                return (function(jax, arrays, now),), key
            leaves = {name: arrays[name] for name in workload.leaves}
            y, pull = jax.vjp(lambda leaves: function(jax, arrays | leaves, now), leaves)
            (gradients,) = pull(g)
            return (y, *[gradients[name] for name in workload.leaves]), key

        compiled = jax.jit(results)

        def step() -> Any:
            nonlocal key
            found, key = compiled(arrays, g, key)
            return found

        def value(found: Any) -> Any:
            return workload.digest([np.array(sampled(one)) for one in found])

        return Run(step, jax.block_until_ready, value)

    return build
