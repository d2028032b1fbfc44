"""Looking up rows of a table by index."""

from __future__ import annotations

from typing import Any

from portanet.autograd import no_grad
from portanet.doors import read
from portanet.library import namespace_of
from portanet.nn.functional._arguments import require_dtype, together
from portanet.nn.functional._checks import common_namespace, dtype_of, raw_of
from portanet.nn.functional.distance import lengths
from portanet.tensor import Tensor

__all__ = ["embedding", "embedding_bag", "one_hot"]

MODES = ("sum", "mean", "max")


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """The rows of ``weight`` that ``input`` names.

    Args:
        input: integers in [0, num_embeddings), of any shape (...).
        weight: of shape (num_embeddings, embedding_dim).
        padding_idx: a row to which no gradient comes back; negative counts from the end.
        max_norm: rows that are looked up and longer than this are first scaled down to it, in ``weight`` itself,
            which must be a Tensor then.
        norm_type: the p of the norm that ``max_norm`` limits.
        scale_grad_by_freq: divide the gradient of each row by how often ``input`` names it.
        sparse: kept for PyTorch's sake; only False is possible.

    Returns:
        of shape (..., embedding_dim). The gradients of a row that is named repeatedly add up in a fixed order on
        NumPy, array-api-strict, CuPy, dpnp, and on the CPU everywhere.

    Raises:
        TypeError: ``input`` is not of an integer dtype.
        ValueError: the weight has not two axes, ``padding_idx`` is no row, or ``sparse`` is true.
        IndexError: an index names no row. On a GPU, where an error would make every step wait, the result is nan there.

    >>> import portanet
    >>> table = portanet.asarray([[1.0, 2.0], [3.0, 4.0]])
    >>> portanet.nn.functional.embedding(portanet.asarray([1, 0, 1]), table)
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])
    """
    padding_idx = _looked_up("embedding", input, weight, padding_idx, max_norm, norm_type, sparse)
    xp = common_namespace(input, weight)
    return xp.rows_at(weight, input, padding_idx=padding_idx, by_frequency=scale_grad_by_freq)


def require_dense(name: str, sparse: bool) -> None:
    """Raise ValueError for ``sparse=True``."""
    if sparse:
        raise ValueError(f"{name}: sparse=True is not possible, for gradients are whole arrays here; leave it out.")


def require_row(name: str, padding_idx: int | None, count: int) -> int | None:
    """``padding_idx`` counted from 0, or None; ValueError where there is no such row among ``count``."""
    if padding_idx is None:
        return None
    if not -count <= padding_idx < count:
        raise ValueError(f"{name}: padding_idx={padding_idx}, but there are {count} rows.")
    return padding_idx % count


def require_mode(name: str, mode: str, scale_grad_by_freq: bool) -> None:
    """Raise ValueError unless ``mode`` is one of `MODES`, and its gradient can be scaled where that is asked for."""
    if mode not in MODES:
        raise ValueError(f"{name}: mode={mode!r}; expected one of {', '.join(MODES)}.")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError(f"{name}: scale_grad_by_freq=True has no meaning with mode='max'; leave it out.")


def _require_integers(name: str, what: str, x: Any) -> None:
    if "integer" not in dtype_of(x).kind:
        raise TypeError(f"{name}: {what} must be integers, saw {dtype_of(x)}; portanet.astype(x, portanet.int64).")


def _looked_up(
    name: str,
    input: Any,
    weight: Any,
    padding_idx: int | None,
    max_norm: float | None,
    norm_type: float,
    sparse: bool,
) -> int | None:
    """Check what a look-up is told, and shorten the rows that are too long; the row of the padding, counted from 0."""
    indices, w = raw_of(input), raw_of(weight)
    require_dense(name, sparse)
    _require_integers(name, "indices", indices)
    if w.ndim != 2:
        raise ValueError(f"{name}: the weight must have shape (num_embeddings, embedding_dim), saw {tuple(w.shape)}.")
    padding_idx = require_row(name, padding_idx, w.shape[0])
    if max_norm is not None:
        _limit_norms(name, weight, indices, max_norm, norm_type)
    return padding_idx


