"""Pooling for CuPy: one kernel each way. The ways back gather, so that the same values are added in the same order."""

from __future__ import annotations

import math
from typing import Any

import cupy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import packed
from portanet.kernels.cupy._windows import THREADS, WINDOWS, Ints, Pairs, grid, is_plain, portions, windows
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


def _launch(name: str, result: Any, *arguments: Any) -> None:
    _POOLING.kernel(name, result.dtype.name)(grid(result.size), (THREADS,), (*arguments, result.size))


def _cuts(x: Any, size: Ints, output: Ints, *others: Any) -> list[tuple[int, int]] | None:
    """How many images at a time the kernels here take; None where such arrays are not for them."""
    if not is_plain(x, *others) or len(size) > 3 or min(size) < 1 or min(output) < 1:
        return None
    return portions(x.shape[0], x.shape[1] * max(math.prod(size), math.prod(output)))


def max_pool(x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    size = tuple(x.shape[2:])
    output = _output(size, kernel, stride, padding, dilation)
    cuts = _cuts(x, size, output)
    if cuts is None:
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        return generic.max_pool(namespace_of(x), x, **how)
    x, y = packed(x), cupy.empty((*x.shape[:2], *output), x.dtype)
    windows_ = windows(size, output, kernel, stride, padding, dilation)
    for a, b in cuts:
        _launch("max_pool", y[a:b], x[a:b], y[a:b], windows_)
    return y


def max_pool_backward(g: Any, y: Any, x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints) -> Any:
    size, output = tuple(x.shape[2:]), tuple(y.shape[2:])
    cuts = _cuts(x, size, output, g, y)
    if cuts is None:
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        return generic.max_pool_backward(namespace_of(x), g, y, x, **how)
    g, y, x, dx = packed(g), packed(y), packed(x), cupy.empty(x.shape, x.dtype)
    windows_ = windows(size, output, kernel, stride, padding, dilation)
    for a, b in cuts:
        _launch("max_pool_backward", dx[a:b], g[a:b], y[a:b], x[a:b], dx[a:b], windows_)
    return dx


def avg_pool(x: Any, *, kernel: Ints, stride: Ints, padding: Pairs, counted: Pairs, divisor: int | None) -> Any:
    size, ones = tuple(x.shape[2:]), (1,) * len(kernel)
    output = _output(size, kernel, stride, padding, ones)
    cuts = _cuts(x, size, output)
    if cuts is None or (divisor is not None and divisor <= 0):  # 0 stands for none in the kernel
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "counted": counted}
        return generic.avg_pool(namespace_of(x), x, divisor=divisor, **how)
    x, y = packed(x), cupy.empty((*x.shape[:2], *output), x.dtype)
    windows_ = windows(size, output, kernel, stride, padding, ones, counted)
    for a, b in cuts:
        _launch("avg_pool", y[a:b], x[a:b], y[a:b], windows_, float(divisor or 0))
    return y


def avg_pool_backward(
    g: Any, *, size: Ints, kernel: Ints, stride: Ints, padding: Pairs, counted: Pairs, divisor: int | None
) -> Any:
    size, output, ones = tuple(size), tuple(g.shape[2:]), (1,) * len(kernel)
    cuts = _cuts(g, size, output)
    if cuts is None or (divisor is not None and divisor <= 0):
        how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "counted": counted}
        return generic.avg_pool_backward(namespace_of(g), g, size=size, divisor=divisor, **how)
    g, dx = packed(g), cupy.empty((*g.shape[:2], *size), g.dtype)
    windows_ = windows(size, output, kernel, stride, padding, ones, counted)
    for a, b in cuts:
        _launch("avg_pool_backward", dx[a:b], g[a:b], dx[a:b], windows_, float(divisor or 0))
    return dx
