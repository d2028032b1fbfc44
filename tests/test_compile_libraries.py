"""`portanet.compile` by the compilers of JAX and PyTorch, and where there is none.

These fuse and reorder what they compute, so the last bits differ from those of the eager step. In float64 that leaves
about 1e-13 after a few steps; a wrong gradient, count or rate would be seen at 1e-3.
"""

from __future__ import annotations

import shutil

import numpy
import pytest

import portanet
from portanet import nn, optim
from tests.stepping import F, batches, labelled, normal, perceptron, prove, ran, trained, world

CLOSE = 1e-9
STEPS = 5

OPTIMIZERS = {
    "SGD": (optim.SGD, {"lr": 0.1}),
    "momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "Adam": (optim.Adam, {"lr": 0.01}),
    "amsgrad": (optim.Adam, {"lr": 0.01, "amsgrad": True}),
    "AdamW": (optim.AdamW, {"lr": 0.01}),
    "RMSprop": (optim.RMSprop, {"lr": 0.01, "momentum": 0.9}),
}


def usual(kind=optim.Adam, **options):
    def make():
        model = perceptron(5, 8, 3, dtype=portanet.float64)
        return trained(model, kind(model.parameters(), **{"lr": 0.01, **options}))

    return make


def doubles(count, **options):
    return batches(count, dtype="float64", **options)


def near(make, calls, between=None, recordings=2):
    """Assert that the compiled step does nearly what the eager one does; returns the world and the callable."""
    _, _, expected = ran(make, calls, between, compiled=False)
    made, step, found = ran(make, calls, between)
    assert step.reason == ""
    assert step.recordings == recordings
    assert expected[0] != expected[-1], "nothing changed: this proves nothing"
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            alike(name, one[name], other[name])
    return made, step


def alike(name, one, other):
    """Compare what `tests.stepping.seen` made of arrays and plain values."""
    if isinstance(one, tuple) and len(one) == 4 and isinstance(one[3], bytes):
        assert one[:3] == other[:3], name
        a, b = [numpy.frombuffer(x[3], x[1]) for x in (one, other)]
        numpy.testing.assert_allclose(b, a, rtol=CLOSE, atol=CLOSE, err_msg=name)
    elif isinstance(one, dict) and one.keys() == other.keys():
        for key in one:
            alike(f"{name}[{key}]", one[key], other[key])
    elif isinstance(one, tuple) and isinstance(one[1], list):
        for a, b in zip(one[1], other[1], strict=True):
            alike(name, a, b)
    else:
        assert one == other, name


@pytest.fixture(params=["jax", "torch"])
def compiler(request):
    if request.param == "torch":
        pytest.importorskip("torch")
        if shutil.which("g++") is None and shutil.which("clang++") is None:
            pytest.skip("torch.compile needs a C++ compiler")
    else:
        pytest.importorskip("jax")
    with portanet.use_backend(request.param):
        yield request.param


@pytest.fixture
def on_jax():
    pytest.importorskip("jax")
    with portanet.use_backend("jax"):
        yield


def test_training(compiler):
    """With a schedule, whose rates are no constants of the program, and a count of steps that goes on."""

    def make():
        model = perceptron(3, 4, 2, dtype=portanet.float64)
        made = trained(model, optim.Adam(model.parameters(), lr=0.1))
        made.scheduler = optim.lr_scheduler.StepLR(made.optimizer, 2, gamma=0.5)
        return made

    def between(i, made):
        made.optimizer.zero_grad()  # so that there is one form, as compiling takes long
        if i:
            made.scheduler.step()

    made, step = near(make, doubles(STEPS, features=3, outputs=2), between, recordings=1)
    for state in made.optimizer.state.values():
        assert state["step"] == STEPS
        assert type(state["step"]) is int
    if compiler == "jax":
        # One program for the first step, when there is no state yet, and one for all rates and counts that follow.
        assert [kept.compiled._cache_size() for kept in step._kept] == [2]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(on_jax, name):
    kind, options = OPTIMIZERS[name]
    near(usual(kind, **options), doubles(STEPS))


