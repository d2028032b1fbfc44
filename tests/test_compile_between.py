"""`portanet.compile` on NumPy: what may differ from one call of a step to the next: its state, its arguments, its thread."""

from __future__ import annotations

import copy
import functools
import sys
import threading
from collections import namedtuple

import numpy
import pytest

import portanet
from portanet import nn, optim
from portanet.library import is_array, to_numpy
from tests.stepping import (
    RECORDED,
    F,
    accumulating,
    batches,
    normal,
    perceptron,
    prove,
    stepping,
    trained,
    usual,
    world,
)

STEPS = 6


@pytest.fixture(autouse=True, params=RECORDED)
def _on_a_recorded_backend(request):
    if portanet.backend._info(request.param).reason:
        pytest.skip(portanet.backend._info(request.param).reason)
    with portanet.use_backend(request.param):
        yield


def test_a_schedule_outside():
    def make():
        made = usual(optim.SGD, momentum=0.9)()
        made.scheduler = optim.lr_scheduler.CosineAnnealingLR(made.optimizer, 5)
        return made

    def between(i, made):
        if i:
            made.scheduler.step()

    prove(make, batches(STEPS), between)


def test_hyperparameters_set_outside():
    def between(i, made):
        group = made.optimizer.param_groups[0]
        group["lr"], group["momentum"], group["weight_decay"] = 0.1 / (i + 1), 0.9 * (i > 2), 0.1 * (i > 4)

    prove(usual(optim.SGD), batches(9), between)


def test_a_hyperparameter_that_changes_while_it_stays_the_same_object():
    betas = [0.9, 0.99]

    def between(i, made):
        made.optimizer.param_groups[0]["betas"] = betas
        betas[0] = 0.9 - 0.1 * i

    prove(usual(), batches(STEPS), between)


def test_a_group_added_outside():
    def make():
        model = perceptron(5, 8, 3)
        return trained(model, optim.SGD(model[0].parameters(), lr=0.1))

    def between(i, made):
        if i == 3:
            made.optimizer.add_param_group({"params": list(made.model[2].parameters()), "lr": 0.05})

    prove(make, batches(STEPS), between, recordings=3)


def test_values_written_outside():
    def between(i, made):
        with portanet.no_grad():
            if i == 2:
                made.model[0].weight[0, :] = 0.5
            if i == 3:
                made.model[2].bias[...] = normal(99, 3)
            if i == 4:
                nn.init.normal_(made.model[0].bias)

    prove(usual(), batches(STEPS), between)


def test_states_loaded_outside():
    def make():
        made = usual()()
        made.kept = {}
        return made

    def between(i, made):
        if i == 2:
            made.kept = {"model": made.model.state_dict(), "optimizer": made.optimizer.state_dict()}
        if i == 4:
            made.model.load_state_dict(made.kept["model"])
        if i == 5:
            made.optimizer.load_state_dict(made.kept["optimizer"])
        if i == 7:
            made.optimizer.state.clear()

    prove(make, batches(9), between, recordings=None)


def test_a_parameter_replaced_outside():
    def between(i, made):
        if i == 3:
            made.model[0].weight = nn.Parameter(normal(77, 8, 5))

    prove(usual(), batches(STEPS), between, recordings=None)


def test_what_is_held_outside_keeps_its_values():
    """Snapshots of all kinds, taken before each call and read after the last."""

    def run(compiled):
        portanet.random.manual_seed(3)
        made = usual()()
        step = portanet.compile(made.step, state=made.state) if compiled else made.step
        held = []
        for i, args in enumerate(batches(8)):
            weight = made.model[0].weight
            if i % 2 or i == 6:
                held.append(weight.detach())
                held.append(weight.array)
                held.append(weight.detach()[1:3, :])
                held.append(weight.grad)
                held += list(made.model.state_dict().values())
                held += [x for state in made.optimizer.state_dict()["state"].values() for x in state.values()]
                held.append(weight.array.T if i == 6 else None)
                held.append(weight.grad.array[0] if weight.grad is not None else None)
            held.append(step(*args))
        raws = [getattr(x, "_raw", x) for x in held]
        return [to_numpy(x).copy() if is_array(x) else x for x in raws], step

    expected, _ = run(False)
    found, step = run(True)
    assert len(expected) == len(found) > 50
    for one, other in zip(expected, found, strict=True):
        assert numpy.array_equal(one, other)
    assert step.reason == ""


HELD = {
    "detached": lambda made: made.model[0].weight.detach(),
    "array": lambda made: made.model[2].bias.array,
    "view": lambda made: made.model[0].weight.array[1:],
    "gradient": lambda made: made.model[0].weight.grad,
    "last gradient": lambda made: made.model[2].bias.grad,
    "array of a gradient": lambda made: made.model[2].bias.grad.array,
    "moment": lambda made: made.optimizer.state[made.model[2].bias]["exp_avg"].detach(),
}


