"""PyTorch, eager and by torch.compile, as its own tutorials write a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.contenders.base import Contender, LeftOut, Step
from benchmarks.contenders.children import imported, peak
from benchmarks.workloads.base import Network
from benchmarks.workloads.others import Adds, Chain, Epoch, Import, Memory, Update


def model_and_batch(workload: Network, device: str = "cpu") -> tuple[Any, Any, Any]:
    """The model at the start that all share, a batch, and the classes that are right, all on one device."""
    import torch

    with torch.device(device):
        model = workload.network(torch.nn, lambda constant: torch.from_numpy(constant).to(device))
    start = {name: torch.from_numpy(value) for name, value in workload.weights().items()}
    keys = model.load_state_dict(start, strict=False)
    left = [name for name in keys.missing_keys if "running" not in name and "tracked" not in name]
    if left or keys.unexpected_keys:
        raise ValueError(f"{workload.name}: the model misses {left} and lacks {keys.unexpected_keys}")
    x, target = [torch.from_numpy(part).to(device) for part in workload.data()]
    return model.train(workload.training), x, target


def eager(workload: Network) -> Step:
    train, model, (x, target) = _training(workload)
    return (lambda: train(x, target)) if workload.training else _inference(model, x)


def _training(workload: Network) -> tuple[Callable[[Any, Any], float], Any, tuple[Any, Any]]:
    """A step of training as a function of a batch, the model, and the batch of all steps."""
    import torch

    model, *batch = model_and_batch(workload)
    loss_of = torch.nn.CrossEntropyLoss()
    optimizer = getattr(torch.optim, workload.optimizer)(model.parameters(), lr=workload.learning_rate)

    def train(x: Any, target: Any) -> float:
        optimizer.zero_grad()
        loss = loss_of(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train, model, tuple(batch)


def compiled(workload: Network) -> Step:
    """Forward and loss compiled as one, with the backward pass that belongs to it; the update compiled by itself."""
    import torch

    torch.compiler.reset()  # what was compiled for another workload is of no use here
    model, x, target = model_and_batch(workload)
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


def update(**options: bool) -> Callable[[Update], Step]:
    """The builder of a step of Adam alone, in one of its variants."""

    def build(workload: Update) -> Step:
        import torch

        gradients = [torch.from_numpy(g) for g in workload.gradients()]
        values = [torch.zeros_like(g, requires_grad=True) for g in gradients]
        for p, g in zip(values, gradients, strict=True):
            p.grad = g
        optimizer = torch.optim.Adam(values, lr=workload.learning_rate, **options)
        seen = values[0].detach()[0, :4]

        def step() -> Any:
            optimizer.step()
            return seen

        return step

    return build


def adds(workload: Adds) -> Step:
    import torch

    a, b = [torch.from_numpy(part) for part in workload.operands()]
    a.requires_grad_()

    def step() -> Any:
        for _ in range(workload.count):
            y = a + b
        return y.detach()

    return step


def chain(workload: Chain) -> Step:
    import torch

    x = torch.from_numpy(workload.start()).requires_grad_()

    def step() -> Any:
        x.grad = None
        y = x
        for _ in range(workload.length):
            y = y + x
        y.sum().backward()
        return x.grad

    return step


def epoch(workload: Epoch) -> Step:
    if workload.folder() is None:
        raise LeftOut(workload.absent)
    import torch

    def step() -> float:
        train, _, _ = _training(workload.model)
        x, target = [torch.from_numpy(part) for part in workload.read()]
        rows = torch.utils.data.Subset(torch.utils.data.TensorDataset(x, target), workload.order(len(x)))
        loader = torch.utils.data.DataLoader(rows, batch_size=workload.model.batch)
        return sum([train(*batch) for batch in loader]) / len(loader)

    return step


COMMON = {Adds: adds, Chain: chain, Epoch: epoch, Import: imported("torch"), Memory: peak("torch")}
TORCH = Contender("torch", "PyTorch", ("torch",), {Network: eager, Update: update(), **COMMON})
TORCH_FUSED = Contender("torch-fused", "PyTorch, fused=True", ("torch",), {Update: update(fused=True)})
TORCH_FOREACH = Contender("torch-foreach", "PyTorch, foreach=True", ("torch",), {Update: update(foreach=True)})
TORCH_COMPILE = Contender("torch-compile", "torch.compile", ("torch",), {Network: compiled})
