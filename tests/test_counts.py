"""What a step of training costs, counted: nodes on the tape, calls of NumPy, arrays made, bytes kept for the way back.

The counts are of portanet's own doing, and the same with every Python and NumPy. A change that adds a call or an array
shows here; one that is meant to, or saves some, writes the new count down.
"""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import portanet
from portanet import nn, optim
from portanet.library import libraries
from portanet.plan.recorded import Recorded, adopt, fixed
from portanet.plan.recorder import Memory, Recorder, active
from portanet.tape import Leaf


class Counter(Recorder):
    """Counts the calls that recorded arrays tell it of, and the new arrays that these make; nothing is reused."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays = 0

    def place(self, value: Any, constant: bool = False) -> Memory:
        self.spare.clear()
        self.arrays += 1
        return super().place(value, constant)

    def advance(self, optimizer: Any) -> None:
        optimizer._step()


def ordinary(*shape: int) -> Any:
    return numpy.random.default_rng(0).standard_normal(shape, dtype="float32")


def mlp() -> tuple[Any, ...]:
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    return model, optim.SGD(model.parameters(), lr=0.1), ordinary(6, 12), (6,)


def convolutions() -> tuple[Any, ...]:
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(24, 3)),
    )
    return model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9), ordinary(5, 2, 8, 8), (5,)


def transformer() -> tuple[Any, ...]:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    model = nn.Sequential(layer, nn.Flatten(0, 1), nn.Linear(8, 3))
    return model, optim.Adam(model.parameters(), lr=0.1), ordinary(4, 5, 8), (20,)


def nodes(y: Any) -> list[Any]:
    """The operations that a Tensor was computed by."""
    found = [y._node]
    for node in found:
        found += [p for p in node.parents if p is not None and type(p) is not Leaf and p not in found]
    return found


def counted(make: Any) -> dict[str, int]:
    """The counts of the second step: the first one makes the optimizer's state."""
    model, optimizer, x, shape = make()
    target = numpy.arange(numpy.prod(shape)) % 3
    recorder = Counter()
    token = active.set(recorder)
    try:
        for p in model.parameters():
            p._raw = fixed(recorder, p._raw.copy())
            p._raw.memory.ours = True  # an optimizer may write to it, as it does to arrays that nobody else holds
        inputs, classes = [portanet.Tensor(fixed(recorder, array)) for array in (x, target)]
        for _ in range(2):
            optimizer.zero_grad()
            recorder.calls.clear()
            recorder.arrays = 0
            loss = nn.functional.cross_entropy(model(inputs), classes)
            count = len(nodes(loss))
            forward = len(recorder.calls)
            loss.backward()
            backward = len(recorder.calls) - forward
            optimizer.step()
    finally:
        active.reset(token)
    update = len(recorder.calls) - forward - backward
    return {"nodes": count, "forward": forward, "backward": backward, "update": update, "arrays": recorder.arrays}


COUNTS = {
    mlp: {"nodes": 7, "forward": 22, "backward": 16, "update": 12, "arrays": 35},
    convolutions: {"nodes": 10, "forward": 22, "backward": 15, "update": 30, "arrays": 39},
    transformer: {"nodes": 15, "forward": 30, "backward": 24, "update": 182, "arrays": 62},
}


@pytest.fixture(autouse=True)
def _on_numpy(monkeypatch):
    adopt()
    monkeypatch.setattr(Recorded, "base", None, raising=False)  # an optimizer asks whose the memory is: ours
    with portanet.use_backend("numpy"):
        yield


@pytest.mark.parametrize("make", COUNTS, ids=lambda make: make.__name__)
def test_a_step_takes_so_many_nodes_calls_and_arrays(make):
    assert counted(make) == COUNTS[make]


def test_one_call_more_is_seen():
    def more() -> tuple[Any, ...]:
        model, optimizer, *rest = mlp()
        return nn.Sequential(model, nn.Tanh()), optimizer, *rest

    found, known = counted(more), counted(mlp)
    assert found["nodes"] == known["nodes"] + 1
    assert found["forward"] == known["forward"] + 1
    assert found["arrays"] > known["arrays"] + 1


# ---------------------------------------------------------------------------------------------------------------------
# Memory.


def arrays_in(tree: Any) -> list[Any]:
    if type(tree) in libraries:
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [x for one in tree for x in arrays_in(one)] if isinstance(tree, (tuple, list)) else []


def owner(x: Any) -> Any:
    while x.base is not None:
        x = x.base
    return x


def kept(y: Any, besides: list[Any]) -> int:
    """The bytes that the tape keeps alive for the way back, without those of the arrays ``besides``."""
    found = [x for node in nodes(y) for x in arrays_in([node.args, node.options, node.output])]
    owners = {id(owner(x)): owner(x).nbytes for x in found}
    return sum([size for key, size in owners.items() if key not in {id(owner(x)) for x in besides}])


def forward(model: Any, x: Any, shape: tuple[int, ...]) -> int:
    target = numpy.arange(numpy.prod(shape)) % 3
    loss = nn.functional.cross_entropy(model(portanet.Tensor(x)), portanet.Tensor(target))
    return kept(loss, [x, target, *[p._raw for p in model.parameters()]])


def test_what_a_perceptron_keeps():
    """By hand one keeps what comes out of each ReLU, and the softmax."""
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    by_hand = 4 * 32 * (64 + 48 + 10)
    assert by_hand <= forward(model, ordinary(32, 20), (32,)) <= 1.3 * by_hand


def test_what_a_convolutional_network_keeps():
    """By hand one keeps what comes out of each ReLU and of each pooling, and the softmax."""
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 10)),
    )
    by_hand = 4 * 8 * (6 * 28 * 28 + 6 * 14 * 14 + 16 * 10 * 10 + 16 * 5 * 5 + 10)
    assert by_hand <= forward(model, ordinary(8, 1, 28, 28), (8,)) <= 1.3 * by_hand


def test_nothing_is_kept_once_backward_has_passed():
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    loss = nn.functional.cross_entropy(model(portanet.Tensor(ordinary(32, 20))), portanet.zeros(32, dtype="int64"))
    held = nodes(loss)
    assert len(held) == 5
    loss.backward()
    assert [arrays_in([node.args, node.options, node.output]) for node in held] == [[]] * 5
