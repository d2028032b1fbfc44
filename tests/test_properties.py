"""Properties that hold for every shape and dtype, on arguments that hypothesis draws: the standard's, and of gradients."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import portanet as pn
from portanet import autograd, dtypes, namespace
from portanet.testing import check_gradient
from portanet.vjps import fft as fft_rules
from portanet.vjps import indexing as indexing_rules
from portanet.vjps import shapes as shape_rules
from tests.drawing import (
    FULL,
    SEEDS,
    SHAPES,
    WITH_AXES,
    array_key,
    basic_key,
    keyed,
    numbers,
    on_examples,
    property_of,
    same,
    tensor,
    written_shape,
)  # fmt: skip
from tests.linear_maps import LINEAR
from tests.test_vjps import rules_behind

# ---------------------------------------------------------------------------------------------------------------------
# Promotion: the standard's table, written out by what it says of kinds.

BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}


def promoted(a: str, b: str) -> str | None:
    """The standard's dtype of an operation on two; None where it leaves that open."""
    if a == b:
        return a
    floating = {"float32": (0, 32), "float64": (0, 64), "complex64": (1, 32), "complex128": (1, 64)}
    if a in floating and b in floating:
        is_complex, part = (max(pair) for pair in zip(floating[a], floating[b], strict=True))
        return f"complex{2 * part}" if is_complex else f"float{part}"
    if a not in BITS or b not in BITS:
        return None
    if a.startswith("u") == b.startswith("u"):
        return max(a, b, key=lambda name: BITS[name])
    unsigned, signed = (a, b) if a.startswith("u") else (b, a)
    bits = max(BITS[signed], 2 * BITS[unsigned])  # a signed type that holds both
    return None if bits > 64 else f"int{bits}"


NAMES = [dtype.name for dtype in dtypes.STANDARD]
PAIRS = [(a, b) for a in NAMES for b in NAMES if promoted(a, b) is not None]


def known(backend: Any, *names: str) -> bool:
    """Whether the library computes with these: PyTorch only stores unsigned integers of more than 8 bits."""
    return backend.name != "torch" or not {"uint16", "uint32", "uint64"} & set(names)


def test_the_table_by_hand():
    assert promoted("int8", "uint8") == "int16" and promoted("uint32", "int8") == "int64"
    assert promoted("uint64", "int8") is None and promoted("int8", "float32") is None
    assert promoted("float64", "complex64") == "complex128" and promoted("bool", "int8") is None
    assert len(PAIRS) == 1 + 8 * 8 - 2 * 4 + 4 * 4


def test_result_type_is_the_standards(backend):
    for a, b in PAIRS:
        if known(backend, a, b):
            found = pn.result_type(getattr(pn, a), getattr(pn, b))
            assert found is dtypes.BY_NAME[promoted(a, b)], (a, b, found)


def test_arrays_without_axes_count_like_any_other_in_promotion(backend):
    for a, b in PAIRS:
        if known(backend, a, b) and a != b:
            x, y = tensor(numbers(0, (), a)), tensor(numbers(1, (2,), b))
            wanted = dtypes.BY_NAME[promoted(a, b)]
            assert pn.result_type(x, y) is (x + y).dtype is (y * x).dtype is pn.add(x, y).dtype is wanted, (a, b)


# ---------------------------------------------------------------------------------------------------------------------
# Functions of two arrays: NumPy's values in the standard's dtype.

BOOLS, INTEGERS = ["bool"], list(BITS)
REALS, COMPLEXES = ["float32", "float64"], ["complex64", "complex128"]
TRUTH = dtypes.bool_

