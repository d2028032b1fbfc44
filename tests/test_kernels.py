"""Kernels beside their definitions: a library's own version, the generic one, and a plain NumPy formula all agree."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import linalg, namespace, optim
from portanet.kernels import generic
from portanet.library import to_numpy
from tests import formulas

KERNELS = Path(generic.__file__).parents[1]
TESTS = Path(__file__).parent
FILES = sorted(
    file for file in KERNELS.rglob("*.py") if not file.name.startswith("_") and file.parent != KERNELS / "generic"
)
REAL = ("float32", "float64")


# ---------------------------------------------------------------------------------------------------------------------
# Where they are compared.


@dataclass(frozen=True)
class Case:
    """A call of a kernel: its arguments are made of shapes and dtypes, whole numbers where sums are to be exact."""

    name: str
    make: Callable[[numpy.random.Generator, str], tuple[Any, ...]]
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    needs: str = ""
    beyond: bool = False  # indexing that the standard leaves open: a library may refuse it

    def __str__(self) -> str:
        return self.name + (f"-{self.note}" if self.note else "")


def whole(*shapes: tuple[int, ...]) -> Callable[[numpy.random.Generator, str], tuple[Any, ...]]:
    return lambda rng, dtype: tuple([rng.integers(-9, 10, shape).astype(dtype) for shape in shapes])


def smooth(*shapes: tuple[int, ...], scale: float = 3.0) -> Callable[[numpy.random.Generator, str], tuple[Any, ...]]:
    return lambda rng, dtype: tuple([numpy.asarray(rng.normal(0, scale, shape), dtype=dtype) for shape in shapes])


def scattered(shape: tuple[int, ...], indices: Any, kind: str = "int64") -> Callable[..., tuple[Any, ...]]:
    places = numpy.asarray(indices, dtype=kind)
    rows = whole(shape, (*places.shape, *shape[1:]))
    return lambda rng, dtype: (lambda x, updates: (x, places, updates))(*rows(rng, dtype))


def along(shape: tuple[int, ...], axis: int, count: int) -> Callable[..., tuple[Any, ...]]:
    taken = tuple([count if i == axis % len(shape) else n for i, n in enumerate(shape)])

    def make(rng: numpy.random.Generator, dtype: str) -> tuple[Any, ...]:
        x, updates = whole(shape, taken)(rng, dtype)
        n = shape[axis]
        return x, rng.integers(-n if n else 0, n or 1, taken), updates

    return make


def classified(shape: tuple[int, ...], ignored: int, kind: str = "int64") -> Callable[..., tuple[Any, ...]]:
    def make(rng: numpy.random.Generator, dtype: str) -> tuple[Any, ...]:
        target = numpy.asarray(rng.integers(0, shape[-1], shape[:-1]), dtype=kind)
        return smooth(shape)(rng, dtype)[0], numpy.where(rng.random(shape[:-1]) < 0.3, ignored, target).astype(kind)

    return make


def with_cotangent(shape: tuple[int, ...], ignored: int, each: bool) -> Callable[..., tuple[Any, ...]]:
    def make(rng: numpy.random.Generator, dtype: str) -> tuple[Any, ...]:
        x, target = classified(shape, ignored)(rng, dtype)
        p = numpy.asarray(formulas.softmax(x, axis=-1), dtype=dtype)
        return *smooth(shape[:-1] if each else ())(rng, dtype), p, target

    return make


def with_scores(shape: tuple[int, ...], ignored: int, each: bool) -> Callable[..., tuple[Any, ...]]:
    def make(rng: numpy.random.Generator, dtype: str) -> tuple[Any, ...]:
        x, target = classified(shape, ignored)(rng, dtype)
        logs = numpy.asarray(numpy.log(numpy.exp(x).sum(axis=-1)), dtype=dtype)
        return *smooth(shape[:-1] if each else ())(rng, dtype), x, logs, target

    return make


def probabilities(*shape: int) -> Callable[..., tuple[Any, ...]]:
    def make(rng: numpy.random.Generator, dtype: str) -> tuple[Any, ...]:
        p = numpy.asarray(rng.uniform(0.01, 0.99, shape), dtype=dtype)
        p.reshape(-1)[:2] = 0, 1
        return p, numpy.asarray(rng.integers(0, 2, shape), dtype=dtype)

    return make


def back_through(formula: Any, shape: tuple[int, ...], axis: int) -> Callable[..., tuple[Any, ...]]:
    def make(rng: numpy.random.Generator, dtype: str) -> tuple[Any, ...]:
        g, x = smooth(shape, shape)(rng, dtype)
        return g, numpy.asarray(formula(x, axis=axis), dtype=dtype) if x.size else x

    return make


def rows(shape: tuple[int, int], count: tuple[int, ...], kind: str) -> Callable[..., tuple[Any, ...]]:
    return lambda rng, dtype: (*smooth(shape)(rng, dtype), numpy.asarray(rng.integers(0, shape[0], count), dtype=kind))


SLICES = (slice(None, None, 2), slice(1, 4))
PAIRS = (numpy.asarray([0, 2, 2, -1, 2]), numpy.asarray([1, 3, 3, 0, -1]))
GRID = (numpy.asarray([[0], [2]]), numpy.asarray([[3, 3, 1]]))
MASK = numpy.arange(20).reshape(4, 5) % 3 == 0

SCATTERED = [
    Case("scatter_add", scattered((6, 3), [4, 0, 4, 4, 5, 0]), note="repeated"),
    Case("scatter_add", scattered((6, 3), [4, 0, 4, 4, 5, 0], "int32"), note="int32"),
    Case("scatter_add", scattered((4, 2), [3] * 9), note="all equal"),
    Case("scatter_add", scattered((4, 2), []), note="no index"),
    Case("scatter_add", scattered((0, 2), []), note="no row"),
    Case("scatter_add", scattered((4, 0), [1, 1]), note="empty rows"),
    Case("scatter_add", scattered((5,), [2, 2, 0]), note="numbers"),
    Case("scatter_add", scattered((5, 2, 3), [1, 4, 1]), note="matrices"),
    Case("scatter_add", scattered((1, 3), [0]), note="one"),
]

KEYED = [
    Case(name, whole((4, 5), shape), {"key": key}, note, needs, beyond)
    for name in ("set_at", "add_at")
    for note, key, shape, needs, beyond in (
        ("slices", SLICES, (2, 3), "", False),
        ("slices broadcast", SLICES, (3,), "", False),
        ("slices, number", SLICES, (), "", False),
        ("empty slice", (slice(2, 2), slice(None)), (0, 5), "", False),
        ("whole numbers", (1, -2), (), "", False),
        ("number and ellipsis", (-1, ...), (5,), "", False),
        ("ellipsis", (...,), (4, 5), "", False),
        ("number alone in front", (2, slice(None)), (5,), "", False),
        ("new axes", (None, slice(1, 3), None, 0), (1, 2, 1), "", False),
        ("mask", MASK, (), "boolean_indexing", False),
    )
] + [
    Case("add_at", whole((4, 5), (5,)), {"key": PAIRS}, "pairs repeated"),
    Case("add_at", whole((4, 5), ()), {"key": PAIRS}, "pairs, one number"),
    Case("add_at", whole((4, 5), (2, 3)), {"key": GRID}, "grid repeated"),
    Case("add_at", whole((4, 5), (3,)), {"key": (numpy.asarray([1, 1, 0]), 2)}, "array and number"),
    Case("add_at", whole((4, 5), (3, 5)), {"key": numpy.asarray([1, 1, 0])}, "array alone", "", True),
    Case("add_at", whole((4, 5), (3, 2)), {"key": (numpy.asarray([1, 1, 0]), slice(0, 2))}, "array, slice", "", True),
    Case("set_at", whole((4, 5), (2, 2)), {"key": (numpy.asarray([[0], [3]]), PAIRS[1][:2])}, "pairs", "", True),
    Case("set_at", whole((4, 5), (2, 5)), {"key": numpy.asarray([3, 0])}, "array alone", "", True),
]

ALONG = [
    Case("add_along_axis", along((3, 4), 0, 5), {"axis": 0}, "first"),
    Case("add_along_axis", along((3, 4), 1, 2), {"axis": -1}, "last"),
    Case("add_along_axis", along((2, 3, 2), 1, 4), {"axis": 1}, "middle"),
    Case("add_along_axis", along((4,), 0, 7), {"axis": 0}, "vector"),
    Case("add_along_axis", along((3, 4), 0, 0), {"axis": 0}, "no index"),
]

LAYERS = [
    Case("linear", smooth((6, 3), (4, 3), (4,)), note="bias"),
    Case("linear", smooth((6, 3), (4, 3)), note="no bias"),
    Case("linear", smooth((3,), (4, 3), (4,)), note="one example"),
    Case("linear", smooth((2, 5, 3), (4, 3), (4,)), note="two batch axes"),
    Case("linear", smooth((0, 3), (4, 3), (4,)), note="empty batch"),
    Case("linear", smooth((5, 0), (4, 0), (4,)), note="no feature"),
    Case("linear", smooth((5, 3), (0, 3), (0,)), note="no unit"),
    *[
        Case("linear_backward", smooth(shape[:-1] + (4,), shape, (4, shape[-1])), {"wanted": wanted}, note=str(shape))
        for shape in ((6, 3), (3,), (2, 5, 3), (0, 3), (5, 0))
        for wanted in ((True, True, True), (False, True, True), (True, False), (False, False, True))
    ],
    *[Case("column_sums", smooth(shape), note=str(shape)) for shape in ((5, 3), (3,), (2, 4, 3), (0, 3), (5, 0))],
    Case("matmul", smooth((4, 3), (3, 5))),
    Case("matmul", smooth((3,), (2, 3, 5)), note="a vector before"),
    Case("matmul", smooth((2, 4, 3), (3,)), note="a vector behind"),
    Case("matmul", smooth((3,), (3,)), note="two vectors"),
    Case("matmul", smooth((2, 4, 3), (3, 5)), note="batch"),
    Case("matmul", smooth((2, 1, 4, 3), (3, 3, 5)), note="batches broadcast"),
    Case("matmul", smooth((4, 0), (0, 5)), note="empty"),
    Case("standardized", smooth((4, 5)), {"axis": (1,), "eps": 1e-5}, "rows"),
    Case("standardized", smooth((4, 3, 2)), {"axis": (0, 2), "eps": 1e-3}, "two axes"),
    Case("rows_at", rows((5, 3), (2, 4), "int64")),
    Case("rows_at", rows((5, 3), (), "int32"), {"padding_idx": 1}, "one"),
    Case("rows_at", rows((5, 3), (0,), "int64"), note="none"),
    Case("horner", smooth((3, 4), (5,), scale=1.0)),
    Case("horner", smooth((3, 4), (1,)), note="constant"),
    Case("horner", smooth((), (2,)), note="line at a point"),
]  # fmt: skip

STANDARD = [
    *[Case(name, smooth((2, 3, 4))) for name in ("matrix_transpose", "ones_like", "zeros_like")],
    *[
        Case(name, smooth((2, 3, 4)), options, f"{options}")
        for name in ("sum", "max", "min")
        for options in ({}, {"axis": 1}, {"axis": (0, -1)}, {"axis": -1, "keepdims": True})
    ],
    Case("clip", smooth((2, 3, 4)), {"min": -0.5, "max": 1}, "numbers"),
    Case("clip", smooth((2, 3, 4)), {"max": 0.25}, "from above"),
    Case("clip", smooth((2, 3, 4), (3, 1)), note="an array, from below"),
    Case("clip", whole((3, 4)), {"min": -3, "max": 4}, "whole numbers"),
]

ACTIVATIONS = [
    Case("relu", smooth((4, 5))),
    Case("relu_backward", lambda rng, t: (lambda g, x: (g, numpy.maximum(x, 0)))(*smooth((4, 5), (4, 5))(rng, t))),
    *[
        Case(name, smooth(shape, scale=scale), {"axis": axis}, f"{shape}, axis {axis}, scale {scale:g}")
        for name in ("softmax", "log_softmax")
        for shape, axis, scale in (
            ((5, 4), -1, 3.0),
            ((5, 4), 0, 100.0),  # exp of these overflows
            ((2, 3, 4), 1, 3.0),
            ((2, 3, 4), (0, 2), 100.0),
            ((2, 3), None, 3.0),
            ((3, 1), -1, 3.0),
            ((0, 4), -1, 3.0),
        )
    ],
    Case("sigmoid", smooth((4, 5), scale=10.0)),
    Case("silu", smooth((4, 5), scale=10.0)),
    Case("softplus", smooth((4, 5)), {"beta": 1.0, "threshold": 20.0}),
    Case("softplus", smooth((4, 5)), {"beta": 2.0, "threshold": 1.0}, "straight beyond 1"),
    *[
        Case(f"{name}_backward", back_through(formula, shape, axis), {"axis": axis}, f"{shape}, axis {axis}")
        for name, formula in (("softmax", formulas.softmax), ("log_softmax", formulas.log_softmax))
        for shape, axis in (((5, 4), -1), ((5, 4), 0), ((2, 3, 4), 1), ((3, 1), -1), ((0, 4), -1), ((2, 3), 1))
    ],
    Case(
        "sigmoid_backward",
        lambda rng, t: (lambda g, x: (g, formulas.sigmoid(x).astype(t)))(*smooth((4, 5), (4, 5))(rng, t)),
    ),
    Case("silu_backward", smooth((4, 5), (4, 5))),
    Case("softplus_backward", smooth((4, 5), (4, 5)), {"beta": 2.0, "threshold": 1.0}),
    *[Case("gelu", smooth((4, 5)), {"approximate": how}, how) for how in ("none", "tanh")],
    *[
        Case(
            "dropout", smooth(shape), {"threshold": threshold, "scale": 1.25, "key": (7, 2**63), "counter": 2**33}, note
        )
        for shape, threshold, note in (
            ((4, 5), 2**31, "half"),
            ((), 2**32, "all kept"),
            ((9,), 0, "none kept"),
            ((0, 3), 2**31, "of nothing"),
            ((3, 5, 7), 3 * 2**30, "some"),
        )
    ],
]

LOSSES = [
    Case("pick_class", classified((6, 4), -100), {"ignore_index": -100}),
    Case("pick_class", classified((2, 3, 4), 2, "int32"), {"ignore_index": 2}, "map"),
    Case("pick_class", classified((4,), -1), {"ignore_index": -1}, "one example"),
    *[
        Case(name, classified(shape, ignored, kind), options | {"reduction": reduction}, note)
        for name in ("softmax_cross_entropy", "cross_entropy_of_scores")
        for reduction in ("none", "sum", "mean")
        for shape, ignored, kind, options, note in (
            ((6, 4), -100, "int64", {"ignore_index": -100}, f"{reduction}, some ignored"),
            ((2, 3, 4), 0, "int32", {"ignore_index": 0}, f"{reduction}, map, a class ignored"),
            ((2, 3, 4), 2, "int32", {"ignore_index": -1}, f"{reduction}, map, none ignored"),
            ((6, 4), 1, "uint8", {"ignore_index": 255}, f"{reduction}, none ignored"),
            ((6, 40), 1, "int64", {"ignore_index": -100}, f"{reduction}, many classes"),
            ((2, 3, 40), 1, "int64", {"ignore_index": -100}, f"{reduction}, map, many classes"),
        )
    ],
    *[
        Case(f"{name}_backward", arguments(shape, ignored, each), options, note)
        for name, arguments in (("softmax_cross_entropy", with_cotangent), ("cross_entropy_of_scores", with_scores))
        for shape, ignored, each, options, note in (
            ((6, 4), -100, True, {"ignore_index": -100, "reduction": "none"}, "none"),
            ((2, 3, 4), 1, True, {"ignore_index": -1, "reduction": "none"}, "none, map, none ignored"),
            ((6, 4), -100, False, {"ignore_index": -100, "reduction": "sum"}, "sum"),
            ((6, 4), 3, False, {"ignore_index": 3, "reduction": "mean"}, "mean, a class ignored"),
            ((2, 3, 4), 1, False, {"ignore_index": -100, "reduction": "mean"}, "mean, map, none ignored"),
        )
    ],
    Case("sigmoid_cross_entropy", lambda rng, t: (*smooth((4, 5))(rng, t), *probabilities(4, 5)(rng, t)[:1])),
    Case("binary_cross_entropy", probabilities(4, 5)),
]

CASES = [*SCATTERED, *KEYED, *ALONG, *LAYERS, *STANDARD, *ACTIVATIONS, *LOSSES]


def marked(case: Case) -> object:
    return pytest.param(case, marks=pytest.mark.needs(case.needs) if case.needs else (), id=str(case))


def carried(x: Any) -> Any:
    """NumPy arrays, in keys too, to raw arrays of the current backend."""
    if isinstance(x, tuple):
        return tuple([carried(one) for one in x])
    return pn.asarray(x).array if isinstance(x, numpy.ndarray) else x


def close(y: Any, wanted: Any, dtype: str) -> None:
    if isinstance(wanted, tuple):
        for one, other in zip(y, wanted, strict=True):
            assert (one is None) == (other is None)
            if other is not None:
                close(one, other, dtype)
        return
    assert to_numpy(y).dtype == dtype
    assert tuple(y.shape) == wanted.shape
    tolerance = 2e-6 if dtype == "float32" else 1e-14
    # What is added up in another order may differ by the last digits of the largest term.
    numpy.testing.assert_allclose(to_numpy(y), wanted, rtol=20 * tolerance, atol=tolerance * largest(wanted))


def largest(x: Any) -> float:
    return float(numpy.abs(x).max(initial=1.0))


def of_generic(backend: Any, name: str) -> Callable[..., Any]:
    return functools.partial(getattr(generic, name), backend.library)


def left_out(backend: Any, name: str, dtype: str) -> bool:
    """Whether the generic twin is not run: on JAX it cannot write into a copy, and compiles for long."""
    return backend.name == "jax" and (name in ("set_at", "add_at") or dtype == "float32")


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_a_kernel_its_generic_twin_and_the_formula_agree(case, dtype, backend):
    args = case.make(numpy.random.default_rng(len(str(case))), dtype)
    wanted = getattr(formulas, case.name)(*args, **case.options)
    before = [x.copy() for x in args]
    given = carried(args)
    options = {name: carried(value) for name, value in case.options.items()}
    own = getattr(backend.library, case.name)
    try:
        y = own(*given, **options)
    except IndexError:
        if case.beyond and backend.name == "array_api_strict":
            pytest.skip("the standard leaves open what such a key does, and array-api-strict refuses it")
        raise
    close(y, wanted, dtype)
    if hasattr(generic, case.name) and not left_out(backend, case.name, dtype):
        close(of_generic(backend, case.name)(*given, **options), wanted, dtype)
    for x, after in zip(before, given, strict=True):
        numpy.testing.assert_array_equal(to_numpy(after), x)  # nothing that came in was written to


def test_sums_at_repeated_indices_are_exact(backend):
    """Whole numbers in float32: no order of adding may lose a unit."""
    rng = numpy.random.default_rng(8)
    x, updates = rng.integers(-1000, 1000, (9, 2)), rng.integers(-1000, 1000, (20, 2))
    places = rng.integers(0, 5, 20)
    wanted = formulas.scatter_add(x, places, updates)
    given = carried((x.astype("float32"), places, updates.astype("float32")))
    for kernel in (backend.library.scatter_add, of_generic(backend, "scatter_add")):
        numpy.testing.assert_array_equal(to_numpy(kernel(*given)), wanted)


@pytest.mark.parametrize("dtype", REAL)
def test_matrices_that_were_broadcast_are_multiplied(dtype, backend):
    """Elements that share one place in memory, such as the cotangents of a sum."""
    xp = backend.library
    x1, x2 = smooth((1, 3), (3, 2))(numpy.random.default_rng(3), dtype)
    (raw1, raw2), one = carried((x1, x2)), carried(numpy.asarray(2.0, dtype=dtype))
    close(xp.matmul(xp.broadcast_to(raw1, (4, 3)), raw2), formulas.matmul(numpy.repeat(x1, 4, axis=0), x2), dtype)
    close(xp.matmul(xp.broadcast_to(one, (5, 3)), raw2), formulas.matmul(numpy.full((5, 3), 2.0), x2), dtype)
    close(xp.matmul(raw1, xp.broadcast_to(one, (3, 2))), formulas.matmul(x1, numpy.full((3, 2), 2.0)), dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Kernels that look at arrays without computing.

INSIDE = [numpy.asarray([0.0, 0.5, 1.0]), numpy.asarray(0.25), numpy.zeros((0,)), numpy.ones((2, 0))]
OUTSIDE = [
    numpy.asarray([0.0, -0.1]),
    numpy.asarray([[1.5]]),
    numpy.asarray(numpy.nan),
    numpy.asarray([0.5, numpy.nan]),
]
LOOKING = ("numpy", "torch", "jax")  # whose memory is the host's here


@pytest.mark.parametrize("dtype", REAL)
def test_what_is_known_to_lie_outside(dtype, backend):
    looks = backend.library.known_outside
    for values in INSIDE:
        assert looks(carried(values.astype(dtype)), 0, 1) is False
    for values in OUTSIDE:
        assert looks(carried(values.astype(dtype)), 0, 1) is (backend.name in LOOKING)
    assert looks(carried(numpy.asarray([0, 4])), 0, 3) is (backend.name in LOOKING)


def test_nothing_is_known_while_jax_traces():
    jax = pytest.importorskip("jax")
    with pn.use_backend("jax") as backend:
        seen = []

        def traced(x):
            seen.append((backend.library.known_outside(x, 0, 1), backend.library.device_of(x)))
            return x

        jax.jit(traced)(pn.asarray([7.0]).array)
    assert seen == [(False, None)]


def test_nothing_is_known_of_torchs_tensors_without_elements():
    torch = pytest.importorskip("torch")
    with pn.use_backend("torch") as backend:
        assert backend.library.known_outside(torch.full((2,), 7.0, device="meta"), 0, 1) is False


@pytest.mark.parametrize("dtype", ("float32", "float64", "complex64", "complex128", "int32", "uint8", "bool"))
def test_the_way_to_the_host(dtype, backend):
    xp = backend.library
    x = numpy.asarray([[1, 0, 2], [3, 1, 0]]).astype(dtype)
    raw = carried(x)
    for view, wanted in (
        (raw, x),
        (xp.permute_dims(raw, (1, 0)), x.T),
        (raw[:, ::2], x[:, ::2]),
        (raw[0, 0, ...], x[0, 0]),
        (raw[:0, :], x[:0]),
        (xp.broadcast_to(raw[0, ...], (2, 3)), numpy.broadcast_to(x[0], (2, 3))),
    ):
        for kernel in (xp.to_host, of_generic(backend, "to_host")):
            y = numpy.asarray(kernel(view))
            assert y.dtype == wanted.dtype
            numpy.testing.assert_array_equal(y, wanted)


def test_conjugates_come_to_the_host(backend):
    """PyTorch conjugates and negates lazily: a view that NumPy cannot read as it is."""
    xp = backend.library
    z = numpy.asarray([1 + 2j, -3j])
    conjugate = xp.conj(carried(z))
    numpy.testing.assert_array_equal(numpy.asarray(xp.to_host(conjugate)), z.conj())
    numpy.testing.assert_array_equal(numpy.asarray(xp.to_host(xp.imag(conjugate))), z.conj().imag)


def test_bfloat16_is_found_where_a_library_has_no_name_for_it(backend):
    assert of_generic(backend, "bfloat16_dtype")() is None
    if backend.name == "cupy":
        pytest.importorskip("ml_dtypes")
        assert backend.library.raw_dtype("bfloat16") == "bfloat16"
        assert pn.ones(2, dtype="bfloat16").dtype is pn.bfloat16


def test_the_device_of_an_array_is_one_that_arrays_can_be_made_on(backend):
    xp = backend.library
    raw = pn.zeros((2, 3)).array
    for kernel in (xp.device_of, of_generic(backend, "device_of")):
        twin = xp.zeros((4,), device=kernel(raw))
        assert xp.device_of(twin) == xp.device_of(raw)


def test_memory_is_an_arrays_own_where_that_is_known(backend):
    raw = pn.zeros((2, 3)).array
    assert of_generic(backend, "owns_memory")(raw) is False
    assert backend.library.owns_memory(raw) is (backend.name in ("cupy", "numpy", "torch"))
    if backend.name in ("cupy", "numpy"):
        assert not backend.library.owns_memory(raw.T)


def test_what_a_library_has_to_run_a_step_faster(backend):
    xp = backend.library
    assert xp.is_replayed() is (backend.name == "numpy")
    assert callable(xp.tracer()) is (backend.name in ("jax", "torch"))
    assert callable(xp.capturer()) is (backend.name == "cupy")
    assert float(xp.traced_number(2.5)) == 2.5
    assert (of_generic(backend, "is_replayed")(), of_generic(backend, "tracer")()) == (False, None)
    assert of_generic(backend, "traced_number")(2.5) == 2.5


def test_whether_a_mask_is_drawn_once_more_is_known(backend):
    assert backend.library.draws_anew() is (backend.name == "cupy")
    assert of_generic(backend, "draws_anew")() is False


def test_what_cross_entropy_keeps_is_known(backend):
    assert backend.library.keeps_scores() is (backend.name == "cupy")
    assert of_generic(backend, "keeps_scores")() is False


def test_every_backend_that_runs_is_available(backend):
    for kernel in (backend.library.unavailable, of_generic(backend, "unavailable")):
        assert kernel() is None


def test_whether_the_host_had_better_draw_is_known_of_every_device(backend):
    device = backend.library.device_of(pn.zeros(1).array)
    for where in (None, device):
        assert isinstance(backend.library.random_on_host(where), bool)
    assert of_generic(backend, "random_on_host")(device) is False


def test_every_library_tells_that_memory_is_used_up(backend):
    """By how much was asked for, or 0 where it does not say; other errors are none of these."""
    with pytest.raises(pn.OutOfMemoryError) as caught:
        pn.ones((2**25, 2**25))
    own = caught.value.__cause__
    assert backend.library.out_of_memory(own) in (2**52, 0)
    assert of_generic(backend, "out_of_memory")(own) in (2**52, 0, None)
    for other in (RuntimeError("allocate"), ValueError("shape"), own.__class__.__base__("else")):
        assert isinstance(other, MemoryError) or backend.library.out_of_memory(other) is None
    assert of_generic(backend, "out_of_memory")(MemoryError()) == 0


def test_memory_in_use_is_part_of_what_there_is(backend):
    assert of_generic(backend, "memory_in_use")() is None
    found = backend.library.memory_in_use()
    assert found is None or 0 <= found[0] <= found[1]
    assert backend.name != "cupy" or found is not None


# ---------------------------------------------------------------------------------------------------------------------
# Mechanical: what a library's file may hold, and that all of it is compared somewhere.

LOOKED_AT = {
    "bfloat16_dtype",
    "capturer",  # in test_compile_graph.py, as the next
    "copy_into",
    "device_of",
    "draws_anew",
    "is_replayed",
    "keeps_scores",
    "known_outside",
    "layout",
    "clip",  # of the standard, as the next: in test_standard.py and test_vjps.py, and in test_linalg.py
    "isdtype",
    "linalg_solve",
    "vecdot",
    "where",
    "memory_in_use",
    "out_of_memory",
    "owns_memory",
    "random_on_host",
    "to_host",
    "traced_number",
    "tracer",
    "unavailable",
}  # in the tests above
# Optimizer steps, random words and special functions have files of their own.
ELSEWHERE = (
    "data/test_feeding.py",
    "optim/test_in_place.py",
    "optim/test_many_at_once.py",
    "test_attention.py",
    "test_conv.py",
    "test_random.py",
    "test_sequences.py",
    "test_special.py",
)


def overridden(file: Path) -> dict[str, ast.AST]:
    """The public names that a file of kernels defines, and how; constants, in capitals, are not kernels."""
    found: dict[str, ast.AST] = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return {name: node for name, node in found.items() if not name.startswith("_") and not name.isupper()}


def definable() -> set[str]:
    """What a kernel may be called: the names of the generic kernels, and the standard's with those of extensions."""
    own = {name for name, kernel in inspect.getmembers(generic, inspect.isfunction) if not name.startswith("_")}
    return own | set(namespace.__all__) | {f"linalg_{name}" for name in linalg.__all__} | set(STEPS)


