"""`portanet.compile` on NumPy where a plan does not apply: other ways through a step, refusals, errors, threads."""

from __future__ import annotations

import warnings

import numpy
import pytest

import portanet
from portanet import nn, optim
from portanet.plan.recorded import Recorded
from tests.stepping import (
    F,
    batches,
    classes,
    labelled,
    normal,
    perceptron,
    prove,
    ran,
    stepping,
    trained,
    world,
)

STEPS = 6


@pytest.fixture(autouse=True)
def _on_numpy():
    with portanet.use_backend("numpy"):
        yield


def trains(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


# ---------------------------------------------------------------------------------------------------------------------
# Truth values


def test_both_ways_of_a_branch():
    def body(model, optimizer, x, y):
        x = x * 2 if portanet.sum(x) > 0 else x * 3
        return trains(model, optimizer, x, y), x

    signs = (1, 1, -1, 1, -1, -1, 1, 1, -1, 1)
    calls = [(sign * abs(x), y) for (x, y), sign in zip(batches(10), signs, strict=True)]
    prove(stepping(body), calls, recordings=3)


def test_a_branch_on_the_state():
    def make():
        count = portanet.asarray(0)

        def step(x):
            count[...] = count + 1
            return x * 10 if count > 3 else x

        return world(step, count)

    prove(make, [(normal(i, 3),) for i in range(STEPS)], recordings=2)


def test_a_loop_until_a_condition_holds():
    def make():
        def step(x):
            n = 0
            while portanet.max(x) > 1:
                x, n = x / 2, n + 1
            return x, n

        return world(step)

    prove(make, [(normal(i, 3) * scale,) for i, scale in enumerate((1, 40, 3, 40, 0.1, 3, 1))], recordings=None)


def test_a_branch_with_random_numbers_before_it():
    """A way that does not apply leaves the generator as it was."""

    def make():
        def step(x):
            y = x + portanet.random.rand(3)
            return y + portanet.random.rand(3) if portanet.sum(y) > 2 else y

        return world(step)

    prove(make, [(normal(i, 3),) for i in range(12)], recordings=2)


def test_a_branch_behind_the_step_of_an_optimizer_is_refused():
    def body(model, optimizer, x, y):
        loss = trains(model, optimizer, x, y)
        return loss if loss > 0.5 else -loss

    prove(stepping(body), batches(STEPS), recordings=0, reason="a truth value is asked for after Adam.step()")


# ---------------------------------------------------------------------------------------------------------------------
# What cannot be recorded

EAGER = {
    "item()": (lambda loss, x: loss.item(), "conversion"),
    "float()": (lambda loss, x: float(loss) + 1, "float()"),
    "int()": (lambda loss, x: int(loss * 100), "int()"),
    "tolist()": (lambda loss, x: x.tolist()[0], ""),
    "numpy()": (lambda loss, x: numpy.tanh(x.numpy()), ""),
    "printing": (lambda loss, x: str(loss) + repr(x), ""),
    "formatting": (lambda loss, x: f"{loss:.3f}", ""),
    "a mask": (lambda loss, x: x[x > 0], "depends on the elements"),
    "nonzero": (lambda loss, x: portanet.nonzero(x > 0), "depends on the elements"),
    "unique": (lambda loss, x: portanet.unique_values(portanet.round(x)), "depends on the elements"),
    "a number of elements": (lambda loss, x: int(portanet.count_nonzero(x > 0)), ""),
    "an index": (lambda loss, x: x[int(portanet.argmax(x[:, 0])), :], "int()"),
    "another library": (lambda loss, x: portanet.sum(x.to("array_api_strict") * 2).item(), ""),
    "math": (lambda loss, x: __import__("math").exp(loss), "float()"),
}  # fmt: skip


@pytest.mark.parametrize("name", EAGER)
def test_a_step_that_reads_elements_runs_eagerly(name):
    look, reason = EAGER[name]

    def body(model, optimizer, x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        seen = look(loss.detach(), x)
        optimizer.step()
        return loss, seen

    _, step = prove(stepping(body), batches(STEPS), recordings=0, reason=reason or "replay")
    assert len(step.reason) > 20


def test_a_mean_over_all_batches_so_far_runs_eagerly():
    def make():
        model = nn.Sequential(nn.BatchNorm1d(5, momentum=None), nn.Linear(5, 3))
        return trained(model, optim.SGD(model.parameters(), lr=0.1))

    prove(make, batches(STEPS), recordings=0, reason="float()")


def test_a_closure_is_refused():
    def body(model, optimizer, x, y):
        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss

        return optimizer.step(closure)

    prove(stepping(body), batches(STEPS), recordings=0, reason="Adam.step(closure)")


@pytest.mark.parametrize("first", (True, False))
def test_a_schedule_inside_is_refused_and_keeps_its_count(first):
    def make():
        model = perceptron(5, 8, 3)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        scheduler = optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)

        def step(x, y):
            if first and scheduler.last_epoch:
                scheduler.step()
            loss = trains(model, optimizer, x, y)
            if not first or not scheduler.last_epoch:
                scheduler.step()
            return loss, scheduler.last_epoch, scheduler.get_last_lr()

        return world(step, model, optimizer)

    prove(make, batches(STEPS), recordings=0, reason="StepLR.step() has effects in Python")


def test_a_schedule_that_watches_a_figure_is_refused():
    def make():
        model = perceptron(5, 8, 3)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)

        def step(x, y):
            scheduler.step(1.0)
            return trains(model, optimizer, x, y), scheduler.last_epoch, scheduler.get_last_lr()

        return world(step, model, optimizer)

    prove(make, batches(STEPS), recordings=0, reason="ReduceLROnPlateau.step() has effects in Python")


