"""Kernels that go through memory once: odd lengths, rows short and long, any layout, half widths, the same bits each time.

Where a library has no kernel of its own its definition runs twice, which costs little; on a GPU all of this counts.
"""

from __future__ import annotations

import functools
import math

import numpy
import pytest

import portanet as pn
from portanet.kernels import generic
from portanet.library import to_numpy
from portanet.nn import functional as F

SHAPES = [(1,), (7,), (8,), (1023,), (4, 5), (33, 16), (3, 1, 64), (2, 3000)]
WIDE = [(5, 1), (3, 2), (40, 10), (6, 33), (2, 3, 64), (3, 1000), (2, 5003), (1030, 40), (1100, 1024), (2, 40000)]
HALF = ("float16", "bfloat16")
TOLERANCE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 3e-6, "float64": 1e-13}
ELEMENTWISE = {
    "relu": (1, {}),
    "relu_backward": (2, {}),
    "sigmoid": (1, {}),
    "sigmoid_backward": (2, {}),
    "silu": (1, {}),
    "silu_backward": (2, {}),
    "softplus": (1, {"beta": 2.0, "threshold": 3.0}),
    "softplus_backward": (2, {"beta": 2.0, "threshold": 3.0}),
    "gelu": (1, {"approximate": "none"}),
    "gelu_backward": (3, {"approximate": "none"}),
}


@pytest.fixture(params=TOLERANCE)
def dtype(request, backend):
    """The name of a floating dtype that the backend has, and NumPy too where it is to be made."""
    name = request.param
    if name in HALF and backend.name != "cupy":
        pytest.skip("only kernels that compute in float are as exact as is asked for here")
    return name


@pytest.fixture(autouse=True)
def _large_ones_are_for_a_gpu(request, backend):
    shape = request.node.callspec.params.get("shape", ())
    if backend.name != "cupy" and math.prod(shape) > 20_000:
        pytest.skip("large: for kernels in blocks on a GPU")


def moved(x, dtype):
    """A NumPy array as a raw array of the current backend and of this dtype."""
    xp = pn.get_backend().library
    return xp.astype(pn.asarray(numpy.asarray(x, "float64")).array, xp.raw_dtype(dtype))


def wide(raw):
    """The elements in float64, in NumPy: bfloat16 is not among its types."""
    xp = pn.get_backend().library
    return to_numpy(xp.astype(raw, xp.raw_dtype("float64")))


def laid_out(x, dtype):
    """The same array in several layouts, and what it is in NumPy."""
    raw = moved(x, dtype)
    xp = pn.get_backend().library
    yield raw
    if x.ndim == 1 and x.shape[0] > 1:
        yield raw[1:]  # from a place that is not aligned
    if x.ndim == 2:
        yield xp.matrix_transpose(raw)
        yield raw[:, ::2]
        yield raw[1:, 1:] if x.shape[1] > 1 else raw[1:, :]
        yield xp.broadcast_to(raw[:1, :], x.shape)


def poisoned(shapes, dtype):
    """Leave nan in memory that is about to be given out for results of these shapes."""
    xp = pn.get_backend().library
    del [[xp.full(shape, math.nan, dtype=xp.raw_dtype(dtype)) for shape in shapes]][:]


def compared(name, given, dtype, **options):
    """A kernel beside its definition in float64; both must agree in what they leave out, and twice give the same bits."""
    xp = pn.get_backend().library
    poisoned([x.shape for x in given if x is not None], dtype)
    first, again = (getattr(xp, name)(*given, **options) for _ in range(2))
    floating = xp.raw_dtype(dtype)
    precise = [
        xp.astype(x, xp.raw_dtype("float64")) if x is not None and xp.isdtype(x.dtype, "real floating") else x
        for x in given
    ]
    wanted = getattr(generic, name)(xp, *precise, **options)
    several = isinstance(wanted, tuple)
    for one, same, known in zip(*[y if several else (y,) for y in (first, again, wanted)], strict=True):
        wider = name == "cross_entropy_of_scores" and dtype in HALF and one is first[1]
        assert (one.dtype, one.shape) == (xp.float32 if wider else floating, known.shape)
        exact = to_numpy(known)
        numpy.testing.assert_array_equal(wide(one), wide(same))
        size = numpy.abs(exact[numpy.isfinite(exact)]).max(initial=1)
        numpy.testing.assert_allclose(wide(one), exact, rtol=20 * TOLERANCE[dtype], atol=2 * TOLERANCE[dtype] * size)
    return first


@pytest.mark.eager
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_element_by_element(name, dtype, backend):
    count, options = ELEMENTWISE[name]
    rng = numpy.random.default_rng(len(name))
    for shape in SHAPES:
        for x in laid_out(rng.normal(0, 2, shape), dtype):
            x = backend.library.relu(x) if name == "relu_backward" else x  # there it is a result
            g = [moved(rng.normal(size=x.shape), dtype)] if count > 1 else []
            y = [backend.library.gelu(x, **options)] if name == "gelu_backward" else []
            compared(name, [*g, *y, x], dtype, **options)
    if count == 2:  # arrays that lie in memory each in its own way
        x = backend.library.sigmoid(moved(rng.normal(0, 2, (6, 6)), dtype))
        g = backend.library.matrix_transpose(moved(rng.normal(size=(6, 6)), dtype))
        compared(name, [g, x], dtype, **options)
        compared(name, [backend.library.broadcast_to(g[0, ...], (6, 6)), x], dtype, **options)


