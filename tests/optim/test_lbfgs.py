"""L-BFGS walks PyTorch's path, keeps PyTorch's state, and finds a minimum; its line search meets Wolfe's conditions."""

from __future__ import annotations

import inspect
import math

import numpy
import pytest

import portanet
from portanet import optim
from portanet.optim.line_search import Point, cubic_minimum, strong_wolfe
from tests.optim.problem import Oracle, loss, named, one, parameters, values

CASES = [
    ("LBFGS", {"max_iter": 4}),
    ("LBFGS", {"lr": 0.3, "max_iter": 4}),
    ("LBFGS", {"max_iter": 4, "line_search_fn": "strong_wolfe"}),
    ("LBFGS", {"lr": 0.01, "max_iter": 4, "line_search_fn": "strong_wolfe"}),
    ("LBFGS", {"lr": 30.0, "max_iter": 4, "line_search_fn": "strong_wolfe"}),
    ("LBFGS", {"max_iter": 4, "max_eval": 3, "line_search_fn": "strong_wolfe"}),
    ("LBFGS", {"max_iter": 9, "max_eval": 3}),
    ("LBFGS", {"lr": 0.3, "max_iter": 4, "history_size": 2}),
    ("LBFGS", {"lr": 0.3, "max_iter": 5, "tolerance_grad": 0.02}),
    ("LBFGS", {"lr": 0.3, "max_iter": 5, "tolerance_change": 1e-3}),
]


def closure_of(p, optimizer, counted):
    def closure():
        counted.append(1)
        optimizer.zero_grad()
        value = loss(p)
        value.backward()
        return value

    return closure


def paths(options, steps, p=None, oracle=None, kind=float):
    torch = pytest.importorskip("torch")
    p, oracle = p or parameters(), oracle or Oracle()
    ours, theirs = optim.LBFGS(p.values(), **options), torch.optim.LBFGS(oracle.p.values(), **options)
    counts = [], []

    def their_closure():
        counts[1].append(1)
        theirs.zero_grad()
        value = oracle.loss()
        value.backward()
        return value

    closure = closure_of(p, ours, counts[0])
    points = []
    for _ in range(steps):
        losses = float(ours.step(closure)), float(theirs.step(their_closure))
        expected = numpy.concatenate([x.detach().numpy().reshape(-1) for x in oracle.p.values()])
        points.append((values(p), expected, *losses))
    return points, ours, theirs, counts, their_closure


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES, ids=named)
def test_steps_are_pytorchs(case, backend):
    points, ours, theirs, counts, _ = paths(case[1], 5)
    for mine, expected, value, other in points:
        assert numpy.max(numpy.abs(mine - expected) / numpy.maximum(numpy.abs(expected), 1e-3)) < 1e-6
        assert math.isclose(value, other, rel_tol=1e-6)
    assert len(counts[0]) == len(counts[1])
    state, other = ours.state_dict()["state"][0], theirs.state_dict()["state"][0]
    assert {**state, "al": None}.keys() == {**other, "al": None}.keys()
    assert [state[name] for name in ("func_evals", "n_iter")] == [other[name] for name in ("func_evals", "n_iter")]
    assert (points[0][0] != points[-1][0]).any() or "tolerance_grad" in case[1]


def test_fifty_steps_of_one_iteration_are_pytorchs():
    points, *_ = paths({"lr": 0.5, "max_iter": 1}, 50)
    for mine, expected, _, _ in points[:25]:
        assert numpy.max(numpy.abs(mine - expected) / numpy.maximum(numpy.abs(expected), 1e-3)) < 1e-6
    assert math.isclose(points[-1][2], points[-1][3], rel_tol=1e-6)


