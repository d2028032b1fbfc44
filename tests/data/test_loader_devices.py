"""How batches come to the device: what travels and how often, what stays there, and that it is the same data always."""

from __future__ import annotations

import contextlib
import functools
from collections import namedtuple

import numpy
import pytest

import portanet
from portanet import library
from portanet.data import DataLoader, Subset, TensorDataset
from portanet.data.dataset import random_order
from portanet.random import Generator

WAYS = {
    "as it comes": {},
    "pageable": {"pin_memory": False},
    "one buffer": {"prefetch_factor": 1},
    "three buffers": {"prefetch_factor": 3},
    "resident": {"resident": True},
}
HERE = ("numpy", "numpy_readonly")


def host_data(count: int) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """An array to be cast, one to be taken as it is, and one of bytes."""
    rng = numpy.random.default_rng(count)
    return rng.normal(size=(count, 3)), numpy.arange(count), rng.integers(0, 256, (count, 2, 2), dtype=numpy.uint8)


def on_device(count: int) -> TensorDataset:
    return TensorDataset(
        *[portanet.asarray(x, dtype=portanet.float32 if x.ndim == 2 else None) for x in host_data(count)]
    )


def listed(batches: object) -> list[list[object]]:
    return [[x.tolist() for x in batch] for batch in batches]


def read_only(x: numpy.ndarray) -> numpy.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.fixture
def journeys(monkeypatch, backend):
    """A list of all that is carried from one library to another."""
    if backend.name in HERE:
        pytest.skip("the device is the host")
    if backend.name == "cupy":
        pytest.skip("CuPy carries by functions of its own, written in C")
    found: list[tuple[int, ...]] = []

    def counted(owner: object, name: str, travels: object) -> None:
        original = getattr(owner, name)

        def counting(x, *args, **options):
            if travels(x, *args):
                found.append(tuple(x.shape))
            return original(x, *args, **options)

        monkeypatch.setattr(owner, name, counting)

    counted(library, "to_numpy", lambda x: not isinstance(x, numpy.ndarray))
    counted(library, "move", lambda x, to, *_: library.namespace_of(x) is not to)
    counted(backend.library, "from_host", lambda x, *_: True)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# The same batches.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_way_gives_the_same_batches(way, shuffle, backend):
    options = {"batch_size": 7, "shuffle": shuffle}
    with portanet.use_backend("numpy"):
        loader = DataLoader(TensorDataset(*host_data(40)), generator=Generator(3), **options)
        expected = [listed(loader), listed(loader)]
    loader = DataLoader(TensorDataset(*host_data(40)), generator=Generator(3), **options, **WAYS[way])
    for epoch in expected:
        batches = list(loader)
        assert listed(batches) == epoch
        for batch in batches:
            assert [x.dtype for x in batch] == [portanet.float32, portanet.int64, portanet.uint8]
            assert all([x.device == portanet.zeros(1).device for x in batch])


@pytest.mark.parametrize("way", WAYS)
def test_what_a_subset_picks(way, backend):
    inner = Subset(Subset(TensorDataset(*host_data(20)), range(0, 20, 2)), [9, 0, 4, 5, 1])
    loader = DataLoader(inner, 2, shuffle=True, drop_last=True, generator=Generator(1), **WAYS[way])
    with portanet.use_backend("numpy"):
        expected = listed(DataLoader(inner, 2, shuffle=True, drop_last=True, generator=Generator(1)))
    assert listed(loader) == expected and len(expected) == 2
    for subset in (inner, Subset(TensorDataset(*host_data(20)), [1, 2, 4])):
        loader.dataset = subset
        list(loader)
        subset.indices[:] = [3] * len(subset)  # seen in the next epoch
        assert {place for _, y, _ in loader for place in y.tolist()} == {6 if subset is inner else 3}


