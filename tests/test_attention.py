"""Attention: the kernels beside their definitions, and when CuPy takes kernels of its own."""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from typing import Any

import numpy
import pytest
from threadpoolctl import threadpool_limits

import portanet as pn
from portanet import precision
from portanet.library import to_numpy
from portanet.nn import functional as F
from tests.twins import REAL, Definitions, raw, rng_of, twins


def test_attention_in_threads_is_the_same_bit_by_bit(monkeypatch):
    module = sys.modules["portanet.kernels.numpy.attention"]
    q, k, v, g = rng_of("threads").normal(size=(4, 6, 2, 9, 4)).astype("float32")

    def found() -> list[Any]:
        with pn.use_backend("numpy"):
            given = [pn.asarray(x).requires_grad_() for x in (q, k, v)]
            y = pn.nn.functional.scaled_dot_product_attention(*given, is_causal=True)
            y.backward(pn.asarray(g))
            return [y.detach().numpy(), *[x.grad.numpy() for x in given]]

    alone = found()
    monkeypatch.setattr(module, "_PORTION", 100)
    ran: list[int] = []
    run = module.threads.run
    monkeypatch.setattr(module.threads, "run", lambda tasks: (ran.append(len(tasks)), run(tasks)))
    with threadpool_limits(2, user_api="blas"):
        for one, other in zip(found(), alone, strict=True):
            numpy.testing.assert_array_equal(one, other)
    assert ran == [6, 6]


LEADS = [(), (3,), (2, 3), (2, 1, 3)]
LENGTHS = [(5, 7), (7, 5), (6, 6), (1, 4)]
MASKS = ["none", "truth", "numbers", "hidden", "padding"]


def masked(kind: str, lead: tuple[int, ...], length: int, keys: int, rng: Any, dtype: str) -> Any:
    sees = rng.random((length, keys)) < 0.6
    return {
        "none": None,
        "truth": sees,
        "numbers": rng.normal(size=(*lead, length, keys)).astype(dtype),
        "hidden": numpy.where(sees, 0.0, -numpy.inf).astype(dtype),
        "padding": rng.random((*lead[:1], *(1,) * len(lead[1:]), 1, keys)) < 0.6,
    }[kind]


@pytest.mark.eager
@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", MASKS)
def test_attention_kernels_are_their_definitions(kind, causal, dtype, backend, monkeypatch):
    module = sys.modules["portanet.kernels.numpy.attention"]
    monkeypatch.setattr(module, "_QUERIES", 3)
    monkeypatch.setattr(module, "_CACHED", 64)
    rng = rng_of(kind, causal)
    for lead, (length, keys), dropped in itertools.product(LEADS, LENGTHS, (False, True)):
        q, k, v = [rng.normal(size=(*lead, *s)).astype(dtype) for s in ((length, 4), (keys, 4), (keys, 3))]
        mask = masked(kind, lead, length, keys, rng, dtype)
        keep = (2.0 * (rng.random((*lead, length, keys)) < 0.5)).astype(dtype) if dropped else None
        how = {"causal": causal, "scale": 0.3, "through": kind == "numbers"}
        out, logs = twins(backend, "attention", (q, k, v, mask, keep), dtype, **how)
        assert numpy.isfinite(out).all()
        g = [rng.normal(size=out.shape).astype(dtype), rng.normal(size=logs.shape).astype(dtype)]
        for arrived in ([g[0], None], [None, g[1]], g):
            twins(backend, "attention_backward", (arrived, out, logs, q, k, v, mask, keep), dtype, **how)
        if len(lead) == 2 and length == keys:
            packed_twins(backend, lead[0], length, mask, keep, how, rng, dtype)


def packed_twins(backend: Any, batch: int, length: int, mask: Any, keep: Any, how: Any, rng: Any, dtype: str) -> None:
    x = rng.normal(size=(batch, length, 3 * 3 * 2)).astype(dtype)
    out, logs = twins(backend, "packed_attention", (x, mask, keep), dtype, heads=3, **how)
    g = [rng.normal(size=one.shape).astype(dtype) for one in (out, logs)]
    for arrived in ([g[0], None], g):
        twins(backend, "packed_attention_backward", (arrived, out, logs, x, mask, keep), dtype, heads=3, **how)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("size", [1.0, 40.0, 1e4])
def test_attention_to_large_scores_neither_overflows_nor_vanishes(size, causal, backend):
    rng = rng_of(size)
    for sign in (1.0, -1.0):
        q, k, v = [rng.normal(size=(1, 2, 5, 4)) for _ in range(3)]
        q, k = numpy.abs(q) * size, sign * numpy.abs(k)
        out, logs = twins(backend, "attention", (q, k, v), "float64", causal=causal)
        assert numpy.isfinite(out).all()
        g = [rng.normal(size=out.shape), None]
        back = raw((g, out, logs, q, k, v))
        for kernels in (backend.library, Definitions(backend.library)):
            for one in kernels.attention_backward(*back, causal=causal)[:3]:
                assert numpy.isfinite(to_numpy(one)).all()


