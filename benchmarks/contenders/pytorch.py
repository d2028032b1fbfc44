"""PyTorch, eager and by torch.compile, as its own tutorials write a training step."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders.base import Contender, Step
from benchmarks.workloads.base import Network


def _model(workload: Network) -> tuple[Any, Any, Any]:
    """The model at the start that all share, a batch, and the classes that are right."""
    import torch

    model = workload.network(torch.nn, torch.from_numpy)
    start = {name: torch.from_numpy(value) for name, value in workload.weights().items()}
    keys = model.load_state_dict(start, strict=False)
    left = [name for name in keys.missing_keys if "running" not in name and "tracked" not in name]
    if left or keys.unexpected_keys:
        raise ValueError(f"{workload.name}: the model misses {left} and lacks {keys.unexpected_keys}")
    x, target = [torch.from_numpy(part) for part in workload.data()]
    return model.train(workload.training), x, target


def eager(workload: Network) -> Step:
    import torch

    model, x, target = _model(workload)
    if not workload.training:
        return _inference(model, x)
    loss_of = torch.nn.CrossEntropyLoss()
    optimizer = getattr(torch.optim, workload.optimizer)(model.parameters(), lr=workload.learning_rate)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def compiled(workload: Network) -> Step:
    """Forward and loss compiled as one, with the backward pass that belongs to it; the update compiled by itself."""
    import torch

    torch.compiler.reset()  # what was compiled for another workload is of no use here
    model, x, target = _model(workload)
    if not workload.training:
        return _inference(torch.compile(model), x)
    loss_of = torch.nn.CrossEntropyLoss()
    optimizer = getattr(torch.optim, workload.optimizer)(model.parameters(), lr=workload.learning_rate)
    whole = torch.compile(lambda: loss_of(model(x), target))
    update = torch.compile(optimizer.step)

    def step() -> float:
        optimizer.zero_grad()
        loss = whole()
        loss.backward()
        update()
        return loss.item()

    return step


def _inference(model: Any, x: Any) -> Step:
    import torch

    def step() -> Any:
        with torch.inference_mode():
            return model(x)

    return step


TORCH = Contender("torch", "PyTorch", ("torch",), {Network: eager})
TORCH_COMPILE = Contender("torch-compile", "torch.compile", ("torch",), {Network: compiled})
