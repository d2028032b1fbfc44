"""Schedules that cycle, restart and combine set PyTorch's learning rates and momenta, alone and after a resume."""

from __future__ import annotations

import inspect
import json
import math

import numpy
import pytest

import portanet
from portanet import optim
from portanet.optim import lr_scheduler
from tests.optim.problem import named
from tests.optim.test_schedulers import close
from tests.oracle import of_newest


def inverse(k):
    return 1 / k


def powers(t):
    return 0.9**t


CASES = [
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.95}),
    ("MultiplicativeLR", {"lr_lambda": [lambda epoch: 0.9, lambda epoch: 1 + 0.1 * math.cos(epoch)]}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 40}),
    ("PolynomialLR", {"total_iters": 30, "power": 2.5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5, "T_mult": 3, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "eta_min": 0.01, "T_mult": 2}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": [0.2, 0.5], "step_size_up": 5, "step_size_down": 8}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 4, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 4, "mode": "exp_range", "gamma": 0.97}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 4, "scale_fn": inverse}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 4, "scale_fn": powers,
                  "scale_mode": "iterations"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5, "base_momentum": 0.5, "max_momentum": 0.95}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 5, "cycle_momentum": False}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 100}),
    ("OneCycleLR", {"max_lr": [0.5, 1.0], "epochs": 6, "steps_per_epoch": 10}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 60, "pct_start": 0.5}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 60, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 60, "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 60, "base_momentum": 0.3, "max_momentum": [0.8, 0.9]}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 60, "div_factor": 5.0, "final_div_factor": 7.0}),
    ("OneCycleLR", {"max_lr": 0.5, "total_steps": 60, "cycle_momentum": False}),
]  # fmt: skip


def ours(kind="SGD"):
    p, q = [portanet.tensor([1.0], requires_grad=True) for _ in range(2)]
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(optim, kind)([{"params": [p]}, {"params": [q], "lr": 0.3}], lr=0.1, **options)


def theirs(kind="SGD"):
    torch = pytest.importorskip("torch")
    p, q = [torch.ones(1, requires_grad=True) for _ in range(2)]
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(torch.optim, kind)([{"params": [p]}, {"params": [q], "lr": 0.3}], lr=0.1, **options)


def oracle(name):
    torch = pytest.importorskip("torch")
    return getattr(torch.optim.swa_utils if name == "SWALR" else torch.optim.lr_scheduler, name)


def mine(name):
    return getattr(lr_scheduler, name)


def momenta(optimizer):
    return [group["momentum"] if "momentum" in group else group["betas"][0] for group in optimizer.param_groups]


def walked(optimizer, schedule, count):
    """Rates and momenta of both groups in each epoch, and what the schedule says the rates are."""
    rows = []
    for _ in range(count):
        rates = [group["lr"] for group in optimizer.param_groups]
        rows.append(rates + momenta(optimizer) + list(schedule.get_last_lr()))
        optimizer.step()
        schedule.step()
    return numpy.asarray(rows)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("case", CASES, ids=named)
def test_fifty_epochs_are_pytorchs(case, kind):
    name, options = case
    optimizer, other = ours(kind), theirs(kind)
    rows = walked(optimizer, mine(name)(optimizer, **options), 55)
    assert close(rows, walked(other, oracle(name)(other, **options), 55))
    assert (rows[0] != rows[4]).any()
    if name in ("CyclicLR", "OneCycleLR"):
        assert (rows[0, 2] != rows[4, 2]) == options.get("cycle_momentum", True)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_resumed_schedule_goes_on_as_if_it_had_not_stopped(case):
    name, options = case
    optimizer = ours()
    schedule = mine(name)(optimizer, **options)
    walked(optimizer, schedule, 9)
    saved = json.loads(
        json.dumps({"optimizer": optimizer.state_dict()["param_groups"], "schedule": schedule.state_dict()})
    )
    expected = walked(optimizer, schedule, 20)
    fresh = ours()
    resumed = mine(name)(fresh, **options)
    fresh.load_state_dict({"state": {}, "param_groups": saved["optimizer"]})
    resumed.load_state_dict(saved["schedule"])
    assert (walked(fresh, resumed, 20) == expected).all()

    fresh = ours()
    fresh.load_state_dict({"state": {}, "param_groups": saved["optimizer"]})
    resumed = mine(name)(fresh, **options, last_epoch=8)
    assert (walked(fresh, resumed, 20)[1:] == expected[1:]).all()


@pytest.mark.parametrize("name", sorted(set(lr_scheduler.__all__)))
def test_arguments_have_pytorchs_order_and_defaults(name):
    theirs, ours = [inspect.signature(kind.__init__).parameters for kind in (oracle(name), mine(name))]
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_no_schedule_of_pytorch_is_missing():
    torch = pytest.importorskip("torch")
    assert set(torch.optim.lr_scheduler.__all__) <= set(lr_scheduler.__all__)


