"""A training step made twice from the same numbers, once eager and once compiled, and compared after every call."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy

import portanet
from portanet import nn, optim, random
from portanet.library import to_numpy
from portanet.lifting import collected
from portanet.tensor import Tensor

F = nn.functional
RECORDED = ("numpy", "cupy")  # the backends where a compiled step gives the bits of the eager one


def normal(seed, *shape, dtype="float32"):
    """A Tensor of normal numbers, the same for the same seed."""
    return portanet.asarray(numpy.random.default_rng(seed).normal(size=shape).astype(dtype))


def classes(seed, count, *shape):
    """A Tensor of class numbers below ``count``."""
    return portanet.asarray(numpy.random.default_rng(seed).integers(0, count, size=shape))


def world(step, *state, **more):
    """What a test makes twice: a step, the state that it changes, and whatever else the test wants to look at."""
    return SimpleNamespace(step=step, state=state, **more)


def trained(model, optimizer, loss=F.mse_loss, **more):
    """The usual world: forward, loss, backward, optimizer step."""

    def step(x, y):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return world(step, model, optimizer, model=model, optimizer=optimizer, **more)


def usual(kind=optim.Adam, **options):
    """Makes a world that is trained as most are."""

    def make():
        model = perceptron(5, 8, 3)
        return trained(model, kind(model.parameters(), **{"lr": 0.05, **options}))

    return make


def stepping(body, kind=optim.Adam, **options):
    """Makes a world whose step is ``body(model, optimizer, *args)``."""

    def make():
        model = perceptron(5, 8, 3)
        optimizer = kind(model.parameters(), **{"lr": 0.05, **options})
        return world(lambda *args: body(model, optimizer, *args), model, optimizer, model=model, optimizer=optimizer)

    return make


def accumulating(model, optimizer, x, y):
    """The body of a step that never forgets a gradient."""
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


def perceptron(*widths, activation=nn.Tanh, dtype=None):
    """Linear layers with an activation between."""
    layers = []
    for n, m in itertools.pairwise(widths):
        layers += [nn.Linear(n, m, dtype=dtype), activation()]
    return nn.Sequential(*layers[:-1])


def batches(count, n=6, features=5, outputs=3, dtype="float32"):
    """Inputs and real targets for ``count`` steps."""
    return [(normal(2 * i, n, features, dtype=dtype), normal(2 * i + 1, n, outputs, dtype=dtype)) for i in range(count)]


def labelled(count, *shape, outputs=4):
    """Inputs of ``shape`` and class numbers for ``count`` steps."""
    return [(normal(i, *shape), classes(i, outputs, shape[0])) for i in range(count)]


# ---------------------------------------------------------------------------------------------------------------------


def seen(made, result):
    """All that a step may have changed or returned, as plain values by name: arrays as dtype, shape and bytes."""
    found = {f"result {i}": _bits(x) for i, x in enumerate(collected(result))}
    found["result"] = _plain(result)
    for k, one in enumerate(made.state):
        if isinstance(one, nn.Module):
            named = [*one.named_parameters(), *one.named_buffers()]
        elif isinstance(one, optim.Optimizer):
            named = [(str(i), p) for i, p in enumerate([p for group in one.param_groups for p in group["params"]])]
            for i, p in named:
                for name, value in one.state.get(p, {}).items():
                    found[f"{k}: state {name} of {i}"] = _plain(value)
            found[f"{k}: step_called"] = one.step_called
        else:
            named = [("", one)]
        for name, x in named:
            found[f"{k}: {name}"] = _plain(x)
            found[f"{k}: grad of {name}"] = _plain(x.grad)
    found["random numbers"] = random.get_state()
    return found


def _plain(tree):
    if isinstance(tree, Tensor):
        return _bits(tree._raw)
    if hasattr(tree, "dtype"):
        return _bits(tree)
    if isinstance(tree, dict):
        return {name: _plain(x) for name, x in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree).__name__, [_plain(x) for x in tree]
    return type(tree).__name__, tree


def _bits(raw):
    array = to_numpy(raw)
    return type(raw).__name__, str(array.dtype), array.shape, array.tobytes()


def ran(make, calls, between=None, compiled=True):
    """Make a world and call its step with each of ``calls``: the world, the callable, and what was seen after each."""
    random.manual_seed(7)
    made = make()
    step = portanet.compile(made.step, state=made.state) if compiled else made.step
    trace = []
    for i, args in enumerate(calls):
        if between is not None:
            between(i, made)
        try:
            result = step(*args)
        except Exception as problem:
            result = f"{type(problem).__name__}: {problem}"
        trace.append(seen(made, result))
    return made, step, trace


def prove(make, calls, between=None, recordings=2, reason=""):
    """Assert that the compiled step does what the eager one does, bit by bit, after each of ``calls``.

    Args:
        make: makes a `world`; called twice, with the same random numbers.
        calls: the arguments of each call.
        between: called with the number of the call and the world, before each.
        recordings: how often the step must have been recorded: once where there are no gradients yet, once where
            there are; None leaves that open.
        reason: what the reason why the last call ran eagerly must contain; "" means that it was replayed,
            None leaves that open.

    Returns:
        the world and the callable of the compiled run.
    """
    _, _, expected = ran(make, calls, between, compiled=False)
    made, step, found = ran(make, calls, between)
    for i, (one, other) in enumerate(zip(expected, found, strict=True)):
        different = [name for name in {**one, **other} if one.get(name, "missing") != other.get(name, "missing")]
        assert not different, (
            f"call {i}: {different}, {step.reason!r}: {one.get(different[0])}, {other.get(different[0])}"
        )
    captures = portanet.get_backend().library.capturer() is not None
    if captures and reason == "":
        assert step.reason == "" or step.reason.startswith("the first call"), step.reason
    elif reason is not None:
        assert step.reason == "" if reason == "" else reason in step.reason, step.reason or "replayed"
    if not captures:  # where the first call of each form is not recorded, other calls are
        assert recordings in (step.recordings, None), f"{step.recordings} recordings"
    assert len(calls) < 2 or expected[0] != expected[-1], "nothing changed: this proves nothing"
    return made, step
