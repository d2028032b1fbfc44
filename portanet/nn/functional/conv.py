"""Convolutions over one, two or three axes, and their transposes."""

from __future__ import annotations

from typing import Any

from portanet.nn.functional._checks import common_namespace, raw_of, require_dtype
from portanet.nn.functional._precision import like
from portanet.nn.functional._windows import AXES, Ints, Pairs, as_ints, spatial, window_counts
from portanet.nn.functional.padding import padded

__all__ = ["conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]

Size = int | tuple[int, ...]


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


def conv_tbc(input: Any, weight: Any, bias: Any, pad: int = 0) -> Any:
    """`conv1d` of sequences whose axes are (time, batch, channels).

    Args:
        input: x, of shape (L, N, C).
        weight: w, of shape (K, C, O).
        bias: b, of shape (O,).
        pad: how many zeros stand before and after.

    Returns:
        y, of shape (L + 2 pad - K + 1, N, O).

    Raises:
        ValueError, TypeError: as `conv1d`.

    >>> import portanet
    >>> x, w = portanet.asarray([[[1.0]], [[2.0]], [[4.0]]]), portanet.asarray([[[-1.0]], [[1.0]]])
    >>> portanet.nn.functional.conv_tbc(x, w, portanet.zeros(1)).tolist()
    [[[1.0]], [[2.0]]]
    """
    if input.ndim != 3 or weight.ndim != 3:
        raise ValueError(
            f"conv_tbc: the input must have shape (L, N, C) and the weight (K, C, O), saw {tuple(input.shape)} and "
            f"{tuple(weight.shape)}."
        )
    xp = common_namespace(input, weight, bias)
    y = conv1d(xp.permute_dims(input, (1, 2, 0)), xp.permute_dims(weight, (2, 1, 0)), bias, padding=pad)
    return xp.permute_dims(y, (2, 0, 1))


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    """The transpose of `conv1d`: each value of x adds the window's weights, times itself, to the places that it is of.

    y[n, o, stride i + dilation k - padding] = b[o] + sum over c, i, k of w[c, o, k] x[n, c, i]. As a linear map of x
    it is the transpose of `conv1d` with the same weight and arguments, hence the name; it undoes the change of shape.
    Zeiler et al. 2010, "Deconvolutional Networks"; Dumoulin and Visin 2016, "A guide to convolution arithmetic for
    deep learning".

    Args:
        input: x, of shape (N, C, L) or (C, L).
        weight: w, of shape (C, O / groups, K).
        bias: b, of shape (O,), or None.
        stride: by how many places of y the window moves from one value of x to the next.
        padding: how many places of y are left out before and after.
        output_padding: by how many places y goes on at its end; less than ``stride`` or ``dilation``. With a stride
            `conv1d` makes inputs of several lengths equally long: this says which of them is meant.
        groups: into how many parts the channels are divided, each seeing itself alone.
        dilation: the distance of the values in a window.

    Returns:
        y, of shape (N, O, (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1), or without N.

    Raises:
        ValueError: shapes do not fit, nothing comes out, or an argument is out of range; the message says which.
        TypeError: x has not the dtype of the parameters, or an argument is no whole number.

    >>> import portanet
    >>> x, w = portanet.asarray([[1.0, 10.0]]), portanet.asarray([[[1.0, 2.0, 3.0]]])
    >>> portanet.nn.functional.conv_transpose1d(x, w, stride=2)
    tensor([[ 1.,  2., 13., 20., 30.]])
    """
    return _conv_transpose(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    """The transpose of `conv2d`, with which networks make images larger: `conv_transpose1d` with two axes.

    Args:
        input: x, of shape (N, C, H, W) or (C, H, W).
        weight: w, of shape (C, O / groups, K1, K2).
        bias: b, of shape (O,), or None.
        stride: a number or two, as are ``padding``, ``output_padding`` and ``dilation``; see `conv_transpose1d`.
        padding: how many places of y are left out before and after.
        output_padding: by how many places y goes on at its end.
        groups: into how many parts the channels are divided, each seeing itself alone.
        dilation: the distance of the values in a window.

    Returns:
        y, of shape (N, O, H', W') or (O, H', W').

    Raises:
        ValueError, TypeError: as `conv_transpose1d`.

    >>> import portanet
    >>> portanet.nn.functional.conv_transpose2d(portanet.ones((1, 2, 2)), portanet.ones((1, 1, 2, 2)))
    tensor([[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]])
    """
    return _conv_transpose(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Any:
    """The transpose of `conv3d`: `conv_transpose1d` with three axes.

    Args:
        input: x, of shape (N, C, D, H, W) or (C, D, H, W).
        weight: w, of shape (C, O / groups, K1, K2, K3).
        bias: b, of shape (O,), or None.
        stride: a number or three, as are ``padding``, ``output_padding`` and ``dilation``; see `conv_transpose1d`.
        padding: how many places of y are left out before and after.
        output_padding: by how many places y goes on at its end.
        groups: into how many parts the channels are divided, each seeing itself alone.
        dilation: the distance of the values in a window.

    Returns:
        y, of shape (N, O, D', H', W') or (O, D', H', W').

    Raises:
        ValueError, TypeError: as `conv_transpose1d`.

    >>> import portanet
    >>> x, w = portanet.ones((1, 2, 3, 3, 3)), portanet.ones((2, 5, 2, 2, 2))
    >>> portanet.nn.functional.conv_transpose3d(x, w, stride=2, output_padding=(1, 0, 0)).shape
    (1, 5, 7, 6, 6)
    """
    return _conv_transpose(3, input, weight, bias, stride, padding, output_padding, groups, dilation)


# ---------------------------------------------------------------------------------------------------------------------


def _conv(axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    name, w = f"Conv{axes}d", raw_of(weight)
    size, batched = _checked(name, axes, input, weight, bias, groups, transposed=False)
    kernel = tuple(w.shape[2:])
    stride, dilation = as_ints(name, "stride", stride, axes, 1), as_ints(name, "dilation", dilation, axes, 1)
    pairs = padding_pairs(name, padding, axes, kernel, stride, dilation)
    window_counts(name, size, kernel, stride, pairs, dilation)
    xp = common_namespace(input, weight, bias)
    images = input if batched else xp.expand_dims(input, axis=0)
    y = xp.conv(images, weight, bias, stride=stride, padding=pairs, dilation=dilation, groups=groups)
    return y if batched else xp.squeeze(y, axis=0)


def _conv_transpose(
    axes: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Any:
    name, w = f"ConvTranspose{axes}d", raw_of(weight)
    size, batched = _checked(name, axes, input, weight, bias, groups, transposed=True)
    kernel = tuple(w.shape[2:])
    stride, dilation = as_ints(name, "stride", stride, axes, 1), as_ints(name, "dilation", dilation, axes, 1)
    cut, extra = as_ints(name, "padding", padding, axes, 0), as_ints(name, "output_padding", output_padding, axes, 0)
    if any([e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)]):
        raise ValueError(
            f"{name}: output_padding={output_padding} must be less than stride={stride} or dilation={dilation}."
        )
    shortest = transposed_size(size, kernel, stride, cut, dilation)
    output = tuple([n + e for n, e in zip(shortest, extra, strict=True)])
    if min(size) < 1 or min(output) < 1:
        raise ValueError(f"{name}: nothing comes out: the input's {size} become {output}, with padding {cut}.")
    xp = common_namespace(input, weight, bias)
    images = input if batched else xp.expand_dims(input, axis=0)
    # Where more is asked for than a stride, the convolution that this transposes has more windows than x has values.
    missing = tuple([(0, e // s) for e, s in zip(extra, stride, strict=True)])
    images = padded(name, images, missing, "constant")
    pairs = tuple([(p, p) for p in cut])
    how: dict[str, Any] = {"stride": stride, "padding": pairs, "dilation": dilation, "groups": groups}
    y = xp.conv_backward_input(images, weight, size=output, **how)
    y = y if bias is None else y + xp.reshape(like(bias, y), (-1,) + (1,) * axes)
    return y if batched else xp.squeeze(y, axis=0)


def _checked(
    name: str, axes: int, input: Any, weight: Any, bias: Any, groups: int, transposed: bool
) -> tuple[Ints, bool]:
    """What `spatial` says, once input, weight and bias are known to fit each other."""
    x, w = raw_of(input), raw_of(weight)
    size, batched = spatial(name, x, axes)
    if w.ndim != axes + 2:
        channels = "C, O / groups" if transposed else "O, C / groups"
        raise ValueError(
            f"{name}: the weight must have shape ({channels}, {axes} lengths of the window), saw {tuple(w.shape)}."
        )
    first, second = w.shape[0], w.shape[1] * groups
    channels, out = (first, second) if transposed else (second, first)
    check_groups(name, groups, channels, out)
    if x.shape[-axes - 1] != channels:
        raise ValueError(
            f"{name}(in_channels={channels}): the input has {x.shape[-axes - 1]} channels (shape {tuple(x.shape)}, "
            f"read as ({'N, ' if batched else ''}C, {AXES[axes]}))."
        )
    b = None if bias is None else raw_of(bias)
    if b is not None and tuple(b.shape) != (out,):
        raise ValueError(f"{name}: {out} channels come out, the bias has shape {tuple(b.shape)}.")
    require_dtype(name, x, w, b)
    return size, batched


def transposed_size(size: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Ints:
    """The least lengths that a convolution brings down to ``size``."""
    return tuple(
        [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
        ]
    )


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
