"""Plans on their own: what is recorded of NumPy's calls, what is refused, and that a replay computes the same anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portanet
from portanet.library import namespace_of
from portanet.plan.flat import ALIGNMENT, Flat, references
from portanet.plan.program import Program
from portanet.plan.recorded import adopt, fixed, record, whole
from portanet.plan.recorder import Recorder, Refused, Stale, active, refuse_while_recording
from tests.samples import everything

# These are not recorded. The decompositions of NumPy's own linalg are; those that array_api_compat wraps convert.
EAGER_SAMPLES = {
    "getitem-mask": "depends on the elements",
    **dict.fromkeys(("linalg.solve", "linalg.cholesky", "linalg.qr", "linalg.eig"), "conversion"),
}


@pytest.fixture(autouse=True)
def _adopted():
    adopt()
    with portanet.use_backend("numpy"):
        yield


def bits(x):
    array = np.asarray(x)
    return str(array.dtype), array.shape, array.tobytes()


def replayed(program, inputs, others):
    """``program`` recorded on ``inputs`` and replayed on ``others``: the results of both, and the recorder."""
    recorder = Recorder()
    places = [x.copy() for x in inputs]
    token = active.set(recorder)
    try:
        results = program(*[fixed(recorder, place) for place in places])
    finally:
        active.reset(token)
    first = [bits(result.value) for result in results]
    before, effects, moved = recorder.finished([result.value for result in results])
    ends = [recorder.placed(result.value, moved) for result in results]
    for place, other in zip(places, others, strict=True):
        place[...] = other
    found = Program([*before, *effects], (), ends).run()
    return first, [bits(x) for x in found], recorder


def check(program, inputs, others):
    """Assert that recording computes what the program does, and replaying it what it does with the other inputs."""
    first, second, recorder = replayed(program, inputs, others)
    assert first == [bits(result) for result in program(*inputs)]
    assert second == [bits(result) for result in program(*others)]
    return recorder


# ---------------------------------------------------------------------------------------------------------------------
# Every rule


def _varied(x, k):
    if x.dtype.kind in "fc":
        return (x * (1 - 0.01 * k)).astype(x.dtype)
    return x


def _with_gradients(function):
    def step(*args):
        leaves = [x * 1 for x in args]
        leaves = [x.detach().requires_grad_() if "floating" in x.dtype.kind else x for x in leaves]
        results = function(*leaves)
        results = results if isinstance(results, tuple) else (results,)
        for y in results:
            if y.requires_grad:
                y.backward(gradient=portanet.cos(portanet.astype(y, y.dtype)).detach(), retain_graph=True)
        return [y.detach() for y in results], [x.grad for x in leaves]

    return step


@pytest.mark.parametrize("sample", everything(), ids=str)
def test_the_sample_of_every_rule_and_its_way_back(sample):
    step = _with_gradients(sample.function)
    compiled = portanet.compile(step)
    for k in range(3):
        args = [portanet.Tensor(_varied(np.asarray(x), k)) for x in sample.args]
        expected, found = step(*args), compiled(*args)
        for one, other in zip([*expected[0], *expected[1]], [*found[0], *found[1]], strict=True):
            assert (one is None and other is None) or bits(one._raw) == bits(other._raw)
    reason = EAGER_SAMPLES.get(str(sample), EAGER_SAMPLES.get(sample.rule, ""))
    assert compiled.reason == "" if reason == "" else reason in compiled.reason, compiled.reason


# ---------------------------------------------------------------------------------------------------------------------
# Programs drawn at random: each line takes results of earlier ones, all of shape (3, 4) or reduced from that and spread

UNARY = [
    np.negative, np.tanh, np.abs, np.square, np.exp, np.sin, np.floor, np.sign, lambda x: x + 1, lambda x: 2.5 - x,
    lambda x: x * 0.5, lambda x: 1 / (x * x + 1), lambda x: x**2, lambda x: (x * x + 1) ** 0.5, lambda x: 1.5**x,
    lambda x: abs(x) ** 1.7, lambda x: x.T.copy().T, lambda x: x[::-1, :], lambda x: np.roll(x, 1, 0),
    lambda x: x[np.asarray([2, 0, 1])], lambda x: x - x.max(axis=1, keepdims=True), lambda x: x + np.sum(x),
    lambda x: x - np.mean(x, axis=0), lambda x: np.cumsum(x, axis=1) / 4, lambda x: np.clip(x, -0.5, 0.75),
    lambda x: np.where(x > 0, x, 0.1 * x), lambda x: x / np.std(x), lambda x: x.astype(np.float64).astype(x.dtype),
    lambda x: np.sort(x, axis=1), lambda x: np.reshape(x, (4, 3)).T + np.zeros_like(x), lambda x: np.flip(x, 1),
    lambda x: x * (np.argmax(x) + 1), lambda x: np.concatenate([x[:1], x[1:]]), lambda x: np.stack([x, -x])[1],
    lambda x: np.broadcast_to(np.max(x, axis=0), x.shape), lambda x: np.take(x, [0, 0, 2], axis=0), np.ones_like,
    lambda x: np.add.reduce(x, axis=0) * x, lambda x: np.expand_dims(x, 0)[0], lambda x: sum(list(x)) + x,
    lambda x: np.split(x, 2, axis=1)[1].repeat(2, axis=1) if type(x) is np.ndarray else np.concatenate(
        [x[:, 2:3], x[:, 2:3], x[:, 3:], x[:, 3:]], axis=1),
]  # fmt: skip
BINARY = [
    np.add, np.subtract, np.multiply, np.maximum, np.minimum, lambda a, b: a / (b * b + 1), np.arctan2, np.hypot,
    lambda a, b: np.matmul(np.matmul(a, b.T), a) * 0.1, lambda a, b: np.where(a > b, a, b), lambda a, b: a @ b.T @ b,
    lambda a, b: np.einsum("ij,kj->ik", a, b) @ b, lambda a, b: a + b[0], lambda a, b: a * b[:, :1], lambda a, b: a,
    lambda a, b: written(a, b), lambda a, b: added(a, b), lambda a, b: np.divmod(a, abs(b) + 1)[1],
    lambda a, b: np.tensordot(a, b, ((0, 1), (0, 1))) + a, lambda a, b: np.outer(a[:, 0], b[0]),
]  # fmt: skip


def written(a, b):
    """A copy with a part overwritten."""
    y = a.copy()
    y[1:, 2] = b[:2, 0]
    y[0] += 1
    return y


def added(a, b):
    """Added in place, where nobody else sees it."""
    y = a * 2
    y += b
    np.multiply(y, 0.5, out=y)
    return y


LINES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=25)


def drawn(lines, keep):
    """The program of these lines; its results are some of its lines', and always the last."""

    def program(x, y):
        known = [x, y]
        kept = []
        for which, i, j in lines:
            a, b = known[i % len(known)], known[j % len(known)]
            which %= len(UNARY) + len(BINARY)
            known.append(UNARY[which](a) if which < len(UNARY) else BINARY[which - len(UNARY)](a, b))
            if which % 3 == 0:
                known.pop(0)  # forgotten, so that its memory is taken over
            if (i + j) % keep == 0:
                kept.append(known[-1])
        return [*kept, known[-1] * 1]

    return program


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(LINES, st.integers(2, 9), st.sampled_from(["float32", "float64"]), st.integers(0, 99))
def test_programs(lines, keep, dtype, seed):
    rng = np.random.default_rng(seed)
    inputs, others = [[rng.normal(size=(3, 4)).astype(dtype) for _ in range(2)] for _ in range(2)]
    with np.errstate(all="ignore"):
        check(drawn(lines, keep), inputs, others)


