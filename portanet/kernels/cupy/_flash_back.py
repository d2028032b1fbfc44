"""The way back through attention without scores in memory: they are computed again, and those that are hidden are not.

One kernel gives the cotangents of keys and values, another those of the queries. Both are the same function: a block has
some rows of its own and goes through those of the other side. Nothing is added by several blocks, so the numbers are the
same every time.
"""

from __future__ import annotations

import math
from typing import Any

import cupy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._flash import VIEWS, blocks_of, numbers_of, taken, views_of

_OWN, _OTHERS = 64, 32  # rows of a block, and of the other side at a time

_SOURCE = Source(
    "flash_back",
    VIEWS
    + f"constexpr int OWN = {_OWN}, OTHERS = {_OTHERS}, THREADS = 128;"
    + r"""
    // What a score's cotangent is smaller by: of each query the sum of what arrives times what was given out.
    template <int WIDTH>
    __device__ __forceinline__ void levels_of(
        const float* g, Steps of_g, const float* out, Steps of_out, const float* glogs, float* levels, index second,
        index queries, index rows
    ) {
        index row = ((index)blockIdx.x * THREADS + threadIdx.x) / 8, matrix = row / queries;
        if (row >= rows) return;  // eight threads together
        g += of_g.matrix(matrix, second) + row % queries * of_g.row;
        out += of_out.matrix(matrix, second) + row % queries * of_out.row;
        float sum = 0;
        #pragma unroll
        for (int n = threadIdx.x % 8 * 4; n < WIDTH; n += 32) {
            float4 x = four(g + n), y = four(out + n);
            sum += x.x * y.x + x.y * y.y + (x.z * y.z + x.w * y.w);
        }
        #pragma unroll
        for (int d = 4; d > 0; d /= 2) sum += __shfl_xor_sync(0xffu << (threadIdx.x % 32 / 8 * 8), sum, d);
        if (threadIdx.x % 8 == 0) levels[row] = glogs ? sum - glogs[row] : sum;
    }

    // Rows of x, and zeros where it has no more of them.
    template <int WIDTH, int COUNT>
    __device__ __forceinline__ void copied(const float* x, index step, index rows, float* to) {
        #pragma unroll
        for (int i = threadIdx.x; i < COUNT * WIDTH / 4; i += THREADS) {
            int row = i / (WIDTH / 4), at = i % (WIDTH / 4) * 4;
            *(float4*)(to + row * (WIDTH + 4) + at) = row < rows ? four(x + row * step + at) : float4{0, 0, 0, 0};
        }
    }

    // The products of four rows of x, 16 apart, and four of y, 8 apart.
    template <int WIDTH>
    __device__ __forceinline__ void products(const float* x, const float* y, float (&found)[4][4]) {
        #pragma unroll 4
        for (int d = 0; d < WIDTH; d += 4) {
            float4 xs[4], ys[4];
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                xs[i] = four(x + 16 * i * (WIDTH + 4) + d);
                ys[i] = four(y + 8 * i * (WIDTH + 4) + d);
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    found[i][j] += xs[i].x * ys[j].x;
                    found[i][j] += xs[i].y * ys[j].y;
                    found[i][j] += xs[i].z * ys[j].z;
                    found[i][j] += xs[i].w * ys[j].w;
                }
            }
        }
    }

    // Adds the rows y of the other side, each as often as `factors` says, to what four own rows have; eight threads share
    // these, and what they write of the factors is read by themselves alone.
    template <int WIDTH>
    __device__ __forceinline__ void summed(
        const float (&factors)[4][4], float* space, const float* y, int group, int lane, float (&sums)[4][WIDTH / 8]
    ) {
        __syncwarp();
        #pragma unroll
        for (int j = 0; j < 4; ++j)
            *(float4*)(space + (lane + 8 * j) * (OWN + 4) + group * 4)
                = float4{factors[0][j], factors[1][j], factors[2][j], factors[3][j]};
        __syncwarp();
        #pragma unroll 8
        for (int j = 0; j < OTHERS; ++j) {
            float4 x = four(space + j * (OWN + 4) + group * 4);
            float xs[4] = {x.x, x.y, x.z, x.w};
            #pragma unroll
            for (int n = 0; n < WIDTH / 8; n += 4) {
                float4 y4 = four(y + j * (WIDTH + 4) + n * 8 + lane * 4);
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    sums[i][n] += xs[i] * y4.x;
                    sums[i][n + 1] += xs[i] * y4.y;
                    sums[i][n + 2] += xs[i] * y4.z;
                    sums[i][n + 3] += xs[i] * y4.w;
                }
            }
        }
    }

    template <int WIDTH>
    __device__ __forceinline__ void written(
        const float (&sums)[4][WIDTH / 8], float* to, index step, index rows, int group, int lane
    ) {
        #pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (group + 16 * i >= rows) break;
            #pragma unroll
            for (int n = 0; n < WIDTH / 8; n += 4)
                *(float4*)(to + (group + 16 * i) * step + n * 8 + lane * 4)
                    = float4{sums[i][n], sums[i][n + 1], sums[i][n + 2], sums[i][n + 3]};
        }
    }

    // A side is two arrays of the same rows: queries and what arrives at their results, or keys and values.
    struct Side { const float *one, *two; Steps of_one, of_two; index rows; };

    template <int WIDTH, bool OF_KEYS>
    __device__ __forceinline__ void back(
        Side own, Side other, float* into_one, Steps of_one, float* into_two, Steps of_two, const float* logs,
        const float* levels, index second, float scale, bool causal
    ) {
        extern __shared__ __align__(16) float memory[];
        constexpr int PITCH = WIDTH + 4;
        float *own_one = memory, *own_two = own_one + OWN * PITCH, *other_one = own_two + OWN * PITCH;
        float *other_two = other_one + OTHERS * PITCH, *space = other_two + OTHERS * PITCH;
        index matrix = blockIdx.x, block = OF_KEYS ? blockIdx.y : gridDim.y - 1 - blockIdx.y;  // those with most work first
        index begin = block * OWN, first = 0, stop = other.rows;
        if (causal && OF_KEYS) first = begin;
        if (causal && !OF_KEYS && begin + OWN < stop) stop = begin + OWN;
        index queries = OF_KEYS ? other.rows : own.rows, keys = OF_KEYS ? own.rows : other.rows;
        logs += matrix * queries;
        levels += matrix * queries;
        other.one += other.of_one.matrix(matrix, second);
        other.two += other.of_two.matrix(matrix, second);
        copied<WIDTH, OWN>(
            own.one + own.of_one.matrix(matrix, second) + begin * own.of_one.row, own.of_one.row, own.rows - begin, own_one
        );
        copied<WIDTH, OWN>(
            own.two + own.of_two.matrix(matrix, second) + begin * own.of_two.row, own.of_two.row, own.rows - begin, own_two
        );
        int group = threadIdx.x / 8, lane = threadIdx.x % 8;
        float one[4][WIDTH / 8] = {}, two[4][WIDTH / 8] = {};
        for (; first < stop; first += OTHERS) {
            __syncthreads();
            copied<WIDTH, OTHERS>(other.one + first * other.of_one.row, other.of_one.row, other.rows - first, other_one);
            copied<WIDTH, OTHERS>(other.two + first * other.of_two.row, other.of_two.row, other.rows - first, other_two);
            __syncthreads();
            float p[4][4] = {}, g[4][4] = {};
            products<WIDTH>(own_one + group * PITCH, other_one + lane * PITCH, p);
            products<WIDTH>(own_two + group * PITCH, other_two + lane * PITCH, g);
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    index mine = begin + group + 16 * i, theirs = first + lane + 8 * j;
                    index query = OF_KEYS ? theirs : mine, key = OF_KEYS ? mine : theirs;
                    bool hidden = key >= keys || query >= queries || (causal && key > query);
                    p[i][j] = hidden ? 0 : expf(p[i][j] * scale - logs[query]);
                    g[i][j] = hidden ? 0 : p[i][j] * (g[i][j] - levels[query]) * scale;
                }
            }
            if (OF_KEYS) summed<WIDTH>(p, space, other_two, group, lane, two);
            summed<WIDTH>(g, space, other_one, group, lane, one);
        }
        index rows = own.rows - begin;
        written<WIDTH>(
            one, into_one + of_one.matrix(matrix, second) + begin * of_one.row, of_one.row, rows, group, lane
        );
        if (OF_KEYS)
            written<WIDTH>(
                two, into_two + of_two.matrix(matrix, second) + begin * of_two.row, of_two.row, rows, group, lane
            );
    }

    #define BACK(width) \
        extern "C" __global__ void __launch_bounds__(128) levels_##width( \
            const float* g, VIEW(g), const float* out, VIEW(out), const float* glogs, float* levels, index second, \
            index queries, index rows \
        ) { \
            levels_of<width>(g, STEPS(g), out, STEPS(out), glogs, levels, second, queries, rows); \
        } \
        extern "C" __global__ void __launch_bounds__(128) to_keys_##width( \
            const float* q, VIEW(q), const float* g, VIEW(g), const float* k, VIEW(k), const float* v, VIEW(v), \
            float* gk, VIEW(gk), float* gv, VIEW(gv), const float* logs, const float* levels, index second, \
            index queries, index keys, float scale, bool causal \
        ) { \
            back<width, true>( \
                Side{k, v, STEPS(k), STEPS(v), keys}, Side{q, g, STEPS(q), STEPS(g), queries}, gk, STEPS(gk), gv, \
                STEPS(gv), logs, levels, second, scale, causal \
            ); \
        } \
        extern "C" __global__ void __launch_bounds__(128) to_queries_##width( \
            const float* q, VIEW(q), const float* g, VIEW(g), const float* k, VIEW(k), const float* v, VIEW(v), \
            float* gq, VIEW(gq), const float* logs, const float* levels, index second, index queries, index keys, \
            float scale, bool causal \
        ) { \
            back<width, false>( \
                Side{q, g, STEPS(q), STEPS(g), queries}, Side{k, v, STEPS(k), STEPS(v), keys}, gq, STEPS(gq), nullptr, \
                Steps{0, 0, 0}, logs, levels, second, scale, causal \
            ); \
        }
    BACK(32)
    BACK(64)
    """,
    dtypes=(),
)


