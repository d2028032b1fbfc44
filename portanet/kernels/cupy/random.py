"""Random bits on the GPU: Philox4x64-10 as `generic.random` defines it, one thread a block of words."""

from __future__ import annotations

import contextlib
from typing import Any

import cupy
import numpy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._shift import shift
from portanet.kernels.generic.random import ROUNDS

__all__ = ["random_words"]

# The multipliers and the key's increments are those of `generic.random`: MULTIPLIERS and WEYL.
_PHILOX = Source(
    "philox",
    r"""
    typedef unsigned long long word;
    extern "C" __global__
    void philox(word* out, word blocks, word key0, word key1, word c0, word c1, word c2, word c3, int rounds, const word* shift) {
        if (shift) c0 += *shift;
        word step = (word)blockDim.x * gridDim.x;
        for (word i = (word)blockDim.x * blockIdx.x + threadIdx.x; i < blocks; i += step) {
            word x0 = c0 + i, x1 = c1, x2 = c2, x3 = c3, k0 = key0, k1 = key1;
            for (int r = 0; r < rounds; ++r) {
                word high0 = __umul64hi(0xD2E7470EE14C6C93ULL, x0), low0 = 0xD2E7470EE14C6C93ULL * x0;
                word high1 = __umul64hi(0xCA5A826395121157ULL, x2), low1 = 0xCA5A826395121157ULL * x2;
                x0 = high1 ^ x1 ^ k0; x1 = low1;
                x2 = high0 ^ x3 ^ k1; x3 = low0;
                k0 += 0x9E3779B97F4A7C15ULL; k1 += 0xBB67AE8584CAA73BULL;
            }
            out[4 * i] = x0; out[4 * i + 1] = x1; out[4 * i + 2] = x2; out[4 * i + 3] = x3;
        }
    }
    """,
    dtypes=(),
)


def random_words(blocks: int, *, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    with contextlib.nullcontext() if device is None else cupy.cuda.Device(int(device)):
        out = cupy.empty(4 * blocks, dtype=cupy.uint64)
        if blocks > 0:
            parts = [numpy.uint64((counter >> shift) % 2**64) for shift in (0, 64, 128, 192)]
            keys = [numpy.uint64(key[0]), numpy.uint64(key[1])]
            moved = numpy.uint64(0) if shift.word is None else shift.word
            arguments = (out, numpy.uint64(blocks), *keys, *parts, numpy.int32(ROUNDS), moved)
            _PHILOX.kernel("philox")((min(-(-blocks // 128), 65535),), (128,), arguments)
        return out.view(cupy.uint32)
