"""NumPy's kernels by loops that Numba compiles: the bits of NumPy's own calls, with any number of threads."""

from __future__ import annotations

import itertools

import numpy
import pytest
from threadpoolctl import threadpool_limits

from portanet.kernels import numpy as kernels
from portanet.kernels.numpy import _in_threads, _numba, nn
from portanet.kernels.numpy._loops import loop_of


def ways(monkeypatch, compute):
    """What ``compute`` returns by NumPy's calls, then by compiled loops: in one thread, in two of ours, in TBB's."""
    if not _numba.is_at_hand():
        pytest.skip("Numba is not installed, or is switched off")
    monkeypatch.setattr(_numba, "PATIENCE", 0)
    for name in ("PORTION", "PRODUCTS"):
        monkeypatch.setattr(_numba, name, 64)
    found = []
    for at_hand, threads, shared in ((False, 1, None), (True, 1, None), (True, 2, None), (True, 2, _in_threads.shared)):
        monkeypatch.setattr(_numba, "is_at_hand", lambda at_hand=at_hand: at_hand)
        monkeypatch.setattr(_numba, "shared", shared or (lambda *_: None))
        with threadpool_limits(threads, user_api="blas"):
            found.append(compute())
    return found


def assert_same_bits(first, *others):
    for other in others:
        assert len(first) == len(other)
        for a, b in zip(first, other, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                numpy.testing.assert_array_equal(a, b)


def normal(dtype, *shape, seed=0):
    return numpy.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("place", ("first", "last"))
def test_relu_into_memory_in_another_order(place, monkeypatch):
    x, g = normal("float32", 8, 16, 24, 20), normal("float32", 8, 16, 24, 20, seed=1)
    last = numpy.empty((8, 24, 20, 16), "float32").transpose(0, 3, 1, 2)
    out = last if place == "last" else numpy.empty_like(x)

    def compute():
        y = nn._large_relu(x, out).copy()
        return [y, nn._large_relu_backward(g, y, out).copy()]

    for one in ways(monkeypatch, compute):
        assert_same_bits([numpy.maximum(x, 0), g * (x > 0)], one)


@pytest.mark.parametrize("dtype", ("float32", "float64", "float16"))
@pytest.mark.parametrize("last", (False, True))
@pytest.mark.parametrize("shape", [(40_000,), (257, 131), (5, 3, 70, 40), (2, 40, 33, 17)], ids=str)
def test_relu(shape, last, dtype, monkeypatch):
    """Of what is not a number, infinite, or a zero below 0, too; and with the axes in whatever order in memory."""
    x, g = normal(dtype, *shape), normal(dtype, *shape, seed=1)
    x.reshape(-1)[::7], x.reshape(-1)[::11], g.reshape(-1)[::13] = -0.0, numpy.nan, numpy.inf
    if last and len(shape) == 4:
        x, g = [numpy.ascontiguousarray(one.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for one in (x, g)]

    def compute():
        y = kernels.relu(x)
        return [y, kernels.relu_backward(g, y), kernels.relu(x[::2]), kernels.relu_backward(g[::2], y[::2])]

    with numpy.errstate(invalid="ignore"):
        found = ways(monkeypatch, compute)
        assert_same_bits([numpy.maximum(x, 0), g * (numpy.maximum(x, 0) != 0)], *[one[:2] for one in found])
    assert_same_bits(*found)
    for one in found:
        assert dtype == "float16" or not numpy.signbit(one[0][one[0] == 0]).any()  # NumPy's own call leaves some there
        assert one[0].strides == x.strides and one[1].strides == g.strides


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("reverse", (False, True))
@pytest.mark.parametrize(
    "sizes", [(20, 32, 16, 64), (7, 5, 3, 4), (9, 40, 6, 32), (70, 33, 10, 16), (1, 1, 1, 1)], ids=str
)
def test_lstm(sizes, reverse, dtype, monkeypatch):
    steps, batch, size, width = sizes
    x, h, c = normal(dtype, steps, batch, size), *normal(dtype, 2, batch, width)
    weights = normal(dtype, 4 * width, size) * 0.3, normal(dtype, 4 * width, width) * 0.3
    biases = tuple(normal(dtype, 2, 4 * width))
    gy, gh = normal(dtype, batch, steps, width).swapaxes(0, 1), normal(dtype, batch, width, seed=1)

    def compute():
        found = []
        for start, bias, above in itertools.product(((None, None), (h, c)), ((None, None), biases), (None, gy)):
            out = kernels.lstm(x, *start, *weights, *bias, reverse=reverse)
            given = ((above, gh, gh, None, None), out[0], *out[3:], x, *start, *weights, *bias)
            found += [*out, *kernels.lstm_backward(*given, reverse=reverse, through=above is not None)]
        return found

    assert_same_bits(*ways(monkeypatch, compute))


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("rows", (1, 3, 257, 1001))
@pytest.mark.parametrize("shape", [(1,), (4,), (10,), (128,), (300,), (5, 6)], ids=str)
def test_layer_norm(shape, rows, dtype, monkeypatch):
    x, g = normal(dtype, rows, *shape) * 3 + 1, normal(dtype, rows, *shape, seed=1)
    weight, bias = normal(dtype, 2, *shape)
    how = {"axes": len(shape), "eps": 1e-5}

    def compute():
        found = []
        for w, b in ((None, None), (weight, None), (weight, bias)):
            found += [kernels.layer_norm(x, w, b, **how), *kernels.layer_norm_backward(g, x, w, **how)]
        return found

    assert_same_bits(*ways(monkeypatch, compute))


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("causal", (False, True))
@pytest.mark.parametrize("large", (1, 40))  # scores for which the largest of each row must be taken off
@pytest.mark.parametrize(
    "sizes", [(16, 128, 4, 32), (2, 5, 1, 3), (3, 64, 2, 8), (1, 65, 3, 16), (5, 200, 2, 7)], ids=str
)
def test_packed_attention(sizes, large, causal, dtype, monkeypatch):
    batch, length, heads, size = sizes
    x, g = normal(dtype, batch, length, 3 * heads * size) * large, normal(dtype, batch, length, heads * size)
    how = {"heads": heads, "causal": causal, "scale": size**-0.5}

    def compute():
        out, logs = kernels.packed_attention(x, **how)
        return [out, logs, *kernels.packed_attention_backward((g, None), out, logs, x, **how)]

    assert_same_bits(*ways(monkeypatch, compute))


def test_what_is_not_a_number_is_not_lost_in_compiled_attention(monkeypatch):
    x = normal("float32", 2, 8, 12)
    x[1, 2, 5] = numpy.nan
    with numpy.errstate(all="ignore"):
        found = ways(monkeypatch, lambda: list(kernels.packed_attention(x, heads=2, causal=True, scale=1.0)))
    assert numpy.isnan(found[0][0]).any()
    assert_same_bits(*found)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("shape", [(2100, 24), (3, 700, 24)], ids=str)
def test_tall_products_are_the_same_with_any_number_of_threads(shape, dtype, monkeypatch):
    for module in ("nn", "_products"):  # MKL would spread them itself
        monkeypatch.setattr(f"portanet.kernels.numpy.{module}.mkl", lambda: None)
    x, weight, bias = normal(dtype, *shape), normal(dtype, 40, 24), normal(dtype, 40)
    g = normal(dtype, *shape[:-1], 40)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            gradients = kernels.linear_backward(g, x, weight, wanted=(True, True, True))
            found.append([kernels.linear(x, weight, bias), kernels.linear(x, weight), *gradients])
    assert_same_bits(*found)
    rows, given = x.reshape(-1, 24), g.reshape(-1, 40)
    wanted = [x @ weight.T + bias, x @ weight.T, g @ weight, given.T @ rows, given.sum(axis=0)]
    for one, other in zip(found[0], wanted, strict=True):
        numpy.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3 if dtype == "float32" else 1e-10)
    assert [one is None for one in kernels.linear_backward(g, x, weight, wanted=(False, True))] == [True, False, True]
    assert [one is None for one in kernels.linear_backward(g, x, weight, wanted=(True, False, True))] == [
        False,
        True,
        False,
    ]


def test_numpys_loops_are_found_for_types_that_it_has():
    assert loop_of(numpy.tanh, "f->f") is not None
    assert loop_of(numpy.tanh, "q->q") is None
    assert loop_of(abs, "f->f") is None
    assert loop_of(numpy.tanh, "O->O") is None  # it keeps something for itself
    x, y = normal("float32", 100), numpy.empty(100, "float32")
    at, count, steps = numpy.array([x.ctypes.data, y.ctypes.data]), numpy.array([100]), numpy.array([4, 4])
    loop_of(numpy.tanh, "f->f")(at.ctypes.data, count.ctypes.data, steps.ctypes.data, None)
    numpy.testing.assert_array_equal(y, numpy.tanh(x))


@pytest.mark.parametrize("threads", (1, 2))
def test_the_rectifier_of_many_numbers_is_that_of_few(threads):
    x, g = normal("float32", 1100, 1000), normal("float32", 1100, 1000, seed=1)
    x[3, 5], x[7] = numpy.nan, 0
    with threadpool_limits(threads, user_api="blas"):
        y = kernels.relu(x)
        gx = kernels.relu_backward(g, y)
    numpy.testing.assert_array_equal(y, numpy.maximum(x, 0))
    numpy.testing.assert_array_equal(gx, g * (y != 0))


@pytest.mark.parametrize("text", ("soon", "-1", "nan"))
def test_a_patience_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=f"PORTANET_PATIENCE={text}; it must be a number that is 0 or more"):
        _numba._patience(text)
    assert [_numba._patience(one) for one in ("0", "2.5")] == [0, 2.5]
