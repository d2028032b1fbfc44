"""portanet: eager on each library, its whole step under jax.jit, and compiled by portanet.compile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import portanet
from benchmarks.contenders.base import Contender, LeftOut, NotMine, Step
from benchmarks.contenders.children import imported, peak
from benchmarks.workloads.base import Network
from benchmarks.workloads.others import Adds, Chain, Epoch, Import, Memory, Update
from portanet import data, nn, optim


def model_and_batch(workload: Network, backend: str) -> tuple[Any, Any, Any]:
    """The model at the start that all share, a batch, and the classes that are right, as arrays of one library."""
    with made_on(backend):
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


@contextlib.contextmanager
def made_on(backend: str) -> Iterator[None]:
    """New arrays are made there; raises LeftOut where the library is not there or has no device that works."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(portanet.use_backend(backend))
        except (ImportError, RuntimeError) as problem:
            raise LeftOut(str(problem)) from problem
        yield


def _whole(backend: str) -> str:
    """The dtype of classes: JAX has 32 bits unless it is told otherwise."""
    return "int32" if backend == "jax" else "int64"


def optimizer_of(workload: Network, model: Any) -> Any:
    return getattr(optim, workload.optimizer)(model.parameters(), lr=workload.learning_rate)


def eager(backend: str) -> Callable[[Network], Step]:
    """The builder of steps on one library."""

    def build(workload: Network) -> Step:
        if backend == "jax" and not workload.training:
            raise NotMine("JAX compiles each operation by itself, for seconds; whoever infers with it uses jax.jit")
        train, model, (x, target) = _training(workload, backend)
        return (lambda: train(x, target)) if workload.training else _inference(model, x)

    return build


def _training(workload: Network, backend: str) -> tuple[Callable[[Any, Any], float], Any, tuple[Any, Any]]:
    """A step of training as a function of a batch, the model, and the batch of all steps."""
    model, *batch = model_and_batch(workload, backend)
    loss_of, optimizer = nn.CrossEntropyLoss(), optimizer_of(workload, model)
    parameters = list(model.parameters())
    wait = _waiting(backend)

    def train(x: Any, target: Any) -> float:
        optimizer.zero_grad()
        loss = loss_of(model(x), target)
        loss.backward()
        optimizer.step()
        if wait is not None:
            wait([p.array for p in parameters])
        return loss.item()

    return train, model, tuple(batch)


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

    model, x, target = model_and_batch(workload, "jax")
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

    loss_of, optimizer = nn.CrossEntropyLoss(), optimizer_of(workload, model)

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


def updated(backend: str) -> Callable[[Update], Step]:
    """The builder of a step of Adam alone."""

    def build(workload: Update) -> Step:
        optimizer, parameters, wait = *adam_and_parameters(workload, backend), _waiting(backend)

        def step() -> Any:
            optimizer.step()
            if wait is not None:
                wait([p.array for p in parameters])
            return parameters[0].array[0, :4]

        return step

    return build


def adam_and_parameters(workload: Update, backend: str) -> tuple[Any, list[Any]]:
    """The optimizer and its parameters, with their gradients."""
    with made_on(backend):
        gradients = [portanet.asarray(g) for g in workload.gradients()]
        parameters = [nn.Parameter(portanet.zeros_like(g)) for g in gradients]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g
        return optim.Adam(parameters, lr=workload.learning_rate), parameters


def jitted_update(workload: Update) -> Step:
    import jax

    optimizer, parameters = adam_and_parameters(workload, "jax")
    values, gradients = [p.array for p in parameters], [p.grad.array for p in parameters]
    states: list[Any] = [{} for _ in values]
    compiled = jax.jit(optimizer.updated, donate_argnums=(0, 2))

    def step() -> Any:
        nonlocal values, states
        values, states = compiled(values, gradients, states)
        jax.block_until_ready(values)
        return values[0][0, :4]

    return step


def adds(backend: str) -> Callable[[Adds], Step]:
    """The builder of sums that are recorded, since one operand requires a gradient."""

    def build(workload: Adds) -> Step:
        with made_on(backend):
            a, b = [portanet.asarray(part) for part in workload.operands()]
        a.requires_grad_()

        def step() -> Any:
            for _ in range(workload.count):
                y = a + b
            return y.detach().numpy()

        return step

    return build


