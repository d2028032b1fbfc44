"""Random numbers on the GPU: Philox4x64-10 as `generic.random` defines it, each thread scrambling the blocks it needs."""

from __future__ import annotations

import contextlib
from typing import Any

import cupy
import numpy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import THREADS, blocks_for
from portanet.kernels.cupy._philox import PHILOX, counter_of

__all__ = ["random_bernoulli", "random_normal", "random_uniform", "random_words"]

_BITS = Source(
    "random_bits",
    PHILOX
    + r"""
    extern "C" __global__ void words(long long count, unsigned int* out, COUNTER) {
        for (long long b = thread_of_all(); 8 * b < count; b += all_threads()) {
            Block block = block_of(THE_COUNTER, b);
            uint4* there = (uint4*)(out + 8 * b);  // whole blocks are drawn
            there[0] = make_uint4(block.at[0], block.at[1], block.at[2], block.at[3]);
            there[1] = make_uint4(block.at[4], block.at[5], block.at[6], block.at[7]);
        }
    }

    extern "C" __global__ void bernoulli(long long count, unsigned char* out, COUNTER, word threshold) {
        for (long long b = thread_of_all(); 8 * b < count; b += all_threads()) {
            Block block = block_of(THE_COUNTER, b);
            word bytes = 0;
            #pragma unroll
            for (int j = 0; j < 8; ++j) bytes |= (word)(block.at[j] < threshold) << (8 * j);
            if (8 * b + 8 <= count) *(word*)(out + 8 * b) = bytes;
            else for (int j = 0; 8 * b + j < count; ++j) out[8 * b + j] = bytes >> (8 * j) & 1;
        }
    }
    """,
    dtypes=(),
)

_NUMBERS = Source(
    "random_numbers",
    PHILOX
    + r"""
    // Of numbers in [0, 1): as many bits as the significand holds.
    template <class U> constexpr int BITS = 0;
    template <> constexpr int BITS<double> = 53;
    template <> constexpr int BITS<float> = 24;
    template <> constexpr int BITS<__half> = 11;
    template <> constexpr int BITS<__nv_bfloat16> = 8;
    constexpr int WORDS = sizeof(T) == 8 ? 2 : 1, NUMBERS = 8 / WORDS, UNUSED = WORDS == 1 ? 32 - BITS<T> : 0;

    __device__ __forceinline__ unsigned int word_of(const Block& block, int j) {
        unsigned int found = 0;
        #pragma unroll
        for (int k = 0; k < 8; ++k) if (k == j) found = block.at[k];  // an index that varies would need local memory
        return found;
    }

    __device__ __forceinline__ A number(const Block& block, int j) {
        if constexpr (WORDS == 1) return (A)(word_of(block, j) >> UNUSED) * ((A)1 / (1ULL << BITS<T>));
        // Whole numbers below 2**53: nothing rounds.
        return ((A)word_of(block, 2 * j + 1) * 2097152 + (A)(word_of(block, 2 * j) >> 11)) * ((A)1 / (1ULL << BITS<T>));
    }

    extern "C" __global__ void uniform(long long count, T* out, COUNTER) {
        for (long long b = thread_of_all(); NUMBERS * b < count; b += all_threads()) {
            Block block = block_of(THE_COUNTER, b);
            T* there = out + NUMBERS * b;
            #pragma unroll
            for (int j = 0; j < NUMBERS; ++j) if (NUMBERS * b + j < count) there[j] = (T)number(block, j);
        }
    }

    // The logarithm is never that of 0: half a step is added.
    __device__ __forceinline__ A chance(const Block& block, int j) {
        if constexpr (WORDS == 1) return (A)word_of(block, j) * ((A)1 / (1ULL << 32)) + (A)1 / (1ULL << 33);
        return number(block, j) + (A)1 / (1ULL << BITS<T>);
    }

    // Numbers i and pairs + i are those of pair i: cosines first, then sines.
    extern "C" __global__ void normal(long long count, T* out, COUNTER) {
        long long pairs = (count + 1) / 2;
        for (long long i = thread_of_all(); i < pairs; i += all_threads()) {
            long long other = pairs + i;
            A radius = sqrt((A)-2 * log(chance(block_of(THE_COUNTER, i / NUMBERS), i % NUMBERS)));
            A angle = number(block_of(THE_COUNTER, other / NUMBERS), other % NUMBERS) * (A)6.283185307179586477;
            out[i] = (T)(radius * cos(angle));
            if (other < count) out[other] = (T)(radius * sin(angle));
        }
    }
    """,
)


def _on(device: Any) -> Any:
    return contextlib.nullcontext() if device is None else cupy.cuda.Device(int(device))


def random_words(blocks: int, *, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    with _on(device):
        out = cupy.ndarray((8 * blocks,), cupy.uint32)
        if blocks > 0:
            _BITS.kernel("words")(blocks_for(blocks), (THREADS,), (8 * blocks, out, *counter_of(key, counter)))
    return out


def random_bernoulli(count: int, *, threshold: int, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    with _on(device):
        out = cupy.ndarray((count,), cupy.bool_)
        if count > 0:
            arguments = (count, out, *counter_of(key, counter), numpy.uint64(threshold))
            _BITS.kernel("bernoulli")(blocks_for(count, 8), (THREADS,), arguments)
    return out


def random_uniform(count: int, *, dtype: Any, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    return _numbers("uniform", count, 8, dtype, key, counter, device)


def random_normal(count: int, *, dtype: Any, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    return _numbers("normal", count, 2, dtype, key, counter, device)


def _numbers(kernel: str, count: int, each: int, dtype: Any, key: Any, counter: int, device: Any) -> Any:
    dtype = numpy.dtype(dtype)
    with _on(device):
        out = cupy.ndarray((count,), dtype)
        if count > 0:
            run = _NUMBERS.kernel(kernel, dtype.name)
            run(blocks_for(count, min(each, 32 // dtype.itemsize)), (THREADS,), (count, out, *counter_of(key, counter)))
    return out
