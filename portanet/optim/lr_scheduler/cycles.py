"""Schedules that rise and fall, and turn the momentum the other way."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from portanet.optim.optimizer import Optimizer
from portanet.optim.schedule import LRScheduler, attributes, for_each_group

__all__ = ["CyclicLR", "OneCycleLR"]


class _Cycle(LRScheduler):
    """A schedule that sets the momentum too: ``momentum``, or the first of the ``betas``."""

    cycle_momentum: bool

    def _require_momentum(self, optimizer: Optimizer) -> None:
        known = optimizer.param_groups[0]
        self.use_beta1 = "betas" in known
        if self.cycle_momentum and not self.use_beta1 and "momentum" not in known:
            raise ValueError(
                f"{type(self).__name__}: {type(optimizer).__name__} has neither a momentum nor betas; pass "
                "cycle_momentum=False."
            )

    def get_momentum(self) -> list[float]:
        """The momentum of each group for the epoch ``self.last_epoch``."""
        raise NotImplementedError(f"{type(self).__name__} needs a get_momentum().")

    def _set(self, rates: list[float]) -> None:
        super()._set(rates)
        if self.cycle_momentum:
            for group, momentum in zip(self.optimizer.param_groups, self.get_momentum(), strict=True):
                if self.use_beta1:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum


class CyclicLR(_Cycle):
    """The learning rate goes up and down between two bounds; the momentum goes down and up.

    ::

        lr(t) = base_lr + (max_lr - base_lr) s(t) f
        momentum(t) = max_momentum - (max_momentum - base_momentum) s(t) f

    s(t) rises from 0 to 1 in ``step_size_up`` steps and falls back in ``step_size_down``. f is a factor: 1 for
    "triangular", 1 / 2**(k - 1) in cycle k for "triangular2", gamma**t for "exp_range", or ``scale_fn``.
    Smith, "Cyclical learning rates for training neural networks" (WACV 2017). To be stepped after each batch.

    Args:
        optimizer: whose learning rates change.
        base_lr: the lower bound: a number, or a list with one for each group.
        max_lr: the upper bound, likewise.
        step_size_up: the steps from the lower bound to the upper.
        step_size_down: the steps back; None for as many.
        mode: "triangular", "triangular2" or "exp_range"; not looked at where ``scale_fn`` is given.
        gamma: see "exp_range".
        scale_fn: f, a function of the number of the cycle, from 1 on, or of the step.
        scale_mode: "cycle" or "iterations": what ``scale_fn`` is called with.
        cycle_momentum: whether the momentum goes the other way.
        base_momentum: its lower bound, a number or a list.
        max_momentum: its upper bound, likewise.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.CyclicLR``. A function is not saved; an object that is callable has its attributes
    saved.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5, momentum=0.9)
    >>> scheduler = optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.0, max_lr=1.0, step_size_up=2)
    >>> rates = []
    >>> for batch in range(4):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     rates += scheduler.get_last_lr()
    >>> rates
    [0.5, 1.0, 0.5, 0.0]
    """

    _unsaved = ("optimizer", "scale_fn")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        if scale_fn is None and mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(f'CyclicLR: mode={mode!r}; it is "triangular", "triangular2" or "exp_range".')
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f'CyclicLR: scale_mode={scale_mode!r}; it is "cycle" or "iterations".')
        if not step_size_up > 0 or not (step_size_down is None or step_size_down > 0):
            raise ValueError(
                f"CyclicLR: step_size_up={step_size_up}, step_size_down={step_size_down}; they must be above 0."
            )
        lower = for_each_group("CyclicLR", optimizer, "base_lr", base_lr)
        self.max_lrs = for_each_group("CyclicLR", optimizer, "max_lr", max_lr)
        self.total_size = step_size_up + (step_size_up if step_size_down is None else step_size_down)
        self.step_ratio = step_size_up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self.scale_fn = scale_fn
        self.scale_mode = scale_mode
        self.cycle_momentum = cycle_momentum
        self.base_momentums = for_each_group("CyclicLR", optimizer, "base_momentum", base_momentum)
        self.max_momentums = for_each_group("CyclicLR", optimizer, "max_momentum", max_momentum)
        self._require_momentum(optimizer)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, lower, strict=True):
                group["lr"] = lr
        super().__init__(optimizer, last_epoch)
        self.base_lrs = lower  # another schedule may have been there first, with a rate of its own

    def _height(self) -> float:
        """From 0 at the lower bounds to 1 at the upper ones."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        if self.scale_fn is not None:
            return height * self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "triangular2":
            return height / 2.0 ** (cycle - 1)
        return height * (self.gamma**self.last_epoch if self.mode == "exp_range" else 1.0)

    def get_lr(self) -> list[float]:
        height = self._height()
        return [low + (high - low) * height for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]

    def get_momentum(self) -> list[float]:
        height = self._height()
        pairs = zip(self.base_momentums, self.max_momentums, strict=True)
        return [high - (high - low) * height for low, high in pairs]

    def state_dict(self) -> dict[str, Any]:
        """As `LRScheduler.state_dict`, with the attributes of a callable object as ``scale_fn``, else None."""
        return {**super().state_dict(), "scale_fn": attributes(self.scale_fn)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; a function stays the one given to the constructor."""
        own = self.scale_fn
        super().load_state_dict(state_dict)
        self.scale_fn = own
        if own is not None and state_dict["scale_fn"] is not None:
            own.__dict__.update(state_dict["scale_fn"])


class OneCycleLR(_Cycle):
    """The learning rate rises once to a large value and falls to almost nothing; the momentum falls and rises.

    ::

        max_lr / div_factor -> max_lr -> max_lr / div_factor / final_div_factor
        max_momentum        -> base_momentum -> max_momentum

    The first way takes the share ``pct_start`` of the steps. With ``three_phase`` the second way goes back to where it
    began in as many steps, and a third one falls to the last value. Smith and Topin, "Super-convergence: very fast
    training of neural networks using large learning rates" (2018). To be stepped after each batch.

    Args:
        optimizer: whose learning rates change.
        max_lr: the largest rate: a number, or a list with one for each group.
        total_steps: the number of steps; or None, for
        epochs, steps_per_epoch: whose product it then is.
        pct_start: the share of the steps that the rate rises in.
        anneal_strategy: "cos" or "linear": how it goes from one value to the next.
        cycle_momentum: whether the momentum goes the other way.
        base_momentum: the smallest momentum, a number or a list.
        max_momentum: the largest momentum, likewise.
        div_factor: the largest rate over the first.
        final_div_factor: the first rate over the last.
        three_phase: see above.
        last_epoch: see `LRScheduler`.

    As ``torch.optim.lr_scheduler.OneCycleLR``.

    Raises:
        ValueError: there is no number of steps, or an argument is out of range; or a step after the last.

    >>> import portanet
    >>> from portanet import optim
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5, momentum=0.9)
    >>> scheduler = optim.lr_scheduler.OneCycleLR(
    ...     optimizer, max_lr=1.0, total_steps=4, pct_start=0.5, div_factor=2.0, anneal_strategy="linear")
    >>> rates = scheduler.get_last_lr()
    >>> for batch in range(3):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     rates += scheduler.get_last_lr()
    >>> rates
    [0.5, 1.0, 0.500025, 4.999999999999449e-05]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is None and (epochs is None or steps_per_epoch is None):
            raise ValueError("OneCycleLR: how long is the cycle? Pass total_steps, or epochs and steps_per_epoch.")
        count = total_steps if total_steps is not None else (epochs or 0) * (steps_per_epoch or 0)
        if not count > 0 or not isinstance(count, int):
            raise ValueError(f"OneCycleLR: {count} steps in all; it must be a whole number above 0.")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start={pct_start}; it must lie between 0 and 1.")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'OneCycleLR: anneal_strategy={anneal_strategy!r}; it is "cos" or "linear".')
        self.total_steps = count
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self._require_momentum(optimizer)
        top = for_each_group("OneCycleLR", optimizer, "max_lr", max_lr)
        first = [lr / div_factor for lr in top]
        last = [lr / final_div_factor for lr in first]
        slow = for_each_group("OneCycleLR", optimizer, "base_momentum", base_momentum)
        fast = for_each_group("OneCycleLR", optimizer, "max_momentum", max_momentum)
        rise = pct_start * count - 1
        # (the step that a phase ends at, the rates there, the momenta there); the first one is where it begins.
        self.phases: list[Any] = [[0.0, first, fast], [rise, top, slow]]
        if three_phase:
            self.phases.append([2 * pct_start * count - 2, first, fast])
        self.phases.append([count - 1, last, fast])
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, first, strict=True):
                group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def _between(self, which: int) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {self.last_epoch} of a cycle of {self.total_steps} steps; make total_steps as "
                "large as the number of batches in all."
            )
        k = 1
        while k < len(self.phases) - 1 and self.last_epoch > self.phases[k][0]:
            k += 1
        start, end = self.phases[k - 1][0], self.phases[k][0]
        old, new = self.phases[k - 1][which], self.phases[k][which]
        share = (self.last_epoch - start) / (end - start)
        if self.anneal_strategy == "cos":
            share = (1 - math.cos(math.pi * share)) / 2
        return [a + (b - a) * share for a, b in zip(old, new, strict=True)]

    def get_lr(self) -> list[float]:
        return self._between(1)

    def get_momentum(self) -> list[float]:
        return self._between(2)
