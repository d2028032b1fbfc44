"""Attention over heads of 32 and 64 numbers on every backend, by lengths that no block divides, against the definition."""

from __future__ import annotations

import importlib
import math

import numpy
import pytest

import portanet
from portanet import precision
from portanet.library import to_numpy

LENGTHS = ((1, 1), (5, 33), (64, 64), (70, 31), (97, 130), (200, 200))


def definition(q, k, v, causal, scale):
    """The result and the logarithms of the sums, in float64."""
    scores = (q @ k.swapaxes(-1, -2)).astype("float64") * scale
    if causal:
        scores[..., numpy.triu(numpy.ones(scores.shape[-2:], bool), 1)] = -numpy.inf
    largest = scores.max(axis=-1, keepdims=True)
    p = numpy.exp(scores - largest)
    total = p.sum(axis=-1, keepdims=True)
    return p / total @ v, (largest + numpy.log(total))[..., 0]


def definition_back(g, glogs, q, k, v, causal, scale):
    """The cotangents of q, k and v, in float64."""
    g, glogs, q, k, v = [x.astype("float64") for x in (g, glogs, q, k, v)]
    out, logs = definition(q, k, v, causal, scale)
    scores = q @ k.swapaxes(-1, -2) * scale
    if causal:
        scores[..., numpy.triu(numpy.ones(scores.shape[-2:], bool), 1)] = -numpy.inf
    p = numpy.exp(scores - logs[..., None])
    of_scores = p * (g @ v.swapaxes(-1, -2) - ((g * out).sum(axis=-1) - glogs)[..., None]) * scale
    return of_scores @ k, of_scores.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ g


def drawn(backend, *shapes, seed=0):
    rng = numpy.random.default_rng(seed)
    arrays = [rng.normal(size=shape).astype("float32") for shape in shapes]
    return arrays, [portanet.asarray(x)._raw for x in arrays]


