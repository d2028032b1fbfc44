"""Schedules that a user's function gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.optim.optimizer import Optimizer
from portanet.optim.schedule import LRScheduler, attributes

__all__ = ["LambdaLR", "MultiplicativeLR"]


class _ByFunctions(LRScheduler):
    """A schedule that is a function of the epoch for each group. The attributes of callable objects are saved."""

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
            raise ValueError(
                f"{type(self).__name__}: {len(self.lr_lambdas)} functions for {count} groups; give one for each."
            )
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """As `LRScheduler.state_dict`, with the attributes of each callable object, and None for each function."""
        return {**super().state_dict(), "lr_lambdas": [attributes(f) for f in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; functions stay the ones given to the constructor."""
        own = self.lr_lambdas
        saved = state_dict.get("lr_lambdas", [])
        if len(saved) != len(own):
            raise ValueError(
                f"{type(self).__name__}: the saved state has {len(saved)} functions, this schedule {len(own)}."
            )
        super().load_state_dict(state_dict)
        self.lr_lambdas = own
        for f, kept in zip(own, saved, strict=True):
            if kept is not None:
                f.__dict__.update(kept)


class LambdaLR(_ByFunctions):
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

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, lr_lambda, last_epoch)
        if last_epoch != -1:
            self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        return [lr * f(self.last_epoch) for lr, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class MultiplicativeLR(_ByFunctions):
    """The learning rate is multiplied by a function of the epoch, every epoch.

    ::

        lr(t) = lr(t - 1) f(t)

    Args:
        optimizer: whose learning rates change.
        lr_lambda: f, called with the epoch from 1 on; or a list with one function for each group.
        last_epoch: see `LRScheduler`.

    Functions are not saved; an object that is callable has its attributes saved.
    As ``torch.optim.lr_scheduler.MultiplicativeLR``.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> for epoch in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()  # 0.5 / 2 / 3
    [0.08333333333333333]
    """

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._rates()
        return [lr * f(self.last_epoch) for lr, f in zip(self._rates(), self.lr_lambdas, strict=True)]