def test_warm_restarts_take_fractions_of_an_epoch():
    optimizer, other = ours(), theirs()
    pair = [
        mine("CosineAnnealingWarmRestarts")(optimizer, 3, 2),
        oracle("CosineAnnealingWarmRestarts")(other, 3, 2),
    ]
    for epoch in [0.25, 0.5, 2.75, 3.0, 8.5, None, None, 9, 30.25, 1]:
        for one in pair:
            one.step(epoch)
        assert close(pair[0].get_last_lr(), pair[1].get_last_lr())
        assert pair[0].last_epoch == pair[1].last_epoch
    with pytest.raises(ValueError, match="epoch=-1"):
        pair[0].step(-1)


# ---------------------------------------------------------------------------------------------------------------------
# Combined.

MADE_OF = {
    "a warm-up and a cosine": ([("LinearLR", {"total_iters": 5}), ("CosineAnnealingLR", {"T_max": 20})], [5]),
    "three": ([("ConstantLR", {"factor": 0.1, "total_iters": 30}), ("ExponentialLR", {"gamma": 0.9}),
               ("StepLR", {"step_size": 3, "gamma": 0.5})], [4, 10]),
    "restarts": ([("PolynomialLR", {"total_iters": 8}), ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2})], [6]),
    "milestones": ([("LinearLR", {"start_factor": 0.5}), ("MultiStepLR", {"milestones": [3, 8]})], [10]),
    "a function": ([("LinearLR", {}), ("LambdaLR", {"lr_lambda": lambda epoch: 1 / (1 + epoch)})], [3]),
    "at once the second": ([("LinearLR", {}), ("ExponentialLR", {"gamma": 0.8})], [0]),
}  # fmt: skip


def sequence(kinds, optimizer, parts, milestones):
    return kinds("SequentialLR")(optimizer, [kinds(name)(optimizer, **options) for name, options in parts], milestones)


@of_newest
@pytest.mark.parametrize("made_of", MADE_OF.values(), ids=MADE_OF)
def test_one_after_the_other_is_pytorchs(made_of):
    optimizer, other = ours(), theirs()
    rows = walked(optimizer, sequence(mine, optimizer, *made_of), 50)
    assert close(rows, walked(other, sequence(oracle, other, *made_of), 50))
    assert (rows[0] != rows[20]).any()


@pytest.mark.parametrize("made_of", MADE_OF.values(), ids=MADE_OF)
def test_all_at_once_is_pytorchs(made_of):
    optimizer, other = ours(), theirs()
    parts = made_of[0]
    if "CosineAnnealingWarmRestarts" in dict(parts) or "LambdaLR" in dict(parts):
        parts = parts[::-1]  # they begin with the first rate each time, and so come first
    rows = walked(optimizer, mine("ChainedScheduler")([mine(name)(optimizer, **o) for name, o in parts]), 50)
    assert close(rows, walked(other, oracle("ChainedScheduler")([oracle(name)(other, **o) for name, o in parts]), 50))


def combinations(optimizer):
    def parts():
        return [
            lr_scheduler.LinearLR(optimizer, total_iters=4),
            lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, 2),
        ]

    yield lr_scheduler.SequentialLR(optimizer, parts(), [6])
    yield lr_scheduler.ChainedScheduler(parts()[::-1])
    yield lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.ConstantLR(optimizer, 0.5, 99), lr_scheduler.ChainedScheduler([
            lr_scheduler.ExponentialLR(optimizer, 0.9), lr_scheduler.StepLR(optimizer, 2, 0.5)])],
        [5],
    )  # fmt: skip


@pytest.mark.parametrize("k", range(3))
def test_combinations_resume(k):
    optimizer, fresh = ours(), ours()
    schedule, resumed = [list(combinations(o))[k] for o in (optimizer, fresh)]
    for one in (optimizer, fresh):
        for group, lr in zip(one.param_groups, (0.1, 0.3), strict=True):
            group["lr"] = lr
    walked(optimizer, schedule, 4)
    saved = json.loads(json.dumps([optimizer.state_dict()["param_groups"], schedule.state_dict()]))
    fresh.load_state_dict({"state": {}, "param_groups": saved[0]})
    resumed.load_state_dict(saved[1])
    assert (walked(fresh, resumed, 12) == walked(optimizer, schedule, 12)).all()


def test_a_chain_within_a_sequence_begins_anew():
    optimizer = ours()
    inner = lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(optimizer, 0.5), lr_scheduler.ConstantLR(optimizer, 0.5, 2)]
    )
    outer = lr_scheduler.SequentialLR(optimizer, [lr_scheduler.ConstantLR(optimizer, 0.5, 99), inner], [2])
    rates = walked(optimizer, outer, 6)[:, 0]
    assert close(rates, [0.05, 0.05, 0.05, 0.025, 0.025, 0.0125])


