"""Random numbers: Philox by its known answers, the same bits on every backend, and draws that are what they say."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import subprocess
import sys
import threading

import numpy
import pytest

import portanet
from portanet import backend as backends
from portanet.kernels import generic
from portanet.library import namespace_of
from portanet.random import Generator

SEED, STREAM = 0xFEDCBA9876543210, 12345678901234567890
FULL = 2**64 - 1
# Counter, key and result of philox4x64-10, lowest word first, from the known answers of Random123 1.14 (kat_vectors).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)),
    ((FULL,) * 4, (FULL,) * 2, (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0)),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


def number(words: tuple[int, ...]) -> int:
    return sum(word << (64 * i) for i, word in enumerate(words))


def halves(words: tuple[int, ...]) -> list[int]:
    return [half for word in words for half in (word & 0xFFFFFFFF, word >> 32)]


def raw(words: object) -> list[int]:
    return portanet.Tensor(words).numpy().astype("int64").tolist()


def numpys_philox(key: tuple[int, int], counter: int) -> numpy.random.Philox:
    """NumPy's own generator, about to give block ``counter``: it counts up before each."""
    return numpy.random.Philox(key=key[0] + (key[1] << 64), counter=(counter - 1) % 2**256)


def from_numpy(draw):
    """The same draw on the NumPy backend."""
    with portanet.use_backend("numpy"):
        return draw().numpy()


# ------------------------------------------------------------------------------------------------------------ the bits


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_numpy_itself_gives_the_known_answers(counter, key, result):
    assert tuple(numpys_philox(key, number(counter)).random_raw(4).tolist()) == result


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers_on_python_integers(counter, key, result):
    assert generic.philox(halves(counter), key) == halves(result)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter, key, result, backend):
    words = backend.library.random_words(1, key=key, counter=number(counter), device=backend.device)
    assert raw(words) == halves(result)


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers_of_the_generic_kernel(counter, key, result, backend):
    if backend.library.raw_dtype("int64") is None or not has_int64(backend):
        pytest.skip("no 64-bit integers here")
    words = generic.random_words(backend.library, 1, key=key, counter=number(counter), device=backend.device)
    assert raw(words) == halves(result)


def has_int64(backend) -> bool:
    return backend.library.random_integer_dtype(backend.device) == portanet.int64


@pytest.mark.parametrize("counter", [0, 2**32 - 3, 2**64 - 9])
def test_blocks_follow_each_other_over_carries(counter, backend):
    key = (SEED, STREAM)
    expected = numpys_philox(key, counter).random_raw(32).view("uint32").tolist()
    words = backend.library.random_words(8, key=key, counter=counter, device=backend.device)
    assert raw(words) == expected
    words = generic.random_words(backend.library, 8, key=key, counter=counter, device=backend.device)
    assert raw(words) == expected


DRAWS = {
    "uniform": lambda g: g.uniform((3, 35)),
    "uniform, no axes": lambda g: g.uniform(()),
    "uniform float64": lambda g: g.uniform((3, 35), dtype="float64"),
    "uniform between": lambda g: g.uniform(105, -2.7, 31.3),
    "uniform between float64": lambda g: g.uniform(105, -2.7, 31.3, dtype="float64"),
    "integers": lambda g: g.integers(105, -5, 7),
    "integers int8": lambda g: g.integers(105, -128, 128, dtype="int8"),
    "integers uint8": lambda g: g.integers(105, 256, dtype="uint8"),
    "integers int32": lambda g: g.integers(105, -(2**31), 2**31, dtype="int32"),
    "integers large": lambda g: g.integers(105, -(2**62), 2**61 + 3, dtype="int64"),
    "integers largest": lambda g: g.integers(105, -(2**63), 0, dtype="int64"),
    "permutation": lambda g: g.permutation(105),
    "bernoulli": lambda g: g.bernoulli((3, 35), 0.3),
    "bernoulli bool": lambda g: g.bernoulli((3, 35), 0.3, dtype="bool"),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_bits_are_those_of_numpy(name, backend):
    draw = DRAWS[name]
    expected = from_numpy(lambda: draw(Generator(SEED, STREAM)))
    found = draw(Generator(SEED, STREAM))
    assert found.backend == backend.name
    assert found.device == portanet.zeros(1).device
    assert found.shape == expected.shape
    assert found.dtype.name == str(expected.dtype)
    assert numpy.array_equal(found.numpy(), expected)


GENERIC = {
    "random_uniform": {"dtype": "float32"},
    "random_normal": {"dtype": "float32"},
    "random_integers": {"dtype": "int64", "low": -4, "span": 2**40},
    "random_permutation": {"dtype": "int64"},
    "random_bernoulli": {"threshold": 2**31},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", GENERIC)
def test_the_generic_kernels_are_the_definition(name, dtype, backend):
    options = dict(GENERIC[name])
    if "float" in options.get("dtype", ""):
        options["dtype"] = dtype

    def draw(library, function, device=None):
        given = {key: library.raw_dtype(value) if key == "dtype" else value for key, value in options.items()}
        return portanet.Tensor(function(1001, key=(1, 2), counter=3, device=device, **given)).numpy()

    library, reference = backend.library, backends.load("numpy")
    kernel = getattr(generic, name)
    found = draw(library, lambda *args, **others: kernel(library, *args, **others), backend.device)
    expected = draw(reference, getattr(reference, name))
    if name == "random_normal":
        assert ulps(found, expected) <= 8
    else:
        assert numpy.array_equal(found, expected)
        assert numpy.array_equal(draw(library, getattr(library, name), backend.device), expected)


def ulps(found, expected) -> float:
    return float(numpy.max(numpy.abs(found - expected) / numpy.spacing(numpy.abs(expected))))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 10_001])