@pytest.mark.parametrize("way", WAYS)
def test_arrays_of_the_device_and_of_the_host_side_by_side(way, backend):
    x, y, z = host_data(9)
    data = TensorDataset(x, portanet.asarray(y), z)
    loader = DataLoader(data, 4, shuffle=True, generator=Generator(1), **WAYS[way])
    order = [place for _, places, _ in loader for place in places.tolist()]
    assert sorted(order) == list(range(9))
    loader.generator = Generator(1)
    numpy.testing.assert_array_equal(
        numpy.concatenate([batch.numpy() for batch, _, _ in loader]), x[order].astype(numpy.float32)
    )
    loader.generator = Generator(1)
    assert [row for _, _, batch in loader for row in batch.tolist()] == z[order].tolist()


@pytest.mark.parametrize("way", WAYS)
def test_items_of_any_form(way, backend):
    Pair = namedtuple("Pair", "x name")
    rows = [{"pair": Pair(numpy.full(2, i + 0.5), f"n{i}"), "k": [i, {"z": numpy.asarray(i)}]} for i in range(5)]
    first, _, last = DataLoader(rows, 2, **WAYS[way])
    assert isinstance(first["pair"], Pair) and first["pair"].name == ["n0", "n1"]
    assert first["pair"].x.tolist() == [[0.5, 0.5], [1.5, 1.5]] and first["pair"].x.dtype == portanet.float32
    assert last["k"][0].tolist() == [4] and last["k"][1]["z"].tolist() == [4]
    assert last["pair"].x.device == last["k"][0].device == portanet.zeros(1).device


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_two_hundred_batches_with_computation_between(way, shuffle, backend):
    x = numpy.random.default_rng(0).integers(-8, 9, (1595, 24)).astype(numpy.float32)
    y = numpy.arange(1595)
    loader = DataLoader(TensorDataset(x, y), 8, shuffle, generator=Generator(4), **WAYS[way])
    held, sums, places = [], [], []
    for k, (batch, place) in enumerate(loader):
        product = batch
        for _ in range(3):  # of whole numbers, so that sums are exact; what is freed here is used by later batches
            product = portanet.remainder(portanet.matmul(batch, portanet.matmul(batch.mT, product)), 17.0)
        sums.append(portanet.sum(batch, axis=1) + 0 * portanet.sum(product))
        places.append(place)
        if k % 50 == 0:
            held.append((batch, place))
    assert len(sums) == 200
    order = numpy.concatenate([place.numpy() for place in places])
    assert order.tolist() == sorted(order.tolist()) if not shuffle else sorted(order.tolist()) == y.tolist()
    numpy.testing.assert_array_equal(numpy.concatenate([s.numpy() for s in sums]), x[order].sum(axis=1))
    for batch, place in held:
        numpy.testing.assert_array_equal(batch.numpy(), x[place.numpy()])


def test_half_width_data_arrive_where_the_host_has_no_such_dtype():
    pytest.importorskip("torch")
    with portanet.use_backend("torch", dtype="bfloat16"):
        ((x, y),) = DataLoader(TensorDataset(numpy.asarray([0.5, 3.0]), numpy.asarray([1, 2])), 2)
        assert x.dtype == portanet.bfloat16 and y.dtype == portanet.int64
        assert portanet.astype(x, portanet.float32).tolist() == [0.5, 3.0]


# ---------------------------------------------------------------------------------------------------------------------
# What travels.


def test_nothing_travels_in_a_step_with_data_on_the_device(journeys, backend):
    def of_an_epoch(count, subset, shuffle):
        data = on_device(count)
        loader = DataLoader(Subset(data, range(count)) if subset else data, 2, shuffle)
        journeys.clear()
        assert len(list(loader)) == count // 2
        return len(journeys)

    for subset in (False, True):
        for shuffle in (False, True):
            assert of_an_epoch(4, subset, shuffle) == of_an_epoch(24, subset, shuffle) <= 1 + subset
    if not backend.library.random_on_host(portanet.zeros(1).device):
        assert of_an_epoch(24, False, True) == 0  # the order is drawn there too


