"""Dropout: zeros at random, so that no unit can rely on another."""

from __future__ import annotations

import math
from typing import Any

from portanet import random
from portanet.library import namespace_of
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.nn.functional._drawing import drawn_like
from portanet.tensor import Tensor

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

# SELU falls to -1.7581, the product of its two numbers: what alpha dropout puts in the place of a unit that it drops.
SELU_LOWEST = -1.0507009873554805 * 1.6732632423543772


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Any = None) -> Any:
    """Each element set to 0 with probability ``p``, the others divided by 1 - p, so that the mean stays.

    The same seed drops the same elements on every library and device. Srivastava, Hinton, Krizhevsky, Sutskever and
    Salakhutdinov 2014, "Dropout: a simple way to prevent neural networks from overfitting".

    Args:
        input: an array of any shape and a floating dtype.
        p: the probability of a zero, from 0 to 1.
        training: without it, the result is the input.
        inplace: kept for PyTorch's sake; only False is possible.
        generator: where the random numbers come from; None: `portanet.random.default_generator`.

    Returns:
        of the shape and dtype of the input.

    >>> import portanet
    >>> y = portanet.nn.functional.dropout(portanet.ones(1000), p=0.5)
    >>> sorted(set(y.tolist()))
    [0.0, 2.0]
    """
    x = _checked("dropout", input, p, inplace)
    return _dropped(input, x, tuple(x.shape), p, training, generator)


def dropout_mask(like: Any, shape: tuple[int, ...], p: float, generator: Any = None) -> Any:
    """A raw array of ``shape`` that is 0 with probability ``p`` < 1, else 1 / (1 - p): made like the raw array ``like``."""
    return drawn_like(like, random.bernoulli, shape, 1 - p, generator=generator) * (1 / (1 - p))


def check_options(name: str, p: float, inplace: bool) -> None:
    """Raise ValueError unless ``p`` is a probability and ``inplace`` is False."""
    if inplace:
        raise ValueError(f"{name}: inplace=True is not possible, for arrays here are never edited; leave it out.")
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p must be a probability from 0 to 1, saw {p}.")


def _checked(name: str, input: Any, p: float, inplace: bool) -> Any:
    """The raw array of an input that may be dropped from."""
    check_options(name, p, inplace)
    x = raw_of(input)
    if "floating" not in dtype_of(x).kind:
        raise TypeError(f"{name}: expected a floating dtype, saw {dtype_of(x)}; portanet.astype(x, portanet.float32).")
    return x


def _dropped(input: Any, x: Any, shape: tuple[int, ...], p: float, training: bool, generator: Any) -> Any:
    """``input`` times a mask of ``shape``; its raw array is ``x``."""
    if not training or p == 0:
        return input
    if p == 1:
        return input * namespace_of(x).zeros_like(x)
    if shape == tuple(x.shape) and namespace_of(x).draws_anew():
        place = random._chosen(generator)._draw_of(math.prod(shape))
        how = {"threshold": round((1 - p) * 2**32), "scale": 1 / (1 - p)}
        return namespace_of(input).dropout(input, **how, **place)
    mask = dropout_mask(x, shape, p, generator)
    return input * (Tensor(mask) if isinstance(input, Tensor) else mask)


# ---------------------------------------------------------------------------------------------------------------------
# Whole channels


def _channels(x: Any, batched: bool) -> tuple[int, ...]:
    """The shape of one number for each channel of each example."""
    count = 2 if batched else 1
    return tuple(x.shape[:count]) + (1,) * (x.ndim - count)


def _require_axes(name: str, x: Any, shapes: dict[int, str]) -> None:
    if x.ndim not in shapes:
        raise ValueError(f"{name}: expected {' or '.join(shapes.values())}, saw shape {tuple(x.shape)}.")


def dropout1d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Any = None
) -> Any:
    """Each channel set to 0 as a whole with probability ``p``, the others divided by 1 - p.

    Neighbours in a sequence are much alike, so that dropping one would drop little. Tompson, Goroshin, Jain, LeCun and
    Bregler 2015, "Efficient object localization using convolutional networks".

    Args:
        input: of shape (N, C, L) or (C, L), and a floating dtype.
        p, training, inplace, generator: as in `dropout`.

    Raises:
        TypeError: another dtype.
        ValueError: another number of axes; ``p`` is no probability; ``inplace`` is true.

    >>> import portanet
    >>> y = portanet.nn.functional.dropout1d(portanet.ones((100, 3)))
    >>> sorted(set(portanet.sum(y, axis=1).tolist()))
    [0.0, 6.0]
    """
    x = _checked("dropout1d", input, p, inplace)
    _require_axes("dropout1d", x, {2: "(C, L)", 3: "(N, C, L)"})
    return _dropped(input, x, _channels(x, x.ndim == 3), p, training, generator)


