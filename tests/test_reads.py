"""How often training reads from the device: never once a step, for each read makes a GPU wait."""

from __future__ import annotations

import numpy
import pytest

import portanet as pn
from portanet import data, library, nn, optim, training
from portanet.reading import Reading

READERS = ["item", "tolist", "numpy", "__float__", "__int__", "__bool__", "__complex__", "__index__", "__array__"]


@pytest.fixture
def reads(monkeypatch):
    """A list that grows whenever an element leaves its device."""
    found: list[str] = []

    def counted(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def counting(*args: object, **options: object) -> object:
            found.append(name)
            return original(*args, **options)

        monkeypatch.setattr(owner, name, counting)

    counted(library, "to_numpy")
    for name in READERS:
        counted(Reading, name)
    strict = pytest.importorskip("array_api_strict")
    for name in ["__float__", "__int__", "__bool__", "__complex__", "__index__"]:
        counted(type(strict.ones(1)), name)  # the one library here whose arrays let us watch them
    return found


def reads_of_an_epoch(reads: list[str], rows: int, *, loss: object = None, progress: bool = False) -> int:
    loss = loss or nn.CrossEntropyLoss()
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3))
    points = numpy.cos(numpy.arange(2.0 * rows)).reshape(rows, 2)
    labels = numpy.arange(rows) % 3
    dataset = data.TensorDataset(pn.asarray(points, dtype=pn.float32), pn.asarray(labels))
    loader = data.DataLoader(dataset, batch_size=2, shuffle=True)
    optimizer = optim.Adam(model.parameters())
    reads.clear()
    training.fit(model, loss, optimizer, loader, epochs=1, validation=loader, progress=progress)
    return len(reads)


@pytest.mark.heavy
def test_no_step_reads_from_the_device(reads, backend):
    assert 0 < reads_of_an_epoch(reads, 4) == reads_of_an_epoch(reads, 24)


@pytest.mark.heavy
def test_a_read_in_every_step_would_be_seen(reads, backend):
    def read(prediction, target):
        loss = nn.functional.cross_entropy(prediction, target)
        assert loss.item() > 0
        return loss

    assert reads_of_an_epoch(reads, 24, loss=read) >= reads_of_an_epoch(reads, 4, loss=read) + 20


def test_the_bar_reads_at_most_twice_a_second(reads, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    assert reads_of_an_epoch(reads, 40, progress=True) == reads_of_an_epoch(reads, 40)  # the clock stands
    quiet = len(reads)

    def later() -> float:
        now[0] += 0.1
        return now[0]

    monkeypatch.setattr(training.time, "monotonic", later)
    grown = reads_of_an_epoch(reads, 40, progress=True) - quiet
    assert 1 <= grown <= 5  # 20 steps in 2 seconds
