"""What the schedules of the learning rate share."""

from __future__ import annotations

import warnings
from typing import Any

from portanet.optim.optimizer import Optimizer
from portanet.plan.recorder import refuse_while_recording

__all__ = ["LRScheduler", "Schedule"]


def for_each_group(where: str, optimizer: Optimizer, name: str, value: Any) -> list[float]:
    """An argument that is one number or a list with one for each group, as a list."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{where}: expected an optimizer, saw {type(optimizer).__name__}.")
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [float(value)] * count
    if len(value) != count:
        raise ValueError(f"{where}: {name} has {len(value)} entries for {count} groups; give one for each.")
    return [float(one) for one in value]


def attributes(f: Any) -> dict[str, Any] | None:
    """What is saved of a callable object; None of a function, which its user gives anew."""
    return None if not hasattr(f, "__dict__") or hasattr(f, "__code__") else dict(f.__dict__)


class Schedule:
    """What every schedule has: an optimizer, the rates it set last, and a state that can be saved."""

    wants_metric = False  # whether `step` takes the figure that is watched: a training loop asks
    _unsaved: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expected an optimizer, saw {type(optimizer).__name__}.")
        self.optimizer = optimizer
        self._last_lr = self._rates()

    def _rates(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def _refuse_recording(self) -> None:
        # Before anything is counted, for the step will then be taken again.
        refuse_while_recording(f"{type(self).__name__}.step()")

    def _set(self, rates: list[float]) -> None:
        self._refuse_recording()
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = float(lr)  # a lambda may well give a NumPy number, which would widen float32
        self._last_lr = self._rates()

    def get_last_lr(self) -> list[float]:
        """The learning rate of each group as this schedule left it last."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Plain Python values that say how far this schedule has come. The learning rate itself is the optimizer's."""
        return {name: value for name, value in self.__dict__.items() if name not in self._unsaved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave. Load the optimizer's state too, which has the learning rates.

        Raises ValueError where it is the state of another kind of schedule.
        """
        expected = set(self.state_dict())
        if set(state_dict) != expected:
            different = ", ".join(sorted(expected ^ set(state_dict)))
            raise ValueError(
                f"{type(self).__name__}: the saved state and this schedule differ in {different}; it is the state of "
                "another kind of schedule."
            )
        self.__dict__.update(state_dict)


class LRScheduler(Schedule):
    """Base of the schedules that depend on the epoch alone.

    A schedule of your own defines `get_lr`, which gives the rate of each group for the epoch ``self.last_epoch``, from
    ``self.base_lrs`` or from the present rates. Those here multiply the present rates where they can, so that two
    schedules on one optimizer multiply.

    Args:
        optimizer: whose learning rates change.
        last_epoch: -1 to begin; otherwise the number of epochs before, less one, with an optimizer whose state was
            loaded: the rates then go on from where they are.

    Raises:
        KeyError: ``last_epoch`` is given, but the groups do not know the rate they began with.

    >>> import portanet
    >>> from portanet import optim
    >>> class Halved(optim.lr_scheduler.LRScheduler):
    ...     def get_lr(self):
    ...         return [lr / 2**self.last_epoch for lr in self.base_lrs]
    >>> optimizer = optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> scheduler = Halved(optimizer)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        super().__init__(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: last_epoch={last_epoch}, but group {i} has no 'initial_lr'; load the "
                    "optimizer's state first, or begin with last_epoch=-1."
                )
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch + 1
        if last_epoch == -1:
            self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        """The learning rate of each group for the epoch ``self.last_epoch``; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} needs a get_lr().")

    def _restart(self) -> None:
        """Begin anew, from the rates that the first epoch began with."""
        self.last_epoch = 0
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = lr
        self._set(self.get_lr())

    def _multiplied(self, factor: float) -> list[float]:
        return [lr * factor for lr in self._rates()]

    def step(self) -> None:
        """An epoch has passed: set the next learning rates. To be called after the optimizer's own steps.

        Warns where the optimizer has not stepped yet, which skips the first rate.
        """
        self._refuse_recording()
        if self.last_epoch == 0 and not self.optimizer.step_called:
            warnings.warn(
                "scheduler.step() came before optimizer.step(), so the first learning rate was never used; call it "
                "after the epoch's optimizer steps.",
                UserWarning,
                stacklevel=2,
            )
        self.last_epoch += 1
        self._set(self.get_lr())