def test_an_optimizer_that_is_not_in_the_state_is_refused():
    def make():
        made = stepping(trains)()
        made.hidden, made.state = made.optimizer, (made.model,)
        return made

    prove(make, batches(STEPS), recordings=0, reason="Adam.step() is called, which is not in state")


def test_an_argument_that_requires_grad_is_refused():
    def body(model, optimizer, x, y):
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    def run(compiled):
        portanet.random.manual_seed(3)
        made = stepping(body)()
        step = portanet.compile(made.step, state=made.state) if compiled else made.step
        x = normal(0, 6, 5).requires_grad_()
        step(x, normal(1, 6, 3))
        return x.grad.numpy(), step

    found, step = run(True)
    assert numpy.array_equal(found, run(False)[0])
    assert "requires grad" in step.reason


def test_a_model_that_is_not_in_the_state_gets_its_gradients():
    """Gradients of what is not named must not be lost, nor stay inside of the recording."""

    def make():
        model = perceptron(5, 8, 3)
        total = portanet.zeros(())

        def step(x, y):
            loss = F.mse_loss(model(x), y)
            loss.backward()
            total[...] = total + loss.detach()
            return loss

        return world(step, total, model=model)

    portanet.random.manual_seed(3)
    eager = make()
    portanet.random.manual_seed(3)
    compiled = make()
    step = portanet.compile(compiled.step, state=compiled.state)
    for args in batches(3):
        assert eager.step(*args).item() == step(*args).item()
        for p, q in zip(eager.model.parameters(), compiled.model.parameters(), strict=True):
            assert type(q.grad._raw) is numpy.ndarray
            assert numpy.array_equal(p.grad.numpy(), q.grad.numpy())
    assert step.reason


def test_buffers_that_are_not_in_the_state_are_kept():
    def make():
        norm, model = nn.BatchNorm1d(5), nn.Linear(5, 3)
        made = trained(nn.Sequential(norm, model), optim.SGD(model.parameters(), lr=0.1), norm=norm)
        made.state = made.state[1:]
        return made

    portanet.random.manual_seed(3)
    eager = make()
    portanet.random.manual_seed(3)
    compiled = make()
    step = portanet.compile(compiled.step, state=compiled.state)
    for args in batches(3):
        assert eager.step(*args).item() == step(*args).item()
    for buffer, other in zip(eager.norm.buffers(), compiled.norm.buffers(), strict=True):
        assert type(other._raw) is numpy.ndarray
        assert numpy.array_equal(buffer.numpy(), other.numpy())