def gone_back(
    g: Any, glogs: Any, out: Any, logs: Any, q: Any, k: Any, v: Any, into: list[Any], causal: bool, scale: float
) -> bool:
    """Write the cotangents of q, k and v to the three arrays ``into``, whether that was done: else it is not for this.

    ``g`` and ``glogs`` (or None) arrive at what `_flash.attended` gave, which are ``out`` and ``logs``, without gaps.
    """
    views = [views_of(x) for x in (q, g, k, v, out, *into)]
    queries, keys, width = q.shape[-2], k.shape[-2], q.shape[-1]
    blocks = blocks_of(queries, _OWN), blocks_of(keys, _OWN)
    if not taken(q, v) or None in views or None in blocks:
        return False
    of_q, of_g, of_k, of_v, of_out, into_q, into_k, into_v = [view or [] for view in views]
    levels, matrices = cupy.ndarray(logs.shape, logs.dtype), math.prod(q.shape[:-2])
    numbers = numbers_of(q, k, scale, causal)
    rows = matrices * queries
    arguments = (*of_g, *of_out, glogs, levels, numbers[0], queries, rows)
    _SOURCE.kernel(f"levels_{width}")((-(-rows * 8 // 128),), (128,), arguments)
    given = (*of_q, *of_g, *of_k, *of_v)
    for name, count, targets in (("to_keys", blocks[1], (*into_k, *into_v)), ("to_queries", blocks[0], into_q)):
        kernel: Any = _SOURCE.kernel(f"{name}_{width}")
        kernel.max_dynamic_shared_size_bytes = memory = _memory(width)
        kernel((matrices, count), (128,), (*given, *targets, logs, levels, *numbers), shared_mem=memory)
    return True


def _memory(width: int) -> int:
    """Bytes of a block: two arrays of both sides, and factors."""
    return 4 * (2 * (_OWN + _OTHERS) * (width + 4) + _OTHERS * (_OWN + 4))
