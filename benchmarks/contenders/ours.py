"""portanet: eager on each library, its whole step under jax.jit, and compiled by portanet.compile."""

from __future__ import annotations

from typing import Any

import numpy as np

import portanet
from benchmarks.contenders.base import Contender, LeftOut, Step
from benchmarks.workloads.base import Network
from portanet import nn, optim


def _model(workload: Network, backend: str) -> tuple[Any, Any, Any]:
    """The model at the start that all share, a batch, and the classes that are right, as arrays of one library."""
    found = portanet.available_backends()[backend]
    if not found.available:
        raise LeftOut(found.reason)
    with portanet.use_backend(backend):
        try:
            model = workload.network(nn, portanet.asarray)
        except AttributeError as problem:
            raise LeftOut(f"a layer is missing: {problem}") from problem
        start = {name: portanet.asarray(value) for name, value in workload.weights().items()}
        keys = model.load_state_dict(start, strict=False)
        left = [name for name in keys.missing_keys if "running" not in name and "tracked" not in name]
        if left or keys.unexpected_keys:
            raise ValueError(f"{workload.name}: the model misses {left} and lacks {keys.unexpected_keys}")
        x, target = workload.data()
        return model.train(workload.training), portanet.asarray(x), portanet.asarray(target.astype(_whole(backend)))


def _whole(backend: str) -> str:
    """The dtype of classes: JAX has 32 bits unless it is told otherwise."""
    return "int32" if backend == "jax" else "int64"


def _optimizer(workload: Network, model: Any) -> Any:
    return getattr(optim, workload.optimizer)(model.parameters(), lr=workload.learning_rate)


def eager(backend: str) -> Any:
    """The builder of steps on one library."""

    def build(workload: Network) -> Step:
        model, x, target = _model(workload, backend)
        if not workload.training:
            return _inference(model, x)
        loss_of = nn.CrossEntropyLoss()
        optimizer = _optimizer(workload, model)
        parameters = list(model.parameters())
        wait = _waiting(backend)

        def step() -> float:
            optimizer.zero_grad()
            loss = loss_of(model(x), target)
            loss.backward()
            optimizer.step()
            if wait is not None:
                wait([p.array for p in parameters])
            return loss.item()

        return step

    return build


def _waiting(backend: str) -> Any:
    """What waits until arrays are computed, for a library that computes while Python goes on."""
    if backend != "jax":
        return None
    import jax

    return jax.block_until_ready


def _inference(model: Any, x: Any) -> Step:
    def step() -> np.ndarray:
        with portanet.no_grad():
            return model(x).numpy()

    return step


def jitted(workload: Network) -> Step:
    """The whole step traced by jax.jit: parameters, buffers and optimizer state go in and come out."""
    import jax

    model, x, target = _model(workload, "jax")
    parameters, buffers = list(model.parameters()), list(model.buffers())

    def place(values: list[Any], places: list[Any]) -> None:
        for value, tensor in zip(values, places, strict=True):
            tensor._raw = value

    if not workload.training:

        def infer(values: list[Any], x: Any) -> Any:
            place(values, parameters)
            with portanet.no_grad():
                return model(portanet.Tensor(x)).array

        values, compiled = [p.array for p in parameters], jax.jit(infer)
        return lambda: compiled(values, x.array).block_until_ready()

    loss_of, optimizer = nn.CrossEntropyLoss(), _optimizer(workload, model)

    def train(values: list[Any], others: list[Any], states: list[Any], x: Any, target: Any) -> Any:
        place(values, parameters)
        place(others, buffers)
        model.zero_grad()
        loss = loss_of(model(portanet.Tensor(x)), portanet.Tensor(target))
        loss.backward()
        gradients = [None if p.grad is None else p.grad.array for p in parameters]
        new, states = optimizer.updated(values, gradients, states)
        return loss.array, new, [b.array for b in model.buffers()], states

    values, others = [p.array for p in parameters], [b.array for b in buffers]
    states = optimizer.updated(values, [None] * len(values), [{} for _ in values])[1]
    compiled = jax.jit(train, donate_argnums=(0, 1, 2))

    def step() -> float:
        nonlocal values, others, states
        loss, values, others, states = compiled(values, others, states, x.array, target.array)
        jax.block_until_ready(values)
        return float(loss)

    return step


def planned(workload: Network) -> Step:
    """portanet.compile on NumPy: one step is recorded and replayed."""
    if not hasattr(portanet, "compile"):
        raise LeftOut("portanet.compile is not there yet")
    model, x, target = _model(workload, "numpy")
    if not workload.training:
        raise LeftOut("compiles training steps")
    loss_of, optimizer = nn.CrossEntropyLoss(), _optimizer(workload, model)

    def train(x: portanet.Tensor, target: portanet.Tensor) -> portanet.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    compiled = portanet.compile(train, state=(model, optimizer))
    return lambda: compiled(x, target).item()


OURS = [
    Contender("portanet-numpy", "portanet on NumPy", ("numpy",), {Network: eager("numpy")}),
    Contender("portanet-compile", "portanet.compile on NumPy", ("numpy",), {Network: planned}),
    Contender("portanet-torch", "portanet on PyTorch", ("torch",), {Network: eager("torch")}),
    Contender("portanet-jax", "portanet on JAX", ("jax",), {Network: eager("jax")}),
    Contender("portanet-jax-jit", "portanet under jax.jit", ("jax",), {Network: jitted}),
    Contender("portanet-cupy", "portanet on CuPy", ("cupy",), {Network: eager("cupy")}),
]
