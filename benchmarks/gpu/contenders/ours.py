"""portanet on the GPU: eager on CuPy (or on PyTorch's tensors there), and by portanet.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import portanet
from benchmarks.contenders.ours import adam_and_parameters, made_on, model_and_batch, optimizer_of
from benchmarks.gpu.contenders.base import Run, number
from benchmarks.gpu.place import Place
from benchmarks.gpu.workloads import Operation, sampled
from benchmarks.workloads.base import Network
from benchmarks.workloads.others import Update
from portanet import nn


def _step(workload: Network, model: Any) -> tuple[Callable[[Any, Any], Any], Any]:
    """A step of training as a function of a batch, and the optimizer."""
    loss_of, optimizer = nn.CrossEntropyLoss(), optimizer_of(workload, model)

    def train(x: portanet.Tensor, target: portanet.Tensor) -> portanet.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    return train, optimizer


def eager(place: Place, backend: str) -> Callable[[Network], Run]:
    def build(workload: Network) -> Run:
        model, x, target = model_and_batch(workload, backend)
        train, _ = _step(workload, model)
        return Run(lambda: train(x, target).detach(), lambda _: place.wait(), lambda loss: number(loss.item()))

    return build


def compiled(place: Place, backend: str) -> Callable[[Network], Run]:
    """The builder of steps that are recorded and replayed; the batch is an argument, as in a loop over batches."""

    def build(workload: Network) -> Run:
        model, x, target = model_and_batch(workload, backend)
        train, optimizer = _step(workload, model)
        replayed = portanet.compile(train, state=(model, optimizer))
        return Run(
            lambda: replayed(x, target),
            lambda _: place.wait(),
            lambda loss: number(loss.item()),
            lambda: f"is not replayed: {replayed.reason}" if replayed.reason else "",
        )

    return build


def update(place: Place, backend: str) -> Callable[[Update], Run]:
    def ends(values: list[Any]) -> list[Any]:
        return [values[i][0, :].numpy().copy() for i in (0, -1)]

    def build(workload: Update) -> Run:
        optimizer, parameters = adam_and_parameters(workload, backend)
        return Run(optimizer.step, lambda _: place.wait(), lambda _: ends([p.detach() for p in parameters]))

    return build


def operation(place: Place, backend: str) -> Callable[[Operation], Run]:
    def build(workload: Operation) -> Run:
        with made_on(backend):
            arrays = {name: portanet.asarray(one) for name, one in workload.arrays().items()}
        g = arrays.pop("g", None)
        leaves = [arrays[name].requires_grad_(workload.backward) for name in workload.leaves]

        def forward() -> Any:
            with portanet.no_grad():
                return (workload.apply(nn.functional, arrays),)

        def both() -> Any:
            for leaf in leaves:
                leaf.grad = None
            y = workload.apply(nn.functional, arrays)
            y.backward(g)
            return y.detach(), *[leaf.grad for leaf in leaves]

        def value(results: Any) -> Any:
            return workload.digest([sampled(one).numpy() for one in results])

        return Run(both if workload.backward else forward, lambda _: place.wait(), value)

    return build
