"""Pooling for CuPy: one kernel each way. The ways back gather, so that the same values are added in the same order."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import cupy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import name_of, packed
from portanet.kernels.cupy._windows import (
    THREADS,
    WINDOWS,
    Ints,
    Pairs,
    grid,
    is_plain,
    parts,
    portions,
    windows,
)
from portanet.kernels.generic import convolution as generic
from portanet.kernels.generic.convolution import _output
from portanet.library import namespace_of

__all__ = ["avg_pool", "avg_pool_backward", "max_pool", "max_pool_backward"]

_POOLING = Source(
    "pooling",
    WINDOWS
    + r"""
__device__ __forceinline__ A lowest() { return (A)__int_as_float(0xff800000); }  // minus infinity

// The value of a plane that window (o0, o1, o2) has at tap (t0, t1, t2); padding is lower than any.
__device__ __forceinline__ A seen(const T* plane, const Windows& w, int o0, int o1, int o2, int t0, int t1, int t2) {
    int a0 = o0 * w.stride[0] + t0 * w.dilation[0] - w.before[0];
    int a1 = o1 * w.stride[1] + t1 * w.dilation[1] - w.before[1];
    int a2 = o2 * w.stride[2] + t2 * w.dilation[2] - w.before[2];
    bool inside = (unsigned)a0 < (unsigned)w.size[0] && (unsigned)a1 < (unsigned)w.size[1]
                  && (unsigned)a2 < (unsigned)w.size[2];
    return inside ? (A)plane[(a0 * w.size[1] + a1) * w.size[2] + a2] : lowest();
}

extern "C" __global__
void max_pool(const T* x, T* y, Windows w, long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;  // of (planes, windows)
    if (i >= total) return;
    unsigned q = quotient(i, w.by_outs);
    Place o = place_of(i - q * w.outs, w.by_out1, w.by_out2);
    const T* plane = x + q * (size_t)w.sizes;
    A best = lowest();
    for (int t0 = 0; t0 < w.kernel[0]; ++t0)
        for (int t1 = 0; t1 < w.kernel[1]; ++t1)
            for (int t2 = 0; t2 < w.kernel[2]; ++t2) {
                A value = seen(plane, w, o.at[0], o.at[1], o.at[2], t0, t1, t2);
                if (best == best && !(value <= best)) best = value;  // once it is nan it stays
            }
    y[i] = (T)best;
}

// Whether no tap of the window before (t0, t1, t2) has a value that is not less than y.
__device__ __forceinline__ bool is_first(const T* plane, const Windows& w, int o0, int o1, int o2, int t0, int t1,
                                         int t2, A y) {
    int before = (t0 * w.kernel[1] + t1) * w.kernel[2] + t2;
    for (int s0 = 0; s0 <= t0; ++s0)
        for (int s1 = 0; s1 < w.kernel[1]; ++s1)
            for (int s2 = 0; s2 < w.kernel[2]; ++s2) {
                if ((s0 * w.kernel[1] + s1) * w.kernel[2] + s2 >= before) return true;
                if (!(seen(plane, w, o0, o1, o2, s0, s1, s2) < y)) return false;
            }
    return true;
}

extern "C" __global__
void max_pool_backward(const T* g, const T* y, const T* x, T* dx, Windows w, long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;  // of (planes, *size)
    if (i >= total) return;
    unsigned q = quotient(i, w.by_sizes);
    Place a = place_of(i - q * w.sizes, w.by_size1, w.by_size2);
    const T* plane = x + q * (size_t)w.sizes;
    size_t start = q * (size_t)w.outs;
    int a0 = a.at[0] + w.before[0], a1 = a.at[1] + w.before[1], a2 = a.at[2] + w.before[2];
    Range r0 = reaching(w, 0, a0), r1 = reaching(w, 1, a1), r2 = reaching(w, 2, a2);
    A value = (A)x[i], sum = 0;
    for (int o0 = r0.first; o0 <= r0.last; ++o0) {
        int t0 = tap_at(w, 0, a0, o0);
        if (t0 < 0) continue;
        for (int o1 = r1.first; o1 <= r1.last; ++o1) {
            int t1 = tap_at(w, 1, a1, o1);
            if (t1 < 0) continue;
            for (int o2 = r2.first; o2 <= r2.last; ++o2) {
                int t2 = tap_at(w, 2, a2, o2);
                if (t2 < 0) continue;
                size_t o = start + (o0 * w.out[1] + o1) * w.out[2] + o2;
                A largest = (A)y[o];
                if (!(value < largest) && is_first(plane, w, o0, o1, o2, t0, t1, t2, largest)) sum += (A)g[o];
            }
        }
    }
    dx[i] = (T)sum;
}

// By what the sum of window (o0, o1, o2) is divided.
__device__ __forceinline__ A divided_by(const Windows& w, int o0, int o1, int o2, double divisor) {
    if (divisor > 0) return (A)divisor;
    int s0 = o0 * w.stride[0] - w.before[0], s1 = o1 * w.stride[1] - w.before[1], s2 = o2 * w.stride[2] - w.before[2];
    int n0 = min(s0 + w.kernel[0], w.high[0]) - max(s0, w.low[0]);
    int n1 = min(s1 + w.kernel[1], w.high[1]) - max(s1, w.low[1]);
    int n2 = min(s2 + w.kernel[2], w.high[2]) - max(s2, w.low[2]);
    return (A)n0 * (A)n1 * (A)n2;
}