def test_no_array_at_all_and_two_libraries():
    step = portanet.compile(lambda n: n + 1)
    assert step(1) == 2
    assert "no array" in step.reason
    torch = pytest.importorskip("torch")
    step = portanet.compile(lambda x, y: (x * 2, y * 2))
    x, y = step(portanet.ones(2), portanet.Tensor(torch.ones(2)))
    assert x.tolist() == y.tolist() == [2.0, 2.0]
    assert "several libraries: numpy, torch" in step.reason


def test_nothing_of_a_recording_stays_in_what_it_changed():
    """Whether it was refused or not."""

    def make():
        made = stepping(lambda *args: (trains(*args), args[2].tolist()))()
        return made

    made, _, _ = ran(make, batches(2))
    values = [x._raw for x in made.model.parameters()] + [p.grad._raw for p in made.model.parameters()]
    values += [x._raw for state in made.optimizer.state.values() for x in state.values() if not isinstance(x, int)]
    assert len(values) == 16
    assert not any(isinstance(x, Recorded) for x in values)


# ---------------------------------------------------------------------------------------------------------------------
# Errors


def test_a_target_out_of_range_raises_as_ever_and_changes_nothing():
    def make():
        model = perceptron(5, 8, 4)
        return trained(model, optim.Adam(model.parameters(), lr=0.05), F.cross_entropy)

    calls = labelled(STEPS, 6, 5)
    calls[0] = (calls[0][0], calls[0][1] + 100)
    calls[3] = (calls[3][0], portanet.asarray([0, 1, 2, 3, 4, 0]))
    calls[4] = (calls[4][0], portanet.asarray([0, 1, 2, 3, -1, 0]))
    _, step = prove(make, calls, recordings=None)
    with pytest.raises(IndexError):
        step(*calls[3])


def test_ignored_targets():
    def make():
        model = perceptron(5, 8, 4)
        return trained(model, optim.Adam(model.parameters(), lr=0.05), F.cross_entropy)

    calls = labelled(STEPS, 6, 5)
    for i in (1, 3, 4):
        target = calls[i][1].numpy().copy()
        target[i:] = -100
        calls[i] = (calls[i][0], portanet.asarray(target))
    prove(make, calls, recordings=None)


def test_an_index_of_an_embedding_out_of_range():
    def make():
        model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3))
        return trained(model, optim.SGD(model.parameters(), lr=0.05))

    numbers = [classes(i, 5, 6) for i in range(STEPS)]
    numbers[3] = numbers[3] + 5
    prove(make, [(x, normal(i, 6, 3)) for i, x in enumerate(numbers)], recordings=None)


def test_a_shape_that_does_not_fit():
    calls = batches(STEPS)
    calls[1] = (normal(5, 6, 4), calls[1][1])
    calls[4] = (calls[4][0], normal(5, 6, 2))
    prove(stepping(trains), calls)


def test_an_error_of_the_step_s_own():
    """Raised in Python, by a truth value: before the step of the optimizer and in the midst of gradients."""

    def body(model, optimizer, x, y):
        loss = F.mse_loss(model(x), y)
        loss.backward()
        noise = portanet.random.rand(2)
        if portanet.max(x) > 50:
            raise ArithmeticError(f"too large: {x.shape}")
        optimizer.step()
        optimizer.zero_grad()
        return loss, noise

    calls = batches(9)
    for i in (0, 3, 4, 7):
        calls[i] = (calls[i][0] * 1000, calls[i][1])
    prove(stepping(body), calls, recordings=None)


def test_an_error_after_the_step_of_an_optimizer():
    def body(model, optimizer, x, y):
        loss = trains(model, optimizer, x, y)
        x[portanet.astype(portanet.sum(abs(x), axis=1) * 0 + y[:, 0], portanet.int64), :]
        return loss

    calls = [(x, portanet.zeros((6, 3)) + (9 if i in (2, 4) else 0)) for i, (x, _) in enumerate(batches(STEPS))]
    prove(stepping(body), calls, recordings=None)


def test_warnings_are_those_of_the_eager_step():
    """NumPy warns of overflow where eager code does, and not where a kernel has asked it not to."""
    layers = [
        getattr(nn, name)() for name in ("Sigmoid", "GELU", "Softplus", "SiLU", "ELU", "LogSigmoid", "Mish", "SELU")
    ]
    x = portanet.asarray([-1e30, -1e4, -90.0, 0.0, 90.0, 1e4, 1e30])

    def step(x):
        return [layer(x) for layer in layers], portanet.exp(x) / 0

    def messages(call):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            call(x)
        return sorted(str(one.message) for one in found)

    compiled = portanet.compile(step)
    compiled(x)
    assert messages(compiled) == messages(step) != []
    assert compiled.reason == ""


