"""Layer normalisation: each row read once from memory, its mean and variance then found in the cache."""

from __future__ import annotations

import math
from typing import Any

import cupy
import numpy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import GROUPS, PACKS, THREADS, fits, name_of, packed, rows_as
from portanet.kernels.cupy.columns import ARITHMETIC, _joined
from portanet.kernels.generic.layer_norm import layer_norm as defined
from portanet.kernels.generic.layer_norm import layer_norm_backward as defined_backward
from portanet.library import namespace_of

__all__ = ["layer_norm", "layer_norm_backward"]

_SOURCE = Source(
    "layer_norm",
    PACKS
    + GROUPS
    + r"""
    #define KERNEL(name) extern "C" __global__ void __launch_bounds__(512, 1) name

    struct Moments { A mean, scale; };  // scale: 1 / sqrt(variance + eps)

    // Of a row of n elements; `mine` is n too, or 0 where there is no row.
    __device__ __forceinline__ Moments moments(bool packed, index n, index mine, const T* x, double eps) {
        A sum = 0;
        visit(packed, threadIdx.x, blockDim.x, mine, [&](index, A x) { sum += x; }, x);
        A mean = total(sum) / (A)n, squares = 0;
        visit(packed, threadIdx.x, blockDim.x, mine, [&](index, A x) { squares += (x - mean) * (x - mean); }, x);
        return {mean, 1 / sqrt(total(squares) / (A)n + (A)eps)};
    }

    KERNEL(layer_norm)(index rows, index n, T* y, const T* x, const T* weight, const T* bias, double eps) {
        index at = row() * n, mine = row() < rows ? n : 0, place = threadIdx.x, step = blockDim.x;
        Moments m = moments(aligned(x + at), n, mine, x + at, eps);
        auto z = [=](A x) { return (x - m.mean) * m.scale; };
        x += at;
        y += at;
        if (weight && bias) each(place, step, mine, [=](index, A x, A w, A b) { return z(x) * w + b; }, y, x, weight, bias);
        else if (weight) each(place, step, mine, [=](index, A x, A w) { return z(x) * w; }, y, x, weight);
        else if (bias) each(place, step, mine, [=](index, A x, A b) { return z(x) + b; }, y, x, bias);
        else each(place, step, mine, [=](index, A x) { return z(x); }, y, x);
    }

    // dx = scale (g w - mean(g w) - z mean(g w z)). The threads of a row take every so manieth one, and add up g z and g
    // for each column, which always the same thread does: in shared memory, or if that is too small, where the sums of
    // the block are to lie, (blocks, 2, n); then there is one row at a time.
    KERNEL(layer_norm_backward)(
        index rows, index n, T* gx, A* parts, const T* g, const T* x, const T* weight, double eps, bool shared
    ) {
        extern __shared__ __align__(16) unsigned char memory[];
        index place = threadIdx.x, step = blockDim.x;
        bool packed = n % N == 0 && aligned(gx) && aligned(g) && aligned(x) && aligned(weight);
        A* there = parts + (index)blockIdx.x * 2 * n;
        A* sums = shared ? (A*)memory + (index)threadIdx.y * 2 * n : there;
        // Where in `sums` a column is: what neighbours among the threads write to are neighbours.
        auto slot = [=](index i) { return packed && shared ? i % N * (n / N) + i / N : i; };
        for (index i = place; i < 2 * n; i += step) sums[i] = 0;
        __syncthreads();
        index together = (index)gridDim.x * blockDim.y;
        for (index first = (index)blockIdx.x * blockDim.y; first < rows; first += together) {
            index r = first + threadIdx.y, at = r * n, mine = r < rows ? n : 0;
            const T *gr = g + at, *xr = x + at;
            Moments m = moments(packed, n, mine, xr, eps);
            A level = 0, slope = 0;
            auto gathered = [&](index i, A g, A x, A w) {
                A z = (x - m.mean) * m.scale;
                sums[slot(i)] += g * z;
                sums[n + slot(i)] += g;
                level += g * w;
                slope += g * w * z;
            };
            if (weight) visit(packed, place, step, mine, gathered, gr, xr, weight);
            else visit(packed, place, step, mine, [&](index i, A g, A x) { gathered(i, g, x, 1); }, gr, xr);
            level = total(level) / (A)n;
            slope = total(slope) / (A)n;
            auto found = [=](index, A g, A x, A w) {
                return m.scale * (g * w - level - (x - m.mean) * m.scale * slope);
            };
            if (weight) each(packed, place, step, mine, found, gx + at, gr, xr, weight);
            else each(packed, place, step, mine, [=](index, A g, A x) { return found(0, g, x, 1); }, gx + at, gr, xr);
        }
        __syncthreads();
        if (!shared) return;
        sums = (A*)memory;
        index all = (index)blockDim.x * blockDim.y;
        for (index i = threadIdx.x + blockDim.x * threadIdx.y; i < 2 * n; i += all) {
            index from = i < n ? slot(i) : n + slot(i - n);
            A sum = 0;
            for (int k = 0; k < blockDim.y; ++k) sum += sums[k * 2 * n + from];
            there[i] = sum;
        }
    }
    """,
)
_SHARED = 47 << 10  # bytes: a block may have 48 KiB without asking, and needs some for sums along rows
_AT_WORK = 512  # blocks, from which on more of them would only make more sums


