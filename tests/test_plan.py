"""Plans on their own: what is recorded of NumPy's calls, what is refused, and that a replay computes the same anew."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import portanet
from portanet.library import namespace_of, to_numpy
from portanet.plan.flat import ALIGNMENT, Flat, references
from portanet.plan.recorded import Recorded, adopt, fixed, record, whole
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
    before, effects, moved = recorder.finished()
    for place, other in zip(places, others, strict=True):
        place[...] = other
    for call in [*before, *effects]:
        call()
    return first, [bits(moved.get(id(result.value), result.value)) for result in results], recorder


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
    lambda x: np.add.reduce(x, axis=0) * x, lambda x: np.expand_dims(x, 0)[0], lambda x: sum([row for row in x]) + x,
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
