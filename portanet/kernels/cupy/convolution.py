"""Convolution for CuPy: by cuDNN where it is installed, else windows as columns and one matrix product of them all.

Columns are (channels x taps, images x windows): the three products (forward, and back to x and to the weight) are then
each one large GEMM a group. The way back to x gathers: a thread adds up what the windows over its place hold, always in
the same order, so that nothing depends on which thread comes first.
"""

from __future__ import annotations

import math
from typing import Any

import cupy

from portanet.kernels.cupy import _cudnn
from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import packed
from portanet.kernels.cupy._windows import (
    THREADS,
    WINDOWS,
    Ints,
    Pairs,
    divisor,
    grid,
    is_plain,
    portions,
    windows,
)
from portanet.kernels.cupy.gemm import matmul
from portanet.kernels.cupy.norm import channel_sums
from portanet.kernels.generic import convolution as generic
from portanet.kernels.generic import folding as generic_folding
from portanet.kernels.generic.convolution import _output
from portanet.library import namespace_of

__all__ = ["conv", "conv_backward", "conv_backward_input", "conv_backward_weight", "fold", "unfold"]

BLOCK = 1 << 28  # bytes of columns at a time

_CONVOLUTION = Source(
    "convolution",
    WINDOWS
    + r"""
// Columns from images x (N, C, *size): the value of column (n, p) in row (c, tap) is at n per_image + row per_row + p.
extern "C" __global__
void unfold(const T* x, T* y, Windows w, Divisor images, long long channels, long long per_image, long long per_row,
            long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;  // of (C, N, windows)
    if (i >= total) return;
    unsigned q = quotient(i, w.by_outs), p = i - q * w.outs, c = quotient(q, images), n = q - c * images.number;
    Place o = place_of(p, w.by_out1, w.by_out2);
    const T* plane = x + (n * (unsigned)channels + c) * (size_t)w.sizes;
    T* column = y + n * per_image + c * (w.taps * per_row) + p;
    int start0 = o.at[0] * w.stride[0] - w.before[0];
    int start1 = o.at[1] * w.stride[1] - w.before[1];
    int start2 = o.at[2] * w.stride[2] - w.before[2];
    for (int t0 = 0; t0 < w.kernel[0]; ++t0) {
        int a0 = start0 + t0 * w.dilation[0];
        bool inside0 = (unsigned)a0 < (unsigned)w.size[0];
        for (int t1 = 0; t1 < w.kernel[1]; ++t1) {
            int a1 = start1 + t1 * w.dilation[1];
            bool inside1 = inside0 && (unsigned)a1 < (unsigned)w.size[1];
            int line = (a0 * w.size[1] + a1) * w.size[2];
            for (int t2 = 0; t2 < w.kernel[2]; ++t2) {
                int a2 = start2 + t2 * w.dilation[2];
                *column = inside1 && (unsigned)a2 < (unsigned)w.size[2] ? plane[line + a2] : (T)0.0f;
                column += per_row;
            }
        }
    }
}

// Images (N, C, *size) from columns x, which lie as unfold's do: each place adds up what the windows over it hold.
extern "C" __global__
void fold(const T* x, T* y, Windows w, Divisor channels, long long per_image, long long per_row, long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;  // of (N, C, *size)
    if (i >= total) return;
    unsigned q = quotient(i, w.by_sizes), n = quotient(q, channels), c = q - n * channels.number;
    Place a = place_of(i - q * w.sizes, w.by_size1, w.by_size2);
    const T* columns = x + n * per_image + c * (w.taps * per_row);
    int a0 = a.at[0] + w.before[0], a1 = a.at[1] + w.before[1], a2 = a.at[2] + w.before[2];
    Range r0 = reaching(w, 0, a0), r1 = reaching(w, 1, a1), r2 = reaching(w, 2, a2);
    A sum = 0;
    for (int o0 = r0.first; o0 <= r0.last; ++o0) {
        int t0 = tap_at(w, 0, a0, o0);
        if (t0 < 0) continue;
        for (int o1 = r1.first; o1 <= r1.last; ++o1) {
            int t1 = tap_at(w, 1, a1, o1);
            if (t1 < 0) continue;
            int line = (o0 * w.out[1] + o1) * w.out[2];
            for (int o2 = r2.first; o2 <= r2.last; ++o2) {
                int t2 = tap_at(w, 2, a2, o2);
                if (t2 < 0) continue;
                sum += (A)columns[((t0 * w.kernel[1] + t1) * w.kernel[2] + t2) * per_row + line + o2];
            }
        }
    }
    y[i] = (T)sum;
}

// y (first, second, places) from x (second, first, places), plus bias (second,) unless that is null.
extern "C" __global__
void swap(const T* x, T* y, const T* bias, Divisor places, Divisor second, long long first, long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    unsigned q = quotient(i, places), a = quotient(q, second), b = q - a * second.number;
    A value = (A)x[(b * (unsigned)first + a) * (size_t)places.number + (i - q * places.number)];
    y[i] = (T)(bias ? value + (A)bias[b] : value);
}

// bias (C,) is added to y (N, C, places), where it lies.
extern "C" __global__
void add_bias(T* y, const T* bias, Divisor places, Divisor channels, long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    unsigned q = quotient(i, places), c = q - quotient(q, channels) * channels.number;
    y[i] = (T)((A)y[i] + (A)bias[c]);
}
""",
)