@pytest.mark.parametrize("causal", (False, True))
@pytest.mark.parametrize("width", (32, 64))
@pytest.mark.parametrize("lengths", LENGTHS)
def test_attention_is_as_defined(lengths, width, causal, backend):
    of_q, of_k = (2, 3, lengths[0], width), (2, 3, lengths[1], width)
    arrays, given = drawn(backend, of_q, of_k, of_k)
    found = backend.library.attention(*given, causal=causal, scale=1 / math.sqrt(width))
    for one, wanted in zip(found, definition(*arrays, causal, 1 / math.sqrt(width)), strict=True):
        numpy.testing.assert_allclose(to_numpy(one), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", (False, True))
@pytest.mark.parametrize("width", (32, 64))
@pytest.mark.parametrize("lengths", LENGTHS)
def test_the_way_back_is_as_defined(lengths, width, causal, backend):
    of_q, of_k = (2, 3, lengths[0], width), (2, 3, lengths[1], width)
    arrays, (g, glogs, *given) = drawn(backend, of_q, of_q[:-1], of_q, of_k, of_k)
    how = {"causal": causal, "scale": 1 / math.sqrt(width)}
    out, logs = backend.library.attention(*given, **how)
    wanted = definition_back(*arrays, *how.values())
    for also in (True, False):  # whether something arrives at the logarithms, too
        if not also:
            wanted = definition_back(arrays[0], arrays[1] * 0, *arrays[2:], *how.values())
        found = backend.library.attention_backward([g, glogs if also else None], out, logs, *given, **how)
        for one, exact in zip(found[:3], wanted, strict=True):
            numpy.testing.assert_allclose(to_numpy(one), exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("causal", (False, True))
@pytest.mark.parametrize("heads", (1, 3))
def test_heads_side_by_side_are_attended_to_where_they_lie(heads, causal, backend):
    batch, length, width = 2, 75, 32
    (x,), (given,) = drawn(backend, (batch, length, 3 * heads * width))
    out, logs = backend.library.packed_attention(given, heads=heads, causal=causal, scale=0.2)
    apart = x.reshape(batch, length, 3, heads, width).transpose(2, 0, 3, 1, 4)
    wanted, wanted_logs = definition(*apart, causal, 0.2)
    wanted = wanted.transpose(0, 2, 1, 3).reshape(batch, length, heads * width)
    numpy.testing.assert_allclose(to_numpy(out), wanted, rtol=1e-4, atol=1e-5)
    numpy.testing.assert_allclose(to_numpy(logs), wanted_logs, rtol=1e-4, atol=1e-5)
    (g,), (arrived,) = drawn(backend, out.shape, seed=1)
    found = backend.library.packed_attention_backward(
        [arrived, None], out, logs, given, heads=heads, causal=causal, scale=0.2
    )[0]
    g = g.reshape(batch, length, heads, width).transpose(0, 2, 1, 3)
    parts = definition_back(g, g[..., 0] * 0, *apart, causal, 0.2)
    wanted = numpy.stack(parts).transpose(1, 3, 0, 2, 4).reshape(x.shape)
    numpy.testing.assert_allclose(to_numpy(found), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("number", (numpy.nan, numpy.inf, -numpy.inf))
def test_what_is_no_number_is_seen_where_it_is_and_nowhere_else(number, backend):
    arrays, _ = drawn(backend, (1, 1, 70, 32), (1, 1, 70, 32), (1, 1, 70, 32))
    arrays[1][0, 0, 40, 3] = number
    with numpy.errstate(invalid="ignore"):
        wanted, _ = definition(*arrays, True, 0.3)
        out, _ = backend.library.attention(*[portanet.asarray(x)._raw for x in arrays], causal=True, scale=0.3)
    numpy.testing.assert_allclose(to_numpy(out), wanted, rtol=1e-4, atol=1e-5)
    assert not numpy.isnan(wanted[:, :, :40]).any()


# ---------------------------------------------------------------------------------------------------------------------
# On CuPy: when kernels of its own are taken.


@pytest.fixture
def alone(backend, monkeypatch):
    """Whether attention and its way back run without a product, as a function of arrays."""
    if backend.name != "cupy":
        pytest.skip("this is about CuPy's kernel")
    kernels = importlib.import_module("portanet.kernels.cupy.attention")
    products, real = [], kernels.multiplied
    monkeypatch.setattr(kernels, "multiplied", lambda *args: products.append(args) or real(*args))

    def is_alone(q, k, v, causal=True, **how):
        found, how = [], {"causal": causal, **how}
        out, logs = kernels.attention(q, k, v, **how)
        found.append(not products)
        products.clear()
        kernels.attention_backward([out, None], out, logs, q, k, v, **how)
        found.append(not products)
        products.clear()
        return found

    return is_alone


@pytest.mark.parametrize("width", (16, 32, 64, 128))
def test_which_widths_they_take(width, alone, backend):
    _, given = drawn(backend, *[(2, 3, 40, width)] * 3)
    assert alone(*given) == [width in (32, 64)] * 2


def test_what_they_do_not_take(alone, backend, monkeypatch):
    _, given = drawn(backend, *[(2, 3, 40, 64)] * 3)
    assert alone(*given) == [True, True]
    assert alone(*given, causal=False) == [True, False]  # the scores, computed twice, would be too many
    neither = [False, False]
    assert alone(*[x.astype("float64") for x in given]) == neither
    assert alone(*given, mask=given[0][..., :40] > 0) == neither
    assert alone(*given, keep=given[0][..., :40]) == neither
    _, odd = drawn(backend, *[(2, 3, 40, 65)] * 3)
    assert alone(*[x[..., 1:] for x in odd]) == neither  # rows do not begin at 16 bytes
    monkeypatch.setattr(precision, "_precision", "high")
    assert alone(*given) == neither  # for then matrix units multiply


def test_numbers_are_the_same_every_time(alone, backend):
    _, given = drawn(backend, *[(4, 3, 333, 64)] * 3)

    def both_ways():
        out, logs = backend.library.attention(*given, causal=True)
        back = backend.library.attention_backward([out, logs], out, logs, *given, causal=True)
        return [to_numpy(x) for x in (out, logs, *back[:3])]

    first = both_ways()
    for _ in range(3):
        for one, other in zip(first, both_ways(), strict=True):
            numpy.testing.assert_array_equal(one, other)