def layer_norm(x: Any, weight: Any = None, bias: Any = None, *, axes: int, eps: float) -> Any:
    if not _normal(axes, x, weight, bias):
        return defined(namespace_of(x), x, weight, bias, axes=axes, eps=eps)
    x, weight, bias = packed(x), packed(weight), packed(bias)
    y = cupy.ndarray(x.shape, x.dtype)
    width = math.prod(x.shape[x.ndim - axes :])
    rows = x.size // width
    kernel = _SOURCE.kernel("layer_norm", name_of[x.dtype])
    kernel(*rows_as(rows, width, x.itemsize), (rows, width, y, x, weight, bias, float(eps)))
    return y


def layer_norm_backward(g: Any, x: Any, weight: Any = None, *, axes: int, eps: float) -> tuple[Any, Any, Any]:
    if not (_normal(axes, x, weight) and fits(x, g) and g.shape == x.shape):
        return defined_backward(namespace_of(g), g, x, weight, axes=axes, eps=eps)
    g, x, weight, dtype = packed(g), packed(x), packed(weight), name_of[x.dtype]
    shape = x.shape[x.ndim - axes :]
    width = math.prod(shape)
    rows = x.size // width
    (blocks,), (threads, together) = rows_as(rows, width, x.itemsize)
    of_a_row = 2 * width * numpy.dtype(ARITHMETIC[dtype]).itemsize
    if together * of_a_row > _SHARED:
        blocks, threads, together = rows, THREADS, 1
    blocks = min(blocks, _AT_WORK)
    shared = together * of_a_row <= _SHARED
    gx, parts = cupy.ndarray(x.shape, x.dtype), cupy.ndarray((blocks, 2 * width), ARITHMETIC[dtype])
    kernel = _SOURCE.kernel("layer_norm_backward", dtype)
    arguments = (rows, width, gx, parts, g, x, weight, float(eps), shared)
    kernel((blocks,), (threads, together), arguments, shared_mem=together * of_a_row if shared else 0)
    of_weight, of_bias = cupy.ndarray(shape, x.dtype), cupy.ndarray(shape, x.dtype)
    _joined(parts, of_weight, of_bias)
    return gx, of_weight, of_bias


def _normal(axes: int, x: Any, *parameters: Any) -> bool:
    """Whether there is a kernel for these: parameters of the shape of a row, or None."""
    given = [one for one in parameters if one is not None]
    shape = x.shape[x.ndim - axes :]
    return axes > 0 and fits(x, *given) and all([one.shape == shape for one in given])
