"""Convolutions, pooling and batch norm by compiled loops: the same bits as without Numba, in any number of threads."""

from __future__ import annotations

import numpy
import pytest
from threadpoolctl import threadpool_limits

from portanet import threads
from portanet.kernels.generic import convolution as generic
from portanet.kernels.numpy import _in_threads, _numba, _runs, _thin, _windows, convolution, norm, pooling
from portanet.library import namespace_of

pytestmark = pytest.mark.skipif(not _numba.is_at_hand(), reason="Numba is not installed, or is switched off")


def by_both_ways(monkeypatch, work):
    """What the work gives without compiled loops, and with them in one thread, in two of ours, and in TBB's."""
    monkeypatch.setattr(_numba, "SHORT", 0)
    for name in ("PORTION", "PRODUCTS"):
        monkeypatch.setattr(_numba, name, 30)
    found = []
    for patience, count, shared in ((1 << 60, 1, None), (0, 1, None), (0, 2, None), (0, 2, _in_threads.shared)):
        monkeypatch.setattr(_numba, "PATIENCE", patience)
        monkeypatch.setattr(_numba, "shared", shared or (lambda *_: None))
        with threadpool_limits(count, user_api="blas"):
            found.append(work())
    return found


def assert_same_bits(found):
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            numpy.testing.assert_array_equal(one, two)


def in_memory(x, last):
    """(N, C, ...) with the channels last in memory, or first."""
    return convolution.channels_first(numpy.ascontiguousarray(convolution.channels_last(x))) if last else x


def drawn(rng, channels, out, strides):
    """x, weights, bias and cotangent of a convolution within such bounds, and how it is done."""
    kernel, stride = rng.integers(1, 5, 2), tuple(rng.integers(1, strides, 2).tolist())
    padding = tuple([(int(a), int(b)) for a, b in rng.integers(0, 3, (2, 2))])
    size = kernel * 2 + rng.integers(0, 14, 2)
    images, channels, out = rng.integers(1, 6), rng.integers(*channels), rng.integers(*out)
    how = {"stride": stride, "padding": padding, "dilation": (int(rng.integers(1, 3)), 1), "groups": 1}

    def numbers(*shape):
        return rng.normal(size=shape).astype("float32")

    x, w = in_memory(numbers(images, channels, *size), rng.integers(2)), numbers(out, channels, *kernel)
    bias = numbers(out) if rng.integers(2) else None
    y = convolution.conv(x, w, bias, **how)
    return x, w, bias, in_memory(numbers(*y.shape), rng.integers(2)), how


def conv_and_back(x, w, bias, g, how):
    return (convolution.conv(x, w, bias, **how), *convolution.conv_backward(g, x, w, wanted=(True,) * 3, **how))


@pytest.mark.parametrize("block", [300, 1 << 20])
@pytest.mark.parametrize("seed", range(40))
def test_convolutions_have_the_same_bits(seed, block, monkeypatch):
    monkeypatch.setattr(_windows, "BLOCK", block)
    monkeypatch.setattr(_windows, "FREE_PORTION", 1e4)
    monkeypatch.setattr(_runs, "LEAST_CHANNELS", 2)
    case = drawn(numpy.random.default_rng(seed), (16, 40), (2, 40), 4)
    found = by_both_ways(monkeypatch, lambda: conv_and_back(*case))
    assert_same_bits(found)
    assert_near_the_definition(found[0], *case)


