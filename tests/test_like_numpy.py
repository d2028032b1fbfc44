"""One seed, the same numbers everywhere: draws to the bit, and a training that stays within rounding."""

from __future__ import annotations

import numpy
import pytest

import portanet
from portanet import nn, optim, random

F = nn.functional
STEPS = 200


def on_numpy(function):
    with portanet.use_backend("numpy"):
        return function()


def model():
    portanet.manual_seed(3)
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 5))


DRAWS = {
    "uniform": lambda: random.uniform(1001),
    "uniform, float64": lambda: random.uniform((7, 33), -2.0, 5.0, dtype="float64"),
    "bernoulli": lambda: random.bernoulli(1001, 0.3),
    "integers": lambda: random.integers(1001, -5, 1000),
    "permutation": lambda: random.permutation(1001),
    "dropout": lambda: F.dropout(portanet.ones((33, 31)), 0.4),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_are_numpys_to_the_bit(draw, backend):
    def drawn():
        portanet.manual_seed(11)
        return numpy.asarray(draw().numpy())

    found, expected = drawn(), on_numpy(drawn)
    assert found.tobytes() == expected.astype(found.dtype).tobytes()


def test_initial_weights_are_numpys_to_the_bit(backend):
    found, expected = model(), on_numpy(model)
    for p, q in zip(found.parameters(), expected.parameters(), strict=True):
        assert p.detach().numpy().tobytes() == q.detach().numpy().tobytes()


def losses() -> list[float]:
    """Of a network with dropout that learns 64 made-up examples, in float32."""
    rng = numpy.random.default_rng(0)
    x, y = portanet.asarray(rng.normal(size=(64, 20)).astype("float32")), portanet.asarray(rng.integers(0, 5, 64))
    network = model()
    optimizer = optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    found = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.heavy
def test_two_hundred_steps_stay_within_rounding(backend):
    """Products add in other orders, so the last bits differ, and each step starts from those; they must not grow."""
    found, expected = losses(), on_numpy(losses)
    assert expected[-1] < 0.1 * expected[0]
    differences = numpy.abs(numpy.asarray(found) - expected)
    assert differences[0] < 1e-6
    assert differences.max() < 2e-4