@pytest.mark.parametrize("name", HELD)
def test_a_single_thing_that_is_held_outside_keeps_its_values(name):
    made = usual()()
    step = portanet.compile(made.step, state=made.state)
    calls = batches(6)
    for args in calls[:4]:
        step(*args)
    held = HELD[name](made)
    before = to_numpy(getattr(held, "_raw", held)).copy()
    for args in calls[4:]:
        step(*args)
    assert numpy.array_equal(to_numpy(getattr(held, "_raw", held)), before)
    assert step.reason == ""


def test_a_copy_of_the_model_is_its_own():
    def run(compiled):
        portanet.random.manual_seed(3)
        made = usual()()
        step = portanet.compile(made.step, state=made.state) if compiled else made.step
        copies = []
        for args in batches(STEPS):
            step(*args)
            copies.append(copy.deepcopy(made.model))
        return [p.detach().numpy() for one in copies for p in one.parameters()]

    for one, other in zip(run(False), run(True), strict=True):
        assert numpy.array_equal(one, other)


def test_eager_steps_in_between():
    def between(i, made):
        if i % 2:
            made.step(normal(i, 6, 5), normal(i + 3, 6, 3))

    prove(usual(), batches(9), between)
    prove(usual(optim.SGD, momentum=0.9), batches(9), between)


def test_two_compiled_steps_over_one_state():
    def run(compiled):
        portanet.random.manual_seed(3)
        made = usual()()
        judged = lambda x, y: F.mse_loss(made.model(x), y)  # noqa: E731
        step, judge = made.step, judged
        if compiled:
            step = portanet.compile(made.step, state=made.state)
            judge = portanet.compile(judged, state=made.model)
        found = []
        for args in batches(8):
            found += [step(*args).item(), judge(*args).item()]
        return found, step, judge

    expected, *_ = run(False)
    found, step, judge = run(True)
    assert found == expected
    assert (step.reason, judge.reason, judge.recordings) == ("", "", 1)


def test_generators():
    def make():
        own = portanet.random.Generator(5)
        model = perceptron(5, 3)

        def step(x):
            noise = own.normal((4, 3)) + portanet.random.uniform((4, 3), -1.0, 1.0) + own.bernoulli(3, 0.5)
            order = portanet.random.permutation(3)
            return F.dropout(model(x), 0.5, generator=own) + noise + own.integers(3, 9), order, own.permutation(x)

        return world(step, model, own=own)

    def between(i, made):
        if i == 3:
            made.own.manual_seed(1)
        if i == 4:
            portanet.random.rand(3)

    # A plan draws as the step does; the counters of a graph are moved on by one number.
    captures = portanet.get_backend().library.capturer() is not None
    reason = "two generators" if captures else ""
    prove(make, [(normal(i, 4, 5),) for i in range(STEPS)], between, recordings=1, reason=reason)


# ---------------------------------------------------------------------------------------------------------------------
# Forms


def test_batches_of_other_sizes():
    sizes = (6, 6, 4, 6, 4, 1, 6, 1, 4)
    calls = [(normal(i, n, 5), normal(i + 20, n, 3)) for i, n in enumerate(sizes)]
    prove(usual(), calls, recordings=4)


def test_more_forms_than_are_kept():
    sizes = [*range(1, 13), *range(1, 13)]
    calls = [(normal(i, n, 5), normal(i + 20, n, 3)) for i, n in enumerate(sizes)]
    _, step = prove(usual(), calls, recordings=24)
    assert len(step._kept) <= 8


def test_training_and_evaluation_in_turn():
    def make():
        model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
        return trained(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.9))

    prove(make, batches(9), lambda i, made: made.model.train(i % 3 != 2), recordings=3)


def test_one_module_in_another_mode():
    def make():
        model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        return trained(model, optim.SGD(model.parameters(), lr=0.1))

    prove(make, batches(STEPS), lambda i, made: made.model[1].train(i % 2 == 0), recordings=3)


Batch = namedtuple("Batch", "x y")


def test_nested_arguments_and_results():
    def body(model, optimizer, batch, more, scale=1.0):
        loss = accumulating(model, optimizer, batch.x * scale, batch.y + more["shift"][0])
        return Batch(loss, [model(batch.x), {"n": 3, "none": None, "same": (loss, loss)}])

    calls = [(Batch(x, y), {"shift": [normal(i, 3)]}, 2.0) for i, (x, y) in enumerate(batches(STEPS))]
    prove(stepping(body), calls)


def test_values_in_the_arguments():
    calls = [(x, y, flag, name) for (x, y), flag, name in zip(batches(8), [True, False] * 4, "aabbaabb", strict=True)]

    def body(model, optimizer, x, y, flag, name):
        return accumulating(model, optimizer, x * (2 if flag else 1), y if name == "a" else -y), flag, name

    prove(stepping(body), calls, recordings=5)


