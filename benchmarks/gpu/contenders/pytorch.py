"""PyTorch on the GPU: eager, with the whole step in a CUDA graph, and by torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contenders.base import LeftOut
from benchmarks.contenders.pytorch import model_and_batch
from benchmarks.gpu.contenders.base import Run, number
from benchmarks.gpu.place import Place
from benchmarks.gpu.workloads import Operation, sampled
from benchmarks.workloads.base import Network
from benchmarks.workloads.others import Update


def _torch(place: Place) -> Any:
    import torch

    if place.real and not torch.cuda.is_available():
        raise LeftOut("this PyTorch finds no GPU")
    return torch


def runner(place: Place, start: Callable[[], Any], value: Callable[[Any], Any] | None = None) -> Run:
    return Run(start, lambda _: place.wait(), value)


def eager(place: Place) -> Callable[[Network], Run]:
    def build(workload: Network) -> Run:
        torch = _torch(place)
        model, x, target = model_and_batch(workload, place.device)
        loss_of = torch.nn.CrossEntropyLoss()
        optimizer = getattr(torch.optim, workload.optimizer)(model.parameters(), lr=workload.learning_rate)

        def step() -> Any:
            optimizer.zero_grad()
            loss = loss_of(model(x), target)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return runner(place, step, number)

    return build


def compiled(place: Place) -> Callable[[Network], Run]:
    """Forward and loss compiled as one, with the backward pass that belongs to it; the update compiled by itself."""

    def build(workload: Network) -> Run:
        torch = _torch(place)
        torch.compiler.reset()
        model, x, target = model_and_batch(workload, place.device)
        loss_of = torch.nn.CrossEntropyLoss()
        optimizer = getattr(torch.optim, workload.optimizer)(model.parameters(), lr=workload.learning_rate)
        whole = torch.compile(lambda: loss_of(model(x), target))
        update = torch.compile(optimizer.step)

        def step() -> Any:
            optimizer.zero_grad()
            loss = whole()
            loss.backward()
            update()
            return loss.detach()

        return runner(place, step, number)

    return build


def graphed(place: Place) -> Callable[[Network], Run]:
    """The whole step, update included, captured once and launched by one call; each batch is copied to where it reads."""

    def build(workload: Network) -> Run:
        torch = _torch(place)
        model, x, target = model_and_batch(workload, place.device)
        loss_of = torch.nn.CrossEntropyLoss()
        options = {"capturable": True} if workload.optimizer == "Adam" and place.real else {}
        optimizer = getattr(torch.optim, workload.optimizer)(model.parameters(), lr=workload.learning_rate, **options)
        read_x, read_target = x.clone(), target.clone()

        def step() -> Any:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model(read_x), read_target)
            loss.backward()
            optimizer.step()
            return loss.detach()

        start = {name: value.clone() for name, value in model.state_dict().items()}
        launch = captured(place, step)
        model.load_state_dict(start)  # trying the step out has trained it
        with torch.no_grad():
            for state in optimizer.state.values():
                for moment in state.values():
                    moment.zero_()

        def graphed_step() -> Any:
            read_x.copy_(x)
            read_target.copy_(target)
            return launch()

        return runner(place, graphed_step, number)

    return build


def captured(place: Place, function: Callable[[], Any]) -> Callable[[], Any]:
    """``function`` as one launch of a CUDA graph, with the results of the capture; as it is where there is no GPU."""
    torch = _torch(place)
    if not place.real:
        function()
        return function
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # as PyTorch's documentation asks for: a few times first, on a stream of its own
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # JAX's threads may talk to the GPU meanwhile
        result = function()

    def launch(_of: Callable[[], Any] = function) -> Any:  # who holds the parameters, whose memory the graph goes to
        graph.replay()
        return result

    return launch


def update(place: Place, **options: bool) -> Callable[[Update], Run]:
    """The builder of steps of Adam alone."""

    def build(workload: Update) -> Run:
        torch = _torch(place)
        gradients = [torch.from_numpy(g).to(place.device) for g in workload.gradients()]
        values = [torch.zeros_like(g, requires_grad=True) for g in gradients]
        for p, g in zip(values, gradients, strict=True):
            p.grad = g
        optimizer = torch.optim.Adam(values, lr=workload.learning_rate, **options)
        return runner(place, optimizer.step, lambda _: [values[i].detach()[0].cpu().numpy().copy() for i in (0, -1)])

    return build


def operation(place: Place) -> Callable[[Operation], Run]:
    def build(workload: Operation) -> Run:
        torch = _torch(place)
        arrays = {name: torch.from_numpy(one).to(place.device) for name, one in workload.arrays().items()}
        g = arrays.pop("g", None)
        functional = torch.nn.functional
        leaves = [arrays[name].requires_grad_(workload.backward) for name in workload.leaves]

        def forward() -> Any:
            with torch.no_grad():
                return (workload.apply(functional, arrays),)

        def both() -> Any:
            y = workload.apply(functional, arrays)
            return y.detach(), *torch.autograd.grad(y, leaves, g)

        def value(results: Any) -> Any:
            return workload.digest([sampled(one).cpu().numpy() for one in results])

        return runner(place, both if workload.backward else forward, value)

    return build
