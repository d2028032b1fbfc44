"""Batches of the wanted library, device and dtype, in an order that no backend changes."""

from __future__ import annotations

from collections import namedtuple

import numpy
import pytest

import portanet
from portanet.data import DataLoader, Subset, TensorDataset, default_collate, random_split
from portanet.random import Generator
from portanet.tensor import Tensor


def numbered(count: int) -> TensorDataset:
    return TensorDataset(numpy.arange(2.0 * count).reshape(count, 2), numpy.arange(count))


class Items:
    """The same rows, but to be fetched one by one."""

    def __init__(self, count: int) -> None:
        self.data = numbered(count)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> object:
        return self.data[index]


def is_here(x: Tensor, backend: portanet.backend.Backend) -> bool:
    expected = portanet.zeros(1)
    return type(x.array) is type(expected.array) and x.device == expected.device


@pytest.mark.parametrize("make", [numbered, Items])
def test_batches_are_of_the_current_backend_and_the_default_dtype(make, backend):
    for x, y in DataLoader(make(5), batch_size=2):
        assert is_here(x, backend) and is_here(y, backend)
        assert x.dtype == portanet.float32
        assert y.dtype == portanet.int64


@pytest.mark.parametrize("make", [numbered, Items])
def test_every_item_comes_once_in_order(make, backend):
    batches = list(DataLoader(make(5), batch_size=2))
    assert [y.tolist() for _, y in batches] == [[0, 1], [2, 3], [4]]
    assert [x.tolist() for x, _ in batches] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9]]]
    assert isinstance(batches[0], tuple)


@pytest.mark.parametrize("make", [numbered, Items])
def test_shuffled_rows_stay_together_and_change_each_epoch(make, backend):
    loader = DataLoader(make(40), batch_size=16, shuffle=True, generator=Generator(0))
    epochs = []
    for _ in range(2):
        x, y = [numpy.concatenate([part.numpy() for part in parts]) for parts in zip(*loader, strict=True)]
        assert sorted(y.tolist()) == list(range(40))
        assert x.tolist() == [[2 * i, 2 * i + 1] for i in y.tolist()]
        epochs.append(y.tolist())
    assert epochs[0] != epochs[1]
    assert epochs[0] != sorted(epochs[0])


def test_one_seed_is_one_order_on_every_backend_and_by_either_path(backend):
    def order(make):
        return [y.tolist() for _, y in DataLoader(make(30), 7, shuffle=True, generator=Generator(5))]

    here, one_by_one = order(numbered), order(Items)
    with portanet.use_backend("numpy"):
        assert order(numbered) == here == one_by_one


def test_the_default_generator_shuffles_where_none_is_given():
    portanet.random.default_generator.set_state(Generator(9).get_state())
    drawn = [y.tolist() for _, y in DataLoader(numbered(30), 30, shuffle=True)]
    assert drawn == [y.tolist() for _, y in DataLoader(numbered(30), 30, shuffle=True, generator=Generator(9))]


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [3, 3, 1]), (True, [3, 3])])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_last_batch(drop_last, sizes, shuffle):
    loader = DataLoader(numbered(7), 3, shuffle, drop_last=drop_last)
    assert len(loader) == len(sizes)
    assert [y.shape[0] for _, y in loader] == sizes


def test_parts_of_a_split_are_gathered_too(backend):
    train, rest = random_split(numbered(20), [0.5, 0.5], generator=Generator(2))
    inner = Subset(train, [3, 1, 4])
    (batch,) = DataLoader(inner, batch_size=3)
    assert batch[1].tolist() == [train.indices[i] for i in (3, 1, 4)]
    assert batch[0].tolist() == [[2 * i, 2 * i + 1] for i in batch[1].tolist()]
    seen = [int(i) for part in (train, rest) for _, y in DataLoader(part, 4, shuffle=True) for i in y.tolist()]
    assert sorted(seen) == list(range(20))


def test_a_tensor_dataset_is_never_read_item_by_item(monkeypatch):
    def refuse(self, index):
        raise AssertionError("an item was fetched by itself")

    monkeypatch.setattr(TensorDataset, "__getitem__", refuse)
    for shuffle in (False, True):
        assert len(list(DataLoader(numbered(6), 4, shuffle))) == 2
    assert len(list(DataLoader(Subset(numbered(6), [0, 2, 4]), 2, shuffle=True))) == 2


def test_a_dataset_that_inherits_keeps_its_own_items():
    class Doubled(TensorDataset):
        def __getitem__(self, index):
            return tuple([2 * x for x in super().__getitem__(index)])

    ((x,),) = DataLoader(Doubled([1.0, 2.0]), 2)
    assert x.tolist() == [2.0, 4.0]


def test_a_chosen_dtype_device_and_backend(backend):
    x, y = next(iter(DataLoader(numbered(2), 2, dtype=portanet.float64)))
    assert x.dtype == portanet.float64 and y.dtype == portanet.int64
    device = portanet.zeros(1).device
    with portanet.use_backend("numpy"):
        loader = DataLoader(numbered(2), 2, backend=backend, device=device)
        items = DataLoader(Items(2), 2, backend=backend, device=device)
    for x, y in [*loader, *items]:
        assert is_here(x, backend) and is_here(y, backend)
        assert x.dtype == portanet.float32


