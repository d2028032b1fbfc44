"""`portanet.compile` by CUDA graphs: the bits of the eager step, whatever happens between two launches."""

from __future__ import annotations

import pytest

import portanet
from portanet import nn, optim
from tests.stepping import F, batches, labelled, perceptron, prove, ran, stepping, trained, usual, world


@pytest.fixture(autouse=True)
def _on_cupy():
    reason = portanet.available_backends()["cupy"].reason
    if reason:
        pytest.skip(reason)
    with portanet.use_backend("cupy"):
        yield


OPTIMIZERS = {
    "SGD": (optim.SGD, {}),
    "momentum": (optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    "Nesterov": (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "Adam": (optim.Adam, {}),
    "amsgrad": (optim.Adam, {"amsgrad": True, "weight_decay": 0.01}),
    "AdamW": (optim.AdamW, {}),
    "RMSprop": (optim.RMSprop, {"momentum": 0.9}),
    "Lion": (optim.Lion, {}),
    "NAdam": (optim.NAdam, {}),
    "Adagrad": (optim.Adagrad, {}),
}


def disturbing(i, made):
    """What a program does between two steps: it makes arrays, on all of the memory that is free, and drops them."""
    for n in (10, 1000, 100_000, 3_000_000):
        portanet.full((n,), float("nan")) + i


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_hundred_steps_among_other_work(name):
    kind, options = OPTIMIZERS[name]
    _, step = prove(usual(kind, **{"lr": 0.01, **options}), batches(200), disturbing)
    assert step.reason == ""
    assert step.recordings <= 2


def test_a_schedule_needs_no_new_recording():
    def make():
        made = usual(optim.Adam)()
        made.scheduler = optim.lr_scheduler.CosineAnnealingLR(made.optimizer, 20)
        return made

    def between(i, made):
        made.optimizer.zero_grad()  # so that there is one form
        if i:
            made.scheduler.step()

    _, step = prove(make, batches(20), between)
    assert step.recordings == 1


def convolutional():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LayerNorm(16), nn.GELU(),
        nn.Dropout(0.3), nn.Linear(16, 4),
    )  # fmt: skip
    return trained(model, optim.Adam(model.parameters(), lr=0.01), F.cross_entropy)


def recurrent():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells, self.end = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 4)

        def forward(self, x):
            return self.end(self.cells(x)[0][:, -1, :])

    model = Last()
    return trained(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9), F.cross_entropy)


def attentive():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(40, 4))
    return trained(model, optim.AdamW(model.parameters(), lr=0.01), F.cross_entropy)


@pytest.mark.parametrize(
    ("make", "shape"), [(convolutional, (6, 1, 6, 6)), (recurrent, (6, 5, 3)), (attentive, (6, 5, 8))]
)
def test_networks(make, shape):
    _, step = prove(make, labelled(20, *shape), disturbing)
    assert step.reason == ""


def test_two_optimizers_in_turn():
    def make():
        first, second = perceptron(5, 8, 3), perceptron(3, 8, 3)
        one, two = optim.Adam(first.parameters(), lr=0.01), optim.RMSprop(second.parameters(), lr=0.01)

        def step(x, y):
            for optimizer in (one, two):
                optimizer.zero_grad()
                loss = F.mse_loss(second(first(x)), y)
                loss.backward()
                optimizer.step()
            return loss

        return world(step, first, second, one, two)

    _, step = prove(make, batches(20), disturbing)
    assert step.reason == ""


def test_a_read_within_the_step_is_refused():
    def body(model, optimizer, x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        if loss.item() > 0:
            optimizer.step()
        return loss

    _, step = prove(stepping(body), batches(6), reason=None)
    assert "capturing" in step.reason
    assert step.recordings == 0


def test_what_python_keeps_is_refused():
    kept = []

    def body(model, optimizer, x, y):
        kept.append(model(x))
        return F.mse_loss(kept[-1], y)

    made = stepping(body)()
    step = portanet.compile(made.step, state=made.state)
    with portanet.no_grad():
        for args in batches(4):
            step(*args)
    assert "keeps a Tensor" in step.reason


def test_an_error_leaves_all_as_it_was():
    def body(model, optimizer, x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return portanet.reshape(loss, (2, 2))

    _, _, expected = ran(stepping(body), batches(4), compiled=False)
    _, step, found = ran(stepping(body), batches(4))
    assert expected == found
    assert step.recordings == 0


def test_the_first_call_runs_step_by_step():
    made = usual()()
    step = portanet.compile(made.step, state=made.state)
    reasons = []
    for args in batches(3):
        made.optimizer.zero_grad()
        step(*args)
        reasons.append(step.reason)
    assert reasons[0].startswith("the first call")
    assert reasons[1:] == ["", ""]


def test_memory_does_not_grow():
    import cupy

    made = convolutional()
    step = portanet.compile(made.step, state=made.state)
    calls = labelled(30, 6, 1, 6, 6)
    used = []
    for args in calls:
        step(*args)
        used.append(cupy.get_default_memory_pool().used_bytes())
    assert used[-1] == used[5]


def test_a_random_walk_is_that_of_the_eager_step():
    def make():
        x = portanet.zeros(1000)

        def step():
            x[:] = x.detach() + portanet.random.normal(1000)
            return x.detach() * 2, portanet.random.uniform(3), portanet.random.bernoulli(5, 0.5)

        return world(step, x)

    prove(make, [()] * 10, disturbing)


def test_copies_into():
    import cupy

    xp = portanet.get_backend().library
    target, values = cupy.zeros((3, 4)), cupy.arange(12.0).reshape(4, 3).T
    xp.copy_into(target, values)
    assert bool((target == values).all())
    xp.copy_into(target[:, 1:], values[:, :3] + 1)
    assert bool((target[:, 1:] == values[:, :3] + 1).all())
