"""Functions that move elements about, and join and part arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portanet.tensor import Tensor, apply

__all__ = [
    "broadcast_arrays", "broadcast_shapes", "broadcast_to", "concat", "expand_dims", "flip", "moveaxis",
    "permute_dims", "repeat", "reshape", "roll", "squeeze", "stack", "tile", "unstack",
]  # fmt: skip


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that arrays of these shapes take together.

    >>> import portanet
    >>> portanet.broadcast_shapes((3, 1), (4,))
    (3, 4)
    """
    ndim = max([len(shape) for shape in shapes], default=0)
    result = [1] * ndim
    for shape in shapes:
        for i, length in enumerate(shape, start=ndim - len(shape)):
            if result[i] == 1:
                result[i] = length
            elif length not in (1, result[i]):
                raise ValueError(f"shapes {', '.join([str(shape) for shape in shapes])} do not broadcast together.")
    return tuple(result)


def broadcast_to(x: Any, /, shape: tuple[int, ...]) -> Tensor:
    """``x`` repeated along new axes and axes of length 1, to ``shape``.

    >>> import portanet
    >>> portanet.broadcast_to(portanet.asarray([1.0, 2.0]), (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    return apply("broadcast_to", x, shape=tuple(shape))


def broadcast_arrays(*arrays: Any) -> tuple[Tensor, ...]:
    """The arrays, each broadcast to the shape they take together.

    >>> import portanet
    >>> a, b = portanet.broadcast_arrays(portanet.ones((2, 1)), portanet.ones(3))
    >>> a.shape, b.shape
    ((2, 3), (2, 3))
    """
    found: tuple[Tensor, ...] = apply("broadcast_arrays", *arrays)
    return found


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Tensor:
    """The arrays joined along an axis that they have; None joins them flattened.

    >>> import portanet
    >>> portanet.concat([portanet.asarray([1.0]), portanet.asarray([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    return apply("concatenated", *arrays, axis=axis)


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Tensor:
    """The arrays, all of one shape, joined along a new axis.

    >>> import portanet
    >>> portanet.stack([portanet.asarray([1.0, 2.0]), portanet.asarray([3.0, 4.0])])
    tensor([[1., 2.],
            [3., 4.]])
    """
    return apply("stacked", *arrays, axis=axis)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of ``x`` along an axis, which they no longer have.

    >>> import portanet
    >>> a, b = portanet.unstack(portanet.asarray([[1.0, 2.0], [3.0, 4.0]]))
    >>> b
    tensor([3., 4.])
    """
    found: tuple[Tensor, ...] = apply("unstack", x, axis=axis)
    return found


def reshape(x: Any, /, shape: int | tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """The same elements, in the same order, in another shape; one length may be -1 and is then worked out.

    >>> import portanet
    >>> portanet.reshape(portanet.asarray([1.0, 2.0, 3.0, 4.0]), (2, -1))
    tensor([[1., 2.],
            [3., 4.]])
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if copy is None:
        return apply("reshape", x, shape=shape)
    return apply("reshape", x, shape=shape, copy=copy)


def expand_dims(x: Any, /, axis: int | tuple[int, ...] = 0) -> Tensor:
    """``x`` with an axis of length 1 at each place that ``axis`` names in the result.

    >>> import portanet
    >>> portanet.expand_dims(portanet.ones(3), 0).shape
    (1, 3)
    """
    places = axis if isinstance(axis, tuple) else (axis,)
    ndim = (x.ndim if hasattr(x, "ndim") else 0) + len(places)
    for place in places:
        if not -ndim <= place < ndim:
            raise IndexError(f"expand_dims: axis {place} is out of range for a result of {ndim} axes.")
    wanted = {place % ndim for place in places}
    if len(wanted) != len(places):
        raise ValueError(f"expand_dims: axis {axis} names a place twice.")
    lengths = iter(x.shape)
    shape = [1 if i in wanted else next(lengths) for i in range(ndim)]
    return apply("reshape", x, shape=tuple(shape))


def squeeze(x: Any, /, axis: int | tuple[int, ...]) -> Tensor:
    """``x`` without the axes of length 1 that ``axis`` names.

    >>> import portanet
    >>> portanet.squeeze(portanet.ones((1, 3)), 0).shape
    (3,)
    """
    return apply("squeeze", x, axis=axis)


def permute_dims(x: Any, /, axes: tuple[int, ...]) -> Tensor:
    """``x`` with its axes in another order.

    >>> import portanet
    >>> portanet.permute_dims(portanet.ones((2, 3)), (1, 0)).shape
    (3, 2)
    """
    # Not every library counts axes from the end here.
    return apply("permute_dims", x, axes=tuple([axis + x.ndim if axis < 0 else axis for axis in axes]))


def moveaxis(x: Any, source: Any, destination: Any, /) -> Tensor:
    """``x`` with the axes ``source`` moved to the places ``destination``; the others keep their order.

    >>> import portanet
    >>> portanet.moveaxis(portanet.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    sources = [a % x.ndim for a in (source if isinstance(source, tuple) else (source,))]
    places = [a % x.ndim for a in (destination if isinstance(destination, tuple) else (destination,))]
    if len(set(sources)) != len(sources) or len(set(places)) != len(places) or len(sources) != len(places):
        raise ValueError(f"moveaxis: source {source} and destination {destination} must name as many axes, each once.")
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return apply("permute_dims", x, axes=tuple(order))


def flip(x: Any, /, *, axis: Any = None) -> Tensor:
    """``x`` in reverse order along ``axis``: an int, a tuple, or None for all.

    >>> import portanet
    >>> portanet.flip(portanet.asarray([1.0, 2.0]))
    tensor([2., 1.])
    """
    return apply("flip", x, axis=axis)


def roll(x: Any, /, shift: Any, *, axis: Any = None) -> Tensor:
    """``x`` shifted along ``axis``, what falls off one end coming back at the other; None rolls it flattened.

    >>> import portanet
    >>> portanet.roll(portanet.asarray([1.0, 2.0, 3.0]), 1)
    tensor([3., 1., 2.])
    """
    return apply("roll", x, shift=shift, axis=axis)


def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element (or slice along ``axis``) ``repeats`` times over: one number, or one for each.

    >>> import portanet
    >>> portanet.repeat(portanet.asarray([1.0, 2.0]), 2)
    tensor([1., 1., 2., 2.])
    """
    return apply("repeat", x, repeats, axis=axis)


def tile(x: Any, repetitions: tuple[int, ...], /) -> Tensor:
    """``x`` laid side by side, ``repetitions`` times along each axis.

    >>> import portanet
    >>> portanet.tile(portanet.asarray([1.0, 2.0]), (2,))
    tensor([1., 2., 1., 2.])
    """
    if len(repetitions) < x.ndim:
        repetitions = (1,) * (x.ndim - len(repetitions)) + tuple(repetitions)
    return apply("tiled", x, repetitions=tuple(repetitions))
