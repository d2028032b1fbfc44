"""Softmax and cross entropy: the largest element and the sum of a row found together, so that it is read twice in all.

The second time it comes from the cache, unless the row is longer than that. Cross entropy reads it once, and once more on
the way back.
"""

from __future__ import annotations

import math
from typing import Any

import cupy

from portanet.kernels import generic
from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import GROUPS, PACKS, THREADS, blocks_for, fits, name_of, packed, rows_as
from portanet.kernels.cupy.columns import ARITHMETIC
from portanet.library import namespace_of

__all__ = [
    "cross_entropy_of_scores", "cross_entropy_of_scores_backward", "keeps_scores", "log_softmax", "log_softmax_backward",
    "pick_class", "softmax", "softmax_backward",
]  # fmt: skip

_SOURCE = Source(
    "softmax",
    PACKS
    + GROUPS
    + r"""
    #define KERNEL(name) extern "C" __global__ void __launch_bounds__(512, 1) name
    #define INFINITE ((A)__longlong_as_double(0x7ff0000000000000LL))
    #define NOT_A_NUMBER ((A)__longlong_as_double(0x7ff8000000000000LL))

    struct Sum { A largest, sum; };  // of exp(x - largest)

    __device__ __forceinline__ Sum exchanged(Sum s, int d) { return {exchanged(s.largest, d), exchanged(s.sum, d)}; }

    __device__ __forceinline__ Sum merged(Sum a, Sum b) {
        if (a.largest == b.largest) return {a.largest, a.sum + b.sum};  // both may be -inf
        Sum more = a.largest > b.largest ? a : b, less = a.largest > b.largest ? b : a;
        return {more.largest, more.sum + less.sum * exp(less.largest - more.largest)};
    }

    // What is added to a sum at once: one rescaling for all. fmax passes by what is nan, exp does not; where there is
    // nothing but that and -inf, nan is the sum.
    template <int COUNT>
    __device__ __forceinline__ void include(Sum& s, const Pack (&packs)[COUNT]) {
        A most = s.largest, sum = 0;
        #pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            #pragma unroll
            for (int j = 0; j < N; ++j) most = fmax(most, (A)packs[i].at[j]);
        }
        bool none = most == -INFINITE;
        #pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            #pragma unroll
            for (int j = 0; j < N; ++j) {
                A x = (A)packs[i].at[j];
                sum += none ? (x == x ? (A)0 : x) : exp(x - most);
            }
        }
        if (none) s.sum += sum;
        else s = {most, s.sum * exp(s.largest - most) + sum};
    }

    __device__ __forceinline__ void include(Sum& s, A x) {
        A most = fmax(s.largest, x);
        if (most != -INFINITE) s = {most, s.sum * exp(s.largest - most) + exp(x - most)};
        else if (x != x) s.sum = x;
    }

    constexpr int AHEAD = N == 4 ? 4 : 2;  // packs that a thread asks for before it looks at the first: memory answers late

    // Of a row of n elements, or of none. As by the definition the sum is nan where an element is nan or infinite, and
    // where all are -inf.
    __device__ __forceinline__ Sum summed(index n, const T* __restrict__ x) {
        Sum s = {-INFINITE, 0};
        index packs = aligned(x) ? n / N : 0, k = threadIdx.x, step = blockDim.x;
        #pragma unroll 1
        for (; k + (AHEAD - 1) * step < packs; k += AHEAD * step) {
            Pack some[AHEAD];
            #pragma unroll
            for (int i = 0; i < AHEAD; ++i) some[i] = ((const Pack*)x)[k + i * step];
            include(s, some);
        }
        #pragma unroll 1
        for (; k < packs; k += step) {
            Pack one[1] = {((const Pack*)x)[k]};
            include(s, one);
        }
        #pragma unroll 1
        for (index i = packs * N + threadIdx.x; i < n; i += step) include(s, (A)x[i]);
        s = combined(s, merged);
        return {s.largest, s.sum + (s.largest - s.largest)};  // inf - inf is nan
    }

    KERNEL(softmax)(index rows, index n, T* y, const T* x) {
        index at = row() * n, mine = row() < rows ? n : 0;
        Sum s = summed(mine, x + at);
        A share = 1 / s.sum;
        each(threadIdx.x, blockDim.x, mine, [=](index, A x) { return exp(x - s.largest) * share; }, y + at, x + at);
    }

    KERNEL(log_softmax)(index rows, index n, T* y, const T* x) {
        index at = row() * n, mine = row() < rows ? n : 0;
        Sum s = summed(mine, x + at);
        A level = log(s.sum);
        each(threadIdx.x, blockDim.x, mine, [=](index, A x) { return x - s.largest - level; }, y + at, x + at);
    }

    KERNEL(softmax_backward)(index rows, index n, T* gx, const T* g, const T* y) {
        index at = row() * n, mine = row() < rows ? n : 0;
        A sum = 0;
        visit(threadIdx.x, blockDim.x, mine, [&](index, A g, A y) { sum += g * y; }, g + at, y + at);
        sum = total(sum);
        each(threadIdx.x, blockDim.x, mine, [=](index, A g, A y) { return y * (g - sum); }, gx + at, g + at, y + at);
    }

    KERNEL(log_softmax_backward)(index rows, index n, T* gx, const T* g, const T* y) {
        index at = row() * n, mine = row() < rows ? n : 0;
        A sum = 0;
        visit(threadIdx.x, blockDim.x, mine, [&](index, A g) { sum += g; }, g + at);
        sum = total(sum);
        each(
            threadIdx.x, blockDim.x, mine, [=](index, A g, A y) { return g - exp(y) * sum; }, gx + at, g + at, y + at
        );
    }

    KERNEL(pick_class)(index rows, index n, T* y, const T* x, const index* target, index ignored) {
        index r = thread();
        if (r >= rows) return;
        index t = target[r];
        y[r] = t == ignored ? (T)(A)0 : t >= 0 && t < n ? x[r * n + t] : (T)NOT_A_NUMBER;
    }

    // The logarithm of the sum of each row, and either its loss or, of each block, the sum of the losses and how many
    // count.
    KERNEL(cross_entropy)(
        index rows, index n, A* logs, T* losses, double* sums, const T* x, const index* target, index ignored
    ) {
        index r = row(), at = r * n, mine = r < rows ? n : 0;
        index t = mine ? target[r] : ignored;
        bool named = t >= 0 && t < n && mine;
        A chosen = named ? (A)x[at + t] : NOT_A_NUMBER;
        Sum s = summed(mine, x + at);
        A level = log(s.sum), loss = t == ignored ? (A)0 : level - (chosen - s.largest);
        bool first = threadIdx.x == 0;
        if (first && mine) logs[r] = s.largest + level;
        if (losses) {
            if (first && mine) losses[r] = (T)loss;
            return;
        }
        double sum = block_total(first ? (double)loss : 0), count = block_total(first && t != ignored);
        if (first && threadIdx.y == 0) {
            sums[2 * blockIdx.x] = sum;
            sums[2 * blockIdx.x + 1] = count;
        }
    }

    // By one block: what the blocks have found made one loss.
    KERNEL(cross_entropy_reduced)(index blocks, T* loss, const double* sums, bool mean) {
        double sum = 0, count = 0;
        for (index i = threadIdx.x; i < blocks; i += blockDim.x) {
            sum += sums[2 * i];
            count += sums[2 * i + 1];
        }
        sum = block_total(sum);
        count = block_total(count);
        if (threadIdx.x == 0) loss[0] = (T)(A)(mean ? sum / count : sum);
    }

    __device__ __forceinline__ double counted(
        index place, index step, index rows, const index* target, index ignored
    ) {
        index count = 0;
        #pragma unroll 1
        for (index i = place; i < rows; i += step) count += target[i] != ignored;
        return block_total((double)count);
    }

    KERNEL(count_targets)(index rows, double* counts, const index* target, index ignored) {
        double count = counted(thread(), threads(), rows, target, ignored);
        if (threadIdx.x == 0) counts[blockIdx.x] = count;
    }

    // `each`: a cotangent of each row's loss; else one of their sum or mean. Of a mean each block adds up how many count:
    // the targets themselves, or what `count_targets` has found of them.
    KERNEL(cross_entropy_backward)(
        index rows, index n, T* gx, const T* g, const T* x, const A* logs, const index* target, index ignored, bool each_row,
        bool mean, const double* counts, index parts
    ) {
        index r = row(), at = r * n, mine = r < rows ? n : 0;
        double count = 1;
        if (mean) {
            int place = threadIdx.x + blockDim.x * threadIdx.y, step = blockDim.x * blockDim.y;
            if (counts) {
                count = 0;
                #pragma unroll 1
                for (index i = place; i < parts; i += step) count += counts[i];
                count = block_total(count);
            } else {
                count = counted(place, step, rows, target, ignored);
            }
        }
        index t = mine ? target[r] : ignored;
        A share = t == ignored ? (A)0 : (A)g[each_row ? r : 0] / (A)count;
        A level = mine ? logs[r] : (A)0;
        auto found = [=](index i, A x) {
            A p = exp(x - level);
            return share * (i == t ? p - 1 : p);
        };
        each(threadIdx.x, blockDim.x, mine, found, gx + at, x + at);
    }
    """,
)
_FEW = 1 << 11  # targets that every block may count for itself
_COUNTING = 256  # blocks that count more of them


