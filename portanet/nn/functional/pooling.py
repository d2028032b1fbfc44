"""Pooling: the largest value, the mean or the norm of each window."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.nn.functional._largest import answer, like, places_of_largest, rows_of, strided_windows
from portanet.nn.functional._windows import Ints, Pairs, as_ints, spatial, window_counts

__all__ = [
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d",
    "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices",
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
        return_indices: whether to return also where each largest value is, for `max_unpool1d`.

    Returns:
        of shape (N, C, L') or (C, L'), L' = (L + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1. With
        ``return_indices`` a pair: these values, and integers of the same shape, places along the last axis.

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

    The indices count the places of an image row by row: W h + w.

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

    The indices count the places of a volume row by row: H W d + W h + w.

    >>> import portanet
    >>> portanet.nn.functional.max_pool3d(portanet.ones((2, 4, 4, 4)), 2).shape
    (2, 2, 2, 2)
    """
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool1d_with_indices(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Any, Any]:
    """The largest value in each window along the last axis, and where it is: `max_pool1d` with ``return_indices=True``, always.

    >>> import portanet
    >>> portanet.nn.functional.max_pool1d_with_indices(portanet.asarray([[1.0, 3.0, 2.0, 0.0]]), 2)
    (tensor([[3., 2.]]), tensor([[1, 2]]))
    """
    values, indices = _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)
    return values, indices


def max_pool2d_with_indices(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Any, Any]:
    """The largest value in each window of images, and where it is: `max_pool2d` with ``return_indices=True``, always.

    >>> import portanet
    >>> portanet.nn.functional.max_pool2d_with_indices(portanet.asarray([[[1.0, 3.0], [2.0, 0.0]]]), 2)
    (tensor([[[3.]]]), tensor([[[1]]]))
    """
    values, indices = _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)
    return values, indices


def max_pool3d_with_indices(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
) -> tuple[Any, Any]:
    """The largest value in each window of volumes, and where it is: `max_pool3d` with ``return_indices=True``, always.

    >>> import portanet
    >>> portanet.nn.functional.max_pool3d_with_indices(portanet.asarray([[[[1.0, 3.0], [2.0, 0.0]]]]), (1, 2, 2))
    (tensor([[[[3.]]]]), tensor([[[[1]]]]))
    """
    values, indices = _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)
    return values, indices


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


