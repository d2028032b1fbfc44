"""What an optimizer saves, loads and refuses."""

from __future__ import annotations

import json

import numpy
import pytest

import portanet
from portanet import library, optim
from tests.optim.problem import FULL, Oracle, made, named, one, oracle_of, parameters, path, with_gradient


@pytest.mark.parametrize("case", FULL, ids=named)
def test_a_resumed_run_is_the_same_to_the_last_bit(case, backend):
    name, options = case
    p = parameters()
    optimizer = made(name, list(p.values()), options)
    path(p, optimizer, 5)
    saved, arrays = optimizer.state_dict(), optimizer.state_arrays()
    groups = json.loads(json.dumps(saved["param_groups"]))
    host = {key: value.numpy() for key, value in arrays.items()}
    middle = {key: x.detach() for key, x in p.items()}
    expected = path(p, optimizer, 5)

    for way in ("structure", "flat"):
        q = {key: portanet.tensor(x, requires_grad=True) for key, x in middle.items()}
        resumed = made(name, list(q.values()), {"lr": 123.0})
        if way == "structure":
            resumed.load_state_dict(saved)
        else:  # a checkpoint: a flat dict of arrays, and the hyperparameters as JSON
            resumed.load_state_dict({"state": {}, "param_groups": groups})
            resumed.load_state_arrays(host)
        assert resumed.param_groups[0]["lr"] == options["lr"]
        assert (path(q, resumed, 5) == expected).all()


@pytest.mark.parametrize("case", FULL, ids=named)
def test_the_structure_is_pytorchs_and_its_states_load(case):
    name, options = case
    oracle, theirs = oracle_of(name, options)
    p = parameters()
    ours = made(name, list(p.values()), options)
    oracle.path(theirs, 5)
    path(p, ours, 5)
    mine, other = ours.state_dict(), theirs.state_dict()
    assert set(mine) == set(other)
    assert {i: set(s) for i, s in mine["state"].items()} == {i: set(s) for i, s in other["state"].items()}
    absent = {"foreach", "capturable", "differentiable", "fused"}
    for group, expected in zip(mine["param_groups"], other["param_groups"], strict=True):
        assert group == {key: value for key, value in expected.items() if key not in absent}

    # PyTorch's state into ours, and ours into PyTorch's: both go on as the other does.
    q = {key: portanet.tensor(x.detach().numpy(), requires_grad=True) for key, x in oracle.p.items()}
    resumed = made(name, list(q.values()), {})
    resumed.load_state_dict(other)
    assert set(resumed.state_dict()["param_groups"][0]) == set(other["param_groups"][0])
    for state in mine["state"].values():
        state.update({key: oracle.torch.tensor(x.numpy()) for key, x in state.items() if hasattr(x, "numpy")})
    back = Oracle()
    for key, x in back.p.items():
        x.data = oracle.torch.tensor(p[key].detach().numpy())
    into = getattr(oracle.torch.optim, name)(list(back.p.values()))
    into.load_state_dict({**mine, "param_groups": other["param_groups"]})
    expected = oracle.path(theirs, 5)
    assert numpy.allclose(path(q, resumed, 5), expected, rtol=1e-9)
    assert numpy.allclose(back.path(into, 5), expected, rtol=1e-9)


def test_a_saved_state_and_the_optimizer_do_not_change_each_other(backend):
    p = with_gradient(one(), 1.0)
    optimizer = optim.SGD([p], momentum=0.5)
    optimizer.step()
    saved = optimizer.state_dict()
    optimizer.state_dict()["state"][0]["momentum_buffer"][0] = 7.0
    optimizer.step()
    assert saved["state"][0]["momentum_buffer"].item() == 1.0
    assert optimizer.state[p]["momentum_buffer"].item() == 1.5


def test_flat_arrays_are_named_by_position_and_name(backend):
    p, q = one(), with_gradient(one(), 2.0)
    optimizer = optim.Adam([p, q])
    optimizer.step()
    arrays = optimizer.state_arrays()
    assert sorted(arrays) == ["1.exp_avg", "1.exp_avg_sq", "1.step"]
    assert arrays["1.step"].item() == 1 and arrays["1.step"].dtype is portanet.int32
    optimizer.load_state_arrays(arrays)
    assert optimizer.state[q]["step"] == 1 and type(optimizer.state[q]["step"]) is int


def test_state_follows_a_model_that_was_moved():
    pytest.importorskip("torch")
    p = with_gradient(one(), 1.0)
    optimizer = optim.SGD([p], lr=0.5, momentum=0.5)
    optimizer.step()
    p._raw = library.move(numpy.asarray([1.0], dtype="float32"), portanet.backend.load("torch"))
    p.grad = portanet.Tensor(p._raw)
    with pytest.raises(TypeError, match=r"momentum_buffer float64 of numpy.*load_state_dict"):
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.step()
    assert p.item() == 0.25 and p.dtype is portanet.float32 and p.backend == "torch"


