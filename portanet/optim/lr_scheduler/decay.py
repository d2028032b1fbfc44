"""Schedules that fall, by steps or smoothly, and the warm-up."""

from __future__ import annotations

from collections.abc import Iterable

from portanet.optim.optimizer import Optimizer
from portanet.optim.schedule import LRScheduler

__all__ = ["ConstantLR", "ExponentialLR", "LinearLR", "MultiStepLR", "PolynomialLR", "StepLR"]


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


class PolynomialLR(LRScheduler):
    """The learning rate falls to 0 along a power of the epochs that are left.

    ::

        lr(t) = lr(0) (1 - min(t, total_iters) / total_iters)**power

    Args:
        optimizer: whose learning rates change.
        total_iters: the number of epochs.
        power: 1 for a line.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.PolynomialLR``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.PolynomialLR(optimizer, total_iters=2, power=2.0)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        if not total_iters > 0:
            raise ValueError(f"PolynomialLR: total_iters={total_iters}; it must be above 0 epochs.")
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch > self.total_iters:
            return self._rates()
        left = self.total_iters - self.last_epoch
        return self._multiplied((left / (left + 1)) ** self.power)