@pytest.mark.parametrize("which", range(len(UNARY) + len(BINARY)))
@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_every_line_that_programs_are_made_of(which, dtype):
    rng = np.random.default_rng(which)
    inputs, others = [[rng.normal(size=(3, 4)).astype(dtype) for _ in range(2)] for _ in range(2)]
    check(drawn([(which, 0, 1)], 2), inputs, others)


# ---------------------------------------------------------------------------------------------------------------------
# What a plan is made of


def recording(program, *inputs):
    """The recorder after ``program`` ran on ``inputs``, and the program's results."""
    recorder = Recorder()
    token = active.set(recorder)
    try:
        results = program(*[fixed(recorder, x) for x in inputs])
    finally:
        active.reset(token)
    return recorder, results


def test_memory_is_used_again():
    def chain(x):
        for _ in range(50):
            x = np.tanh(x + 1)
        return x

    recorder, result = recording(chain, np.ones((3, 4)))
    buffers = {id(x) for _, args, options in recorder.calls for x in [args[-1], options.get("out")] if x is not None}
    assert len(recorder.calls) == 100
    assert len(buffers) <= 4
    assert bits(result.value) == bits(chain(np.ones((3, 4))))


def test_memory_of_what_is_still_held_is_not_used_again():
    def program(x):
        held = [x + i for i in range(5)]
        view = (x * 2)[1:]  # holds the memory of the product, which nobody else does
        others = [x - i for i in range(5)]
        return [*held, view, *others]

    rng = np.random.default_rng(0)
    check(program, [rng.normal(size=(3, 4))], [rng.normal(size=(3, 4))])