# name -> (dtypes, operator or None, range of the arguments, whether exact, whether the result is truth values)
BINARY: dict[str, tuple[list[str], Any, tuple[int, int], bool, bool]] = {
    "add": (INTEGERS + REALS + COMPLEXES, operator.add, (-6, 6), True, False),
    "subtract": (["int8", "int32", "int64", *REALS, *COMPLEXES], operator.sub, (-6, 6), True, False),
    "multiply": (INTEGERS + REALS + COMPLEXES, operator.mul, (-6, 6), True, False),
    "divide": (REALS + COMPLEXES, operator.truediv, (-6, 6), False, False),
    "floor_divide": (INTEGERS + REALS, operator.floordiv, (-6, 6), True, False),
    "remainder": (INTEGERS + REALS, operator.mod, (-6, 6), True, False),
    "pow": (INTEGERS + REALS, operator.pow, (1, 3), False, False),
    "bitwise_and": (BOOLS + INTEGERS, operator.and_, (-6, 6), True, False),
    "bitwise_or": (BOOLS + INTEGERS, operator.or_, (-6, 6), True, False),
    "bitwise_xor": (BOOLS + INTEGERS, operator.xor, (-6, 6), True, False),
    "bitwise_left_shift": (INTEGERS, operator.lshift, (1, 4), True, False),
    "bitwise_right_shift": (INTEGERS, operator.rshift, (1, 4), True, False),
    "equal": (BOOLS + INTEGERS + REALS + COMPLEXES, operator.eq, (-2, 2), True, True),
    "not_equal": (BOOLS + INTEGERS + REALS + COMPLEXES, operator.ne, (-2, 2), True, True),
    "less": (INTEGERS + REALS, operator.lt, (-2, 2), True, True),
    "less_equal": (INTEGERS + REALS, operator.le, (-2, 2), True, True),
    "greater": (INTEGERS + REALS, operator.gt, (-2, 2), True, True),
    "greater_equal": (INTEGERS + REALS, operator.ge, (-2, 2), True, True),
    "logical_and": (BOOLS, None, (0, 1), True, True),
    "logical_or": (BOOLS, None, (0, 1), True, True),
    "logical_xor": (BOOLS, None, (0, 1), True, True),
    "maximum": (INTEGERS + REALS, None, (-6, 6), True, False),
    "minimum": (INTEGERS + REALS, None, (-6, 6), True, False),
    "atan2": (REALS, None, (-6, 6), False, False),
    "copysign": (REALS, None, (-6, 6), True, False),
    "hypot": (REALS, None, (-6, 6), False, False),
    "logaddexp": (REALS, None, (-6, 6), False, False),
    "nextafter": (REALS, None, (-6, 6), True, False),
}


@st.composite
def binary_calls(draw: Any) -> tuple[str, str, str]:
    name = draw(st.sampled_from(sorted(BINARY)))
    allowed = BINARY[name][0]
    return name, *draw(st.sampled_from([(a, b) for a, b in PAIRS if a in allowed and b in allowed]))


@property_of(
    call=binary_calls(),
    shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4),
    seed=SEEDS,
)
def test_functions_of_two_arrays(backend, call, shapes, seed):
    name, a, b = call
    if not known(backend, a, b):
        return
    _, compute, (low, high), exact, truth = BINARY[name]
    x, y = (
        numbers(seed + i, shape, dtype, low, high) for i, (shape, dtype) in enumerate(zip(shapes.input_shapes, (a, b)))
    )
    common = promoted(a, b)
    wanted = getattr(numpy, name)(x.astype(common), y.astype(common))
    dtype = TRUTH if truth else dtypes.BY_NAME[common]
    assert wanted.shape == shapes.result_shape
    same(getattr(pn, name)(tensor(x), tensor(y)), wanted, dtype, exact)
    if compute is not None:
        same(compute(tensor(x), tensor(y)), wanted, dtype, exact)


@property_of(call=binary_calls(), shape=SHAPES, seed=SEEDS)
def test_numbers_take_the_dtype_of_the_array(backend, call, shape, seed):
    name, dtype, _ = call
    _, compute, (low, high), exact, truth = BINARY[name]
    if compute is None or not known(backend, dtype):
        return
    x, number = numbers(seed, shape, dtype, low, high), numbers(seed + 1, (), dtype, low, high)
    result = TRUTH if truth else dtypes.BY_NAME[dtype]
    reference = getattr(numpy, name)
    same(compute(tensor(x), number.item()), reference(x, number), result, exact)
    same(compute(number.item(), tensor(x)), reference(number, x), result, exact)


# ---------------------------------------------------------------------------------------------------------------------
# Gradients over broadcasting.

