"""Losses as modules: what they are told when made, and one call of the function that computes them."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional._losses import (
    KL_REDUCTIONS,
    REDUCTIONS,
    require_positive,
    require_reduction,
    require_smoothing,
)
from portanet.nn.module import Module
from portanet.tensor import Tensor

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss", "NLLLoss",
    "NLLLoss2d", "SmoothL1Loss",
]  # fmt: skip


class _Loss(Module):
    """What all losses have: how the losses of the elements become one number."""

    reductions: tuple[str, ...] = REDUCTIONS

    def __init__(self, reduction: str) -> None:
        super().__init__()
        require_reduction(type(self).__name__, reduction, self.reductions)
        self.reduction = reduction

    def _keep(self, name: str, weight: Any) -> None:
        """Keep a weight as a buffer, so that it is saved and moved with the module."""
        self.register_buffer(name, weight if weight is None or isinstance(weight, Tensor) else Tensor(weight))


class MSELoss(_Loss):
    """The mean squared error between input and target of one shape: see `portanet.nn.functional.mse_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.MSELoss()(portanet.asarray([1.0, 2.0]), portanet.asarray([1.0, 4.0]))
    tensor(2.)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The mean absolute error between input and target of one shape: see `portanet.nn.functional.l1_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.L1Loss()(portanet.asarray([1.0, 2.0]), portanet.asarray([1.0, 4.0]))
    tensor(1.)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Squared near 0, absolute beyond ``beta``: see `portanet.nn.functional.smooth_l1_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        beta: the error where one becomes the other; at least 0.

    >>> import portanet
    >>> portanet.nn.SmoothL1Loss()(portanet.asarray([3.0]), portanet.asarray([0.0]))
    tensor(2.5)
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        require_positive("SmoothL1Loss", "beta", beta, zero=True)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Any:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Squared near 0, ``delta`` times the absolute error beyond it: see `portanet.nn.functional.huber_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        delta: the error where one becomes the other; above 0.

    >>> import portanet
    >>> portanet.nn.HuberLoss(delta=2.0)(portanet.asarray([5.0]), portanet.asarray([0.0]))
    tensor(8.)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        require_positive("HuberLoss", "delta", delta)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Any:
        return F.huber_loss(input, target, self.reduction, self.delta)


class CrossEntropyLoss(_Loss):
    """The cross entropy between logits and class indices or probabilities: see `portanet.nn.functional.cross_entropy`.

    Args:
        weight: a factor for each class, shape (C,), or None; kept as the buffer ``weight``.
        ignore_index: examples with this index count for nothing.
        reduction: ``"mean"`` (over the weights of the examples that count), ``"sum"`` or ``"none"``.
        label_smoothing: this part, from 0 to 1, of each target is spread evenly over the classes.

    >>> import portanet
    >>> portanet.nn.CrossEntropyLoss()(portanet.asarray([[0.0, 0.0]]), portanet.asarray([1]))
    tensor(0.6931472)
    """

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(reduction)
        require_smoothing("CrossEntropyLoss", label_smoothing)
        self._keep("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """The negative log-likelihood of class indices under log-probabilities: see `portanet.nn.functional.nll_loss`.

    Args:
        weight: a factor for each class, shape (C,), or None; kept as the buffer ``weight``.
        ignore_index: examples with this index count for nothing.
        reduction: ``"mean"`` (over the weights of the examples that count), ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.NLLLoss()(portanet.log(portanet.asarray([[0.5, 0.5]])), portanet.asarray([1]))
    tensor(0.6931472)
    """

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._keep("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Any:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class NLLLoss2d(NLLLoss):
    """`NLLLoss` under the name that PyTorch once had for images, shapes (N, C, H, W) and (N, H, W); take that.

    >>> import portanet
    >>> log_p = portanet.log(portanet.full((1, 2, 3, 3), 0.5))
    >>> portanet.nn.NLLLoss2d()(log_p, portanet.zeros((1, 3, 3), dtype=portanet.int64))
    tensor(0.6931472)
    """


class BCELoss(_Loss):
    """The cross entropy between two-way probabilities: see `portanet.nn.functional.binary_cross_entropy`.

    Args:
        weight: a factor for each element, of a shape that broadcasts to the input's, or None; kept as a buffer.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.BCELoss()(portanet.asarray([0.5]), portanet.asarray([1.0]))
    tensor(0.6931472)
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._keep("weight", weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """`BCELoss` after a sigmoid, in one exact formula: see `portanet.nn.functional.binary_cross_entropy_with_logits`.

    Args:
        weight: a factor for each element, of a shape that broadcasts to the input's, or None; kept as a buffer.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        pos_weight: a factor for the positive part, broadcast likewise, or None; kept as a buffer.

    >>> import portanet
    >>> portanet.nn.BCEWithLogitsLoss()(portanet.asarray([0.0]), portanet.asarray([1.0]))
    tensor(0.6931472)
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self._keep("weight", weight)
        self._keep("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """The Kullback-Leibler divergence from log-probabilities to a target: see `portanet.nn.functional.kl_div`.

    Args:
        reduction: ``"batchmean"`` (the divergence itself), ``"mean"`` over all elements, ``"sum"`` or ``"none"``.
        log_target: whether the target comes as logarithms too.

    >>> import portanet
    >>> log_p = portanet.log(portanet.asarray([[0.5, 0.5]]))
    >>> portanet.nn.KLDivLoss(reduction="batchmean")(log_p, portanet.asarray([[1.0, 0.0]]))
    tensor(0.6931472)
    """

    reductions = KL_REDUCTIONS

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Any:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
