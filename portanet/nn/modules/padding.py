"""Padding layers: the input continued beyond the ends of its last axes. They have no parameters."""

from __future__ import annotations

from typing import Any

from portanet.nn.functional.padding import padded, pairs_of
from portanet.nn.module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip

Size = int | tuple[int, ...]


class _Pad(Module):
    """What all padding layers have in common."""

    axes: int
    mode: str
    value: Any = 0

    def __init__(self, padding: Size) -> None:
        super().__init__()
        sides = 2 * self.axes
        given = (padding,) * sides if isinstance(padding, int) else padding
        if not isinstance(given, (tuple, list)) or len(given) != sides or any([type(n) is not int for n in given]):
            raise TypeError(
                f"{type(self).__name__}: padding must be a whole number or {sides} of them, two for each axis from the "
                f"last on, saw {padding!r}."
            )
        self.padding = tuple(given)

    def extra_repr(self) -> str:
        return f"{self.padding}"

    def forward(self, input: Any) -> Any:
        return padded(type(self).__name__, input, pairs_of(self.padding), self.mode, self.value)


class _ConstantPad(_Pad):
    """What padding with a number has in common."""

    mode = "constant"

    def __init__(self, padding: Size, value: Any) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_Pad):
    """What padding with zeros has in common."""

    mode = "constant"


class _ReflectionPad(_Pad):
    """What mirroring has in common."""

    mode = "reflect"


class _ReplicationPad(_Pad):
    """What repeating the ends has in common."""

    mode = "replicate"


class _CircularPad(_Pad):
    """What closing the axes to rings has in common."""

    mode = "circular"


class ConstantPad1d(_ConstantPad):
    """The last axis with the same number on all sides.

    Args:
        padding: how many places stand before and after: a number, or two (before, after). Where one is negative,
            as many are cut off.
        value: the number.

    Shapes: (..., L), L becoming before + L + after.

    >>> import portanet
    >>> portanet.nn.ConstantPad1d(1, 7.0)(portanet.asarray([[1.0, 2.0, 3.0]]))
    tensor([[7., 1., 2., 3., 7.]])
    """

    axes = 1


class ConstantPad2d(_ConstantPad):
    """Images, each axis with the same number on all sides: `ConstantPad1d` with two axes.

    Args:
        padding: a number for all sides, or 4: (left, right, top, bottom).
        value: the number.

    Shapes: (..., H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.ConstantPad2d((1, 1, 2, 0), 0.5)(portanet.ones((5, 4, 4))).shape
    (5, 6, 6)
    """

    axes = 2


class ConstantPad3d(_ConstantPad):
    """Volumes, each axis with the same number on all sides: `ConstantPad1d` with three axes.

    Args:
        padding: a number for all sides, or 6: (left, right, top, bottom, front, back).
        value: the number.

    Shapes: (..., D, H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.ConstantPad3d((1, 1, 2, 0, 0, 1), 0.5)(portanet.ones((5, 4, 4, 4))).shape
    (5, 5, 6, 6)
    """

    axes = 3


class ZeroPad1d(_ZeroPad):
    """The last axis with zeros on all sides.

    Args:
        padding: how many places stand before and after: a number, or two (before, after). Where one is negative,
            as many are cut off.

    Shapes: (..., L), L becoming before + L + after.

    >>> import portanet
    >>> portanet.nn.ZeroPad1d((2, -1))(portanet.asarray([[1.0, 2.0, 3.0]]))
    tensor([[0., 0., 1., 2.]])
    """

    axes = 1


class ZeroPad2d(_ZeroPad):
    """Images, each axis with zeros on all sides: `ZeroPad1d` with two axes.

    Args:
        padding: a number for all sides, or 4: (left, right, top, bottom).

    Shapes: (..., H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.ZeroPad2d((1, 1, 2, 0))(portanet.ones((5, 4, 4))).shape
    (5, 6, 6)
    """

    axes = 2


class ZeroPad3d(_ZeroPad):
    """Volumes, each axis with zeros on all sides: `ZeroPad1d` with three axes.

    Args:
        padding: a number for all sides, or 6: (left, right, top, bottom, front, back).

    Shapes: (..., D, H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.ZeroPad3d((1, 1, 2, 0, 0, 1))(portanet.ones((5, 4, 4, 4))).shape
    (5, 5, 6, 6)
    """

    axes = 3