# name -> the derivatives by each argument, in NumPy
SLOPES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (lambda a, b: 1, lambda a, b: 1),
    "subtract": (lambda a, b: 1, lambda a, b: -1),
    "multiply": (lambda a, b: b, lambda a, b: a),
    "divide": (lambda a, b: 1 / b, lambda a, b: -a / b**2),
    "pow": (lambda a, b: b * a ** (b - 1), lambda a, b: a**b * numpy.log(a)),
    "maximum": (lambda a, b: (1 + numpy.sign(a - b)) / 2, lambda a, b: (1 + numpy.sign(b - a)) / 2),
    "minimum": (lambda a, b: (1 - numpy.sign(a - b)) / 2, lambda a, b: (1 - numpy.sign(b - a)) / 2),
    "atan2": (lambda a, b: b / (a**2 + b**2), lambda a, b: -a / (a**2 + b**2)),
    "hypot": (lambda a, b: a / numpy.hypot(a, b), lambda a, b: b / numpy.hypot(a, b)),
    "logaddexp": (lambda a, b: 1 / (1 + numpy.exp(b - a)), lambda a, b: 1 / (1 + numpy.exp(a - b))),
    "copysign": (lambda a, b: numpy.sign(a * b), lambda a, b: 0 * a),
    "remainder": (lambda a, b: 1, lambda a, b: -numpy.floor(a / b)),
}


def unbroadcast(g: Any, x: Any) -> Any:
    """The sum of ``g`` over all the places that each element of ``x`` went to."""
    places = numpy.broadcast_to(numpy.arange(x.size).reshape(x.shape), g.shape)
    sums = numpy.bincount(places.reshape(-1), weights=g.reshape(-1), minlength=x.size)
    return sums.reshape(x.shape).astype("float64")  # of nothing it counts in integers


@property_of(
    name=st.sampled_from(sorted(SLOPES)),
    shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3),
    kinds=st.tuples(st.sampled_from(REALS), st.sampled_from(REALS)),
    seed=SEEDS,
)
def test_gradients_of_broadcast_arguments(backend, name, shapes, kinds, seed):
    low = 1 if name == "pow" else -6
    arrays = [numbers(seed + i, shape, dtype, low) for i, (shape, dtype) in enumerate(zip(shapes.input_shapes, kinds))]
    leaves = [tensor(x).requires_grad_() for x in arrays]
    y = getattr(pn, name)(*leaves)
    cotangent = numbers(seed + 2, shapes.result_shape, promoted(*kinds))
    y.backward(gradient=tensor(cotangent))
    wide = [x.astype("float64") for x in arrays]
    for leaf, x, slope in zip(leaves, arrays, SLOPES[name]):
        wanted = unbroadcast(cotangent * numpy.broadcast_to(slope(*wide), cotangent.shape), x)
        assert leaf.grad.dtype is leaf.dtype
        assert leaf.grad.shape == leaf.shape
        tolerance = 1e-12 if set(kinds) == {"float64"} else 2e-5
        numpy.testing.assert_allclose(
            leaf.grad.numpy(), wanted, rtol=tolerance, atol=tolerance * (1 + abs(cotangent).sum())
        )


@property_of(shapes=mutually_broadcastable_shapes(num_shapes=3, max_dims=3, min_side=0, max_side=3), seed=SEEDS)
def test_gradients_of_a_choice(backend, shapes, seed):
    condition, a, b = (
        numbers(seed + i, shape, kind)
        for i, (shape, kind) in enumerate(zip(shapes.input_shapes, ("bool", "float32", "float64")))
    )
    x, y = tensor(a).requires_grad_(), tensor(b).requires_grad_()
    chosen = pn.where(tensor(condition), x, y)
    same(chosen, numpy.where(condition, a, b), pn.float64)
    cotangent = numbers(seed + 3, shapes.result_shape)
    chosen.backward(gradient=tensor(cotangent))
    taken = numpy.broadcast_to(condition, cotangent.shape)
    same(x.grad, unbroadcast(cotangent * taken, a), pn.float32)
    same(y.grad, unbroadcast(cotangent * ~taken, b), pn.float64)


# ---------------------------------------------------------------------------------------------------------------------
# Random smooth expressions: a gradient is right when its error vanishes at second order.

