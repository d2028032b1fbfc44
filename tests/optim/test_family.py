"""The larger family of optimizers beside PyTorch: paths, states, dtypes, complex numbers, and what they refuse."""

from __future__ import annotations

import inspect
import json
import math

import numpy
import pytest

import portanet
from portanet import library, optim
from tests.optim import problem
from tests.optim.problem import Oracle, loss, made, named, one, parameters, path, values, with_gradient

# Each option once, then together where they meet in the rule.
CASES = [
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1}),
    ("Adamax", {"lr": 0.1, "betas": (0.5, 0.8)}),
    ("Adamax", {"lr": 0.1, "eps": 0.1}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.05, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.5, 0.8)}),
    ("NAdam", {"lr": 0.1, "eps": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.05}),
    ("NAdam", {"lr": 0.1, "momentum_decay": 0.3}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"lr": 0.01}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.8)}),
    ("RAdam", {"lr": 0.1, "eps": 0.1}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.05}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.05, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.5)}),  # 2 / (1 - beta2) - 1 below 5: never divides
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.05}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.2}),
    ("Adagrad", {"lr": 0.1, "eps": 0.1, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5}),
    ("Adadelta", {"rho": 0.5}),
    ("Adadelta", {"eps": 1e-3}),
    ("Adadelta", {"eps": 1e-3, "weight_decay": 0.05, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.05}),
    ("Rprop", {"etas": (0.3, 1.5)}),
    ("Rprop", {"lr": 0.05, "step_sizes": (0.01, 0.06)}),
    ("Rprop", {"lr": 0.001, "step_sizes": (1e-6, 0.01), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.05}),
    ("ASGD", {"lr": 0.1, "lambd": 0.05, "alpha": 0.3}),
    ("ASGD", {"lr": 0.1, "t0": 10}),
    ("ASGD", {"lr": 0.1, "weight_decay": 0.05, "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.5}),
    ("Adafactor", {"lr": 0.1, "beta2_decay": -0.3}),
    ("Adafactor", {"lr": 0.1, "eps": (1e-2, 1e-3)}),
    ("Adafactor", {"lr": 0.01, "eps": (None, 5.0)}),
    ("Adafactor", {"lr": 0.1, "d": 1.2}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.2, "maximize": True}),
    ("Muon", {"lr": 0.01}),
    ("Muon", {"lr": 0.1, "weight_decay": 0.5}),
    ("Muon", {"lr": 0.02, "momentum": 0.5}),
    ("Muon", {"lr": 0.1, "nesterov": False}),
    ("Muon", {"lr": 0.1, "ns_coefficients": (2.0, -1.5, 0.5)}),
    ("Muon", {"lr": 0.1, "eps": 0.5}),
    ("Muon", {"lr": 0.1, "ns_steps": 2}),
    ("Muon", {"lr": 0.1, "adjust_lr_fn": "original"}),
    ("Muon", {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw"}),
]

# One of each whose state has everything in it.
FULL = [
    ("Adamax", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1, "momentum_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.9, 0.9)}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    ("Adadelta", {"lr": 1.0, "eps": 1e-3}),
    ("Rprop", {"lr": 0.05}),
    ("ASGD", {"lr": 0.1, "lambd": 0.05, "t0": 2}),
    ("Adafactor", {"lr": 0.1}),
    ("Muon", {"lr": 0.1}),
    ("Lion", {"lr": 0.05, "weight_decay": 0.1}),
]
OF_PYTORCH = [case for case in FULL if case[0] != "Lion"]
ABSENT = {"foreach", "capturable", "differentiable", "fused"}


@pytest.fixture
def torch(monkeypatch):
    """PyTorch, whose optimizers keep their numbers in float64 and iterate Muon in the dtype that they were given."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.clone())
    yield torch
    torch.set_default_dtype(before)


def stepped(name, p):
    """What the optimizer of that name is given of the problem's parameters: Muon takes matrices alone."""
    return [x for x in p.values() if name != "Muon" or x.ndim == 2]


def oracle_of(torch, name, options):
    oracle = Oracle()
    return oracle, getattr(torch.optim, name)(stepped(name, oracle.p), **options)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_fifty_steps_are_pytorchs(case, backend, torch):
    name, options = case
    oracle, theirs = oracle_of(torch, name, options)
    p = parameters()
    steps = 3 if backend.name == "dpnp" else 50
    ours = path(p, made(name, stepped(name, p), options), steps)
    expected = oracle.path(theirs, steps)
    assert numpy.max(numpy.abs(ours - expected) / numpy.maximum(numpy.abs(expected), 1e-3)) < 1e-6
    moved = numpy.abs(ours[-1] - numpy.concatenate([v.reshape(-1) for v in problem.START.values()]))
    assert moved.max() > 1e-3


def test_muon_is_pytorchs_in_bfloat16_to_its_three_digits():
    torch = pytest.importorskip("torch")
    oracle, theirs = oracle_of(torch, "Muon", {"lr": 0.01})
    p = parameters()
    ours = path(p, optim.Muon(stepped("Muon", p), lr=0.01), 5)
    assert numpy.allclose(ours, oracle.path(theirs, 5), atol=0.01 * 5 * 0.05)


@pytest.mark.parametrize("name", sorted({name for name, _ in OF_PYTORCH}))
def test_arguments_have_pytorchs_order_and_defaults(name):
    torch = pytest.importorskip("torch")
    theirs = inspect.signature(getattr(torch.optim, name).__init__).parameters
    ours = inspect.signature(getattr(optim, name).__init__).parameters
    assert [(p.name, p.default) for p in ours.values() if p.name != "maximize"] == [
        (p.name, p.default) for p in theirs.values() if p.name not in ABSENT | {"maximize"}
    ]
    assert ("maximize" in ours) == ("maximize" in theirs)


def test_sgd_adam_adamw_and_rmsprop_have_all_of_pytorchs_arguments():
    torch = pytest.importorskip("torch")
    for name in ("SGD", "Adam", "AdamW", "RMSprop"):
        theirs = set(inspect.signature(getattr(torch.optim, name).__init__).parameters)
        assert set(inspect.signature(getattr(optim, name).__init__).parameters) == theirs - ABSENT


@pytest.mark.parametrize("case", FULL, ids=named)
def test_float32_stays_float32(case, backend):
    name, options = case
    p = parameters(portanet.float32)
    optimizer = made(name, stepped(name, p), {**options, "lr": numpy.float64(options["lr"])})
    path(p, optimizer, 3)
    assert {x.dtype for x in p.values()} == {portanet.float32}
    assert all(type(x._raw) in library.libraries for x in p.values())  # also the one without axes
    states = [s for state in optimizer.state.values() for s in state.values() if isinstance(s, portanet.Tensor)]
    assert states and {s.dtype for s in states} == {portanet.float32}
    assert {x.backend for x in p.values()} == {s.backend for s in states} == {p["w"].detach().backend}
    assert {str(s.device) for s in states} == {str(p["w"].device)}


@pytest.mark.parametrize("case", OF_PYTORCH, ids=named)
def test_float32_path_is_pytorchs_to_rounding(case, torch):
    name, options = case
    oracle, theirs = oracle_of(torch, name, options)
    p = parameters(portanet.float32)
    ours = path(p, made(name, stepped(name, p), options), 5)
    assert numpy.allclose(ours, oracle.path(theirs, 5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [case for case in OF_PYTORCH if case[0] not in ("Adafactor", "Muon")], ids=named)
def test_complex_parameters_are_two_real_ones(case, backend, torch):
    name, options = case
    start, target = numpy.asarray([1.0 + 2.0j, -0.5j]), numpy.asarray([0.3 - 1.0j, 2.0 + 0.0j])
    z = torch.tensor(start, requires_grad=True)
    if name == "Adagrad":  # which begins the sums of both parts there, and PyTorch that of the real part alone
        options = {**options, "initial_accumulator_value": 0.0}
    theirs = getattr(torch.optim, name)([z], **options)
    w = portanet.tensor(start.tolist(), dtype=portanet.complex128, requires_grad=True)
    ours = made(name, [w], options)
    for _ in range(3 if backend.name == "dpnp" else 10):
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


# ---------------------------------------------------------------------------------------------------------------------
# Numbers known from elsewhere.


def test_lion_is_the_formula_of_its_paper(backend):
    rng = numpy.random.default_rng(2)
    gradients = rng.normal(size=(20, 3))
    for sign, options in ((1, {}), (-1, {"maximize": True})):
        p = portanet.tensor([1.0, -2.0, 0.0], dtype=portanet.float64, requires_grad=True)
        optimizer = optim.Lion([p], lr=0.1, betas=(0.6, 0.8), weight_decay=0.3, **options)
        x, m = numpy.asarray([1.0, -2.0, 0.0]), numpy.zeros(3)
        for g in gradients:
            p.grad = portanet.asarray(g.tolist(), dtype=portanet.float64)
            optimizer.step()
            g = sign * g
            update = numpy.sign(0.6 * m + 0.4 * g)
            x = x - 0.1 * (update + 0.3 * x)
            m = 0.8 * m + 0.2 * g
            assert numpy.allclose(p.detach().numpy(), x, rtol=1e-12)


def stepped_by_hand(optimizer, p, gradients):
    for g in gradients:
        with_gradient(p, g)
        optimizer.step()
    return p.item()


def test_second_steps_by_hand(backend):
    p = one(1.0)
    adamax = optim.Adamax([p], lr=1.0, betas=(0.5, 0.5), eps=0.0)
    # m: 1, then 1/2 + 1/8; u: 2, then max(1, 0.25); the correction 1 - 1/4.
    assert math.isclose(stepped_by_hand(adamax, p, [2.0, 0.25]), 1 - 1 - (0.5 + 0.125) / 0.75 / 1)
    p = one(1.0)
    adagrad = optim.Adagrad([p], lr=1.0, lr_decay=1.0, eps=0.0)
    assert math.isclose(stepped_by_hand(adagrad, p, [3.0, 4.0]), 1 - 1 - 0.5 * 4 / 5)
    p = one(1.0)
    adadelta = optim.Adadelta([p], rho=0.0, eps=1.0)
    assert math.isclose(stepped_by_hand(adadelta, p, [3.0]), 1 - 3 / math.sqrt(10))
    p = one(1.0)
    rprop = optim.Rprop([p], lr=0.5, etas=(0.5, 2.0))
    # + : 1/2; the same sign: 1; another: none; then the step that was halved.
    assert stepped_by_hand(rprop, p, [1.0, 9.0, -1.0, -1.0]) == 1 - 0.5 - 1 - 0 + 0.5
    p = one(0.0)
    asgd = optim.ASGD([p], lr=1.0, lambd=0.0, t0=0)
    assert stepped_by_hand(asgd, p, [1.0, 2.0, 3.0]) == -6.0


def test_nadam_and_radam_by_hand(backend):
    p = one(1.0)
    # Without momentum mu is 0, and it is g / sqrt(g**2).
    assert math.isclose(stepped_by_hand(optim.NAdam([p], lr=0.25, betas=(0.0, 0.5), eps=0.0), p, [3.0]), 0.75)
    p = one(1.0)
    # R = 19: r is below 5 for five steps, which are plain.
    radam = optim.RAdam([p], lr=0.5, betas=(0.0, 0.9), eps=0.0)
    assert math.isclose(stepped_by_hand(radam, p, [1.0] * 5), 1 - 2.5)
    r = 19 - 2 * 6 * 0.9**6 / (1 - 0.9**6)
    factor = math.sqrt((r - 4) * (r - 2) * 19 / (15 * 17 * r))
    assert math.isclose(stepped_by_hand(radam, p, [1.0]), 1 - 2.5 - 0.5 * factor)


def test_adafactor_by_hand(backend):
    p = portanet.tensor([[3.0, 4.0]], dtype=portanet.float64, requires_grad=True)
    p.grad = portanet.asarray([[1.0, 2.0]], dtype=portanet.float64)
    optim.Adafactor([p], lr=0.5).step()
    # A single row: r is the mean of the squares, c the squares, v = c, u = sign g; the step is half of rms(p).
    size = math.sqrt(12.5)
    assert numpy.allclose(p.detach().numpy(), [[3 - size / 2, 4 - size / 2]])


def test_muon_steps_by_the_orthogonal_factor(backend):
    rng = numpy.random.default_rng(4)
    for shape in ((3, 5), (5, 3), (1, 4), (4, 1)):
        g = rng.normal(size=shape)
        p = portanet.tensor(numpy.zeros(shape).tolist(), dtype=portanet.float64, requires_grad=True)
        p.grad = portanet.asarray(g.tolist(), dtype=portanet.float64)
        optim.Muon([p], lr=1.0, weight_decay=0.0, ns_coefficients=(1.5, -0.5, 0.0), ns_steps=40).step()
        u, _, vt = numpy.linalg.svd(g, full_matrices=False)
        assert numpy.allclose(p.detach().numpy(), -(u @ vt) * max(1, shape[0] / shape[1]) ** 0.5, atol=1e-6)


def test_the_mean_of_asgd_is_that_of_all_points(backend):
    p = one(1.0)
    optimizer = optim.ASGD([p], lr=0.5, lambd=0.0, t0=0)
    points = [stepped_by_hand(optimizer, p, [g]) for g in (1.0, -2.0, 0.5, 3.0)]
    # The second weight is 1 again, as in PyTorch: the mean begins with the second point.
    assert math.isclose(optimizer.state[p]["ax"].item(), _mean(points))


def _mean(points):
    mean, mu = 0.0, 1.0
    for t, point in enumerate(points, 1):
        mean += mu * (point - mean)
        mu = 1 / max(1, t)
    return mean


# ---------------------------------------------------------------------------------------------------------------------
# The state.


@pytest.mark.parametrize("case", FULL, ids=named)
def test_a_resumed_run_is_the_same_to_the_last_bit(case, backend):
    name, options = case
    p = parameters()
    optimizer = made(name, stepped(name, p), options)
    path(p, optimizer, 4)
    saved, arrays = optimizer.state_dict(), optimizer.state_arrays()
    groups = json.loads(json.dumps(saved["param_groups"]))
    host = {key: value.numpy() for key, value in arrays.items()}
    middle = {key: x.detach() for key, x in p.items()}
    expected = path(p, optimizer, 4)
    for way in ("structure", "flat"):
        q = {key: portanet.tensor(x, requires_grad=True) for key, x in middle.items()}
        resumed = made(name, stepped(name, q), {"lr": 123.0})
        if way == "structure":
            resumed.load_state_dict(saved)
        else:
            resumed.load_state_dict({"state": {}, "param_groups": groups})
            resumed.load_state_arrays(host)
        assert (path(q, resumed, 4) == expected).all()


@pytest.mark.parametrize("case", OF_PYTORCH, ids=named)
def test_the_structure_is_pytorchs_and_its_states_load(case, torch):
    name, options = case
    oracle, theirs = oracle_of(torch, name, options)
    p = parameters()
    ours = made(name, stepped(name, p), options)
    oracle.path(theirs, 5)
    path(p, ours, 5)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert {i: set(s) for i, s in mine["state"].items()} == {i: set(s) for i, s in other["state"].items()}
    for group, expected in zip(mine["param_groups"], other["param_groups"], strict=True):
        assert group == {key: value for key, value in expected.items() if key not in ABSENT}

    # PyTorch's state into ours, and ours into PyTorch's: both go on as the other does.
    q = {key: portanet.tensor(x.detach().numpy(), requires_grad=True) for key, x in oracle.p.items()}
    resumed = made(name, stepped(name, q), {})
    resumed.load_state_dict(other)
    for state in mine["state"].values():
        state.update({key: torch.tensor(x.numpy()) for key, x in state.items() if hasattr(x, "numpy")})
    back = Oracle()
    for key, x in back.p.items():
        x.data = torch.tensor(p[key].detach().numpy())
    into = getattr(torch.optim, name)(stepped(name, back.p))
    into.load_state_dict({**mine, "param_groups": other["param_groups"]})
    expected = oracle.path(theirs, 5)
    assert numpy.allclose(path(q, resumed, 5), expected, rtol=1e-9)
    assert numpy.allclose(back.path(into, 5), expected, rtol=1e-9)


@pytest.mark.parametrize("case", FULL, ids=named)
def test_updated_is_pure_and_is_what_step_does(case, backend):
    name, options = case
    p = parameters()
    mine = stepped(name, p)
    optimizer = made(name, mine, options)
    loss(p).backward()
    before = values(p)
    start, gradients = [x._raw for x in mine], [x.grad._raw for x in mine]
    once, states = optimizer.updated(start, gradients, [{} for _ in mine])
    twice, states = optimizer.updated(once, gradients, states)
    assert (values(p) == before).all() and not optimizer.state
    optimizer.step()
    optimizer.step()
    assert all([(library.to_numpy(a) == x.detach().numpy()).all() for a, x in zip(twice, mine, strict=True)])
    assert [set(state) for state in states] == [set(optimizer.state[x]) for x in mine]


def test_a_row_of_adafactors_state_that_does_not_fit_is_refused():
    p = portanet.ones((2, 3)).requires_grad_()
    p.grad = portanet.ones((2, 3))
    optimizer = optim.Adafactor([p])
    optimizer.step()
    saved = optimizer.state_arrays()
    saved["0.row_var"] = numpy.ones((2, 3), "float32")
    with pytest.raises(ValueError, match=r"row_var of parameter 0 has shape \(2, 3\).*needs \(2, 1\)"):
        optim.Adafactor([p]).load_state_arrays(saved)
    optimizer.state[p]["col_var"] = portanet.ones((2, 3))
    with pytest.raises(TypeError, match=r"col_var float32 of numpy with shape \(2, 3\)"):
        optimizer.step()


def test_empty_parameters_stay_empty(backend):
    for name in ("Adafactor", "Muon", "NAdam"):
        p = portanet.zeros((0, 3)).requires_grad_()
        p.grad = portanet.zeros((0, 3))
        made(name, [p], {"lr": 0.1}).step()
        assert p.shape == (0, 3)


# ---------------------------------------------------------------------------------------------------------------------
# Errors.

BAD = [
    ("Adamax", {"lr": -1.0}, "Adamax: lr=-1.0"),
    ("Adamax", {"betas": (0.9, 1.0)}, "betas"),
    ("NAdam", {"momentum_decay": -1.0}, "NAdam: momentum_decay=-1.0"),
    ("NAdam", {"betas": (0.9,)}, "2 numbers"),
    ("RAdam", {"eps": -1.0}, "RAdam: eps=-1.0"),
    ("RAdam", {"betas": (-0.1, 0.9)}, "betas"),
    ("Adagrad", {"lr_decay": -1.0}, "lr_decay=-1.0"),
    ("Adagrad", {"initial_accumulator_value": -1.0}, "initial_accumulator_value=-1.0"),
    ("Adadelta", {"rho": 1.5}, "rho=1.5; it must lie between 0 and 1"),
    ("Adadelta", {"weight_decay": -1.0}, "weight_decay=-1.0"),
    ("Rprop", {"etas": (0.5, 0.9)}, "the second above 1"),
    ("Rprop", {"step_sizes": (2.0, 1.0)}, "the smallest and the largest"),
    ("ASGD", {"lr": -1.0}, "ASGD: lr=-1.0"),
    ("Adafactor", {"beta2_decay": 0.1}, "beta2_decay=0.1; it must be 0 or less"),
    ("Adafactor", {"eps": (-1.0, 0.1)}, "eps"),
    ("Adafactor", {"d": 0.5}, "d=0.5; it must be 1 or more"),
    ("Muon", {"adjust_lr_fn": "other"}, "adjust_lr_fn='other'"),
    ("Muon", {"ns_steps": 100}, "ns_steps=100"),
    ("Muon", {"ns_coefficients": (1.0, 2.0)}, "three numbers"),
    ("Lion", {"betas": (0.9, 1.0)}, "Lion: betas"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case[0]}-{case[1]}")
def test_bad_hyperparameters_are_named(case):
    name, options, said = case
    p = portanet.ones((1, 1)).requires_grad_()
    with pytest.raises(ValueError, match=said):
        made(name, [p], options)
    with pytest.raises(ValueError, match=said):  # in a group too
        made(name, [{"params": [p], **options}], {})


def test_muon_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match=r"parameter 1 of the group has shape \(3,\).*AdamW"):
        optim.Muon([portanet.ones((2, 2)).requires_grad_(), portanet.ones(3).requires_grad_()])


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_rules_of_whole_parameters_refuse_complex_ones(name):
    p = portanet.ones((2, 2), dtype=portanet.complex64).requires_grad_()
    with pytest.raises(TypeError, match=f"{name}: parameter 0 of the group is .*complex64"):
        made(name, [p], {})


def test_text_is_no_number():
    with pytest.raises(TypeError, match="lr is str"):
        optim.Muon([portanet.ones((2, 2)).requires_grad_()], lr="0.1")
