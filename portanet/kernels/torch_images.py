"""Kernels of convolution, pooling and batch normalisation for PyTorch tensors: its own, without its gradients."""

from __future__ import annotations

import math
from typing import Any

import torch

from portanet.kernels._torch_tracing import is_tracing
from portanet.kernels.generic import convolution as generic
from portanet.kernels.generic import norm as generic_norm
from portanet.library import namespace_of

__all__ = [
    "avg_pool", "avg_pool_backward", "batch_norm", "batch_norm_backward", "channel_moments", "channel_sums", "conv",
    "conv_backward", "conv_backward_input", "conv_backward_weight", "max_pool", "max_pool_backward",
]  # fmt: skip

_Ints = tuple[int, ...]
_Pairs = tuple[tuple[int, int], ...]
_aten = torch.ops.aten
_REAL = (torch.float32, torch.float64)


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


def conv_backward(
    g: Any,
    x: Any,
    weight: Any,
    *,
    wanted: tuple[bool, ...],
    stride: _Ints,
    padding: _Pairs,
    dilation: _Ints,
    groups: int,
) -> tuple[Any, Any, Any]:
    if g.is_complex() or not _even(padding):
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward(namespace_of(g), g, x, weight, wanted=wanted, **options)
    even = tuple([before for before, _ in padding])
    how = (stride, even, dilation, False, (0,) * len(stride), groups, (wanted[0], wanted[1], any(wanted[2:])))
    found: tuple[Any, Any, Any] = _aten.convolution_backward(g, x, weight, (weight.shape[0],), *how)
    return found


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


_TAPS = 9  # of larger windows PyTorch's own function is quick enough


def _is_folded(x: Any, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> bool:
    """Whether small windows lie side by side: then whole slices are compared, where PyTorch goes value by value."""
    plain = kernel == stride and max(dilation) == 1 and not any([before or after for before, after in padding])
    return plain and math.prod(kernel) <= _TAPS and x.device.type == "cpu" and x.numel() > 0 and not is_tracing()


def _folded(x: Any, kernel: _Ints) -> Any:
    for axis, k in enumerate(kernel, 2):
        end = x.shape[axis] // k * k
        before = (slice(None),) * axis
        y = x[(*before, slice(0, end, k))]
        for t in range(1, k):
            y = torch.maximum(y, x[(*before, slice(t, end, k))])
        x = y
    return x


def _places(x: Any, y: Any, kernel: _Ints) -> Any:
    """The place of the first of the largest in each window, counted over all spatial axes, where `_is_folded`."""
    size = x.shape[2:]
    pitches = [math.prod(size[i + 1 :]) for i in range(len(size))]
    taps = generic._taps(kernel)
    flat = [sum([t * pitch for t, pitch in zip(tap, pitches, strict=True)]) for tap in taps]
    # A byte is the quickest to calculate with, if the last value of a window is no further from the first.
    small = torch.uint8 if flat[-1] < 256 else torch.int32
    one = (1,) * len(kernel)
    open_, steps = None, None
    for tap, here, further in zip(taps, flat, flat[1:], strict=False):
        less = x[generic._key(tap, y.shape[2:], kernel, one)] < y
        open_ = less if open_ is None else open_ & less  # no value so far is the largest
        step = open_.view(torch.uint8).to(small) * (further - here)
        steps = step if steps is None else steps.add_(step)
    first = torch.zeros((), dtype=torch.int64)
    for n, k, pitch in zip(y.shape[2:], kernel, pitches, strict=True):
        first = first[..., None] + torch.arange(0, n * k * pitch, k * pitch)
    return first.expand(y.shape).contiguous() if steps is None else first + steps


def max_pool(x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> Any:
    if _is_folded(x, kernel, stride, padding, dilation):
        y = _folded(x, kernel)
        return y.clone() if math.prod(kernel) == 1 else y  # windows of one value: not a view of the caller's tensor
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
    if _is_folded(x, kernel, stride, padding, dilation):
        indices = _planes(_places(x, y, kernel), axes)
    else:
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


_moments: Any = getattr(_aten, "batch_norm_update_stats", None)  # those of PyTorch's own batch norm, quick on the CPU


def channel_moments(x: Any) -> tuple[Any, Any]:
    if _moments is not None and x.dtype in _REAL and x.device.type == "cpu" and x.numel() > 0 and not is_tracing():
        found: tuple[Any, Any] = _moments(x, None, None, 0.0)
        return found
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
