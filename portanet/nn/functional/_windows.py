"""What convolution and pooling ask of their arguments: a number or one for each axis, and windows that fit."""

from __future__ import annotations

from typing import Any

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]
AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


def as_ints(name: str, what: str, value: Any, axes: int, least: int) -> Ints:
    """``value`` for each of the spatial axes: one whole number stands for all. None may be below ``least``."""
    numbers = (value,) * axes if type(value) is int else value
    if type(numbers) is tuple and len(numbers) == axes:
        for n in numbers:
            if type(n) is not int or n < least:
                break
        else:  # what nearly everybody gives is seen to be right at one glance
            return numbers
    given = (value,) * axes if isinstance(value, int) else value
    whole = isinstance(given, (tuple, list)) and all([type(n) is int for n in given])
    if not whole or len(given) not in (1, axes):
        raise TypeError(f"{name}: {what} must be a whole number or {axes} of them, saw {value!r}.")
    numbers = tuple(given) * axes if len(given) == 1 else tuple(given)
    if min(numbers) < least:
        raise ValueError(f"{name}: {what} must be at least {least}, saw {value!r}.")
    return numbers


def spatial(name: str, x: Any, axes: int) -> tuple[Ints, bool]:
    """The lengths of the spatial axes of ``x``, and whether it is a batch: (N, C, ...) rather than (C, ...)."""
    if x.ndim not in (axes + 1, axes + 2):
        raise ValueError(
            f"{name}: the input must have shape (N, C, {AXES[axes]}) or (C, {AXES[axes]}), saw {tuple(x.shape)}."
        )
    return tuple(x.shape[x.ndim - axes :]), x.ndim == axes + 2


def window_counts(
    name: str, size: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, ceil: bool = False
) -> Ints:
    """How many windows there are along each axis; ValueError where none fits.

    With ``ceil`` a window may reach beyond the padding, as long as it begins inside the input or the padding before.
    """
    counts = []
    for n, k, s, (before, after), d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = n + before + after - d * (k - 1) - 1
        count = room // s + 1
        if ceil and room % s and count * s < n + before:
            count += 1
        counts.append(count)
    if min(counts) < 1:
        reach = tuple([d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)])
        padded = tuple([n + before + after for n, (before, after) in zip(size, padding, strict=True)])
        raise ValueError(f"{name}: no window of {reach} fits into the input's {size}, with padding {padded}.")
    return tuple(counts)
