"""All parameters as one vector, for methods that see them so. A complex number counts as two real ones."""

from __future__ import annotations

import itertools
import math
from typing import Any

from portanet.library import device_of, move, namespace_of
from portanet.tensor import Tensor

__all__ = ["Layout"]


class Layout:
    """Where each parameter lies in the vector.

    Args:
        params: the parameters, in order.

    Attributes:
        size: the length of the vector.
    """

    def __init__(self, params: list[Tensor]) -> None:
        self.params = params
        stops = [0]
        for p in params:
            stops.append(stops[-1] + math.prod(p.shape) * (2 if is_complex(p._raw) else 1))
        self.size = stops[-1]
        self.spans = list(itertools.pairwise(stops))

    def rows(self, arrays: list[Any]) -> list[Any]:
        """Arrays that are like the parameters, each as a vector of real numbers; None for zeros."""
        return [as_row(p._raw, x) for p, x in zip(self.params, arrays, strict=True)]

    def gathered(self, arrays: list[Any]) -> Any:
        """Arrays that are like the parameters, as one vector of their library; None for zeros."""
        rows = self.rows(arrays)
        return namespace_of(rows[0]).concat(rows)

    def scattered(self, vector: Any) -> list[Any]:
        """The parts of a vector, each with the library, device, dtype and shape of its parameter."""
        return [as_part(p._raw, vector[a:b]) for p, (a, b) in zip(self.params, self.spans, strict=True)]

    def put(self, vector: Any) -> None:
        """Give the parameters the values in a vector."""
        for p, new in zip(self.params, self.scattered(vector), strict=True):
            p._raw = new


def is_complex(raw: Any) -> bool:
    """Whether an array is complex."""
    return bool(namespace_of(raw).isdtype(raw.dtype, "complex floating"))


def as_row(like: Any, x: Any) -> Any:
    """The real numbers of an array, or zeros where it is None, in a row."""
    xp = namespace_of(like)
    x = xp.zeros_like(like) if x is None else x
    if is_complex(x):
        x = xp.stack([xp.real(x), xp.imag(x)], axis=-1)
    return xp.reshape(x, (-1,))


def as_part(like: Any, row: Any) -> Any:
    """What `as_row` took apart, again like its parameter. The row may be of another library and dtype."""
    xp = namespace_of(like)
    row = move(row, xp, device_of(like))
    if not is_complex(like):
        return xp.astype(xp.reshape(row, like.shape), like.dtype)
    pairs = xp.reshape(row, (-1, 2))
    re, im = [xp.astype(xp.reshape(pairs[:, k], like.shape), like.dtype) for k in (0, 1)]
    return re + 1j * im
