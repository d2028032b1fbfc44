"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from portanet.optim.optimizer import Optimizer
from portanet.optim.schedule import LRScheduler, Schedule

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Combined(LRScheduler):
    """A schedule that hands its steps to others; their states are part of its own."""

    _unsaved = ("optimizer", "_schedulers")

    def _take(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]) -> None:
        """Keep the schedules, if they are such and of one optimizer."""
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name}: got no schedules.")
        for i, one in enumerate(schedulers):
            if not isinstance(one, LRScheduler):
                hint = "; its step() needs a figure, so step it by itself" if isinstance(one, Schedule) else ""
                raise TypeError(f"{name}: entry {i} is {type(one).__name__}, not a schedule of the epoch{hint}.")
        optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        for i, one in enumerate(schedulers):
            if one.optimizer is not optimizer:
                raise ValueError(f"{name}: schedule {i} ({type(one).__name__}) is of another optimizer.")
        Schedule.__init__(self, optimizer)
        self._schedulers = list(schedulers)

    def get_lr(self) -> list[float]:
        return self._rates()

    def state_dict(self) -> dict[str, Any]:
        """As `LRScheduler.state_dict`, with a list of the states of the schedules."""
        return {**super().state_dict(), "_schedulers": [one.state_dict() for one in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, the schedules too."""
        own, saved = self._schedulers, state_dict.get("_schedulers", [])
        if len(own) != len(saved):
            raise ValueError(f"{type(self).__name__}: the saved state has {len(saved)} schedules, this one {len(own)}.")
        super().load_state_dict(state_dict)
        self._schedulers = own
        for one, state in zip(own, saved, strict=True):
            one.load_state_dict(state)


class SequentialLR(_Combined):
    """One schedule after the other, each from its own beginning: a warm-up first, say, then a cosine.

    Args:
        optimizer: whose learning rates change.
        schedulers: the schedules, all of this optimizer.
        milestones: the epochs at which the second one begins, the third...: one fewer than schedules, rising.
        last_epoch: the number of epochs before, less one; the states of the schedules have to be loaded too.

    As ``torch.optim.lr_scheduler.SequentialLR``.

    Raises:
        ValueError: the numbers of schedules and milestones do not fit, or an optimizer is another.
        TypeError: an entry is not a schedule of the epoch.

    >>> import portanet
    >>> from portanet import optim
    >>> from portanet.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> parts = [ConstantLR(optimizer, factor=0.5, total_iters=9), ExponentialLR(optimizer, gamma=0.5)]
    >>> scheduler = SequentialLR(optimizer, parts, milestones=[2])
    >>> rates = scheduler.get_last_lr()
    >>> for epoch in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     rates += scheduler.get_last_lr()
    >>> rates
    [0.25, 0.25, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        self._take(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1 or list(milestones) != sorted(milestones):
            raise ValueError(
                f"SequentialLR: milestones={milestones} for {len(schedulers)} schedules; give one fewer, rising."
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        if last_epoch == -1:
            self._begin(self._schedulers[bisect.bisect_right(self._milestones, 0)])

    def _begin(self, one: LRScheduler) -> None:
        one._restart()
        self._last_lr = self._rates()

    def step(self) -> None:
        """An epoch has passed: a step of the schedule whose turn it is."""
        self._refuse_recording()
        self.last_epoch += 1
        k = bisect.bisect_right(self._milestones, self.last_epoch)
        if k and self._milestones[k - 1] == self.last_epoch:
            self._begin(self._schedulers[k])
        else:
            self._schedulers[k].step()
            self._last_lr = self._rates()

    def _restart(self) -> None:
        self.last_epoch = 0
        self._begin(self._schedulers[bisect.bisect_right(self._milestones, 0)])


class ChainedScheduler(_Combined):
    """Several schedules at once: each step is a step of all, whose factors multiply.

    Args:
        schedulers: the schedules, all of one optimizer.
        optimizer: that optimizer; None for the one of the first schedule.

    As ``torch.optim.lr_scheduler.ChainedScheduler``.

    Raises:
        ValueError: there is no schedule, or an optimizer is another.
        TypeError: an entry is not a schedule of the epoch.

    >>> import portanet
    >>> from portanet import optim
    >>> from portanet.optim.lr_scheduler import ChainedScheduler, ConstantLR, ExponentialLR
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> parts = [ConstantLR(optimizer, factor=0.5, total_iters=2), ExponentialLR(optimizer, gamma=0.5)]
    >>> scheduler = ChainedScheduler(parts)
    >>> for epoch in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.125]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self._take(optimizer, schedulers)

    def step(self) -> None:
        """An epoch has passed: a step of each schedule, in their order."""
        self._refuse_recording()
        for one in self._schedulers:
            one.step()
        self._last_lr = self._rates()

    def _restart(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self._schedulers[0].base_lrs, strict=True):
            group["lr"] = lr
        for one in self._schedulers:
            one.last_epoch = 0
            one._set(one.get_lr())
        self._last_lr = self._rates()
