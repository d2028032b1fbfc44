"""Losses of vectors that stand for things, as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional._losses import require_positive
from portanet.nn.modules.distance import PairwiseDistance
from portanet.nn.modules.loss import _Loss

__all__ = ["CosineEmbeddingLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss"]


class CosineEmbeddingLoss(_Loss):
    """Like vectors should point one way, unlike ones not: see `portanet.nn.functional.cosine_embedding_loss`.

    Args:
        margin: the cosine below which unlike pairs cost nothing, from -1 to 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> x, y = portanet.asarray([[1.0, 0.0]]), portanet.asarray([[0.0, 1.0]])
    >>> portanet.nn.CosineEmbeddingLoss()(x, y, portanet.asarray([1]))
    tensor(1.)
    """

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Any:
        return F.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """The positive should be nearer to the anchor than the negative: see `portanet.nn.functional.triplet_margin_loss`.

    Args:
        margin: by how much, above 0.
        p: the norm that measures distances, at least 0.
        eps: added to each difference.
        swap: whether the negative's distance to the positive counts, where it is nearer to that than to the anchor.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> anchor, near, far = portanet.asarray([[0.0]]), portanet.asarray([[2.0]]), portanet.asarray([[-2.5]])
    >>> portanet.nn.TripletMarginLoss(eps=0.0)(anchor, near, far)
    tensor(0.5)
    """

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        require_positive("TripletMarginLoss", "margin", margin)
        require_positive("TripletMarginLoss", "p", p, zero=True)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(_Loss):
    """`TripletMarginLoss` by another distance: see `portanet.nn.functional.triplet_margin_with_distance_loss`.

    Args:
        distance_function: takes two arrays and returns their distances; a module is kept as a part of this one. None:
            `PairwiseDistance`.
        margin: by how much the positive should be nearer, above 0.
        swap: whether the negative's distance to the positive counts, where it is nearer to that than to the anchor.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> def distance(a, b):
    ...     return portanet.sum(portanet.abs(a - b), axis=-1)
    >>> loss = portanet.nn.TripletMarginWithDistanceLoss(distance_function=distance)
    >>> loss(portanet.asarray([[0.0]]), portanet.asarray([[2.0]]), portanet.asarray([[-2.5]]))
    tensor(0.5)
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Any, Any], Any] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        require_positive("TripletMarginWithDistanceLoss", "margin", margin)
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Any:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
