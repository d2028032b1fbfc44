"""Images as columns, one for each window, and back."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.nn.functional._windows import Ints, Pairs, as_ints, spatial, window_counts

__all__ = ["fold", "unfold"]

Size = int | tuple[int, ...]


def unfold(input: Any, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Any:
    """The windows of images as columns: a convolution is then a matrix product (Chellapilla et al. 2006, im2col).

    y[n, (c K1 + k1) K2 + k2, l] = x[n, c, stride i + dilation k - padding], where l = i1 W' + i2 counts the windows.

    Args:
        input: x, of shape (N, C, H, W) or (C, H, W), of a floating dtype.
        kernel_size: the lengths K1 and K2 of the window, or one number for both; likewise all that follows.
        dilation: the distance of the values in a window.
        padding: how many zeros stand before and after.
        stride: by how much the window moves.

    Returns:
        y, of shape (N, C K1 K2, H' W') or (C K1 K2, H' W'), with as many windows, H' by W', as `conv2d` has.

    Raises:
        ValueError: the shape is another, no window fits, or an argument is out of range.
        TypeError: the dtype is not floating, or an argument is no whole number.

    >>> import portanet
    >>> x = portanet.asarray([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    >>> portanet.nn.functional.unfold(x, 2)
    tensor([[1., 2.],
            [2., 3.],
            [4., 5.],
            [5., 6.]])
    """
    name, x, xp = "Unfold", raw_of(input), namespace_of(input)
    size, batched = spatial(name, x, 2)
    _require_floating(name, x)
    kernel, stride, pairs, dilation = _window(name, kernel_size, stride, padding, dilation)
    window_counts(name, size, kernel, stride, pairs, dilation)
    images = input if batched else xp.expand_dims(input, axis=0)
    y = xp.unfold(images, kernel=kernel, stride=stride, padding=pairs, dilation=dilation)
    return y if batched else xp.squeeze(y, axis=0)


def fold(
    input: Any, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Any:
    """Images in which the columns of windows are added up: the transpose of `unfold`, not its inverse.

    A place that several windows see gets the sum of what they hold; ``fold(unfold(x))`` is x times the number of windows
    that see each place.

    Args:
        input: of shape (N, C K1 K2, L) or (C K1 K2, L), of a floating dtype.
        output_size: the lengths H and W of the images, or one number for both; likewise all that follows.
        kernel_size: the lengths K1 and K2 of the window.
        dilation: the distance of the values in a window.
        padding: how many places before and after are left out.
        stride: by how much the window moves.

    Returns:
        of shape (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: the shape is another, L is not the number of windows, or an argument is out of range.
        TypeError: the dtype is not floating, or an argument is no whole number.

    >>> import portanet
    >>> portanet.nn.functional.fold(portanet.ones((4, 2)), (2, 3), 2)
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    name, x, xp = "Fold", raw_of(input), namespace_of(input)
    kernel, stride, pairs, dilation = _window(name, kernel_size, stride, padding, dilation)
    size, taps = as_ints(name, "output_size", output_size, 2, 1), math.prod(kernel)
    if x.ndim not in (2, 3) or x.shape[-2] % taps:
        raise ValueError(
            f"{name}: the input must have shape (N, C * {taps}, L) or (C * {taps}, L), the window {kernel} having {taps} "
            f"places, saw {tuple(x.shape)}."
        )
    _require_floating(name, x)
    counts = window_counts(name, size, kernel, stride, pairs, dilation)
    if x.shape[-1] != math.prod(counts):
        raise ValueError(
            f"{name}(output_size={size}): {counts} windows fit, that is {math.prod(counts)}, but the input has "
            f"{x.shape[-1]} columns, shape {tuple(x.shape)}."
        )
    columns = input if x.ndim == 3 else xp.expand_dims(input, axis=0)
    y = xp.fold(columns, size=size, kernel=kernel, stride=stride, padding=pairs, dilation=dilation)
    return y if x.ndim == 3 else xp.squeeze(y, axis=0)


def _window(name: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Ints, Ints, Pairs, Ints]:
    return (
        as_ints(name, "kernel_size", kernel_size, 2, 1),
        as_ints(name, "stride", stride, 2, 1),
        tuple([(p, p) for p in as_ints(name, "padding", padding, 2, 0)]),
        as_ints(name, "dilation", dilation, 2, 1),
    )


def _require_floating(name: str, x: Any) -> None:
    if "floating" not in dtype_of(x).kind:
        raise TypeError(f"{name}: expected a floating dtype, saw {dtype_of(x)}; portanet.astype(x, portanet.float32).")
