"""Kernels of convolution, pooling and batch normalisation for PyTorch tensors: its own, without its gradients."""

from __future__ import annotations

import math
from typing import Any

import torch

from portanet.kernels.generic import convolution as generic
from portanet.kernels.generic import norm as generic_norm
from portanet.library import namespace_of

__all__ = [
    "avg_pool", "avg_pool_backward", "batch_norm", "batch_norm_backward", "channel_moments", "channel_sums", "conv",
    "conv_backward_input", "conv_backward_weight", "max_pool", "max_pool_backward",
]  # fmt: skip

_Ints = tuple[int, ...]
_Pairs = tuple[tuple[int, int], ...]
_aten = torch.ops.aten


def _even(padding: _Pairs) -> bool:
    return all([before == after for before, after in padding])


def _padded(x: Any, padding: _Pairs, value: float = 0.0) -> tuple[Any, _Ints]:
    """``x``, and the padding that is as wide after as before; any other is written out."""
    if _even(padding):
        return x, tuple([before for before, _ in padding])
    flat = [n for pair in reversed(padding) for n in pair]
    return torch.nn.functional.pad(x, flat, value=value), (0,) * len(padding)


def conv(x: Any, weight: Any, bias: Any = None, *, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int) -> Any:
    if x.is_complex():  # which PyTorch takes apart where its own gradients are wanted, and nowhere else
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv(namespace_of(x), x, weight, bias, **options)
    x, even = _padded(x, padding)
    return torch.convolution(x, weight, bias, stride, even, dilation, False, (0,) * len(stride), groups)


def conv_backward_input(
    g: Any, weight: Any, *, size: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int
) -> Any:
    if g.is_complex():  # which PyTorch takes apart where its own gradients are wanted, and nowhere else
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward_input(namespace_of(g), g, weight, size=size, **options)
    even, wide = tuple([before for before, _ in padding]), size
    if not _even(padding):
        even, wide = (0,) * len(size), tuple([n + b + a for n, (b, a) in zip(size, padding, strict=True)])
    like = g.new_empty((g.shape[0], weight.shape[1] * groups, *wide))  # of which the shape alone is read
    how = (None, stride, even, dilation, False, (0,) * len(size), groups, (True, False, False))
    dx = _aten.convolution_backward(g, like, weight, *how)[0]
    return dx if wide == size else dx[generic._inside(size, padding)]