def chain(backend: str) -> Callable[[Chain], Step]:
    """The builder of a long sum, recorded and walked back."""

    def build(workload: Chain) -> Step:
        with made_on(backend):
            x = portanet.asarray(workload.start()).requires_grad_()

        def step() -> Any:
            x.grad = None
            y = x
            for _ in range(workload.length):
                y = y + x
            portanet.sum(y).backward()
            return x.grad.numpy()

        return step

    return build


def epoch(backend: str) -> Callable[[Epoch], Step]:
    """The builder of an epoch by portanet's own loader."""

    def build(workload: Epoch) -> Step:
        if backend == "jax":
            raise NotMine("a thousand steps of one operation at a time; whoever trains with JAX uses jax.jit")
        if workload.folder() is None:
            raise LeftOut(workload.absent)

        def step() -> float:
            train, _, _ = _training(workload.model, backend)
            with made_on(backend):
                x, target = workload.read()
                whole = data.TensorDataset(portanet.asarray(x), portanet.asarray(target.astype(_whole(backend))))
                loader = data.DataLoader(data.Subset(whole, workload.order(len(x))), batch_size=workload.model.batch)
                return sum([train(*batch) for batch in loader]) / len(loader)

        return step

    return build


def planned(backend: str) -> Callable[[Network], Step]:
    """The builder of steps by portanet.compile: one is recorded and replayed."""

    def build(workload: Network) -> Step:
        model, x, target = model_and_batch(workload, backend)
        if not workload.training:
            return _planned_inference(model, x)
        loss_of, optimizer = nn.CrossEntropyLoss(), optimizer_of(workload, model)

        @portanet.compile(state=(model, optimizer))
        def train(x: portanet.Tensor, target: portanet.Tensor) -> portanet.Tensor:
            optimizer.zero_grad()
            loss = loss_of(model(x), target)
            loss.backward()
            optimizer.step()
            return loss

        return lambda: _replayed(train, x, target).item()

    return build


def _planned_inference(model: Any, x: Any) -> Step:
    infer = portanet.compile(model, state=model)

    def step() -> np.ndarray:
        with portanet.no_grad():
            return _replayed(infer, x).numpy()

    return step


def _replayed(compiled: Any, *arguments: Any) -> Any:
    """The result of a compiled step; a step that was not replayed is not what is asked for."""
    result = compiled(*arguments)
    if compiled.reason:
        raise LeftOut(f"is not replayed: {compiled.reason}")
    return result


def _builders(name: str, backend: str) -> dict[Any, Any]:
    """What all libraries do alike."""
    found: dict[Any, Any] = {Network: eager(backend), Update: updated(backend), Adds: adds(backend)}
    found[Chain] = chain(backend)
    return found | {Epoch: epoch(backend), Memory: peak(name)}


_JITTED = {Network: jitted, Update: jitted_update, Memory: peak("portanet-jax-jit")}
OURS = [
    Contender(
        "portanet-numpy",
        "portanet on NumPy",
        ("numpy",),
        _builders("portanet-numpy", "numpy") | {Import: imported("portanet")},
    ),
    Contender(
        "portanet-compile",
        "portanet.compile on NumPy",
        ("numpy",),
        {Network: planned("numpy"), Memory: peak("portanet-compile")},
    ),
    Contender("portanet-torch", "portanet on PyTorch", ("torch",), _builders("portanet-torch", "torch")),
    Contender("portanet-jax", "portanet on JAX", ("jax",), _builders("portanet-jax", "jax")),
    Contender("portanet-jax-jit", "portanet under jax.jit", ("jax",), _JITTED),
    Contender("portanet-cupy", "portanet on CuPy", ("cupy",), _builders("portanet-cupy", "cupy")),
    *[
        Contender(
            f"portanet-compile-{name}", f"portanet.compile on {title}", (name,), {Network: planned(name)}, usual=False
        )
        for name, title in {"torch": "PyTorch", "jax": "JAX"}.items()
    ],
]
