"""Averages of weights are PyTorch's; statistics of batch normalization are those of the averaged weights."""

from __future__ import annotations

import numpy
import pytest

import portanet
from portanet import nn, optim
from portanet.optim import swa_utils
from tests.optim.test_schedulers import close
from tests.optim.test_schedules_of_steps import ours, theirs, walked

FUNCTIONS = {
    "default": {},
    "ema": {"avg_fn": ("get_ema_avg_fn", 0.7)},
    "ema of all": {"multi_avg_fn": ("get_ema_multi_avg_fn", 0.7)},
    "swa": {"avg_fn": ("get_swa_avg_fn",)},
    "swa of all": {"multi_avg_fn": ("get_swa_multi_avg_fn",)},
    "of one's own": {"avg_fn": lambda averaged, current, count: averaged * 0.5 + current * count},
}


def built(module, options):
    return {
        name: getattr(module, given[0])(*given[1:]) if isinstance(given, tuple) else given
        for name, given in options.items()
    }


def values(seed):
    rng = numpy.random.default_rng(seed)
    shapes = {"0.weight": (3, 2), "0.bias": (3,), "1.weight": (3,), "1.bias": (3,), "1.running_mean": (3,)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()} | {"1.running_var": rng.uniform(size=3)}


def filled(model, make, seed):
    count = {"1.num_batches_tracked": make(seed)}
    model.load_state_dict({name: make(value.tolist()) for name, value in values(seed).items()} | count)


def made(options):
    with portanet.use_backend(portanet.get_backend(), dtype="float64"):
        model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        return model, swa_utils.AveragedModel(model, **options)


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("options", FUNCTIONS.values(), ids=FUNCTIONS)
def test_averages_are_pytorchs(options, use_buffers, backend):
    torch = pytest.importorskip("torch")
    model, averaged = made({**built(swa_utils, options), "use_buffers": use_buffers})
    other = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).double()
    other[1].num_batches_tracked = None  # a whole number, of which PyTorch would make an average that it cuts off
    expected = torch.optim.swa_utils.AveragedModel(
        other, **built(torch.optim.swa_utils, options), use_buffers=use_buffers
    )
    for seed in range(4):
        filled(model, lambda x: portanet.asarray(x), seed)
        other.load_state_dict({name: torch.tensor(value) for name, value in values(seed).items()}, strict=False)
        averaged.update_parameters(model)
        expected.update_parameters(other)
    mine, their = averaged.state_dict(), expected.state_dict()
    assert set(mine) - {"module.1.num_batches_tracked"} == set(their)
    for name, value in their.items():
        # PyTorch takes 1 / (n + 1) in float32.
        assert numpy.allclose(mine[name].numpy(), value.numpy(), rtol=1e-6, atol=1e-7), name
    assert mine["module.1.num_batches_tracked"].item() == 3
    assert averaged.module[0].weight.requires_grad and averaged.module[0].weight.is_leaf


def test_the_average_is_a_copy_and_computes_as_one(backend):
    model, averaged = made({})
    averaged.update_parameters(model)
    before = averaged.module[0].weight.detach().numpy().copy()
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    x = portanet.asarray([[1.0, 2.0], [0.0, 1.0]], dtype=portanet.float64)
    portanet.sum(model(x) ** 3).backward()
    optimizer.step()
    assert (averaged.module[0].weight.detach().numpy() == before).all()
    assert averaged(x).shape == (2, 3)
    assert averaged.n_averaged.item() == 1


def test_averages_in_a_compiled_step_are_the_eager_ones():
    from tests.stepping import batches, prove, usual, world

    def make():
        inner = usual(optim.SGD)()
        averaged = swa_utils.AveragedModel(inner.model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))

        def step(x, y):
            loss = inner.step(x, y)
            averaged.update_parameters(inner.model)
            return loss

        return world(step, *inner.state, averaged)

    with portanet.use_backend("numpy"):
        prove(make, batches(6), recordings=None, reason=None)


def test_both_functions_are_refused():
    with pytest.raises(ValueError, match="avg_fn and multi_avg_fn are given"):
        swa_utils.AveragedModel(nn.Linear(1, 1), avg_fn=max, multi_avg_fn=max)
    for make in (swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match=r"decay=1\.5"):
            make(1.5)


@pytest.mark.parametrize("wrapped", [lambda x: x, lambda x: (x, None), lambda x: [x, 1]], ids=["x", "tuple", "list"])
def test_statistics_are_those_over_all_batches(wrapped, backend):
    torch = pytest.importorskip("torch")
    model, _ = made({})
    filled(model, lambda x: portanet.asarray(x), 3)
    model.eval()
    model[1].momentum = 0.3
    other = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).double()
    filled(other, torch.tensor, 3)
    batches = numpy.random.default_rng(8).normal(size=(3, 5, 2))
    swa_utils.update_bn([wrapped(portanet.asarray(x.tolist(), dtype=portanet.float64)) for x in batches], model)
    torch.optim.swa_utils.update_bn([torch.tensor(x) for x in batches], other)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert numpy.allclose(getattr(model[1], name).numpy(), getattr(other[1], name).numpy(), rtol=1e-9)
    assert not model.training and not model[1].training and model[1].momentum == 0.3
    assert model[0].weight.grad is None


def test_a_loader_that_fails_leaves_the_momenta():
    model = nn.Sequential(nn.BatchNorm1d(3, momentum=0.2)).eval()
    with pytest.raises(AttributeError):
        swa_utils.update_bn([None], model)
    assert model[0].momentum == 0.2 and not model.training
    swa_utils.update_bn([None], nn.Linear(1, 1))  # nothing to do, so nothing is run


SCHEDULES = [{}, {"anneal_epochs": 5}, {"anneal_epochs": 7, "anneal_strategy": "linear"}, {"anneal_epochs": 0}]


@pytest.mark.parametrize("options", SCHEDULES, ids=str)
@pytest.mark.parametrize("swa_lr", [0.05, [0.02, 0.4]], ids=str)
def test_swalr_is_pytorchs(options, swa_lr):
    torch = pytest.importorskip("torch")
    optimizer, other = ours(), theirs()
    rows = walked(optimizer, swa_utils.SWALR(optimizer, swa_lr, **options), 50)
    assert close(rows, walked(other, torch.optim.swa_utils.SWALR(other, swa_lr, **options), 50))
    assert (rows[0] != rows[-1]).any() or options.get("anneal_epochs") == 0


def test_swalr_resumes_and_refuses():
    optimizer, fresh = ours(), ours()
    schedule, resumed = [swa_utils.SWALR(o, 0.05) for o in (optimizer, fresh)]
    walked(optimizer, schedule, 4)
    fresh.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert (walked(fresh, resumed, 12) == walked(optimizer, schedule, 12)).all()
    with pytest.raises(ValueError, match="anneal_strategy='x'"):
        swa_utils.SWALR(ours(), 0.05, anneal_strategy="x")
    with pytest.raises(ValueError, match="anneal_epochs=-1"):
        swa_utils.SWALR(ours(), 0.05, anneal_epochs=-1)
    with pytest.raises(ValueError, match="swa_lr has 3 entries for 2 groups"):
        swa_utils.SWALR(ours(), [0.1, 0.2, 0.3])
