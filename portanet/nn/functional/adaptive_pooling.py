"""Adaptive pooling: as many windows as asked for, which cover the input whatever its size."""

from __future__ import annotations

from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._checks import raw_of
from portanet.nn.functional._largest import answer, largest, rows_of
from portanet.nn.functional._windows import Ints, as_ints, spatial
from portanet.nn.functional.pooling import require_floating

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d",
    "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices",
    "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices",
]  # fmt: skip


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """Means of windows that cover the last axis and are as many as asked for.

    The i-th of m windows over L values reaches from floor(i L / m) to ceil((i + 1) L / m): neighbours may overlap.

    Args:
        input: of shape (N, C, L) or (C, L), of a floating dtype.
        output_size: how many windows, one number for each spatial axis or one for all; None: as many as values.

    Returns:
        of shape (N, C, output_size) or (C, output_size).

    Raises:
        ValueError: an output size is below 1, or the shape is another.
        TypeError: the dtype is not floating, or an output size is no whole number.

    >>> import portanet
    >>> portanet.nn.functional.adaptive_avg_pool1d(portanet.asarray([[1.0, 3.0, 5.0]]), 2)
    tensor([[2., 4.]])
    """
    return _adaptive_avg_pool(1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Means of windows that cover images (N, C, H, W) or (C, H, W); otherwise `adaptive_avg_pool1d`.

    >>> import portanet
    >>> portanet.nn.functional.adaptive_avg_pool2d(portanet.ones((5, 8, 8)), 1).shape
    (5, 1, 1)
    """
    return _adaptive_avg_pool(2, input, output_size)


def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """Means of windows that cover volumes (N, C, D, H, W) or (C, D, H, W); otherwise `adaptive_avg_pool1d`.

    >>> import portanet
    >>> portanet.nn.functional.adaptive_avg_pool3d(portanet.ones((5, 4, 8, 8)), (2, None, 1)).shape
    (5, 2, 8, 1)
    """
    return _adaptive_avg_pool(3, input, output_size)


def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of windows that cover the last axis and are as many as asked for.

    The i-th of m windows over L values reaches from floor(i L / m) to ceil((i + 1) L / m): neighbours may overlap. The
    gradient goes to the first of the largest.

    Args:
        input: of shape (N, C, L) or (C, L), of a real floating dtype.
        output_size: how many windows, one number for each spatial axis or one for all; None: as many as values.
        return_indices: whether to return also where each largest value is, for `max_unpool1d`.

    Returns:
        of shape (N, C, output_size) or (C, output_size). With ``return_indices`` a pair: these values, and integers of
        the same shape, places along the last axis.

    Raises:
        ValueError: an output size is below 1, or the shape is another.
        TypeError: the dtype is not real floating, or an output size is no whole number.

    >>> import portanet
    >>> portanet.nn.functional.adaptive_max_pool1d(portanet.asarray([[1.0, 5.0, 3.0, 4.0]]), 2)
    tensor([[5., 4.]])
    """
    return _adaptive_max_pool(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of windows that cover images (N, C, H, W) or (C, H, W); otherwise `adaptive_max_pool1d`.

    The indices count the places of an image row by row: W h + w.

    >>> import portanet
    >>> portanet.nn.functional.adaptive_max_pool2d(portanet.ones((5, 8, 8)), (3, 1)).shape
    (5, 3, 1)
    """
    return _adaptive_max_pool(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest values of windows that cover volumes (N, C, D, H, W) or (C, D, H, W); see `adaptive_max_pool1d`.

    The indices count the places of a volume row by row: H W d + W h + w.

    >>> import portanet
    >>> portanet.nn.functional.adaptive_max_pool3d(portanet.ones((5, 4, 8, 8)), (2, None, 1)).shape
    (5, 2, 8, 1)
    """
    return _adaptive_max_pool(3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(input: Any, output_size: Any, return_indices: bool = True) -> tuple[Any, Any]:
    """The largest values of windows that cover the last axis, and where they are: `adaptive_max_pool1d` with indices, always.

    >>> import portanet
    >>> portanet.nn.functional.adaptive_max_pool1d_with_indices(portanet.asarray([[1.0, 5.0, 3.0, 4.0]]), 2)
    (tensor([[5., 4.]]), tensor([[1, 3]]))
    """
    values, indices = _adaptive_max_pool(1, input, output_size, True)
    return values, indices


def adaptive_max_pool2d_with_indices(input: Any, output_size: Any, return_indices: bool = True) -> tuple[Any, Any]:
    """The largest values of windows that cover images, and where they are: `adaptive_max_pool2d` with indices, always.

    >>> import portanet
    >>> portanet.nn.functional.adaptive_max_pool2d_with_indices(portanet.asarray([[[1.0, 5.0], [3.0, 4.0]]]), 1)
    (tensor([[[5.]]]), tensor([[[1]]]))
    """
    values, indices = _adaptive_max_pool(2, input, output_size, True)
    return values, indices


def adaptive_max_pool3d_with_indices(input: Any, output_size: Any, return_indices: bool = True) -> tuple[Any, Any]:
    """The largest values of windows that cover volumes, and where they are: `adaptive_max_pool3d` with indices, always.

    >>> import portanet
    >>> portanet.nn.functional.adaptive_max_pool3d_with_indices(portanet.asarray([[[[1.0, 5.0], [3.0, 4.0]]]]), 1)
    (tensor([[[[5.]]]]), tensor([[[[1]]]]))
    """
    values, indices = _adaptive_max_pool(3, input, output_size, True)
    return values, indices


# ---------------------------------------------------------------------------------------------------------------------


def _asked(name: str, x: Any, axes: int, output_size: Any) -> tuple[Ints, Ints, bool]:
    """The lengths of the spatial axes, how many windows are asked for along each, and whether ``x`` is a batch."""
    size, batched = spatial(name, x, axes)
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    asked = [n if m is None else m for m, n in zip(given, size)] if len(given) == axes else given
    output = as_ints(name, "output_size", list(asked), axes, 1)
    if min(size) < 1:
        raise ValueError(f"{name}: there is nothing in windows over the input's {size} values.")
    return size, output, batched


def _borders(n: int, m: int) -> list[tuple[int, int]]:
    """Where each of m windows over n values begins and ends."""
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def _tiles(size: Ints, output: Ints) -> Ints | None:
    """The one window that all are, where they do not overlap."""
    if any([n % m for n, m in zip(size, output, strict=True)]):
        return None
    return tuple([n // m for n, m in zip(size, output, strict=True)])


def _adaptive_avg_pool(axes: int, input: Any, output_size: Any) -> Any:
    name, x, xp = f"AdaptiveAvgPool{axes}d", raw_of(input), namespace_of(input)
    size, output, batched = _asked(name, x, axes, output_size)
    require_floating(name, x, real=False)
    y = input if batched else xp.expand_dims(input, axis=0)
    kernel = _tiles(size, output)
    if kernel is not None:
        none = ((0, 0),) * axes
        y = xp.avg_pool(y, kernel=kernel, stride=kernel, padding=none, counted=none, divisor=None)
    else:  # one axis after the other, by a matrix whose columns are the windows
        for i, m in enumerate(output):
            y = xp.moveaxis(xp.matmul(xp.moveaxis(y, i + 2, -1), _shares(xp, y, i + 2, m)), -1, i + 2)
    return y if batched else xp.squeeze(y, axis=0)


def _shares(xp: Any, x: Any, axis: int, count: int) -> Any:
    """How much of each window's mean each of the L values along ``axis`` has: (L, count)."""
    length = x.shape[axis]
    places = xp.expand_dims(xp.positions(x, axis=axis), axis=-1)
    columns = []
    for start, end in _borders(length, count):
        columns.append(xp.astype((places >= start) & (places < end), x.dtype) / (end - start))
    return xp.concat(columns, axis=-1)


def _adaptive_max_pool(axes: int, input: Any, output_size: Any, indices: bool) -> Any:
    name, x, xp = f"AdaptiveMaxPool{axes}d", raw_of(input), namespace_of(input)
    size, output, batched = _asked(name, x, axes, output_size)
    require_floating(name, x, real=True)
    images = input if batched else xp.expand_dims(input, axis=0)
    kernel = _tiles(size, output)
    if kernel is not None and not indices:
        y = xp.max_pool(images, kernel=kernel, stride=kernel, padding=((0, 0),) * axes, dilation=(1,) * axes)
        return answer(y, None, batched, False)
    windows = [[list(range(start, end)) for start, end in _borders(n, m)] for n, m in zip(size, output, strict=True)]
    return answer(*largest(images, rows_of(x, windows)), batched, indices)
