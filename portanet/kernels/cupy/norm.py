"""Batch normalisation for CuPy: sums over each channel in two stages, block by block, and one pass over the array.

A block of threads holds its part of a channel in registers, so that a variance is taken about the part's own mean in one
reading of memory; the second stage puts the parts together in float64, always in the same order.
"""

from __future__ import annotations

import math
from typing import Any

import cupy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import name_of, packed
from portanet.kernels.cupy._windows import DIVISION, LIMIT, THREADS, divisor, grid, is_plain
from portanet.kernels.generic import convolution as generic_convolution
from portanet.kernels.generic import norm as generic
from portanet.library import namespace_of

__all__ = ["batch_norm", "batch_norm_backward", "channel_moments", "channel_sums"]

PART = 16 * THREADS  # the values of a channel that one block sums: 16 a thread, as in the source
FEW = 128  # threads of a block of the second stage
_PARTS = 65535  # the most blocks along the second axis of a grid

_NORM = Source(
    "norm",
    DIVISION
    + r"""
const unsigned EACH = 16;  // values that a thread holds
const unsigned PART = 16 * 256;

// The sum over the block, in all of its threads.
template <typename V> __device__ __forceinline__ V block_sum(V value) {
    __shared__ V lines[32];
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    __syncthreads();  // what the last sum left there has been read
    if (threadIdx.x % 32 == 0) lines[threadIdx.x / 32] = value;
    __syncthreads();
    V sum = lines[0];
    for (unsigned line = 1; line < blockDim.x / 32; ++line) sum += lines[line];
    return sum;
}

// How many values of a channel with `count` the part has.
__device__ __forceinline__ unsigned length(unsigned part, unsigned count) { return min(PART, count - part * PART); }

// Where value k of this block's channel lies in x (N, C, places).
__device__ __forceinline__ size_t spot(unsigned k, Divisor places) {
    unsigned n = quotient(k, places);
    return (n * gridDim.x + blockIdx.x) * (size_t)places.number + (k - n * places.number);
}

// A block takes part blockIdx.y of channel blockIdx.x: its mean and the sum of squares about that. Grid: (C, parts).
extern "C" __global__
void moments(const T* x, A* parts, T* mean, T* variance, Divisor places, long long count) {
    unsigned start = blockIdx.y * PART, here = length(blockIdx.y, count);
    A values[EACH], sum = 0, squares = 0;
    #pragma unroll
    for (unsigned j = 0; j < EACH; ++j) {
        unsigned k = j * blockDim.x + threadIdx.x;
        values[j] = k < here ? (A)x[spot(start + k, places)] : (A)0;
        sum += values[j];
    }
    A own = block_sum(sum) / here;
    #pragma unroll
    for (unsigned j = 0; j < EACH; ++j) {
        A step = j * blockDim.x + threadIdx.x < here ? values[j] - own : (A)0;
        squares += step * step;
    }
    squares = block_sum(squares);
    if (threadIdx.x != 0) return;
    if (gridDim.y == 1) {
        mean[blockIdx.x] = (T)own;
        variance[blockIdx.x] = (T)(squares / here);
    } else {
        parts[blockIdx.x * gridDim.y + blockIdx.y] = own;
        parts[(gridDim.x + blockIdx.x) * gridDim.y + blockIdx.y] = squares;
    }
}

// Chan, Golub and LeVeque 1979: the parts of channel blockIdx.x about their common mean. Grid: (C,).
extern "C" __global__
void joined_moments(const A* parts, T* mean, T* variance, long long many, long long count) {
    const A* means = parts + blockIdx.x * (size_t)many;
    const A* about = parts + (gridDim.x + blockIdx.x) * (size_t)many;
    double sum = 0, squares = 0;
    for (unsigned k = threadIdx.x; k < many; k += blockDim.x) sum += (double)means[k] * length(k, count);
    double common = block_sum(sum) / count;
    for (unsigned k = threadIdx.x; k < many; k += blockDim.x) {
        double step = (double)means[k] - common;
        squares += (double)about[k] + step * step * length(k, count);
    }
    squares = block_sum(squares) / count;
    if (threadIdx.x == 0) {
        mean[blockIdx.x] = (T)common;
        variance[blockIdx.x] = (T)squares;
    }
}

// What becomes of the sums of g, and of g (x - mean), over channel c of `channels`.
__device__ void settle(double of_g, double of_product, const T* variance, double eps, T* of_bias, T* of_weight,
                       A* sums) {
    unsigned c = blockIdx.x;
    of_bias[c] = (T)(A)of_g;
    if (!of_weight) return;
    of_product /= sqrt((double)(A)variance[c] + eps);
    of_weight[c] = (T)(A)of_product;
    sums[c] = (A)of_g;
    sums[gridDim.x + c] = (A)of_product;
}

// Sums over parts of channels: of g, and of g (x - mean) unless x is null. Grid: (C, parts).
extern "C" __global__
void sums_of_parts(const T* g, const T* x, const T* mean, const T* variance, double eps, A* parts, T* of_bias,
                   T* of_weight, A* sums, Divisor places, long long count) {
    unsigned start = blockIdx.y * PART, here = length(blockIdx.y, count);
    A of_g = 0, of_product = 0, centre = x ? (A)mean[blockIdx.x] : (A)0;
    #pragma unroll
    for (unsigned j = 0; j < EACH; ++j) {
        unsigned k = j * blockDim.x + threadIdx.x;
        if (k < here) {
            size_t i = spot(start + k, places);
            A value = (A)g[i];
            of_g += value;
            if (x) of_product += value * ((A)x[i] - centre);
        }
    }
    of_g = block_sum(of_g);
    if (x) of_product = block_sum(of_product);
    if (threadIdx.x != 0) return;
    if (gridDim.y == 1) {
        settle(of_g, of_product, variance, eps, of_bias, of_weight, sums);
    } else {
        parts[blockIdx.x * gridDim.y + blockIdx.y] = of_g;
        if (x) parts[(gridDim.x + blockIdx.x) * gridDim.y + blockIdx.y] = of_product;
    }
}

// The parts of channel blockIdx.x added up. Grid: (C,).
extern "C" __global__
void joined_sums(const A* parts, const T* variance, double eps, T* of_bias, T* of_weight, A* sums, long long many) {
    const A* of_gs = parts + blockIdx.x * (size_t)many;
    const A* of_products = parts + (gridDim.x + blockIdx.x) * (size_t)many;
    double of_g = 0, of_product = 0;
    for (unsigned k = threadIdx.x; k < many; k += blockDim.x) {
        of_g += (double)of_gs[k];
        if (of_weight) of_product += (double)of_products[k];
    }
    of_g = block_sum(of_g);
    of_product = block_sum(of_product);
    if (threadIdx.x == 0) settle(of_g, of_product, variance, eps, of_bias, of_weight, sums);
}

template <int V> struct alignas(V * sizeof(T)) Pack { T at[V]; };  // V neighbours, of one channel, in one access

// y = (x - mean) scale weight + bias; a thread for each pack, of which a channel of an image has `places`.
template <int V> __device__ __forceinline__
void normalise(const T* x, T* y, const T* weight, const T* bias, const T* mean, const T* variance, double eps,
               Divisor places, Divisor channels, long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    unsigned q = quotient(i, places), c = q - quotient(q, channels) * channels.number;
    A scale = (A)1 / sqrt((A)variance[c] + (A)eps), centre = (A)mean[c];
    if (weight) scale *= (A)weight[c];
    A shift = bias ? (A)bias[c] : (A)0;
    Pack<V> values = ((const Pack<V>*)x)[i];
    #pragma unroll
    for (int j = 0; j < V; ++j) values.at[j] = (T)(((A)values.at[j] - centre) * scale + shift);
    ((Pack<V>*)y)[i] = values;
}

// dx = scale weight (g - of_bias / count - z of_weight / count) with z = (x - mean) scale; sums: of_bias, of_weight.
template <int V> __device__ __forceinline__
void go_back(const T* g, const T* x, T* dx, const T* weight, const T* mean, const T* variance, const A* sums,
             double eps, Divisor places, Divisor channels, long long count, long long total) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    unsigned q = quotient(i, places), c = q - quotient(q, channels) * channels.number;
    A scale = (A)1 / sqrt((A)variance[c] + (A)eps), centre = 0, shared = 0, slope = 0;
    if (sums) {  // mean and variance are those of x
        centre = (A)mean[c];
        shared = sums[c] / (A)count;
        slope = sums[channels.number + c] / (A)count * scale;
    }
    if (weight) scale *= (A)weight[c];
    Pack<V> given = ((const Pack<V>*)g)[i];
    if (sums) {
        Pack<V> values = ((const Pack<V>*)x)[i];
        #pragma unroll
        for (int j = 0; j < V; ++j)
            given.at[j] = (T)(scale * ((A)given.at[j] - shared - ((A)values.at[j] - centre) * slope));
    } else {
        #pragma unroll
        for (int j = 0; j < V; ++j) given.at[j] = (T)(scale * (A)given.at[j]);
    }
    ((Pack<V>*)dx)[i] = given;
}

#define KERNELS(suffix, V)                                                                                            \
    extern "C" __global__ void normalise##suffix(                                                                     \
        const T* x, T* y, const T* weight, const T* bias, const T* mean, const T* variance, double eps,               \
        Divisor places, Divisor channels, long long total) {                                                          \
        normalise<V>(x, y, weight, bias, mean, variance, eps, places, channels, total);                               \
    }                                                                                                                 \
    extern "C" __global__ void go_back##suffix(                                                                       \
        const T* g, const T* x, T* dx, const T* weight, const T* mean, const T* variance, const A* sums, double eps,  \
        Divisor places, Divisor channels, long long count, long long total) {                                         \
        go_back<V>(g, x, dx, weight, mean, variance, sums, eps, places, channels, count, total);                      \
    }
KERNELS(_1, 1)
KERNELS(_16_bytes, (16 / sizeof(T)))
""",
)


