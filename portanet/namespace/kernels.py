"""The kernels on Tensors: what rules and layers need beyond the standard."""

from __future__ import annotations

from typing import Any

from portanet.autocasting import current
from portanet.library import device_of as _device_of
from portanet.library import explain, libraries, namespace_of, require_same
from portanet.namespace.elementwise import _unary
from portanet.reading import raw_key
from portanet.tape import recording
from portanet.tensor import Tensor, apply, moved, precise, result_of
from portanet.vjps import rule as rule_of

__all__ = [
    "add_along_axis",
    "add_at",
    "avg_pool",
    "batch_norm",
    "binary_cross_entropy",
    "cofactors",
    "conv",
    "conv_backward_input",
    "conv_backward_weight",
    "copy",
    "cross_entropy_of_scores",
    "device_of",
    "dropout",
    "fold",
    "gelu",
    "horner",
    "linear",
    "log_softmax",
    "max_pool",
    "move_like",
    "pick_class",
    "positions",
    "relu",
    "rows_at",
    "scatter_add",
    "set_at",
    "sigmoid",
    "sigmoid_cross_entropy",
    "silu",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "standardized",
    "unfold",
]  # fmt: skip


def cofactors(x: Any) -> Tensor:
    """The signed minors of square matrices (..., n, n): the derivative of their determinants."""
    return apply("cofactors", x)


def copy(x: Any) -> Tensor:
    """The same elements in new memory."""
    return apply("copy", x)


def device_of(x: Tensor) -> Any:
    """The device of ``x``, or None where the library leaves that open."""
    return _device_of(x._raw)


def move_like(x: Tensor, like: Tensor) -> Tensor:
    """``x`` carried to the library and device of ``like``."""
    return moved(x, namespace_of(like._raw), _device_of(like._raw))


def positions(x: Any, *, axis: int = 0) -> Tensor:
    """0, 1, ... along one axis of ``x``, in its library and on its device: a constant made like its neighbour."""
    return apply("positions", x, axis=axis)


def scatter_add(x: Any, indices: Any, updates: Any) -> Tensor:
    """``x`` with the row ``updates[i]`` added to row ``indices[i]``; repeated indices add up."""
    return apply("scatter_add", x, indices, updates)


def set_at(x: Tensor, values: Any, *, key: Any) -> Tensor:
    """A copy of ``x`` with ``x[key] = values``."""
    return apply("set_at", x, values, key=raw_key(key, x._raw))


def add_at(x: Tensor, updates: Any, *, key: Any) -> Tensor:
    """A copy of ``x`` with ``x[key] += updates``; a place named twice is added to twice."""
    return apply("add_at", x, updates, key=raw_key(key, x._raw))


def add_along_axis(x: Any, indices: Any, updates: Any, *, axis: int) -> Tensor:
    """`take_along_axis` transposed: each update added at its index along ``axis``."""
    return apply("add_along_axis", x, indices, updates, axis=axis)


relu = _unary("relu", "max(x, 0); the slope at 0 is 0.", "[-1.0, 2.0] -> tensor([0., 2.])")
sigmoid = _unary("sigmoid", "1 / (1 + e^-x), for real x.", "[-2.0, 0.0] -> tensor([0.11920292, 0.5       ])")
silu = _unary("silu", "x times the sigmoid of x.", "[0.0, 100.0] -> tensor([  0., 100.])")


def softplus(x: Any, *, beta: float, threshold: float) -> Tensor:
    """log(1 + exp(beta x)) / beta, and x itself where beta x > threshold."""
    return apply("softplus", x, beta=beta, threshold=threshold)


def gelu(x: Any, *, approximate: str) -> Tensor:
    """x times the normal distribution function of x, exact (``"none"``) or nearly (``"tanh"``)."""
    return apply("gelu", x, approximate=approximate)


def dropout(x: Any, *, threshold: int, scale: float, key: tuple[int, int], counter: int) -> Tensor:
    """``x`` times ``scale`` where the words of a draw, by key and counter, are below ``threshold``; else times 0."""
    return apply("dropout", x, threshold=threshold, scale=scale, key=key, counter=counter)


def softmax(x: Any, *, axis: Any) -> Tensor:
    """exp(x) / sum(exp(x)) over ``axis``: one, several, or all (None)."""
    return apply("softmax", x, axis=axis)


def log_softmax(x: Any, *, axis: Any) -> Tensor:
    """The logarithm of `softmax`, exact where that is 0."""
    return apply("log_softmax", x, axis=axis)


def pick_class(x: Any, target: Any, *, ignore_index: int) -> Tensor:
    """``x[..., target]`` along the last axis, 0 where the target is ``ignore_index``."""
    return apply("pick_class", x, target, ignore_index=ignore_index)


