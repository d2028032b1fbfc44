"""Batches: items put together, as arrays of the backend, device and dtype that the network is on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from portanet.backend import Backend, get_backend, use_backend
from portanet.data.dataset import Subset, TensorDataset, index_beside, length_of, random_order
from portanet.data.transport import carried, delivered, like, packed, rows_of, stays, travels
from portanet.library import HOST, is_array, operand
from portanet.namespace.creation import asarray
from portanet.namespace.manipulation import stack
from portanet.namespace.searching import take
from portanet.tensor import Tensor

__all__ = ["DataLoader", "default_collate"]


class DataLoader:
    """Goes through a dataset in batches, as often as it is iterated over.

    Args:
        dataset: anything with ``__len__`` and ``__getitem__``: a `TensorDataset`, a `Subset`, a list of pairs, ...
        batch_size: items in a batch; the last batch of an epoch has what is left.
        shuffle: a new order each epoch, from the generator: one seed, the same order on every backend.
        drop_last: leave out a last batch that is not full.
        collate_fn: makes a batch of a list of items; None is `default_collate`.
        generator: a `portanet.random.Generator`; None is the default one.
        backend: the library that batches are arrays of, as `set_backend` names it; None: the current one of each epoch.
        device: where batches go; None: the backend's device.
        dtype: what floating arrays are cast to (complex ones to the complex type of that width); None: the default
            dtype. Whole numbers and truth values keep their dtype.
        pin_memory: gather host data in page-locked memory, from which a GPU copies while it computes. It has no effect
            where the library does not do so: CuPy does.
        prefetch_factor: how many batches may be in such memory at a time; with 2, one is copied while the one before
            is computed with.
        resident: whether the arrays of a `TensorDataset`, or the rows of one that a `Subset` picks, are copied to the
            device once, in the first epoch, and every batch is gathered there. What is written to them later is then
            not seen, so ``"auto"`` does it for arrays that are read-only, such as `numpy.load(..., mmap_mode="r")`
            gives, and that take no more than an eighth of the free memory of a device which has its own. True does it
            whatever they are, and False never.

    Batches have the form of the items: tuples of Tensors of shape (batch, ...), dicts of them, or a Tensor. A
    `TensorDataset`, and a `Subset` of one, is gathered by one `take` per array and batch, never item by item, and
    where the arrays are: of arrays on a device nothing travels, not even the order, which is drawn beside them. An
    array on the host that is wanted elsewhere travels once a batch. Arrays that require a gradient stay where they
    are, and each batch is a step that gradients can go back over.

    Raises:
        ValueError: an empty dataset, ``batch_size`` or ``prefetch_factor`` below 1, another word than "auto", or items
            of different shapes (while iterating).
        TypeError: ``dataset`` lacks ``__len__`` or ``__getitem__``, or its items hold what no array can.

    >>> import portanet
    >>> x, y = portanet.asarray([[1.0], [2.0], [3.0]]), portanet.asarray([0, 1, 0])
    >>> loader = portanet.data.DataLoader(portanet.data.TensorDataset(x, y), batch_size=2)
    >>> len(loader)
    2
    >>> for inputs, labels in loader:
    ...     print(inputs.shape, labels)
    (2, 1) tensor([0, 1])
    (1, 1) tensor([0])
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        generator: Any = None,
        backend: Any = None,
        device: Any = None,
        dtype: Any = None,
        pin_memory: bool = True,
        prefetch_factor: int = 2,
        resident: bool | str = "auto",
    ) -> None:
        if length_of(dataset, "DataLoader") == 0:
            raise ValueError("DataLoader: the dataset is empty, there is nothing to go through.")
        for name, count in (("batch_size", batch_size), ("prefetch_factor", prefetch_factor)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(f"DataLoader: {name}={count!r}; it must be a whole number of at least 1.")
        if not isinstance(resident, bool) and resident != "auto":
            raise ValueError(f"DataLoader: resident={resident!r}; it must be True, False or 'auto'.")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.generator = generator
        self.pin_memory = pin_memory
        self.prefetch_factor = prefetch_factor
        self.resident = resident
        self._kept: _Kept | None = None
        self._place = (backend, device, dtype)
        _target(*self._place)  # a backend that is not there is found now, not in the first epoch

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        target = _target(*self._place)
        ahead = self.prefetch_factor if self.pin_memory else 0
        tensors, picked = _tensors_of(self.dataset) if self.collate_fn is None else (None, None)
        if tensors is None:
            order = random_order(len(self.dataset), self.generator) if self.shuffle else None
            batches = self._collated(order, target)
            return batches if target.name == HOST else delivered(batches, target, ahead)
        tensors, index = self._standing(tensors, picked, target)
        order = random_order(len(self.dataset), self.generator, tensors[0]) if self.shuffle else None
        if index is not None:
            order = index if order is None else take(index, order)
        batches = self._gathered(tensors, order, target)
        return delivered(batches, target, ahead) if any([travels(x, target) for x in tensors]) else batches

    def _standing(
        self, tensors: tuple[Tensor, ...], picked: list[int] | None, target: Backend
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The arrays that this epoch gathers from, and which of their rows, as an array beside the first: None for all.

        They are those of the last epoch, unless other ones are asked for.
        """
        if self._kept is None or not self._kept.are(tensors, picked, target):
            self._kept = None  # first, so that the memory of old copies is there for the new ones
            self._kept = _Kept(tensors, picked, target, self.resident)
        return self._kept.tensors, self._kept.index

    def _spans(self) -> Iterator[tuple[int, int]]:
        """The places of each batch, one by one: a list of them would be as long as the dataset for batches of one."""
        count, size = len(self.dataset), self.batch_size
        for k in range(len(self)):
            yield size * k, min(size * (k + 1), count)

    def _gathered(self, tensors: tuple[Tensor, ...], order: Tensor | None, target: Backend) -> Iterator[Any]:
        """Whole batches by one call per array; the order is carried to each array once an epoch."""
        keys = [None if order is None else index_beside(order, x) for x in tensors]
        leaving = [travels(x, target) for x in tensors]
        for start, stop in self._spans():
            batch: list[Any] = []
            for x, key, leaves in zip(tensors, keys, leaving, strict=True):
                if leaves:
                    batch.append(rows_of(x, slice(start, stop) if key is None else key[start:stop].array, target))
                    continue
                rows = x[(slice(start, stop), *_rest(x))] if key is None else take(x, key[start:stop], axis=0)
                batch.append(carried(rows, target))
            yield tuple(batch)

    def _collated(self, order: Tensor | None, target: Backend) -> Iterator[Any]:
        """Batches put together from items."""
        for start, stop in self._spans():
            chosen = list(range(start, stop)) if order is None else order[start:stop].tolist()
            items = [self.dataset[place] for place in chosen]
            # What is made of Python numbers belongs to the target; not around the yield, where it would leak out.
            with use_backend(target, dtype=target.dtype):
                batch = default_collate(items, chosen) if self.collate_fn is None else self.collate_fn(items)
            yield packed(batch, target)


def _rest(x: Tensor) -> tuple[slice, ...]:
    return (slice(None),) * (x.ndim - 1)


def _tensors_of(dataset: Any) -> tuple[tuple[Tensor, ...] | None, list[int] | None]:
    """The arrays under a `TensorDataset`, or under subsets of one together with the rows they pick; else None."""
    picked: list[int] | None = None
    # Exactly these classes: one that inherits may have items of its own.
    while type(dataset) is Subset:
        picked = dataset.indices if picked is None else [dataset.indices[i] for i in picked]
        dataset = dataset.dataset
    return (dataset.tensors, picked) if type(dataset) is TensorDataset else (None, None)


class _Kept:
    """What an epoch has for the next one: the arrays where batches are gathered, and the rows that a subset picks."""

    def __init__(
        self, tensors: tuple[Tensor, ...], picked: list[int] | None, target: Backend, resident: bool | str
    ) -> None:
        self.target = target
        # The raw arrays too: writing to a Tensor gives it another one.
        self.source = [(x, x.array) for x in tensors]
        self.picked = None if picked is None else list(picked)
        self.tensors, self.index = tensors, None
        staying = stays(tensors, len(tensors[0] if picked is None else picked), target, resident)
        if picked is not None:
            with use_backend(HOST):
                index = asarray(picked)
            if staying:  # only these rows go there
                tensors = tuple([take(x, index_beside(index, x), axis=0) for x in tensors])
            else:
                self.index = index_beside(index, tensors[0])
        if staying:
            self.tensors = tuple([carried(x, target) for x in tensors])

    def are(self, tensors: tuple[Tensor, ...], picked: list[int] | None, target: Backend) -> bool:
        """Whether these are the arrays, rows and target that all this was made for."""
        same = len(tensors) == len(self.source) and all(
            [x is y and x.array is raw for x, (y, raw) in zip(tensors, self.source, strict=True)]
        )
        return same and picked == self.picked and target == self.target


def _target(backend: Any, device: Any, dtype: Any) -> Backend:
    """Where batches go."""
    if backend is None:
        backend = get_backend()
    if isinstance(backend, Backend):
        backend, device = backend.library, backend.device if device is None else device
    with use_backend(backend, device=device, dtype=dtype) as target:
        return target


# ---------------------------------------------------------------------------------------------------------------------
# Items to a batch.


def default_collate(items: Sequence[Any], indices: Sequence[int] | None = None) -> Any:
    """One batch of a list of items of the same form.

    Args:
        items: numbers become an array of shape (batch,), arrays of shape s one of shape (batch, *s); tuples, lists
            and named tuples become tuples of batches, dicts become dicts of batches, strings stay a list.
        indices: the items' places in the dataset, for messages; None: their places in the batch.

    Raises:
        ValueError: items of different shapes, lengths or keys; the message names the items.
        TypeError: items that hold something else.

    >>> import portanet
    >>> portanet.data.default_collate([(1.0, 2), (3.0, 4)])
    (tensor([1., 3.]), tensor([2, 4]))
    >>> portanet.data.default_collate([{"x": 1.0}, {"x": 2.0}])
    {'x': tensor([1., 2.])}
    """
    if not items:
        raise ValueError("default_collate: no items.")
    return _batch_of(list(items), list(range(len(items)) if indices is None else indices), "")


def _batch_of(items: list[Any], indices: list[int], where: str) -> Any:
    first = items[0]
    if _is_number(first):
        _agree(items, indices, where, "numbers", _is_number)
        return asarray([operand(item) for item in items])
    if isinstance(first, str):
        return items
    if isinstance(first, Mapping):
        _agree(items, indices, where, f"dicts with the keys {list(first)}", lambda item: _keys(item) == set(first))
        return {key: _batch_of([item[key] for item in items], indices, f"{where}[{key!r}]") for key in first}
    if isinstance(first, (tuple, list)):
        count = len(first)
        _agree(items, indices, where, f"{type(first).__name__}s of {count}", lambda item: _count(item) == count)
        parts = [_batch_of([item[k] for item in items], indices, f"{where}[{k}]") for k in range(count)]
        return like(first, parts) if hasattr(first, "_fields") else tuple(parts)
    if is_array(first):
        shape = tuple(first.shape)
        _agree(items, indices, where, f"arrays of shape {shape}", lambda item: is_array(item) and item.shape == shape)
        return stack([item if isinstance(item, Tensor) else Tensor(item) for item in items])
    raise TypeError(
        f"item {indices[0]}{where} is a {type(first).__name__}; a batch is made of numbers, arrays, strings, tuples, "
        "lists and dicts. Give collate_fn= to put others together."
    )


def _agree(items: list[Any], indices: list[int], where: str, expected: str, fits: Callable[[Any], bool]) -> None:
    for item, index in zip(items, indices, strict=True):
        if not fits(item):
            raise ValueError(
                f"items of one batch differ: item {indices[0]}{where} is one of {expected}, item {index}{where} is "
                f"{_described(item)}. Make them alike in the dataset, or give collate_fn=."
            )


def _is_number(item: Any) -> bool:
    """Whether this is a Python number, or a NumPy scalar that stands for one."""
    return isinstance(operand(item), (bool, int, float, complex))


def _described(item: Any) -> str:
    if is_array(item):
        return f"an array of shape {tuple(item.shape)}"
    if isinstance(item, Mapping):
        return f"a dict with the keys {list(item)}"
    if isinstance(item, (tuple, list)):
        return f"a {type(item).__name__} of {len(item)}"
    return f"a {type(item).__name__}"


def _keys(item: Any) -> set[Any] | None:
    return set(item) if isinstance(item, Mapping) else None


def _count(item: Any) -> int | None:
    return len(item) if isinstance(item, (tuple, list)) else None