def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Any:
    """The norm of each window along the last axis: (sum of x^p)^(1 / p).

    The numbers are not made positive first: for odd p those of both signs cancel, and the root of a negative sum is
    nan. No gradient comes back to a window whose sum is 0.

    Args:
        input: of shape (N, C, L) or (C, L), of a real floating dtype.
        norm_type: the p; infinity gives the largest absolute value.
        kernel_size: the length of the window.
        stride: by how much it moves; None: by its length.
        ceil_mode: whether a window that reaches beyond the end counts too, if it begins before. Its sum is then that
            of the values in it, times its length over their number.

    Returns:
        of shape (N, C, L') or (C, L'), L' = (L - kernel_size) // stride + 1.

    Raises:
        ValueError: ``norm_type`` is 0, no window fits, an argument is out of range, or the shape is another.
        TypeError: the dtype is not real floating, or an argument is no whole number.

    >>> import portanet
    >>> portanet.nn.functional.lp_pool1d(portanet.asarray([[3.0, 4.0, 0.0, 1.0]]), 2, 2)
    tensor([[5., 1.]])
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Any:
    """The norm of each window of images (N, C, H, W) or (C, H, W); otherwise `lp_pool1d`.

    >>> import portanet
    >>> portanet.nn.functional.lp_pool2d(portanet.ones((1, 4, 4)), 2, (2, 4))
    tensor([[[2.828427 ],
             [2.828427 ]]])
    """
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Any:
    """The norm of each window of volumes (N, C, D, H, W) or (C, D, H, W); otherwise `lp_pool1d`.

    >>> import portanet
    >>> portanet.nn.functional.lp_pool3d(portanet.ones((2, 4, 4, 4)), 2, 2).shape
    (2, 2, 2, 2)
    """
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


# ---------------------------------------------------------------------------------------------------------------------


def require_floating(name: str, x: Any, real: bool) -> None:
    """Raise TypeError, naming the cast, unless the dtype is floating, and ``real`` where that is asked."""
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
    if max(asked) > 0 and any([p > k // 2 for p, k in zip(asked, kernel, strict=True)]):
        raise ValueError(f"{name}: padding={padding} must be at most half of kernel_size={kernel_size}.")
    pairs = tuple([(p, p) for p in asked])
    counts = window_counts(name, size, kernel, stride, pairs, dilation, ceil)
    if not ceil:  # no window reaches beyond what was asked for
        return kernel, stride, pairs, dilation, pairs
    reach = [(m - 1) * s + d * (k - 1) + 1 for m, s, d, k in zip(counts, stride, dilation, kernel, strict=True)]
    needed = tuple([(p, max(p, r - n - p)) for p, r, n in zip(asked, reach, size, strict=True)])
    return kernel, stride, needed, dilation, pairs


def _max_pool(
    axes: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil: bool,
    indices: bool,
    name: str = "MaxPool",
) -> Any:
    name, x, xp = f"{name}{axes}d", raw_of(input), namespace_of(input)
    size, batched = spatial(name, x, axes)
    require_floating(name, x, real=True)
    kernel, stride, padding, dilation, _ = _windows(name, size, axes, kernel_size, stride, padding, dilation, ceil)
    images = input if batched else xp.expand_dims(input, axis=0)
    y = xp.max_pool(images, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    places = None
    if indices:
        images = raw_of(images)
        windows = strided_windows(size, tuple(y.shape[2:]), kernel, stride, padding, dilation)
        places = like(input, places_of_largest(images, rows_of(images, windows)))
    return answer(y, places, batched, indices)


def _avg_pool(
    axes: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil: bool,
    include: bool,
    divisor: int | None,
    name: str = "AvgPool",
) -> Any:
    name, x, xp = f"{name}{axes}d", raw_of(input), namespace_of(input)
    size, batched = spatial(name, x, axes)
    require_floating(name, x, real=False)
    if divisor is not None and (type(divisor) is not int or divisor == 0):
        raise ValueError(f"{name}: divisor_override must be a whole number other than 0, saw {divisor!r}.")
    kernel, stride, padding, _, asked = _windows(name, size, axes, kernel_size, stride, padding, 1, ceil)
    counted = asked if include else ((0, 0),) * axes
    images = input if batched else xp.expand_dims(input, axis=0)
    y = xp.avg_pool(images, kernel=kernel, stride=stride, padding=padding, counted=counted, divisor=divisor)
    return y if batched else xp.squeeze(y, axis=0)


def _lp_pool(axes: int, input: Any, norm_type: float, kernel_size: Any, stride: Any, ceil: bool) -> Any:
    name, x, xp = f"LPPool{axes}d", raw_of(input), namespace_of(input)
    spatial(name, x, axes)
    require_floating(name, x, real=True)
    if isinstance(norm_type, bool) or not isinstance(norm_type, (int, float)) or not abs(norm_type) > 0:
        raise ValueError(f"{name}: norm_type must be a number other than 0, saw {norm_type!r}.")
    kernel = as_ints(name, "kernel_size", kernel_size, axes, 1)
    if math.isinf(norm_type):
        sign = math.copysign(1.0, norm_type)
        return sign * _max_pool(axes, sign * xp.abs(input), kernel, stride, 0, 1, ceil, False, "LPPool")
    sums = _avg_pool(axes, input**norm_type, kernel, stride, 0, ceil, True, None, "LPPool") * math.prod(kernel)
    none = sums == 0  # whose root has an infinite slope: 1 takes their place on the way
    return xp.where(none, xp.zeros_like(sums), xp.where(none, xp.ones_like(sums), sums) ** (1 / norm_type))
