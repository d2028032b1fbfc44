"""Dropout: zeros at random, so that no unit can rely on another."""

from __future__ import annotations

from typing import Any

from portanet import random
from portanet.backend import use_backend
from portanet.library import device_of, namespace_of
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.tensor import Tensor

__all__ = ["dropout"]


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
    check_options("dropout", p, inplace)
    x = raw_of(input)
    if "floating" not in dtype_of(x).kind:
        raise TypeError(f"dropout: expected a floating dtype, saw {dtype_of(x)}; portanet.astype(x, portanet.float32).")
    if not training or p == 0:
        return input
    if p == 1:
        return input * namespace_of(x).zeros_like(x)
    mask = dropout_mask(x, tuple(x.shape), p, generator)
    return input * (Tensor(mask) if isinstance(input, Tensor) else mask)


def dropout_mask(like: Any, shape: tuple[int, ...], p: float, generator: Any = None) -> Any:
    """A raw array of ``shape`` that is 0 with probability ``p`` < 1, else 1 / (1 - p): made like the raw array ``like``."""
    with use_backend(namespace_of(like), device=device_of(like)):
        kept = random.bernoulli(shape, 1 - p, dtype=dtype_of(like), generator=generator)
    return kept._raw * (1 / (1 - p))


def check_options(name: str, p: float, inplace: bool) -> None:
    """Raise ValueError unless ``p`` is a probability and ``inplace`` is False."""
    if inplace:
        raise ValueError(f"{name}: inplace=True is not possible, for arrays here are never edited; leave it out.")
    if not 0 <= p <= 1:
        raise ValueError(f"{name}: p must be a probability from 0 to 1, saw {p}.")