def test_a_query_without_keys_attends_to_nothing(backend):
    q, k, v = [rng_of(i).normal(size=s) for i, s in enumerate(((2, 3), (4, 3), (4, 3)))]
    sees = numpy.asarray([[False] * 4, [True, False, False, True]])
    x = [pn.asarray(one).requires_grad_() for one in (q, k, v)]
    y = F.scaled_dot_product_attention(*x, attn_mask=pn.asarray(sees))
    assert y.tolist()[0] == [0.0, 0.0, 0.0]
    pn.sum(y * y).backward()
    for one in x:
        assert numpy.isfinite(one.grad.numpy()).all()
    assert x[0].grad.tolist()[0] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("length", "keys"), [(0, 3), (3, 0)])
def test_attention_of_nothing_and_to_nothing(length, keys):
    with pn.use_backend("numpy") as backend:
        q, k, v = numpy.ones((2, length, 4)), numpy.ones((2, keys, 4)), numpy.ones((2, keys, 3))
        out, logs = backend.library.attention(q, k, v)
        assert out.shape == (2, length, 3)
        assert (out == 0).all()
        for one, like in zip(
            backend.library.attention_backward([out, None], out, logs, q, k, v), (q, k, v), strict=False
        ):
            assert one.shape == like.shape
            assert (one == 0).all()


# ---------------------------------------------------------------------------------------------------------------------
# Heads of 32 and 64 numbers, by lengths that no block divides: for these CuPy has kernels of its own.

LONG = ((1, 1), (5, 33), (64, 64), (70, 31), (97, 130), (200, 200))


def drawn(*shapes: tuple[int, ...], seed: int = 0) -> list[Any]:
    rng = numpy.random.default_rng(seed)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


@pytest.mark.parametrize("causal", (False, True))
@pytest.mark.parametrize("width", (32, 64))
@pytest.mark.parametrize("lengths", LONG)
def test_attention_of_wide_heads_is_as_defined(lengths, width, causal, backend):
    of_q, of_k = [(2, 3, length, width) for length in lengths]
    how = {"causal": causal, "scale": 1 / math.sqrt(width)}
    g, glogs, *given = drawn(of_q, of_q[:-1], of_q, of_k, of_k)
    out, logs = twins(backend, "attention", given, "float32", **how)
    for arrived in ([g, glogs], [g, None]):
        twins(backend, "attention_backward", (arrived, out, logs, *given), "float32", **how)


@pytest.mark.parametrize("causal", (False, True))
@pytest.mark.parametrize("heads", (1, 3))
def test_wide_heads_side_by_side_are_attended_to_where_they_lie(heads, causal, backend):
    how = {"heads": heads, "causal": causal, "scale": 0.2}
    x, g = drawn((2, 75, 3 * heads * 32), (2, 75, heads * 32))
    out, logs = twins(backend, "packed_attention", (x,), "float32", **how)
    twins(backend, "packed_attention_backward", ([g, None], out, logs, x), "float32", **how)


@pytest.mark.parametrize("number", (numpy.nan, numpy.inf, -numpy.inf))
def test_what_is_no_number_is_seen_where_it_is_and_nowhere_else(number, backend):
    q, k, v = drawn(*[(1, 1, 70, 32)] * 3)
    k[0, 0, 40, 3] = number
    with numpy.errstate(invalid="ignore"):
        found, wanted = [
            to_numpy(kernels.attention(*raw((q, k, v)), causal=True, scale=0.3)[0])
            for kernels in (backend.library, Definitions(backend.library))
        ]
    numpy.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert not numpy.isnan(wanted[:, :, :40]).any()


@pytest.fixture
def alone(backend, monkeypatch):
    """Whether attention and its way back run without a product, as a function of arrays."""
    if backend.name != "cupy":
        pytest.skip("this is about CuPy's kernels")
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
def test_which_widths_kernels_of_its_own_take(width, alone):
    assert alone(*raw(drawn(*[(2, 3, 40, width)] * 3))) == [width in (32, 64)] * 2


def test_what_kernels_of_its_own_do_not_take(alone, monkeypatch):
    given = raw(drawn(*[(2, 3, 40, 64)] * 3))
    assert alone(*given) == [True, True]
    assert alone(*given, causal=False) == [True, False]  # the scores, computed twice, would be too many
    neither = [False, False]
    assert alone(*[x.astype("float64") for x in given]) == neither
    assert alone(*given, mask=given[0][..., :40] > 0) == neither
    assert alone(*given, keep=given[0][..., :40]) == neither
    assert alone(*[x[..., 1:] for x in raw(drawn(*[(2, 3, 40, 65)] * 3))]) == neither  # rows do not begin at 16 bytes
    monkeypatch.setattr(precision, "_precision", "high")
    assert alone(*given) == neither  # for then matrix units multiply


def test_numbers_are_the_same_every_time(alone, backend):
    given = raw(drawn(*[(4, 3, 333, 64)] * 3))

    def both_ways():
        out, logs = backend.library.attention(*given, causal=True)
        back = backend.library.attention_backward([out, logs], out, logs, *given, causal=True)
        return [to_numpy(x) for x in (out, logs, *back[:3])]

    first = both_ways()
    for _ in range(3):
        for one, other in zip(first, both_ways(), strict=True):
            numpy.testing.assert_array_equal(one, other)
