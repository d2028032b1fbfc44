"""Schedules that fall along a cosine."""

from __future__ import annotations

import math

from portanet.optim.optimizer import Optimizer
from portanet.optim.schedule import LRScheduler

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"]


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


class CosineAnnealingWarmRestarts(LRScheduler):
    """The learning rate falls along half a cosine, jumps back to the top, and falls again, perhaps more slowly.

    ::

        lr(t) = eta_min + (lr(0) - eta_min) (1 + cos(pi T_cur / T_i)) / 2

    T_cur is the epochs since the last restart, T_i the epochs from that to the next: T_0, T_0 T_mult, T_0 T_mult**2...
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (ICLR 2017), equation 5.

    Args:
        optimizer: whose learning rates change.
        T_0: the epochs before the first restart.
        T_mult: by how much each of these spans is longer than the last.
        eta_min: the smallest rate.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> rates = []
    >>> for epoch in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     rates += scheduler.get_last_lr()
    >>> rates
    [0.25, 0.5, 0.25, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if not T_0 > 0 or not isinstance(T_0, int):
            raise ValueError(f"CosineAnnealingWarmRestarts: T_0={T_0}; it must be a whole number above 0.")
        if not T_mult >= 1 or not isinstance(T_mult, int):
            raise ValueError(f"CosineAnnealingWarmRestarts: T_mult={T_mult}; it must be a whole number, 1 or more.")
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self._move(last_epoch + 1)
        super().__init__(optimizer, last_epoch)

    def _move(self, epoch: float) -> None:
        """Find the place of an epoch, perhaps a fraction, between two restarts."""
        self.T_cur, self.T_i = epoch, self.T_0
        if self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        while self.T_cur >= self.T_i:
            self.T_cur, self.T_i = self.T_cur - self.T_i, self.T_i * self.T_mult
        self._epoch = epoch

    def get_lr(self) -> list[float]:
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (lr - self.eta_min) * height for lr in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """An epoch has passed; or it is now ``epoch``, which may be a fraction: ``step(epoch + batch / batches)``."""
        self._refuse_recording()
        if epoch is not None and epoch < 0:
            raise ValueError(f"CosineAnnealingWarmRestarts.step: epoch={epoch}; it must be 0 or more.")
        self._move(self._epoch + 1 if epoch is None else epoch)
        self.last_epoch = math.floor(self._epoch)
        self._set(self.get_lr())

    def _restart(self) -> None:
        self._move(0)
        super()._restart()
