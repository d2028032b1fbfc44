"""Layer normalisation: each row read once from memory, its mean and variance then found in the cache or in registers."""

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

    // The way back: dx = scale (g w - mean(g w) - z mean(g w z)). Where all of a row is in registers, up to PACKS of each
    // thread, it is one pass over x and g. A block goes through many rows, and each thread adds up g z and g of its own
    // columns; the sums of the blocks go to `parts`, (blocks, 2, n). While a row is at work the next one is on its way.
    struct Sums { A squares, level, slope; };
    __device__ __forceinline__ Sums exchanged(Sums s, int d) {
        return {exchanged(s.squares, d), exchanged(s.level, d), exchanged(s.slope, d)};
    }
    __device__ __forceinline__ Sums added(Sums a, Sums b) {
        return {a.squares + b.squares, a.level + b.level, a.slope + b.slope};
    }

    template <int PACKS>
    __device__ __forceinline__ void load(Pack (&to)[PACKS], const T* row, index packs) {
        #pragma unroll
        for (int i = 0; i < PACKS; ++i) {
            index k = threadIdx.x + i * blockDim.x;
            if (k < packs) to[i] = ((const Pack*)row)[k];
        }
    }

    template <int PACKS>
    __device__ __forceinline__ void held(
        index rows, index n, T* __restrict__ gx, A* __restrict__ parts, const T* __restrict__ g, const T* __restrict__ x,
        const T* __restrict__ weight, double eps
    ) {
        index packs = n / N;
        Pack w[PACKS] = {}, next_x[PACKS] = {}, next_g[PACKS] = {};
        A of_weight[PACKS][N] = {}, of_bias[PACKS][N] = {};
        if (weight) load(w, weight, packs);
        load(next_x, x + blockIdx.x * n, packs);
        load(next_g, g + blockIdx.x * n, packs);
        #pragma unroll 1
        for (index r = blockIdx.x; r < rows; r += gridDim.x) {
            Pack xs[PACKS], gs[PACKS];
            #pragma unroll
            for (int i = 0; i < PACKS; ++i) xs[i] = next_x[i], gs[i] = next_g[i];
            if (r + gridDim.x < rows) {
                load(next_x, x + (r + gridDim.x) * n, packs);
                load(next_g, g + (r + gridDim.x) * n, packs);
            }
            A sum = 0;  // the packs of no column are 0
            #pragma unroll
            for (int i = 0; i < PACKS; ++i) {
                #pragma unroll
                for (int j = 0; j < N; ++j) sum += (A)xs[i].at[j];
            }
            A mean = total(sum) / (A)n;
            Sums s = {};
            #pragma unroll
            for (int i = 0; i < PACKS; ++i) {
                if (threadIdx.x + i * blockDim.x >= packs) break;
                #pragma unroll
                for (int j = 0; j < N; ++j) {
                    A from = (A)xs[i].at[j] - mean, gw = (A)gs[i].at[j];
                    if (weight) gw *= (A)w[i].at[j];
                    s = added(s, {from * from, gw, gw * from});
                }
            }
            s = combined(s, added);
            A scale = 1 / sqrt(s.squares / (A)n + (A)eps), level = s.level / (A)n, slope = s.slope * scale / (A)n;
            #pragma unroll
            for (int i = 0; i < PACKS; ++i) {
                index k = threadIdx.x + i * blockDim.x;
                if (k >= packs) break;
                Pack found;
                #pragma unroll
                for (int j = 0; j < N; ++j) {
                    A z = ((A)xs[i].at[j] - mean) * scale, gz = (A)gs[i].at[j];
                    of_weight[i][j] += gz * z;
                    of_bias[i][j] += gz;
                    if (weight) gz *= (A)w[i].at[j];
                    found.at[j] = (T)(scale * (gz - level - z * slope));
                }
                ((Pack*)(gx + r * n))[k] = found;
            }
        }
        #pragma unroll
        for (int i = 0; i < PACKS; ++i) {
            index k = threadIdx.x + i * blockDim.x;
            if (k >= packs) break;
            #pragma unroll
            for (int j = 0; j < N; ++j) {
                parts[2 * n * blockIdx.x + k * N + j] = of_weight[i][j];
                parts[2 * n * blockIdx.x + n + k * N + j] = of_bias[i][j];
            }
        }
    }

    KERNEL(layer_norm_backward_held_1)(
        index rows, index n, T* gx, A* parts, const T* g, const T* x, const T* weight, double eps
    ) {
        held<1>(rows, n, gx, parts, g, x, weight, eps);
    }

    KERNEL(layer_norm_backward_held_2)(
        index rows, index n, T* gx, A* parts, const T* g, const T* x, const T* weight, double eps
    ) {
        held<2>(rows, n, gx, parts, g, x, weight, eps);
    }

    // The same for rows of any length, which are read twice. The threads of a row take every so manieth one, and add up
    // g z and g for each column, which always the same thread does: in shared memory, or if that is too small, where the
    // sums of the block are to lie, (blocks, 2, n); then there is one row at a time.
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
# Of a large GPU, for blocks that stay until all is done; on others the sums are the same, and some wait for their turn.
_PROCESSORS = 132
_AT_ONCE = 512  # threads that a processor has registers for


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
    held = _held(width, x.itemsize, g, x, weight)
    if held is not None:
        packs, threads = held
        blocks = min(rows, _PROCESSORS * max(1, min(_AT_ONCE // threads, 8)))
        gx, parts = cupy.ndarray(x.shape, x.dtype), cupy.ndarray((blocks, 2 * width), ARITHMETIC[dtype])
        kernel = _SOURCE.kernel(f"layer_norm_backward_held_{packs}", dtype)
        kernel((blocks,), (threads, 1), (rows, width, gx, parts, g, x, weight, float(eps)))
        return gx, *_of_parameters(parts, shape, x.dtype)
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
    return gx, *_of_parameters(parts, shape, x.dtype)


def _of_parameters(parts: Any, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """The cotangents of weight and bias from the blocks' sums."""
    of_weight, of_bias = cupy.ndarray(shape, dtype), cupy.ndarray(shape, dtype)
    _joined(parts, of_weight, of_bias)
    return of_weight, of_bias


def _held(width: int, itemsize: int, *arrays: Any) -> tuple[int, int] | None:
    """How many packs of a row each thread holds, and how many threads a row needs; None: rows are too long or too short,
    or do not consist of packs."""
    packs, odd = divmod(width * itemsize, 16)
    each = 1 if packs <= 128 else 2
    threads = -(-packs // (32 * each)) * 32
    aligned = not odd and all([one is None or one.data.ptr % 16 == 0 for one in arrays])
    return (each, threads) if aligned and packs >= 32 and threads <= 512 else None


def _normal(axes: int, x: Any, *parameters: Any) -> bool:
    """Whether there is a kernel for these: parameters of the shape of a row, or None."""
    given = [one for one in parameters if one is not None]
    shape = x.shape[x.ndim - axes :]
    return axes > 0 and fits(x, *given) and all([one.shape == shape for one in given])