class ReflectionPad1d(_ReflectionPad):
    """The last axis mirrored at its ends, which are not doubled.

    Args:
        padding: how many places stand before and after, less than its length: a number, or two (before,
            after). Where one is negative, as many are cut off.

    Shapes: (N, C, L) or (C, L), L becoming before + L + after.

    >>> import portanet
    >>> portanet.nn.ReflectionPad1d(2)(portanet.asarray([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    axes = 1


class ReflectionPad2d(_ReflectionPad):
    """Images, each axis mirrored at its ends, which are not doubled: `ReflectionPad1d` with two axes.

    Args:
        padding: a number for all sides, or 4: (left, right, top, bottom).

    Shapes: (N, C, H, W) or (C, H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.ReflectionPad2d((1, 1, 2, 0))(portanet.ones((5, 4, 4))).shape
    (5, 6, 6)
    """

    axes = 2


class ReflectionPad3d(_ReflectionPad):
    """Volumes, each axis mirrored at its ends, which are not doubled: `ReflectionPad1d` with three axes.

    Args:
        padding: a number for all sides, or 6: (left, right, top, bottom, front, back).

    Shapes: (N, C, D, H, W) or (C, D, H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.ReflectionPad3d((1, 1, 2, 0, 0, 1))(portanet.ones((5, 4, 4, 4))).shape
    (5, 5, 6, 6)
    """

    axes = 3


class ReplicationPad1d(_ReplicationPad):
    """The last axis with its ends repeated.

    Args:
        padding: how many places stand before and after: a number, or two (before, after). Where one is negative,
            as many are cut off.

    Shapes: (N, C, L) or (C, L), L becoming before + L + after.

    >>> import portanet
    >>> portanet.nn.ReplicationPad1d(2)(portanet.asarray([[1.0, 2.0, 3.0]]))
    tensor([[1., 1., 1., 2., 3., 3., 3.]])
    """

    axes = 1


class ReplicationPad2d(_ReplicationPad):
    """Images, each axis with its ends repeated: `ReplicationPad1d` with two axes.

    Args:
        padding: a number for all sides, or 4: (left, right, top, bottom).

    Shapes: (N, C, H, W) or (C, H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.ReplicationPad2d((1, 1, 2, 0))(portanet.ones((5, 4, 4))).shape
    (5, 6, 6)
    """

    axes = 2


class ReplicationPad3d(_ReplicationPad):
    """Volumes, each axis with its ends repeated: `ReplicationPad1d` with three axes.

    Args:
        padding: a number for all sides, or 6: (left, right, top, bottom, front, back).

    Shapes: (N, C, D, H, W) or (C, D, H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.ReplicationPad3d((1, 1, 2, 0, 0, 1))(portanet.ones((5, 4, 4, 4))).shape
    (5, 5, 6, 6)
    """

    axes = 3


class CircularPad1d(_CircularPad):
    """The last axis continued as if it were a ring.

    Args:
        padding: how many places stand before and after, at most its length: a number, or two (before,
            after). Where one is negative, as many are cut off.

    Shapes: (N, C, L) or (C, L), L becoming before + L + after.

    >>> import portanet
    >>> portanet.nn.CircularPad1d(2)(portanet.asarray([[1.0, 2.0, 3.0]]))
    tensor([[2., 3., 1., 2., 3., 1., 2.]])
    """

    axes = 1


class CircularPad2d(_CircularPad):
    """Images, each axis continued as if it were a ring: `CircularPad1d` with two axes.

    Args:
        padding: a number for all sides, or 4: (left, right, top, bottom).

    Shapes: (N, C, H, W) or (C, H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.CircularPad2d((1, 1, 2, 0))(portanet.ones((5, 4, 4))).shape
    (5, 6, 6)
    """

    axes = 2


class CircularPad3d(_CircularPad):
    """Volumes, each axis continued as if it were a ring: `CircularPad1d` with three axes.

    Args:
        padding: a number for all sides, or 6: (left, right, top, bottom, front, back).

    Shapes: (N, C, D, H, W) or (C, D, H, W), each axis becoming longer by what stands at its two sides.

    >>> import portanet
    >>> portanet.nn.CircularPad3d((1, 1, 2, 0, 0, 1))(portanet.ones((5, 4, 4, 4))).shape
    (5, 5, 6, 6)
    """

    axes = 3