extern "C" __global__
void avg_pool(const T* x, T* y, Windows w, double divisor, long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;  // of (planes, windows)
    if (i >= total) return;
    unsigned q = quotient(i, w.by_outs);
    Place o = place_of(i - q * w.outs, w.by_out1, w.by_out2);
    const T* plane = x + q * (size_t)w.sizes;
    int s0 = o.at[0] * w.stride[0] - w.before[0];
    int s1 = o.at[1] * w.stride[1] - w.before[1];
    int s2 = o.at[2] * w.stride[2] - w.before[2];
    A sum = 0;
    for (int a0 = max(s0, 0); a0 < min(s0 + w.kernel[0], w.size[0]); ++a0)
        for (int a1 = max(s1, 0); a1 < min(s1 + w.kernel[1], w.size[1]); ++a1)
            for (int a2 = max(s2, 0); a2 < min(s2 + w.kernel[2], w.size[2]); ++a2)
                sum += (A)plane[(a0 * w.size[1] + a1) * w.size[2] + a2];
    y[i] = (T)(sum / divided_by(w, o.at[0], o.at[1], o.at[2], divisor));
}

extern "C" __global__
void avg_pool_backward(const T* g, T* dx, Windows w, double divisor, long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;  // of (planes, *size)
    if (i >= total) return;
    unsigned q = quotient(i, w.by_sizes);
    Place a = place_of(i - q * w.sizes, w.by_size1, w.by_size2);
    const T* given = g + q * (size_t)w.outs;
    Range r0 = reaching(w, 0, a.at[0] + w.before[0]);
    Range r1 = reaching(w, 1, a.at[1] + w.before[1]);
    Range r2 = reaching(w, 2, a.at[2] + w.before[2]);
    A sum = 0;
    for (int o0 = r0.first; o0 <= r0.last; ++o0)
        for (int o1 = r1.first; o1 <= r1.last; ++o1)
            for (int o2 = r2.first; o2 <= r2.last; ++o2)
                sum += (A)given[(o0 * w.out[1] + o1) * w.out[2] + o2] / divided_by(w, o0, o1, o2, divisor);
    dx[i] = (T)sum;
}
""",
)


class _Form(NamedTuple):
    """What follows from the shapes of one pooling."""

    result: Ints
    windows: Any
    cuts: list[tuple[int, int]]  # how many images the kernels take at a time


@functools.lru_cache(maxsize=1024)
def _form(shape: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, counted: Pairs = ()) -> _Form | None:
    """That of arrays (N, C, *size); None where the kernels here are not for it."""
    size = shape[2:]
    output = _output(size, kernel, stride, padding, dilation)
    if len(size) > 3 or min(size) < 1 or min(output) < 1:
        return None
    cuts = portions(shape[0], shape[1] * max(math.prod(size), math.prod(output)))
    if cuts is None:
        return None
    return _Form((*shape[:2], *output), windows(size, output, kernel, stride, padding, dilation, counted), cuts)


def _run(name: str, form: _Form, result: Any, *arrays: Any, numbers: tuple[float, ...] = ()) -> Any:
    """``result``, written by the kernel from the other arrays."""
    kernel = _POOLING.kernel(name, name_of[result.dtype])
    for *given, made in parts(form.cuts, *[packed(x) for x in arrays], result):
        kernel(grid(made.size), (THREADS,), (*given, made, form.windows, *numbers, made.size))
    return result


def max_pool(x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    form = _form(x.shape, kernel, stride, padding, dilation) if is_plain(x) else None
    if form is None:
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        return generic.max_pool(namespace_of(x), x, **how)
    return _run("max_pool", form, cupy.ndarray(form.result, x.dtype), x)


def max_pool_backward(g: Any, y: Any, x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    form = _form(x.shape, kernel, stride, padding, dilation) if is_plain(x, g, y) else None
    if form is None:
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        return generic.max_pool_backward(namespace_of(x), g, y, x, **how)
    return _run("max_pool_backward", form, cupy.ndarray(x.shape, x.dtype), g, y, x)


def avg_pool(x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, counted: Pairs, divisor: int | None) -> Any:
    form = _form(x.shape, kernel, stride, padding, (1,) * len(kernel), counted) if is_plain(x) else None
    if form is None or (divisor is not None and divisor <= 0):  # 0 stands for none in the kernel
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "counted": counted}
        return generic.avg_pool(namespace_of(x), x, divisor=divisor, **how)
    return _run("avg_pool", form, cupy.ndarray(form.result, x.dtype), x, numbers=(float(divisor or 0),))


def avg_pool_backward(
    g: Any, *, size: Ints, kernel: Ints, stride: Ints, padding: Pairs, counted: Pairs, divisor: int | None
) -> Any:
    shape = (*g.shape[:2], *size)
    form = _form(shape, kernel, stride, padding, (1,) * len(kernel), counted) if is_plain(g) else None
    if form is None or (divisor is not None and divisor <= 0):
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "counted": counted}
        return generic.avg_pool_backward(namespace_of(g), g, size=size, divisor=divisor, **how)
    return _run("avg_pool_backward", form, cupy.ndarray(shape, g.dtype), g, numbers=(float(divisor or 0),))