LEAVES = st.sampled_from(["a", "b", "c"])
ONE = {
    "sin": pn.sin,
    "tanh": pn.tanh,
    "exp of sin": lambda x: pn.exp(pn.sin(x)),
    "root": lambda x: pn.sqrt(1 + x * x),
    "log1p": lambda x: pn.log1p(x * x),
    "atan": pn.atan,
    "sigmoid": namespace.sigmoid,
    "softmax": lambda x: namespace.softmax(x, axis=None),
    "bell": lambda x: 1 / (1 + pn.square(x)),
    "sum": lambda x: pn.sum(x, axis=None, keepdims=False),
    "mean, kept": lambda x: pn.mean(x, axis=-1, keepdims=True) if x.ndim else x,
    "running sum": lambda x: pn.cumulative_sum(x, axis=0) if x.ndim else x,
    "running product": lambda x: pn.cumulative_prod(pn.cos(x), axis=-1) if x.ndim else x,
    "product": lambda x: pn.prod(pn.tanh(x), axis=0, keepdims=True) if x.ndim else x,
    "variance": lambda x: pn.var(x, axis=0) if x.ndim else x,
    "backwards": pn.flip,
    "ends": lambda x: x[:1, ...] - x[-1:, ...] if x.ndim else x,
    "beside itself": lambda x: pn.concat([x, x * x], axis=-1)[..., : x.shape[-1]] if x.ndim else x,
    "gram": lambda x: pn.matmul(pn.matrix_transpose(x), x) if x.ndim == 2 else x,
    "written": lambda x: namespace.set_at(x, pn.sin(x[0, ...]), key=(-1, ...)) if x.ndim else x,
}
TWO = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda x, y: x / (2 + pn.sin(y)),
    "logaddexp": pn.logaddexp,
    "hypot": lambda x, y: pn.hypot(x, 1 + y * y),
    "power": lambda x, y: (1 + x * x) ** pn.tanh(y),
    "atan2": lambda x, y: pn.atan2(x, 2 + pn.cos(y)),
}
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(sorted(ONE)), inner), st.tuples(st.sampled_from(sorted(TWO)), inner, inner)
    ),
    max_leaves=6,
).filter(lambda expression: expression not in ("a", "b", "c"))


def evaluated(expression: Any, values: dict[str, Any]) -> Any:
    """The value of ``("*", ("sin", "a"), "b")`` and the like, kept small by a tanh after every operation on two."""
    if isinstance(expression, str):
        return values[expression]
    name, *inner = expression
    parts = [evaluated(one, values) for one in inner]
    if len(parts) == 1:
        return ONE[name](parts[0])
    try:
        pn.broadcast_shapes(*[part.shape for part in parts])
    except ValueError:  # the running and joining functions change shapes
        parts = [pn.sum(part) for part in parts]
    return pn.tanh(TWO[name](*parts))


SIDES = st.tuples(st.integers(1, 3), st.integers(1, 3))


def points(sides: tuple[int, int], seed: int) -> list[Any]:
    rng = numpy.random.default_rng(seed)
    n, m = sides
    return [tensor(rng.uniform(0.3, 1.2, shape) * rng.choice([-1, 1], shape)) for shape in ((n, m), (m,), (n, 1))]


def order_of_error(function: Any, sides: tuple[int, int], seed: int, order: int = 1) -> float:
    """At a second point where need be: at one the term of second order may be 0 by chance; a wrong rule is wrong at both."""
    first, second = (points(sides, one) for one in (seed, seed + 1000))
    found = check_gradient(function, *first, order=order, verbose=False).order
    return found if found > 1.8 else check_gradient(function, *second, order=order, verbose=False).order


@pytest.mark.heavy
@property_of(expression=EXPRESSIONS, sides=SIDES, seed=st.integers(0, 999))
def test_gradients_of_random_expressions(backend, expression, sides, seed):
    def function(*values):
        return evaluated(expression, dict(zip("abc", values)))

    assert order_of_error(function, sides, seed) > 1.8


@settings(max_examples=25, derandomize=True, deadline=None, database=None)
@given(expression=EXPRESSIONS, sides=SIDES, seed=st.integers(0, 999))
def test_second_derivatives_of_random_expressions(expression, sides, seed):
    def function(*values):
        return pn.sin(sum(values)) * evaluated(expression, dict(zip("abc", values)))

    assert order_of_error(function, sides, seed, order=2) > 1.8


# ---------------------------------------------------------------------------------------------------------------------
# Reductions.


