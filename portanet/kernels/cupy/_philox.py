"""Philox4x64-10 on the GPU, as `generic.random` defines it, and the counter of a draw as an argument of a kernel.

In a captured graph a counter is what it was when it was captured: what `_shift` tells is added where a kernel runs.
"""

from __future__ import annotations

from typing import Any

import numpy

from portanet.kernels.cupy._shift import shift

__all__ = ["PHILOX", "counter_of"]

# The multipliers and the key's increments are those of `generic.random`: MULTIPLIERS, WEYL and ROUNDS.
PHILOX = r"""
typedef unsigned long long word;
struct Counter { word key0, key1, c0, c1, c2, c3; const word* shift; };  // of the first block of a draw
struct Block { unsigned int at[8]; };

__device__ __forceinline__ Block block_of(const Counter& from, word number) {
    word x0 = from.c0 + number + (from.shift ? *from.shift : 0), x1 = from.c1, x2 = from.c2, x3 = from.c3;
    word k0 = from.key0, k1 = from.key1;
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        word high0 = __umul64hi(0xD2E7470EE14C6C93ULL, x0), low0 = 0xD2E7470EE14C6C93ULL * x0;
        word high1 = __umul64hi(0xCA5A826395121157ULL, x2), low1 = 0xCA5A826395121157ULL * x2;
        x0 = high1 ^ x1 ^ k0; x1 = low1;
        x2 = high0 ^ x3 ^ k1; x3 = low0;
        k0 += 0x9E3779B97F4A7C15ULL; k1 += 0xBB67AE8584CAA73BULL;
    }
    return {{
        (unsigned int)x0, (unsigned int)(x0 >> 32), (unsigned int)x1, (unsigned int)(x1 >> 32),
        (unsigned int)x2, (unsigned int)(x2 >> 32), (unsigned int)x3, (unsigned int)(x3 >> 32)
    }};
}

#define COUNTER word key0, word key1, word c0, word c1, word c2, word c3, const word* shift
#define THE_COUNTER Counter{key0, key1, c0, c1, c2, c3, shift}

__device__ __forceinline__ long long thread_of_all() { return (long long)blockDim.x * blockIdx.x + threadIdx.x; }
__device__ __forceinline__ long long all_threads() { return (long long)blockDim.x * gridDim.x; }
"""


def counter_of(key: tuple[int, int], counter: int) -> tuple[Any, ...]:
    """The arguments `COUNTER` of a kernel."""
    words = [*key, *[(counter >> bits) % 2**64 for bits in (0, 64, 128, 192)]]
    return *[numpy.uint64(one) for one in words], shift.word