def dropout2d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Any = None
) -> Any:
    """`dropout1d` for images: each channel set to 0 as a whole.

    Args:
        input: of shape (N, C, H, W) and a floating dtype. Three axes are (N, C, L), as in PyTorch, not (C, H, W).
        p, training, inplace, generator: as in `dropout`.

    Raises: as `dropout1d`.

    >>> import portanet
    >>> y = portanet.nn.functional.dropout2d(portanet.ones((100, 1, 2, 2)))
    >>> sorted(set(portanet.sum(y, axis=(1, 2, 3)).tolist()))
    [0.0, 8.0]
    """
    x = _checked("dropout2d", input, p, inplace)
    _require_axes("dropout2d", x, {3: "(N, C, L)", 4: "(N, C, H, W)"})
    return _dropped(input, x, _channels(x, True), p, training, generator)


def dropout3d(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Any = None
) -> Any:
    """`dropout1d` for volumes: each channel set to 0 as a whole.

    Args:
        input: of shape (N, C, D, H, W) or (C, D, H, W), and a floating dtype.
        p, training, inplace, generator: as in `dropout`.

    Raises: as `dropout1d`.

    >>> import portanet
    >>> y = portanet.nn.functional.dropout3d(portanet.ones((100, 1, 2, 2)))
    >>> sorted(set(portanet.sum(y, axis=(1, 2, 3)).tolist()))
    [0.0, 8.0]
    """
    x = _checked("dropout3d", input, p, inplace)
    _require_axes("dropout3d", x, {4: "(C, D, H, W)", 5: "(N, C, D, H, W)"})
    return _dropped(input, x, _channels(x, x.ndim == 5), p, training, generator)


# ---------------------------------------------------------------------------------------------------------------------
# For self-normalising networks


def _alpha_dropped(input: Any, x: Any, shape: tuple[int, ...], p: float, training: bool, generator: Any) -> Any:
    """a (kept x + (1 - kept) low - p low): a and the shift bring mean 0 and variance 1 back."""
    if not training or p == 0:
        return input
    if p == 1:
        return input * namespace_of(x).zeros_like(x)
    a = 1 / math.sqrt((1 - p) * (1 + p * SELU_LOWEST**2))
    kept = drawn_like(x, random.bernoulli, shape, 1 - p, generator=generator)
    factor, shift = kept * a, (1 - p - kept) * (a * SELU_LOWEST)
    if isinstance(input, Tensor):
        factor, shift = Tensor(factor), Tensor(shift)
    return input * factor + shift


def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, *, generator: Any = None
) -> Any:
    """Dropout for `selu`: with probability ``p`` an element becomes SELU's lowest value, and mean and variance stay.

    a x + b where an element is kept, and a low + b where it is dropped: low = -1.7581, a = ((1 - p) (1 + p low^2))^-1/2
    and b = -a p low. What had mean 0 and variance 1 still has. Klambauer, Unterthiner, Mayr and Hochreiter 2017,
    "Self-normalizing neural networks".

    Args:
        input: an array of any shape and a floating dtype.
        p, inplace, generator: as in `dropout`. With ``p`` 1 the result is 0.
        training: without it, which is the default here, the result is the input.

    Raises: as `dropout`.

    >>> import portanet
    >>> y = portanet.nn.functional.alpha_dropout(portanet.zeros(100), 0.5, training=True)
    >>> sorted({round(one, 4) for one in y.tolist()})
    [-0.7792, 0.7792]
    """
    x = _checked("alpha_dropout", input, p, inplace)
    return _alpha_dropped(input, x, tuple(x.shape), p, training, generator)


def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False, *, generator: Any = None
) -> Any:
    """`alpha_dropout` of whole channels.

    Args:
        input: of shape (N, C, ...) and a floating dtype.
        p, training, inplace, generator: as in `alpha_dropout`.

    Raises: as `dropout`; ValueError for fewer than two axes too.

    >>> import portanet
    >>> y = portanet.nn.functional.feature_alpha_dropout(portanet.zeros((100, 1, 3)), 0.5, training=True)
    >>> sorted({round(one, 4) for one in portanet.mean(y, axis=(1, 2)).tolist()})
    [-0.7792, 0.7792]
    """
    x = _checked("feature_alpha_dropout", input, p, inplace)
    if x.ndim < 2:
        raise ValueError(f"feature_alpha_dropout: expected (N, C, ...), saw shape {tuple(x.shape)}.")
    return _alpha_dropped(input, x, _channels(x, True), p, training, generator)
