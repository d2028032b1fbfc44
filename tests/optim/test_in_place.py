"""Steps in place: the same bits as the rule gives, and never in an array that somebody else holds."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect

import numpy
import pytest

import portanet
from portanet import optim, threads
from portanet.kernels.numpy import _in_threads, _numba
from portanet.kernels.numpy import optim as in_place
from portanet.library import to_numpy
from portanet.optim.ownership import alone
from portanet.optim.state import as_array

RULES = {
    "sgd_update_": (
        optim.SGD,
        [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.5, "dampening": 0.25},
         {"weight_decay": 0.1}, {"maximize": True, "momentum": 0.9, "weight_decay": 0.1}],
    ),
    "adam_update_": (
        optim.Adam,
        [{}, {"amsgrad": True}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled_weight_decay": True},
         {"maximize": True, "betas": (0.5, 0.75), "eps": 1e-3}],
    ),
}  # fmt: skip
CASES = [(name, options) for name, (_, cases) in RULES.items() for options in cases]
SHAPES = [(), (3, 4), (in_place.BLOCK + 7,), (3, 2 * in_place.BLOCK + 5)]


def named(case):
    return f"{case[0]}-{case[1]}"


def without_numba(monkeypatch):
    monkeypatch.setattr(_numba, "is_at_hand", lambda: False)


def with_numba(monkeypatch):
    """Every step by a compiled loop, Adam's in many portions."""
    if not _numba.is_at_hand():
        pytest.skip("Numba is not installed, or is switched off")
    monkeypatch.setattr(in_place._adam, "portion", 1 << 12)
    for name, value in {"PATIENCE": 0, "SHORT": 0, "shared": lambda *_: None}.items():
        monkeypatch.setattr(_numba, name, value)


def with_tbb(monkeypatch):
    """Every step by a compiled loop, of which TBB's threads take portions."""
    if not _in_threads._tbb_is_at_hand():
        pytest.skip("Numba or MKL is not installed")
    monkeypatch.setattr(threads, "usable", lambda: 2)
    for name, value in {"PATIENCE": 0, "SHORT": 0, "PORTION": 1 << 10}.items():
        monkeypatch.setattr(_numba, name, value)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=named)
@pytest.mark.parametrize("way", (without_numba, with_numba, with_tbb))
def test_a_step_in_place_is_the_rule_bit_by_bit(way, case, shape, dtype, monkeypatch):
    way(monkeypatch)
    name, options = case
    kind = RULES[name][0]
    rng = numpy.random.default_rng(3)
    with portanet.use_backend("numpy") as backend:
        p = portanet.tensor(rng.normal(size=shape).astype(dtype), requires_grad=True)
        options = kind([p], **options)._options(kind([p], **options).param_groups[0])
        value, state = p._raw, {}
        written, overwritten = value.copy(), {}
        for step in range(4):
            g = numpy.asarray(rng.normal(size=shape), dtype)
            value, state = kind.rule(backend.library, value, g, state, **options)
            value = as_array(backend.library, value)
            state = {key: as_array(backend.library, s) for key, s in state.items()}
            address = written.ctypes.data
            done = getattr(in_place, name)(written, g, overwritten, **options)
            assert done is (step > 0 or not state)
            if not done:
                written, overwritten = value.copy(), {key: copy.copy(s) for key, s in state.items()}
            else:
                assert written.ctypes.data == address
            numpy.testing.assert_array_equal(written, value)
            for key in state:
                numpy.testing.assert_array_equal(overwritten[key], state[key])


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
@pytest.mark.parametrize("case", CASES, ids=named)
def test_pytorchs_steps_in_place_are_its_steps_bit_by_bit_and_the_rule_to_rounding(case, shape, dtype):
    kernels = pytest.importorskip("portanet.kernels.torch_optim")  # sgd_update and adam_update, new and in place
    name, options = case
    kind = RULES[name][0]
    rng = numpy.random.default_rng(3)
    with portanet.use_backend("torch") as backend:
        p = portanet.tensor(rng.normal(size=shape).astype(dtype), requires_grad=True)
        options = kind([p], **options)._options(kind([p], **options).param_groups[0])
        by_rule, new, written = p._raw, p._raw, p._raw.clone()
        of_rule, of_new, of_written = {}, {}, {}
        for step in range(4):
            g = portanet.asarray(rng.normal(size=shape).astype(dtype))._raw
            by_rule, of_rule = kind.rule(backend.library, by_rule, g, of_rule, **options)
            new, of_new = getattr(kernels, name[:-1])(new, g, of_new, **options)
            address = written.data_ptr()
            done = getattr(kernels, name)(written, g, of_written, **options)
            assert done is (step > 0 or not of_new)
            if not done:
                written = new.clone()
                of_written = {key: s.clone() if hasattr(s, "clone") else s for key, s in of_new.items()}
            else:
                assert written.data_ptr() == address
            assert of_rule.keys() == of_new.keys() == of_written.keys()
            for bits, same, near in [
                (new, written, by_rule),
                *[(of_new[k], of_written[k], of_rule[k]) for k in of_new],
            ]:
                numpy.testing.assert_array_equal(to_numpy(bits) if hasattr(bits, "clone") else bits, same)
                numpy.testing.assert_allclose(bits, near, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-7)


