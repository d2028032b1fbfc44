"""Convolutions over one, two or three axes."""

from __future__ import annotations

from typing import Any

from portanet.nn.functional._checks import common_namespace, raw_of, require_dtype
from portanet.nn.functional._windows import AXES, Pairs, as_ints, spatial, window_counts

__all__ = ["conv1d", "conv2d", "conv3d"]


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Any:
    """A window moved along one axis: y[n, o, i] = b[o] + sum over c, k of w[o, c, k] x[n, c, stride i + dilation k - padding].

    Args:
        input: x, of shape (N, C, L) or (C, L).
        weight: w, of shape (O, C / groups, K).
        bias: b, of shape (O,), or None.
        stride: by how much the window moves.
        padding: how many zeros stand before and after; ``"valid"`` for none, ``"same"`` for as many as give y the
            length of x (with stride 1), one more after than before where their number is odd.
        dilation: the distance of the values in a window.
        groups: into how many parts the channels are divided, each seeing itself alone.

    Returns:
        y, of shape (N, O, (L + 2 padding - dilation (K - 1) - 1) // stride + 1), or without N.

    Raises:
        ValueError: shapes do not fit, no window fits, or an argument is out of range; the message says which.
        TypeError: x has not the dtype of the parameters, or an argument is no whole number.

    >>> import portanet
    >>> x, w = portanet.asarray([[1.0, 2.0, 4.0]]), portanet.asarray([[[-1.0, 1.0]]])
    >>> portanet.nn.functional.conv1d(x, w)
    tensor([[1., 2.]])
    """
    return _conv(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Any:
    """A window moved over images: `conv1d` with two axes. LeCun et al. 1989, "Backpropagation applied to ...".

    Args:
        input: x, of shape (N, C, H, W) or (C, H, W).
        weight: w, of shape (O, C / groups, K1, K2).
        bias: b, of shape (O,), or None.
        stride: by how much the window moves, a number or two; likewise ``padding`` and ``dilation``.
        padding: zeros before and after, as in `conv1d`.
        dilation: the distance of the values in a window.
        groups: into how many parts the channels are divided, each seeing itself alone.

    Returns:
        y, of shape (N, O, H', W') or (O, H', W').

    Raises:
        ValueError, TypeError: as `conv1d`.

    >>> import portanet
    >>> x, w = portanet.ones((1, 3, 3)), portanet.ones((1, 1, 3, 3))
    >>> portanet.nn.functional.conv2d(x, w, padding=1)
    tensor([[[4., 6., 4.],
             [6., 9., 6.],
             [4., 6., 4.]]])
    """
    return _conv(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Any:
    """A window moved through volumes: `conv1d` with three axes.

    Args:
        input: x, of shape (N, C, D, H, W) or (C, D, H, W).
        weight: w, of shape (O, C / groups, K1, K2, K3).
        bias: b, of shape (O,), or None.
        stride: by how much the window moves, a number or three; likewise ``padding`` and ``dilation``.
        padding: zeros before and after, as in `conv1d`.
        dilation: the distance of the values in a window.
        groups: into how many parts the channels are divided, each seeing itself alone.

    Returns:
        y, of shape (N, O, D', H', W') or (O, D', H', W').

    Raises:
        ValueError, TypeError: as `conv1d`.

    >>> import portanet
    >>> portanet.nn.functional.conv3d(portanet.ones((2, 1, 4, 4, 4)), portanet.ones((5, 1, 2, 2, 2)), stride=2).shape
    (2, 5, 2, 2, 2)
    """
    return _conv(3, input, weight, bias, stride, padding, dilation, groups)


def _conv(axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    name, x, w = f"Conv{axes}d", raw_of(input), raw_of(weight)
    size, batched = spatial(name, x, axes)
    if w.ndim != axes + 2:
        raise ValueError(
            f"{name}: the weight must have shape (O, C / groups, {axes} lengths of the window), saw {tuple(w.shape)}."
        )
    check_groups(name, groups, w.shape[1] * groups, w.shape[0])
    channels = w.shape[1] * groups
    if x.shape[-axes - 1] != channels:
        raise ValueError(
            f"{name}(in_channels={channels}): the input has {x.shape[-axes - 1]} channels (shape {tuple(x.shape)}, "
            f"read as ({'N, ' if batched else ''}C, {AXES[axes]}))."
        )
    if bias is not None and tuple(raw_of(bias).shape) != (w.shape[0],):
        raise ValueError(f"{name}: {w.shape[0]} channels come out, the bias has shape {tuple(raw_of(bias).shape)}.")
    require_dtype(name, input, weight, bias)
    kernel = tuple(w.shape[2:])
    stride, dilation = as_ints(name, "stride", stride, axes, 1), as_ints(name, "dilation", dilation, axes, 1)
    pairs = padding_pairs(name, padding, axes, kernel, stride, dilation)
    window_counts(name, size, kernel, stride, pairs, dilation)
    xp = common_namespace(input, weight, bias)
    images = input if batched else xp.expand_dims(input, axis=0)
    y = xp.conv(images, weight, bias, stride=stride, padding=pairs, dilation=dilation, groups=groups)
    return y if batched else xp.squeeze(y, axis=0)


def check_groups(name: str, groups: Any, channels: int, out: int) -> None:
    """Raise ValueError unless ``groups`` divides the channels that go in and those that come out."""
    if type(groups) is not int or groups < 1 or channels % groups or out % groups:
        raise ValueError(
            f"{name}: groups={groups!r} must be a whole number that divides in_channels={channels} and "
            f"out_channels={out}."
        )


def padding_pairs(
    name: str, padding: Any, axes: int, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> Pairs:
    """How many zeros stand before and after along each axis."""
    if padding == "valid":
        return ((0, 0),) * axes
    if padding == "same":
        if max(stride) > 1:
            raise ValueError(f"{name}: padding='same' needs stride 1, saw {stride}.")
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple([(n // 2, n - n // 2) for n in reach])
    if isinstance(padding, str):
        raise ValueError(f"{name}: padding must be 'valid', 'same', or whole numbers, saw {padding!r}.")
    return tuple([(p, p) for p in as_ints(name, "padding", padding, axes, 0)])