def test_combinations_refuse():
    optimizer = ours()
    step = lr_scheduler.StepLR(optimizer, 3)
    with pytest.raises(ValueError, match="got no schedules"):
        lr_scheduler.ChainedScheduler([])
    with pytest.raises(TypeError, match="entry 1 is ReduceLROnPlateau.*needs a figure"):
        lr_scheduler.SequentialLR(optimizer, [step, lr_scheduler.ReduceLROnPlateau(optimizer)], [2])
    with pytest.raises(ValueError, match=r"schedule 1 \(StepLR\) is of another optimizer"):
        lr_scheduler.ChainedScheduler([step, lr_scheduler.StepLR(ours(), 3)])
    for milestones in ([], [1, 2], [1, 2, 3]):
        with pytest.raises(ValueError, match="give one fewer, rising"):
            lr_scheduler.SequentialLR(optimizer, [step] * 2, milestones)
    with pytest.raises(ValueError, match="rising"):
        lr_scheduler.SequentialLR(optimizer, [step] * 3, [5, 2])
    with pytest.raises(ValueError, match="1 schedules, this one 2"):
        saved = lr_scheduler.ChainedScheduler([step]).state_dict()
        lr_scheduler.ChainedScheduler([step, step]).load_state_dict(saved)


# ---------------------------------------------------------------------------------------------------------------------
# Errors, and what is known from elsewhere.


def test_one_cycle_by_hand():
    optimizer = ours()
    schedule = lr_scheduler.OneCycleLR(optimizer, 1.0, 21, pct_start=10 / 21 + 1 / 21, anneal_strategy="linear")
    rows = walked(optimizer, schedule, 21)
    assert close(rows[0, :4], [0.04, 0.04, 0.95, 0.95])
    assert close(rows[10, :4], [1.0, 1.0, 0.85, 0.85])
    assert close(rows[20, :4], [4e-6, 4e-6, 0.95, 0.95])
    with pytest.raises(ValueError, match="step 22 of a cycle of 21 steps"):
        schedule.step()


def test_a_cycled_momentum_reaches_the_steps():
    p = portanet.tensor([0.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=1.0, momentum=0.1)
    schedule = lr_scheduler.CyclicLR(optimizer, 1.0, 1.0, step_size_up=1, base_momentum=0.0, max_momentum=0.5)
    for expected in (-1.0, -2.0, -3.5):  # momentum 0.5, 0, 0.5
        p.grad = portanet.ones_like(p)
        optimizer.step()
        schedule.step()
        assert p.item() == expected


def test_a_callable_scale_keeps_its_attributes():
    class Scale:
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, cycle):
            return self.rate**cycle

    saved = lr_scheduler.CyclicLR(ours(), 0.1, 0.2, scale_fn=Scale(0.5)).state_dict()
    schedule = lr_scheduler.CyclicLR(ours(), 0.1, 0.2, scale_fn=Scale(0.9))
    schedule.load_state_dict(saved)
    assert schedule.scale_fn.rate == 0.5


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("MultiplicativeLR", {"lr_lambda": [math.cos]}, "MultiplicativeLR: 1 functions for 2 groups"),
        ("PolynomialLR", {"total_iters": 0}, "total_iters=0"),
        ("CosineAnnealingWarmRestarts", {"T_0": 0}, "T_0=0"),
        ("CosineAnnealingWarmRestarts", {"T_0": 2.5}, "T_0=2.5"),
        ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 0}, "T_mult=0"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "mode": "square"}, "mode='square'"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "scale_mode": "steps"}, "scale_mode='steps'"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 0}, "step_size_up=0"),
        ("CyclicLR", {"base_lr": [0.1], "max_lr": 1.0}, "base_lr has 1 entries for 2 groups"),
        ("OneCycleLR", {"max_lr": 1.0}, "total_steps, or epochs and steps_per_epoch"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 0}, "0 steps in all"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "pct_start": 1.5}, "pct_start=1.5"),
        ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "anneal_strategy": "x"}, "anneal_strategy='x'"),
        ("OneCycleLR", {"max_lr": [1.0], "total_steps": 9}, "max_lr has 1 entries for 2 groups"),
    ],
)
def test_bad_arguments_are_named(name, options, said):
    with pytest.raises(ValueError, match=said):
        mine(name)(ours(), **options)


def test_without_a_momentum_there_is_none_to_cycle():
    with pytest.raises(ValueError, match="Adagrad has neither a momentum nor betas; pass cycle_momentum=False"):
        lr_scheduler.OneCycleLR(ours("Adagrad"), 1.0, 9)
    lr_scheduler.OneCycleLR(ours("Adagrad"), 1.0, 9, cycle_momentum=False)
