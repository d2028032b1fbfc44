"""Each schedule sets PyTorch's learning rates for fifty epochs, alone, two at a time, and after a resume."""

from __future__ import annotations

import json
import math

import numpy
import pytest

import portanet
from portanet import optim
from portanet.optim import lr_scheduler
from tests.optim.problem import Oracle, named, parameters, path

CASES = [
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 1, "gamma": 0.9}),
    ("MultiStepLR", {"milestones": [3, 10, 10, 31]}),
    ("MultiStepLR", {"milestones": [20, 5], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 50}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 1}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 1 / (1 + epoch)}),
    ("LambdaLR", {"lr_lambda": [lambda epoch: 0.9**epoch, lambda epoch: math.cos(epoch)]}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 12}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.7, "total_iters": 20}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 10}),
]


def ours():
    p, q = [portanet.tensor([1.0], requires_grad=True) for _ in range(2)]
    return optim.SGD([{"params": [p]}, {"params": [q], "lr": 0.3}], lr=0.1)


def theirs():
    torch = pytest.importorskip("torch")
    p, q = [torch.ones(1, requires_grad=True) for _ in range(2)]
    return torch.optim.SGD([{"params": [p]}, {"params": [q], "lr": 0.3}], lr=0.1)


def oracle(name):
    return getattr(pytest.importorskip("torch").optim.lr_scheduler, name)


def epochs(optimizer, schedules, count):
    """The rates of both groups in each epoch, as the groups have them and as the last schedule says."""
    rates = []
    for _ in range(count):
        rates.append([group["lr"] for group in optimizer.param_groups] + schedules[-1].get_last_lr())
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return numpy.asarray(rates)


def close(a, b):
    return numpy.allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_fifty_epochs_are_pytorchs(case):
    name, options = case
    mine, other = ours(), theirs()
    rates = epochs(mine, [getattr(lr_scheduler, name)(mine, **options)], 51)
    assert close(rates, epochs(other, [oracle(name)(other, **options)], 51))
    assert (rates[0] != rates[13]).any()


@pytest.mark.parametrize("case", [case for case in CASES if case[0] != "LambdaLR"], ids=named)
def test_two_schedules_multiply_as_pytorchs_do(case):
    name, options = case
    mine, other = ours(), theirs()
    pair = [lr_scheduler.ExponentialLR(mine, 0.97), getattr(lr_scheduler, name)(mine, **options)]
    expected = [oracle("ExponentialLR")(other, 0.97), oracle(name)(other, **options)]
    assert close(epochs(mine, pair, 51), epochs(other, expected, 51))


@pytest.mark.parametrize("case", CASES, ids=named)
@pytest.mark.parametrize("at", [0, 7, 20])
def test_a_resumed_schedule_goes_on_as_if_it_had_not_stopped(case, at):
    name, options = case
    optimizer = ours()
    schedule = getattr(lr_scheduler, name)(optimizer, **options)
    epochs(optimizer, [schedule], at)
    saved = json.loads(
        json.dumps({"optimizer": optimizer.state_dict()["param_groups"], "schedule": schedule.state_dict()})
    )
    expected = epochs(optimizer, [schedule], 20)

    fresh = ours()
    resumed = getattr(lr_scheduler, name)(fresh, **options)
    fresh.load_state_dict({"state": {}, "param_groups": saved["optimizer"]})
    resumed.load_state_dict(saved["schedule"])
    assert (epochs(fresh, [resumed], 20) == expected).all()

    fresh = ours()
    fresh.load_state_dict({"state": {}, "param_groups": saved["optimizer"]})
    resumed = getattr(lr_scheduler, name)(fresh, **options, last_epoch=at - 1)
    if at:
        assert (epochs(fresh, [resumed], 20) == expected).all()


def test_resuming_needs_to_know_the_first_rate():
    with pytest.raises(KeyError, match=r"group 0 has no 'initial_lr'.*optimizer's state"):
        lr_scheduler.StepLR(ours(), 3, last_epoch=4)


def test_a_callable_object_keeps_its_attributes():
    class Decay:
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, epoch):
            return self.rate**epoch

    first, second = ours(), ours()
    saved = lr_scheduler.LambdaLR(first, Decay(0.5)).state_dict()
    schedule = lr_scheduler.LambdaLR(second, Decay(0.9))
    schedule.load_state_dict(saved)
    assert [f.rate for f in schedule.lr_lambdas] == [0.5, 0.5]


