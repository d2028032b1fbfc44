"""Looking up rows of a table by index."""

from __future__ import annotations

import math
from typing import Any

from portanet.autograd import no_grad
from portanet.nn.functional._checks import common_namespace, dtype_of, raw_of
from portanet.tensor import Tensor

__all__ = ["embedding"]


def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0
) -> Any:
    """The rows of ``weight`` that ``input`` names.

    Args:
        input: integers in [0, num_embeddings), of any shape (...).
        weight: of shape (num_embeddings, embedding_dim).
        padding_idx: a row to which no gradient comes back; negative counts from the end.
        max_norm: rows that are looked up and longer than this are first scaled down to it, in ``weight`` itself,
            which must be a Tensor then.
        norm_type: the p of the norm that ``max_norm`` limits.

    Returns:
        of shape (..., embedding_dim).

    Raises:
        TypeError: ``input`` is not of an integer dtype.
        IndexError: an index names no row. On a GPU, where an error would make every step wait, the result is nan there.

    >>> import portanet
    >>> table = portanet.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> portanet.nn.functional.embedding(portanet.asarray([1, 0, 1]), table)
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])
    """
    indices, w = raw_of(input), raw_of(weight)
    if "integer" not in dtype_of(indices).kind:
        raise TypeError(
            f"Embedding: indices must be integers, saw {dtype_of(indices)}; portanet.astype(x, portanet.int64)."
        )
    if w.ndim != 2:
        raise ValueError(
            f"embedding: the weight must have shape (num_embeddings, embedding_dim), saw {tuple(w.shape)}."
        )
    count = w.shape[0]
    if padding_idx is not None:
        if not -count <= padding_idx < count:
            raise ValueError(f"Embedding: padding_idx={padding_idx}, but there are {count} rows.")
        padding_idx %= count
    if max_norm is not None:
        _limit_norms(weight, indices, max_norm, norm_type)
    return common_namespace(input, weight).rows_at(weight, input, padding_idx=padding_idx)


def _limit_norms(weight: Any, indices: Any, max_norm: float, norm_type: float) -> None:
    """Scale the rows in use that are too long down to ``max_norm``, in the Tensor ``weight`` itself."""
    if not isinstance(weight, Tensor):
        raise TypeError("embedding: with max_norm the weight gets new values, so it must be a Tensor.")
    if not norm_type > 0:
        raise ValueError(f"embedding: norm_type must be positive, saw {norm_type}.")
    xp = common_namespace(weight)
    with no_grad():
        sizes = xp.abs(weight.detach())
        norms = xp.max(sizes, axis=1) if norm_type == math.inf else xp.sum(sizes**norm_type, axis=1) ** (1 / norm_type)
        flat = xp.reshape(Tensor(indices), (-1,))
        places = xp.positions(weight)
        used = xp.scatter_add(
            xp.zeros_like(norms), xp.astype(flat, places.dtype), xp.ones_like(xp.astype(flat, norms.dtype))
        )
        shorter = max_norm / (norms + 1e-7)  # PyTorch's small number: a row comes out just below the limit
        scale = xp.where((used > 0) & (norms > max_norm), shorter, xp.ones_like(norms))
        weight[...] = weight.detach() * xp.expand_dims(scale, axis=-1)