@pytest.mark.parametrize("dtype", ("float16", "bfloat16", "float32", "float64"))
@pytest.mark.parametrize("shape", [(), (1003,), (30, 40)], ids=str)
@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_gpus_steps_new_and_in_place_and_by_numbers_on_the_device_are_one(case, shape, dtype, backend):
    """The rule too, to rounding, where its precision is that of the kernel."""
    xp, (name, options) = backend.library, case
    if xp.capturer() is None:
        pytest.skip("no numbers are read from the device here")
    kind, rng = RULES[name][0], numpy.random.default_rng(3)
    p = portanet.tensor(rng.normal(size=shape).astype("float32"), requires_grad=True)
    options = kind([p], **options)._options(kind([p], **options).param_groups[0])

    def drawn():
        return xp.astype(portanet.asarray(numpy.asarray(rng.normal(size=shape)))._raw, xp.raw_dtype(dtype))

    def on_device(x):
        return portanet.asarray(numpy.asarray(float(x)))._raw

    def copied(state):
        return {key: xp.copy(value) if hasattr(value, "shape") else value for key, value in state.items()}

    by_rule = new = drawn()
    of_rule, of_new = {}, {}
    for step in range(4):
        g = drawn()
        written, launched, of_written = xp.copy(new), xp.copy(new), copied(of_new)
        of_launched = {key: on_device(s) if key == "step" else s for key, s in copied(of_new).items()}
        by_rule, of_rule = kind.rule(xp, by_rule, g, of_rule, **options)
        had = bool(of_new)
        new, of_new = getattr(xp, name[:-1])(new, g, of_new, **options)
        assert getattr(xp, name)(written, g, of_written, **options) is (had or not of_new)
        assert of_new.keys() == of_rule.keys()
        if had or not of_new:
            assert getattr(xp, name)(launched, g, of_launched, **options | {"lr": on_device(options["lr"])})
            assert float(of_launched.get("step", step)) == step  # whoever put it there moves it on
            for mine, other in [(written, new), *[(of_written[k], of_new[k]) for k in of_new]]:
                assert bool(xp.all(xp.asarray(mine == other)))
            # The powers of the betas are computed on the device.
            near = {"rtol": 1e-2 if "16" in dtype else 1e-6, "atol": 1e-6}
            numpy.testing.assert_allclose(*[to_numpy(xp.astype(x, xp.float64)) for x in (launched, new)], **near)
        if "16" not in dtype:
            numpy.testing.assert_array_equal(to_numpy(new), to_numpy(as_array(xp, by_rule)))


@pytest.mark.parametrize("size", (5, 3 * in_place.BLOCK + 7))
@pytest.mark.parametrize("case", [case for case in CASES if case[0] == "sgd_update_"], ids=named)
def test_an_update_made_ready_does_as_often_as_it_is_called_what_the_step_in_place_does(case, size, monkeypatch):
    """Also when Numba takes over in between."""
    monkeypatch.setattr(_numba, "PATIENCE", 3 * size)
    monkeypatch.setattr(_numba, "SHORT", 10)
    monkeypatch.setattr(in_place, "FEW", 8)
    monkeypatch.setattr(_numba.Late, "done", 0)
    name, options = case
    rng = numpy.random.default_rng(3)
    p, g, b = [rng.normal(size=size).astype("float32") for _ in range(3)]
    one, other = [(p.copy(), {"momentum_buffer": b.copy()} if "momentum" in options else {}) for _ in range(2)]
    optimizer = RULES[name][0]([portanet.tensor([1.0], requires_grad=True)], **options)
    options = optimizer._options(optimizer.param_groups[0])
    if "momentum" in case[1]:
        assert in_place.sgd_update_ready(p, g, {}, **options) is None
    update = in_place.sgd_update_ready(one[0], g, one[1], **options)
    for _ in range(6):
        g[...] = rng.normal(size=size)
        update()
        with monkeypatch.context() as patch:
            without_numba(patch)
            assert in_place.sgd_update_(other[0], g, other[1], **options)
        numpy.testing.assert_array_equal(one[0], other[0])
        numpy.testing.assert_array_equal(*[state.get("momentum_buffer", 0) for _, state in (one, other)])