def test_views_need_no_call():
    def views(x):
        return [x.T, x[1:, ::2], np.reshape(x, (4, 3)), x.reshape(-1), np.expand_dims(x, 0), np.flip(x, 0), x.mT,
                np.transpose(x), np.broadcast_to(x, (2, 3, 4)), np.squeeze(x), x[0, 0], np.moveaxis(x, 0, 1)]  # fmt: skip

    x = np.arange(12.0).reshape(3, 4)
    recorder, results = recording(views, x)
    assert recorder.calls == []
    x[...] = -x
    for one, other in zip(results, views(x), strict=True):
        assert bits(one.value) == bits(other)


def test_a_reshape_that_copies_is_a_call():
    recorder, _ = recording(lambda x: x.T.reshape(-1), np.arange(12.0).reshape(3, 4))
    assert len(recorder.calls) == 1


def test_constants_are_made_anew():
    """The memory of zeros may have been written to by a later call."""

    def program(x):
        zeros = np.zeros_like(x)
        zeros += x
        ones = np.ones_like(x, dtype=bool)
        ones[0] = False
        return zeros, ones & (x > 0)

    check(program, [np.ones((2, 3))], [np.full((2, 3), 5.0)])


def test_numbers_that_depend_on_no_input_need_no_call():
    def program(x):
        total = np.add.reduce(x)
        spare = (total + 1) * 2  # its memory must not become that of a constant
        later = x * spare
        del spare
        seed = np.ones_like(total)
        share = seed / 4
        return later, x * share, seed

    recorder = check(program, [np.arange(3.0)], [np.full(3, 5.0)])
    before, _, _ = recorder.finished([])
    names = [function.__name__ for function, _, _ in before]
    assert names.count("multiply") == 3 and "divide" not in names and "copyto" not in names


def test_whole_numbers_beside_arrays():
    program = lambda x: (x < 300, x + 7, np.maximum(x, 2), x > -(10**30), x * True)  # noqa: E731
    check(program, [np.arange(3, dtype="int8")], [np.asarray([5, -8, 100], "int8")])


def test_a_number_that_is_written_to_is_made_anew_and_what_came_of_it_is_not():
    def program(x):
        seed = np.ones_like(np.add.reduce(x))
        share = seed / 4
        early = x + seed
        seed += x[0]
        return early, x * share, seed

    recorder = check(program, [np.arange(3.0)], [np.full(3, 5.0)])
    names = [function.__name__ for function, _, _ in recorder.finished([])[0]]
    assert "divide" not in names and names.count("copyto") == 1


