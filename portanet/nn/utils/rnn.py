"""Batches of sequences of several lengths: padded to the longest, or packed one step after another without padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from portanet.library import device_of, namespace_of
from portanet.namespace import asarray, concat, permute_dims, reshape, stack, take
from portanet.nn.functional._constants import constant_like
from portanet.nn.functional._recurrence import host_lengths
from portanet.tensor import Tensor

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class PackedSequence(NamedTuple):
    """Sequences of several lengths without padding: all first steps, then all second steps, and so on, in each the longer
    sequences before the shorter ones. `pack_padded_sequence` and `pack_sequence` make it; recurrent layers take it.

    How many and which are whole numbers of the host, for they decide on shapes: tuples here, where PyTorch has tensors.

    Args:
        data: the steps, of shape (sum of the lengths, ...).
        batch_sizes: for each time, how many sequences have a step then.
        sorted_indices: for each place in a step, the sequence that stands there; None: they were in this order.
        unsorted_indices: for each sequence its place: the inverse.

    >>> import portanet
    >>> rnn = portanet.nn.utils.rnn
    >>> rnn.pack_sequence([portanet.asarray([1, 2, 3]), portanet.asarray([4])])
    PackedSequence(data=tensor([1, 4, 2, 3]), batch_sizes=(2, 1, 1), sorted_indices=None, unsorted_indices=None)
    """

    data: Tensor
    batch_sizes: tuple[int, ...]
    sorted_indices: tuple[int, ...] | None = None
    unsorted_indices: tuple[int, ...] | None = None

    def lengths(self) -> list[int]:
        """The lengths of the sequences, in the order in which they were packed."""
        found = [0] * self.batch_sizes[0]
        for size in self.batch_sizes:
            for place in range(size):
                found[place] += 1
        return found if self.unsorted_indices is None else [found[k] for k in self.unsorted_indices]

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with ``data`` elsewhere or of another dtype: see `Tensor.to`."""
        return self._replace(data=self.data.to(*args, **kwargs))


