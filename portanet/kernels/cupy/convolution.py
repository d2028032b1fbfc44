"""Convolution for CuPy: by cuDNN where it is installed, else windows as columns and one matrix product of them all.

Columns are (channels x taps, images x windows): the three products (forward, and back to x and to the weight) are then
each one large GEMM a group. The way back to x gathers: a thread adds up what the windows over its place hold, always in
the same order, so that nothing depends on which thread comes first.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import cupy

from portanet.kernels.cupy import _cudnn
from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import name_of, packed
from portanet.kernels.cupy._windows import (
    THREADS,
    WINDOWS,
    Ints,
    Pairs,
    divisor,
    grid,
    is_plain,
    parts,
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
    _CONVOLUTION.kernel(name, name_of[like.dtype])(grid(total), (THREADS,), (*arguments, total))


def _product(a: Any, b: Any) -> Any:
    """Matrices (groups, M, K) times (groups, K, N)."""
    return matmul(a[0], b[0])[None] if a.shape[0] == 1 else matmul(a, b)


def _swapped(x: Any, bias: Any = None, out: Any = None) -> Any:
    """x (a, b, *places) with its first two axes exchanged in memory, plus bias (a,)."""
    second, first, *places = x.shape
    y = cupy.ndarray((first, second, *places), x.dtype) if out is None else out
    _launch("swap", x, x.size, x, y, bias, divisor(math.prod(places)), divisor(second), first)
    return y


def _columns(x: Any, form: _Form) -> Any:
    """The windows of images x as columns (C x taps, N x windows)."""
    images, channels = x.shape[:2]
    total, per_row = channels * images * form.per_image, images * form.per_image
    y = cupy.ndarray((channels * form.taps, per_row), x.dtype)
    _launch("unfold", x, total, x, y, form.windows, divisor(images), channels, form.per_image, per_row)
    return y


def _places(columns: Any, form: _Form, out: Any) -> None:
    """Columns (C x taps, N x windows) added up in images ``out`` (N, C, *size)."""
    images, channels = out.shape[:2]
    _launch(
        "fold", out, out.size, columns, out, form.windows, divisor(channels), form.per_image, images * form.per_image
    )


def _images_at_a_time(images: int, itemsize: int, columns: int, *others: int) -> list[tuple[int, int]] | None:
    """How to cut a convolution: by the bytes of columns, and by what indices can count."""
    most = max(1, BLOCK // (itemsize * columns))
    largest = max(columns, *others)
    return portions(images, largest, min(most * largest, 2**31 - 1))


class _Form(NamedTuple):
    """What follows from the shapes of one convolution."""

    x: Ints
    weight: Ints
    y: Ints
    how: dict[str, Any]  # stride, padding and dilation
    windows: Any
    taps: int
    per_image: int  # windows
    cuts: list[tuple[int, int]]  # how many images the kernels take at a time
    add_bias: tuple[Any, Any]  # the kernel's divisors


@functools.lru_cache(maxsize=1024)
def _form(x: Ints, weight: Ints, itemsize: int, stride: Ints, padding: Pairs, dilation: Ints) -> _Form | None:
    """That of arrays of these shapes, of (N, C, *size) and (O, C / groups, *kernel); None: not for the kernels here."""
    (images, channels, *size), (out, _, *kernel) = x, weight
    output = _output(tuple(size), tuple(kernel), stride, padding, dilation)
    taps, count = math.prod(kernel), math.prod(output)
    if len(size) > 3 or min(size) < 1 or min(output) < 1:
        return None
    lengths = channels * taps * count, channels * math.prod(size), out * count
    cuts = _images_at_a_time(images, itemsize, *lengths)
    if cuts is None:
        return None
    how = {"stride": stride, "padding": padding, "dilation": dilation}
    windows_ = windows(tuple(size), output, tuple(kernel), *how.values())
    return _Form(x, weight, (images, out, *output), how, windows_, taps, count, cuts, (divisor(count), divisor(out)))


def conv(x: Any, weight: Any, bias: Any = None, *, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    form = None
    if is_plain(x, weight, bias):
        form = _form(x.shape, weight.shape, x.itemsize, stride, padding, dilation)
    if form is None:
        how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv(namespace_of(x), x, weight, bias, **how)
    x, weight, bias = packed(x), packed(weight), None if bias is None else packed(bias)
    y = cupy.ndarray(form.y, x.dtype)
    if _cudnn.conv(y, x, weight, **form.how):
        for (made,) in [] if bias is None else parts(form.cuts, y):
            _launch("add_bias", made, made.size, made, bias, *form.add_bias)
        return y
    out = weight.shape[0]
    matrices = weight.reshape(groups, out // groups, -1)
    for given, made in parts(form.cuts, x, y):
        columns = _columns(given, form).reshape(groups, -1, given.shape[0] * form.per_image)
        _swapped(_product(matrices, columns).reshape(out, given.shape[0], form.per_image), bias, out=made)
    return y


def _backward(g: Any, x: Any, weight: Any, form: _Form, groups: int) -> tuple[Any, Any]:
    """The cotangents of x, where ``weight`` is given, and of the weight, where ``x`` is."""
    g, x, weight = packed(g), None if x is None else packed(x), None if weight is None else packed(weight)
    dx: Any = None if weight is None else cupy.ndarray(form.x, g.dtype)
    dw: Any = None if x is None else cupy.ndarray(form.weight, g.dtype)
    done_x, done_w = _cudnn.conv_backward(dx, dw, g, x, weight, **form.how)
    left_x, left_w = dx is not None and not done_x, dw is not None and not done_w
    if not (left_x or left_w):
        return dx, dw
    out = form.y[1]
    total: Any = None
    for a, b in form.cuts:
        flat = _swapped(g[a:b]).reshape(groups, out // groups, (b - a) * form.per_image)
        if left_x:
            matrices = weight.reshape(groups, out // groups, -1).transpose(0, 2, 1)
            _places(_product(matrices, flat), form, out=dx[a:b])
        if left_w:
            columns = _columns(x[a:b], form).reshape(groups, -1, (b - a) * form.per_image)
            part = _product(flat, columns.transpose(0, 2, 1))
            total = part if total is None else cupy.add(total, part, out=total)
    return dx, total.reshape(dw.shape) if left_w else dw


def conv_backward_input(
    g: Any, weight: Any, *, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    form = None
    if is_plain(g, weight):
        shape = (g.shape[0], weight.shape[1] * groups, *size)
        form = _form(shape, weight.shape, g.itemsize, stride, padding, dilation)
    if form is None:
        how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward_input(namespace_of(g), g, weight, size=size, **how)
    return _backward(g, None, weight, form, groups)[0]


def conv_backward_weight(
    g: Any, x: Any, *, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    form = None
    if is_plain(g, x):
        shape = (g.shape[1], x.shape[1] // groups, *size)
        form = _form(x.shape, shape, g.itemsize, stride, padding, dilation)
    if form is None:
        how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward_weight(namespace_of(g), g, x, size=size, **how)
    return _backward(g, x, None, form, groups)[1]


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
    form = None
    if is_plain(g, x, weight):
        form = _form(x.shape, weight.shape, g.itemsize, stride, padding, dilation)
    if form is None:
        how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward(namespace_of(g), g, x, weight, wanted=wanted, **how)
    dx = dw = None
    if wanted[0] or wanted[1]:
        dx, dw = _backward(g, x if wanted[1] else None, weight if wanted[0] else None, form, groups)
    return dx, dw, channel_sums(g) if any(wanted[2:]) else None


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
    y = cupy.ndarray((x.shape[0], channels * taps, count), x.dtype)
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
    y = cupy.ndarray((x.shape[0], channels, *size), x.dtype)
    for a, b in cuts:
        lengths = (divisor(channels), channels * taps * count, count)
        _launch("fold", y, y[a:b].size, x[a:b], y[a:b], windows_, *lengths)
    return y
