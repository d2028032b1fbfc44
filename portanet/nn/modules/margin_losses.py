"""Losses of scores that should be apart by a margin, as modules."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.modules.loss import _Loss

__all__ = [
    "HingeEmbeddingLoss", "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss",
    "SoftMarginLoss",
]  # fmt: skip


class MarginRankingLoss(_Loss):
    """max(0, margin - target (input1 - input2)): see `portanet.nn.functional.margin_ranking_loss`.

    Args:
        margin: by how much the first input should be higher where the target is 1, lower where it is -1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> better, worse = portanet.asarray([3.0, 1.0]), portanet.asarray([1.0, 2.0])
    >>> portanet.nn.MarginRankingLoss()(better, worse, portanet.asarray([1, 1]))
    tensor(0.5)
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(_Loss):
    """Distances of like pairs, and what those of unlike ones lack: see `portanet.nn.functional.hinge_embedding_loss`.

    Args:
        margin: the distance beyond which unlike pairs cost nothing.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.HingeEmbeddingLoss()(portanet.asarray([0.5, 0.25]), portanet.asarray([1, -1]))
    tensor(0.625)
    """

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Any:
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target input)), the target being 1 or -1: see `portanet.nn.functional.soft_margin_loss`.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.SoftMarginLoss()(portanet.asarray([0.0]), portanet.asarray([1]))
    tensor(0.6931472)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(_Loss):
    """The hinge loss of several classes: see `portanet.nn.functional.multi_margin_loss`.

    Args:
        p: the power of each hinge, 1 or 2.
        margin: by how much the right class should be ahead of each other one.
        weight: a factor for each class, shape (C,), or None; kept as the buffer ``weight``.
        reduction: ``"mean"`` (over the examples), ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.MultiMarginLoss()(portanet.asarray([[0.5, 2.0, 0.0]]), portanet.asarray([0]))
    tensor(1.)
    """

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p={p}; expected 1 or 2.")
        self.p = p
        self.margin = margin
        self._keep("weight", weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """The hinge loss where several labels hold: see `portanet.nn.functional.multilabel_margin_loss`.

    Args:
        reduction: ``"mean"`` (over the examples), ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> scores = portanet.asarray([[0.1, 0.2, 0.4, 0.8]])
    >>> portanet.nn.MultiLabelMarginLoss()(scores, portanet.asarray([[3, 0, -1, 1]]))
    tensor(0.85)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Any, target: Any) -> Any:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_Loss):
    """The cross entropy of each of several labels: see `portanet.nn.functional.multilabel_soft_margin_loss`.

    Args:
        weight: a factor for each label, of a shape that broadcasts to the input's, or None; kept as a buffer.
        reduction: ``"mean"`` (over the examples), ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.MultiLabelSoftMarginLoss()(portanet.asarray([[0.0, 0.0]]), portanet.asarray([[1, 0]]))
    tensor(0.6931472)
    """

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._keep("weight", weight)

    def forward(self, input: Any, target: Any) -> Any:
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)
