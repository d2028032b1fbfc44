"""What kernels that are bound by memory have in common: packs of 16 bytes, rows of threads, and a look at the layout.

A thread moves 16 bytes in one access wherever all pointers allow it, and one element at a time elsewhere. So many threads
work on a row as make its accesses neighbours: a part of a warp on a short one, a block on a long one. What is added up
is added in an order that depends on the shape alone: results are the same, bit by bit, at every run.
"""

from __future__ import annotations

import math
from typing import Any

import cupy

from portanet.kernels.cupy._cuda import FLOATING

__all__ = [
    "GROUPS",
    "PACKS",
    "THREADS",
    "alike",
    "blocks_for",
    "dense",
    "fits",
    "name_of",
    "new_like",
    "packed",
    "rows_as",
]

THREADS = 256  # of a block, where nothing else is said
_MOST_BLOCKS = 1 << 15  # of a kernel whose threads each come back for more

PACKS = r"""
typedef long long index;
constexpr int N = 16 / sizeof(T);  // elements that move in one access
struct __align__(16) Pack { T at[N]; };

__device__ __forceinline__ bool aligned(const void* p) { return (unsigned long long)p % 16 == 0; }

template <class F, class... P>
__device__ __forceinline__ Pack mapped(F f, index first, P... x) {
    Pack y;
    #pragma unroll
    for (int j = 0; j < N; ++j) y.at[j] = (T)f(first + j, (A)x.at[j]...);
    return y;
}

template <class F, class... P>
__device__ __forceinline__ void told(F f, index first, P... x) {
    #pragma unroll
    for (int j = 0; j < N; ++j) f(first + j, (A)x.at[j]...);
}

// y[i] = f(i, x[i]...) for i below n, by threads that each begin at their own place and go on in steps.
template <class F, class... I>
__device__ __forceinline__ void each(
    bool packed, index place, index step, index n, F f, T* __restrict__ y, const I* __restrict__... x
) {
    index packs = packed ? n / N : 0;
    #pragma unroll 1
    for (index k = place; k < packs; k += step) ((Pack*)y)[k] = mapped(f, k * N, ((const Pack*)x)[k]...);
    for (index i = packs * N + place; i < n; i += step) y[i] = (T)f(i, (A)x[i]...);
}

template <class F, class... I>
__device__ __forceinline__ void each(index place, index step, index n, F f, T* y, const I*... x) {
    each(aligned(y) && (aligned(x) && ...), place, step, n, f, y, x...);
}

// f(i, x[i]...) for i below n, as above.
template <class F, class... I>
__device__ __forceinline__ void visit(
    bool packed, index place, index step, index n, F f, const I* __restrict__... x
) {
    index packs = packed ? n / N : 0;
    #pragma unroll 1
    for (index k = place; k < packs; k += step) told(f, k * N, ((const Pack*)x)[k]...);
    for (index i = packs * N + place; i < n; i += step) f(i, (A)x[i]...);
}

template <class F, class... I>
__device__ __forceinline__ void visit(index place, index step, index n, F f, const I*... x) {
    visit((aligned(x) && ...), place, step, n, f, x...);
}

__device__ __forceinline__ index thread() { return (index)blockDim.x * blockIdx.x + threadIdx.x; }
__device__ __forceinline__ index threads() { return (index)blockDim.x * gridDim.x; }
"""