def test_numba_is_asked_only_when_as_much_has_been_done_without_it(monkeypatch):
    if not _numba.is_at_hand():
        pytest.skip("Numba is not installed, or is switched off")
    used = []
    monkeypatch.setattr(_numba, "compiled", lambda function: lambda k, n, p, g, lr: used.append((k, n, len(p), lr)))
    monkeypatch.setattr(_numba, "shared", lambda *_: lambda n, p, g, lr: used.append((n, len(p))))
    for name, value in {"PATIENCE": 10_000, "MORE": 2, "PORTION": 2048}.items():
        monkeypatch.setattr(_numba, name, value)
    monkeypatch.setattr(_numba.Late, "done", 0)
    loop = _numba.Loop(lambda k, n, p, g, lr: None)
    arrays = [numpy.zeros(4096, "float32"), numpy.ones(4096, "float32")]
    assert [loop.over(arrays, [0.1]) for _ in range(6)] == [False, False, False, True, True, True]
    assert used == [(0, 1, 4096, numpy.float32(0.1)), (2, 4096), (2, 4096)]
    assert type(used[0][-1]) is numpy.float32
    assert not loop.over([x[:8] for x in arrays], [0.1])  # too little for a call
    assert not loop.over([arrays[0], arrays[1].astype("float64")], [0.1])
    assert not loop.over([numpy.zeros((4096, 2), "float32")[:, 0], arrays[1]], [0.1])
    monkeypatch.setattr(_numba, "compiled", lambda function: None)  # installed, but older than NumPy
    assert not loop.over(arrays, [0.1])
    monkeypatch.setattr(_numba, "is_at_hand", lambda: False)
    assert not loop.over(arrays, [0.1])


def test_what_is_not_a_number_stays_so_in_a_compiled_loop(monkeypatch):
    with_numba(monkeypatch)
    special = numpy.asarray([0.0, -0.0, numpy.inf, -numpy.inf, numpy.nan, 1e-45, 3e38, -1.0], "float32")
    everything = [numpy.ravel(x) for x in numpy.meshgrid(*[special] * 4)]
    for name, options in CASES:
        results = []
        for at_hand in (False, True):
            monkeypatch.setattr(_numba, "is_at_hand", lambda found=at_hand: found)
            p, g, m, v = [x.copy() for x in everything]
            state = {"step": 3, "exp_avg": m, "exp_avg_sq": v, "max_exp_avg_sq": v[::-1].copy(), "momentum_buffer": m}
            kind = RULES[name][0]
            optimizer = kind([portanet.tensor([1.0], requires_grad=True)], **options)
            with numpy.errstate(all="ignore"):
                assert getattr(in_place, name)(p, g, state, **optimizer._options(optimizer.param_groups[0]))
            results.append((p, *state.values()))
        for one, other in zip(*results, strict=True):
            numpy.testing.assert_array_equal(one, other)
            numpy.testing.assert_array_equal(numpy.signbit(one)[one == 0], numpy.signbit(other)[other == 0])


def test_steps_of_several_parameters_are_done_at_the_end_of_the_whole_step(monkeypatch):
    with_numba(monkeypatch)
    rng = numpy.random.default_rng(5)
    start = [rng.normal(size=shape).astype("float32") for shape in ((300, 200), (7,), (50_000,))]
    results = []
    for at_hand in (False, True):
        monkeypatch.setattr(_numba, "is_at_hand", lambda found=at_hand: found)
        with portanet.use_backend("numpy"):
            ps = [portanet.tensor(x, requires_grad=True) for x in start]
            optimizer = optim.Adam(ps, lr=0.1)
            for _ in range(4):
                optimizer.zero_grad()
                sum([portanet.sum(p * p) for p in ps]).backward()
                optimizer.step()
            results.append([p.tolist() for p in ps])
    assert results[0] == results[1]