def _arithmetic(dtype: Any) -> Any:
    """The type in which the kernels compute: A in their source."""
    return cupy.float64 if name_of[dtype] == "float64" else cupy.float32


def _parts(x: Any, *others: Any) -> int:
    """Into how many parts a channel is cut; 0 where such arrays are not for these kernels."""
    if x.ndim < 2 or not is_plain(x, *others) or x.size >= LIMIT:
        return 0
    parts = -(-x.size // x.shape[1] // PART)
    return parts if parts <= _PARTS else 0


def _run(name: str, x: Any, blocks: tuple[int, ...], threads: int, *arguments: Any) -> None:
    _NORM.kernel(name, name_of[x.dtype])(blocks, (threads,), arguments)


def channel_moments(x: Any) -> tuple[Any, Any]:
    many = _parts(x)
    if not many:
        return generic.channel_moments(namespace_of(x), x)
    x, channels = packed(x), x.shape[1]
    count = x.size // channels
    mean, variance = cupy.ndarray(channels, x.dtype), cupy.ndarray(channels, x.dtype)
    parts = cupy.ndarray((2, channels, many), _arithmetic(x.dtype)) if many > 1 else None
    places = divisor(math.prod(x.shape[2:]))
    _run("moments", x, (channels, many), THREADS, x, parts, mean, variance, places, count)
    if many > 1:
        _run("joined_moments", x, (channels,), FEW, parts, mean, variance, many, count)
    return mean, variance


def _channel_sums(g: Any, x: Any, mean: Any, variance: Any, eps: float, many: int) -> tuple[Any, Any, Any]:
    """The sums over channels of g, and of g z with z = (x - mean) / sqrt(variance + eps), and both as they are summed.

    Without ``x``: the first alone.
    """
    channels, arithmetic = g.shape[1], _arithmetic(g.dtype)
    count = g.size // channels
    of_bias = cupy.ndarray(channels, g.dtype)
    of_weight = None if x is None else cupy.ndarray(channels, g.dtype)
    sums = None if x is None else cupy.ndarray((2, channels), arithmetic)
    parts = cupy.ndarray((2, channels, many), arithmetic) if many > 1 else None
    results = (of_bias, of_weight, sums)
    places = divisor(math.prod(g.shape[2:]))
    given = (g, x, mean, variance, eps, parts)
    _run("sums_of_parts", g, (channels, many), THREADS, *given, *results, places, count)
    if many > 1:
        _run("joined_sums", g, (channels,), FEW, parts, variance, eps, *results, many)
    return results


def channel_sums(x: Any) -> Any:
    many = _parts(x)
    if not many:
        return generic_convolution.channel_sums(namespace_of(x), x)
    return _channel_sums(packed(x), None, None, None, 0.0, many)[0]


def _packs(places: int, *arrays: Any) -> tuple[str, int]:
    """The kernels' suffix, and how many values a thread takes: 16 bytes where each channel is made of such packs."""
    width = 16 // arrays[0].itemsize
    whole = places % width == 0 and all([x.data.ptr % 16 == 0 for x in arrays])
    return ("_16_bytes", width) if whole else ("_1", 1)


def batch_norm(x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *, eps: float, own: bool) -> Any:
    if not _parts(x, weight, bias, mean, variance):
        return generic.batch_norm(namespace_of(x), x, weight, bias, mean, variance, eps=eps, own=own)
    x, mean, variance = packed(x), packed(mean), packed(variance)
    weight, bias = [one if one is None else packed(one) for one in (weight, bias)]
    y, places = cupy.ndarray(x.shape, x.dtype), math.prod(x.shape[2:])
    suffix, width = _packs(places, x, y)
    total, lengths = x.size // width, (divisor(places // width), divisor(x.shape[1]))
    given = (x, y, weight, bias, mean, variance, float(eps))
    _run(f"normalise{suffix}", x, grid(total), THREADS, *given, *lengths, total)
    return y


def batch_norm_backward(
    g: Any, x: Any, weight: Any, mean: Any, variance: Any, *, eps: float, own: bool
) -> tuple[Any, Any, Any]:
    many = _parts(x, g, weight, mean, variance)
    if not many:
        xp = namespace_of(x)
        return generic.batch_norm_backward(xp, g, x, weight, mean, variance, eps=eps, own=own)
    g, x, mean, variance = [packed(one) for one in (g, x, mean, variance)]
    weight = weight if weight is None else packed(weight)
    of_bias, of_weight, sums = _channel_sums(g, x, mean, variance, float(eps), many)
    dx, places, channels = cupy.ndarray(x.shape, x.dtype), math.prod(x.shape[2:]), x.shape[1]
    suffix, width = _packs(places, g, x, dx)
    total, lengths = x.size // width, (divisor(places // width), divisor(channels))
    given = (g, x, dx, weight, mean, variance, sums if own else None, float(eps))
    _run(f"go_back{suffix}", x, grid(total), THREADS, *given, *lengths, x.size // channels, total)
    return dx, of_weight, of_bias
