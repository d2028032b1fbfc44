"""Averages of a model's weights along its training: equal weights (SWA) or falling ones (EMA), and what goes with them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

from portanet.autograd import no_grad
from portanet.namespace import asarray, astype
from portanet.nn.module import Module
from portanet.nn.modules.normalization import _BatchNorm
from portanet.optim.optimizer import Optimizer
from portanet.optim.schedule import LRScheduler, for_each_group
from portanet.tensor import Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]

Average = Callable[[Tensor, Tensor, Any], Tensor]
Averages = Callable[[list[Tensor], list[Tensor], Any], None]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """An exponential moving average for `AveragedModel`: a <- decay a + (1 - decay) p.

    Args:
        decay: how much of the average is kept at an update, between 0 and 1.

    >>> import portanet
    >>> from portanet.optim.swa_utils import get_ema_avg_fn
    >>> get_ema_avg_fn(0.75)(portanet.asarray([1.0]), portanet.asarray([3.0]), 1)
    tensor([1.5])
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay={decay}; it must lie between 0 and 1.")

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return decay * averaged + (1 - decay) * current

    return average


def get_swa_avg_fn() -> Average:
    """The mean with equal weights for `AveragedModel`: a <- a + (p - a) / (n + 1), where n were averaged before.

    >>> import portanet
    >>> from portanet.optim.swa_utils import get_swa_avg_fn
    >>> get_swa_avg_fn()(portanet.asarray([1.0]), portanet.asarray([3.0]), 1)
    tensor([2.])
    """

    def average(averaged: Tensor, current: Tensor, num_averaged: Any) -> Tensor:
        return averaged + (current - averaged) / (num_averaged + 1)

    return average


