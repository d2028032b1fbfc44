"""`portanet.compile` on NumPy: what a step may do, and what may happen to its state from one call to the next."""

from __future__ import annotations

import copy

import numpy
import pytest

import portanet
from portanet import autograd, nn, optim
from tests.stepping import (
    RECORDED,
    F,
    accumulating,
    batches,
    classes,
    normal,
    perceptron,
    prove,
    ran,
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


# ---------------------------------------------------------------------------------------------------------------------
# Gradients


def test_gradients_that_add_up():
    prove(stepping(accumulating), batches(STEPS))


def test_gradients_of_two_backwards_in_a_step():
    def body(model, optimizer, x, y):
        optimizer.zero_grad()
        for i in range(2):
            F.mse_loss(model(x * (i + 1)), y).backward()
        optimizer.step()

    prove(stepping(body), batches(STEPS))


def test_gradients_that_add_up_over_several_calls():
    def body(model, optimizer, x, y):
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    def between(i, made):
        if i % 3 == 0:
            made.optimizer.step()
            made.optimizer.zero_grad()

    prove(stepping(body), batches(10), between)


def test_zero_grad_after_the_step():
    def body(model, optimizer, x, y):
        loss = accumulating(model, optimizer, x, y)
        optimizer.zero_grad()
        return loss

    prove(stepping(body), batches(STEPS), recordings=1)


def test_zero_grad_outside():
    prove(stepping(accumulating), batches(STEPS), lambda i, made: made.optimizer.zero_grad(), recordings=1)


def test_gradients_set_to_zeros():
    def body(model, optimizer, x, y):
        optimizer.zero_grad(set_to_none=False)
        return accumulating(model, optimizer, x, y)

    prove(stepping(body), batches(STEPS))
    prove(stepping(accumulating), batches(STEPS), lambda i, made: made.optimizer.zero_grad(set_to_none=False))


@pytest.mark.parametrize("limit", (0.01, 100.0))
@pytest.mark.parametrize("zero", (True, False))
def test_clipped_gradients(limit, zero):
    def body(model, optimizer, x, y):
        if zero:
            optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
        nn.utils.clip_grad_value_(model.parameters(), 0.002)
        optimizer.step()
        return loss, norm

    prove(stepping(body), batches(STEPS))


def test_gradients_changed_outside():
    def between(i, made):
        for p in made.model.parameters():
            if p.grad is not None:
                p.grad = p.grad * 0.5 if i % 2 else portanet.ones_like(p.grad)

    prove(stepping(accumulating), batches(STEPS), between)


def test_a_penalty_on_the_gradient():
    def body(model, optimizer, x, y):
        optimizer.zero_grad()
        x = (x * 1.0).detach().requires_grad_()
        loss = F.mse_loss(model(x), y)
        (gradient,) = autograd.grad(loss, [x], create_graph=True)
        total = loss + portanet.sum(gradient * gradient)
        total.backward()
        optimizer.step()
        return total

    prove(stepping(body), batches(STEPS))


def test_frozen_and_unused_parameters():
    def make():
        model = perceptron(5, 8, 7, 3)
        model.idle = nn.Linear(2, 2)
        model[2].weight.requires_grad_(False)
        return trained(model, optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1), forward=model.forward)

    def step_of(made):
        layers = [made.model[i] for i in range(5)]

        def forward(x):
            for layer in layers:
                x = layer(x)
            return x

        return forward

    def made():
        one = make()
        forward, optimizer = step_of(one), one.optimizer

        def step(x, y):
            optimizer.zero_grad()
            loss = F.mse_loss(forward(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return world(step, *one.state)

    prove(made, batches(STEPS))


def test_parameters_frozen_and_thawed_between():
    def between(i, made):
        if i in (2, 5):
            made.model[0].weight.requires_grad_(i == 5)

    prove(usual(), batches(9), between, recordings=5)


# ---------------------------------------------------------------------------------------------------------------------
# Steps without an optimizer


def test_inference():
    def make():
        model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).eval()
        return world(lambda x: model(x), model)

    prove(make, [(x,) for x, _ in batches(STEPS)], recordings=1)


def test_inference_without_a_graph():
    def make():
        model = perceptron(5, 8, 3)

        def step(x):
            with portanet.no_grad():
                return {"scores": model(x), "class": portanet.argmax(model(x), axis=1)}

        return world(step, model)

    prove(make, [(x,) for x, _ in batches(STEPS)], recordings=1)


def test_a_call_under_no_grad_is_another_step():
    def make():
        model = perceptron(5, 3)
        seen = []

        def step(x):
            y = model(x)
            seen.append(y.requires_grad)
            return y

        return world(step, model, seen=seen)

    made = make()
    step = portanet.compile(made.step, state=made.state)
    x = normal(0, 4, 5)
    for _ in range(2):
        step(x)
        with portanet.no_grad():
            step(x)
    step(x)
    assert step.recordings == 2
    captures = portanet.get_backend().library.capturer() is not None
    assert made.seen == [True, False] * (2 if captures else 1)  # the first call of each form runs step by step


def test_tensors_as_the_state():
    def make():
        total, count = portanet.zeros((3, 2)), portanet.asarray(0)
        placed = portanet.zeros(4)

        def step(x, i):
            total[...] = total + x
            count[...] = count + 1
            placed[1:3] = portanet.sum(x, axis=0)
            return total / portanet.astype(count, portanet.float32) * i

        return world(step, total, count, placed)

    prove(make, [(normal(i, 3, 2), 2) for i in range(STEPS)], recordings=1)


def test_gradient_descent_by_hand():
    def make():
        w = portanet.asarray([[0.5, -1.0, 2.0]]).requires_grad_()

        def step(x, y):
            w.grad = None
            loss = F.mse_loss(portanet.matmul(x, w.mT), y)
            loss.backward()
            with portanet.no_grad():
                w[...] = w - 0.1 * w.grad
            return loss

        return world(step, w)

    prove(make, [(normal(i, 6, 3), normal(i + 9, 6, 1)) for i in range(STEPS)])


def test_two_tensors_of_the_state_change_places():
    def make():
        a, b = normal(1, 3), normal(2, 3)

        def step(x):
            a[...], b[...] = b + 0 * x, a.detach()
            return a + x

        return world(step, a, b)

    prove(make, [(normal(i, 3),) for i in range(STEPS)], recordings=1)


def test_a_state_carried_by_hand():
    def make():
        lstm = nn.LSTM(4, 6)
        return world(lambda x, state: lstm(x, state), lstm)

    eager, compiled = make(), make()
    compiled.state[0].load_state_dict(eager.state[0].state_dict())
    step = portanet.compile(compiled.step, state=compiled.state)
    one = other = (portanet.zeros((1, 2, 6)), portanet.zeros((1, 2, 6)))
    for i in range(STEPS):
        x = normal(i, 3, 2, 4)
        a, one = eager.step(x, one)
        b, other = step(x, other)
        for expected, found in ((a, b), *zip(one, other, strict=True)):
            assert numpy.array_equal(expected.detach().numpy(), found.numpy())
    assert (step.reason, step.recordings) == ("", 1)


# ---------------------------------------------------------------------------------------------------------------------
# Values from before the step of the optimizer, and writes before it and after it


def _trains(model, optimizer, x, y):
    optimizer.zero_grad()
    return accumulating(model, optimizer, x, y)


def _change(model, optimizer, x, y):
    old = model[0].weight.detach()
    _trains(model, optimizer, x, y)
    return portanet.sum(abs(model[0].weight.detach() - old)), old


def _view(model, optimizer, x, y):
    old = model[0].weight.detach()[1:, :]
    _trains(model, optimizer, x, y)
    return old * 1


def _returned(model, optimizer, x, y):
    old = model[0].weight.detach()
    _trains(model, optimizer, x, y)
    return old


def _graph(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward(retain_graph=True)
    optimizer.step()
    loss.backward()  # at the old point
    return loss


def _decay_before(model, optimizer, x, y):
    with portanet.no_grad():
        for p in model.parameters():
            p[...] = p * 0.9
    return _trains(model, optimizer, x, y)


def _decay_between(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    with portanet.no_grad():
        for p in model.parameters():
            p[...] = p * 0.9
    optimizer.step()
    return loss


def _clip_after(model, optimizer, x, y):
    loss = _trains(model, optimizer, x, y)
    with portanet.no_grad():
        for p in model.parameters():
            p[...] = portanet.clip(p, -0.1, 0.1)
    return loss


def _gradients_of_the_first(model, optimizer, x, y):
    first = _trains(model, optimizer, x, y)
    gradients = [p.grad for p in model.parameters()]
    return first, _trains(model, optimizer, x * y[:, :1], y), gradients


def _gradient_from_before(model, optimizer, x, y):
    before = model[0].weight.grad
    loss = _trains(model, optimizer, x, y)
    return loss if before is None else before * 2


def _moments(model, optimizer, x, y):
    _trains(model, optimizer, x, y)
    return optimizer.state_dict()["state"]


BODIES = [_change, _view, _returned, _graph, _decay_before, _decay_between, _clip_after, _gradients_of_the_first,
          _gradient_from_before, _moments]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_old_and_new_values_in_one_step(body):
    """Replayed or refused, what is computed is what the eager step computes."""
    prove(stepping(body), batches(STEPS), recordings=None, reason=None)


def test_an_embedding_that_scales_its_table():
    def make():
        model = nn.Sequential(nn.Embedding(7, 4, max_norm=0.5), nn.Linear(4, 3))
        return trained(model, optim.SGD(model.parameters(), lr=0.1))

    prove(make, [(classes(i, 7, 6), normal(i, 6, 3)) for i in range(STEPS)], recordings=None, reason=None)


@pytest.mark.parametrize("load", (True, False))
def test_a_second_network_that_follows(load):
    def make():
        made = usual()()
        slow, inner = copy.deepcopy(made.model), made.step

        def step(x, y):
            loss = inner(x, y)
            if load:
                slow.load_state_dict(made.model.state_dict())
            else:
                with portanet.no_grad():
                    for p, q in zip(slow.parameters(), made.model.parameters(), strict=True):
                        p[...] = 0.9 * p + 0.1 * q
            return loss

        return world(step, *made.state, slow)

    prove(make, batches(STEPS))


def test_a_rate_set_inside():
    def body(model, optimizer, x, y):
        optimizer.param_groups[0]["lr"] *= 0.9
        return _trains(model, optimizer, x, y)

    prove(stepping(body), batches(STEPS), recordings=None, reason=None)


def test_what_python_keeps_is_no_recorded_array():
    kept = []

    def body(model, optimizer, x, y):
        loss = _trains(model, optimizer, x, y)
        kept.append(loss.detach())
        return loss

    ran(stepping(body), batches(3))
    assert {type(x._raw) for x in kept} == {type(portanet.zeros(1)._raw)}