@st.composite
def reductions(draw: Any, some: Any = SHAPES, several: bool = True) -> tuple[tuple[int, ...], Any, bool]:
    """(shape, axis, keepdims), the axes counted from either end, in any order."""
    shape = draw(some)
    ndim = len(shape)
    options = [st.none()]
    if ndim:
        options.append(st.integers(-ndim, ndim - 1))
        if several:
            axes = st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim, min_size=1)
            options.append(st.tuples(axes, st.booleans()).map(lambda t: tuple([a - ndim * t[1] for a in t[0]])))
    return shape, draw(st.one_of(options)), draw(st.booleans())


def weights_of(g: Any, x: Any, axis: Any) -> Any:
    """The cotangent of a reduction of ``x``, without keepdims or with, spread over its elements."""
    return numpy.broadcast_to(g.reshape(numpy.sum(x, axis=axis, keepdims=True).shape), x.shape)


def count_of(x: Any, axis: Any) -> int:
    return x.size // max(numpy.sum(x, axis=axis).size, 1)


# name -> the gradient in NumPy: cotangent over the elements, elements, axis, the result with its axes kept
REDUCED: dict[str, Callable[..., Any]] = {
    "sum": lambda g, x, axis, y: g,
    "mean": lambda g, x, axis, y: g / count_of(x, axis),
    "prod": lambda g, x, axis, y: g * y / x,
    "max": lambda g, x, axis, y: g * (x == y) / numpy.sum(x == y, axis=axis, keepdims=True),
    "min": lambda g, x, axis, y: g * (x == y) / numpy.sum(x == y, axis=axis, keepdims=True),
    "var": lambda g, x, axis, y: g * 2 * (x - numpy.mean(x, axis=axis, keepdims=True)) / count_of(x, axis),
    "std": lambda g, x, axis, y: (
        g * (x - numpy.mean(x, axis=axis, keepdims=True)) / numpy.where(y == 0, 1, y) / count_of(x, axis)
    ),
}


@property_of(
    name=st.sampled_from(sorted(REDUCED)), reduction=reductions(FULL), dtype=st.sampled_from(REALS), seed=SEEDS
)
def test_reductions_and_their_gradients(backend, name, reduction, dtype, seed):
    shape, axis, keepdims = reduction
    x = numbers(seed, shape, dtype)
    leaf = tensor(x).requires_grad_()
    y = getattr(pn, name)(leaf, axis=axis, keepdims=keepdims)
    reference = getattr(numpy, name)
    same(y, reference(x, axis=axis, keepdims=keepdims), leaf.dtype, exact=name in ("sum", "max", "min"))
    g = numbers(seed + 1, y.shape, dtype)
    y.backward(gradient=tensor(g))
    wide = x.astype("float64")
    wanted = REDUCED[name](weights_of(g, x, axis), wide, axis, reference(wide, axis=axis, keepdims=True))
    assert leaf.grad.dtype is leaf.dtype
    assert leaf.grad.shape == leaf.shape
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    numpy.testing.assert_allclose(leaf.grad.numpy(), wanted, rtol=tolerance, atol=tolerance)


@property_of(reduction=reductions(), name=st.sampled_from(["sum", "prod"]), seed=SEEDS)
def test_reductions_of_nothing_have_gradients_too(backend, reduction, name, seed):
    shape, axis, keepdims = reduction
    shape = (*shape[:-1], 0) if shape else (0,)
    axis = axis if len(shape) > 1 or axis is None else 0
    leaf = tensor(numbers(seed, shape)).requires_grad_()
    y = getattr(pn, name)(leaf, axis=axis, keepdims=keepdims)
    same(y, getattr(numpy, name)(leaf.detach().numpy(), axis=axis, keepdims=keepdims))
    y.backward(gradient=pn.ones_like(y).detach())
    assert (leaf.grad.shape, leaf.grad.dtype) == (shape, pn.float64)