def test_arguments_have_pytorchs_order_and_defaults():
    torch = pytest.importorskip("torch")
    ours, theirs = [inspect.signature(kind.__init__).parameters for kind in (optim.LBFGS, torch.optim.LBFGS)]
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_rosenbrocks_valley_ends_at_one(backend):
    w = portanet.tensor([-1.5, 2.0], dtype=portanet.float64, requires_grad=True)
    optimizer = optim.LBFGS([w], line_search_fn="strong_wolfe", max_iter=60, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        value = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
        value.backward()
        return value

    with portanet.no_grad():
        assert math.isclose(optimizer.step(closure).item(), 12.5, rel_tol=1e-12)
    assert numpy.allclose(w.detach().numpy(), 1, atol=1e-6)
    before = values({"w": w})
    optimizer.step(closure)
    assert (values({"w": w}) == before).all() or numpy.allclose(before, 1, atol=1e-6)


def test_float32_stays_float32(backend):
    p = parameters(portanet.float32)
    optimizer = optim.LBFGS(p.values(), line_search_fn="strong_wolfe", max_iter=3)
    optimizer.step(closure_of(p, optimizer, []))
    assert {x.dtype for x in p.values()} == {portanet.float32}
    assert [x.shape for x in p.values()] == [(3, 4), (4,), (4, 2), ()]
    state = optimizer.state[p["w"]]
    assert {x.dtype for x in [state["d"], *state["old_dirs"], *state["old_stps"]]} == {portanet.float32}
    assert {x.backend for x in [state["d"], *state["old_dirs"]]} == {p["w"].detach().backend}


def test_complex_parameters_are_pytorchs(backend):
    torch = pytest.importorskip("torch")
    start, target = numpy.asarray([1.0 + 2.0j, -0.5j]), numpy.asarray([0.3 - 1.0j, 2.0 + 0.0j])
    z = torch.tensor(start, requires_grad=True)
    w = portanet.tensor(start.tolist(), dtype=portanet.complex128, requires_grad=True)
    theirs, ours = torch.optim.LBFGS([z], lr=0.5, max_iter=3), optim.LBFGS([w], lr=0.5, max_iter=3)

    def closure():
        ours.zero_grad()
        error = w - portanet.asarray(target.tolist(), dtype=portanet.complex128)
        value = portanet.sum(portanet.real(error * portanet.conj(error)) ** 2)
        value.backward()
        return value

    def their_closure():
        theirs.zero_grad()
        value = ((z - torch.tensor(target)).abs() ** 4).sum()
        value.backward()
        return value

    for _ in range(3):
        ours.step(closure)
        theirs.step(their_closure)
        assert numpy.allclose(w.detach().numpy(), z.detach().numpy(), rtol=1e-9)


def test_states_go_between_here_and_pytorch_and_resume():
    torch = pytest.importorskip("torch")
    options = {"lr": 0.3, "max_iter": 4, "history_size": 5}
    _, ours, theirs, _, _ = paths(options, 2)
    p = dict(zip(parameters(), ours.param_groups[0]["params"], strict=True))
    q = {name: portanet.tensor(x.detach().numpy(), requires_grad=True) for name, x in p.items()}
    oracle = Oracle()
    for name, x in oracle.p.items():
        x.data = torch.tensor(p[name].detach().numpy())
    resumed, other = optim.LBFGS(q.values()), torch.optim.LBFGS(oracle.p.values())
    resumed.load_state_dict(ours.state_dict())
    other.load_state_dict(_for_torch(torch, ours.state_dict()))
    from_torch = {name: portanet.tensor(x.detach().numpy(), requires_grad=True) for name, x in p.items()}
    carried = optim.LBFGS(from_torch.values())
    carried.load_state_dict(theirs.state_dict())

    def their_closure():
        other.zero_grad()
        value = oracle.loss()
        value.backward()
        return value

    for _ in range(2):
        for x, optimizer in ((p, ours), (q, resumed), (from_torch, carried)):
            optimizer.step(closure_of(x, optimizer, []))
        other.step(their_closure)
        assert (values(p) == values(q)).all()
        assert numpy.allclose(values(p), values(from_torch), rtol=1e-7)
        their = numpy.concatenate([x.detach().numpy().reshape(-1) for x in oracle.p.values()])
        assert numpy.allclose(values(p), their, rtol=1e-7)


def _for_torch(torch, x):
    if isinstance(x, portanet.Tensor):
        return torch.tensor(x.numpy())
    if isinstance(x, dict):
        return {name: _for_torch(torch, one) for name, one in x.items()}
    return [_for_torch(torch, one) for one in x] if isinstance(x, list) else x


def test_a_saved_state_does_not_change():
    p = parameters()
    optimizer = optim.LBFGS(p.values(), lr=0.3, max_iter=3)
    closure = closure_of(p, optimizer, [])
    optimizer.step(closure)
    saved = optimizer.state_dict()["state"][0]
    before = len(saved["ro"]), saved["d"].numpy().copy()
    optimizer.step(closure)
    assert len(saved["ro"]) == before[0] and (saved["d"].numpy() == before[1]).all()


def test_what_it_refuses():
    with pytest.raises(ValueError, match="one group alone"):
        optim.LBFGS([{"params": [one()]}, {"params": [one()]}])
    optimizer = optim.LBFGS([one()])
    with pytest.raises(ValueError, match="one group alone"):
        optimizer.add_param_group({"params": [one()]})
    with pytest.raises(TypeError, match=r"pass a closure"):
        optimizer.step()
    with pytest.raises(TypeError, match="the parameters are .*float32.*float64"):
        optim.LBFGS([one(), one(dtype=portanet.float32)])
    with pytest.raises(ValueError, match="line_search_fn='armijo'"):
        optim.LBFGS([one()], line_search_fn="armijo")
    with pytest.raises(ValueError, match="history_size=0"):
        optim.LBFGS([one()], history_size=0)
    with pytest.raises(TypeError, match="step\\(closure\\)"):
        optimizer.updated([1], [1], [{}])
    with pytest.raises(TypeError, match="state_dict"):
        optimizer.state_arrays()
    with pytest.raises(ValueError, match="another optimizer's state"):
        optimizer.load_state_dict({"state": {0: {"exp_avg": 1}}, "param_groups": [{"params": [0]}]})
    with pytest.raises(ValueError, match=r"shape \(3,\), the parameters together \(1,\)"):
        state = {0: {"d": numpy.ones(3)}}
        optimizer.load_state_dict({"state": state, "param_groups": [{"params": [0]}]})


def test_it_runs_uncompiled_with_a_reason():
    with portanet.use_backend("numpy"):
        p = parameters()
        optimizer = optim.LBFGS(p.values(), max_iter=3, line_search_fn="strong_wolfe")
        step = portanet.compile(lambda x: optimizer.step(closure_of(p, optimizer, [])), state=optimizer)
        first, second = [float(step(portanet.ones(1))) for _ in range(2)]
        assert second < first and "decides by the loss" in step.reason


def test_a_cubic_is_found_by_its_values_and_slopes():
    # t**3 - 3 t has its minimum at 1; 2 + t has none, so it is the middle.
    a, b = [Point(t, t**3 - 3 * t, None, 3 * t * t - 3) for t in (0.0, 3.0)]
    assert math.isclose(cubic_minimum(a, b), 1) and math.isclose(cubic_minimum(b, a), 1)
    assert cubic_minimum(a, b, 1.5, 9.0) == 1.5
    flat = [Point(t, 2 + t, None, 1.0) for t in (0.0, 2.0)]
    assert 0 <= cubic_minimum(*flat) <= 2


FUNCTIONS = {
    "parabola": (lambda t: (t - 5) ** 2, lambda t: 2 * (t - 5)),
    "valley": (lambda t: (t - 0.01) ** 2, lambda t: 2 * (t - 0.01)),
    "waves": (lambda t: -t + 0.9 * math.sin(3 * t) + 0.05 * t * t, lambda t: -1 + 2.7 * math.cos(3 * t) + 0.1 * t),
    "a well": (lambda t: -1 / (1 + (t - 8) ** 2), lambda t: 2 * (t - 8) / (1 + (t - 8) ** 2) ** 2),
}


@pytest.mark.parametrize("first", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("name", ["parabola", "valley", "a well"])
def test_the_line_search_ends_where_wolfe_says(name, first):
    f, slope = FUNCTIONS[name]
    start = Point(0.0, f(0.0), None, slope(0.0))
    found, tried = strong_wolfe(
        lambda t: Point(t, f(t), None, slope(t)), start, first, 1.0, tolerance_change=1e-12, max_evaluations=50
    )
    assert found.value <= start.value + 1e-4 * found.t * start.slope
    assert abs(found.slope) <= 0.9 * abs(start.slope)
    assert tried <= 20