def _of_all(average: Average) -> Averages:
    def averages(averaged: list[Tensor], current: list[Tensor], num_averaged: Any) -> None:
        for a, p in zip(averaged, current, strict=True):
            a[...] = average(a, p, num_averaged)

    return averages


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """As `get_ema_avg_fn`, for lists of Tensors: the averages are written to.

    >>> import portanet
    >>> from portanet.optim.swa_utils import get_ema_multi_avg_fn
    >>> a = portanet.asarray([1.0])
    >>> get_ema_multi_avg_fn(0.75)([a], [portanet.asarray([3.0])], 1)
    >>> a
    tensor([1.5])
    """
    return _of_all(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Averages:
    """As `get_swa_avg_fn`, for lists of Tensors: the averages are written to.

    >>> import portanet
    >>> from portanet.optim.swa_utils import get_swa_multi_avg_fn
    >>> a = portanet.asarray([1.0])
    >>> get_swa_multi_avg_fn()([a], [portanet.asarray([3.0])], 1)
    >>> a
    tensor([2.])
    """
    return _of_all(get_swa_avg_fn())


class AveragedModel(Module):
    """A copy of a model whose parameters are the average of those that the model had at each `update_parameters`.

    Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, "Averaging weights leads to wider optima and better
    generalization" (UAI 2018), for the mean with equal weights, which is the default; Polyak and Juditsky (1992).

    Args:
        model: what is copied. Its first update replaces the copy's values.
        device: where the copy is to live; None for where the model does.
        avg_fn: makes the new average of (average, parameter, number of averaged models), all Tensors; the number has
            the dtype of the parameter.
        multi_avg_fn: the same of lists of Tensors of one dtype, for all at once: it writes to the averages.
        use_buffers: whether the buffers are averaged too; otherwise they are copied. Those of whole numbers always are.

    The state is that of the copy under "module.", and the buffer "n_averaged". As
    ``torch.optim.swa_utils.AveragedModel``.

    Raises:
        ValueError: both functions are given.

    >>> import portanet
    >>> from portanet import nn
    >>> from portanet.optim.swa_utils import AveragedModel
    >>> model = nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     averaged.update_parameters(model)
    >>> averaged(portanet.asarray([[1.0]])).item()
    3.0
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("AveragedModel: avg_fn and multi_avg_fn are given; pass one of them.")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device=device)
        self.register_buffer("n_averaged", asarray(0))
        self._counted: Any = None  # the array of `n_averaged` that the last update made
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the averaged copy makes of these arguments."""
        return self.module(*args, **options)

    def update_parameters(self, model: Module) -> None:
        """Take the present parameters of ``model`` into the average."""
        buffers, theirs = list(self.module.buffers()), list(model.buffers())
        pairs: list[tuple[Tensor, Tensor]] = list(zip(self.module.parameters(), model.parameters(), strict=True))
        kept = [self.use_buffers and a.dtype.kind.endswith("floating") for a in buffers]
        pairs += [pair for pair, one in zip(zip(buffers, theirs, strict=True), kept, strict=True) if one]
        copied: list[tuple[Tensor, Tensor]] = [
            pair for pair, one in zip(zip(buffers, theirs, strict=True), kept, strict=True) if not one
        ]
        # What an update made is not 0, and to look would make every update wait for the device.
        if self.n_averaged._raw is not self._counted and bool(self.n_averaged == 0):
            pairs, copied = [], pairs + copied
        groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
        with no_grad():
            for a, p in copied:
                a[...] = p.detach().to(a.device)
            for a, p in pairs:
                averaged, current = groups.setdefault((a.dtype, str(a.device)), ([], []))
                averaged.append(a)
                current.append(p.detach().to(a.device))
            for averaged, current in groups.values():
                self._average(averaged, current)
            self.n_averaged[...] = self.n_averaged + 1
        self._counted = self.n_averaged._raw

    def _average(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        one = averaged[0]
        count = astype(self.n_averaged.to(one.device), one.dtype)
        if self.avg_fn is None:
            (self.multi_avg_fn or get_swa_multi_avg_fn())(averaged, current, count)
            return
        for a, p in zip(averaged, current, strict=True):
            a[...] = self.avg_fn(a.detach(), p, count)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of all batch normalizations anew, as means over the batches of ``loader``.

    The averaged weights of `AveragedModel` have never seen a batch, so its statistics are those of other weights.

    Args:
        loader: gives batches; of a tuple or list the first entry is what the model takes.
        model: is run in training mode, without a graph. Its mode and the momenta are afterwards what they were.
        device: where the batches are brought to; None leaves them where they are.

    >>> import portanet
    >>> from portanet import nn
    >>> from portanet.optim.swa_utils import update_bn
    >>> model = nn.BatchNorm1d(1)
    >>> update_bn([portanet.asarray([[1.0], [3.0]]), portanet.asarray([[5.0], [7.0]])], model)
    >>> model.running_mean
    tensor([4.])
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    norms = [module for module in norms if module.running_mean is not None]
    if not norms:
        return
    momenta, was_training = [module.momentum for module in norms], model.training
    model.train()
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # which is the plain mean over all batches
    try:
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, (list, tuple)) else batch
                model(x if device is None else x.to(device))
    finally:
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """The learning rate goes to a constant one, at which weights are then averaged.

    ::

        lr(t) = swa_lr a(t) + lr (1 - a(t)),     a(t) = (1 - cos(pi t / anneal_epochs)) / 2  or  t / anneal_epochs

    lr is what the rate is without this schedule, and a(t) 1 after ``anneal_epochs``.

    Args:
        optimizer: whose learning rates change.
        swa_lr: the rate at the end: a number, or a list with one for each group.
        anneal_epochs: the epochs until then.
        anneal_strategy: "cos" or "linear".
        last_epoch: see `LRScheduler`.

    As ``torch.optim.swa_utils.SWALR``.

    >>> import portanet
    >>> from portanet import optim
    >>> from portanet.optim.swa_utils import SWALR
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = SWALR(optimizer, swa_lr=0.25, anneal_epochs=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.375]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'SWALR: anneal_strategy={anneal_strategy!r}; it is "cos" or "linear".')
        if not anneal_epochs >= 0:
            raise ValueError(f"SWALR: anneal_epochs={anneal_epochs}; it must be 0 or more.")
        self.swa_lrs = for_each_group("SWALR", optimizer, "swa_lr", swa_lr)
        self.anneal_epochs = anneal_epochs
        self.anneal_strategy = anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _share(self, epoch: int) -> float:
        t = max(0.0, min(1.0, epoch / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self.anneal_strategy == "cos" else t

    def get_lr(self) -> list[float]:
        epoch = self.last_epoch if self.anneal_epochs else max(1, self.last_epoch)
        before, now = self._share(epoch - 1), self._share(epoch)
        if before == 1:
            return self.swa_lrs
        bare = [(lr - before * end) / (1 - before) for lr, end in zip(self._rates(), self.swa_lrs, strict=True)]
        return [end * now + lr * (1 - now) for lr, end in zip(bare, self.swa_lrs, strict=True)]