def test_each_field_of_host_data_travels_once_a_batch(journeys):
    for shuffle in (False, True):
        loader = DataLoader(TensorDataset(*host_data(10)), 4, shuffle)
        journeys.clear()
        list(loader)
        assert journeys == [(4, 3), (4,), (4, 2, 2)] * 2 + [(2, 3), (2,), (2, 2, 2)]


def test_resident_data_travel_once(journeys):
    x, y, _ = host_data(12)
    loader = DataLoader(TensorDataset(x, y), 4, resident=True)
    list(loader)
    assert journeys == [(12, 3), (12,)]
    list(loader)
    assert len(journeys) == 2
    part = DataLoader(Subset(TensorDataset(x, y), [1, 5, 8]), 2, resident=True)
    journeys.clear()
    list(part)
    assert sorted(journeys) == [(3,), (3, 3)]  # those rows alone
    list(part)
    assert len(journeys) == 2


def test_the_order_is_drawn_where_the_data_are(backend):
    beside = portanet.zeros(3)
    order = random_order(50, Generator(2), beside)
    assert order.device == beside.device and type(order.array) is type(beside.array)
    assert order.tolist() == random_order(50, Generator(2)).tolist()
    assert isinstance(random_order(50, Generator(2)).array, numpy.ndarray)


# ---------------------------------------------------------------------------------------------------------------------
# What stays.


@pytest.fixture
def roomy(monkeypatch, backend):
    """The backend's device, with so many bytes free as are set here."""
    if backend.name in HERE:
        pytest.skip("the device is the host")
    monkeypatch.setattr(backend.library, "free_memory", lambda device: roomy.bytes, raising=False)
    roomy = type("Room", (), {"bytes": None})()
    return roomy


def stayed(loader: DataLoader) -> bool:
    """Whether a second epoch has nothing of the first one's arrays any more."""
    list(loader)
    source = loader.dataset.dataset if isinstance(loader.dataset, Subset) else loader.dataset
    return loader._kept.tensors[0] is not source.tensors[0]


def test_what_cannot_change_stays_if_it_fits(roomy):
    x, y = host_data(8)[:2]
    fixed = TensorDataset(read_only(x), read_only(y))
    size = 8 * (3 * 4 + 8)  # in float32, and int64
    for free, fits in ((None, False), (8 * size - 1, False), (8 * size, True)):
        roomy.bytes = free
        assert stayed(DataLoader(fixed, 4)) is fits
        assert not stayed(DataLoader(fixed, 4, resident=False))
        assert not stayed(DataLoader(TensorDataset(read_only(x), y), 4))
        assert stayed(DataLoader(TensorDataset(x, y), 4, resident=True))
        assert stayed(DataLoader(Subset(fixed, [3, 1]), 4)) is (free is not None)  # a quarter of the rows


@pytest.mark.parametrize("resident", [True, False, "auto"])
def test_whether_later_writing_is_seen(resident, backend):
    x = numpy.zeros(3)
    loader = DataLoader(TensorDataset(x), 3, resident=resident)
    list(loader)
    x[:] = 1
    ((batch,),) = loader
    assert batch.tolist() == ([0, 0, 0] if resident is True and backend.name not in HERE else [1, 1, 1])


def test_another_array_is_seen_always(backend):
    first, second = numpy.zeros(3), numpy.ones(3)
    data = TensorDataset(first)
    loader = DataLoader(data, 3, resident=True)

    def rows():
        ((batch,),) = loader
        return batch.tolist()

    assert rows() == [0, 0, 0]
    data.tensors = TensorDataset(second).tensors
    assert rows() == [1, 1, 1]
    data.tensors[0][0] = 5.0  # which gives the Tensor a new array
    assert rows() == [5, 1, 1]
    loader.dataset = TensorDataset(first)
    assert rows() == [0, 0, 0]
    with portanet.use_backend("numpy"):
        ((batch,),) = loader
        assert isinstance(batch.array, numpy.ndarray)


