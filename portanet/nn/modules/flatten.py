"""Layers that join axes and part them."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` joined to one: an image becomes a row of features.

    >>> import portanet
    >>> portanet.nn.Flatten()(portanet.ones((8, 3, 4, 4))).shape
    (8, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        xp, shape = namespace_of(input), tuple(input.shape) or (1,)
        start, end = [_axis("Flatten", axis, shape) for axis in (self.start_dim, self.end_dim)]
        if end < start:
            raise ValueError(f"Flatten({self.extra_repr()}): the axes end before they start (shape {shape}).")
        return xp.reshape(input, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One axis parted into several.

    Args:
        dim: the axis.
        unflattened_size: the lengths of those it becomes; one of them may be -1.

    >>> import portanet
    >>> portanet.nn.Unflatten(1, (3, 4, 4))(portanet.ones((8, 48))).shape
    (8, 3, 4, 4)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        xp, shape = namespace_of(input), tuple(input.shape)
        axis = _axis("Unflatten", self.dim, shape)
        sizes = list(self.unflattened_size)
        if sizes.count(-1) == 1:
            known = math.prod([size for size in sizes if size != -1])
            sizes[sizes.index(-1)] = shape[axis] // known if known else 0
        if math.prod(sizes) != shape[axis]:
            raise ValueError(f"Unflatten({self.extra_repr()}): the axis has length {shape[axis]} (shape {shape}).")
        return xp.reshape(input, (*shape[:axis], *sizes, *shape[axis + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


def _axis(name: str, axis: int, shape: tuple[int, ...]) -> int:
    if not -len(shape) <= axis < len(shape):
        raise IndexError(f"{name}: the input has no axis {axis} (shape {shape}).")
    return axis % len(shape)