def test_zeros_of_either_sign_are_two_values():
    def make():
        return world(lambda x, factor: x * factor)

    prove(make, [(normal(i, 3), 0.0 if i % 2 else -0.0) for i in range(5)], recordings=2)


def test_numpy_arrays_as_arguments():
    if portanet.get_backend().name != "numpy":
        pytest.skip("they are arrays of another library")
    calls = [(x.numpy(), y.numpy()) for x, y in batches(STEPS)]

    def body(model, optimizer, x, y):
        loss = accumulating(model, optimizer, portanet.Tensor(x), portanet.Tensor(y))
        return loss, x * 2

    prove(stepping(body), calls)


def test_arguments_stored_in_another_order():
    """Sums go through memory in its order: here by rows to 1, by columns to 2."""
    by_rows = numpy.asarray([[1e8, 1], [-1e8, 1]], "float32")
    by_columns = numpy.asfortranarray(by_rows)
    assert by_rows.sum() != by_columns.sum()
    calls = [(portanet.Tensor(x),) for x in (by_rows, by_columns, by_rows, by_columns, by_rows[::-1, ::-1])]
    prove(lambda: world(portanet.sum), calls, recordings=None)


def test_arguments_are_left_as_they_are_and_may_be_changed_between():
    """Those that are read where they lie, and those of which parts are read; read-only ones, and some at odd addresses."""
    if portanet.get_backend().name != "numpy":
        pytest.skip("they are arrays of another library")

    def body(model, optimizer, x, y):
        loss = accumulating(model, optimizer, portanet.concat([x[:, 1:], x[:, :1]], axis=1), y)
        return loss, x, y

    for kind in (numpy.array, lambda x: numpy.frombuffer(b"." + x.tobytes(), x.dtype, offset=1).reshape(x.shape)):
        eager, compiled = stepping(body)(), stepping(body)()
        compiled.model.load_state_dict(eager.model.state_dict())
        step = portanet.compile(compiled.step, state=compiled.state)
        held = []
        for x, y in [(kind(x.numpy()), kind(y.numpy())) for x, y in batches(STEPS)]:
            expected = eager.step(portanet.Tensor(x), portanet.Tensor(y))
            before = x.tobytes(), y.tobytes()
            found = step(portanet.Tensor(x), portanet.Tensor(y))
            assert (x.tobytes(), y.tobytes()) == before
            held.append((found, [one.detach().numpy().tobytes() for one in expected]))
            if x.flags.writeable:
                x[...] = numpy.nan  # the results are the caller's: nothing of them lies in the arguments
        assert step.reason == ""
        for found, expected in held:
            assert [one.numpy().tobytes() for one in found] == expected


def test_one_array_as_two_arguments_and_a_parameter_as_one():
    def body(model, optimizer, x, y, w):
        return accumulating(model, optimizer, x + y, F.linear(x, w[:3, :]))

    make = stepping(body)
    eager, compiled = make(), make()
    compiled.model.load_state_dict(eager.model.state_dict())
    step = portanet.compile(compiled.step, state=compiled.state)
    for i in range(STEPS):
        x = normal(i, 6, 5)
        expected = eager.step(x, x, eager.model[0].weight.detach())
        found = step(x, x, compiled.model[0].weight.detach())
        assert expected.item() == found.item()
    assert step.reason == ""


def test_no_examples_at_all():
    prove(lambda: world(lambda x: (portanet.sum(x), x * 2)), [(normal(i, n, 3),) for i, n in enumerate((0, 2, 0, 2))],
          recordings=2)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Threads


@pytest.fixture
def _eager_to_switch():
    """Threads take turns after every few lines."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _at_once(*tasks):
    """Run each of these in a thread of its own, all starting together."""
    start = threading.Barrier(len(tasks))

    def work(task):
        start.wait()
        task()

    workers = [threading.Thread(target=work, args=(task,)) for task in tasks]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@pytest.mark.usefixtures("_eager_to_switch")
def test_threads_share_a_compiled_step():
    made = stepping(lambda model, optimizer, x, y: F.mse_loss(model(x), y))()
    step = portanet.compile(made.step, state=made.state)
    count = 600
    calls = [(normal(i, 1 + i // 300, 5), normal(i + 1, 1 + i // 300, 3)) for i in range(count)]
    expected = [made.step(*args).item() for args in calls]
    found = {}

    def work(k):
        for i in range(k, count, 4):
            found[i] = step(*calls[i]).item()

    _at_once(*[functools.partial(work, k) for k in range(4)])
    assert [found[i] for i in range(count)] == expected
    assert step.recordings == 2


@pytest.mark.usefixtures("_eager_to_switch")
def test_a_step_that_trains_in_several_threads_loses_none():
    total = portanet.zeros(())

    @portanet.compile(state=total)
    def step(x):
        total[...] = total + x

    one = portanet.ones(())
    _at_once(*[lambda: [step(one) for _ in range(1000)]] * 3)
    assert total.item() == 3000.0