def test_data_on_the_device_are_not_copied(backend):
    data = on_device(6)
    for resident in (True, "auto", False):
        loader = DataLoader(data, 3, resident=resident)
        list(loader)
        assert loader._kept.tensors is data.tensors


@pytest.mark.parametrize("resident", [True, False, "auto"])
def test_gradients_go_back_to_data_on_the_host(resident, backend):
    with portanet.use_backend("numpy"):
        x = portanet.asarray([1.0, 2.0, 3.0]).requires_grad_()
    for (batch,) in DataLoader(TensorDataset(x), 2, resident=resident):
        portanet.sum(batch * batch).backward()
    assert x.grad.tolist() == [2.0, 4.0, 6.0]


# ---------------------------------------------------------------------------------------------------------------------
# Ends.


@contextlib.contextmanager
def watched(backend, monkeypatch):
    """A list of when the library's feeding was begun and ended."""
    seen = []
    original = backend.library.fed

    def fed(*args, **options):
        seen.append("begun")
        try:
            yield from original(*args, **options)
        finally:
            seen.append("ended")

    with monkeypatch.context() as patch:
        patch.setattr(backend.library, "fed", fed, raising=False)
        yield seen


@pytest.mark.parametrize("pin_memory", [True, False])
def test_whoever_leaves_early_leaves_nothing_running(pin_memory, backend, monkeypatch):
    if backend.name in HERE:
        pytest.skip("nothing is fed")
    with watched(backend, monkeypatch) as seen:
        for _ in DataLoader(TensorDataset(*host_data(30)), 2, pin_memory=pin_memory):
            break
        assert seen == ["begun", "ended"]
        with pytest.raises(ZeroDivisionError):
            for _ in DataLoader(TensorDataset(*host_data(30)), 2, pin_memory=pin_memory):
                _ = 1 // 0
        assert seen == ["begun", "ended"] * 2
        batches = iter(DataLoader(TensorDataset(*host_data(30)), 2, pin_memory=pin_memory))
        next(batches)
        del batches
        assert seen == ["begun", "ended"] * 3
        iter(DataLoader(TensorDataset(*host_data(30)), 2, pin_memory=pin_memory))
        assert len(seen) == 6


@pytest.mark.parametrize("way", WAYS)
def test_an_error_of_the_dataset_comes_out(way, backend, monkeypatch):
    class Broken:
        def __len__(self):
            return 12

        def __getitem__(self, index):
            if index == 9:
                raise OSError("the disk is gone")
            return numpy.full(2, float(index))

    with watched(backend, monkeypatch) as seen, pytest.raises(OSError, match="the disk is gone"):
        for _ in DataLoader(Broken(), 2, **WAYS[way]):
            pass
    assert seen == ([] if backend.name == "numpy" else ["begun", "ended"])
    with pytest.raises(OSError, match="the disk is gone"):
        functools.reduce(lambda _, batch: batch, DataLoader(Broken(), 2, **WAYS[way]))


def test_two_epochs_at_once(backend):
    loader = DataLoader(TensorDataset(*host_data(12)), 5)
    assert listed(loader) == [a for a, b in zip(listed(loader), listed(loader), strict=True) if a == b]
    for first, second in zip(loader, loader, strict=True):
        assert [x.tolist() for x in first] == [x.tolist() for x in second]


@pytest.mark.parametrize("factor", [0, -1, 1.5, True, None])
def test_prefetch_factor_must_be_a_whole_number(factor):
    with pytest.raises(ValueError, match=r"prefetch_factor"):
        DataLoader([1, 2], 2, prefetch_factor=factor)


@pytest.mark.parametrize("resident", ["yes", None, 1])
def test_resident_is_one_of_three(resident):
    with pytest.raises(ValueError, match=r"resident=.*True, False or 'auto'"):
        DataLoader([1, 2], 2, resident=resident)