@pytest.mark.parametrize("read", [
    float, int, complex, np.asarray, lambda x: x.item(), lambda x: x.tolist(), lambda x: [1, 2, 3][x],
    lambda x: np.array(x, dtype=float), lambda x: range(x),
])  # fmt: skip
def test_reading_elements_is_refused(read):
    with pytest.raises(Refused, match="reads the elements of an array"):
        recording(read, np.asarray(1))


@pytest.mark.parametrize("function", [
    lambda x: x[x > 0], np.nonzero, np.unique, np.argwhere, np.flatnonzero, lambda x: np.compress(x > 0, x),
    lambda x: np.extract(x > 0, x), lambda x: np.repeat(x, x.astype(int)), lambda x: np.where(x > 0), np.bincount,
])  # fmt: skip
def test_shapes_that_depend_on_elements_are_refused(function):
    with pytest.raises(Refused):
        recording(function, np.asarray([1, 2, 0]))


def test_inputs_are_not_written_to():
    x = np.ones(3)
    for write in (
        lambda a: a.__setitem__(0, 5.0),
        lambda a: a.__iadd__(1),
        lambda a: np.add(a, 1, out=a),
        lambda a: np.add.at(a, [0], 1.0),
        lambda a: np.copyto(a, 0.0),
        lambda a: np.copyto(a[:1], 0.0),
        lambda a: np.put(a.T, [0], 2.0),
    ):
        with pytest.raises(Refused, match="written to in place"):
            recording(write, x)
        assert x.tolist() == [1, 1, 1]
    with pytest.raises(Refused, match="not recorded"):
        recording(lambda a: np.add(a, 1, out=np.empty(3)), x)


def test_own_memory_is_written_to_by_all_ways():
    def program(x):
        y = x + 0
        y[0] = 3
        y[y > 4] = 0.5
        np.add.at(y, (np.asarray([1, 1]),), x[1:3])
        np.copyto(y[1:2, :2], x[:1, :2])
        np.put(y, [0], 7.0)
        np.multiply(y, 2, out=y, where=x > 0)
        np.maximum(y, x, out=y)
        np.add.reduce(y, axis=0, out=y[2])
        np.clip(y, -6, 9, out=y)
        return [y]

    rng = np.random.default_rng(0)
    check(program, [rng.normal(size=(3, 4))], [rng.normal(size=(3, 4))])


def test_reductions_of_every_kind():
    def program(x):
        found = [np.add.reduce(x), np.add.reduce(x, 1), np.add.reduce(x, axis=None), np.maximum.reduce(x, None),
                 np.add.reduce(x, axis=1, keepdims=True), np.add.reduce(x, 0, np.float32), np.add.accumulate(x, 1),
                 np.add.reduce(x, initial=3.0, axis=1), np.add.reduce(x, axis=1, where=x > 0), np.add.outer(x[0], x[1]),
                 np.add.reduceat(x, [0, 2], axis=1), np.logical_or.reduce(x > 0, axis=0)]  # fmt: skip
        more = [np.sum(x, axis=0), np.prod(x), np.var(x, axis=1), np.linalg.norm(x), np.linalg.svd(x), np.argsort(x, 1)]
        return [*found, *more[:4], *more[4], more[5], np.frexp(x)[1], np.modf(x)[0], np.quantile(x, 0.3, axis=0)]

    rng = np.random.default_rng(0)
    check(program, [rng.normal(size=(3, 4))], [rng.normal(size=(3, 4))])


def test_a_truth_value_that_differs_is_stale():
    def program(x):
        return x * 2 if np.sum(x) > 0 else x * 3

    x = np.ones(3)
    recorder, result = recording(program, x)
    before, effects, _ = recorder.finished([])
    run = Program(before).run
    x[...] = -1
    with pytest.raises(Stale):
        run()
    x[...] = 4
    run()
    assert effects == []
    assert result.value.tolist() == [8, 8, 8]