def _launch(name: str, like: Any, total: int, *arguments: Any) -> None:
    _CONVOLUTION.kernel(name, like.dtype.name)(grid(total), (THREADS,), (*arguments, total))


def _product(a: Any, b: Any) -> Any:
    """Matrices (groups, M, K) times (groups, K, N)."""
    return matmul(a[0], b[0])[None] if a.shape[0] == 1 else matmul(a, b)


def _swapped(x: Any, bias: Any = None, out: Any = None) -> Any:
    """x (a, b, *places) with its first two axes exchanged in memory, plus bias (a,)."""
    second, first, *places = x.shape
    y = cupy.empty((first, second, *places), x.dtype) if out is None else out
    _launch("swap", x, x.size, x, y, bias, divisor(math.prod(places)), divisor(second), first)
    return y


def _columns(x: Any, how: Any, taps: int, count: int) -> Any:
    """The windows of images x as columns (C x taps, N x windows); there are ``count`` windows an image."""
    images, channels = x.shape[:2]
    y = cupy.empty((channels * taps, images * count), x.dtype)
    _launch("unfold", x, channels * images * count, x, y, how, divisor(images), channels, count, images * count)
    return y


def _places(columns: Any, how: Any, count: int, out: Any) -> None:
    """Columns (C x taps, N x windows) added up in images ``out`` (N, C, *size)."""
    images, channels = out.shape[:2]
    _launch("fold", out, out.size, columns, out, how, divisor(channels), count, images * count)


