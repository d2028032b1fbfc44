"""Datasets: anything with a length and items, and how to cut it in parts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from portanet import random
from portanet.backend import use_backend
from portanet.library import HOST, is_array, namespace_of
from portanet.namespace.creation import asarray
from portanet.namespace.searching import take
from portanet.tensor import Tensor, moved

__all__ = ["Dataset", "Subset", "TensorDataset", "random_split"]


@runtime_checkable
class Dataset(Protocol):
    """What a `DataLoader` can read: anything with ``len(dataset)`` and ``dataset[i]`` for 0 <= i < len(dataset).

    A list is one. A class need not inherit from this one, but may, to say what it is.

    >>> import portanet
    >>> class Squares(portanet.data.Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return float(index), float(index**2)
    >>> for x, y in portanet.data.DataLoader(Squares(), batch_size=2):
    ...     print(x.tolist(), y.tolist())
    [0.0, 1.0] [0.0, 1.0]
    [2.0, 3.0] [4.0, 9.0]
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class TensorDataset:
    """Arrays side by side: item i is the tuple of their i-th rows.

    Args:
        tensors: arrays of any libraries, or lists of numbers, all with the same first length n.

    They stay where they are; a `DataLoader` carries each batch to where it is wanted, and gathers it by one call.

    Raises:
        ValueError: no arrays, one without axes, or first lengths that differ.

    >>> import portanet
    >>> data = portanet.data.TensorDataset(portanet.asarray([[1.0], [2.0], [3.0]]), portanet.asarray([0, 1, 0]))
    >>> len(data)
    3
    >>> data[1]
    (tensor([2.]), tensor(1))
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ValueError("TensorDataset: no arrays; give at least one.")
        self.tensors: tuple[Tensor, ...] = tuple([_as_tensor(x) for x in tensors])
        shapes = [x.shape for x in self.tensors]
        if any([len(shape) == 0 for shape in shapes]):
            raise ValueError(f"TensorDataset: array {shapes.index(())} has no axes; its first axis counts the items.")
        if len({shape[0] for shape in shapes}) > 1:
            listed = ", ".join([str(shape) for shape in shapes])
            raise ValueError(f"TensorDataset: the arrays' first lengths differ, their shapes are {listed}.")

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        """Row ``index`` of each array; a slice or a whole-number array of indices gives many rows at once."""
        if isinstance(index, slice):
            return tuple([x[(index, *[slice(None)] * (x.ndim - 1))] for x in self.tensors])
        if is_array(index) and index.ndim == 1:
            index = _as_tensor(index)
            return tuple([take(x, index_beside(index, x), axis=0) for x in self.tensors])
        place = int(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"item {place} of a TensorDataset of {len(self)}.")
        return tuple([x[(place, *[slice(None)] * (x.ndim - 1))] for x in self.tensors])


def _as_tensor(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    return Tensor(x) if is_array(x) else asarray(x)


def index_beside(index: Tensor, x: Tensor) -> Tensor:
    """The index array in the library and on the device of the array that it picks from."""
    return moved(index, namespace_of(x.array), x.device)


class Subset:
    """Some items of a dataset, in the order of ``indices``.

    Args:
        dataset: anything with ``__len__`` and ``__getitem__``.
        indices: whole numbers, as a sequence or a one-dimensional array; negative ones count from the end.

    Raises:
        IndexError: an index that the dataset does not have.

    >>> import portanet
    >>> part = portanet.data.Subset(["a", "b", "c"], [2, 0])
    >>> part[0], len(part)
    ('c', 2)
    """

    def __init__(self, dataset: Any, indices: Any) -> None:
        count = length_of(dataset, "Subset")
        self.dataset = dataset
        self.indices: list[int] = []
        for index in _as_tensor(indices).tolist() if is_array(indices) else indices:
            if isinstance(index, (bool, float)):
                raise TypeError(f"Subset: index {index!r} is not a whole number; give positions, not a mask.")
            if not -count <= index < count:
                raise IndexError(f"Subset: index {index} of a dataset of {count} items.")
            self.indices.append(int(index) % count)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self.indices[index]]


def length_of(dataset: Any, who: str) -> int:
    """The number of items, or TypeError where this is no dataset."""
    if isinstance(dataset, Mapping):
        raise TypeError(f"{who}: a {type(dataset).__name__} is no dataset; TensorDataset(*columns.values()) makes one.")
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise TypeError(
            f"{who}: a dataset needs __len__ and __getitem__, and {type(dataset).__name__} lacks one; "
            "list(...) makes one of an iterable."
        )
    return len(dataset)


def random_split(dataset: Any, lengths: Sequence[float], generator: Any = None) -> list[Subset]:
    """Cut a dataset at random into parts that share no item.

    Args:
        dataset: anything with ``__len__`` and ``__getitem__``, of n items.
        lengths: how many items each part gets, adding up to n; or fractions, adding up to 1: each part then gets
            its fraction of n rounded down, and what is left is dealt out one by one, from the first part on.
        generator: a `portanet.random.Generator`; None is the default one. The same seed gives the same parts on
            every backend.

    Raises:
        ValueError: lengths that do not add up to n (or 1), or a negative one.

    >>> import portanet
    >>> train, test = portanet.data.random_split(range(10), [0.8, 0.2], generator=portanet.random.Generator(0))
    >>> len(train), len(test), sorted([*train, *test]) == list(range(10))
    (8, 2, True)
    """
    count = length_of(dataset, "random_split")
    if any([length < 0 for length in lengths]):
        raise ValueError(f"random_split: lengths {list(lengths)} include a negative one.")
    sizes = _sizes(count, lengths)
    order = random_order(count, generator).tolist()
    ends = list(itertools.accumulate(sizes))
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def _sizes(count: int, lengths: Sequence[float]) -> list[int]:
    if all([float(length).is_integer() for length in lengths]) and sum(lengths) == count:
        return [int(length) for length in lengths]
    if not math.isclose(sum(lengths), 1.0):
        raise ValueError(
            f"random_split: lengths {list(lengths)} add up to {sum(lengths)}; numbers of items must add up to "
            f"{count}, the length of the dataset, and fractions to 1."
        )
    # 100 * 0.29 is 28.999999999999996: without the hair above, that part would lose an item.
    sizes = [math.floor(count * length + 1e-9) for length in lengths]
    for k in range(count - sum(sizes)):
        sizes[k % len(sizes)] += 1
    return sizes


def random_order(count: int, generator: Any = None, beside: Tensor | None = None) -> Tensor:
    """0, 1, ..., count - 1 shuffled: drawn where the array ``beside`` is, so that no order travels to a device.

    With None it is in host memory whatever the current backend: items are fetched from there.
    """
    chosen = random.default_generator if generator is None else generator
    if not hasattr(chosen, "permutation"):
        raise TypeError(f"generator= is a {type(chosen).__name__}; give a portanet.random.Generator(seed).")
    library, device = (HOST, None) if beside is None else (namespace_of(beside.array), beside.device)
    with use_backend(library, device=device):
        order: Tensor = chosen.permutation(count)
    return order
