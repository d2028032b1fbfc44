"""Embedding: a vector for each of a number of things."""

from __future__ import annotations

from typing import Any, Self

from portanet.namespace import empty
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter
from portanet.plan.recorder import writing
from portanet.tensor import Tensor

__all__ = ["Embedding"]


class Embedding(Module):
    """A table of vectors, looked up by number.

    Args:
        num_embeddings: the number of vectors.
        embedding_dim: their length.
        padding_idx: a number whose vector is 0 at the start and gets no gradient; negative counts from the end.
        max_norm: vectors that are looked up and longer than this are first scaled down to it, for good.
        norm_type: the p of the norm that ``max_norm`` limits.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: integers (...) -> (..., embedding_dim). Parameter: ``weight`` (num_embeddings, embedding_dim), at the start
    standard normal.

    Raises:
        TypeError: the input is not of an integer dtype.
        IndexError: a number is not in the table; on a GPU its vector is nan instead.

    >>> import portanet
    >>> portanet.nn.Embedding(10, 3)(portanet.asarray([[1, 2], [4, 9]])).shape
    (2, 2, 3)
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"Embedding: padding_idx={padding_idx}, but there are {num_embeddings} rows.")
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.weight = Parameter(empty((num_embeddings, embedding_dim), dtype=dtype, device=device))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew; that of ``padding_idx`` is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            weight = self.weight.detach()
            weight[self.padding_idx, ...] = 0.0
            writing(self.weight)
            self.weight._raw = weight._raw

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
    ) -> Self:
        """A layer around a table (num_embeddings, embedding_dim) that is there; ``freeze``: not to be trained."""
        if embeddings.ndim != 2:
            raise ValueError(f"Embedding.from_pretrained: the table must have two axes, saw shape {embeddings.shape}.")
        layer = cls(1, embeddings.shape[1], None, max_norm, norm_type)
        layer.num_embeddings = embeddings.shape[0]
        layer.padding_idx = None if padding_idx is None else padding_idx % embeddings.shape[0]
        layer.weight = Parameter(embeddings, requires_grad=not freeze)
        return layer

    def forward(self, input: Any) -> Any:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        return text