def conv_backward_weight(
    g: Any, x: Any, *, size: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int
) -> Any:
    if g.is_complex():  # which PyTorch takes apart where its own gradients are wanted, and nowhere else
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward_weight(namespace_of(g), g, x, size=size, **options)
    x, even = _padded(x, padding)
    like = g.new_empty((g.shape[1], x.shape[1] // groups, *size))
    how = (None, stride, even, dilation, False, (0,) * len(size), groups, (False, True, False))
    return _aten.convolution_backward(g, x, like, *how)[1]


def channel_sums(x: Any) -> Any:
    return torch.sum(x, (0, *range(2, x.ndim)))


# ---------------------------------------------------------------------------------------------------------------------
# Pooling: PyTorch's functions are for two axes and for three.


def _planes(x: Any, axes: int) -> Any:
    """One axis as two, the first of length 1."""
    return x.unsqueeze(2) if axes == 1 else x


def _lines(x: Any, axes: int) -> Any:
    return x.squeeze(2) if axes == 1 else x


def _two(values: _Ints, filling: int) -> _Ints:
    return (filling, *values) if len(values) == 1 else values


def _is_native(kernel: _Ints, padding: _Pairs) -> bool:
    return _even(padding) and all([before <= k // 2 for k, (before, _) in zip(kernel, padding, strict=True)])


def max_pool(x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> Any:
    if not _is_native(kernel, padding):
        x, padding = torch.nn.functional.pad(x, [n for p in reversed(padding) for n in p], value=-math.inf), ()
    axes, pads = len(kernel), tuple([before for before, _ in padding]) or (0,) * len(kernel)
    pool = torch.max_pool3d if axes == 3 else torch.max_pool2d
    y = pool(_planes(x, axes), _two(kernel, 1), _two(stride, 1), _two(pads, 0), _two(dilation, 1))
    return _lines(y, axes)


def max_pool_backward(g: Any, y: Any, x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> Any:
    size, axes, native = tuple(x.shape[2:]), len(kernel), _is_native(kernel, padding)
    wide, pads = x, tuple([before for before, _ in padding])
    if not native:
        wide = torch.nn.functional.pad(x, [n for p in reversed(padding) for n in p], value=-math.inf)
        pads = (0,) * axes
    how = (_two(kernel, 1), _two(stride, 1), _two(pads, 0), _two(dilation, 1), False)
    pool, back = _aten.max_pool2d_with_indices, _aten.max_pool2d_with_indices_backward
    if axes == 3:
        pool, back = _aten.max_pool3d_with_indices, _aten.max_pool3d_with_indices_backward
    planes = _planes(wide, axes)
    _, indices = pool(planes, *how)  # which of the equal is the largest is not in y
    dx = _lines(back(_planes(g, axes), planes, *how, indices), axes)
    return dx if native else dx[generic._inside(size, padding)]


def _counts_alike(padding: _Pairs, counted: _Pairs) -> bool:
    """Whether PyTorch has a word for how much of the padding counts: all of it or nothing."""
    return counted == padding or not any([low or high for low, high in counted])


def avg_pool(x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, counted: _Pairs, divisor: int | None) -> Any:
    if not (_is_native(kernel, padding) and _counts_alike(padding, counted)):
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "counted": counted}
        return generic.avg_pool(namespace_of(x), x, divisor=divisor, **how)
    axes, pads = len(kernel), tuple([before for before, _ in padding])
    pool = torch.nn.functional.avg_pool3d if axes == 3 else torch.nn.functional.avg_pool2d
    include = counted == padding
    y = pool(_planes(x, axes), _two(kernel, 1), _two(stride, 1), _two(pads, 0), False, include, divisor)
    return _lines(y, axes)


def avg_pool_backward(
    g: Any, *, size: _Ints, kernel: _Ints, stride: _Ints, padding: _Pairs, counted: _Pairs, divisor: int | None
) -> Any:
    if not (_is_native(kernel, padding) and _counts_alike(padding, counted)):
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "counted": counted}
        return generic.avg_pool_backward(namespace_of(g), g, size=size, divisor=divisor, **how)
    axes, pads = len(kernel), tuple([before for before, _ in padding])
    like = g.new_empty((*g.shape[:2], *_two(size, 1)))
    back = _aten.avg_pool3d_backward if axes == 3 else _aten.avg_pool2d_backward
    include = counted == padding
    dx = back(_planes(g, axes), like, _two(kernel, 1), _two(stride, 1), _two(pads, 0), False, include, divisor)
    return _lines(dx, axes)


# ---------------------------------------------------------------------------------------------------------------------
# Batch normalisation.


def _has_norm(x: Any) -> bool:
    return bool(x.is_floating_point() and x.numel() > 0)


def channel_moments(x: Any) -> tuple[Any, Any]:
    variance, mean = torch.var_mean(x, (0, *range(2, x.ndim)), correction=0)
    return mean, variance


def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *, eps: float, own: bool) -> Any:
    if not _has_norm(x):
        return generic_norm.batch_norm(namespace_of(x), x, weight, bias, mean, variance, eps=eps, own=own)
    return torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)[0]


def batch_norm_backward(
    g: Any, x: Any, weight: Any, mean: Any, variance: Any, *, eps: float, own: bool
) -> tuple[Any, Any, Any]:
    if not _has_norm(x):
        xp = namespace_of(x)
        return generic_norm.batch_norm_backward(xp, g, x, weight, mean, variance, eps=eps, own=own)
    w = torch.ones_like(mean) if weight is None else weight  # without one PyTorch gives no cotangent of it
    saved = (mean, torch.rsqrt(variance + eps))
    back = _aten.native_batch_norm_backward
    found: tuple[Any, Any, Any] = back(g, x, w, mean, variance, *saved, own, eps, (True, True, True))
    return found
