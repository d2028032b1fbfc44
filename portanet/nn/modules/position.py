"""Codes of places in a sequence as modules: what they are told when made, and one call of the function."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.module import Module

__all__ = ["RotaryPositions", "SinusoidalPositions"]


class SinusoidalPositions(Module):
    """Adds to each step the code of its place t: sin(t w_i) at 2i and cos(t w_i) at 2i + 1, with w_i = base ** (-2i / E).
    Vaswani and others 2017, "Attention is all you need", section 3.5. It has no parameters, and no longest length.

    Args:
        dim: E, the length of the last axis.
        base: what the longest wave is 2 pi times as long as, nearly.
        batch_first: whether the batch is the first axis instead of the second.

    Shapes: (L, N, E), (N, L, E) with ``batch_first``, or (L, E) -> the same. ``offset``: the place of the first step.

    Raises:
        ValueError: a ``dim`` below 1; an input of another shape.
        TypeError: an input that is not real floating.

    >>> import portanet
    >>> portanet.nn.SinusoidalPositions(2)(portanet.zeros((2, 2)))
    tensor([[0.        , 1.        ],
            [0.84147096, 0.5403023 ]])
    """

    def __init__(self, dim: int, base: float = 10000.0, batch_first: bool = False) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"SinusoidalPositions: dim must be positive, saw {dim}.")
        self.dim = dim
        self.base = base
        self.batch_first = batch_first

    def forward(self, input: Any, offset: int = 0) -> Any:
        _require_width(self, input)
        return F.add_sinusoidal_positions(input, self.base, offset, self.batch_first)

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base}, batch_first={self.batch_first}"


class RotaryPositions(Module):
    """Turns queries or keys by their places, before they meet: see `portanet.nn.functional.apply_rotary`. Su and others
    2021, "RoFormer: enhanced transformer with rotary position embedding". It has no parameters.

    Args:
        dim: D, the length of the last axis: the width of a head, which is even.
        base: what sets the slowest rotation.
        interleaved: whether the elements of a pair are neighbours, or stand in the first and the second half.

    Shapes: (..., L, D) -> the same. ``positions``: the places, numbers of a shape that broadcasts to (..., L); a whole
    number: that of the first; None: 0.

    Raises:
        ValueError: a ``dim`` that is odd; an input of another shape.
        TypeError: an input that is not real floating.

    >>> import portanet
    >>> rotary = portanet.nn.RotaryPositions(4)
    >>> q, k = portanet.ones((5, 4)), portanet.ones((5, 4))
    >>> scores = rotary(q) @ rotary(k).T
    >>> abs((scores[2, 1] - scores[4, 3]).item()) < 1e-5  # the same distance
    True
    """

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = True) -> None:
        super().__init__()
        if dim < 1 or dim % 2:
            raise ValueError(f"RotaryPositions: dim must be positive and even, saw {dim}.")
        self.dim = dim
        self.base = base
        self.interleaved = interleaved

    def forward(self, input: Any, positions: Any = None) -> Any:
        _require_width(self, input)
        return F.apply_rotary(input, positions, self.base, self.interleaved)

    def extra_repr(self) -> str:
        return f"{self.dim}, base={self.base}, interleaved={self.interleaved}"


def _require_width(layer: Any, input: Any) -> None:
    if input.ndim == 0 or input.shape[-1] != layer.dim:
        raise ValueError(
            f"{type(layer).__name__}(dim={layer.dim}): the input has shape {tuple(input.shape)}; its last axis must be "
            f"{layer.dim}."
        )