FIGURES = [1.0, 0.8, 0.8, 0.81, 0.79999, 0.5, 0.6, 0.6, 0.6, 0.6, math.nan, 0.6, 0.49, 0.49, 0.5, 0.5, 0.5, 0.5, 0.4]


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"patience": 0, "factor": 0.5},
        {"patience": 1, "threshold": 0.3},
        {"patience": 1, "threshold": 0.05, "threshold_mode": "abs"},
        {"patience": 1, "mode": "max"},
        {"patience": 0, "mode": "max", "threshold": 0.1, "threshold_mode": "abs"},
        {"patience": 0, "cooldown": 2},
        {"patience": 0, "min_lr": 0.02},
        {"patience": 0, "min_lr": [0.02, 0.1]},
        {"patience": 0, "eps": 0.01},
    ],
    ids=str,
)
def test_plateau_is_pytorchs(options):
    mine, other = ours(), theirs()
    schedule, expected = lr_scheduler.ReduceLROnPlateau(mine, **options), oracle("ReduceLROnPlateau")(other, **options)
    figures = [FIGURES[i % len(FIGURES)] / (1 + i // len(FIGURES)) for i in range(50)]
    seen = []
    for figure in figures:
        schedule.step(figure)
        expected.step(figure)
        seen.append(schedule.get_last_lr())
        assert close(seen[-1], expected.get_last_lr())
        assert seen[-1] == [group["lr"] for group in mine.param_groups]
    assert seen[0] != seen[-1]


def test_plateau_resumes():
    mine, fresh = ours(), ours()
    schedule, resumed = [lr_scheduler.ReduceLROnPlateau(o, patience=2, cooldown=1) for o in (mine, fresh)]
    for figure in FIGURES[:8]:
        schedule.step(figure)
    fresh.load_state_dict(mine.state_dict())
    resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    for figure in FIGURES[8:]:
        schedule.step(figure)
        resumed.step(figure)
        assert schedule.get_last_lr() == resumed.get_last_lr()
    assert schedule.state_dict() == resumed.state_dict()


def test_plateau_reads_a_tensor(backend):
    optimizer = ours()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for value in (1.0, 1.0):
        schedule.step(portanet.sum(portanet.tensor([value], requires_grad=True)))
    assert schedule.best == 1.0 and close(schedule.get_last_lr(), [0.01, 0.03])


def test_plateau_with_a_group_added_later_and_too_few_floors():
    optimizer = ours()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.0, 0.0])
    optimizer.add_param_group({"params": [portanet.tensor([1.0], requires_grad=True)]})
    schedule.step(1.0)
    with pytest.raises(ValueError, match="2 entries for 3 groups"):
        schedule.step(1.0)


def test_rates_reach_the_steps(backend):
    torch = pytest.importorskip("torch")
    reference = Oracle()
    other = torch.optim.SGD(list(reference.p.values()), lr=0.2, momentum=0.9)
    p = parameters()
    mine = optim.SGD(list(p.values()), lr=0.2, momentum=0.9)
    steps = 10
    walked = path(p, mine, steps, lr_scheduler.CosineAnnealingLR(mine, T_max=steps).step)
    expected = reference.path(other, steps, torch.optim.lr_scheduler.CosineAnnealingLR(other, T_max=steps).step)
    assert numpy.allclose(walked, expected, rtol=1e-9)


def test_a_numpy_number_from_a_lambda_does_not_widen(backend):
    p = portanet.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=0.5)
    schedule = lr_scheduler.LambdaLR(optimizer, lambda epoch: numpy.float64(0.5) ** epoch)
    p.grad = portanet.ones_like(p)
    optimizer.step()
    schedule.step()
    optimizer.step()
    assert p.item() == 0.25 and p.dtype is portanet.float32 and type(optimizer.param_groups[0]["lr"]) is float


def test_the_wrong_order_warns_once():
    optimizer = ours()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"before optimizer.step\(\)"):
        schedule.step()
    optimizer = ours()
    schedule = lr_scheduler.StepLR(optimizer, 3)
    optimizer.step()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("StepLR", {"step_size": 0}, "step_size=0"),
        ("CosineAnnealingLR", {"T_max": 0}, "T_max=0"),
        ("ConstantLR", {"factor": 2.0}, "factor=2.0"),
        ("LinearLR", {"start_factor": 0.0}, "start_factor=0.0"),
        ("LinearLR", {"end_factor": 1.5}, "end_factor=1.5"),
        ("LambdaLR", {"lr_lambda": [math.cos]}, "1 functions for 2 groups"),
        ("ReduceLROnPlateau", {"factor": 1.0}, "factor=1.0"),
        ("ReduceLROnPlateau", {"mode": "least"}, "mode='least'"),
        ("ReduceLROnPlateau", {"threshold_mode": "x"}, "threshold_mode='x'"),
        ("ReduceLROnPlateau", {"min_lr": [0.1]}, "1 entries for 2 groups"),
    ],
)
def test_bad_arguments_are_named(name, options, said):
    with pytest.raises(ValueError, match=said):
        getattr(lr_scheduler, name)(ours(), **options)


def test_something_else_than_an_optimizer():
    with pytest.raises(TypeError, match="expected an optimizer, saw list"):
        lr_scheduler.StepLR([], 3)


def test_the_state_of_another_schedule_is_refused():
    saved = lr_scheduler.StepLR(ours(), 3).state_dict()
    with pytest.raises(ValueError, match="step_size"):
        lr_scheduler.ExponentialLR(ours(), 0.9).load_state_dict(saved)