GROUPS = r"""
// One row is worked on by the blockDim.x threads that have one threadIdx.y: a part of a warp (then their number is a
// power of two), or the whole block (full warps). All threads of a block must come to every one of these functions.

__device__ __forceinline__ index row() { return (index)blockIdx.x * blockDim.y + threadIdx.y; }

__device__ __forceinline__ float exchanged(float x, int d) { return __shfl_xor_sync(0xffffffffu, x, d); }
__device__ __forceinline__ double exchanged(double x, int d) { return __shfl_xor_sync(0xffffffffu, x, d); }

// The values of a row's threads made one, known to all of them; merge(a, b) must be merge(b, a).
template <class S, class F>
__device__ __forceinline__ S combined(S x, F merge) {
    for (int d = (blockDim.x < 32 ? blockDim.x : 32) / 2; d > 0; d /= 2) x = merge(x, exchanged(x, d));
    if (blockDim.x > 32) {
        __shared__ S parts[32];
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
        __syncthreads();
        int warps = blockDim.x / 32;
        if ((warps & (warps - 1)) == 0) {  // each warp takes all the parts
            x = parts[threadIdx.x % warps];
            for (int d = warps / 2; d > 0; d /= 2) x = merge(x, exchanged(x, d));
        } else {
            x = parts[0];
            for (int w = 1; w < warps; ++w) x = merge(x, parts[w]);
        }
        __syncthreads();  // the next call writes there
    }
    return x;
}

template <class S>
__device__ __forceinline__ S total(S x) { return combined(x, [](S a, S b) { return a + b; }); }

// The sum over all threads of a block, whatever its form, known to all of them.
__device__ __forceinline__ double block_total(double x) {
    __shared__ double parts[32];
    int t = threadIdx.x + blockDim.x * threadIdx.y, warps = blockDim.x * blockDim.y / 32;
    for (int d = 16; d > 0; d /= 2) x += exchanged(x, d);
    if (t % 32 == 0) parts[t / 32] = x;
    __syncthreads();
    x = parts[0];
    for (int w = 1; w < warps; ++w) x += parts[w];
    __syncthreads();
    return x;
}
"""


class _Names(dict[Any, str]):
    """From CuPy's floating data types to their names, "" for all others: asked for at every call."""

    def __missing__(self, dtype: Any) -> str:
        found = self[dtype] = dtype.name if dtype.name in FLOATING else ""
        return found


name_of = _Names()


def fits(*arrays: Any) -> bool:
    """Whether a kernel for one floating dtype takes these arrays: there is something in them, on the current device."""
    first = arrays[0]
    dtype, here = first.dtype, cupy.cuda.device.get_device_id()
    return (
        first.size > 0
        and name_of[dtype] != ""
        and all([type(x) is cupy.ndarray and x.dtype == dtype and x.data.device_id == here for x in arrays])
    )


def blocks_for(count: int, each: int = 1, most: int = _MOST_BLOCKS) -> tuple[int]:
    """A grid of blocks of `THREADS` for ``count`` things, of which a thread does ``each`` at a time."""
    return (max(1, min(-(-count // (each * THREADS)), most)),)


# ---------------------------------------------------------------------------------------------------------------------
# Layouts. Elements one by one may be visited in the order of memory, whatever that is, if all arrays agree in it.


def dense(x: Any) -> bool:
    """Whether the elements fill a stretch of memory, in whatever order of the axes."""
    flags = x.flags
    if flags.c_contiguous or flags.f_contiguous:
        return True
    expected = x.itemsize
    for stride, length in sorted([(s, n) for s, n in zip(x.strides, x.shape, strict=True) if n > 1]):
        if stride != expected:
            return False
        expected *= length
    return True


def packed(x: Any) -> Any:
    """``x`` in row-major memory, copied where it is not; None stays None."""
    # Asked first: cupy.ascontiguousarray makes one axis of none.
    return x if x is None or x.flags.c_contiguous else cupy.ascontiguousarray(x)


def new_like(x: Any) -> Any:
    """Memory for a result of the shape and dtype of ``x``, in its order if that leaves no gaps."""
    if x.flags.c_contiguous:
        return cupy.ndarray(x.shape, x.dtype)
    return cupy.empty_like(x, order="K") if dense(x) else cupy.ndarray(x.shape, x.dtype)


def alike(model: Any, x: Any) -> Any:
    """``x``, copied unless its elements lie as those of the dense array ``model`` do."""
    if x.strides == model.strides or (model.flags.c_contiguous and x.flags.c_contiguous):
        return x
    if model.flags.c_contiguous:
        return packed(x)
    copy = new_like(model)
    copy[...] = x
    return copy


# ---------------------------------------------------------------------------------------------------------------------
# Rows.


def rows_as(rows: int, width: int, itemsize: int) -> tuple[tuple[int], tuple[int, int]]:
    """Grid and block for ``rows`` rows of ``width`` elements: (threads of a row, rows of a block)."""
    pack = 16 // itemsize
    accesses = width // pack if width % pack == 0 else width
    if accesses <= 32 or (accesses <= 256 and rows >= 1024):  # else a warp would be long at it, and few of them at work
        threads = min(32, 1 << (accesses - 1).bit_length())
        together = THREADS // threads
        return (-(-rows // together),), (threads, together)
    return (rows,), (min(512, max(64, 1 << math.ceil(math.log2(accesses / 4)))), 1)