def test_numpy_told_to_raise():
    def step(x):
        return 1 / x

    compiled = portanet.compile(step)
    compiled(portanet.ones(2))
    with numpy.errstate(divide="raise"), pytest.raises(FloatingPointError):
        compiled(portanet.zeros(2))
    assert compiled(portanet.full(2, 4.0)).tolist() == [0.25, 0.25]
    assert compiled.reason == ""


# ---------------------------------------------------------------------------------------------------------------------
# The callable itself


def test_a_compiled_step_inside_of_another_is_a_part_of_it():
    model = perceptron(5, 3)
    inner = portanet.compile(lambda x: model(x) * 2, state=model)
    outer = portanet.compile(lambda x: inner(x) + 1, state=model)
    x = normal(0, 4, 5)
    for _ in range(3):
        assert numpy.array_equal(outer(x).numpy(), (model(x) * 2 + 1).detach().numpy())
    assert (outer.recordings, outer.reason, inner.recordings) == (1, "", 0)


def test_python_of_the_step_runs_when_it_is_recorded():
    seen = []

    @portanet.compile
    def step(x):
        seen.append(len(seen))
        return x + 1

    for _ in range(5):
        step(portanet.ones(2))
    step(portanet.ones(3))
    assert seen == [0, 1]


def test_results_are_constants():
    made = stepping(lambda model, optimizer, x, y: model(x))()
    step = portanet.compile(made.step, state=made.state)
    x, y = batches(1)[0]
    first, second = step(x, y), step(x, y)
    assert not first.requires_grad
    assert not second.requires_grad
    assert first.array is not second.array
    eager = portanet.compile(lambda x: (made.model(x), x.tolist()), state=made.model)
    assert not eager(x)[0].requires_grad  # as when it is replayed


def test_what_compile_takes():
    with pytest.raises(TypeError, match="expected a function, saw int"):
        portanet.compile(3)
    with pytest.raises(TypeError, match="Modules, Optimizers, Tensors and a GradScaler, saw str"):
        portanet.compile(lambda: 0, state="model")
    with pytest.raises(TypeError, match="saw ndarray"):
        portanet.compile(lambda: 0, state=(numpy.ones(2),))


def test_it_is_described():
    def doubled(x):
        """Twice x."""
        return x * 2

    step = portanet.compile(doubled)
    assert step.__doc__ == "Twice x."
    assert step.__name__ == "doubled"
    step(portanet.ones(2))
    assert repr(step).startswith("<compiled test_it_is_described.<locals>.doubled: 1 recordings")
    step("no array")
    assert "no array" in repr(step)


def test_two_optimizers_of_one_parameter_step_one_by_one():
    """The second one's step was once lost: its parameters lay with the first's."""

    def trained(compile):
        w = portanet.tensor([1.0, 2.0], requires_grad=True)
        first, second = portanet.optim.SGD([w], lr=0.125), portanet.optim.SGD([w], lr=0.25)

        def step(x):
            first.zero_grad()
            portanet.sum(w * w * x).backward()
            first.step()
            second.step()

        run = portanet.compile(step, state=(first, second)) if compile else step
        for _ in range(3):
            run(portanet.ones(2))
        return w.tolist(), getattr(run, "reason", "belongs to two optimizers")

    with portanet.use_backend("numpy"):
        values, reason = trained(True)
        assert values == trained(False)[0]
        assert "belongs to two optimizers" in reason


def test_an_optimizer_named_twice_is_one():
    with portanet.use_backend("numpy"):
        w = portanet.tensor([1.0], requires_grad=True)
        optimizer = portanet.optim.SGD([w], lr=0.5)

        @portanet.compile(state=(optimizer, optimizer))
        def step():
            optimizer.zero_grad()
            portanet.sum(w).backward()
            optimizer.step()

        step()
        step()
        assert (w.tolist(), step.reason) == ([0.0], "")