@pytest.mark.eager
@pytest.mark.parametrize("shape", WIDE, ids=str)
def test_softmax_along_rows(shape, dtype, backend):
    rng = numpy.random.default_rng(1)
    for scale in (1, 30):
        for x in laid_out(rng.normal(0, scale, shape), dtype):
            for name in ("softmax", "log_softmax"):
                y = compared(name, [x], dtype, axis=-1)
                compared(f"{name}_backward", [moved(rng.normal(size=x.shape), dtype), y], dtype, axis=-1)


@pytest.mark.eager
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_rows_with_what_is_not_finite(name, backend):
    inf, nan = math.inf, math.nan
    rows = [[1, 2, 3], [-inf, 0, 1], [-inf, -inf, -inf], [inf, 0, 1], [nan, 0, 1], [0, nan, -inf], [-inf, 5, -inf]]
    x = pn.asarray(numpy.asarray(rows, "float32")).array
    with numpy.errstate(invalid="ignore", divide="ignore"):
        wanted = to_numpy(getattr(generic, name)(backend.library, x, axis=-1))
        numpy.testing.assert_allclose(to_numpy(getattr(backend.library, name)(x, axis=-1)), wanted, rtol=1e-6)


@pytest.mark.eager
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shape", [*WIDE, (3000, 7)], ids=str)
def test_cross_entropy_and_its_way_back(shape, reduction, dtype, backend):
    rng = numpy.random.default_rng(2)
    x = moved(rng.normal(0, 2, shape), dtype)
    for kind, ignored in (("int64", -100), ("int32", 0)):
        target = numpy.where(rng.random(shape[:-1]) < 0.2, ignored, rng.integers(0, shape[-1], shape[:-1]))
        target.reshape(-1)[0] = shape[-1] - 1  # one that counts, unless there is one class, and that is ignored
        if shape[-1] == 1 and ignored == 0:
            continue
        t, how = pn.asarray(target.astype(kind)).array, {"ignore_index": ignored, "reduction": reduction}
        g = moved(rng.normal(size=shape[:-1] if reduction == "none" else ()), dtype)
        _, p = compared("softmax_cross_entropy", [x, t], dtype, **how)
        compared("softmax_cross_entropy_backward", [g, p, t], dtype, **how)
        _, logs = compared("cross_entropy_of_scores", [x, t], dtype, **how)
        compared("cross_entropy_of_scores_backward", [g, x, logs, t], dtype, **how)
    compared("pick_class", [x, t], dtype, ignore_index=how["ignore_index"])


@pytest.mark.eager
@pytest.mark.parametrize("row", range(7))
def test_cross_entropy_of_rows_with_what_is_not_finite(row, backend):
    inf, nan = math.inf, math.nan
    rows = [[1, 2, 3], [-inf, 0, 1], [-inf, -inf, -inf], [inf, 0, 1], [nan, 0, 1], [0, nan, -inf], [-inf, 5, -inf]]
    x = pn.asarray(numpy.asarray([[1, 2, 3], rows[row]] * 20, "float32")).array
    t, how = pn.asarray(numpy.ones(40, "int64")).array, {"ignore_index": -100, "reduction": "none"}
    with numpy.errstate(invalid="ignore", divide="ignore"):
        wanted = generic.cross_entropy_of_scores(backend.library, x, t, **how)
        for mine, other in zip(backend.library.cross_entropy_of_scores(x, t, **how), wanted, strict=True):
            numpy.testing.assert_allclose(to_numpy(mine), to_numpy(other), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"reduction": "none"}, {"ignore_index": 2}], ids=str)
def test_cross_entropy_is_one_whatever_it_keeps(options, backend, monkeypatch):
    rng = numpy.random.default_rng(8)
    values, target = rng.normal(0, 3, (5, 4)), pn.asarray(rng.integers(0, 4, 5))
    seen = []
    for of_scores in (True, False):
        monkeypatch.setattr(backend.library, "keeps_scores", lambda on=of_scores: on, raising=False)
        x = pn.tensor(values, dtype=pn.float64, requires_grad=True)
        loss = F.cross_entropy(x * 2, target, **options)
        (gx,) = pn.autograd.grad(pn.sum(loss * loss), x, create_graph=True)
        (ggx,) = pn.autograd.grad(pn.sum(gx * gx), x)
        seen.append([y.detach().numpy() for y in (loss, gx, ggx)])
    for mine, other in zip(*seen, strict=True):
        numpy.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("of_scores", [True, False])