def test_no_truth_value_after_an_effect():
    def program(x):
        active.get().commit(lambda: None, "the step of something")
        return bool(x > 0)

    with pytest.raises(Refused, match="after the step of something, when there is no way back"):
        recording(program, np.asarray(1.0))


def test_calls_with_effects_come_apart():
    log = []

    def program(x):
        y = x + 1
        active.get().commit(lambda: log.append("effect"), "an effect")
        return y * 2

    recorder, _ = recording(program, np.ones(2))
    before, effects, _ = recorder.finished([])
    assert (len(before), len(effects), log) == (1, 2, [])
    Program(effects).run()
    assert log == ["effect"]


def test_what_moves_is_computed_where_it_goes():
    """No copy where the memory is its own; a copy where others lie in it, or it is an input."""
    targets = [np.zeros(3) for _ in range(4)]

    def program(x):
        y, z = x + 1, x * 2
        part = z[:]
        for value, target in ((y, targets[0]), (part, targets[1]), (x, targets[2]), (y, targets[3])):
            active.get().move(value.value, value.memory, target)
        return y, z, part

    x = np.ones(3)
    recorder, _ = recording(program, x)
    before, _, moved = recorder.finished([])
    assert [target.tolist() for target in targets] == [[2] * 3, [2] * 3, [1] * 3, [2] * 3]
    assert sum(function.__name__ == "copyto" for function, _, _ in before) == 3
    x[...] = 5
    Program(before).run()
    assert [target.tolist() for target in targets] == [[6] * 3, [10] * 3, [5] * 3, [6] * 3]
    assert any(value is targets[0] for value in moved.values())


def test_what_moves_may_lie_where_something_else_was_seen_in_parts():
    target = np.zeros((2, 3))

    def program(x):
        early = (x * 2).T  # whose memory, free by then, is that of the product below
        total = np.sum(early, axis=1)
        del early
        late = x * 3
        active.get().move(late.value, late.memory, target)
        return total, late

    x = np.ones((2, 3))
    recorder, _ = recording(program, x)
    before, _, moved = recorder.finished([])
    assert target is moved[id(recorder.calls[-1][1][1])]
    assert "copyto" not in [function.__name__ for function, _, _ in before]
    x[...] = 5
    Program(before).run()
    assert target.tolist() == [[15.0] * 3] * 2


def test_a_whole_kernel_is_one_call():
    @whole
    def kernel(x, *, factor):
        y = np.empty(x.shape)
        for i in range(len(y)):
            y[i] = factor * float(x[i])
        return y, None, x[::-1]

    def program(x):
        twice, nothing, view = kernel(x, factor=2.0)
        assert nothing is None
        return twice + 1, view * 1

    recorder = check(program, [np.ones(3)], [np.arange(3.0)])
    assert len(recorder.calls) == 3
    assert kernel(np.ones(1), factor=3.0)[0].tolist() == [3.0]  # and outside of a recording an ordinary function


@pytest.mark.parametrize("size", (10, 100_000))
def test_large_results_of_whole_kernels(size):
    """Which are not copied: views of them, results of them and writes to them follow the newest one."""

    @whole
    def kernel(x):
        y = np.array(x)
        return y * 2, y.reshape(2, -1)

    def program(x):
        y, z = kernel(x)
        part = y[1:-1]
        more, _ = kernel(y)
        y += 1
        return part * 2, z.T.copy(), more, kernel(part)[0][::2], np.sum(y), z[0]

    rng = np.random.default_rng(0)
    recorder, results = recording(program, x := rng.normal(size=size))
    before, effects, moved = recorder.finished([result.value for result in results], [x])
    ends = [recorder.placed(result.value, moved) for result in results]
    run = Program([*before, *effects], [x], ends).run
    for _ in range(3):
        y = rng.normal(size=size)
        for one, other in zip(run(y), program(y), strict=True):
            assert bits(one) == bits(other)


