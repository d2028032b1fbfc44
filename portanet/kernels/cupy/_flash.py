"""Attention forward in one kernel: no scores are written, and those that are hidden from a query are not computed.

A block takes some queries and goes through the keys they see, a few at a time. The softmax is put together on the way
(Milakov and Gimelshein 2018; Dao and others 2022): what has been summed is scaled down when a larger score comes.

For float32 that is not to be rounded to TF32. Products of matrix units are faster than this, with memory for the scores.
"""

from __future__ import annotations

import math
from typing import Any

import cupy

from portanet.kernels.cupy._cuda import Source
from portanet.precision import rounds_float32

_QUERIES, _KEYS = 64, 32  # of a block; keys at a time
_WIDTHS = (32, 64)  # numbers of a head

# What both ways have in common: arrays (first, second, rows, numbers) by their steps in elements; a row's numbers are
# neighbours, and four of them move as one.
VIEWS = r"""
    typedef long long index;

    struct Steps {
        index first, second, row;
        __device__ __forceinline__ index matrix(index i, index count) const { return i / count * first + i % count * second; }
    };

    #define VIEW(name) index name##0, index name##1, index name##2
    #define STEPS(name) Steps{name##0, name##1, name##2}

    __device__ __forceinline__ float4 four(const float* x) { return *(const float4*)x; }
"""

_SOURCE = Source(
    "flash",
    VIEWS
    + f"constexpr int QUERIES = {_QUERIES}, KEYS = {_KEYS}, THREADS = 128;"
    + r"""
    #define INFINITE __int_as_float(0x7f800000)

    // Rows of x, in columns of `to`, which are `pitch` apart; zeros where x has no more of them.
    template <int WIDTH, int COUNT>
    __device__ __forceinline__ void turned(const float* x, index step, index rows, float* to) {
        constexpr int pitch = COUNT + 4;
        #pragma unroll
        for (int i = threadIdx.x; i < COUNT * WIDTH / 4; i += THREADS) {
            int row = i % COUNT, at = i / COUNT * 4;
            float4 x4 = row < rows ? four(x + row * step + at) : float4{0, 0, 0, 0};
            to[at * pitch + row] = x4.x;
            to[(at + 1) * pitch + row] = x4.y;
            to[(at + 2) * pitch + row] = x4.z;
            to[(at + 3) * pitch + row] = x4.w;
        }
    }

    // Eight threads share four rows; each has four of the keys, and WIDTH / 8 numbers of the result.
    template <int WIDTH>
    __device__ __forceinline__ void attend(
        const float* q, Steps of_q, const float* k, Steps of_k, const float* v, Steps of_v, float* out, Steps of_out,
        float* logs, index second, index queries, index keys, float scale, bool causal
    ) {
        constexpr int OWN = WIDTH / 8;
        __shared__ __align__(16) float shared_q[WIDTH * (QUERIES + 4)], shared_k[WIDTH * (KEYS + 4)];
        __shared__ __align__(16) float shared_v[KEYS * WIDTH], shared_p[KEYS * (QUERIES + 4)];
        index matrix = blockIdx.x;
        index begin = (index)(gridDim.y - 1 - blockIdx.y) * QUERIES;  // the ones that see most keys come first
        q += of_q.matrix(matrix, second) + begin * of_q.row;
        k += of_k.matrix(matrix, second);
        v += of_v.matrix(matrix, second);
        out += of_out.matrix(matrix, second) + begin * of_out.row;
        int mine = threadIdx.x / 8 * 4, lane = threadIdx.x % 8;  // the first of four rows, and which of the eight
        float found[4][OWN] = {}, largest[4], sum[4] = {};
        #pragma unroll
        for (int i = 0; i < 4; ++i) largest[i] = -INFINITE;

        turned<WIDTH, QUERIES>(q, of_q.row, queries - begin, shared_q);
        index seen = causal && begin + QUERIES < keys ? begin + QUERIES : keys;
        for (index first = 0; first < seen; first += KEYS) {
            __syncthreads();
            turned<WIDTH, KEYS>(k + first * of_k.row, of_k.row, keys - first, shared_k);
            #pragma unroll
            for (int i = threadIdx.x; i < KEYS * WIDTH / 4; i += THREADS) {
                int row = i / (WIDTH / 4), at = i % (WIDTH / 4) * 4;
                float4 x = first + row < keys ? four(v + (first + row) * of_v.row + at) : float4{0, 0, 0, 0};
                *(float4*)(shared_v + row * WIDTH + at) = x;
            }
            __syncthreads();

            float score[4][4] = {};
            #pragma unroll 8
            for (int d = 0; d < WIDTH; ++d) {
                float4 x = four(shared_q + d * (QUERIES + 4) + mine), y = four(shared_k + d * (KEYS + 4) + lane * 4);
                float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
                #pragma unroll
                for (int i = 0; i < 4; ++i) {
                    #pragma unroll
                    for (int j = 0; j < 4; ++j) score[i][j] += xs[i] * ys[j];
                }
            }
            #pragma unroll
            for (int i = 0; i < 4; ++i) {
                float most = largest[i];
                #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    index key = first + lane * 4 + j;
                    bool hidden = key >= keys || (causal && key > begin + mine + i);
                    score[i][j] = hidden ? -INFINITE : score[i][j] * scale;
                    most = fmaxf(most, score[i][j]);
                }
                #pragma unroll
                for (int d = 4; d > 0; d /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, d));
                float level = most == -INFINITE ? 0 : most, less = expf(largest[i] - level), part = 0;
                largest[i] = most;
                #pragma unroll
                for (int j = 0; j < 4; ++j) {
                    score[i][j] = expf(score[i][j] - level);
                    part += score[i][j];
                }
                #pragma unroll
                for (int d = 4; d > 0; d /= 2) part += __shfl_xor_sync(0xffffffffu, part, d);
                sum[i] = sum[i] * less + part;
                #pragma unroll
                for (int n = 0; n < OWN; ++n) found[i][n] *= less;
            }
            #pragma unroll
            for (int j = 0; j < 4; ++j)
                *(float4*)(shared_p + (lane * 4 + j) * (QUERIES + 4) + mine)
                    = float4{score[0][j], score[1][j], score[2][j], score[3][j]};
            __syncwarp();  // all who share these rows are in one warp

            #pragma unroll 8
            for (int j = 0; j < KEYS; ++j) {
                float4 x = four(shared_p + j * (QUERIES + 4) + mine);
                float xs[4] = {x.x, x.y, x.z, x.w};
                #pragma unroll
                for (int n = 0; n < OWN; n += 4) {
                    float4 y = four(shared_v + j * WIDTH + n * 8 + lane * 4);
                    #pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        found[i][n] += xs[i] * y.x;
                        found[i][n + 1] += xs[i] * y.y;
                        found[i][n + 2] += xs[i] * y.z;
                        found[i][n + 3] += xs[i] * y.w;
                    }
                }
            }
        }
        #pragma unroll
        for (int i = 0; i < 4; ++i) {
            index row = begin + mine + i;
            if (row >= queries) break;
            bool some = !(sum[i] <= 0);  // nan passes
            float share = some ? 1 / sum[i] : 0;
            #pragma unroll
            for (int n = 0; n < OWN; n += 4)
                *(float4*)(out + (mine + i) * of_out.row + n * 8 + lane * 4) = float4{
                    found[i][n] * share, found[i][n + 1] * share, found[i][n + 2] * share, found[i][n + 3] * share
                };
            if (lane == 0) logs[matrix * queries + row] = some ? largest[i] + logf(sum[i]) : 0;
        }
    }

    #define ATTEND(width) \
        extern "C" __global__ void __launch_bounds__(128) attend_##width( \
            const float* q, VIEW(q), const float* k, VIEW(k), const float* v, VIEW(v), float* out, VIEW(out), \
            float* logs, index second, index queries, index keys, float scale, bool causal \
        ) { \
            attend<width>( \
                q, STEPS(q), k, STEPS(k), v, STEPS(v), out, STEPS(out), logs, second, queries, keys, scale, causal \
            ); \
        }
    ATTEND(32)
    ATTEND(64)
    """,
    dtypes=(),
)