def _limit_norms(name: str, weight: Any, indices: Any, max_norm: float, norm_type: float) -> None:
    """Scale the rows in use that are too long down to ``max_norm``, in the Tensor ``weight`` itself."""
    if not isinstance(weight, Tensor):
        raise TypeError(f"{name}: with max_norm the weight gets new values, so it must be a Tensor.")
    if not norm_type > 0:
        raise ValueError(f"{name}: norm_type must be positive, saw {norm_type}.")
    xp = common_namespace(weight)
    with no_grad():
        norms = xp.squeeze(lengths(xp, weight.detach(), norm_type, 1), axis=1)
        flat = xp.reshape(Tensor(indices), (-1,))
        places = xp.positions(weight)
        used = xp.scatter_add(
            xp.zeros_like(norms), xp.astype(flat, places.dtype), xp.ones_like(xp.astype(flat, norms.dtype))
        )
        shorter = max_norm / (norms + 1e-7)  # PyTorch's small number: a row comes out just below the limit
        scale = xp.where((used > 0) & (norms > max_norm), shorter, xp.ones_like(norms))
        weight[...] = weight.detach() * xp.expand_dims(scale, axis=-1)


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """1 at the place that each number names along a new last axis, and 0 elsewhere.

    Args:
        tensor: integers in [0, num_classes), of any shape (...).
        num_classes: the length of the new axis; -1: one more than the largest number, for which the device has to be
            waited for.

    Returns:
        integers of shape (..., num_classes), in the library's default integer dtype.

    Raises:
        TypeError: ``tensor`` is not of an integer dtype.
        ValueError: a number does not lie in the range; on a GPU, where an error would make every step wait, it has
            nothing but zeros instead. Or there are no numbers to tell ``num_classes`` from.

    >>> import portanet
    >>> portanet.nn.functional.one_hot(portanet.asarray([1, 0, 2]))
    tensor([[0, 1, 0],
            [1, 0, 0],
            [0, 0, 1]])
    """
    x = raw_of(tensor)
    _require_integers("one_hot", "the input", x)
    if num_classes < -1:
        raise ValueError(f"one_hot: num_classes={num_classes}; expected the number of classes, or -1.")
    xp = namespace_of(x)
    if num_classes == -1:
        if 0 in x.shape:
            raise ValueError(f"one_hot: an input of shape {tuple(x.shape)} does not tell num_classes; name it.")
        num_classes = read(int, xp.max(x)) + 1
    if xp.known_outside(x, 0, num_classes - 1):
        raise ValueError(
            f"one_hot: the input reaches from {int(xp.min(x))} to {int(xp.max(x))}; with num_classes={num_classes} it "
            f"must lie in 0 to {num_classes - 1}."
        )
    places = xp.arange(num_classes, device=xp.device_of(x))
    chosen = xp.astype(xp.expand_dims(xp.astype(x, places.dtype), axis=-1) == places, places.dtype)
    return Tensor(chosen) if isinstance(tensor, Tensor) else chosen