@pytest.mark.parametrize("order", ((0, 1, 2), (0, 2, 1), (2, 1, 0)))
def test_large_results_whose_last_axis_is_not_the_last_in_memory(order):
    @whole
    def kernel(x):
        y = np.empty([x.shape[i] for i in order]).transpose(np.argsort(order))
        return np.multiply(x, 2, out=y)

    def program(x):
        y = kernel(x)
        return y[:, 1:], y.mT * 2, kernel(y)

    rng = np.random.default_rng(0)
    shape = (20, 1, 400)
    recorder = check(program, [rng.normal(size=shape)], [rng.normal(size=shape)])
    assert len(recorder.fresh) == 2


def test_results_that_are_no_arrays_are_refused():
    with pytest.raises(Refused, match="gives a str"):
        recording(lambda x: record(active.get(), lambda x: "text", (x,), {}), np.ones(2))


def test_draws_and_optimizers_need_a_recorder_that_knows_them():
    with pytest.raises(Refused, match="random numbers"):
        recording(lambda x: portanet.random.rand(3), np.ones(2))
    optimizer = portanet.optim.SGD([portanet.tensor([1.0], requires_grad=True)])
    with pytest.raises(Refused, match=r"SGD.step\(\) has effects"):
        recording(lambda x: optimizer.step(), np.ones(2))
    with pytest.raises(Refused, match="it has effects in Python"):
        recording(lambda x: refuse_while_recording("it"), np.ones(2))
    refuse_while_recording("nothing is recorded")


def test_a_recorded_array_tells_its_form():
    x = np.arange(6, dtype="float32").reshape(2, 3)[:, ::2]
    recorder = Recorder()
    r = fixed(recorder, x)
    for name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides", "device"):
        assert getattr(r, name) == getattr(x, name)
    assert len(r) == 2
    assert namespace_of(r) is namespace_of(x)
    assert np.shape(r) == (2, 2)
    assert np.result_type(r, 1.0) == np.float32
    with pytest.raises(AttributeError, match="no attribute 'ctypes'"):
        _ = r.ctypes


# ---------------------------------------------------------------------------------------------------------------------
# Flat memory


@pytest.mark.parametrize("dtype", ("float32", "float64", "int8", "complex128", "bool"))
@pytest.mark.parametrize("shapes", [[(3, 4), (), (0, 2), (1,), (17,)], [()], [(0,)], [(64,), (2, 3, 5)]], ids=str)
def test_flat_memory(shapes, dtype):
    flat = Flat(shapes, dtype)
    assert [part.shape for part in flat.parts] == shapes
    assert flat.whole.ndim == 1
    assert flat.whole.dtype == dtype
    assert not flat.whole.any()
    for i, part in enumerate(flat.parts):
        assert part.flags.c_contiguous
        assert part.size == 0 or part.ctypes.data % ALIGNMENT == 0
        assert part.size == 0 or np.shares_memory(part, flat.whole)
        assert flat.put(i, np.ones(part.shape, dtype)) is part
        assert part.all()
    assert flat.whole.sum() == sum(part.size for part in flat.parts)  # nothing overlaps, and zeros lie between


def test_flat_memory_knows_who_holds_it():
    flat = Flat([(3,), (2, 2)], "float32")
    flat.settle()
    assert flat.untouched()
    for hold in (lambda: flat.parts[1], lambda: flat.parts[0][1:], lambda: flat.parts[1].T, lambda: flat.whole[2:]):
        held = hold()
        assert not flat.untouched()
        del held
        assert flat.untouched()
    thing = object()
    before = references([thing])
    also = [thing]
    assert references([thing]) == before + 1
    assert also


@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_powers(dtype):
    """The operator may take other ways than the function, for squares and roots: which it took is what is replayed."""
    rng = np.random.default_rng(0)
    x, y = [np.abs(rng.normal(size=5_000)).astype(dtype) for _ in range(2)]
    powers = (2, 0.5, -1, 3, 1.7, 2.0, -0.5, 0)
    check(lambda x: [x**k for k in powers] + [2.0**x, 0.5**x, x**x, np.power(x, 0.5)], [x], [y])
