"""The larger family of optimizers in compiled steps: replayed to the last bit, or refused with a reason."""

from __future__ import annotations

import numpy
import pytest

import portanet
from portanet import nn, optim
from portanet.library import namespace_of
from tests.optim.problem import named
from tests.optim.test_family import FULL
from tests.stepping import F, batches, perceptron, prove, trained, usual

STEPS = 6


def made(name, options, model):
    """A world whose optimizer is given what it takes: Muon has matrices alone, and SGD the rest."""
    if name != "Muon":
        return trained(model, getattr(optim, name)(model.parameters(), **options))
    world = trained(model, optim.Muon([p for p in model.parameters() if p.ndim == 2], **options))
    rest, inner = optim.SGD([p for p in model.parameters() if p.ndim != 2], lr=0.05), world.step

    def step(x, y):
        rest.zero_grad()
        loss = inner(x, y)
        rest.step()
        return loss

    world.step, world.state = step, (*world.state, rest)
    return world


@pytest.mark.parametrize("case", FULL, ids=named)
def test_on_numpy_each_is_replayed(case):
    name, options = case
    with portanet.use_backend("numpy"):
        prove(lambda: made(name, options, perceptron(5, 8, 3)), batches(STEPS))


@pytest.mark.parametrize("case", [*FULL, ("SGD", {"lr": 0.1, "momentum": 0.9}), ("RMSprop", {})], ids=named)
def test_on_numpy_a_parameter_without_gradient_is_left_alone(case):
    """Then a group is stepped one by one; what a rule keeps of a gradient must not change with the next."""
    name, options = case

    def make():
        model = perceptron(5, 8, 3)
        model.idle = nn.Linear(2, 2)
        model.forward = lambda x: model[2](model[1](model[0](x)))
        return made(name, options, model)

    with portanet.use_backend("numpy"):
        prove(make, batches(STEPS))


# PyTorch's compiler takes seconds for each: of those that it traces, the one whose rule is most unlike Adam's.
TRACED = [
    (case, library)
    for case in FULL
    for library in ("jax", "torch")
    if library == "jax" or case[0] in ("NAdam", "RAdam", "ASGD", "Adafactor")
]


@pytest.mark.parametrize(("case", "library"), TRACED, ids=lambda x: x if isinstance(x, str) else named(x))
def test_compilers_trace_it_or_are_told_why_not(case, library):
    pytest.importorskip(library)
    name, options = case
    with portanet.use_backend(library):
        runs = []
        for compiled in (False, True):
            portanet.manual_seed(3)
            world = made(name, options, perceptron(5, 8, 3))
            step = portanet.compile(world.step, state=world.state) if compiled else world.step
            losses = [float(step(x, y)) for x, y in batches(STEPS)]
            runs.append((losses, [p.detach().numpy() for p in world.model.parameters()]))
        untraceable = type(world.optimizer).untraceable
        assert step.reason == (f"{name} {untraceable}" if untraceable else "")
        assert numpy.allclose(runs[0][0], runs[1][0], rtol=1e-4, atol=1e-5)
        for eager, traced in zip(runs[0][1], runs[1][1], strict=True):
            assert numpy.allclose(eager, traced, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("library", ["numpy", "jax", "torch"])
def test_a_momentum_that_is_set_between_calls_is_used(library):
    pytest.importorskip(library)
    with portanet.use_backend(library):
        runs = []
        for compiled in (False, True):
            portanet.manual_seed(3)
            world = usual(optim.SGD, momentum=0.9)()
            step = portanet.compile(world.step, state=world.state) if compiled else world.step
            for i, (x, y) in enumerate(batches(4)):
                world.optimizer.param_groups[0]["momentum"] = 0.9 if i < 2 else 0.1
                step(x, y)
            runs.append([p.detach().numpy() for p in world.model.parameters()])
        assert step.reason == ""
        for eager, replayed in zip(*runs, strict=True):
            assert numpy.allclose(eager, replayed, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# A rule that looks at a whole parameter is never given several as one.


def test_a_rule_of_whole_parameters_sees_each_by_itself(monkeypatch):
    """Even where its library has a kernel in place, which alone lets the parameters of a group be stepped as one."""
    seen = []

    def shaped_update(xp, p, g, state, *, lr):
        return p - lr * g / xp.max(xp.abs(g)), state

    def in_place(p, g, state, *, lr):
        seen.append(p.shape)
        p -= lr * g / abs(g).max()
        return True

    class Shaped(optim.Optimizer):
        rule = staticmethod(shaped_update)
        elementwise = False

        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

    class Flat(Shaped):
        elementwise = True  # which it is not

    with portanet.use_backend("numpy"):
        library = namespace_of(portanet.ones(1)._raw)
        monkeypatch.setitem(library.__dict__, "shaped_update_", in_place)
        shapes = [tuple(p.shape) for p in perceptron(5, 8, 3).parameters()]
        prove(usual(Shaped), batches(STEPS))
        assert set(seen) == set(shapes)
        with pytest.raises(AssertionError, match=r"call \d: \["):
            prove(usual(Flat), batches(STEPS))
        assert any([len(shape) == 1 and shape not in shapes for shape in seen])  # the kernel was given all as one


@pytest.mark.parametrize("name", sorted({name for name, _ in FULL}))
def test_the_rules_that_say_so_are_elementwise(name, backend):
    """Two parameters side by side in one array step as each would alone, unless the optimizer says that they do not."""
    options = dict(FULL)[name]
    x = [portanet.asarray(rows) for rows in ([[1.0, -2.0]], [[0.5, 3.0]])]
    g = [portanet.asarray(rows) for rows in ([[0.1, 0.3]], [[-2.0, 1.0]])]
    alone, together = [], portanet.concat(x).requires_grad_()
    for one, gradient in zip(x, g, strict=True):
        p = (one * 1).requires_grad_()
        optimizer = getattr(optim, name)([p], **options)
        for _ in range(3):
            p.grad = gradient
            optimizer.step()
        alone.append(p.detach())
    optimizer = getattr(optim, name)([together], **options)
    for _ in range(3):
        together.grad = portanet.concat(g)
        optimizer.step()
    same = numpy.allclose(portanet.concat(alone).numpy(), together.detach().numpy(), rtol=1e-6)
    assert same == type(optimizer).elementwise


def test_a_step_with_a_closure_is_not_recorded():
    with portanet.use_backend("numpy"):
        model = perceptron(5, 3)
        optimizer = optim.Rprop(model.parameters())

        def step(x, y):
            def closure():
                optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                return loss

            return optimizer.step(closure)

        compiled = portanet.compile(step, state=(model, optimizer))
        losses = [float(compiled(*batches(1)[0])) for _ in range(5)]
        assert losses[-1] < losses[0] and "closure" in compiled.reason