# ---------------------------------------------------------------------------------------------------------------------
# Bags of rows


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:
    """Of each bag of indices the sum, the mean or the largest of the rows that they name.

    Args:
        input: integers in [0, num_embeddings): of shape (B, N), B bags of N; or all bags one after another, (M,).
        weight: of shape (num_embeddings, embedding_dim).
        offsets: integers (B,) for an input (M,): where each bag begins, in rising order, the first at 0. Equal
            neighbours are an empty bag.
        max_norm, norm_type, scale_grad_by_freq, sparse: as in `embedding`; no ``scale_grad_by_freq`` with ``"max"``.
        mode: ``"sum"``, ``"mean"`` or ``"max"``.
        per_sample_weights: factors of the rows, of the shape of ``input`` and the dtype of ``weight``; for ``"sum"``.
        include_last_offset: ``offsets`` has one number more, (B + 1,), which is M.
        padding_idx: an index that counts as not there.

    Returns:
        of shape (B, embedding_dim); 0 for empty bags. Of equal largest numbers the first gets the gradient.

    Raises:
        TypeError: indices or offsets are not of an integer dtype; another dtype of ``per_sample_weights``.
        ValueError: shapes that do not go together; offsets that do not begin at 0, fall or reach beyond the input, as
            far as that is known without waiting for a GPU; arguments that exclude each other.
        IndexError: as for `embedding`.

    >>> import portanet
    >>> table = portanet.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]])
    >>> indices, offsets = portanet.asarray([0, 1, 2, 2]), portanet.asarray([0, 2, 2])
    >>> portanet.nn.functional.embedding_bag(indices, table, offsets, mode="sum")
    tensor([[ 4.,  6.],
            [ 0.,  0.],
            [10.,  0.]])
    """
    require_mode("embedding_bag", mode, scale_grad_by_freq)
    weight, input, offsets, factors = together("embedding_bag", weight, input, offsets, per_sample_weights)
    padding_idx = _looked_up("embedding_bag", input, weight, padding_idx, max_norm, norm_type, sparse)
    if factors is not None:
        _require_factors(factors, input, weight, mode)
    xp = namespace_of(weight)
    bags = _Bags(xp, input, offsets, include_last_offset)
    rows = xp.rows_at(weight, input, padding_idx=padding_idx, by_frequency=scale_grad_by_freq)
    if factors is not None:
        rows = rows * xp.expand_dims(factors, axis=-1)
    kept = None if padding_idx is None else xp.expand_dims(input != padding_idx, axis=-1)
    if mode == "max":
        return bags.largest(rows, kept)
    total = bags.sum(rows if kept is None else xp.where(kept, rows, xp.zeros_like(rows)))
    return total / bags.counts(rows, kept) if mode == "mean" else total


def _require_factors(factors: Any, input: Any, weight: Any, mode: str) -> None:
    if mode != "sum":
        raise ValueError(f"embedding_bag: per_sample_weights go with mode='sum' alone, not with {mode!r}.")
    require_dtype("embedding_bag", "per_sample_weights", factors, weight)
    if tuple(factors.shape) != tuple(input.shape):
        raise ValueError(
            f"embedding_bag: per_sample_weights have shape {tuple(factors.shape)}, expected that of the input, "
            f"{tuple(input.shape)}."
        )


