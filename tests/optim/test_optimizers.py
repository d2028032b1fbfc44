"""Each optimizer, with each option turned once, walks PyTorch's path; and what all of them promise."""

from __future__ import annotations

import numpy
import pytest

import portanet
from portanet import library, optim
from tests.optim import problem
from tests.optim.problem import FULL, loss, made, named, one, oracle_of, parameters, path, values, with_gradient

# Each option once, then together where they meet in the rule.
CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.8)}),
    ("Adam", {"lr": 0.1, "betas": (0.0, 0.8)}),
    ("Adam", {"lr": 0.1, "eps": 0.1}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.05}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.8), "amsgrad": True}),
    ("Adam", {"lr": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.2}),
    ("AdamW", {"lr": 0.1, "betas": (0.5, 0.8), "amsgrad": True, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.8}),
    ("RMSprop", {"lr": 0.05, "eps": 0.1}),
    ("RMSprop", {"lr": 0.05, "weight_decay": 0.05}),
    ("RMSprop", {"lr": 0.02, "momentum": 0.5}),
    ("RMSprop", {"lr": 0.02, "centered": True}),
    ("RMSprop", {"lr": 0.05, "maximize": True}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.05}),
]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_fifty_steps_are_pytorchs(case, backend):
    name, options = case
    oracle, theirs = oracle_of(name, options)
    p = parameters()
    steps = 5 if backend.name == "dpnp" else 50
    ours = path(p, made(name, list(p.values()), options), steps)
    expected = oracle.path(theirs, steps)
    assert numpy.max(numpy.abs(ours - expected) / numpy.maximum(numpy.abs(expected), 1e-3)) < 1e-6
    moved = numpy.abs(ours[-1] - numpy.concatenate([v.reshape(-1) for v in problem.START.values()]))
    assert moved.max() > 1e-3


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_arguments_have_pytorchs_order_and_defaults(name):
    import inspect

    torch = pytest.importorskip("torch")
    absent = {"foreach", "capturable", "differentiable", "fused"}
    theirs = inspect.signature(getattr(torch.optim, name).__init__).parameters
    ours = inspect.signature(getattr(optim, name).__init__).parameters
    assert [(p.name, p.default) for p in ours.values() if p.name != "maximize"] == [
        (p.name, p.default) for p in theirs.values() if p.name not in absent | {"maximize"}
    ]
    assert ours["maximize"].default is theirs["maximize"].default is False


@pytest.mark.parametrize("case", FULL, ids=named)
def test_float32_stays_float32(case, backend):
    name, options = case
    p = parameters(portanet.float32)
    options = {**options, "lr": numpy.float64(options["lr"])}  # a NumPy number would widen, were it let
    optimizer = made(name, list(p.values()), options)
    assert type(optimizer.param_groups[0]["lr"]) is float
    optimizer.param_groups[0]["lr"] = numpy.float64(0.01)  # nor by this door
    path(p, optimizer, 3)
    assert {x.dtype for x in p.values()} == {portanet.float32}
    assert all(type(x._raw) in library.libraries for x in p.values())  # also the one without axes
    states = [s for state in optimizer.state.values() for s in state.values() if isinstance(s, portanet.Tensor)]
    assert states and {s.dtype for s in states} == {portanet.float32}
    assert {x.backend for x in p.values()} == {s.backend for s in states} == {p["w"].detach().backend}
    assert {str(s.device) for s in states} == {str(p["w"].device)}