def _rows(x: Any, axis: Any) -> bool:
    """Whether there is a kernel for ``x`` and this axis: one of them."""
    return fits(x) and type(axis) is int and -x.ndim <= axis < x.ndim


def _along(function: str, axis: int, *arrays: Any) -> Any:
    """A kernel of rows along one axis, which is brought to the end unless it is there."""
    last = axis in (-1, arrays[0].ndim - 1)
    given = [packed(x if last else cupy.moveaxis(x, axis, -1)) for x in arrays]
    y = cupy.ndarray(given[0].shape, given[0].dtype)
    rows, width = math.prod(y.shape[:-1]), y.shape[-1]
    grid, block = rows_as(rows, width, y.itemsize)
    _SOURCE.kernel(function, name_of[y.dtype])(grid, block, (rows, width, y, *given))
    return y if last else cupy.moveaxis(y, -1, axis)


def softmax(x: Any, *, axis: Any) -> Any:
    return _along("softmax", axis, x) if _rows(x, axis) else generic.softmax(namespace_of(x), x, axis=axis)


def log_softmax(x: Any, *, axis: Any) -> Any:
    return _along("log_softmax", axis, x) if _rows(x, axis) else generic.log_softmax(namespace_of(x), x, axis=axis)


def softmax_backward(g: Any, y: Any, *, axis: Any) -> Any:
    if _rows(y, axis) and fits(y, g) and g.shape == y.shape:
        return _along("softmax_backward", axis, g, y)
    return generic.softmax_backward(namespace_of(y), g, y, axis=axis)


