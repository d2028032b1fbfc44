"""Pooling: the largest value or the mean of each window."""

from __future__ import annotations

from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.nn.functional._windows import Ints, Pairs, as_ints, spatial, window_counts

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "max_pool1d", "max_pool2d", "max_pool3d",
]  # fmt: skip

Size = int | tuple[int, ...]


def max_pool1d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value in each window along the last axis. The gradient goes to the first of the largest.

    Args:
        input: of shape (N, C, L) or (C, L), of a real floating dtype.
        kernel_size: the length of the window.
        stride: by how much it moves; None: by its length.
        padding: how many places stand before and after, at most half the window; they are never the largest.
        dilation: the distance of the values in a window.
        ceil_mode: whether a window that reaches beyond the end counts too, if it begins before.
        return_indices: kept for PyTorch's sake; only False is possible.

    Returns:
        of shape (N, C, L') or (C, L'), L' = (L + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1.

    Raises:
        ValueError: no window fits, an argument is out of range, or the shape is another.
        TypeError: the dtype is not real floating, or an argument is no whole number.

    >>> import portanet
    >>> portanet.nn.functional.max_pool1d(portanet.asarray([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value in each window of images (N, C, H, W) or (C, H, W); otherwise `max_pool1d`.

    >>> import portanet
    >>> x = portanet.reshape(portanet.arange(16, dtype=portanet.float32), (1, 4, 4))
    >>> portanet.nn.functional.max_pool2d(x, 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value in each window of volumes (N, C, D, H, W) or (C, D, H, W); otherwise `max_pool1d`.

    >>> import portanet
    >>> portanet.nn.functional.max_pool3d(portanet.ones((2, 4, 4, 4)), 2).shape
    (2, 2, 2, 2)
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window along the last axis.

    Args:
        input: of shape (N, C, L) or (C, L), of a floating dtype.
        kernel_size: the length of the window.
        stride: by how much it moves; None: by its length.
        padding: how many zeros stand before and after, at most half the window.
        ceil_mode: whether a window that reaches beyond the end counts too, if it begins before.
        count_include_pad: whether the zeros count as values.

    Returns:
        of shape (N, C, L') or (C, L'), L' = (L + 2 padding - kernel_size) // stride + 1.

    Raises:
        ValueError: no window fits, an argument is out of range, or the shape is another.
        TypeError: the dtype is not floating, or an argument is no whole number.

    >>> import portanet
    >>> portanet.nn.functional.avg_pool1d(portanet.asarray([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[2., 1.]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window of images (N, C, H, W) or (C, H, W), or its sum over ``divisor_override``.

    Otherwise as `avg_pool1d`.

    >>> import portanet
    >>> portanet.nn.functional.avg_pool2d(portanet.ones((1, 2, 2)), 2, divisor_override=1)
    tensor([[[4.]]])
    """
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window of volumes (N, C, D, H, W) or (C, D, H, W), or its sum over ``divisor_override``.

    Otherwise as `avg_pool1d`.

    >>> import portanet
    >>> portanet.nn.functional.avg_pool3d(portanet.ones((2, 4, 4, 4)), 2).shape
    (2, 2, 2, 2)
    """
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


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


# ---------------------------------------------------------------------------------------------------------------------


def _floating(name: str, x: Any, real: bool) -> None:
    kind = dtype_of(x).kind
    if kind != "real floating" and (real or kind != "complex floating"):
        wanted = "a real floating" if real else "a floating"
        raise TypeError(f"{name}: expected {wanted} dtype, saw {dtype_of(x)}; portanet.astype(x, portanet.float32).")


def _windows(
    name: str, size: Ints, axes: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> tuple[Ints, Ints, Pairs, Ints, Pairs]:
    """Window, stride, padding as it must be for all windows to fit, dilation, padding as asked for."""
    kernel = as_ints(name, "kernel_size", kernel_size, axes, 1)
    stride = kernel if stride is None else as_ints(name, "stride", stride, axes, 1)
    asked = as_ints(name, "padding", padding, axes, 0)
    dilation = as_ints(name, "dilation", dilation, axes, 1)
    if any([p > k // 2 for p, k in zip(asked, kernel, strict=True)]):
        raise ValueError(f"{name}: padding={padding} must be at most half of kernel_size={kernel_size}.")
    pairs = tuple([(p, p) for p in asked])
    counts = window_counts(name, size, kernel, stride, pairs, dilation, ceil)
    reach = [(m - 1) * s + d * (k - 1) + 1 for m, s, d, k in zip(counts, stride, dilation, kernel, strict=True)]
    needed = tuple([(p, max(p, r - n - p)) for p, r, n in zip(asked, reach, size, strict=True)])
    return kernel, stride, needed, dilation, pairs


def _max_pool(
    axes: int, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, indices: bool
) -> Any:
    name, x, xp = f"MaxPool{axes}d", raw_of(input), namespace_of(input)
    if indices:
        raise NotImplementedError(f"{name}: return_indices=True is not supported.")
    size, batched = spatial(name, x, axes)
    _floating(name, x, real=True)
    kernel, stride, padding, dilation, _ = _windows(name, size, axes, kernel_size, stride, padding, dilation, ceil)
    images = input if batched else xp.expand_dims(input, axis=0)
    y = xp.max_pool(images, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    return y if batched else xp.squeeze(y, axis=0)


def _avg_pool(
    axes: int, input: Any, kernel_size: Any, stride: Any, padding: Any, ceil: bool, include: bool, divisor: int | None
) -> Any:
    name, x, xp = f"AvgPool{axes}d", raw_of(input), namespace_of(input)
    size, batched = spatial(name, x, axes)
    _floating(name, x, real=False)
    if divisor is not None and (type(divisor) is not int or divisor == 0):
        raise ValueError(f"{name}: divisor_override must be a whole number other than 0, saw {divisor!r}.")
    kernel, stride, padding, _, asked = _windows(name, size, axes, kernel_size, stride, padding, 1, ceil)
    counted = asked if include else ((0, 0),) * axes
    images = input if batched else xp.expand_dims(input, axis=0)
    y = xp.avg_pool(images, kernel=kernel, stride=stride, padding=padding, counted=counted, divisor=divisor)
    return y if batched else xp.squeeze(y, axis=0)


def _adaptive_avg_pool(axes: int, input: Any, output_size: Any) -> Any:
    name, x, xp = f"AdaptiveAvgPool{axes}d", raw_of(input), namespace_of(input)
    size, batched = spatial(name, x, axes)
    _floating(name, x, real=False)
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    asked = [n if m is None else m for m, n in zip(given, size)] if len(given) == axes else given
    output = as_ints(name, "output_size", list(asked), axes, 1)
    if min(size) < 1:
        raise ValueError(f"{name}: there is no mean of the input's {size} values.")
    y = input if batched else xp.expand_dims(input, axis=0)
    if all([n % m == 0 for n, m in zip(size, output, strict=True)]):
        kernel, none = tuple([n // m for n, m in zip(size, output, strict=True)]), ((0, 0),) * axes
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
    for i in range(count):
        start, end = i * length // count, -(-(i + 1) * length // count)
        columns.append(xp.astype((places >= start) & (places < end), x.dtype) / (end - start))
    return xp.concat(columns, axis=-1)