def test_layers(on_jax):
    def make():
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, dtype=portanet.float64), nn.BatchNorm2d(4, dtype=portanet.float64), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.LayerNorm(16, dtype=portanet.float64), nn.GELU(),
            nn.Linear(16, 4, dtype=portanet.float64),
        )  # fmt: skip
        return trained(model, optim.Adam(model.parameters(), lr=0.01), F.cross_entropy)

    calls = [(normal(i, 3, 1, 6, 6, dtype="float64"), y) for i, (_, y) in enumerate(labelled(STEPS, 3, 5))]
    near(make, calls)


def test_gradients_that_add_up(on_jax):
    def make():
        made = usual()()
        model, optimizer = made.state

        def step(x, y):
            loss = F.mse_loss(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            return {"loss": loss, "count": 1}

        return world(step, *made.state, model=model)

    near(make, doubles(STEPS))


def test_batches_of_other_sizes_and_modes(on_jax):
    calls = [
        (normal(i, n, 5, dtype="float64"), normal(i + 9, n, 3, dtype="float64")) for i, n in enumerate((4, 4, 2, 4, 2))
    ]
    near(usual(), calls, recordings=3)
    near(usual(), doubles(4), lambda i, made: made.model.train(i % 2 == 0), recordings=3)


def test_tensors_as_the_state(on_jax):
    def make():
        total = portanet.zeros(3, dtype=portanet.float64)

        def step(x):
            total[...] = total * 0.5 + portanet.sum(x, axis=0)
            return total / 2

        return world(step, total)

    near(make, [(normal(i, 2, 3, dtype="float64"),) for i in range(STEPS)], recordings=1)


def test_values_set_outside(on_jax):
    def between(i, made):
        with portanet.no_grad():
            if i == 2:
                made.model[0].weight[0, :] = 0.5
        if i == 3:
            made.kept = made.optimizer.state_dict()
        if i == 4:
            made.optimizer.load_state_dict(made.kept)

    near(usual(), doubles(6), between)


def test_a_hyperparameter_that_changes_while_it_stays_the_same_object(on_jax):
    betas = [0.9, 0.99]

    def between(i, made):
        made.optimizer.param_groups[0]["betas"] = betas
        betas[0] = 0.9 if i < 4 else 0.5

    near(usual(), doubles(STEPS + 1), between, recordings=3)


EAGER = {
    "dropout": (lambda x: F.dropout(x, 0.5), "random numbers"),
    "noise": (lambda x: x + portanet.random.uniform((6, 5), dtype=portanet.float64), "random numbers"),
    "a truth value": (lambda x: x * 2 if portanet.sum(x) > 0 else x * 3, "Tracer"),
    "item()": (lambda x: x * portanet.sum(x).item(), "Tracer"),
    "an optimizer from elsewhere": (lambda x: x, "which is not in state"),
}


@pytest.mark.parametrize("name", EAGER)
def test_what_cannot_be_traced_runs_eagerly(on_jax, name):
    """Then the results are those of the eager step to the last bit."""
    change, reason = EAGER[name]

    def make():
        made = usual()()
        model, optimizer = made.state

        def step(x, y):
            optimizer.zero_grad()
            loss = F.mse_loss(model(change(x)), y)
            loss.backward()
            optimizer.step()
            return loss

        kept = (model,) if "optimizer" in name else (model, optimizer)
        return world(step, *kept, hidden=optimizer)

    prove(make, doubles(4), recordings=None, reason=reason)


@pytest.mark.parametrize("name", ("array_api_strict", "dpnp"))
def test_libraries_without_a_compiler_run_eagerly(name):
    pytest.importorskip(name)
    if name == "dpnp" and portanet.backend._info("dpnp").reason:
        pytest.skip(portanet.backend._info("dpnp").reason)
    with portanet.use_backend(name):
        prove(usual(), doubles(3), recordings=0, reason=f"{name} has no compiler that is known here")


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_sums_into_elements_that_share_their_memory(name):
    pytest.importorskip(name)
    with portanet.use_backend(name):
        indices = portanet.asarray([3, 0, 3, 3, 1, 0])

        def summed(indices):
            nothing = portanet.broadcast_to(portanet.zeros((1, 4)), (5, 4))
            return portanet.namespace.scatter_add(nothing, indices, portanet.ones((6, 4)))

        compiled = portanet.compile(summed)
        assert compiled(indices)[:, 0].tolist() == summed(indices)[:, 0].tolist() == [2.0, 1.0, 0.0, 3.0, 0.0]
        assert compiled.reason == ""
