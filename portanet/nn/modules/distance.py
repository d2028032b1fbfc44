"""Distances and angles between vectors, as modules."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional.distance import require_order
from portanet.nn.module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Module):
    """The cosine of the angle between vectors: see `portanet.nn.functional.cosine_similarity`.

    Args:
        dim: the axis that the vectors lie along; it is gone in the result.
        eps: the least length that is divided by.

    Shapes: two inputs that broadcast to (..., D, ...) -> (..., ...).

    >>> import portanet
    >>> x = portanet.asarray([[3.0, 4.0], [0.0, 2.0]])
    >>> portanet.nn.CosineSimilarity()(x, portanet.asarray([[4.0, 3.0]]))
    tensor([0.96, 0.6 ])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last axis: see `portanet.nn.functional.pairwise_distance`.

    Args:
        p: the p of the norm, from 0 to inf.
        eps: added to each difference, so that equal vectors have a gradient.
        keepdim: keep the last axis, with length 1.

    Shapes: two inputs that broadcast to (..., D) -> (...), or (..., 1).

    >>> import portanet
    >>> x = portanet.asarray([[3.0, 4.0], [0.0, 2.0]])
    >>> portanet.nn.PairwiseDistance(eps=0.0)(x, portanet.zeros((2, 2)))
    tensor([5., 2.])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        require_order("PairwiseDistance", p)
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Any, x2: Any) -> Any:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
