"""Schedules of the learning rate: each changes ``group["lr"]`` of an optimizer once an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from portanet.optim.optimizer import Optimizer
from portanet.optim.schedule import LRScheduler, Schedule

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "ReduceLROnPlateau",
    "StepLR",
]


class LambdaLR(LRScheduler):
    """The first learning rate times a function of the epoch.

    ::

        lr(t) = lr(0) f(t)

    Args:
        optimizer: whose learning rates change.
        lr_lambda: f, called with the epoch; or a list with one function for each group.
        last_epoch: see `LRScheduler`.

    Functions are not saved; an object that is callable has its attributes saved.
    As ``torch.optim.lr_scheduler.LambdaLR``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * count
        if len(self.lr_lambdas) != count:
            raise ValueError(f"LambdaLR: {len(self.lr_lambdas)} functions for {count} groups; give one for each.")
        super().__init__(optimizer, last_epoch)
        if last_epoch != -1:
            self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        return [lr * f(self.last_epoch) for lr, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """As `LRScheduler.state_dict`, with the attributes of each callable object, and None for each function."""
        return {**super().state_dict(), "lr_lambdas": [_attributes(f) for f in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; functions stay the ones given to the constructor."""
        own = self.lr_lambdas
        saved = state_dict.get("lr_lambdas", [])
        if len(saved) != len(own):
            raise ValueError(f"LambdaLR: the saved state has {len(saved)} functions, this schedule {len(own)}.")
        super().load_state_dict(state_dict)
        self.lr_lambdas = own
        for f, attributes in zip(own, saved, strict=True):
            if attributes is not None:
                f.__dict__.update(attributes)


def _attributes(f: Any) -> dict[str, Any] | None:
    return None if not hasattr(f, "__dict__") or hasattr(f, "__code__") else dict(f.__dict__)


class StepLR(LRScheduler):
    """The learning rate falls by a factor every so many epochs.

    ::

        lr(t) = lr(0) gamma**floor(t / step_size)

    Args:
        optimizer: whose learning rates change.
        step_size: the epochs between two falls.
        gamma: the factor.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.StepLR``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for epoch in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        if step_size < 1:
            raise ValueError(f"StepLR: step_size={step_size}; it must be 1 epoch or more.")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._multiplied(self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else 1.0)


class MultiStepLR(LRScheduler):
    """The learning rate falls by a factor at chosen epochs.

    ::

        lr(t) = lr(0) gamma**(number of milestones <= t)

    Args:
        optimizer: whose learning rates change.
        milestones: the epochs at which it falls; one that is named twice counts twice.
        gamma: the factor.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.MultiStepLR``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 3], gamma=0.5)
    >>> for epoch in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._multiplied(self.gamma ** self.milestones.count(self.last_epoch))


class ConstantLR(LRScheduler):
    """A smaller learning rate for the first epochs.

    ::

        lr(t) = lr(0) factor  for t < total_iters, else lr(0)

    Args:
        optimizer: whose learning rates change.
        factor: above 0, at most 1.
        total_iters: the number of epochs.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.ConstantLR``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> optim.lr_scheduler.ConstantLR(optimizer, factor=0.5).get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5, last_epoch: int = -1) -> None:
        if not 0 < factor <= 1:
            raise ValueError(f"ConstantLR: factor={factor}; it must be above 0 and at most 1.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._multiplied(self.factor)
        return self._multiplied(1 / self.factor if self.last_epoch == self.total_iters else 1.0)


class LinearLR(LRScheduler):
    """The learning rate goes from one factor of itself to another along a line: the usual warm-up.

    ::

        lr(t) = lr(0) (start_factor + (end_factor - start_factor) min(t, total_iters) / total_iters)

    Args:
        optimizer: whose learning rates change.
        start_factor: above 0, at most 1.
        end_factor: between 0 and 1.
        total_iters: the number of epochs.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.LinearLR``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.375]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor={start_factor}; it must be above 0 and at most 1.")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: end_factor={end_factor}; it must be between 0 and 1.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._multiplied(self.start_factor)
        if self.last_epoch > self.total_iters:
            return self._rates()
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return self._multiplied(1 + rise / before)


class ExponentialLR(LRScheduler):
    """The learning rate falls by a factor every epoch.

    ::

        lr(t) = lr(0) gamma**t

    Args:
        optimizer: whose learning rates change.
        gamma: the factor.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.ExponentialLR``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._multiplied(self.gamma if self.last_epoch else 1.0)


class CosineAnnealingLR(LRScheduler):
    """The learning rate falls along half a cosine, and rises along the next half if it goes on.

    ::

        lr(t) = eta_min + (lr(0) - eta_min) (1 + cos(pi t / T_max)) / 2

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (ICLR 2017), without the restarts.

    Args:
        optimizer: whose learning rates change.
        T_max: the epochs from the largest rate to the smallest.
        eta_min: the smallest rate.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.CosineAnnealingLR``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        if not T_max > 0:
            raise ValueError(f"CosineAnnealingLR: T_max={T_max}; it must be above 0 epochs.")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._rates()
        now, before = self._height(self.last_epoch), self._height(self.last_epoch - 1)
        if before < 1e-12:  # at the bottom nothing is left to multiply: rise from there by the formula
            rises = [(lr - self.eta_min) * now for lr in self.base_lrs]
            return [lr + rise for lr, rise in zip(self._rates(), rises, strict=True)]
        return [self.eta_min + (lr - self.eta_min) * now / before for lr in self._rates()]

    def _height(self, epoch: int) -> float:
        """From 1 at the top to 0 at the bottom."""
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2


class ReduceLROnPlateau(Schedule):
    """The learning rate falls by a factor when a figure has not got better for some epochs.

    Args:
        optimizer: whose learning rates change.
        mode: "min" where smaller is better, "max" where larger is.
        factor: of the learning rate; below 1.
        patience: the number of epochs without betterment that are let pass; at the next the rate falls.
        threshold: by how much a figure has to beat the best to count as better.
        threshold_mode: "rel": better than best (1 -+ threshold); "abs": better than best -+ threshold.
        cooldown: the epochs after a fall that are not counted.
        min_lr: no rate falls below it; a number, or a list with one for each group.
        eps: a fall by no more than this is left out.

    As ``torch.optim.lr_scheduler.ReduceLROnPlateau``.

    Raises:
        ValueError: ``factor`` is 1 or more, or a mode is not known, or ``min_lr`` does not fit the groups.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in [1.0, 0.9, 0.9, 0.9]:
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.25]
    """

    wants_metric = True

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(optimizer)
        if not factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor={factor}; it must be below 1, or the rate would not fall.")
        if mode not in ("min", "max"):
            raise ValueError(f'ReduceLROnPlateau: mode={mode!r}; it is "min" or "max".')
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f'ReduceLROnPlateau: threshold_mode={threshold_mode!r}; it is "rel" or "abs".')
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lr = list(min_lr) if isinstance(min_lr, (list, tuple)) else min_lr
        self.eps = eps
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._floors()

    def _floors(self) -> list[float]:
        """The smallest rate of each group; groups may have been added since."""
        count = len(self.optimizer.param_groups)
        floors = self.min_lr if isinstance(self.min_lr, list) else [self.min_lr] * count
        if len(floors) != count:
            raise ValueError(
                f"ReduceLROnPlateau: min_lr has {len(floors)} entries for {count} groups; give one for each."
            )
        return floors

    def is_better(self, figure: float) -> bool:
        """Whether ``figure`` beats the best so far by the threshold."""
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            bar = self.best * (1 + sign * self.threshold)
        else:
            bar = self.best + sign * self.threshold
        return figure > bar if self.mode == "max" else figure < bar

    def step(self, metrics: Any) -> None:
        """An epoch has passed, and the figure that is watched (a number, or a Tensor of one element) came out so."""
        self._refuse_recording()
        figure = float(metrics)
        self.last_epoch += 1
        if self.is_better(figure):
            self.best = figure
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            lower = [max(lr * self.factor, floor) for lr, floor in zip(self._rates(), self._floors(), strict=True)]
            pairs = zip(self._rates(), lower, strict=True)
            self._set([new if old - new > self.eps else old for old, new in pairs])
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._rates()