@pytest.mark.parametrize("case", FULL, ids=named)
def test_float32_path_is_pytorchs_to_rounding(case):
    name, options = case
    oracle, theirs = oracle_of(name, options)
    p = parameters(portanet.float32)
    assert numpy.allclose(
        path(p, made(name, list(p.values()), options), 5), oracle.path(theirs, 5), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("case", FULL, ids=named)
def test_complex_parameters_are_two_real_ones(case, backend):
    torch = pytest.importorskip("torch")
    name, options = case
    start, target = numpy.asarray([1.0 + 2.0j, -0.5j]), numpy.asarray([0.3 - 1.0j, 2.0 + 0.0j])
    z = torch.tensor(start, requires_grad=True)
    theirs = getattr(torch.optim, name)([z], **options)
    w = portanet.tensor(start.tolist(), dtype=portanet.complex128, requires_grad=True)
    ours = made(name, [w], options)
    for _ in range(10):
        theirs.zero_grad()
        ((z - torch.tensor(target)).abs() ** 2).sum().backward()
        theirs.step()
        ours.zero_grad()
        error = w - portanet.asarray(target.tolist(), dtype=portanet.complex128)
        portanet.sum(portanet.real(error * portanet.conj(error))).backward()
        ours.step()
        assert numpy.allclose(w.detach().numpy(), z.detach().numpy(), rtol=1e-9, atol=1e-12)
    assert w.dtype is portanet.complex128
    assert set(ours.state[w]) == set(theirs.state[z])


def test_centered_rmsprop_survives_a_constant_gradient(backend):
    p = one()
    optimizer = optim.RMSprop([p], alpha=0.5, centered=True)
    p.grad = portanet.full_like(p, 1.7)
    for _ in range(60):  # the variance sinks to 0, and rounding takes it below: to -4e-16 at step 51
        optimizer.step()
    assert numpy.isfinite(p.detach().numpy()).all()


# ---------------------------------------------------------------------------------------------------------------------
# Groups.


def test_groups_have_hyperparameters_of_their_own(backend):
    def groups(p):
        return [{"params": [p["w"], p["b"]], "lr": 0.2}, {"params": p["v"], "momentum": 0.5}, {"params": [p["s"]]}]

    oracle, theirs = oracle_of("SGD", {"lr": 0.05, "momentum": 0.9}, lambda o: groups(o.p))
    p = parameters()
    ours = optim.SGD(groups(p), lr=0.05, momentum=0.9)
    assert [g["lr"] for g in ours.param_groups] == [0.2, 0.05, 0.05]
    assert [g["momentum"] for g in ours.param_groups] == [0.9, 0.5, 0.9]
    assert numpy.allclose(path(p, ours, 10), oracle.path(theirs, 10), rtol=1e-9)


def test_a_group_added_later_is_updated(backend):
    p, q = one(1.0), one(1.0)
    optimizer = optim.SGD([p], lr=0.5)
    optimizer.add_param_group({"params": q, "lr": 0.25})
    with_gradient(p, 1.0), with_gradient(q, 1.0)
    optimizer.step()
    assert [p.item(), q.item()] == [0.5, 0.75]


def test_names_are_kept_and_saved():
    p, q = one(), one()
    optimizer = optim.SGD([("layer.weight", p), ("layer.bias", q)])
    assert optimizer.param_groups[0]["param_names"] == ["layer.weight", "layer.bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["layer.weight", "layer.bias"]
    assert optimizer.param_groups[0]["params"][1] is q


def test_names_in_another_order_are_refused():
    p, q = one(), one()
    saved = optim.SGD([("a", p), ("b", q)]).state_dict()
    with pytest.raises(ValueError, match="same order"):
        optim.SGD([("b", q), ("a", p)]).load_state_dict(saved)
    optim.SGD([q, p]).load_state_dict(saved)  # without names, by position


def test_a_generator_of_parameters_works():
    p = with_gradient(one(), 1.0)
    optim.SGD((x for x in [p]), lr=0.5).step()
    assert p.item() == 0.5


def test_repr_is_pytorchs():
    torch = pytest.importorskip("torch")
    absent = ("foreach", "capturable", "differentiable", "fused")
    theirs = repr(torch.optim.Adam([torch.ones(1)], lr=0.5)).split("\n")
    assert repr(optim.Adam([one()], lr=0.5)).split("\n") == [s for s in theirs if s.strip().split(":")[0] not in absent]


# ---------------------------------------------------------------------------------------------------------------------
# The step.


def test_zero_grad(backend):
    p, q = with_gradient(one(), 3.0), one()
    optimizer = optim.SGD([p, q])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.numpy().tolist() == [0.0] and q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_closure_runs_under_the_tape_and_its_loss_is_returned(backend):
    p = one(3.0)
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        value = portanet.sum(p * p)
        value.backward()
        return value

    with portanet.no_grad():
        assert [optimizer.step(closure).item() for _ in range(3)] == [9.0, 2.25, 0.5625]
    assert optimizer.step() is None


def test_a_parameter_without_gradient_is_left_alone(backend):
    p, q, frozen = with_gradient(one(), 1.0), one(), one().requires_grad_(False)
    optimizer = optim.Adam([p, q, frozen], lr=0.5, weight_decay=0.1)
    before = q._raw
    optimizer.step()
    assert p.item() != 1.0 and q._raw is before and frozen.item() == 1.0
    assert q not in optimizer.state and frozen not in optimizer.state
    assert list(optimizer.state_dict()["state"]) == [0]


def test_a_tied_parameter_is_updated_once(backend):
    p = with_gradient(one(), 1.0)
    optimizer = optim.SGD([p, p], lr=0.25)
    optimizer.step()
    assert p.item() == 0.75
    assert optim.SGD([("embedding", p), ("output", p)]).param_groups[0]["param_names"] == ["embedding"]


@pytest.mark.parametrize("case", FULL, ids=named)
def test_a_graph_kept_from_before_the_step_gives_its_old_gradients(case, backend):
    name, options = case
    p = parameters()
    optimizer = made(name, list(p.values()), options)
    path(p, optimizer, 2)
    optimizer.zero_grad()
    value = loss(p)
    value.backward(retain_graph=True)
    before = {key: p[key].grad.numpy().copy() for key in p}
    optimizer.step()
    optimizer.zero_grad()
    value.backward()
    assert all((p[key].grad.numpy() == before[key]).all() for key in p)
    optimizer.zero_grad()
    loss(p).backward()
    assert not numpy.allclose(p["w"].grad.numpy(), before["w"])  # at the new point they are others


def test_the_step_is_not_recorded(backend):
    p = with_gradient(one(), 1.0)
    node = p._node
    optim.Adam([p]).step()
    assert p._node is node and p.is_leaf and p.requires_grad


def test_a_step_that_fails_changes_nothing():
    p, q = with_gradient(one(), 1.0), with_gradient(one(), 1.0)
    q.grad._raw = numpy.ones(1, dtype="float32")
    with pytest.raises(TypeError, match=r"float64 of numpy.*gradient float32.*backward\(\) again"):
        optim.SGD([p, q], lr=0.5).step()
    assert p.item() == 1.0


def test_a_library_may_bring_its_own_kernel_by_the_rules_name(monkeypatch):
    p = with_gradient(one(), 1.0)

    def rmsprop_update(p, g, state, *, lr, **options):
        return p - 100 * lr * g, state

    monkeypatch.setitem(library.namespace_of(p._raw).__dict__, "rmsprop_update", rmsprop_update)
    optim.RMSprop([p], lr=0.5).step()
    assert p.item() == -49.0


def test_a_rule_is_not_taken_for_a_function_of_the_library():
    def square(xp, p, g, state, *, lr):
        return p - lr * g * g, state

    class Squared(optim.Optimizer):
        rule = staticmethod(square)

    p = with_gradient(one(), 2.0)
    Squared([p], {"lr": 0.5}).step()
    assert p.item() == -1.0


# ---------------------------------------------------------------------------------------------------------------------
# A compiler sees a pure function.


@pytest.mark.parametrize("case", FULL, ids=named)
def test_updated_is_pure_and_is_what_step_does(case, backend):
    name, options = case
    p = parameters()
    optimizer = made(name, list(p.values()), options)
    loss(p).backward()
    start, gradients = [x._raw for x in p.values()], [x.grad._raw for x in p.values()]
    before = values(p)
    once, states = optimizer.updated(start, gradients, [{}] * 4)
    twice, states = optimizer.updated(once, gradients, states)
    assert (values(p) == before).all() and not optimizer.state
    optimizer.step()
    optimizer.step()
    assert all([(library.to_numpy(a) == x.detach().numpy()).all() for a, x in zip(twice, p.values(), strict=True)])
    assert [set(state) for state in states] == [set(optimizer.state[x]) for x in p.values()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", FULL, ids=named)
def test_a_whole_training_step_traces_under_jit(case, dtype):
    jax = pytest.importorskip("jax")
    name, options = case
    with portanet.use_backend("jax"):
        p, q = parameters(dtype), parameters(dtype)
        plain, traced = made(name, list(p.values()), options), made(name, list(q.values()), options)
        traces = []

        def one_step(raws, states):
            traces.append(1)
            live = {key: portanet.Tensor(raw).requires_grad_() for key, raw in zip(q, raws, strict=True)}
            value = loss(live)
            value.backward()
            return value._raw, *traced.updated(raws, [x.grad._raw for x in live.values()], states)

        compiled = jax.jit(one_step)
        raws, states = [x._raw for x in q.values()], [{} for _ in q]
        for _ in range(10):
            _, raws, states = compiled(raws, states)
        path(p, plain, 10)
    assert len(traces) == 2  # once with empty states, once with full ones
    tolerance = 1e-10 if dtype == "float64" else 1e-3
    for raw, x in zip(raws, p.values(), strict=True):
        assert str(raw.dtype) == dtype
        assert numpy.allclose(numpy.asarray(raw), x.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_step_itself_traces_where_the_state_is_put_in_and_taken_out():
    jax = pytest.importorskip("jax")
    with portanet.use_backend("jax"):
        p, q = one(), one()
        plain, optimizer = optim.Adam([p], lr=0.1), optim.Adam([q], lr=0.1)
        for x, o in ((p, plain), (q, optimizer)):
            with_gradient(x, 1.0)
            o.step()

        @jax.jit
        def compiled(raw, g, state):
            q._raw, q.grad = raw, portanet.Tensor(g)
            optimizer.state[q] = {name: portanet.Tensor(value) for name, value in state.items()}
            optimizer.step()
            return q._raw, {name: value._raw for name, value in optimizer.state[q].items()}

        raw, state = q._raw, {name: x._raw for name, x in _by_name(optimizer.state_arrays())}
        for g in (0.5, -2.0, 1.0):
            with_gradient(p, g)
            plain.step()
            raw, state = compiled(raw, p.grad._raw, state)
    assert numpy.allclose(numpy.asarray(raw), p.detach().numpy(), rtol=1e-12)


def _by_name(arrays):
    return [(key.partition(".")[2], value) for key, value in arrays.items()]


def test_updated_counts_what_it_is_given():
    with pytest.raises(ValueError, match="1 parameters, but 2 values"):
        optim.SGD([one()]).updated([1, 2], [None], [{}])
