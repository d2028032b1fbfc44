"""What a captured step does in Python, with a device that only takes notes: no GPU is needed for that part."""

from __future__ import annotations

import contextlib

import numpy
import pytest

import portanet
from portanet import nn, optim, random

F = nn.functional


class Notes:
    """Stands in the place of what records on a GPU: work is done while it is recorded, and a launch is a line."""

    keeps = False

    def __init__(self, count, device):
        self.numbers, self.lines = numpy.zeros(count), []

    def number(self, i):
        return self.numbers[i : i + 1].reshape(())

    def write(self, values, drawn):
        self.lines.append((list(values), drawn))

    @contextlib.contextmanager
    def place(self):
        yield

    def begin(self):
        self.lines.append("begin")

    def end(self):
        return lambda: self.lines.append("launch")

    def abandon(self):
        self.lines.append("abandon")

    def holds_more_than(self, arrays, others):
        return self.keeps


@pytest.fixture(autouse=True)
def _captured(monkeypatch):
    with portanet.use_backend("numpy") as backend:
        monkeypatch.setattr(backend.library, "is_replayed", lambda: False)
        monkeypatch.setattr(backend.library, "capturer", lambda: Notes)
        random.manual_seed(0)
        yield


def made(kind=optim.SGD, body=None, **options):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.1), nn.Linear(4, 2))
    optimizer = kind(model.parameters(), lr=0.1, **options)

    def step(x):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), x[:, :2])
        loss.backward()
        optimizer.step()
        return loss if body is None else body(loss)

    return model, optimizer, portanet.compile(step, state=(model, optimizer)), portanet.ones((5, 3))


def noted(step, x, calls=4):
    for _ in range(calls):
        step(x)
    assert step.reason == "", step.reason
    assert step.recordings == 1
    return step._kept[0].capture.lines


def test_a_launch_is_told_of_the_rate_and_of_the_draws_since_the_recording():
    _, optimizer, step, x = made()
    start = random.get_state()["counter"]
    lines = noted(step, x, 3)
    optimizer.param_groups[0]["lr"] = 0.5
    step(x)
    # 20 words of 8 a block: 3 blocks at each call.
    assert lines == ["begin", ([0.1], 0), "launch", ([0.1], 3), "launch", ([0.5], 6), "launch"]
    assert random.get_state()["counter"] == start + 4 * 3


def test_a_launch_is_told_of_the_count_before_it_and_the_state_goes_on():
    model, optimizer, step, x = made(optim.Adam)
    assert noted(step, x) == ["begin", ([1, 0.1], 0), "launch", ([2, 0.1], 3), "launch", ([3, 0.1], 6), "launch"]
    assert [optimizer.state[p]["step"] for p in model.parameters()] == [4] * 4


def test_a_hyperparameter_that_changes_while_it_stays_the_same_object_is_recorded_anew():
    betas = [0.9, 0.99]
    _, optimizer, step, x = made(optim.Adam)
    optimizer.param_groups[0]["betas"] = betas
    noted(step, x)
    betas[0] = 0.8
    step(x)
    assert (step.recordings, step.reason) == (2, "")
    step(x)
    assert step.recordings == 2


def test_a_rule_that_makes_new_arrays_steps_between_two_launches():
    model, optimizer, step, x = made(optim.RMSprop)
    assert noted(step, x)[:5] == ["begin", "begin", ([], 0), "launch", "launch"]
    before = model[0].weight.tolist()
    step(x)
    assert model[0].weight.tolist() != before
    assert optimizer.step_called


def test_what_a_user_sets_comes_to_where_the_launch_reads_it():
    model, _, step, x = made()
    noted(step, x)
    home = id(step._kept[0].homes[0])  # not the array, which would be somebody's then
    with portanet.no_grad():
        model[0].weight[...] = portanet.full((4, 3), 7.0)
    assert id(model[0].weight.array) != home
    step(x)
    assert id(model[0].weight.array) == home
    assert model[0].weight.tolist() == [[7.0] * 3] * 4  # the launch itself does nothing here
    assert step.recordings == 1


def test_an_array_that_somebody_has_come_to_hold_is_not_written_to_again():
    model, _, step, x = made()
    noted(step, x)
    held = model[0].weight.detach()
    step(x)
    assert step.recordings == 2
    assert model[0].weight.array is not held.array


def test_what_is_kept_beyond_the_recording_is_refused(monkeypatch):
    monkeypatch.setattr(Notes, "keeps", True)
    _, _, step, x = made()
    for _ in range(3):
        step(x)
    assert "keeps a Tensor" in step.reason
    assert step.recordings == 0


def test_an_error_while_recording_is_the_steps_own():
    calls = []

    def fails_later(loss):
        calls.append(loss.item())
        if len(calls) > 1:
            raise ValueError("the second time")
        return loss

    _, optimizer, step, x = made(body=fails_later)
    step(x)
    with pytest.raises(ValueError, match="the second time"):
        step(x)
    assert [p.grad is None for p in optimizer.param_groups[0]["params"]] == [False] * 4
    assert step.recordings == 0


def test_two_generators_are_refused():
    other = random.Generator(3)
    _, _, step, x = made(body=lambda loss: loss + other.uniform(()))
    for _ in range(2):
        step(x)
    assert "two generators" in step.reason
