"""What tests of properties draw: examples by hypothesis, shapes, axes, keys, and arrays of exact numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import portanet as pn

# Every new shape is compiled anew by JAX and slow to start on dpnp, so these see fewer of them.
EXAMPLES = {"numpy": 100, "numpy_readonly": 12, "array_api_strict": 15, "torch": 20, "jax": 4, "dpnp": 4, "cupy": 8}


def on_examples(backend: Any, body: Callable[..., None], share: float = 1.0, **strategies: Any) -> None:
    """Run ``body`` with arguments that hypothesis draws, the same in each run; slow backends see fewer of them."""

    @settings(max_examples=math.ceil(share * EXAMPLES[backend.name]), derandomize=True, deadline=None, database=None)
    @given(**strategies)
    def example(**drawn: Any) -> None:
        body(backend, **drawn)

    example()


def property_of(**strategies: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a test, on every backend, of ``body(backend, ...)`` with arguments drawn by ``strategies``."""

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        def test(backend: Any) -> None:
            on_examples(backend, body, **strategies)

        test.__name__, test.__doc__ = body.__name__, body.__doc__
        return test

    return decorate


SEEDS = st.integers(0, 2**32 - 1)


def sized(*sides: int, least: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of up to four axes: two and three are the most frequent, and so are the lengths named most often."""
    axes = st.sampled_from([n for n in (2, 3, 2, 3, 1, 4, 0) if n >= least])
    return axes.flatmap(lambda n: st.tuples(*[st.sampled_from(sides)] * n))


FULL = sized(2, 3, 4, 1)  # with at least one element
SHAPES = sized(2, 3, 4, 3, 2, 1, 0)
WITH_AXES = sized(2, 3, 4, 1, least=1)


def numbers(seed: int, shape: tuple[int, ...], dtype: str = "float64", low: int = -6, high: int = 6) -> Any:
    """Multiples of 1/4, not 0, as floats; whole numbers as integers: all that is done with them here is exact."""
    rng = numpy.random.default_rng(seed)
    kind = numpy.dtype(dtype).kind
    if kind == "b":
        return numpy.asarray(rng.random(shape) < 0.5)
    if kind == "u":
        return numpy.asarray(rng.integers(max(low, 1), high + 1, shape), dtype=dtype)
    sizes = rng.integers(max(low, 1), high + 1, shape)
    whole = sizes * numpy.where((rng.random(shape) < 0.5) & (low < 0), -1, 1)
    if kind == "i":
        return numpy.asarray(whole, dtype=dtype)
    if kind == "c":
        return numpy.asarray(whole / 4 + 1j * rng.integers(-6, 7, shape) / 4, dtype=dtype)
    return numpy.asarray(whole / 4, dtype=dtype)


def tensor(x: Any) -> pn.Tensor:
    return pn.asarray(numpy.array(x))


def same(y: pn.Tensor, wanted: Any, dtype: Any = None, exact: bool = True) -> None:
    """``y`` has the shape, the dtype and, to a few last digits where not ``exact``, the values of ``wanted``."""
    wanted = numpy.asarray(wanted)
    dtype = pn.dtypes.as_dtype(wanted.dtype) if dtype is None else dtype
    assert y.dtype is dtype, f"{y.dtype}, not {dtype}"
    assert y.shape == wanted.shape
    found = y.detach().numpy()
    if exact or dtype.kind not in ("real floating", "complex floating"):
        numpy.testing.assert_array_equal(found, wanted)
    else:
        tolerance = 1e-5 if dtype in (pn.float32, pn.complex64) else 1e-12
        numpy.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


def axis_of(draw: Any, shape: tuple[int, ...]) -> int:
    return draw(st.integers(-len(shape), len(shape) - 1))


def axes_of(draw: Any, shape: tuple[int, ...], least: int = 0) -> tuple[int, ...]:
    axes = draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=least, max_size=len(shape)))
    return tuple([axis - len(shape) * draw(st.integers(0, 1)) for axis in axes])


def index_array(draw: Any, shape: tuple[int, ...], length: int, negative: bool = True) -> Any:
    rng = numpy.random.default_rng(draw(SEEDS))
    return numpy.asarray(rng.integers(-length if negative else 0, length, shape))


def basic_key(draw: Any, shape: tuple[int, ...], steps: int = 1, new: bool = False) -> tuple[Any, ...]:
    """Whole numbers and slices for all axes; an ellipsis may stand for some of them, and new axes among them."""
    key: list[Any] = []
    for n in shape:
        slices = st.slices(n).filter(lambda s: (s.step or 1) >= steps) if n else st.just(slice(None))
        key.append(draw(st.one_of(slices, st.integers(-n, n - 1)) if n else slices))
    if draw(st.booleans()):
        first = draw(st.integers(0, len(key)))
        key[first : draw(st.integers(first, len(key)))] = [...]
    for _ in range(draw(st.integers(0, 2)) if new else 0):
        key.insert(draw(st.integers(0, len(key))), None)
    return tuple(key)


def array_key(draw: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """An integer array, or a number, for each axis; the arrays broadcast together."""
    drawn = draw(mutually_broadcastable_shapes(num_shapes=len(shape), max_dims=2, min_side=0, max_side=3))
    key = [index_array(draw, one, n) for one, n in zip(drawn.input_shapes, shape)]
    loose = [i for i in range(1, len(key)) if key[i].shape == () and draw(st.booleans())]
    return tuple([int(entry) if i in loose else entry for i, entry in enumerate(key)])


def keyed(key: Any) -> Any:
    """A key whose NumPy arrays are Tensors."""
    return tuple([tensor(entry) if isinstance(entry, numpy.ndarray) else entry for entry in key])


def written_shape(draw: Any, shape: tuple[int, ...], key: Any) -> tuple[int, ...]:
    """The shape of what may be written at ``key``: that of the place, or one that broadcasts to it."""
    place = numpy.zeros(shape)[key].shape
    kept = draw(st.integers(0, len(place)))
    return tuple([1 if draw(st.booleans()) else n for n in place[len(place) - kept :]])