def test_normals_agree_to_a_few_ulps(dtype, count, backend):
    expected = from_numpy(lambda: Generator(3).normal(count, dtype=dtype))
    found = Generator(3).normal(count, dtype=dtype)
    assert str(found.dtype) == dtype
    assert ulps(found.numpy(), expected) <= 8


def test_uniforms_are_those_of_numpys_own_generator_over_philox(backend):
    for dtype in ("float32", "float64"):
        numpys = numpy.random.Generator(numpys_philox((SEED, 0), 0))
        expected = numpys.random(50, dtype=dtype)
        assert numpy.array_equal(Generator(SEED).uniform(50, dtype=dtype).numpy(), expected)


@pytest.mark.parametrize("count", [2**20, 2**21 + 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_filled_by_several_threads_are_the_same(count, dtype, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    found = Generator(SEED).uniform(count, dtype=dtype).numpy()
    numpys = numpy.random.Generator(numpys_philox((SEED, 0), 0))
    assert numpy.array_equal(found, numpys.random(count, dtype=dtype))


def test_a_shorter_draw_is_the_start_of_a_longer_one(backend):
    long = Generator(1).uniform(100).numpy()
    assert numpy.array_equal(Generator(1).uniform(37).numpy(), long[:37])


def test_permutation_with_equal_words_is_stable(monkeypatch):
    library = backends.load("numpy")
    kernels = sys.modules["portanet.kernels.numpy.random"]
    words = numpy.asarray([5, 3, 5, 3, 5, 1] * 50, dtype="<u8")
    monkeypatch.setattr(kernels, "random_words", lambda blocks, **where: words.view("<u4"))
    found = library.random_permutation(words.size, dtype=numpy.dtype("int64"), key=(0, 0), counter=0)
    assert numpy.array_equal(found, numpy.argsort(words, kind="stable"))


JAX_WITHOUT_64_BITS = """
import json, warnings
import portanet
from portanet.kernels import generic
portanet.set_backend("jax")
from portanet.random import Generator
library = portanet.get_backend().library
assert library.raw_dtype("int64") is not None
g = Generator({seed}, {stream})
where = dict(key=({seed}, {stream}), counter=2**32 - 2)
found = {{
    "words": [int(w) for w in library.random_words(5, **where)],
    "uniform": g.uniform(21).tolist(),
    "integers": g.integers(21, -5, 7).tolist(),
    "wide": g.integers(21, -(2**31), 2**31).tolist(),
    "compiled": library.random_integers(21, low=-(2**31), span=2**32, dtype=library.int32, **where).tolist(),
    "permutation": g.permutation(21).tolist(),
    "compiled permutation": library.random_permutation(21, dtype=library.int32, **where).tolist(),
    "compiled uniform": library.random_uniform(21, dtype=library.float32, **where).tolist(),
    "bernoulli": g.bernoulli(21, 0.3).tolist(),
    "compiled bernoulli": library.random_bernoulli(21, threshold=2**32, **where).tolist(),
    "dtype": g.integers(1, 9).dtype.name,
}}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for draw in (lambda: g.uniform(2, dtype="float64"), lambda: g.integers(2, 9, dtype="int64")):
        try:
            draw()
        except TypeError as problem:
            assert "64-bit" in str(problem), problem
        else:
            raise AssertionError("a narrower dtype came back without a word")
print(json.dumps(found))
"""


def test_jax_without_64_bit_types_gives_the_same_bits():
    pytest.importorskip("jax")
    code = JAX_WITHOUT_64_BITS.format(seed=SEED, stream=STREAM)
    environment = {**os.environ, "JAX_ENABLE_X64": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    library, g = backends.load("numpy"), Generator(SEED, STREAM)
    where = {"key": (SEED, STREAM), "counter": 2**32 - 2}
    int32, float32 = numpy.dtype("int32"), numpy.dtype("float32")
    assert found == {
        "words": library.random_words(5, **where).tolist(),
        "uniform": g.uniform(21).tolist(),
        "integers": g.integers(21, -5, 7).tolist(),
        "wide": g.integers(21, -(2**31), 2**31).tolist(),
        "compiled": library.random_integers(21, low=-(2**31), span=2**32, dtype=int32, **where).tolist(),
        "permutation": g.permutation(21).tolist(),
        "compiled permutation": library.random_permutation(21, dtype=int32, **where).tolist(),
        "compiled uniform": library.random_uniform(21, dtype=float32, **where).tolist(),
        "bernoulli": g.bernoulli(21, 0.3).tolist(),
        "compiled bernoulli": [True] * 21,
        "dtype": "int32",
    }


# --------------------------------------------------------------------------------------------------- the distributions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniforms_are_uniform(dtype):
    x = Generator(11).uniform(200_000, dtype=dtype).numpy()
    assert x.min() >= 0
    assert x.max() < 1
    assert abs(x.mean() - 0.5) < 4 * math.sqrt(1 / 12 / x.size)
    counts = numpy.bincount((x * 100).astype(int), minlength=100)
    assert chi_square(counts, x.size / 100) < 161  # a chance of 1e-4 with 99 degrees of freedom
    assert abs(numpy.corrcoef(x[1:], x[:-1])[0, 1]) < 4 / math.sqrt(x.size)


def chi_square(counts, expected) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normals_are_normal(dtype):
    x = Generator(12).normal(200_000, dtype=dtype).numpy().astype("float64")
    n = x.size
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs((x**2).mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs((x**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / n)
    edges = numpy.asarray([-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0])
    below = numpy.asarray([0.0, *[0.5 * math.erfc(-e / math.sqrt(2)) for e in edges], 1.0])
    counts = numpy.bincount(numpy.searchsorted(edges, x), minlength=10)
    assert chi_square(counts, n * numpy.diff(below)) < 34  # 1e-4 with 9 degrees of freedom
    half = n // 2
    assert abs(numpy.corrcoef(x[:half], x[half:])[0, 1]) < 4 / math.sqrt(half)  # the cosines with the sines
    assert abs(numpy.corrcoef(x[:half] ** 2, x[half:] ** 2)[0, 1]) < 4 / math.sqrt(half)


def test_mean_and_std_scale_normals(backend):
    unit = Generator(1).normal(1000, dtype="float64").numpy()
    scaled = Generator(1).normal(1000, 3.0, 0.25, dtype="float64").numpy()
    assert numpy.allclose(scaled, 3 + 0.25 * unit, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("low", "high"), [(0, 7), (-3, 4), (2**40, 2**40 + 7)])
def test_integers_are_uniform(low, high):
    x = Generator(13).integers(70_000, low, high).numpy()
    counts = numpy.bincount(x - low, minlength=7)
    assert len(counts) == 7
    assert chi_square(counts, 10_000) < 28  # 1e-4 with 6 degrees of freedom


def test_large_integers_use_all_their_bits():
    x = Generator(14).integers(20_000, -(2**62), 2**62).numpy().astype("uint64") + numpy.uint64(2**62)
    ones = [int(((x >> numpy.uint64(bit)) & numpy.uint64(1)).sum()) for bit in range(63)]
    assert max(abs(count - 10_000) for count in ones) < 5 * math.sqrt(5000)


def test_integers_of_one_value_and_up_to_the_last(backend):
    assert Generator(1).integers(5, 3, 4).tolist() == [3] * 5
    assert sorted(set(Generator(1).integers(200, 3).tolist())) == [0, 1, 2]


@pytest.mark.parametrize("p", [0.0, 1e-3, 0.5, 0.9, 1.0])
def test_bernoulli_hits_its_probability(p):
    x = Generator(15).bernoulli(100_000, p).numpy()
    assert set(numpy.unique(x)) <= {0.0, 1.0}
    assert abs(x.mean() - p) <= 4 * math.sqrt(p * (1 - p) / x.size)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_bernoulli_is_certain_at_the_ends(p, backend):
    assert Generator(1).bernoulli((2, 50), p).numpy().tolist() == [[p] * 50] * 2


def test_permutations_permute_evenly(backend):
    assert sorted(Generator(16).permutation(1000).tolist()) == list(range(1000))
    assert Generator(16).permutation(1).tolist() == [0]
    assert Generator(16).permutation(0).shape == (0,)


def test_all_permutations_are_equally_likely():
    g = Generator(17)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        order = tuple(g.permutation(3).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert chi_square(numpy.asarray(list(counts.values())), 1000) < 26  # 1e-4 with 5 degrees of freedom
    assert len(counts) == 6


def test_permutation_of_an_array_keeps_rows_together(backend):
    x = portanet.reshape(portanet.arange(12), (4, 3))
    shuffled = Generator(18).permutation(x)
    order = Generator(18).permutation(4).numpy()
    assert shuffled.backend == backend.name
    assert numpy.array_equal(shuffled.numpy(), x.numpy()[order])
    order = Generator(18).permutation(3).numpy()
    assert numpy.array_equal(Generator(18).permutation(x, axis=-1).numpy(), x.numpy()[:, order])


def test_permutation_of_an_array_stays_in_its_library(backend):
    x = portanet.asarray([1.0, 2.0, 3.0])
    with portanet.use_backend("numpy"):
        assert Generator(1).permutation(x).backend == backend.name


def test_gradients_pass_a_permutation(backend):
    x = portanet.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    weights = portanet.asarray([1.0, 10.0, 100.0, 1000.0])
    portanet.sum(Generator(1).permutation(x) * weights).backward()
    order = Generator(1).permutation(4).tolist()
    assert [x.grad.numpy()[place] for place in order] == [1.0, 10.0, 100.0, 1000.0]


def test_streams_and_children_are_not_correlated():
    children = Generator(1).split(3)
    generators = [Generator(1), Generator(1, 1), Generator(2), *children, children[0].spawn()]
    draws = numpy.stack([g.uniform(50_000, dtype="float64").numpy() for g in generators])
    correlations = numpy.corrcoef(draws) - numpy.eye(len(draws))
    assert numpy.abs(correlations).max() < 5 / math.sqrt(50_000)


# ---------------------------------------------------------------------------------------------------------- the edges


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.0, 1.0000002), (-1e-3, 1e4), (16777215.0, 16777216.0)])
def test_uniforms_never_reach_high(low, high, dtype, backend):
    x = Generator(19).uniform(20_000, low, high, dtype=dtype).numpy()
    kind = numpy.dtype(dtype).type
    assert x.min() >= kind(low)
    assert x.max() < kind(high)


def test_uniform_at_the_largest_words(monkeypatch, backend):
    library = backends.load("numpy")
    full = numpy.full(16, 2**32 - 1, dtype="uint32")
    monkeypatch.setattr(library, "random_words", lambda blocks, **where: full[: 8 * blocks], raising=False)
    float32, float64 = numpy.dtype("float32"), numpy.dtype("float64")
    assert generic.random_uniform(library, 3, dtype=float32).tolist() == [1 - 2.0**-24] * 3
    assert generic.random_uniform(library, 3, dtype=float64).tolist() == [1 - 2.0**-53] * 3
    assert generic.random_normal(library, 4, dtype=float32).tolist()[0] == 0
    zero = numpy.zeros(16, dtype="uint32")
    monkeypatch.setattr(library, "random_words", lambda blocks, **where: zero[: 8 * blocks], raising=False)
    assert generic.random_normal(library, 2, dtype=float32)[0] == pytest.approx(math.sqrt(66 * math.log(2)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_width_types(dtype):
    pytest.importorskip("torch")
    with portanet.use_backend("torch"):
        x = Generator(1).uniform(4000, dtype=dtype)
        assert str(x.dtype) == dtype
        values = x.to(portanet.float32).numpy()
        bits = 11 if dtype == "float16" else 8
        assert values.min() >= 0
        assert values.max() == 1 - 2.0**-bits
        assert abs(values.mean() - 0.5) < 0.02
        words = backends.load("numpy").random_words(500, key=(1, 0), counter=0)
        assert numpy.array_equal(values, (words >> (32 - bits)) * 2.0**-bits)
        scaled = Generator(1).uniform(4000, 3, 5, dtype=dtype).to(portanet.float32).numpy()
        assert scaled.min() >= 3
        assert scaled.max() < 5
        z = Generator(1).normal(4000, dtype=dtype)
        assert str(z.dtype) == dtype
        wide = Generator(1).normal(4000).numpy()
        assert numpy.allclose(z.to(portanet.float32).numpy(), wide, rtol=2.0**-bits, atol=1e-6)


@pytest.mark.parametrize("draw", [
    lambda g, shape: g.uniform(shape), lambda g, shape: g.uniform(shape, 1, 2), lambda g, shape: g.normal(shape),
    lambda g, shape: g.integers(shape, 5), lambda g, shape: g.bernoulli(shape, 0.5),
])  # fmt: skip
def test_shapes(draw, backend):
    for shape, expected in (((), ()), (3, (3,)), ((0, 2), (0, 2)), ([2, 3], (2, 3)), (numpy.int64(2), (2,))):
        g = Generator(1)
        assert draw(g, shape).shape == expected
        assert (g.get_state()["counter"] == 0) == (0 in expected)


def test_default_dtype_and_devices(backend):
    assert Generator(1).uniform(2).dtype == portanet.float32
    portanet.set_default_dtype("float64")
    try:
        assert Generator(1).uniform(2).dtype == portanet.float64
        assert Generator(1).normal(2).dtype == portanet.float64
        assert Generator(1).bernoulli(2, 0.5).dtype == portanet.float64
    finally:
        portanet.set_default_dtype("float32")


def test_a_draw_goes_to_the_device_that_is_named():
    strict = pytest.importorskip("array_api_strict")
    with portanet.use_backend("array_api_strict"):
        for draw in (DRAWS["uniform"], DRAWS["integers"]):
            assert draw(Generator(1)).device == strict.Device("CPU_DEVICE")
        device = strict.Device("device1")
        assert Generator(1).uniform(3, 1, 2, device="device1").device == device
        assert Generator(1).normal(3, 1, 2, device="device1").device == device
        assert Generator(1).integers(3, 9, device="device1").device == device
        assert Generator(1).permutation(3, device="device1").device == device
        assert Generator(1).bernoulli(3, 0.5, device="device1").device == device
        x = portanet.asarray([1.0, 2.0, 3.0], device="device1")
        assert Generator(1).permutation(x).device == device


# ------------------------------------------------------------------------------------------------------------ the state


def everything(g: Generator) -> list[float]:
    drawn = [g.uniform(5), g.normal(3), g.integers(9, 100), g.permutation(6), g.bernoulli(7, 0.4)]
    return [float(value) for x in drawn for value in x.tolist()]


def test_a_saved_state_goes_on_exactly(backend):
    g = Generator(20, 4)
    everything(g)
    saved = json.loads(json.dumps(g.get_state()))
    expected = everything(g)
    other = Generator(99)
    other.set_state(saved)
    assert everything(other) == expected
    assert everything(other) != expected
    assert other.initial_seed() == 20


def test_copies_and_pickles_are_at_the_same_place():
    g = Generator(20, 4)
    everything(g)
    for twin in (copy.deepcopy(g), pickle.loads(pickle.dumps(g))):
        assert twin.get_state() == g.get_state()
    twin = copy.deepcopy(g)
    assert everything(twin) == everything(g)


def test_each_draw_takes_the_blocks_it_needs():
    g = Generator(1)
    for draw, blocks in (
        (lambda: g.uniform(8), 1), (lambda: g.uniform(9), 2), (lambda: g.uniform(8, dtype="float64"), 2),
        (lambda: g.normal(7), 1), (lambda: g.normal(9), 2), (lambda: g.normal(9, dtype="float64"), 3),
        (lambda: g.integers(4, 9), 1), (lambda: g.permutation(5), 2), (lambda: g.bernoulli(17, 0.5), 3),
    ):  # fmt: skip
        before = g.get_state()["counter"]
        draw()
        assert g.get_state()["counter"] == before + blocks


def test_children_depend_on_the_place_only():
    first, again = Generator(5), Generator(5)
    assert [c.get_state() for c in first.split(3)] == [c.get_state() for c in again.split(3)]
    children = [*first.split(100), *Generator(6).split(100), *Generator(5, 1).split(100), *first.split(1)[0].split(100)]
    assert len({c.get_state()["stream"] for c in children}) == 400


def test_threads_get_different_numbers():
    g = Generator(21)
    found: list[list[float]] = []

    def work() -> None:
        found.extend([g.uniform(8, dtype="float64").tolist() for _ in range(200)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert g.get_state()["counter"] == 4 * 200 * 2
    numbers = [value for draw in found for value in draw]
    assert sorted(numbers) == sorted(Generator(21).uniform(4 * 200 * 8, dtype="float64").tolist())


def test_the_operating_system_gives_a_seed_where_none_is_named():
    first, second = Generator(), Generator()
    assert first.initial_seed() != second.initial_seed()
    assert Generator(first.initial_seed()).uniform(3).tolist() == first.uniform(3).tolist()


@pytest.fixture
def default():
    """The default generator, put back where it was."""
    before = portanet.random.get_state()
    yield portanet.random.default_generator
    portanet.random.set_state(before)


def test_functions_of_the_default_generator(default, backend):
    functions = portanet.random
    for drawn, expected in (
        (lambda: functions.uniform((2, 3), 1, 2), lambda g: g.uniform((2, 3), 1, 2)),
        (lambda: functions.normal(5, 1, 2), lambda g: g.normal(5, 1, 2)),
        (lambda: functions.integers(5, 1, 20), lambda g: g.integers(5, 1, 20)),
        (lambda: functions.permutation(5), lambda g: g.permutation(5)),
        (lambda: functions.bernoulli(50, 0.25), lambda g: g.bernoulli(50, 0.25)),
        (lambda: portanet.rand(2, 3), lambda g: g.uniform((2, 3))),
        (lambda: portanet.rand((2, 3)), lambda g: g.uniform((2, 3))),
        (lambda: portanet.rand(), lambda g: g.uniform(())),
        (lambda: portanet.randn(5), lambda g: g.normal(5)),
        (lambda: portanet.randint(20, (5,)), lambda g: g.integers(5, 20)),
        (lambda: portanet.randint(3, 20, (5,)), lambda g: g.integers(5, 3, 20)),
        (lambda: portanet.randint(20, size=(5,)), lambda g: g.integers(5, 20)),
        (lambda: portanet.randint(high=20, size=(5,)), lambda g: g.integers(5, 20)),
        (lambda: portanet.randperm(5), lambda g: g.permutation(5)),
    ):
        assert portanet.manual_seed(33) is default
        assert functions.initial_seed() == 33
        assert drawn().tolist() == expected(Generator(33)).tolist()


def test_generator_argument(default):
    before = default.get_state()
    g = Generator(1)
    assert portanet.rand(3, generator=g).tolist() == Generator(1).uniform(3).tolist()
    for name, args in (("randn", (3,)), ("randint", (9, (3,))), ("randperm", (3,))):
        assert len(getattr(portanet, name)(*args, generator=g).tolist()) == 3
    assert default.get_state() == before
    assert g.get_state()["counter"] == 4
    with pytest.raises(TypeError, match=r"takes a portanet\.random\.Generator, saw int"):
        portanet.rand(3, generator=5)


def test_results_are_constants_unless_asked_otherwise(default):
    assert not portanet.rand(3).requires_grad
    assert portanet.rand(3, requires_grad=True).requires_grad
    assert portanet.randn(3, requires_grad=True).is_leaf


def test_a_checkpoint_replays_its_numbers(default, backend):
    def noisy(x):
        return x * portanet.rand(4)

    portanet.manual_seed(3)
    x = portanet.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    y = portanet.autograd.checkpoint(noisy, x)
    after = portanet.random.get_state()
    portanet.rand(100)
    moved = portanet.random.get_state()
    portanet.sum(y).backward()
    assert x.grad.tolist() == Generator(3).uniform(4).tolist()
    assert portanet.random.get_state() == moved != after


# ----------------------------------------------------------------------------------------------------------- the errors

ERRORS = {
    "low above high": (ValueError, "low must not exceed high", lambda g: g.uniform(3, 2, 1)),
    "nan bound": (ValueError, "low must not exceed high", lambda g: g.uniform(3, math.nan, 1)),
    "infinite bound": (ValueError, "high=inf is not finite", lambda g: g.uniform(3, 0, math.inf)),
    "too wide": (ValueError, "span=6e.38 is not finite in float32", lambda g: g.uniform(3, -3e38, 3e38)),
    "whole uniform": (TypeError, "must be real floating, saw int32", lambda g: g.uniform(3, dtype="int32")),
    "complex normal": (TypeError, "must be real floating", lambda g: g.normal(3, dtype="complex64")),
    "negative std": (ValueError, "std must not be negative", lambda g: g.normal(3, 0, -1)),
    "nan std": (ValueError, "std must not be negative", lambda g: g.normal(3, 0, math.nan)),
    "infinite mean": (ValueError, "mean=inf is not finite", lambda g: g.normal(3, math.inf)),
    "no integer": (ValueError, "low must be below high", lambda g: g.integers(3, 5, 5)),
    "negative high": (ValueError, "low must be below high", lambda g: g.integers(3, -5)),
    "range": (ValueError, "2.*63 at most", lambda g: g.integers(3, -(2**63), 2**63)),
    "does not fit": (ValueError, "int8 holds -128 to 127, not 0 to 128", lambda g: g.integers(3, 129, dtype="int8")),
    "unsigned": (ValueError, "uint8 holds 0 to 255", lambda g: g.integers(3, -1, 5, dtype="uint8")),
    "fractional bound": (TypeError, "low must be an integer, saw 0.5", lambda g: g.integers(3, 0.5, 2)),
    "floating integers": (TypeError, "must be an integer one", lambda g: g.integers(3, 5, dtype="float32")),
    "probability": (ValueError, r"p must lie in \[0, 1\], saw p=1.5", lambda g: g.bernoulli(3, 1.5)),
    "nan probability": (ValueError, "p must lie in", lambda g: g.bernoulli(3, math.nan)),
    "negative length": (ValueError, "negative length", lambda g: g.uniform((2, -1))),
    "fractional length": (TypeError, "a shape is an integer or a tuple", lambda g: g.uniform(2.5)),
    "lengths in text": (TypeError, "a shape is an integer or a tuple", lambda g: g.uniform("23")),
    "negative permutation": (ValueError, "negative length", lambda g: g.permutation(-1)),
    "fractional permutation": (TypeError, "x must be an integer", lambda g: g.permutation(2.0)),
    "no axes": (ValueError, "has no axis 0", lambda g: g.permutation(portanet.asarray(1.0))),
    "no such axis": (ValueError, "has no axis 1", lambda g: g.permutation(portanet.asarray([1.0]), axis=1)),
    "dtype of an array": (TypeError, "keeps its dtype", lambda g: g.permutation(portanet.ones(2), dtype="int64")),
    "no size": (TypeError, "size is missing", lambda g: portanet.randint(5)),
    "negative split": (ValueError, "cannot be negative", lambda g: g.split(-1)),
    "state": (ValueError, "seed, stream and counter", lambda g: g.set_state({"seed": 1})),
    "state's values": (ValueError, "seed must lie in", lambda g: g.set_state({"seed": -1, "stream": 0, "counter": 0})),
    "negative seed": (ValueError, r"seed must lie in \[0, 2\*\*64\), saw -1", lambda g: Generator(-1)),
    "large seed": (ValueError, "seed must lie in", lambda g: g.manual_seed(2**64)),
    "fractional seed": (TypeError, "seed must be an integer, saw 1.5", lambda g: Generator(1.5)),
    "true seed": (TypeError, "seed must be an integer, saw True", lambda g: Generator(True)),
    "stream": (ValueError, "stream must lie in", lambda g: Generator(1, -1)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_name_what_is_wrong_and_use_up_nothing(name):
    kind, message, draw = ERRORS[name]
    g = Generator(1)
    with pytest.raises(kind, match=message):
        draw(g)
    assert g.get_state() == {"seed": 1, "stream": 0, "counter": 0}


def test_a_generator_that_is_used_up_says_so():
    g = Generator(1)
    g.set_state({"seed": 1, "stream": 0, "counter": 2**64 - 2})
    assert g.uniform(8).shape == (8,)
    with pytest.raises(RuntimeError, match="used up"):
        g.uniform(8)


def test_the_library_of_a_draw_is_the_backends(backend):
    assert namespace_of(Generator(1).uniform(2)._raw) is backend.library