def test_every_kernel_in_place_is_tested_here():
    modules = [in_place]
    if importlib.util.find_spec("cupy"):
        modules.append(importlib.import_module("portanet.kernels.cupy.optim"))
    if importlib.util.find_spec("torch"):
        modules.append(importlib.import_module("portanet.kernels.torch_optim"))
    for module in modules:
        found = {
            name for name, value in vars(module).items() if inspect.isfunction(value) and name.endswith("_update_")
        }
        assert found == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_matrix_stored_by_columns_is_written_to(name):
    kind, rng = RULES[name][0], numpy.random.default_rng(1)
    shape = (300, 200)
    results = []
    for order in "CF":
        p = portanet.tensor(numpy.zeros(1, "float32"), requires_grad=True)
        p._raw = numpy.ones(shape, "float32", order=order)
        optimizer = kind([p], lr=0.5)
        for _ in range(3):
            p.grad = portanet.asarray(numpy.asarray(rng.normal(size=shape), "float32"))
            optimizer.step()
        results.append(numpy.array(p._raw))
        rng = numpy.random.default_rng(1)
    numpy.testing.assert_array_equal(*results)


# ---------------------------------------------------------------------------------------------------------------------
# Who holds an array keeps it.


def stepped(optimizer, p, times=1):
    for _ in range(times):
        optimizer.zero_grad()
        portanet.sum(p * p).backward()
        optimizer.step()


@pytest.fixture(params=[optim.SGD, optim.Adam, lambda ps: optim.SGD(ps, momentum=0.9)], ids=("SGD", "Adam", "momentum"))
def trained(request):
    """A parameter of NumPy's whose steps are in place by now, and its optimizer."""
    with portanet.use_backend("numpy"):
        p = portanet.tensor([1.0, 2.0, 3.0], requires_grad=True)
        optimizer = request.param([p])
        stepped(optimizer, p, 3)
        yield p, optimizer


def test_steps_are_in_place_where_nobody_looks(trained):
    p, optimizer = trained
    address = p._raw.ctypes.data
    stepped(optimizer, p, 2)
    assert p._raw.ctypes.data == address


