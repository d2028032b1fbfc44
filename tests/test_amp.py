"""Loss scaling, and float32 copies of half-width parameters: as PyTorch has them, on every library."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet
from portanet import amp, nn, optim
from portanet.training import fit
from tests.test_autocast import half, halves, ordinary  # noqa: F401

F = nn.functional


def require(library):
    if library == "cupy":
        reason = portanet.available_backends()["cupy"].reason
        if reason:
            pytest.skip(reason)
    else:
        pytest.importorskip(library)


def one_parameter(**how):
    w = portanet.asarray([1.0, -2.0]).requires_grad_()
    return w, optim.SGD([w], lr=0.5, momentum=0.9), amp.GradScaler(**how)


# ---------------------------------------------------------------------------------------------------------------------
# The scaler


def test_gradients_are_unscaled_before_the_step(backend):
    w, optimizer, scaler = one_parameter(init_scale=1024.0)
    scaler.scale(portanet.sum(w * w)).backward()
    assert w.grad.tolist() == [2048.0, -4096.0]
    scaler.step(optimizer)
    scaler.update()
    assert w.grad.tolist() == [2.0, -4.0]
    assert w.tolist() == [0.0, 0.0]
    assert scaler.get_scale() == 1024.0


def test_an_overflow_leaves_the_step_out_and_halves_the_scale(backend):
    w, optimizer, scaler = one_parameter(init_scale=1024.0)
    scaler.scale(portanet.sum(w * w)).backward()
    scaler.step(optimizer)
    scaler.update()
    before = w.tolist(), optimizer.state[w]["momentum_buffer"].tolist()
    for bad in (math.inf, math.nan):
        optimizer.zero_grad()
        scaler.scale(portanet.sum(w * portanet.asarray([bad, 1.0]))).backward()
        scaler.step(optimizer)
        scaler.update()
        assert (w.tolist(), optimizer.state[w]["momentum_buffer"].tolist()) == before
    assert scaler.get_scale() == 256.0


def overflows() -> list[bool]:
    return [bool(x) for x in numpy.random.default_rng(1).random(40) < 0.2]


def test_the_scale_goes_pytorchs_way():
    torch = pytest.importorskip("torch")
    how = {"init_scale": 2.0**10, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 3}
    w, optimizer, scaler = one_parameter(**how)
    v = torch.tensor([1.0, -2.0], requires_grad=True)
    theirs, reference = torch.amp.GradScaler("cpu", **how), torch.optim.SGD([v], lr=0.5, momentum=0.9)
    for i, bad in enumerate(overflows()):
        factor = math.inf if bad else 0.125
        for one, where, p in ((scaler, optimizer, w), (theirs, reference, v)):
            where.zero_grad()
            one.scale((p * p * factor).sum() if p is v else portanet.sum(p * p * factor)).backward()
            one.step(where)
            one.update()
        assert scaler.state_dict() == theirs.state_dict()
        assert w.tolist() == pytest.approx(v.tolist(), rel=1e-5)
        if i == 20:
            again = amp.GradScaler()
            again.load_state_dict(theirs.state_dict())
            theirs.load_state_dict(scaler.state_dict())
            scaler = again


def test_the_scale_does_not_grow_to_infinity():
    w, optimizer, scaler = one_parameter(init_scale=2.0**127, growth_interval=1)
    w.grad = portanet.ones(2)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**127


def test_clipping_between(backend):
    w, optimizer, scaler = one_parameter(init_scale=1024.0)
    scaler.scale(portanet.sum(w * portanet.asarray([3.0, 4.0]))).backward()
    scaler.unscale_(optimizer)
    assert float(nn.utils.clip_grad_norm_([w], 1.0)) == pytest.approx(5.0)
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == pytest.approx([1.0 - 0.3, -2.0 - 0.4], rel=1e-5)


def test_several_losses_and_optimizers():
    a, b = portanet.ones(1).requires_grad_(), portanet.ones(1).requires_grad_()
    first, second = optim.SGD([a], lr=1.0), optim.SGD([b], lr=1.0)
    scaler = amp.GradScaler(init_scale=8.0)
    for loss in scaler.scale([portanet.sum(a * math.inf), portanet.sum(2 * b)]):
        loss.backward()
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert (a.tolist(), b.tolist(), scaler.get_scale()) == ([1.0], [-1.0], 4.0)


def test_a_scaler_that_is_not_enabled_does_nothing():
    w, optimizer, scaler = one_parameter(enabled=False)
    loss = portanet.sum(w * w)
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [0.0, 0.0]
    assert (scaler.get_scale(), scaler.state_dict(), scaler.is_enabled()) == (1.0, {}, False)


def test_what_the_scaler_refuses():
    for how in ({"init_scale": 0.0}, {"growth_factor": 1.0}, {"backoff_factor": 1.0}, {"growth_interval": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(how))}="):
            amp.GradScaler(**how)
    w, optimizer, scaler = one_parameter()
    with pytest.raises(TypeError, match="expected a Tensor"):
        scaler.scale(1.0)
    with pytest.raises(RuntimeError, match="no step"):
        scaler.update()
    with pytest.raises(ValueError, match="no parameter of the optimizer has a gradient"):
        scaler.step(optimizer)
    w.grad = portanet.ones(2)
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="since the last update"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) was called"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="since the last update"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="closure"):
        scaler.step(optimizer, lambda: None)
    scaler.update(new_scale=4.0)
    assert scaler.get_scale() == 4.0
    h = portanet.ones(1, dtype="float16").requires_grad_()
    h.grad = portanet.ones(1, dtype="float16")
    with pytest.raises(ValueError, match="master_weights"):
        scaler.unscale_(optim.SGD([h]))
    with pytest.raises(ValueError, match="not enabled"):
        scaler.load_state_dict({})


# ---------------------------------------------------------------------------------------------------------------------
# Compiled


def trained(library: str, make, dtype: str, compiled: bool, known: bool = True):
    """Losses and scales of 10 steps, the first of which overflow, the counts that the optimizer keeps, and the step."""
    with portanet.use_backend(library):
        portanet.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
        optimizer, scaler = make(model.parameters()), amp.GradScaler(init_scale=2.0**15, growth_interval=4)
        x, target = portanet.asarray(ordinary(12, 4)), portanet.asarray([0, 1, 2] * 4)

        def step(x, target):
            optimizer.zero_grad()
            with portanet.autocast(dtype=dtype):
                loss = F.cross_entropy(20 * model(x), target)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            return loss

        state = (model, optimizer, scaler) if known else (model, optimizer)
        run = portanet.compile(step, state=state) if compiled else step
        with numpy.errstate(over="ignore", invalid="ignore"):
            losses = [run(x, target).item() for _ in range(10)]
        return losses, scaler.state_dict(), {s.get("step") for s in optimizer.state.values()}, run


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
}


@pytest.mark.parametrize("library", ["numpy", "jax", "torch", "cupy"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_compiled_step_leaves_out_the_same_steps(library, name):
    require(library)
    losses, scale, counts, _ = trained(library, OPTIMIZERS[name], "float16", False)
    again, scale_again, counts_again, step = trained(library, OPTIMIZERS[name], "float16", True)
    assert step.reason == ""
    assert scale["scale"] < 2.0**15  # something overflowed
    assert (scale_again, counts_again) == (scale, counts)
    assert again == pytest.approx(losses, rel=0 if library == "numpy" else 2e-2)


@pytest.mark.parametrize("library", ["numpy", "jax"])
def test_a_scaler_that_is_not_in_the_state_is_refused(library):
    pytest.importorskip(library)
    losses, *_ = trained(library, OPTIMIZERS["SGD"], "float16", False)
    again, _, _, step = trained(library, OPTIMIZERS["SGD"], "float16", True, known=False)
    assert "not in state" in step.reason
    assert again == losses


def test_a_block_around_a_compiled_step_is_another_form():
    model, x = nn.Linear(3, 2), portanet.asarray(ordinary(4, 3))
    step = portanet.compile(model.forward, state=model)
    plain = step(x)
    with portanet.autocast():
        assert step(x).dtype is portanet.float16
    assert step(x).tolist() == plain.tolist()
    assert step.recordings == 2


# ---------------------------------------------------------------------------------------------------------------------
# float32 copies


def by_name(name: str):
    return lambda p: getattr(optim, name)(p, lr=0.01)


FAMILY = {
    **{name: by_name(name) for name in "Adam AdamW RMSprop Adagrad NAdam RAdam Lion Adamax".split()},
    "SGD": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, nesterov=True),
    "Adadelta": lambda p: optim.Adadelta(p),
    "Adafactor": lambda p: optim.Adafactor(p, lr=0.01),
    "Rprop": lambda p: optim.Rprop(p),
    "ASGD": lambda p: optim.ASGD(p),
}


@pytest.mark.parametrize("name", FAMILY)
def test_copies_step_as_float32_parameters_do(name, half):  # noqa: F811
    start = portanet.asarray(ordinary(3, 2)).to(half)
    p, q = start.detach().requires_grad_(), start.to("float32").requires_grad_()
    optimizer, exact = amp.master_weights(FAMILY[name]([p])), FAMILY[name]([q])
    for i in range(4):
        g = portanet.asarray(ordinary(3, 2, seed=i)).to(half)
        p.grad, q.grad = g, g.to("float32")
        optimizer.step()
        exact.step()
    kept = optimizer.state[p]
    assert kept["master"].tolist() == q.tolist()
    assert p.tolist() == q.to(half).tolist()
    assert {str(x.dtype) for x in kept.values() if isinstance(x, portanet.Tensor)} == {"float32"}


def test_copies_go_through_a_state_dict():
    def made():
        p = portanet.asarray(ordinary(5)).to("float16").requires_grad_()
        return p, amp.master_weights(optim.Adam([p], lr=1e-4))

    def step(p, optimizer, i):
        p.grad = portanet.asarray(ordinary(5, seed=i)).to("float16")
        optimizer.step()

    p, optimizer = made()
    for i in range(3):
        step(p, optimizer, i)
    for way in ("dict", "arrays"):
        q, other = made()
        q._raw = p._raw
        if way == "dict":
            other.load_state_dict(optimizer.state_dict())
        else:
            other.load_state_arrays(optimizer.state_arrays())
        assert other.state[q]["master"].tolist() == optimizer.state[p]["master"].tolist()
        for i in range(3, 6):
            step(q, other, i)
        if way == "dict":
            for i in range(3, 6):
                step(p, optimizer, i)
            optimizer.load_state_dict({**optimizer.state_dict()})
            ends = optimizer.state[p]["master"].tolist()
            p, optimizer = made()
            for i in range(3):
                step(p, optimizer, i)
        assert other.state[q]["master"].tolist() == ends
    with pytest.raises(ValueError, match="master"):
        optim.Adam([q]).load_state_dict(optimizer.state_dict())


def test_an_optimizer_that_has_stepped_goes_on_in_float32():
    p = portanet.ones(3, dtype="float16").requires_grad_()
    optimizer = optim.Adam([p])
    p.grad = portanet.ones(3, dtype="float16")
    optimizer.step()
    amp.master_weights(optimizer)
    assert optimizer.state[p]["exp_avg"].dtype is portanet.float32
    optimizer.step()
    assert optimizer.state[p]["step"] == 2


def test_copies_and_a_scaler(half):  # noqa: F811
    """A gradient that is nothing without the scale: in float16 it is below what there is."""
    p = portanet.ones(1).to(half).requires_grad_()
    optimizer, scaler = amp.master_weights(optim.SGD([p], lr=1e4)), amp.GradScaler()
    scaler.scale(portanet.sum(p.to("float32") * 1e-9)).backward()
    scaler.step(optimizer)
    scaler.update()
    assert optimizer.state[p]["master"].tolist() == pytest.approx([1 - 1e-5], rel=1e-7)
    assert p.grad.dtype is portanet.float32


@pytest.mark.parametrize("library", ["numpy", "jax", "torch", "cupy"])
def test_copies_in_a_compiled_step(library):
    require(library)

    def ends(compiled: bool):
        with portanet.use_backend(library):
            portanet.manual_seed(0)
            model = nn.Linear(4, 2).to("float16")
            optimizer, scaler = amp.master_weights(optim.Adam(model.parameters(), lr=1e-3)), amp.GradScaler()

            def step(x):
                optimizer.zero_grad()
                loss = portanet.sum(model(x).to("float32") ** 2) * 1e-8
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
                return loss

            run = portanet.compile(step, state=(model, optimizer, scaler)) if compiled else step
            for i in range(5):
                run(portanet.asarray(ordinary(3, 4, seed=i)).to("float16"))
            assert getattr(run, "reason", "") == ""
            return [optimizer.state[p]["master"].numpy() for p in model.parameters()]

    for a, b in zip(ends(False), ends(True), strict=True):
        numpy.testing.assert_allclose(
            a, b, rtol=0 if library == "numpy" else 2e-3, atol=0 if library == "numpy" else 1e-4
        )


def test_what_keeps_no_copies():
    p = portanet.ones(1, dtype="float16").requires_grad_()
    with pytest.raises(TypeError, match="one vector"):
        amp.master_weights(optim.LBFGS([p]))
    with pytest.raises(TypeError, match="expected an optimizer"):
        amp.master_weights([p])


# ---------------------------------------------------------------------------------------------------------------------
# A whole training


def accuracy(dtype: str | None, scaled: bool, compiled: bool = False) -> float:
    """What part of 359 handwritten digits is known, after 10 epochs on 1438 others."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    held_out = numpy.arange(len(digits.target)) % 5 == 4
    images, classes = (digits.data / 16).astype("float32"), digits.target.astype("int64")
    x, y = portanet.asarray(images[~held_out]), portanet.asarray(classes[~held_out])
    portanet.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    batches = portanet.data.DataLoader(portanet.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    scaler = amp.GradScaler() if scaled else None
    with numpy.errstate(over="ignore", invalid="ignore"):
        fit(
            model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=5e-3), batches, epochs=10, progress=False,
            autocast=dtype, scaler=scaler, compile=compiled,
        )  # fmt: skip
    assert scaler is None or scaler.state_dict()["_growth_tracker"] > 100
    return float(
        portanet.metrics.accuracy(model(portanet.asarray(images[held_out])), portanet.asarray(classes[held_out]))
    )


@pytest.mark.parametrize(("library", "dtype"), [("numpy", "float16"), ("torch", "float16"), ("torch", "bfloat16")])
def test_digits_are_learnt_as_well_as_in_float32(library, dtype):
    """Within 1.5 parts in a hundred: 5 of the 359 digits."""
    pytest.importorskip("sklearn")
    pytest.importorskip(library)
    with portanet.use_backend(library):
        full = accuracy(None, False)
        assert full > 0.93
        assert accuracy(dtype, dtype == "float16", compiled=library == "numpy") > full - 0.015