def test_cross_entropy_keeps_one_array_of_the_size_of_the_scores(of_scores, backend, monkeypatch):
    monkeypatch.setattr(backend.library, "keeps_scores", lambda: of_scores, raising=False)
    x = pn.tensor(numpy.zeros((6, 5)), requires_grad=True) * 2
    node = F.cross_entropy(x, pn.asarray(numpy.zeros(6, "int64")))._node.parents[0]
    kept = [one for one in (*node.args[:1], *node.output) if type(one) is type(x.array)]
    assert sorted([one.shape for one in kept]) == ([(), (6,), (6, 5)] if of_scores else [(), (6, 5)])


@pytest.mark.eager
@pytest.mark.parametrize(
    ("shape", "axes"),
    [*[(shape, 1) for shape in [*WIDE, (3,), (5000, 16)]], ((2, 4, 3), 2), ((2, 4, 3), 3), ((2, 2, 3, 2000), 2)],
    ids=str,
)
def test_layer_norm_and_its_way_back(shape, axes, dtype, backend):
    rng = numpy.random.default_rng(3)
    x, g = (moved(rng.normal(0.5, 2, shape), dtype) for _ in range(2))
    weight, bias = (moved(rng.normal(1, 1, shape[len(shape) - axes :]), dtype) for _ in range(2))
    alone = math.prod(shape[len(shape) - axes :]) == 1
    how = {
        "axes": axes,
        "eps": 1.0 if alone else 1e-3,
    }  # of one element 0 is right, and rounding is divided by the root
    for parameters in ([weight, bias], [weight, None], [None, bias], [None, None]):
        compared("layer_norm", [x, *parameters], dtype, **how)
    for w in (weight, None):
        compared("layer_norm_backward", [g, x, w], dtype, **how)


@pytest.mark.eager
@pytest.mark.parametrize("shape", [*WIDE, (5000, 1), (60000, 10), (1, 300), (33, 1000), (20000, 3)], ids=str)
def test_sums_of_columns(shape, dtype, backend):
    # So small that a sum of 60000 times the same is a number of float16.
    for x in laid_out(numpy.random.default_rng(4).normal(0, 0.1, shape), dtype):
        compared("column_sums", [x], dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Dropout whose mask is not kept.


@pytest.fixture
def drawing_anew(backend, monkeypatch):
    """A function that says whether masks are to be drawn anew from here on."""

    def switch(on):
        monkeypatch.setattr(backend.library, "draws_anew", lambda: on, raising=False)

    return switch


@pytest.mark.parametrize("shape", [(), (3, 5), (100,)], ids=str)
def test_a_mask_drawn_anew_is_the_one_that_would_be_kept(shape, backend, drawing_anew):
    values = numpy.random.default_rng(0).normal(size=shape)
    seen = []
    for on in (True, False):
        drawing_anew(on)
        generator = pn.random.Generator(5)
        x = pn.tensor(values, requires_grad=True)
        for _ in range(2):  # and the generator is where it would be
            y = F.dropout(x, 0.3, generator=generator)
        (gx,) = pn.autograd.grad(pn.sum(y * y), x, create_graph=True)
        (ggx,) = pn.autograd.grad(pn.sum(gx * gx), x)
        seen.append([y.detach().numpy(), gx.detach().numpy(), ggx.numpy(), generator.get_state()])
    for mine, other in zip(*seen, strict=True):
        numpy.testing.assert_array_equal(mine, other)
    assert numpy.count_nonzero(seen[0][0] == 0) > 0 or values.size < 100


def test_a_mask_for_whole_channels_is_kept(backend, drawing_anew):
    drawing_anew(True)
    y = F.dropout1d(pn.ones((50, 2, 3))).numpy()
    assert set(y.sum(axis=-1).reshape(-1)) == {0.0, 6.0}


@pytest.mark.eager
def test_dropout_in_any_layout(dtype, backend):
    how = {"threshold": 3 * 2**30, "scale": 1.25, "key": (2**64 - 1, 3), "counter": 2**128 - 1}
    for shape in SHAPES:
        for x in laid_out(numpy.random.default_rng(6).normal(size=shape), dtype):
            compared("dropout", [x], dtype, **how)


def test_numbers_from_any_place_of_a_stream(backend):
    """Counts that end within a block, and a counter whose lower words are full."""
    for count in (0, 1, 7, 8, 9, 1001):
        where = {"key": (2**64 - 1, 3), "counter": 2**128 + 2**64 - 1 - 2**20, "device": backend.device}
        for name, options, tolerance in (
            ("random_uniform", {"dtype": "float32"}, 0),
            ("random_uniform", {"dtype": "float64"}, 0),
            ("random_normal", {"dtype": "float32"}, 2e-6),
            ("random_normal", {"dtype": "float64"}, 1e-13),
            ("random_bernoulli", {"threshold": 2**31 + 1}, 0),
        ):
            options = {key: backend.library.raw_dtype(one) if key == "dtype" else one for key, one in options.items()}
            mine = to_numpy(getattr(backend.library, name)(count, **options, **where))
            other = to_numpy(functools.partial(getattr(generic, name), backend.library)(count, **options, **where))
            numpy.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
