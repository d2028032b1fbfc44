"""Activations that shrink: what is near 0, or below a threshold, is replaced; the rest is kept or moved towards 0.

All take real floating arrays of any library, raw or as Tensors, and return the same shape and dtype.
"""

from __future__ import annotations

from typing import Any

from portanet.nn.functional._arguments import elementwise_namespace

__all__ = ["hardshrink", "softshrink", "tanhshrink", "threshold"]


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """0 where |x| <= ``lambd``, and x elsewhere: the hard thresholding of Donoho and Johnstone 1994.

    Args:
        input: real floating, any shape.
        lambd: how far from 0 numbers are dropped; a negative one drops none.

    Raises:
        TypeError: ``input`` is no array, or not real floating.

    >>> import portanet
    >>> portanet.nn.functional.hardshrink(portanet.asarray([-2.0, 0.5, 0.75]))
    tensor([-2.  ,  0.  ,  0.75])
    """
    xp = elementwise_namespace("hardshrink", input)
    return xp.where(xp.abs(input) <= lambd, xp.zeros_like(input), input)


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x moved towards 0 by ``lambd``, but not beyond: the soft thresholding of Donoho and Johnstone 1994.

    x - lambd where x > lambd, x + lambd where x < -lambd, else 0; the slope at both bends is 0.

    Arguments and errors: `hardshrink`; ``lambd`` below 0 is a ValueError.

    >>> import portanet
    >>> portanet.nn.functional.softshrink(portanet.asarray([-2.0, 0.5, 0.75]))
    tensor([-1.5 ,  0.  ,  0.25])
    """
    if not lambd >= 0:
        raise ValueError(f"softshrink: lambd={lambd}; expected a number >= 0.")
    return input - elementwise_namespace("softshrink", input).clip(input, -lambd, lambd)


def tanhshrink(input: Any) -> Any:
    """x - tanh(x), element by element. Errors: `hardshrink`.

    >>> import portanet
    >>> portanet.nn.functional.tanhshrink(portanet.asarray([0.0, 100.0]))
    tensor([ 0., 99.])
    """
    return input - elementwise_namespace("tanhshrink", input).tanh(input)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > ``threshold``, and ``value`` elsewhere, where the slope is 0.

    Args:
        input: real floating, any shape.
        threshold: what x must exceed to be kept.
        value: what stands in the place of the others.
        inplace: kept for PyTorch's sake; only False is possible.

    Raises:
        TypeError: ``input`` is no array, or not real floating.
        ValueError: ``inplace`` is true.

    >>> import portanet
    >>> portanet.nn.functional.threshold(portanet.asarray([-1.0, 1.0, 2.0]), 1.0, 20.0)
    tensor([20., 20.,  2.])
    """
    xp = elementwise_namespace("threshold", input, inplace)
    return xp.where(input <= threshold, float(value), input)
