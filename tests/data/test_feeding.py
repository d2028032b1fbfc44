"""Host data on their way to a device: every row arrives, whatever order CUDA runs in what was queued."""

from __future__ import annotations

import functools
import importlib
import mmap

import numpy
import pytest

import portanet
from portanet.host import is_constant
from portanet.kernels import generic
from portanet.kernels.generic.feeding import Rows
from portanet.library import to_numpy
from tests.data.cuda_model import Model, Stream

TABLE = numpy.arange(60.0).reshape(20, 3)
PLACES = {
    "all": None,
    "a slice": slice(4, 9),
    "places": numpy.asarray([7, 0, 19, 7]),
    "no place": numpy.asarray([], dtype=numpy.int64),
}
ARRAYS = {
    "by rows": TABLE,
    "by columns": numpy.asfortranarray(TABLE),
    "every other": numpy.repeat(TABLE, 2, axis=1)[:, ::2],
    "the other byte order": TABLE.astype(TABLE.dtype.newbyteorder()),
    "narrower": TABLE.astype(numpy.float32),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rows_are_gathered(array, place, dtype):
    rows = Rows(ARRAYS[array], PLACES[place], dtype)
    expected = TABLE if PLACES[place] is None else TABLE[PLACES[place]]
    out = numpy.full(rows.shape, -1, dtype=dtype)
    rows.gather(out)
    assert rows.shape == expected.shape and rows.gathered().dtype == dtype
    numpy.testing.assert_array_equal(rows.gathered(), expected)
    numpy.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("ahead", [0, 1, 2, 3])
def test_a_librarys_way_and_the_definition_agree(ahead, backend):
    table = TABLE.astype(numpy.float32)
    labels = numpy.arange(20)
    places = [slice(0, 6), numpy.asarray([3, 1, 8]), slice(19, 20), numpy.asarray([5]), None, slice(2, 2)]
    device = portanet.zeros(1).device
    for kernel in (backend.library.fed, functools.partial(generic.fed, backend.library)):
        batches = [[Rows(table, place, "float32"), Rows(labels, place, "int64")] for place in places]
        found = list(kernel(iter([*batches, []]), device=device, ahead=ahead))
        assert [len(arrays) for arrays in found] == [2] * len(places) + [0]
        for arrays, place in zip(found, places, strict=False):
            for array, whole in zip(arrays, (table, labels), strict=True):
                assert backend.library.device_of(array) == device
                numpy.testing.assert_array_equal(to_numpy(array), whole if place is None else whole[place])


def test_free_memory_is_a_number_of_bytes_or_not_known(backend):
    assert generic.free_memory(backend.library, None) is None
    free = backend.library.free_memory(portanet.zeros(1).device)
    assert (free is not None and free > 0) if backend.name == "cupy" else free is None


def test_what_nobody_can_write_to(tmp_path):
    own = numpy.zeros(3)
    view = own[:2]
    view.flags.writeable = False
    assert not is_constant(own) and not is_constant(view)
    own.flags.writeable = False
    assert is_constant(own) and is_constant(own[1:]) and is_constant(numpy.frombuffer(b"abc", numpy.uint8))
    seen = numpy.frombuffer(bytearray(b"abc"), numpy.uint8)
    seen.flags.writeable = False
    assert not is_constant(seen) and not is_constant([1.0])
    numpy.save(tmp_path / "rows.npy", numpy.zeros(3))
    read = numpy.load(tmp_path / "rows.npy", mmap_mode="r")
    assert isinstance(read.base, mmap.mmap) and is_constant(read) and is_constant(read[:2])
    assert not is_constant(numpy.load(tmp_path / "rows.npy", mmap_mode="r+"))


# ---------------------------------------------------------------------------------------------------------------------
# CuPy's streams, in a model.


def harm(seed: int, ahead: int, without: str = "", stop: int = 30) -> int:
    """How many arrays held something else than they should in an epoch of at most ``stop`` batches on the model."""
    feeding = pytest.importorskip("portanet.kernels.cupy.feeding", exc_type=ImportError)
    model = Model(seed, without)
    table = numpy.arange(150 * 4, dtype=numpy.uint8).reshape(150, 4) % 100
    order = numpy.random.default_rng(seed).permutation(150)
    places = [order[5 * k : 5 * k + 5] for k in range(30)]
    expected, found = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feeding, "cupy", model)
        arrivals = feeding.fed(([Rows(table, place, "uint8")] for place in places), ahead=ahead)
        for k, (array,) in zip(range(stop), arrivals, strict=False):
            array.read(found)
            expected.append(table[places[k]])
            work = model.empty((5, 4), "uint8")  # as large as a batch, and freed while it is still to be written
            work.fill(200 + k)
            work.read(found)
            expected.append(numpy.full((5, 4), 200 + k, numpy.uint8))
            del array, work
            model.a_moment()
        arrivals.close()
        del arrivals
        for k in range(4):  # memory that the batches had is used by others at once
            work = model.empty((5, 4), "uint8")
            work.fill(240 + k)
            work.read(found)
            expected.append(numpy.full((5, 4), 240 + k, numpy.uint8))
            del work
        model.until(lambda: not any([stream.queue for stream in model.streams]))
    assert len(found) == len(expected)
    return sum([not numpy.array_equal(a, b) for a, b in zip(found, expected, strict=True)])


@pytest.mark.parametrize("ahead", [1, 2, 3])
@pytest.mark.parametrize("stop", [30, 7])
def test_every_order_of_the_streams_gives_the_same_batches(ahead, stop):
    assert [harm(seed, ahead, stop=stop) for seed in range(60)] == [0] * 60


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_whoever_computes_on_another_stream_gets_the_same_batches(ahead, monkeypatch):
    feeding = pytest.importorskip("portanet.kernels.cupy.feeding", exc_type=ImportError)
    for seed in range(30):
        model, found, held = Model(seed), [], []
        monkeypatch.setattr(feeding, "cupy", model)
        arrivals = feeding.fed(([Rows(TABLE, slice(k, k + 2), "float64")] for k in range(18)), ahead=ahead)
        streams = [model.present, Stream(model)]
        for k in range(18):
            model.present = streams[k % 2]
            held += next(arrivals)
            held[-1].read(found)
        arrivals.close()
        model.until(lambda model=model: not any([stream.queue for stream in model.streams]))
        assert sorted([rows[0, 0] for rows in found]) == TABLE[:18, 0].tolist()
        assert len(model.pinned) == ahead  # and not one for each batch


def test_the_memory_is_page_locked(backend, monkeypatch):
    if backend.name != "cupy":
        pytest.skip("CuPy's own way")
    feeding = importlib.import_module("portanet.kernels.cupy.feeding")
    original, made = feeding._pinned_bytes, []
    monkeypatch.setattr(feeding, "_pinned_bytes", lambda count: made.append(original(count)) or made[-1])
    batches = [[Rows(TABLE, slice(k, k + 2), "float32"), Rows(TABLE, None, "float64")] for k in range(9)]
    assert len(list(feeding.fed(iter(batches), ahead=2))) == 9
    assert len(made) == 4
    assert all([feeding.cupy.cuda.pinned_memory.is_memory_pinned(memory.ctypes.data) for memory in made])


@pytest.mark.parametrize(
    ("without", "stop", "ahead"),
    [("room", 30, 2), ("arrival", 30, 2), ("pinned", 30, 2), ("end", 7, 2), ("end", 30, 1)],
)
def test_none_of_the_waits_can_be_left_out(without, stop, ahead):
    assert any([harm(seed, ahead, without, stop) for seed in range(60)])