HOLDERS = {
    "the array": lambda p: p._raw,
    "a view": lambda p: p._raw[1:],
    "a transpose": lambda p: p._raw.T,
    "detach": lambda p: p.detach(),
    "a graph": lambda p: portanet.sum(p * p),
    "a view of detach": lambda p: p.detach()._raw.reshape(3, 1),
    "a memoryview": lambda p: memoryview(p._raw),
    "DLPack": lambda p: numpy.from_dlpack(p._raw),
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_what_somebody_holds_is_not_written_to(holder, trained):
    p, optimizer = trained
    before, address = p._raw.tolist(), p._raw.ctypes.data
    held = holder(p)
    stepped(optimizer, p)
    assert p._raw.ctypes.data != address
    if isinstance(held, portanet.Tensor) and held.requires_grad:
        p.grad = None
        held.backward()
        assert p.grad.tolist() == [2 * x for x in before]  # at the old point
    else:
        seen = held.tolist() if hasattr(held, "tolist") else list(held)
        assert numpy.reshape(seen, -1).tolist() == before[-numpy.size(seen) :]
    del held
    address = p._raw.ctypes.data
    stepped(optimizer, p)
    assert p._raw.ctypes.data == address  # and then in place again


def test_a_snapshot_of_the_state_keeps_its_values(trained):
    p, optimizer = trained
    stepped(optimizer, p, 2)
    saved = optimizer.state_dict()["state"].get(0, {})
    before = {name: s.tolist() if isinstance(s, portanet.Tensor) else s for name, s in saved.items()}
    stepped(optimizer, p, 2)
    assert {name: s.tolist() if isinstance(s, portanet.Tensor) else s for name, s in saved.items()} == before


def test_memory_that_is_not_numpys_own_is_not_written_to():
    with portanet.use_backend("numpy"):
        memory = bytearray(numpy.ones(3, "float32").tobytes())
        p = portanet.tensor(numpy.zeros(3, "float32"), requires_grad=True)
        p._raw = numpy.frombuffer(memory, "float32")
        assert not alone(p)
        stepped(optim.SGD([p], lr=0.5), p)
        assert bytes(memory) == numpy.ones(3, "float32").tobytes()
        assert p.tolist() == [0.0, 0.0, 0.0]


# ---------------------------------------------------------------------------------------------------------------------
# The same of PyTorch's tensors, whose memory views and `detach` share without Python's knowing.

TORCH_HOLDERS = {
    "the array": lambda p: p._raw,
    "a view": lambda p: p._raw[1:],
    "a view of a view": lambda p: p._raw[1:].view(2, 1),
    "detach": lambda p: p.detach(),
    "PyTorch's detach": lambda p: p._raw.detach(),
    "NumPy": lambda p: p._raw.numpy(),
    "DLPack": lambda p: numpy.from_dlpack(p._raw),
    "the storage": lambda p: p._raw.untyped_storage(),
    "a graph": lambda p: portanet.sum(p * p),
}


@pytest.fixture(params=[optim.SGD, optim.Adam, lambda ps: optim.SGD(ps, momentum=0.9)], ids=("SGD", "Adam", "momentum"))
def trained_by_torch(request):
    pytest.importorskip("torch")
    with portanet.use_backend("torch"):
        p = portanet.tensor([1.0, 2.0, 3.0], requires_grad=True)
        p._raw = p._raw.clone()
        optimizer = request.param([p])
        stepped(optimizer, p, 3)
        yield p, optimizer


@pytest.mark.parametrize("holder", TORCH_HOLDERS.values(), ids=TORCH_HOLDERS)
def test_what_somebody_holds_of_pytorchs_is_not_written_to(holder, trained_by_torch):
    p, optimizer = trained_by_torch
    before, address = p._raw.tolist(), p._raw.data_ptr()
    stepped(optimizer, p)
    assert p._raw.data_ptr() == address  # nobody looks
    before = p._raw.tolist()
    held = holder(p)
    stepped(optimizer, p)
    assert p._raw.data_ptr() != address
    if isinstance(held, portanet.Tensor) and held.requires_grad:
        p.grad = None
        held.backward()
        assert p.grad.tolist() == [2 * x for x in before]  # at the old point
    else:
        seen = numpy.frombuffer(bytes(held.tolist()), "float32") if hasattr(held, "resizable") else held.tolist()
        assert numpy.reshape(seen, -1).tolist() == before[-numpy.size(seen) :]


# ---------------------------------------------------------------------------------------------------------------------
# And of a GPU's arrays, of which views hold what they are views of.

GPU_HOLDERS = {
    "the array": lambda p: p._raw,
    "a view": lambda p: p._raw[1:],
    "a view of a view": lambda p: p._raw[1:][:1],
    "detach": lambda p: p.detach()._raw,
    "the memory alone": lambda p: p._raw.data.mem,
    "the pointer": lambda p: p._raw.data,
    "DLPack": lambda p: p._raw.__dlpack__(),
    "a graph": lambda p: portanet.sum(p * p),
}


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, lambda ps: optim.SGD(ps, momentum=0.9)])
@pytest.mark.parametrize("holder", GPU_HOLDERS.values(), ids=GPU_HOLDERS)
def test_what_somebody_holds_on_a_gpu_is_not_written_to(holder, kind, backend):
    if backend.library.capturer() is None:
        pytest.skip("no GPU")
    p = portanet.tensor([1.0, 2.0, 3.0], requires_grad=True)
    optimizer = kind([p])
    stepped(optimizer, p, 3)
    address = p._raw.data.ptr
    stepped(optimizer, p)
    assert p._raw.data.ptr == address  # nobody looks
    held = holder(p)
    stepped(optimizer, p)
    assert p._raw.data.ptr != address
    del held


def test_memory_that_is_not_pytorchs_own_is_not_written_to():
    torch = pytest.importorskip("torch")
    with portanet.use_backend("torch"):
        for make in (torch.from_numpy, torch.from_dlpack):
            memory = numpy.ones(3, "float32")
            p = portanet.tensor([0.0, 0.0, 0.0], requires_grad=True)
            p._raw = make(memory)
            assert not alone(p)
            stepped(optim.SGD([p], lr=0.5), p)
            assert memory.tolist() == [1.0, 1.0, 1.0]
            assert p.tolist() == [0.0, 0.0, 0.0]