def invert_permutation(permutation: Sequence[int] | None) -> tuple[int, ...] | None:
    """The permutation that undoes another: of whole numbers of the host. None stays None.

    >>> import portanet
    >>> portanet.nn.utils.rnn.invert_permutation((2, 0, 1))
    (1, 2, 0)
    """
    if permutation is None:
        return None
    return tuple(sorted(range(len(permutation)), key=lambda k: permutation[k]))


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack sequences that are padded to one length. Gradients pass.

    Args:
        input: of shape (T, N, ...), or (N, T, ...) where ``batch_first``.
        lengths: how many steps each of the N sequences has, from 1 to T: whole numbers, or an array of them.
        batch_first: whether the batch is the first axis.
        enforce_sorted: whether the lengths must not grow from one sequence to the next; without it they are sorted here.

    Raises:
        ValueError: lengths that are not those of the input, or not sorted where they must be.

    >>> import portanet
    >>> x = portanet.asarray([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
    >>> packed = portanet.nn.utils.rnn.pack_padded_sequence(x, [2, 1, 3], batch_first=True, enforce_sorted=False)
    >>> packed.data, packed.batch_sizes, packed.sorted_indices
    (tensor([4, 1, 3, 5, 2, 6]), (3, 2, 1), (2, 0, 1))
    """
    x = input if isinstance(input, Tensor) else asarray(input)
    name = "pack_padded_sequence"
    if x.ndim < 2:
        raise ValueError(f"{name}: the input must have an axis of time and one of the batch, saw shape {x.shape}.")
    batch, steps = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
    found = host_lengths(name, lengths, batch, steps)
    if not found:
        raise ValueError(f"{name}: there is no sequence (shape {x.shape}).")
    order: tuple[int, ...] | None = None
    if not enforce_sorted:
        order = tuple(sorted(range(batch), key=lambda k: -found[k]))
        found = [found[k] for k in order]
    elif any([found[k] < found[k + 1] for k in range(batch - 1)]):
        raise ValueError(f"{name}: the lengths {found} grow; sort the sequences, or pass enforce_sorted=False.")
    sizes = tuple([sum([n > t for n in found]) for t in range(found[0])])
    shape = PackedSequence(x, sizes, order, invert_permutation(order))
    return repacked(shape, x, batch_first)


def repacked(like: PackedSequence, x: Any, batch_first: bool = False) -> PackedSequence:
    """The padded x (T, N, ...) packed as ``like`` is, whose own data do not matter."""
    steps, batch = (x.shape[1], x.shape[0]) if batch_first else x.shape[:2]
    order = like.sorted_indices or range(batch)
    flat = reshape(x, (steps * batch, *x.shape[2:]))
    rows = [
        order[k] * steps + t if batch_first else t * batch + order[k]
        for t, size in enumerate(like.batch_sizes)
        for k in range(size)
    ]
    return like._replace(data=take(flat, constant_like(flat, rows), axis=0))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Unpack sequences, and pad them to one length. Gradients pass.

    Args:
        sequence: what `pack_padded_sequence`, `pack_sequence` or a recurrent layer has returned.
        batch_first: whether the result is (N, T, ...) instead of (T, N, ...).
        padding_value: what stands behind the ends.
        total_length: T; None: the length of the longest.

    Returns:
        the padded sequences in the order in which they were packed, and their lengths (N,).

    Raises:
        ValueError: a sequence is longer than ``total_length``.

    >>> import portanet
    >>> rnn = portanet.nn.utils.rnn
    >>> packed = rnn.pack_sequence([portanet.asarray([1]), portanet.asarray([2, 3])], enforce_sorted=False)
    >>> rnn.pad_packed_sequence(packed, batch_first=True, padding_value=9)
    (tensor([[1, 9],
            [2, 3]]), tensor([1, 2]))
    """
    _require_packed("pad_packed_sequence", sequence)
    steps = len(sequence.batch_sizes)
    if total_length is not None and total_length < steps:
        raise ValueError(f"pad_packed_sequence: total_length={total_length}, but a sequence has {steps} steps.")
    steps = steps if total_length is None else total_length
    data, batch = sequence.data, sequence.batch_sizes[0]
    nothing = data.shape[0]  # the row behind the last: what pads
    rows = [[nothing] * batch for _ in range(steps)]
    order, first = sequence.sorted_indices or range(batch), 0
    for t, size in enumerate(sequence.batch_sizes):
        for k in range(size):
            rows[t][order[k]] = first + k
        first += size
    if batch_first:
        rows = [[row[n] for row in rows] for n in range(batch)]
    flat = [row for one in rows for row in one]
    padding = _padding(data, (1, *data.shape[1:]), padding_value)
    found = take(concat([data, padding]), constant_like(data, flat), axis=0)
    return reshape(found, (len(rows), len(rows[0]), *data.shape[1:])), constant_like(data, sequence.lengths())


def pad_sequence(
    sequences: Iterable[Any], batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences of several lengths as one array, the shorter ones padded. Gradients pass.

    Args:
        sequences: arrays of shapes (T, ...), each with a T of its own.
        batch_first: whether the result is (N, T, ...) instead of (T, N, ...).
        padding_value: what stands behind the ends.
        padding_side: ``"right"``, or ``"left"`` for padding in front.

    Raises:
        ValueError: no sequences, or shapes that differ behind the first axis; another side.

    >>> import portanet
    >>> a, b = portanet.asarray([1, 2, 3]), portanet.asarray([4])
    >>> portanet.nn.utils.rnn.pad_sequence([a, b], batch_first=True)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    found = [x if isinstance(x, Tensor) else asarray(x) for x in sequences]
    if padding_side not in ("left", "right"):
        raise ValueError(f"pad_sequence: padding_side={padding_side!r}; expected 'left' or 'right'.")
    shapes = [x.shape for x in found]
    if not found or any([len(shape) == 0 or shape[1:] != shapes[0][1:] for shape in shapes]):
        raise ValueError(f"pad_sequence: shapes {shapes}; expected some, which differ in the first axis alone.")
    steps = max([shape[0] for shape in shapes])
    padded = []
    for x in found:
        parts = [x, _padding(x, (steps - x.shape[0], *x.shape[1:]), padding_value)]
        padded.append(concat(parts if padding_side == "right" else parts[::-1]))
    return stack(padded, axis=0 if batch_first else 1)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """`pad_sequence` undone: the sequences of a padded batch, each of its own length.

    >>> import portanet
    >>> x = portanet.asarray([[1, 2, 3], [4, 0, 0]])
    >>> portanet.nn.utils.rnn.unpad_sequence(x, [3, 1], batch_first=True)
    [tensor([1, 2, 3]), tensor([4])]
    """
    x = padded_sequences if isinstance(padded_sequences, Tensor) else asarray(padded_sequences)
    if not batch_first:
        x = permute_dims(x, (1, 0, *range(2, x.ndim)))
    found = host_lengths("unpad_sequence", lengths, x.shape[0], x.shape[1])
    return [x[n, :length, ...] for n, length in enumerate(found)]


def pack_sequence(sequences: Iterable[Any], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences (T, ...), each with a T > 0 of its own: see `pack_padded_sequence`.

    >>> import portanet
    >>> portanet.nn.utils.rnn.pack_sequence([portanet.asarray([1, 2]), portanet.asarray([3])]).data
    tensor([1, 3, 2])
    """
    given = list(sequences)
    lengths = [x.shape[0] for x in given]
    return pack_padded_sequence(pad_sequence(given), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """`pack_sequence` undone: the sequences one by one, in the order in which they were packed.

    >>> import portanet
    >>> rnn = portanet.nn.utils.rnn
    >>> rnn.unpack_sequence(rnn.pack_sequence([portanet.asarray([1, 2]), portanet.asarray([3])]))
    [tensor([1, 2]), tensor([3])]
    """
    _require_packed("unpack_sequence", packed_sequences)
    padded, _ = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, packed_sequences.lengths(), batch_first=True)


def _require_packed(name: str, sequence: Any) -> None:
    if not isinstance(sequence, PackedSequence):
        raise TypeError(f"{name}: expected a PackedSequence, saw {type(sequence).__name__}; pack_sequence makes one.")


def _padding(like: Tensor, shape: tuple[int, ...], value: float) -> Tensor:
    raw = like._raw
    xp = namespace_of(raw)
    number = value if "floating" in like.dtype.kind else int(value)
    return Tensor(xp.full(shape, number, dtype=raw.dtype, device=device_of(raw)))
