"""Embedding: a vector for each of a number of things, one by one or in bags."""

from __future__ import annotations

from typing import Any, Self

from portanet.namespace import empty
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.functional.sparse import require_dense, require_mode, require_row
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter
from portanet.plan.recorder import writing
from portanet.tensor import Tensor

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """A table of vectors with a row that stands for padding, and how it is looked up."""

    weight: Parameter

    def __init__(
        self,
        size: tuple[int, int],
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        table: Tensor | None,
        frozen: bool = False,
        **place: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        require_dense(name, sparse)
        self.num_embeddings, self.embedding_dim = size
        self.padding_idx = require_row(name, padding_idx, size[0])
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        if table is not None and tuple(table.shape) != size:
            raise ValueError(f"{name}: the table has shape {tuple(table.shape)}, expected {size}.")
        self.weight = Parameter(empty(size, **place) if table is None else table, requires_grad=not frozen)
        if table is None:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew; that of ``padding_idx`` is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            weight = self.weight.detach()
            weight[self.padding_idx, ...] = 0.0
            writing(self.weight)
            self.weight._raw = weight._raw

    def _norms(self) -> list[str]:
        """What a print-out says of norms and gradients."""
        words = [] if self.max_norm is None else [f"max_norm={self.max_norm}"]
        if self.norm_type != 2:
            words.append(f"norm_type={self.norm_type}")
        if self.scale_grad_by_freq:
            words.append(f"scale_grad_by_freq={self.scale_grad_by_freq}")
        return words


def _size(name: str, table: Tensor) -> tuple[int, int]:
    if table.ndim != 2:
        raise ValueError(f"{name}.from_pretrained: the table must have two axes, saw shape {table.shape}.")
    return table.shape[0], table.shape[1]


class Embedding(_Table):
    """A table of vectors, looked up by number.

    Args:
        num_embeddings: the number of vectors.
        embedding_dim: their length.
        padding_idx: a number whose vector is 0 at the start and gets no gradient; negative counts from the end.
        max_norm: vectors that are looked up and longer than this are first scaled down to it, for good.
        norm_type: the p of the norm that ``max_norm`` limits.
        scale_grad_by_freq: divide the gradient of each vector by how often it was looked up.
        sparse: kept for PyTorch's sake; only False is possible.
        _weight: a table to begin with, as `from_pretrained` gives it; None: random numbers.
        _freeze: whether it is not to be trained.
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

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        how = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, _freeze)
        super().__init__((num_embeddings, embedding_dim), *how, device=device, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """A layer around a table (num_embeddings, embedding_dim) that is there; ``freeze``: not to be trained."""
        size = _size(cls.__name__, embeddings)
        return cls(*size, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, embeddings, freeze)

    def forward(self, input: Any) -> Any:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)

    def extra_repr(self) -> str:
        padding = [] if self.padding_idx is None else [f"padding_idx={self.padding_idx}"]
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *padding, *self._norms()])


class EmbeddingBag(_Table):
    """Sums, means or maxima of the vectors of whole bags of numbers: see `portanet.nn.functional.embedding_bag`.

    Args:
        num_embeddings: the number of vectors.
        embedding_dim: their length.
        max_norm, norm_type, scale_grad_by_freq, sparse: as in `Embedding`.
        mode: ``"sum"``, ``"mean"`` or ``"max"``.
        _weight: a table to begin with, as `from_pretrained` gives it; None: random numbers.
        include_last_offset: the offsets have one number more, the number of all indices.
        padding_idx: a number that counts as not there; its vector is 0 at the start. Negative counts from the end.
        device, dtype: as in `Embedding`.

    Shapes: integers (B, N) -> (B, embedding_dim), or integers (M,) with offsets (B,) -> (B, embedding_dim); factors,
    ``per_sample_weights``, have the shape of the input. Parameter: ``weight`` (num_embeddings, embedding_dim), at the
    start standard normal.

    Raises:
        TypeError: numbers or offsets are not of an integer dtype.
        ValueError: shapes that do not go together, or offsets that are none.
        IndexError: a number is not in the table; on a GPU the result is nan there instead.

    >>> import portanet
    >>> layer = portanet.nn.EmbeddingBag(10, 3, mode="sum")
    >>> layer(portanet.asarray([1, 2, 4, 9]), portanet.asarray([0, 3])).shape
    (2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        require_mode("EmbeddingBag", mode, scale_grad_by_freq)
        how = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight)
        super().__init__((num_embeddings, embedding_dim), *how, device=device, dtype=dtype)
        self.mode = mode
        self.include_last_offset = include_last_offset

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """A layer around a table (num_embeddings, embedding_dim) that is there; ``freeze``: not to be trained."""
        size = _size(cls.__name__, embeddings)
        where = (include_last_offset, padding_idx)
        layer = cls(*size, max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, *where)
        layer.weight.requires_grad_(not freeze)
        return layer

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    def extra_repr(self) -> str:
        words = [f"{self.num_embeddings}, {self.embedding_dim}", *self._norms(), f"mode={self.mode!r}"]
        if self.padding_idx is not None:
            words.append(f"padding_idx={self.padding_idx}")
        return ", ".join(words)