class _Bags:
    """Which rows belong together: those along axis 1 of (B, N, D), or stretches of (M, D)."""

    def __init__(self, xp: Any, input: Any, offsets: Any, include_last_offset: bool) -> None:
        self.xp = xp
        self.bag: Any = None  # the bag of each row of a stretch
        if input.ndim == 2:
            self.count = input.shape[0]
            if offsets is not None:
                raise ValueError(
                    f"embedding_bag: offsets are for an input (M,); one of shape {tuple(input.shape)} has a bag a row."
                )
        elif input.ndim != 1:
            raise ValueError(f"embedding_bag: expected indices (B, N) or (M,), saw shape {tuple(input.shape)}.")
        else:
            starts = _starts(xp, input, offsets, include_last_offset)
            self.count = starts.shape[0]
            self.places = xp.positions(starts)
            rows = xp.positions(input)
            self.bag = xp.astype(xp.searchsorted(starts, rows, side="right"), rows.dtype) - 1

    def sum(self, rows: Any) -> Any:
        """The sum of the rows of each bag: (B, D)."""
        if self.bag is None:
            return self.xp.sum(rows, axis=1)
        return self.xp.scatter_add(self._nothing(rows), self.bag, rows)

    def counts(self, rows: Any, kept: Any) -> Any:
        """How many rows each bag has, those alone that are ``kept``; 1 where there are none: (B, 1)."""
        counts = self._counts(rows, kept)
        return self.xp.where(counts > 0, counts, self.xp.ones_like(counts))

    def largest(self, rows: Any, kept: Any) -> Any:
        """The largest of each column in each bag: (B, D)."""
        xp = self.xp
        if 0 in rows.shape:
            return self.sum(rows)
        with no_grad():
            values = rows if kept is None else xp.where(kept, rows, xp.full_like(rows, -float("inf")))
            chosen = xp.argmax(values, axis=1, keepdims=True) if self.bag is None else self._first_largest(values)
            filled = self._counts(rows, kept) > 0
        if self.bag is None:
            found = xp.squeeze(xp.take_along_axis(rows, chosen, axis=1), axis=1)
        else:
            found = xp.take_along_axis(rows, chosen, axis=0)
        return xp.where(filled, found, xp.zeros_like(found))

    def _counts(self, rows: Any, kept: Any) -> Any:
        xp = self.xp
        ones = xp.ones_like(rows[..., :1]) if kept is None else xp.astype(kept, rows.dtype)
        return self.sum(ones)

    def _nothing(self, rows: Any) -> Any:
        """Zeros (B, D), made like the rows."""
        xp = self.xp
        column = xp.expand_dims(xp.astype(xp.zeros_like(self.places), rows.dtype), axis=-1)
        # A sum, for what broadcast_to gives has all rows on the same memory, where sums would mix.
        return column + xp.zeros_like(xp.sum(rows, axis=0, keepdims=True))

    def _first_largest(self, values: Any) -> Any:
        """In which row the largest of each column of each bag is, the first of several: (B, D).

        A scan in log2(M) steps: after each, every row knows the largest of twice as many rows of its bag up to it.
        """
        xp, count = self.xp, values.shape[0]
        winner = xp.broadcast_to(xp.expand_dims(xp.positions(values), axis=-1), values.shape)
        step = 1
        while step < count:
            before, here = values[:-step, :], values[step:, :]
            same = xp.expand_dims(self.bag[step:] == self.bag[:-step], axis=-1)
            earlier = same & ((before >= here) | xp.isnan(before))
            values = xp.concat([values[:step, :], xp.where(earlier, before, here)], axis=0)
            winner = xp.concat([winner[:step, :], xp.where(earlier, winner[:-step, :], winner[step:, :])], axis=0)
            step *= 2
        last = xp.searchsorted(self.bag, self.places, side="right") - 1
        return xp.take(winner, xp.where(last < 0, xp.zeros_like(last), last), axis=0)


def _starts(xp: Any, input: Any, offsets: Any, include_last_offset: bool) -> Any:
    """Where each bag of an input (M,) begins, checked as far as no device has to be waited for."""
    if offsets is None or offsets.ndim != 1:
        seen = "none" if offsets is None else f"shape {tuple(offsets.shape)}"
        raise ValueError(
            f"embedding_bag: an input of shape {tuple(input.shape)} needs offsets (B,), where its bags begin; saw {seen}."
        )
    raw, count = raw_of(offsets), input.shape[0]
    _require_integers("embedding_bag", "offsets", raw)
    offsets = xp.astype(offsets, xp.positions(input).dtype)
    raw, length = raw_of(offsets), offsets.shape[0]
    library = namespace_of(raw)
    if length == 0 and (include_last_offset or count > 0):
        raise ValueError(f"embedding_bag: there are no offsets, but {count} indices; expected where their bags begin.")
    if library.known_outside(raw[:1], 0, 0) or library.known_outside(raw[1:] - raw[:-1], 0, count):
        raise ValueError("embedding_bag: the offsets must begin with 0 and never fall.")
    if include_last_offset and library.known_outside(raw[length - 1 :], count, count):
        raise ValueError(
            f"embedding_bag: with include_last_offset the last offset must be the number of indices, {count}; saw "
            f"{int(raw[length - 1])}."
        )
    if library.known_outside(raw, 0, count):
        raise ValueError(f"embedding_bag: the last offset is {int(raw[length - 1])}, but there are {count} indices.")
    return offsets[: length - 1] if include_last_offset else offsets
