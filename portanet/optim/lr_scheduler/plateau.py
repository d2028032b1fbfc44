"""The schedule that watches a figure."""

from __future__ import annotations

import math
from typing import Any

from portanet.optim.optimizer import Optimizer
from portanet.optim.schedule import Schedule

__all__ = ["ReduceLROnPlateau"]


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
