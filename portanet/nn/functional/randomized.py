"""Activations that draw random numbers: the same seed draws the same ones on every library and device."""

from __future__ import annotations

from typing import Any

from portanet import random
from portanet.dtypes import float32
from portanet.library import namespace_of
from portanet.nn.functional._arguments import elementwise_namespace, require_axis
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.nn.functional._drawing import drawn_like
from portanet.tensor import Tensor

__all__ = ["gumbel_softmax", "rrelu"]


def require_slopes(name: str, lower: float, upper: float) -> None:
    """Raise ValueError unless ``lower <= upper``."""
    if not lower <= upper:
        raise ValueError(f"{name}: lower={lower} is above upper={upper}.")


def rrelu(
    input: Any,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    generator: Any = None,
) -> Any:
    """x where x > 0, and a x elsewhere: in training each a is random, evenly from ``lower`` to ``upper``.

    Without ``training`` each a is their mean. Xu, Wang, Chen and Li 2015, "Empirical evaluation of rectified activations
    in convolutional network".

    Args:
        input: real floating, any shape.
        lower, upper: the bounds of the slopes, lower <= upper.
        training: whether slopes are drawn.
        inplace: kept for PyTorch's sake; only False is possible.
        generator: where the random numbers come from; None: `portanet.random.default_generator`.

    Raises:
        TypeError: ``input`` is no array, or not real floating.
        ValueError: ``lower > upper``, or ``inplace`` is true.

    >>> import portanet
    >>> portanet.nn.functional.rrelu(portanet.asarray([-4.0, 2.0]), 0.25, 0.75)
    tensor([-2.,  2.])
    """
    require_slopes("rrelu", lower, upper)
    xp = elementwise_namespace("rrelu", input, inplace)
    slopes: Any = (lower + upper) / 2
    if training:
        x = raw_of(input)
        slopes = drawn_like(x, random.uniform, tuple(x.shape), lower, upper, generator=generator)
        slopes = Tensor(slopes) if isinstance(input, Tensor) else slopes
    return xp.where(input > 0, input, input * slopes)


def gumbel_softmax(
    logits: Any, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1, *, generator: Any = None
) -> Any:
    """softmax((logits + noise) / tau) along the axis ``dim``: a random choice through which gradients pass.

    The noise is -log(-log(u)) with u even in (0, 1). The largest element is each one with the probability that softmax
    of the logits gives it, and the smaller ``tau``, the nearer the result is to that choice alone. Jang, Gu and Poole
    2017, "Categorical reparameterization with Gumbel-softmax"; Maddison, Mnih and Teh 2017.

    Args:
        logits: real floating, at least one axis.
        tau: the temperature, above 0.
        hard: the choice itself, exactly 1 and 0; the gradient is that of the soft one.
        eps: kept for PyTorch's sake; without effect there too.
        dim: the axis.
        generator: where the random numbers come from; None: `portanet.random.default_generator`.

    Raises:
        TypeError: ``logits`` is no array, or not real floating.
        IndexError: ``dim`` is no axis of the logits.
        ValueError: ``tau`` is not above 0.

    >>> import portanet
    >>> y = portanet.nn.functional.gumbel_softmax(portanet.zeros(4), hard=True)
    >>> sorted(y.tolist())
    [0.0, 0.0, 0.0, 1.0]
    """
    if not tau > 0:
        raise ValueError(f"gumbel_softmax: tau={tau}; expected a number > 0.")
    xp = elementwise_namespace("gumbel_softmax", logits)
    require_axis("gumbel_softmax", dim, logits)
    noise = _gumbel(raw_of(logits), generator)
    noise = Tensor(noise) if isinstance(logits, Tensor) else noise
    soft = xp.softmax((logits + noise) / tau, axis=dim)
    if not hard:
        return soft
    values = raw_of(soft)
    chosen = _largest(namespace_of(values), values, dim % logits.ndim)
    # The soft one less itself is 0, to the last bit, but has a gradient.
    return soft - Tensor(values) + Tensor(chosen) if isinstance(soft, Tensor) else chosen


def _gumbel(like: Any, generator: Any) -> Any:
    """Noise of Gumbel's distribution, of the shape and dtype of the raw array ``like``."""
    xp, dtype = namespace_of(like), dtype_of(like)
    work = dtype if dtype.itemsize >= 4 else float32
    u = drawn_like(like, random.uniform, tuple(like.shape), dtype=work, generator=generator)
    # Half of the least step stands for 0, whose logarithm is infinite; 1 is never drawn.
    noise = -xp.log(-xp.log(xp.maximum(u, xp.full_like(u, 2.0**-54 if work.itemsize == 8 else 2.0**-25))))
    return noise if work is dtype else xp.astype(noise, like.dtype)


def _largest(xp: Any, x: Any, dim: int) -> Any:
    """1 at the first of the largest elements along the axis ``dim``, and 0 elsewhere."""
    if 0 in x.shape:
        return x
    first = xp.argmax(x, axis=dim, keepdims=True)
    places = xp.reshape(xp.positions(x, axis=dim), tuple([-1 if i == dim else 1 for i in range(x.ndim)]))
    return xp.astype(xp.astype(places, first.dtype) == first, x.dtype)