def taken(q: Any, v: Any) -> bool:
    """Whether attention of these is for the kernels here: of queries (..., L, E) to values (..., S, E)."""
    widths = q.shape[-1], v.shape[-1]
    return q.dtype.char == "f" and not rounds_float32() and widths[0] == widths[1] and widths[0] in _WIDTHS


def views_of(*arrays: Any) -> list[Any] | None:
    """Arrays (..., rows, numbers), each followed by its steps; None where four numbers of one do not move at once."""
    found: list[Any] = []
    for x in arrays:
        *steps, last = [stride // 4 for stride in x.strides]
        if x.ndim > 4 or last != 1 or x.data.ptr % 16 or any([step % 4 for step in steps]):
            return None
        found += [x, *[0] * (4 - x.ndim), *steps]
    return found


def blocks_of(rows: int, each: int) -> int | None:
    """How many blocks take so many rows of each matrix; None where that is too many."""
    blocks = -(-rows // each)
    return blocks if blocks < 1 << 16 else None


def numbers_of(q: Any, k: Any, scale: float, causal: bool) -> tuple[Any, ...]:
    """What kernels are told besides the arrays."""
    return q.shape[-3] if q.ndim > 2 else 1, q.shape[-2], k.shape[-2], cupy.float32(scale), bool(causal)


def attended(q: Any, k: Any, v: Any, out: Any, causal: bool, scale: float) -> Any | None:
    """Write the result to ``out``; returns the logarithms of the sums. None, and nothing is done, where it is not for this.

    q (..., L, E), k and v (..., S, E) of one dtype and one batch, on the current device.
    """
    views, blocks = views_of(q, k, v, out), blocks_of(q.shape[-2], _QUERIES)
    if not taken(q, v) or views is None or blocks is None:
        return None
    logs = cupy.ndarray(q.shape[:-1], q.dtype)
    matrices = math.prod(q.shape[:-2])
    _SOURCE.kernel(f"attend_{q.shape[-1]}")(
        (matrices, blocks), (128,), (*views, logs, *numbers_of(q, k, scale, causal))
    )
    return logs