def test_the_backend_is_that_of_the_epoch(backend):
    with portanet.use_backend("numpy"):
        loader = DataLoader(numbered(2), 2)
    ((x, _),) = loader
    assert is_here(x, backend)


def test_the_backend_does_not_leak_out_between_batches():
    loader = DataLoader(Items(4), 2, backend="array_api_strict")
    for _ in loader:
        assert portanet.get_backend().name == "numpy"


def test_complex_and_whole_numbers(backend):
    z = numpy.asarray([1 + 2j, 3 - 1j])
    data = TensorDataset(z, numpy.asarray([1, 2], dtype=numpy.uint8), numpy.asarray([True, False]))
    ((a, b, c),) = DataLoader(data, 2)
    assert a.dtype == portanet.complex64 and a.tolist() == z.tolist()
    assert b.dtype == portanet.uint8 and c.dtype == portanet.bool


def test_the_data_are_not_touched(backend):
    source = numpy.arange(6.0)
    data = TensorDataset(source)
    for (x,) in DataLoader(data, 2):
        x[0] = 100.0
    assert source.tolist() == [0, 1, 2, 3, 4, 5]


def test_dicts_lists_and_numbers(backend):
    rows = [{"x": numpy.asarray([1.0, 2.0]), "label": 1}, {"x": numpy.asarray([3.0, 4.0]), "label": 0}]
    (batch,) = DataLoader(rows, 2)
    assert list(batch) == ["x", "label"]
    assert is_here(batch["x"], backend) and batch["x"].dtype == portanet.float32
    assert batch["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]] and batch["label"].tolist() == [1, 0]
    (numbers,) = DataLoader([1.5, 2.5], 2)
    assert numbers.tolist() == [1.5, 2.5] and numbers.dtype == portanet.float32


def test_collate_by_the_form_of_the_items(backend):
    Pair = namedtuple("Pair", "x y")
    batch = default_collate([Pair(1.0, "a"), Pair(2.0, "b")])
    assert isinstance(batch, Pair) and batch.x.tolist() == [1.0, 2.0] and batch.y == ["a", "b"]
    nested = default_collate([(1, {"z": [True, 2j]}), (3, {"z": [False, 4j]})])
    assert nested[0].tolist() == [1, 3]
    assert nested[1]["z"][0].tolist() == [True, False] and nested[1]["z"][1].tolist() == [2j, 4j]
    scalars = default_collate([numpy.float64(0.5), numpy.float64(1.5)])
    assert scalars.tolist() == [0.5, 1.5] and scalars.dtype == portanet.float32
    assert default_collate([portanet.asarray(1.0), portanet.asarray(2.0)]).tolist() == [1.0, 2.0]


def test_an_own_collate_gets_the_items_and_its_arrays_are_placed(backend):
    loader = DataLoader([3, 4, 5], 2, collate_fn=lambda items: {"sum": numpy.asarray(sum(items) + 0.5), "raw": items})
    first, second = loader
    assert first["raw"] == [3, 4] and second["raw"] == [5]
    assert is_here(first["sum"], backend) and first["sum"].item() == 7.5 and first["sum"].dtype == portanet.float32


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([numpy.zeros(2), numpy.zeros(2), numpy.zeros(3)], r"item 0 is one of arrays of shape \(2,\), item 2 .*\(3,\)"),
        ([(1.0, 2), (1.0, 2), (1.0,)], "item 2 is a tuple of 1"),
        (
            [(numpy.zeros(2), 1), (numpy.zeros(2), 1), (numpy.zeros((2, 2)), 1)],
            r"item 2\[0\] is an array of shape \(2, 2\)",
        ),
        ([{"x": 1}, {"x": 1}, {"y": 1}], r"item 2 is a dict with the keys \['y'\]"),
        ([1.0, 2.0, None], "item 2 is a NoneType"),
    ],
)
def test_items_that_differ_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        next(iter(DataLoader(rows, 3)))
    # A first item that no batch is made of is of a wrong type; a later one differs from the first.
    with pytest.raises((ValueError, TypeError), match=r"item 0|item 2"):
        list(DataLoader(rows, 3, shuffle=True))


def test_items_without_arrays_are_refused():
    with pytest.raises(TypeError, match=r"item 0 is a object"):
        next(iter(DataLoader([object()], 1)))


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
def test_batch_size_must_be_a_whole_number(size):
    with pytest.raises(ValueError, match=r"batch_size"):
        DataLoader([1, 2], size)


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match=r"empty"):
        DataLoader([])
    with pytest.raises(TypeError, match=r"__len__"):
        DataLoader(iter([1]))
    with pytest.raises(TypeError, match=r"dict"):
        DataLoader({"x": [1.0]})


def test_a_backend_that_is_not_there_is_found_at_once():
    with pytest.raises(ValueError, match=r"not known"):
        DataLoader([1], backend="numpie")


def test_gradients_go_back_to_the_data(backend):
    x = portanet.asarray([1.0, 2.0, 3.0]).requires_grad_()
    for (batch,) in DataLoader(TensorDataset(x), 2, shuffle=True):
        portanet.sum(batch * batch).backward()
    assert x.grad.tolist() == [2.0, 4.0, 6.0]