def log_softmax_backward(g: Any, y: Any, *, axis: Any) -> Any:
    if _rows(y, axis) and fits(y, g) and g.shape == y.shape:
        return _along("log_softmax_backward", axis, g, y)
    return generic.log_softmax_backward(namespace_of(y), g, y, axis=axis)


# ---------------------------------------------------------------------------------------------------------------------
# Losses by class. What is ignored or out of range is told by the kernels: nothing is read by the host.


def _classified(x: Any, target: Any) -> bool:
    """Whether there is a kernel for these scores (..., C) and classes (...)."""
    return (
        fits(x)
        and type(target) is cupy.ndarray
        and target.dtype.kind in "iub"
        and target.shape == x.shape[:-1]
        and target.data.device_id == x.data.device_id
    )


def _indices(target: Any) -> Any:
    return packed(target if target.dtype == cupy.int64 else target.astype(cupy.int64))


def pick_class(x: Any, target: Any, *, ignore_index: int) -> Any:
    if not _classified(x, target):
        return generic.pick_class(namespace_of(x), x, target, ignore_index=ignore_index)
    y = cupy.ndarray(target.shape, x.dtype)
    arguments = (y.size, x.shape[-1], y, packed(x), _indices(target), ignore_index)
    _SOURCE.kernel("pick_class", name_of[x.dtype])((-(-y.size // THREADS),), (THREADS,), arguments)
    return y


def keeps_scores() -> bool:
    return True


def cross_entropy_of_scores(x: Any, target: Any, *, ignore_index: int, reduction: str) -> tuple[Any, Any]:
    if not _classified(x, target):
        how: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
        return generic.cross_entropy_of_scores(namespace_of(x), x, target, **how)
    dtype, rows, width = name_of[x.dtype], target.size, x.shape[-1]
    logs = cupy.ndarray(target.shape, ARITHMETIC[dtype])
    (blocks,), block = rows_as(rows, width, x.itemsize)
    whole = reduction != "none"
    losses = None if whole else cupy.ndarray(target.shape, x.dtype)
    sums = cupy.ndarray((2 * blocks,), cupy.float64) if whole else None
    arguments = (rows, width, logs, losses, sums, packed(x), _indices(target), ignore_index)
    _SOURCE.kernel("cross_entropy", dtype)((blocks,), block, arguments)
    if not whole:
        return losses, logs
    loss = cupy.ndarray((), x.dtype)
    threads = 512 if blocks > THREADS else THREADS
    _SOURCE.kernel("cross_entropy_reduced", dtype)((1,), (threads,), (blocks, loss, sums, reduction == "mean"))
    return loss, logs


def cross_entropy_of_scores_backward(
    g: Any, x: Any, logs: Any, target: Any, *, ignore_index: int, reduction: str
) -> Any:
    of_each = reduction == "none"
    dtype = name_of[x.dtype]
    if not (
        _classified(x, target)
        and fits(x, g)
        and g.shape == (target.shape if of_each else ())
        and fits(logs)
        and (logs.shape, logs.dtype) == (target.shape, ARITHMETIC[dtype])
    ):
        how: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
        return generic.cross_entropy_of_scores_backward(namespace_of(x), g, x, logs, target, **how)
    rows, width, mean = target.size, x.shape[-1], reduction == "mean"
    index, counts, parts = _indices(target), None, 0
    if mean and rows > _FEW:
        (parts,) = blocks_for(rows, most=_COUNTING)
        counts = cupy.ndarray((parts,), cupy.float64)
        _SOURCE.kernel("count_targets", dtype)((parts,), (THREADS,), (rows, counts, index, ignore_index))
    gx = cupy.ndarray(x.shape, x.dtype)
    given = packed(g), packed(x), packed(logs)
    arguments = (rows, width, gx, *given, index, ignore_index, of_each, mean, counts, parts)
    _SOURCE.kernel("cross_entropy_backward", dtype)(*rows_as(rows, width, x.itemsize), arguments)
    return gx