def softmax_cross_entropy(x: Any, target: Any, *, ignore_index: int, reduction: str) -> tuple[Tensor, Tensor]:
    """-log softmax(x)[..., target] along the last axis, of each example or reduced, and softmax(x)."""
    return apply("softmax_cross_entropy", x, target, ignore_index=ignore_index, reduction=reduction)


def cross_entropy_of_scores(x: Any, target: Any, *, ignore_index: int, reduction: str) -> tuple[Tensor, Tensor]:
    """-log softmax(x)[..., target] along the last axis, of each example or reduced, and log(sum(exp(x)))."""
    return apply("cross_entropy_of_scores", x, target, ignore_index=ignore_index, reduction=reduction)


def sigmoid_cross_entropy(x: Any, target: Any) -> Tensor:
    """-target log sigmoid(x) - (1 - target) log sigmoid(-x), element by element."""
    return apply("sigmoid_cross_entropy", x, target)


def binary_cross_entropy(p: Any, target: Any) -> Tensor:
    """-target log(p) - (1 - target) log(1 - p), element by element, no logarithm below -100."""
    return apply("binary_cross_entropy", p, target)


_LINEAR = rule_of("linear")


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """``x weight^T + bias``: (..., n), (m, n), (m,) -> (..., m). Written out, as every network spends its time here."""
    if (region := current.get()) is not None:
        x, weight, bias = precise(region, "linear", (x, weight, bias))
    b = r = None
    try:
        a, p = x._raw, x._node
        w, q = weight._raw, weight._node
        if bias is not None:
            b, r = bias._raw, bias._node
    except AttributeError:  # one of them is no Tensor
        return apply("linear", x, weight, bias)
    if type(a) is not type(w):
        require_same("linear", a, w)
    if b is not None and type(b) is not type(w):
        require_same("linear", b, w)
    try:
        y = libraries[type(a)].linear(a, w, b)
    except Exception as problem:
        explain("linear", (a, w, b), problem)
    if (p is None and q is None and r is None) or not recording.get():
        return Tensor(y)
    return result_of(_LINEAR, (a, w, b), None, y, (p, q, r))


def standardized(x: Any, *, axis: tuple[int, ...], eps: float) -> Tensor:
    """``x`` shifted to mean 0 and scaled to variance 1 over ``axis``, ``eps`` being added to the variance."""
    return apply("standardized", x, axis=axis, eps=eps)


def rows_at(weight: Any, indices: Any, *, padding_idx: int | None = None, by_frequency: bool = False) -> Tensor:
    """The rows of ``weight`` that the integers ``indices`` name; no gradient comes back to row ``padding_idx``."""
    return apply("rows_at", weight, indices, padding_idx=padding_idx, by_frequency=by_frequency)


def horner(x: Any, coefficients: Any) -> Tensor:
    """The polynomial with ``coefficients``, those of the highest power first, at each element of ``x``."""
    return apply("horner", x, coefficients)


def conv(x: Any, weight: Any, bias: Any = None, **how: Any) -> Tensor:
    """Convolution over all axes but the first two; ``stride``, ``padding``, ``dilation`` and ``groups`` by name."""
    return apply("conv", x, weight, bias, **how)


def conv_backward_input(g: Any, weight: Any, **how: Any) -> Tensor:
    """`conv` transposed as a map of its x: what transposed convolutions are; ``size`` and conv's arguments by name."""
    return apply("conv_backward_input", g, weight, **how)


def conv_backward_weight(g: Any, x: Any, **how: Any) -> Tensor:
    """`conv` transposed as a map of its weight; ``size`` and conv's arguments by name."""
    return apply("conv_backward_weight", g, x, **how)


def unfold(x: Any, **how: Any) -> Tensor:
    """All windows as columns; ``kernel``, ``stride``, ``padding`` and ``dilation`` by name."""
    return apply("unfold", x, **how)


def fold(x: Any, **how: Any) -> Tensor:
    """`unfold` transposed: what windows hold, added up; ``size`` and unfold's arguments by name."""
    return apply("fold", x, **how)


def max_pool(x: Any, **how: Any) -> Tensor:
    """The largest value in each window; ``kernel``, ``stride``, ``padding`` and ``dilation`` by name."""
    return apply("max_pool", x, **how)


def avg_pool(x: Any, **how: Any) -> Tensor:
    """The mean of each window; ``kernel``, ``stride``, ``padding``, ``counted`` and ``divisor`` by name."""
    return apply("avg_pool", x, **how)


def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *, eps: float, own: bool) -> Tensor:
    """Each channel of ``x`` by mean and variance, its ``own`` or given, then scaled and shifted."""
    return apply("batch_norm", x, weight, bias, mean, variance, eps=eps, own=own)