def assert_near_the_definition(found, x, w, bias, g, how):
    x, w, bias, g = [None if one is None else one.astype("float64") for one in (x, w, bias, g)]
    back = generic.conv_backward(namespace_of(x), g, x, w, wanted=(True,) * 3, **how)
    for one, exact in zip(found, (generic.conv(namespace_of(x), x, w, bias, **how), *back), strict=True):
        numpy.testing.assert_allclose(one, exact, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("block", [300, 1 << 13, 1 << 20])
@pytest.mark.parametrize("seed", range(40))
def test_convolutions_of_few_channels_have_the_same_bits(seed, block, monkeypatch):
    monkeypatch.setattr(_windows, "BLOCK", block)
    monkeypatch.setattr(_thin, "PORTION", 1e4)
    monkeypatch.setattr(_thin, "LIGHT", 1 << 10)
    x, w, bias, g, how = drawn(numpy.random.default_rng(seed), (1, 10), (1, 30), 2)
    found = by_both_ways(monkeypatch, lambda: conv_and_back(x, w, bias, g, how))
    assert_same_bits(found)
    assert_near_the_definition(found[0], x, w, bias, g, how)


@pytest.mark.parametrize("kernel", ((1, 1), (1, 2), (3, 3)))
@pytest.mark.parametrize("stride", ((2, 2), (1, 3), (4, 2)))
@pytest.mark.parametrize("how", ({}, {"dilation": (2, 3)}, {"padding": ((0, 2), (1, 0))}))
def test_windows_with_gaps_between_have_the_same_bits(kernel, stride, how, monkeypatch):
    monkeypatch.setattr(_windows, "FREE_PORTION", 1e4)
    monkeypatch.setattr(_windows, "SMALL", 1 << 16)  # so that a block is more than one product
    monkeypatch.setattr(_windows, "FEWEST", 8)
    rng = numpy.random.default_rng(0)
    x, w = [rng.normal(size=shape).astype("float32") for shape in ((9, 16, 23, 22), (24, 16, *kernel))]
    how = {"stride": stride, "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1} | how
    g = rng.normal(size=convolution.conv(x, w, **how).shape).astype("float32")
    found = by_both_ways(monkeypatch, lambda: conv_and_back(x, w, None, g, how))
    assert_same_bits(found)
    assert_near_the_definition(found[0], x, w, None, g, how)


@pytest.mark.parametrize("dims", (1, 2, 3))
@pytest.mark.parametrize("kernel", (1, 2, 3, 5))
def test_weights_of_convolutions_with_a_stride_of_2(kernel, dims):
    """Where a dimension is shorter than the stride, or a tap sees nothing but zeros, too."""
    rng = numpy.random.default_rng(kernel)
    for n, pad, dilation in ((1, 4, 1), (7, 0, 1), (8, (3, 0), 2), (9, (0, 5), 1), (9, 6, 3)):
        pads = ((pad, pad) if isinstance(pad, int) else pad,) * dims
        if n + sum(pads[0]) < (kernel - 1) * dilation + 1:
            continue
        x, w = [
            rng.normal(size=shape).astype("float32") for shape in ((2, 17, *[n] * dims), (20, 17, *[kernel] * dims))
        ]
        how = {"stride": (2,) * dims, "padding": pads, "dilation": (dilation,) * dims, "groups": 1}
        g = rng.normal(size=convolution.conv(x, w, **how).shape).astype("float32")
        assert_near_the_definition(conv_and_back(x, w, None, g, how), x, w, None, g, how)


def test_work_of_one_portion_has_the_same_bits_where_blas_has_more_threads():
    rng = numpy.random.default_rng(0)
    x, w = [rng.normal(size=shape).astype("float32") for shape in ((4, 37, 19, 21), (34, 37, 4, 4))]
    how = {"stride": (1, 3), "padding": ((2, 0), (0, 0)), "dilation": (2, 1), "groups": 1}
    g = rng.normal(size=convolution.conv(x, w, **how).shape).astype("float32")
    found = []
    for count in (1, 2):
        with threadpool_limits(count, user_api="blas"):
            found.append(conv_and_back(x, w, None, g, how))
    assert_same_bits(found)


@pytest.mark.parametrize("size", [(12, 9), (13, 9), (12, 10)], ids=str)
def test_places_that_no_window_of_few_channels_reaches_get_nothing(size, monkeypatch):
    """As a transposed convolution has them, of which the result is made longer."""
    rng = numpy.random.default_rng(0)
    g, w = [rng.normal(size=shape).astype("float32") for shape in ((3, 5, 8, 8), (5, 2, 3, 2))]
    how = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (2, 1), "groups": 1, "size": size}
    found = by_both_ways(monkeypatch, lambda: (convolution.conv_backward_input(g, w, **how),))
    assert_same_bits(found)
    exact = generic.conv_backward_input(namespace_of(g), g.astype("float64"), w, **how)
    numpy.testing.assert_allclose(found[0][0], exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 8, 6), (4, 3, 7, 5), (1, 20, 2, 2), (2, 1, 3, 12)], ids=str)
def test_the_way_back_of_the_largest_has_the_same_bits(shape, last, monkeypatch):
    """Of values that are equal, missing or infinite, too."""
    monkeypatch.setattr(pooling, "PORTION", 30)
    rng = numpy.random.default_rng(1)
    how = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    for strange in ([], [numpy.nan], [numpy.inf, -numpy.inf]):
        x = in_memory(rng.choice(numpy.array([0, 1, 2, 3, *strange], "float32"), size=shape), last)
        y = pooling.max_pool(x, **how, dilation=(1, 1))
        g = in_memory(rng.normal(size=y.shape).astype("float32"), last)
        g[rng.random(g.shape) < 0.1] = numpy.inf
        with numpy.errstate(invalid="ignore"):
            found = by_both_ways(monkeypatch, lambda: (pooling.max_pool_backward(g, y, x, **how, dilation=(1, 1)),))  # noqa: B023
        assert_same_bits(found)


@pytest.mark.parametrize("block", [1 << 12, 1 << 18])
@pytest.mark.parametrize("shape", [(8, 16, 32, 32), (3, 5, 7, 9), (4, 64, 3, 1), (7, 1, 5, 5), (33, 20)], ids=str)
def test_batch_norms_have_the_same_bits(shape, block, monkeypatch):
    monkeypatch.setattr(norm, "BLOCK", block)
    for name in ("PORTION", "SHARE"):
        monkeypatch.setattr(norm, name, 1 << 10)
    norm._of_shape.cache_clear()
    rng = numpy.random.default_rng(1)
    x, g = [in_memory((3 + rng.normal(size=shape)).astype("float32"), True) for _ in range(2)]
    weight, bias = rng.normal(size=(2, shape[1])).astype("float32")

    def work():
        mean, variance = norm.channel_moments(x)
        y = norm.batch_norm(x, weight, bias, mean, variance, eps=1e-5, own=True)
        return (mean, variance, y, *norm.batch_norm_backward(g, x, weight, mean, variance, eps=1e-5, own=True))

    try:
        assert_same_bits(by_both_ways(monkeypatch, work))
    finally:
        norm._of_shape.cache_clear()  # blocks of this size are no others' business


def test_loops_are_used_where_numpys_own_blas_has_the_product(monkeypatch):
    monkeypatch.setattr(_numba, "PATIENCE", 0)
    x = numpy.zeros((1, 1), "float32")
    routine = _numba.Products("_conv_loops", "multiply")
    assert (routine.at_hand(1e9, x) is None) is (_numba._product_at() == 0)
    assert routine.at_hand(1e9, x.astype("float64")) is None
    monkeypatch.setattr(_numba, "_product_at", lambda: 0)
    assert routine.at_hand(1e9, x) is None


def test_a_thread_that_watches_comes_back_when_something_has_come_or_after_a_while():
    _numba._wakeful()
    bell = numpy.zeros(1, numpy.int64)
    assert threads._watch(bell, 1)
    assert not threads._watch(bell, 0)
