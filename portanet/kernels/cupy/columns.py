"""Sums over all axes but the last, in two stages, so that a tall and narrow array keeps the whole GPU at work."""

from __future__ import annotations

import math
from typing import Any

import cupy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import PACKS, THREADS, fits, name_of, packed
from portanet.kernels.generic import nn as generic
from portanet.library import namespace_of

__all__ = ["column_sums"]

_SOURCE = Source(
    "columns",
    PACKS
    + r"""
    // blockDim.x threads stand side by side, each on `N` columns or on one, and blockDim.y above each other; gridDim.y
    // stretches of rows. The sums of a stretch, in A, go to its row of `parts`.
    template <int WIDTH, class Load>
    __device__ __forceinline__ void stretch(index rows, index columns, A* parts, Load load) {
        index column = ((index)blockIdx.x * blockDim.x + threadIdx.x) * WIDTH;
        index length = (rows + gridDim.y - 1) / gridDim.y, first = length * blockIdx.y;
        index last = first + length < rows ? first + length : rows;
        A sums[WIDTH] = {};
        if (column < columns) for (index r = first + threadIdx.y; r < last; r += blockDim.y) load(sums, r, column);
        __shared__ A all[256][WIDTH];
        #pragma unroll
        for (int j = 0; j < WIDTH; ++j) all[threadIdx.y * blockDim.x + threadIdx.x][j] = sums[j];
        __syncthreads();
        if (threadIdx.y > 0 || column >= columns) return;
        #pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            A sum = 0;
            for (int k = 0; k < blockDim.y; ++k) sum += all[k * blockDim.x + threadIdx.x][j];
            parts[blockIdx.y * columns + column + j] = sum;
        }
    }

    extern "C" __global__ void __launch_bounds__(256) stretches(index rows, index columns, A* parts, const T* x) {
        stretch<1>(rows, columns, parts, [=](A* sums, index r, index c) { sums[0] += (A)x[r * columns + c]; });
    }

    // The same for columns in multiples of N, from a place that is aligned.
    extern "C" __global__ void __launch_bounds__(256) packed_stretches(
        index rows, index columns, A* parts, const T* x
    ) {
        stretch<N>(rows, columns, parts, [=](A* sums, index r, index c) {
            Pack pack = *(const Pack*)(x + r * columns + c);
            #pragma unroll
            for (int j = 0; j < N; ++j) sums[j] += (A)pack.at[j];
        });
    }

    // The sums of the columns of `parts` (rows, columns), the first `split` of them to y and the others to z.
    extern "C" __global__ void __launch_bounds__(1024) joined(
        index rows, index columns, T* y, T* z, index split, const A* parts
    ) {
        index column = (index)blockIdx.x * 32 + threadIdx.x;
        A sum = 0;
        if (column < columns) for (index r = threadIdx.y; r < rows; r += blockDim.y) sum += parts[r * columns + column];
        __shared__ A all[32][33];
        all[threadIdx.y][threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.y > 0 || column >= columns) return;
        sum = 0;
        for (int k = 0; k < blockDim.y; ++k) sum += all[k][threadIdx.x];
        if (column < split) y[column] = (T)sum;
        else z[column - split] = (T)sum;
    }
    """,
)
_AT_WORK = 512  # blocks, from which on more of them would not be faster
_FEWEST = 32  # rows that are worth a block
ARITHMETIC = {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64"}


def column_sums(x: Any) -> Any:
    if not (x.ndim > 1 and fits(x)):
        return generic.column_sums(namespace_of(x), x)
    x = packed(x)
    dtype, rows, columns = name_of[x.dtype], math.prod(x.shape[:-1]), x.shape[-1]
    pack = 16 // x.itemsize
    wide = columns % pack == 0 and x.data.ptr % 16 == 0
    accesses = columns // pack if wide else columns
    side = min(32, 1 << (accesses - 1).bit_length())
    tiles = -(-accesses // side)
    stretches = max(1, min(-(-rows // _FEWEST), _AT_WORK // tiles))
    parts = cupy.ndarray((stretches, columns), ARITHMETIC[dtype])
    kernel = _SOURCE.kernel("packed_stretches" if wide else "stretches", dtype)
    kernel((tiles, stretches), (side, THREADS // side), (rows, columns, parts, x))
    return _joined(parts, cupy.ndarray((columns,), x.dtype))


def _joined(parts: Any, y: Any, z: Any = None) -> Any:
    """The sums of the columns of ``parts``, in the dtype to compute with, written to ``y`` and from its end on to ``z``."""
    rows, columns = parts.shape
    kernel = _SOURCE.kernel("joined", name_of[y.dtype])
    kernel((-(-columns // 32),), (32, min(32, rows)), (rows, columns, y, z, y.size, parts))
    return y