@property_of(
    name=st.sampled_from(["sum", "prod", "all", "any", "count_nonzero"]), reduction=reductions(),
    dtype=st.sampled_from(["bool", "int8", "int32", "int64", "uint8"]), seed=SEEDS,
)  # fmt: skip
def test_reductions_of_whole_numbers(backend, name, reduction, dtype, seed):
    """Sums and products are at least as wide as the default integer, so that they do not overflow early."""
    shape, axis, keepdims = reduction
    if dtype == "bool" and name in ("sum", "prod"):
        return  # the standard sums numbers
    x = numbers(seed, shape, dtype, -2, 2)
    y = getattr(pn, name)(tensor(x), axis=axis, keepdims=keepdims)
    wide = x.astype("int64") if name in ("sum", "prod") else x
    if backend.name == "torch" and dtype == "uint8" and name in ("sum", "prod"):
        numpy.testing.assert_array_equal(y.numpy(), getattr(numpy, name)(wide, axis=axis, keepdims=keepdims))
        return  # it has no sums in uint64, so gives int64
    wanted = getattr(numpy, name)(wide, axis=axis, keepdims=keepdims)
    default = pn.uint64 if dtype == "uint8" else pn.int64
    same(y, wanted, {"all": TRUTH, "any": TRUTH, "count_nonzero": pn.int64}.get(name, default))


@property_of(name=st.sampled_from(["argmax", "argmin"]), reduction=reductions(FULL, several=False), seed=SEEDS)
def test_places_of_extremes(backend, name, reduction, seed):
    shape, axis, keepdims = reduction
    x = numpy.random.default_rng(seed).permutation(math.prod(shape)).reshape(shape).astype("float64")  # no ties
    y = getattr(pn, name)(tensor(x), axis=axis, keepdims=keepdims)
    same(y, getattr(numpy, name)(x, axis=axis, keepdims=keepdims), pn.int64)


@property_of(
    name=st.sampled_from(["sum", "prod"]), shape=WITH_AXES, seed=SEEDS, place=st.integers(0, 3), initial=st.booleans()
)
def test_running_sums_and_products(backend, name, shape, seed, place, initial):
    axis = place % len(shape) - len(shape) * (seed % 2)
    x = numbers(seed, shape)
    leaf = tensor(x).requires_grad_()
    y = getattr(pn, f"cumulative_{name}")(leaf, axis=axis, include_initial=initial)
    reference = numpy.cumsum if name == "sum" else numpy.cumprod
    wanted = reference(x, axis=axis)
    first = numpy.full_like(numpy.take(x, [0], axis=axis), 0 if name == "sum" else 1)
    same(y, numpy.concatenate([first, wanted], axis=axis) if initial else wanted, exact=name == "sum")
    g = numbers(seed + 1, y.shape)
    y.backward(gradient=tensor(g))
    later = numpy.delete(g, 0, axis=axis) if initial else g
    if name == "prod":  # d y_i / d x_k = y_i / x_k where i >= k
        later = later * wanted
    back = numpy.flip(numpy.cumsum(numpy.flip(later, axis), axis=axis), axis)
    same(leaf.grad, back if name == "sum" else back / x, exact=name == "sum")


# ---------------------------------------------------------------------------------------------------------------------
# Linear maps: <A x, c> = <x, A^T c> for the transpose that the rule is, and transposed twice it is A again.


NEEDS = {"repeat, counts": "data_dependent_shapes", "getitem, mask": "boolean_indexing"}


def needing(name: str) -> object:
    needed = "fft" if name.startswith("fft.") else NEEDS.get(name)
    return pytest.param(name, marks=pytest.mark.needs(needed) if needed else ())


def inner(xs: Any, ys: Any) -> float:
    """The sum over all arrays of Re(conj(x) y)."""
    pairs = [(x.detach().numpy().astype("complex128"), y.detach().numpy()) for x, y in zip(xs, ys)]
    return float(sum([numpy.sum(x.conj() * y).real for x, y in pairs]))


def both_ways(name: str, draw: Any, seed: int) -> None:
    function, some = LINEAR[name](draw)
    kind = "complex128" if name.startswith("fft.") and name not in ("fft.rfft", "fft.rfftn") else "float64"
    points, others = [[tensor(numbers(seed + 10 * k + i, shape, kind)) for i, shape in enumerate(some)] for k in (0, 1)]
    leaves = [x.requires_grad_() for x in points]
    results, wanted = [y if isinstance(y, tuple) else (y,) for y in (function(*leaves), function(*others))]
    assert name.partition(",")[0] in rules_behind(results)
    cotangents = [tensor(numbers(seed + 20 + i, y.shape, y.dtype.name)) for i, y in enumerate(results)]
    if name == "moved":
        cotangents = [c.to(y.backend, device=y.device) for c, y in zip(cotangents, results)]
    cotangents = [c.requires_grad_() for c in cotangents]
    found = autograd.grad(results, leaves, cotangents, create_graph=True)
    for x, g in zip(leaves, found):
        assert (g.shape, g.dtype) == (x.shape, x.dtype)
    left, right = inner(results, cotangents), inner(leaves, found)
    again = autograd.grad(found, cotangents, others)
    if not name.startswith("fft."):
        assert left == right
        for y, z in zip(again, wanted):
            same(y, z.numpy(), z.dtype)
    else:
        assert left == pytest.approx(right, rel=1e-12, abs=1e-10)
        for y, z in zip(again, wanted):
            same(y, z.numpy(), z.dtype, exact=False)


