"""Unpooling: values put back to where a max pool found them, zeros elsewhere."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of, require_same
from portanet.nn.functional._arguments import require_shape, together
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.nn.functional._constants import floats_like
from portanet.nn.functional._windows import Ints, as_ints, spatial
from portanet.nn.functional.pooling import Size, require_floating

__all__ = ["max_unpool1d", "max_unpool2d", "max_unpool3d"]


def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Any = None,
) -> Any:
    """`max_pool1d` undone as far as it can be: each value at the place that its index names, 0 everywhere else.

    Where an index occurs several times, as it may for windows that overlap, the last of its values stays, and that
    one alone gets a gradient.

    Args:
        input: of shape (N, C, L) or (C, L), of a real floating dtype.
        indices: integers of the same shape, as `max_pool1d` returns them with ``return_indices=True``.
        kernel_size, stride, padding: those of the pool. They say how long the result is, and no more.
        output_size: its lengths themselves, or its whole shape: pools round down, so that several lengths lead to the
            same L. They may differ from those that follow from the window by less than a stride.

    Returns:
        of shape (N, C, L') or (C, L'), L' = (L - 1) stride - 2 padding + kernel_size.

    Raises:
        IndexError: an index is not in the result. On a GPU, where an error would make every step wait, the first value
            of that channel is nan instead.
        ValueError: the shapes differ, ``output_size`` is out of range, or another argument is.
        TypeError: a dtype is another, or an argument is no whole number.

    >>> import portanet
    >>> F = portanet.nn.functional
    >>> values, indices = F.max_pool1d(portanet.asarray([[1.0, 3.0, 2.0, 0.0]]), 2, return_indices=True)
    >>> F.max_unpool1d(values, indices, 2)
    tensor([[0., 3., 2., 0.]])
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Any = None,
) -> Any:
    """`max_pool2d` undone as far as it can be, for images (N, C, H, W) or (C, H, W); otherwise `max_unpool1d`.

    >>> import portanet
    >>> indices = portanet.asarray([[[1]]])
    >>> portanet.nn.functional.max_unpool2d(portanet.asarray([[[5.0]]]), indices, 2)
    tensor([[[0., 5.],
             [0., 0.]]])
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Any = None,
) -> Any:
    """`max_pool3d` undone as far as it can be, for volumes (N, C, D, H, W) or (C, D, H, W); otherwise `max_unpool1d`.

    >>> import portanet
    >>> indices = portanet.asarray([[[[7]]]])
    >>> portanet.nn.functional.max_unpool3d(portanet.asarray([[[[5.0]]]]), indices, 2).tolist()
    [[[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 5.0]]]]
    """
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


# ---------------------------------------------------------------------------------------------------------------------


def _max_unpool(
    axes: int, input: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Any:
    name, x, places = f"MaxUnpool{axes}d", raw_of(input), raw_of(indices)
    size = spatial(name, x, axes)[0]
    require_floating(name, x, real=True)
    require_same(name, x, places)
    if "integer" not in dtype_of(places).kind:
        raise TypeError(
            f"{name}: the indices must be integers, saw {dtype_of(places)}; a max pool returns them with "
            "return_indices=True."
        )
    require_shape(name, "indices", places, tuple(x.shape), x)
    output = _output(name, size, axes, kernel_size, stride, padding, output_size)
    count, planes = math.prod(output), math.prod(x.shape[: x.ndim - axes])
    library = namespace_of(x)
    if library.known_outside(places, 0, count - 1):
        raise IndexError(
            f"{name}: the indices reach from {int(library.min(places))} to {int(library.max(places))}, but the result "
            f"has {count} places along its axes {output}; were kernel_size, stride and padding those of the pool?"
        )
    input, indices = together(name, input, indices)
    xp = namespace_of(input)
    values = xp.reshape(input, (planes, math.prod(size)))
    places = xp.astype(xp.reshape(indices, values.shape), xp.positions(values).dtype, copy=False)
    named = (places >= 0) & (places < count)
    values = xp.where(named, values, xp.full_like(values, math.nan))
    places = xp.where(named, places, xp.zeros_like(places))
    # In the order of their places, equal ones in the order of the input: the last of each place is the one that stays.
    order = xp.argsort(places, axis=1, stable=True)
    places, values = xp.take_along_axis(places, order, axis=1), xp.take_along_axis(values, order, axis=1)
    stays = xp.concat([places[:, 1:] != places[:, :-1], xp.ones_like(places[:, :1], dtype=xp.bool)], axis=1)
    values = xp.where(stays, values, xp.zeros_like(values))
    zero = xp.broadcast_to(floats_like(input, [[0.0]]), (planes, count))
    y = xp.add_along_axis(zero, places, values, axis=1)
    return xp.reshape(y, (*x.shape[: x.ndim - axes], *output))


def _output(name: str, size: Ints, axes: int, kernel_size: Any, stride: Any, padding: Any, output_size: Any) -> Ints:
    """How long the axes of the result are."""
    kernel = as_ints(name, "kernel_size", kernel_size, axes, 1)
    stride = kernel if stride is None else as_ints(name, "stride", stride, axes, 1)
    padding = as_ints(name, "padding", padding, axes, 0)
    usual = tuple([(n - 1) * s + k - 2 * p for n, k, s, p in zip(size, kernel, stride, padding, strict=True)])
    if output_size is None:
        if min(usual) < 1:
            raise ValueError(f"{name}: from {size} values and padding={padding} follow axes {usual}, which are none.")
        return usual
    given = list(output_size) if isinstance(output_size, (tuple, list)) else [output_size]
    if len(given) == axes + 2:  # with batch and channels
        given = given[2:]
    if len(given) != axes or any([type(n) is not int for n in given]):
        raise TypeError(f"{name}: output_size must be {axes} whole numbers, or the whole shape, saw {output_size!r}.")
    for n, m, s in zip(given, usual, stride, strict=True):
        if not max(m - s, 0) < n < m + s:
            raise ValueError(
                f"{name}: output_size={output_size} must differ by less than the stride {stride} from {usual}, which "
                f"follows from the input's {size}."
            )
    return tuple(given)