RULES = {kind.rule.__name__: kind.rule for kind in vars(optim).values() if hasattr(kind, "rule")}
STEPS = RULES | {name + end: rule for name, rule in RULES.items() for end in ("_", "s_", "_ready")}  # in place


@pytest.mark.needs("linalg")
def test_a_module_of_kernels_does_not_hide_the_library_s_extension(backend):
    assert callable(backend.library.linalg.svd)  # and not kernels/generic/linalg.py


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(KERNELS)))
def test_a_library_s_file_holds_only_what_is_defined(file):
    names = overridden(file)
    assert names, "a file of kernels without a kernel"
    assert sorted(names.keys() - definable()) == []


def parameters(node: ast.FunctionDef) -> tuple[dict[str, str], dict[str, str]]:
    """The positional and the keyword-only parameters of a definition, each with its default ("": none)."""
    a = node.args
    defaults = [None] * (len(a.args) - len(a.defaults)) + list(a.defaults)
    positional, keywords = (
        {p.arg: "" if default is None else ast.unparse(default) for p, default in zip(some, values, strict=True)}
        for some, values in ((a.args, defaults), (a.kwonlyargs, a.kw_defaults))
    )
    return positional, keywords


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(KERNELS)))
def test_a_library_s_kernel_is_called_as_its_generic_twin_is(file):
    compared = 0
    for name, node in overridden(file).items():
        twin = getattr(generic, name, STEPS.get(name))
        if twin is None or not isinstance(node, ast.FunctionDef):
            continue
        (twin,) = ast.parse(inspect.getsource(twin)).body
        assert isinstance(twin, ast.FunctionDef)
        (_, *wanted), options = parameters(twin)[0].items(), parameters(twin)[1]
        positional, keywords = parameters(node)
        if name.endswith("s_"):  # many: a list of each
            wanted = [(f"{parameter}s", default) for parameter, default in wanted]
        assert list(positional.items()) == wanted, f"{file.name}: {name}"
        if twin.args.kwarg is not None:  # **where: the kernel may spell out what the twin only hands on
            keywords = {keyword: keywords[keyword] for keyword in options}
        assert keywords == options, f"{file.name}: {name}"
        compared += 1
    assert compared, "nothing was compared"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(KERNELS)))
def test_every_kernel_of_a_library_is_compared_with_its_definition(file):
    compared = {case.name for case in CASES} | LOOKED_AT
    elsewhere = "".join([(TESTS / name).read_text() for name in ELSEWHERE])
    forgotten = [name for name in overridden(file) if name not in compared and not re.search(rf"\b{name}\b", elsewhere)]
    assert forgotten == [], f"{file.name}: add a Case for {forgotten}"