# ---------------------------------------------------------------------------------------------------------------------
# Errors.

BAD = [
    ("SGD", {"lr": -1.0}, "lr=-1.0"),
    ("SGD", {"lr": float("nan")}, "lr=nan"),
    ("SGD", {"momentum": -0.1}, "momentum=-0.1"),
    ("SGD", {"weight_decay": -0.1}, "weight_decay=-0.1"),
    ("SGD", {"nesterov": True}, "momentum above 0"),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening=0"),
    ("Adam", {"lr": -1.0}, "Adam: lr=-1.0"),
    ("Adam", {"betas": (1.0, 0.9)}, "betas"),
    ("Adam", {"betas": (0.9, -0.1)}, "betas"),
    ("Adam", {"betas": (0.9,)}, "2 numbers"),
    ("Adam", {"eps": -1.0}, "eps"),
    ("AdamW", {"weight_decay": -1.0}, "AdamW: weight_decay=-1.0"),
    ("RMSprop", {"lr": -1.0}, "lr"),
    ("RMSprop", {"alpha": -1.0}, "alpha"),
    ("RMSprop", {"alpha": 1.0}, "alpha"),
    ("RMSprop", {"momentum": -1.0}, "momentum"),
    ("RMSprop", {"eps": -1.0}, "eps"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case[0]}-{case[1]}")
def test_bad_hyperparameters_are_named(case):
    name, options, said = case
    with pytest.raises(ValueError, match=said):
        made(name, [one()], options)
    with pytest.raises(ValueError, match=said):  # in a group too
        made(name, [{"params": [one()], **options}], {})


def test_an_array_as_hyperparameter_is_refused():
    with pytest.raises(TypeError, match=r"lr is a Tensor of shape \(\); give a Python number"):
        optim.SGD([one()], lr=portanet.asarray(0.1))


def test_no_parameters():
    with pytest.raises(ValueError, match=r"got no parameters.*used up"):
        optim.SGD([])


def test_a_computed_tensor():
    with pytest.raises(ValueError, match=r"parameter 1 .*shape \(1,\).*computed.*detach"):
        optim.SGD([one(), one() * 2])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (one(), r"write \[p\]"),
        ({"params": [one()]}, r"write \[group\]"),
        ({one()}, "a set has no order"),
        (3, "saw int"),
        ("abc", "saw str"),
        (numpy.ones(2), "saw numpy.ndarray"),
        ([numpy.ones(2)], "parameter 0 .*numpy.ndarray, not a Tensor"),
        ([[one()]], "list, not a Tensor"),
        ([{"lr": 1.0}], 'dict with "params"'),
        ([{"params": [one()]}, one()], "parameter 0 .*dict, not a Tensor"),
    ],
)
def test_what_is_no_list_of_parameters(params, said):
    with pytest.raises(TypeError, match=said):
        optim.SGD(params)


def test_one_parameter_in_two_groups():
    p = one()
    with pytest.raises(ValueError, match=r"group 0 already.*one"):
        optim.SGD([{"params": [p]}, {"params": [p]}])


def test_names_for_some():
    with pytest.raises(ValueError, match="name all or none"):
        optim.SGD([("a", one()), one()])
    optimizer = optim.SGD([("a", one())])
    with pytest.raises(ValueError, match="name all or none"):
        optimizer.add_param_group({"params": [one()]})


def test_states_that_do_not_fit_are_refused_and_change_nothing():
    p = with_gradient(one(), 1.0)
    adam = optim.Adam([p], lr=0.5)
    adam.step()
    saved = adam.state_dict()
    with pytest.raises(ValueError, match="another optimizer's state"):
        optim.SGD([p]).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"\[1\] parameters, the optimizer's \[2\]"):
        optim.Adam([p, one()]).load_state_dict(saved)
    wide = portanet.tensor([1.0, 2.0], dtype=portanet.float64, requires_grad=True)
    other = optim.Adam([wide], lr=0.25)
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(1,\), the parameter \(2,\)"):
        other.load_state_dict(saved)
    with pytest.raises(ValueError, match="lr=-1"):
        other.load_state_dict({"state": {}, "param_groups": [{"params": [0], "lr": -1}]})
    with pytest.raises(ValueError, match=r"entries for \[7\]"):
        other.load_state_dict({**saved, "state": {7: {}}})
    assert other.param_groups[0]["lr"] == 0.25 and not other.state
    with pytest.raises(ValueError, match=r"'optimizer\.0\.exp_avg' does not name"):
        adam.load_state_arrays({"optimizer.0.exp_avg": numpy.ones(1)})
    with pytest.raises(ValueError, match="a state for parameter 3, but there are 1"):
        adam.load_state_arrays({"3.exp_avg": numpy.ones(1)})
    assert adam.state[p]["step"] == 1