@pytest.mark.parametrize("name", [needing(name) for name in LINEAR])
def test_rules_of_linear_maps_are_their_transposes(name, backend):
    def body(backend, data, seed):
        both_ways(name, data.draw, seed)

    on_examples(backend, body, share=0.5, data=st.data(), seed=SEEDS)


def test_every_linear_rule_is_transposed_here():
    rules = {*shape_rules.VJPS, *indexing_rules.VJPS, *fft_rules.VJPS}
    assert rules == {name.partition(",")[0] for name in LINEAR}


# ---------------------------------------------------------------------------------------------------------------------
# Reading and writing by index, beside NumPy.


@property_of(data=st.data(), shape=SHAPES, dtype=st.sampled_from(["bool", "int32", *REALS, "complex64"]), seed=SEEDS)
def test_reading_by_slices_and_numbers(backend, data, shape, dtype, seed):
    x = numbers(seed, shape, dtype)
    steps = 1 if backend.name == "torch" else -4  # PyTorch's slices cannot go backwards
    key = basic_key(data.draw, shape, steps=steps, new=True)
    same(tensor(x)[key], x[key])


@property_of(data=st.data(), shape=WITH_AXES, dtype=st.sampled_from(["bool", "int32", *REALS, "complex64"]), seed=SEEDS)
def test_reading_by_integer_arrays(backend, data, shape, dtype, seed):
    x = numbers(seed, shape, dtype)
    key = array_key(data.draw, shape)
    same(tensor(x)[keyed(key)], x[key])


@pytest.mark.needs("boolean_indexing")
@property_of(shape=WITH_AXES, seed=SEEDS)
def test_reading_and_writing_by_masks(backend, shape, seed):
    x, mask = numbers(seed, shape), numbers(seed + 1, shape, "bool")
    same(tensor(x)[tensor(mask)], x[mask])
    y, wanted = tensor(x), x.copy()
    y[tensor(mask)] = 7.0
    wanted[mask] = 7.0
    same(y, wanted)


@property_of(data=st.data(), shape=SHAPES, dtype=st.sampled_from(["bool", "int32", *REALS, "complex64"]), seed=SEEDS)
def test_a_write_changes_this_name_alone(backend, data, shape, dtype, seed):
    x = numbers(seed, shape, dtype)
    steps = 1 if backend.name == "torch" else -4
    key = basic_key(data.draw, shape, steps=steps)
    value = numbers(seed + 1, written_shape(data.draw, shape, key), dtype)
    first = tensor(x)
    second = first
    part = first[...]
    raw = first.array
    second[key] = tensor(value)
    wanted = x.copy()
    wanted[key] = value
    same(second, wanted)
    assert second is first  # a name is not a copy, as in Python and NumPy
    same(part, x)  # but no view: what was computed before the write keeps its elements
    same(pn.Tensor(raw), x)


@property_of(data=st.data(), shape=SHAPES, seed=SEEDS)
def test_gradients_through_a_write(backend, data, shape, seed):
    """Before the write y*y has the old elements, after it the new ones; both send their gradients to the right place."""
    x = numbers(seed, shape)
    key = basic_key(data.draw, shape)
    value = numbers(seed + 1, written_shape(data.draw, shape, key))
    leaf, written = tensor(x).requires_grad_(), tensor(value).requires_grad_()
    y = 3 * leaf
    before = pn.sum(y * y)
    y[key] = written
    pn.add(before, pn.sum(2 * y)).backward()
    kept = numpy.ones(shape)
    kept[key] = 0
    same(leaf.grad, 18 * x + 6 * kept)
    same(written.grad, unbroadcast(numpy.full(x[key].shape, 2.0), value))
