"""The switch of mixed precision, and which operations it casts the arguments of. `portanet.amp` is its public face.

A cast is made where operations are dispatched, on their Tensors, so that no layer and no loss need know of it. Rules of
differentiation run on what was cast, with the switch off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from portanet import dtypes
from portanet.dtypes import DType
from portanet.library import namespace_of
from portanet.plan.recorder import active
from portanet.reading import Reading
from portanet.tape import Leaf, recording

__all__ = ["autocast"]

# The lists are PyTorch's for CUDA. What is on neither follows its inputs, and mixed inputs go to the wider dtype.
NARROW = frozenset(
    "linear matmul tensordot vecdot conv conv_backward_input conv_backward_weight attention packed_attention lstm".split()
)
WIDE = frozenset(
    "acos asin binary_cross_entropy cosh cross_entropy_of_scores cumulative_prod cumulative_sum erfinv exp expm1 layer_norm "
    "linalg.vector_norm log log10 log1p log2 log_softmax pick_class pow prod reciprocal sigmoid_cross_entropy sinh softmax "
    "softmax_cross_entropy softplus standardized sum tan".split()
)
RULED = NARROW | WIDE
CASTABLE = frozenset({dtypes.float16, dtypes.bfloat16, dtypes.float32})  # float64 was asked for: it is left alone

Cast = Callable[[Any, DType], Any]


class Region:
    """One block of `autocast`: its dtype, or None where it is switched off, and the casts of parameters made so far.

    A parameter that is used ten times is cast once: its cast is kept by the Tensor, the array that it holds at present
    (held here, so that no optimizer writes to it unnoticed) and its node. A recording for `portanet.compile` keeps none of
    those made before it, nor leaves its own behind.
    """

    __slots__ = ("cache", "dtype", "outer", "recorder")

    def __init__(self, dtype: DType | None, outer: Region | None, cached: bool = True) -> None:
        self.dtype, self.outer, self.recorder = dtype, outer, active.get()
        shared = outer is not None and outer.recorder is self.recorder and outer.cache is not None
        self.cache: dict[Any, Any] | None = {} if cached else None
        if cached and shared:
            self.cache = outer.cache  # type: ignore[union-attr]

    def left(self) -> None:
        """Forget the casts, where this is the outermost block that knows them."""
        if self.cache is not None and (self.outer is None or self.outer.cache is not self.cache):
            self.cache.clear()

    def converted(self, name: str, args: Any, cast: Cast) -> Any:
        """The arguments of the operation ``name`` in the dtype that it is to run in."""
        if self.dtype is None:
            return args
        known = [x.dtype for x in args if isinstance(x, Reading)]
        if any([dtype.kind.endswith("floating") and dtype not in CASTABLE for dtype in known]):
            return args
        if name in WIDE:
            return [widened(x, cast) for x in args]
        return [self._narrowed(x, cast) for x in args]

    def _narrowed(self, x: Any, cast: Cast) -> Any:
        if not isinstance(x, Reading) or x.dtype is self.dtype or x.dtype not in CASTABLE:
            return x
        keeps = self.cache is not None and type(x._node) is Leaf and active.get() is self.recorder
        if not keeps:
            return self._cast(x, cast)
        key = id(x), self.dtype, recording.get()
        found = self.cache.get(key)  # type: ignore[union-attr]
        if found is None or found[0] is not x or found[1] is not x._raw or found[2] is not x._node:
            found = self.cache[key] = x, x._raw, x._node, self._cast(x, cast)  # type: ignore[index]
        return found[3]

    def _cast(self, x: Any, cast: Cast) -> Any:
        require_dtype("autocast", namespace_of(x._raw), self.dtype)
        return cast(x, self.dtype)  # type: ignore[arg-type]


current: ContextVar[Region | None] = ContextVar("portanet_autocast", default=None)


def widened(x: Any, cast: Cast) -> Any:
    """A Tensor of a half-width dtype in float32; anything else as it is."""
    narrow = isinstance(x, Reading) and x.dtype.itemsize == 2 and x.dtype in CASTABLE
    return cast(x, dtypes.float32) if narrow else x


def require_dtype(where: str, library: Any, dtype: DType | None) -> None:
    """Raise TypeError, with the way out, unless the library has this dtype."""
    try:
        library.raw_dtype(dtype)
    except TypeError:
        others = [one for one in (dtypes.float16, dtypes.bfloat16) if one is not dtype and _has(library, one)]
        instead = f"take {where}(dtype={others[0].name!r}), or move" if others else "move"
        raise TypeError(
            f"{where}: {library.library_name} has no {dtype}; {instead} the model and its inputs to a library that has it: "
            ".to('torch'), .to('jax'), .to('cupy')."
        ) from None


def _has(library: Any, dtype: DType) -> bool:
    try:
        return library.raw_dtype(dtype) is not None
    except TypeError:
        return False


def allowed(a: DType, b: DType) -> bool:
    """Whether two dtypes that differ will be brought together by a cast, so that they are no mistake."""
    region = current.get()
    return region is not None and region.dtype is not None and a in CASTABLE and b in CASTABLE


def form() -> DType | None:
    """What a recording depends on: the dtype of the present block."""
    region = current.get()
    return None if region is None else region.dtype


def present() -> Region | None:
    """A block like the present one, to compute something again in later; None outside of all."""
    region = current.get()
    return None if region is None else Region(region.dtype, None, region.cache is not None)


class autocast(contextlib.ContextDecorator):
    """Within this block, or in a function decorated with it, products run in a half-width dtype, the rest where it is safe.

    Mixed precision: Micikevicius and others 2018, "Mixed precision training". Parameters stay float32. Linear maps, matrix
    products, convolutions and their transposes, attention and recurrent layers cast their arguments to ``dtype``, and so
    have results of it; sums, powers, exponentials and logarithms, softmax, losses, `layer_norm` and `group_norm` run and
    end in float32; batch normalisation takes its statistics in float32 and gives back the dtype of its input; everything
    else follows its inputs, two dtypes going to the wider. The lists are PyTorch's. Gradients arrive in the dtype of the
    parameter. float64 and complex arrays are left alone, and so is what contains no Tensor.

    Only the forward pass belongs in the block: `backward` runs each operation in the dtype that it had.

    Args:
        dtype: ``"float16"``, whose narrow range needs a `GradScaler`, or ``"bfloat16"``, which needs none.
        enabled: False for a block, inside of another, without casts.
        cache_enabled: whether a parameter that is used several times in the outermost block is cast once.

    Raises:
        ValueError: another dtype.
        TypeError: at the first product, where its library lacks the dtype: NumPy has no bfloat16, array_api_strict neither.

    >>> import portanet
    >>> layer = portanet.nn.Linear(3, 2)
    >>> with portanet.autocast(dtype="float16"):
    ...     y = layer(portanet.ones((1, 3)))
    ...     loss = portanet.nn.functional.mse_loss(y, portanet.zeros((1, 2)))
    >>> loss.backward()
    >>> y.dtype, loss.dtype, layer.weight.grad.dtype
    (portanet.float16, portanet.float32, portanet.float32)
    """

    def __init__(self, dtype: Any = dtypes.float16, *, enabled: bool = True, cache_enabled: bool = True) -> None:
        known = dtypes.as_dtype(dtype)
        if known not in (dtypes.float16, dtypes.bfloat16):
            raise ValueError(f"autocast: dtype={known}; expected 'float16' or 'bfloat16'.")
        self.dtype, self.enabled, self.cache_enabled = known, enabled, cache_enabled
        self._entered: list[Any] = []

    def _recreate_cm(self) -> autocast:  # a decorated function may run in several threads
        return type(self)(self.dtype, enabled=self.enabled, cache_enabled=self.cache_enabled)

    def __enter__(self) -> autocast:
        region = Region(self.dtype if self.enabled else None, current.get(), self.cache_enabled)
        self._entered.append((region, current.set(region)))
        return self

    def __exit__(self, *exception: Any) -> None:
        region, token = self._entered.pop()
        current.reset(token)
        region.left()
