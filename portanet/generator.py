"""`Generator`: random numbers from a counter, the same for the same seed on every library and device.

Number ``n`` of a stream is a fixed function of (seed, stream, n), Philox4x64-10 of Salmon, Moraes, Dror and Shaw,
"Parallel random numbers: as easy as 1, 2, 3" (2011), so nothing depends on who computes it. Uniform numbers, integers,
permutations and truth values agree in every bit; normal numbers, for which libraries compute logarithms and cosines
each in its own way, in all but the last few.

Inside a function that a compiler traces, numbers are drawn once, while it traces.
"""

from __future__ import annotations

import functools
import math
import operator
import os
import threading
from collections.abc import Sequence
from typing import Any

from portanet import dtypes
from portanet.backend import Backend, get_backend, load
from portanet.dtypes import DType, as_dtype
from portanet.kernels.generic.random import parts, philox
from portanet.library import HOST, Library, namespace_of
from portanet.plan.recorder import active
from portanet.tensor import Tensor

__all__ = ["Generator"]

WORDS_IN_BLOCK = 8  # of 32 bits
CHILDREN = 2**192  # added to the counter where streams of children are made: no draw comes there
LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38}


class Generator:
    """A stream of random numbers, named by ``(seed, stream)``, and the place in it: a counter of 256-bit blocks.

    Every draw takes whole blocks, as many as its shape and dtype need and never more or fewer, so that the place after
    it is known. Threads may share a generator: no two get the same numbers.

    Args:
        seed: an integer in [0, 2**64); None takes one from the operating system (`initial_seed` tells it).
        stream: an integer in [0, 2**64): streams of one seed are independent.

    Raises:
        ValueError: the seed or the stream is out of range.

    >>> import portanet
    >>> g = portanet.random.Generator(seed=1)
    >>> g.uniform(3)
    tensor([0.80898637, 0.7949013 , 0.0760473 ])
    >>> g.get_state()
    {'seed': 1, 'stream': 0, 'counter': 1}
    """

    def __init__(self, seed: int | None = None, stream: int = 0) -> None:
        self._lock = threading.Lock()
        self._key = (int.from_bytes(os.urandom(8)) if seed is None else _word("seed", seed), _word("stream", stream))
        self._counter = 0

    def __repr__(self) -> str:
        state = self.get_state()
        return f"Generator(seed={state['seed']}, stream={state['stream']}) at block {state['counter']}"

    # ------------------------------------------------------------------------------------------------------- state

    def manual_seed(self, seed: int) -> Generator:
        """Start again, at the beginning of stream 0 of ``seed``; returns this generator.

        >>> import portanet
        >>> g = portanet.random.Generator(1)
        >>> bool(portanet.all(g.uniform(9) == g.manual_seed(1).uniform(9)))
        True
        """
        self.set_state({"seed": seed, "stream": 0, "counter": 0})
        return self

    def initial_seed(self) -> int:
        """The seed.

        >>> import portanet
        >>> portanet.random.Generator(7).initial_seed()
        7
        """
        return self._key[0]

    def get_state(self) -> dict[str, int]:
        """Three integers from which `set_state` goes on exactly here: they can be kept in any file.

        >>> import portanet
        >>> portanet.random.Generator(7).get_state()
        {'seed': 7, 'stream': 0, 'counter': 0}
        """
        with self._lock:
            return {"seed": self._key[0], "stream": self._key[1], "counter": self._counter}

    def set_state(self, state: dict[str, int]) -> None:
        """Go to the place that `get_state` told.

        Raises ValueError unless ``state`` has exactly the integers seed, stream and counter, each in [0, 2**64).

        >>> import portanet
        >>> g = portanet.random.Generator(7)
        >>> before = g.get_state()
        >>> x = g.normal(5)
        >>> g.set_state(before)
        >>> bool(portanet.all(x == g.normal(5)))
        True
        """
        if not isinstance(state, dict) or set(state) != {"seed", "stream", "counter"}:
            raise ValueError(f"set_state needs the seed, stream and counter that get_state gives; saw {state!r}.")
        key = (_word("seed", state["seed"]), _word("stream", state["stream"]))
        counter = _word("counter", state["counter"])
        with self._lock:
            self._key, self._counter = key, counter

    def __getstate__(self) -> dict[str, int]:
        return self.get_state()

    def __setstate__(self, state: dict[str, int]) -> None:
        self._lock = threading.Lock()
        self.set_state(state)

    def spawn(self) -> Generator:
        """A new generator that is independent of this one and of all others that it spawned.

        >>> import portanet
        >>> portanet.random.Generator(1).spawn().initial_seed()
        1
        """
        return self.split(1)[0]

    def split(self, n: int) -> list[Generator]:
        """``n`` new generators, independent of each other and of this one: one for each worker, say.

        They have this one's seed and streams of their own, which Philox makes from its place; that moves on by n.
        Streams are 64 bits: among a million, two coincide with a chance of 3e-8.

        >>> import portanet
        >>> first, second = portanet.random.Generator(1).split(2)
        >>> bool(portanet.any(first.uniform(9) == second.uniform(9)))
        False
        """
        count = operator.index(n)
        if count < 0:
            raise ValueError(f"split: the number of generators cannot be negative, saw {n}.")
        key, start = self._taken(count * WORDS_IN_BLOCK)
        words = [philox(parts(CHILDREN + start + i), key) for i in range(count)]
        return [Generator(key[0], stream=low + (high << 32)) for low, high, *_ in words]

    def _taken(self, words: int) -> tuple[tuple[int, int], int]:
        """The key, and the first of the blocks that hold ``words`` words, which are ours from now on."""
        blocks = -(-words // WORDS_IN_BLOCK)
        with self._lock:
            start = self._counter
            if start + blocks >= 2**64:
                raise RuntimeError("this generator's 2**64 blocks are used up; take another seed or stream.")
            self._counter = start + blocks
            return self._key, start

    def _draw_of(self, words: int) -> dict[str, Any]:
        """The place of a draw of ``words`` words, for a kernel that draws by itself, as often as it likes."""

        def drawn() -> dict[str, Any]:
            key, counter = self._taken(words)
            return {"key": key, "counter": counter}

        recorder = active.get()
        return drawn() if recorder is None else recorder.draw(self, drawn)

    # ----------------------------------------------------------------------------------------------------- numbers

    def uniform(
        self, shape: Any, low: float = 0.0, high: float = 1.0, *, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Numbers evenly distributed over [low, high), on the current backend.

        Those over [0, 1) are the multiples of 2**-24 in float32, of 2**-53 in float64, of 2**-11 in float16 and of
        2**-8 in bfloat16. ``high`` itself is never reached, unless ``low == high``.

        Args:
            shape: the result's; an integer is short for one axis.
            low, high: numbers that the dtype can hold, low <= high.
            dtype: a real floating one; None is the default dtype, float32 at the start.
            device: None is the backend's.

        Raises:
            ValueError: ``low > high``, a bound is not finite in the dtype, or a length is negative.
            TypeError: the dtype is not real floating, or the backend does not have it.

        >>> import portanet
        >>> portanet.random.Generator(1).uniform((2, 2), 10, 20)
        tensor([[18.089863, 17.949013],
                [10.760473, 16.379192]])
        """
        place = _Place("uniform", shape, dtype, device)
        if not low <= high:
            raise ValueError(f"uniform: low must not exceed high, saw low={low}, high={high}.")
        _require_finite("uniform", place.dtype, low=low, high=high, span=high - low)
        unit = place.draw(self, "random_uniform", _words_in(place.dtype), dtype=place.raw_dtype)
        if low == 0 and high == 1:
            return place.tensor(unit)
        xp = place.maker
        first, last = place.like(low, unit), place.like(high, unit)
        # Rounding could lift a number to `high`.
        return place.tensor(xp.minimum(unit * (last - first) + first, xp.nextafter(last, first)))

    def normal(
        self, shape: Any, mean: float = 0.0, std: float = 1.0, *, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Numbers of the normal distribution, on the current backend, by the transformation of Box and Muller (1958).

        With u, v uniform: sqrt(-2 log u) cos(2 pi v) and sqrt(-2 log u) sin(2 pi v). Libraries agree to a few units in
        the last place. float16 and bfloat16 are computed in float32.

        Args:
            shape: the result's; an integer is short for one axis.
            mean, std: numbers, std >= 0.
            dtype: a real floating one; None is the default dtype, float32 at the start.
            device: None is the backend's.

        Raises:
            ValueError: ``std`` is negative, a parameter is not finite in the dtype, or a length is negative.
            TypeError: the dtype is not real floating, or the backend does not have it.

        >>> import portanet
        >>> portanet.random.Generator(1).normal((2, 3)).shape
        (2, 3)
        """
        place = _Place("normal", shape, dtype, device)
        if not std >= 0:
            raise ValueError(f"normal: std must not be negative, saw std={std}.")
        _require_finite("normal", place.dtype, mean=mean, std=std)
        work = place.maker.raw_dtype(dtypes.float32) if place.dtype.itemsize < 4 else place.raw_dtype
        raw = place.draw(self, "random_normal", _words_in(place.dtype), pairs=True, dtype=work)
        if mean != 0 or std != 1:
            raw = raw * place.like(std, raw) + place.like(mean, raw)
        return place.tensor(raw if work == place.raw_dtype else place.maker.astype(raw, place.raw_dtype))

    def integers(
        self, shape: Any, low: int, high: int | None = None, *, dtype: Any = None, device: Any = None
    ) -> Tensor:
        """Integers evenly distributed over low, ..., high - 1, on the current backend.

        The product of a 64-bit word and the range, its upper half (Lemire, "Fast random integer generation in an
        interval", 2019). Nothing is rejected, so that the place in the stream is known: the chances of two values
        differ by no more than 2**-64.

        Args:
            shape: the result's; an integer is short for one axis.
            low, high: the bounds, 0 < high - low <= 2**63; ``high`` None means from 0 up to, not including, ``low``.
            dtype: an integer one; None is the library's default, int64 nearly everywhere.
            device: None is the backend's.

        Raises:
            ValueError: there is no integer between the bounds, or the dtype cannot hold them all.
            TypeError: a bound is not an integer, the dtype neither, or the backend does not have it.

        >>> import portanet
        >>> portanet.random.Generator(1).integers(8, 1, 7)
        tensor([5, 4, 6, 2, 2, 6, 1, 1])
        """
        low, high = (0, integer("high", low)) if high is None else (integer("low", low), integer("high", high))
        place = _Place("integers", shape, dtype, device, whole=True)
        if low >= high:
            raise ValueError(f"integers: low must be below high, saw low={low}, high={high}.")
        if high - low > 2**63:
            raise ValueError(f"integers: high - low can be 2**63 at most, saw low={low}, high={high}.")
        smallest, largest = _bounds(place.dtype)
        if low < smallest or high - 1 > largest:
            raise ValueError(f"integers: {place.dtype} holds {smallest} to {largest}, not {low} to {high - 1}.")
        return place.tensor(place.draw(self, "random_integers", 2, low=low, span=high - low, dtype=place.raw_dtype))

    def permutation(self, x: Any, *, axis: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
        """The integers 0, ..., x - 1 in random order, or an array with its elements along one axis in random order.

        The order is that of 64-bit words, one for each place.

        Args:
            x: an integer, or an array with at least one axis, which stays in its library and on its device. Gradients
                pass.
            axis: of an array: what is shuffled.
            dtype: of integers: None is the library's default, int64 nearly everywhere.
            device: of integers: None is the backend's.

        Raises:
            ValueError: ``x`` is negative, has no axes or not this one.
            TypeError: ``x`` is neither an integer nor an array; ``dtype`` or ``device`` is given with an array.

        >>> import portanet
        >>> portanet.random.Generator(1).permutation(5)
        tensor([3, 4, 1, 0, 2])
        >>> portanet.random.Generator(1).permutation(portanet.asarray([5.0, 6.0, 7.0]))
        tensor([6., 5., 7.])
        """
        if not hasattr(x, "shape"):
            place = _Place("permutation", integer("x", x), dtype, device, whole=True)
            return place.tensor(place.draw(self, "random_permutation", 2, dtype=place.raw_dtype))
        if dtype is not None or device is not None:
            raise TypeError("permutation: an array keeps its dtype and device; move the result with x.to(...).")
        x = x if isinstance(x, Tensor) else Tensor(x)
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"permutation: an array of shape {x.shape} has no axis {axis}.")
        place = _Place("permutation", x.shape[axis], None, x.device, whole=True, library=namespace_of(x._raw))
        order = place.tensor(place.draw(self, "random_permutation", 2, dtype=place.raw_dtype))
        return namespace_of(x).take(x, order, axis=axis)

    def bernoulli(self, shape: Any, p: float, *, dtype: Any = None, device: Any = None) -> Tensor:
        """Ones with probability ``p``, else zeros, on the current backend.

        A number is one if its 32-bit word is below round(p 2**32).

        Args:
            shape: the result's; an integer is short for one axis.
            p: a number in [0, 1].
            dtype: any; None is the default dtype, float32 at the start. ``portanet.bool`` gives truth values.
            device: None is the backend's.

        Raises:
            ValueError: ``p`` is not in [0, 1].

        >>> import portanet
        >>> portanet.random.Generator(1).bernoulli(6, 0.5)
        tensor([0., 0., 1., 0., 0., 0.])
        >>> portanet.random.Generator(1).bernoulli(3, 0.5, dtype=portanet.bool)
        tensor([False, False,  True])
        """
        if not 0 <= p <= 1:
            raise ValueError(f"bernoulli: p must lie in [0, 1], saw p={p}.")
        place = _Place("bernoulli", shape, dtype, device, any_dtype=True)
        truth = place.draw(self, "random_bernoulli", 1, threshold=round(p * 2**32))
        return place.tensor(truth if place.dtype is dtypes.bool_ else place.maker.astype(truth, place.raw_dtype))


class _Place:
    """Where the numbers of one draw go, checked: shape, library, device and dtype; and the library that makes them."""

    __slots__ = ("count", "device", "dtype", "library", "maker", "name", "raw_dtype", "shape", "where")

    def __init__(
        self,
        name: str,
        shape: Any,
        dtype: Any,
        device: Any,
        *,
        whole: bool = False,
        any_dtype: bool = False,
        library: Library | None = None,
    ) -> None:
        backend: Backend = get_backend()
        self.name = name
        self.shape = _shape(name, shape)
        self.count = math.prod(self.shape)
        self.library = library or backend.library
        self.device = backend.device if device is None else self.library.device(device)
        if dtype is not None:
            self.dtype: DType = as_dtype(dtype)
            if whole and "integer" not in self.dtype.kind:
                raise TypeError(f"{name}: the dtype must be an integer one, saw {self.dtype}; try portanet.int64.")
            if not (whole or any_dtype) and self.dtype.kind != "real floating":
                raise TypeError(f"{name}: the dtype must be real floating, saw {self.dtype}; try portanet.float32.")
        else:
            self.dtype = self.library.random_integer_dtype(self.device) if whole else backend.dtype
        # bfloat16 is not among NumPy's types.
        on_host = self.library.random_on_host(self.device) and self.dtype is not dtypes.bfloat16
        self.maker = _host() if on_host else self.library
        self.where = None if on_host else self.device
        self.raw_dtype = self.maker.raw_dtype(self.dtype)

    def draw(self, generator: Generator, kernel: str, words: int, *, pairs: bool = False, **options: Any) -> Any:
        """A raw array of the shape; so many words are taken for each of its numbers, in ``pairs`` for an even count."""
        count = self.count + self.count % 2 if pairs else self.count

        def drawn() -> Any:
            key, counter = generator._taken(words * count)
            raw = getattr(self.maker, kernel)(self.count, key=key, counter=counter, device=self.where, **options)
            return self.maker.reshape(raw, self.shape)

        recorder = active.get()
        return drawn() if recorder is None else recorder.draw(generator, drawn)

    def like(self, number: float, raw: Any) -> Any:
        """A number as an array beside ``raw``: rounded to its dtype once, the same way on every library."""
        return self.maker.asarray(float(number), dtype=raw.dtype, device=self.where)

    def tensor(self, raw: Any) -> Tensor:
        """The Tensor of a raw array, moved to where it was asked for."""
        if self.maker is not self.library:
            raw = self.library.from_host(raw, self.library.raw_dtype(self.dtype), self.device)
        made = self.library.dtype_of(raw.dtype)
        if made is not self.dtype:
            raise TypeError(
                f"{self.name}: {self.library.library_name} gives {made} where {self.dtype} was asked for; ask for "
                f"{made}, or switch on the library's 64-bit types."
            )
        return Tensor(raw)


@functools.cache
def _host() -> Library:
    return load(HOST)


def _words_in(dtype: DType) -> int:
    """How many 32-bit words a floating number of this dtype is made of."""
    return 2 if dtype.itemsize == 8 else 1


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    try:
        lengths = tuple([operator.index(n) for n in shape]) if isinstance(shape, Sequence) else (operator.index(shape),)
    except TypeError:
        raise TypeError(f"{name}: a shape is an integer or a tuple of integers, saw {shape!r}.") from None
    for length in lengths:
        if length < 0:
            raise ValueError(f"{name}: no axis can have a negative length, saw shape {lengths}.")
    return lengths


def integer(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, saw {value!r} of type {type(value).__name__}.") from None


def _word(name: str, value: Any) -> int:
    number = integer(name, value)
    if not 0 <= number < 2**64:
        raise ValueError(f"{name} must lie in [0, 2**64), saw {number}; {name} % 2**64 does.")
    return number


def _bounds(dtype: DType) -> tuple[int, int]:
    bits = 8 * dtype.itemsize
    return (0, 2**bits - 1) if dtype.kind == "unsigned integer" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _require_finite(name: str, dtype: DType, **numbers: float) -> None:
    for which, number in numbers.items():
        if not abs(number) <= LARGEST.get(dtype.name, 1.7976931348623157e308):
            raise ValueError(f"{name}: {which}={number} is not finite in {dtype}.")