def _images_at_a_time(images: int, itemsize: int, columns: int, *others: int) -> list[tuple[int, int]] | None:
    """How to cut a convolution: by the bytes of columns, and by what indices can count."""
    most = max(1, BLOCK // (itemsize * columns))
    largest = max(columns, *others)
    return portions(images, largest, min(most * largest, 2**31 - 1))


def conv(x: Any, weight: Any, bias: Any = None, *, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    size, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
    output = _output(size, kernel, stride, padding, dilation)
    out, taps, count = weight.shape[0], math.prod(kernel), math.prod(output)
    cuts = None
    if is_plain(x, weight, bias) and len(size) <= 3 and count > 0:
        sizes = (x.shape[1] * math.prod(size), out * count)
        cuts = _images_at_a_time(x.shape[0], x.itemsize, x.shape[1] * taps * count, *sizes)
    if cuts is None:
        return generic.conv(namespace_of(x), x, weight, bias, groups=groups, **how)
    x, weight, bias = packed(x), packed(weight), packed(bias)
    y = cupy.empty((x.shape[0], out, *output), x.dtype)
    if _cudnn.conv(y, x, weight, **how):
        for a, b in [] if bias is None else cuts:
            _launch("add_bias", y, y[a:b].size, y[a:b], bias, divisor(count), divisor(out))
        return y
    windows_ = windows(size, output, kernel, stride, padding, dilation)
    matrices = weight.reshape(groups, out // groups, -1)
    for a, b in cuts:
        columns = _columns(x[a:b], windows_, taps, count).reshape(groups, -1, (b - a) * count)
        _swapped(_product(matrices, columns).reshape(out, b - a, count), bias, out=y[a:b])
    return y


def _backward(
    g: Any, x: Any, weight: Any, size: Ints, kernel: Ints, channels: int, groups: int, how: dict[str, Any]
) -> tuple[Any, Any] | None:
    """The cotangents of x, where ``weight`` is given, and of the weight, where ``x`` is; None: not for these kernels."""
    if not is_plain(g, x, weight) or len(size) > 3 or min(size) < 1:
        return None
    (images, out), output = g.shape[:2], tuple(g.shape[2:])
    taps, count = math.prod(kernel), math.prod(output)
    sizes = (channels * math.prod(size), out * count)
    cuts = _images_at_a_time(images, g.itemsize, channels * taps * count, *sizes)
    if cuts is None:
        return None
    g, x, weight = [packed(one) for one in (g, x, weight)]
    dx: Any = None if weight is None else cupy.empty((images, channels, *size), g.dtype)
    dw: Any = None if x is None else cupy.empty((out, channels // groups, *kernel), g.dtype)
    left_x = dx is not None and not _cudnn.conv_backward_input(dx, g, weight, **how)
    left_w = dw is not None and not _cudnn.conv_backward_weight(dw, g, x, **how)
    if not (left_x or left_w):
        return dx, dw
    windows_ = windows(size, output, kernel, how["stride"], how["padding"], how["dilation"])
    total: Any = None
    for a, b in cuts:
        flat = _swapped(g[a:b]).reshape(groups, out // groups, (b - a) * count)
        if left_x:
            matrices = weight.reshape(groups, out // groups, -1).transpose(0, 2, 1)
            _places(_product(matrices, flat), windows_, count, out=dx[a:b])
        if left_w:
            columns = _columns(x[a:b], windows_, taps, count).reshape(groups, -1, (b - a) * count)
            part = _product(flat, columns.transpose(0, 2, 1))
            total = part if total is None else cupy.add(total, part, out=total)
    return dx, total.reshape(dw.shape) if left_w else dw


def conv_backward_input(
    g: Any, weight: Any, *, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    kernel, channels = tuple(weight.shape[2:]), weight.shape[1] * groups
    found = _backward(g, None, weight, tuple(size), kernel, channels, groups, how)
    if found is None:
        return generic.conv_backward_input(namespace_of(g), g, weight, size=size, groups=groups, **how)
    return found[0]


def conv_backward_weight(
    g: Any, x: Any, *, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    found = _backward(g, x, None, tuple(x.shape[2:]), tuple(size), x.shape[1], groups, how)
    if found is None:
        return generic.conv_backward_weight(namespace_of(g), g, x, size=size, groups=groups, **how)
    return found[1]


def conv_backward(
    g: Any,
    x: Any,
    weight: Any,
    *,
    wanted: tuple[bool, ...],
    stride: Ints,
    padding: Pairs,
    dilation: Ints,
    groups: int,
) -> tuple[Any, Any, Any]:
    how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    size, kernel = tuple(x.shape[2:]), tuple(weight.shape[2:])
    given = (x if wanted[1] else None, weight if wanted[0] else None)
    found = _backward(g, *given, size, kernel, x.shape[1], groups, how) if any(wanted[:2]) else (None, None)
    if found is None:
        return generic.conv_backward(namespace_of(g), g, x, weight, wanted=wanted, groups=groups, **how)
    return *found, channel_sums(g) if any(wanted[2:]) else None


# ---------------------------------------------------------------------------------------------------------------------
# Windows as columns: (N, C taps, windows).


def unfold(x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    size, channels, taps = tuple(x.shape[2:]), x.shape[1], math.prod(kernel)
    output = _output(size, kernel, stride, padding, dilation)
    count = math.prod(output)
    cuts = portions(x.shape[0], channels * max(taps * count, math.prod(size)))
    if not is_plain(x) or cuts is None or len(size) > 3 or count < 1:
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        return generic_folding.unfold(namespace_of(x), x, **how)
    x, windows_ = packed(x), windows(size, output, kernel, stride, padding, dilation)
    y = cupy.empty((x.shape[0], channels * taps, count), x.dtype)
    for a, b in cuts:
        lengths = (divisor(b - a), channels, channels * taps * count, count)
        _launch("unfold", x, channels * (b - a) * count, x[a:b], y[a:b], windows_, *lengths)
    return y


def fold(x: Any, *, size: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    taps, output = math.prod(kernel), _output(size, kernel, stride, padding, dilation)
    channels, count = x.shape[1] // taps, math.prod(output)
    cuts = portions(x.shape[0], channels * max(taps * count, math.prod(size)))
    if not is_plain(x) or cuts is None or len(size) > 3 or count < 1:
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        return generic_folding.fold(namespace_of(x), x, size=size, **how)
    x, windows_ = packed(x), windows(tuple(size), output, kernel, stride, padding, dilation)
    y = cupy.empty((x.shape[0], channels, *size), x.dtype)
    for a, b in cuts:
        lengths = (divisor(channels), channels * taps * count, count)
        _launch("fold", y, y[a:b].size, x[a:b], y[a:b], windows_, *lengths)
    return y
