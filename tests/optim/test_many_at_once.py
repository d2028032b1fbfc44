"""Steps of many parameters by one call: `sgd_updates_`, `adam_updates_`, where a library has them."""

from __future__ import annotations

import ctypes

import numpy
import pytest

import portanet
from portanet import optim
from portanet.kernels.numpy import optim as in_place
from portanet.library import to_numpy
from tests.optim.test_in_place import CASES, RULES, named

MANY = [(3, 4), (), (1030,), (0, 2), (7,), (2, 5, 1), *[(k,) for k in range(1, 80)]]


def one_by_one(update, calls):
    """A step of many arrays as a library may have it, made of its step of one, and what it was called with."""

    def updates(ps, gs, states, **options):
        calls.append(len(ps))
        return [update(p, g, state, **options) for p, g, state in zip(ps, gs, states, strict=True)]

    return updates


@pytest.mark.parametrize("case", CASES, ids=named)
def test_parameters_that_may_be_written_to_are_stepped_by_one_call(case, monkeypatch):
    name, options = case
    found = []
    for at_once in (False, True):
        with portanet.use_backend("numpy") as backend:
            calls, rng = [], numpy.random.default_rng(3)
            if at_once:
                many = one_by_one(getattr(in_place, name), calls)
                monkeypatch.setattr(backend.library, name.replace("_update_", "_updates_"), many, raising=False)
            dtypes = ["float64" if k == 2 else "float32" for k in range(6)]
            params = [
                portanet.tensor(rng.normal(size=(k + 1,)), dtype=t, requires_grad=True) for k, t in enumerate(dtypes)
            ]
            groups = [{"params": params[:4]}, {"params": params[4:], "lr": 0.5}]
            optimizer = RULES[name][0](groups, **options)
            views = []
            for step in range(4):
                for p in params:
                    p.grad = portanet.asarray(rng.normal(size=p.shape), dtype=p.dtype)
                params[1].grad = None if step == 2 else params[1].grad
                views.append(params[0].detach() if step == 3 else None)  # it must not be written to
                before = params[0].detach().numpy().copy()
                optimizer.step()
            numpy.testing.assert_array_equal(views[-1].numpy(), before)
            found.append([p.detach().numpy() for p in params] + [v.numpy() for v in optimizer.state_arrays().values()])
            # By group and dtype; the first step of a rule with a state makes that.
            assert calls[-3:] == ([2, 1, 2] if at_once else []), calls
    for mine, other in zip(*found, strict=True):
        numpy.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("dtype", ("float16", "bfloat16", "float32", "float64"))
@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_gpus_step_of_many_is_that_of_each_bit_by_bit(case, dtype, backend):
    xp, (name, options) = backend.library, case
    many = getattr(xp, name.replace("_update_", "_updates_"), None)
    if many is None:
        pytest.skip("no step of many arrays here")
    kind, rng = RULES[name][0], numpy.random.default_rng(4)
    given = portanet.tensor([0.0], requires_grad=True)
    options = kind([given], **options)._options(kind([given], **options).param_groups[0])

    def drawn(shape):
        return xp.astype(portanet.asarray(numpy.asarray(rng.normal(size=shape)))._raw, xp.raw_dtype(dtype))

    def copied(state):
        return {key: xp.copy(value) if hasattr(value, "shape") else value for key, value in state.items()}

    ps, states = [drawn(shape) for shape in MANY], [{} for _ in MANY]
    ps.append(drawn((4, 6)).T)  # by itself: its memory is not row-major
    states.append({})
    for step in range(4):
        gs = [drawn(p.shape) for p in ps]
        if step == 1:
            states[3] = {}  # this one has made no step yet
        given = [xp.copy(p) for p in ps[:-1]] + [ps[-1]], [copied(state) for state in states]
        done = many(given[0], gs, given[1], **options)
        needs_state = bool(kind.rule(xp, ps[0], gs[0], {}, **options)[1])
        assert done == [not needs_state or bool(state) for state in states[:-1]] + [False]
        for i, p in enumerate(ps):
            ps[i], states[i] = getattr(xp, name[:-1])(p, gs[i], states[i], **options)
            if done[i]:
                numpy.testing.assert_array_equal(*[to_numpy(xp.astype(x, xp.float64)) for x in (given[0][i], ps[i])])
                assert given[1][i].keys() == states[i].keys()
                for key, value in states[i].items():
                    wanted, mine = (
                        [to_numpy(xp.astype(x, xp.float64)) for x in (value, given[1][i][key])]
                        if hasattr(value, "shape")
                        else (value, given[1][i][key])
                    )
                    numpy.testing.assert_array_equal(mine, wanted)


@pytest.mark.parametrize("name", RULES)
def test_a_launch_for_many_arrays_is_told_of_each_element_once(name, monkeypatch):
    """The kernel played on the host: its blocks find their array and their part of it as the CUDA code does."""
    cupy = pytest.importorskip("cupy")
    from portanet.kernels.cupy import optim as kernels

    def on_the_host(x):
        memory = cupy.cuda.UnownedMemory(x.ctypes.data, max(x.nbytes, 1), x, 0)
        return cupy.ndarray(x.shape, x.dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))

    def play(grid, block, arguments):
        structure, count, length, *_ = arguments
        fields = structure.view(numpy.int64).reshape(-1, 7)[:count]
        for b in range(grid[0]):
            one = fields[numpy.searchsorted(fields[:, 6], b, side="right") - 1]
            start = (b - one[6]) * length
            n = min(length, one[5] - start)
            assert n > 0
            for address in [field for field in one[:5] if field]:
                part = (ctypes.c_float * int(n)).from_address(int(address) + 4 * int(start))
                numpy.frombuffer(part, numpy.float32)[...] += 1

    monkeypatch.setattr(cupy.cuda.device, "get_device_id", lambda: 0)
    monkeypatch.setattr(kernels._SOURCE, "kernel", lambda *_: play)
    kind = RULES[name][0]
    names = ("momentum_buffer",) if kind is optim.SGD else ("exp_avg", "exp_avg_sq")
    kept = [[numpy.zeros(shape, "float32") for _ in range(2 + len(names))] for shape in [*MANY, (5000,), (3, 3001)]]
    there = [[on_the_host(x) for x in some] for some in kept]
    states = [dict(zip(names, some[2:], strict=True)) | ({} if kind is optim.SGD else {"step": 4}) for some in there]
    given = portanet.tensor([0.0], requires_grad=True)
    optimizer = kind([given], **({"momentum": 0.9} if kind is optim.SGD else {}))
    options = optimizer._options(optimizer.param_groups[0])
    many = getattr(kernels, name.replace("_update_", "_updates_"))
    done = many([some[0] for some in there], [some[1] for some in there], states, **options)
    assert done == [True] * len(there)
    assert [state.get("step", 5) for state in states] == [5] * len(states)
    for some in kept:
        for x in some:
            numpy.testing.assert_array_equal(x, 1)
