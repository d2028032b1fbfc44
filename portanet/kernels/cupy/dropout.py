"""Dropout in one pass over memory: the mask is drawn where it is used, and drawn once more on the way back."""

from __future__ import annotations

from typing import Any

import cupy
import numpy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import PACKS, THREADS, blocks_for, fits, name_of, packed
from portanet.kernels.cupy._philox import PHILOX, counter_of
from portanet.kernels.generic import random as generic
from portanet.library import namespace_of

__all__ = ["draws_anew", "dropout"]

_SOURCE = Source(
    "dropout",
    PACKS
    + PHILOX
    + r"""
    // A block of random words for each eight elements. As by the definition, an element that is dropped is multiplied by
    // 0: what is nan stays so.
    extern "C" __global__ void __launch_bounds__(256) dropout(
        index n, T* __restrict__ y, const T* __restrict__ x, COUNTER, word threshold, double scale
    ) {
        A factor = (A)(T)(A)scale;
        bool packed = aligned(x) && aligned(y);
        constexpr int PACKS_OF_BLOCK = 8 / N;
        for (index b = thread(); 8 * b < n; b += threads()) {
            Block block = block_of(THE_COUNTER, b);
            if (packed && 8 * b + 8 <= n) {
                #pragma unroll
                for (int k = 0; k < PACKS_OF_BLOCK; ++k) {
                    Pack pack = ((const Pack*)x)[PACKS_OF_BLOCK * b + k];
                    #pragma unroll
                    for (int j = 0; j < N; ++j)
                        pack.at[j] = (T)((A)pack.at[j] * (block.at[N * k + j] < threshold ? factor : (A)0));
                    ((Pack*)y)[PACKS_OF_BLOCK * b + k] = pack;
                }
            } else {
                #pragma unroll
                for (int j = 0; j < 8; ++j) if (8 * b + j < n)
                    y[8 * b + j] = (T)((A)x[8 * b + j] * (block.at[j] < threshold ? factor : (A)0));
            }
        }
    }
    """,
)


def draws_anew() -> bool:
    return True


def dropout(x: Any, *, threshold: int, scale: float, key: tuple[int, int], counter: int) -> Any:
    if not fits(x):
        how: dict[str, Any] = {"threshold": threshold, "scale": scale, "key": key, "counter": counter}
        return generic.dropout(namespace_of(x), x, **how)
    x = packed(x)  # words are counted in the order of the elements
    y = cupy.ndarray(x.shape, x.dtype)
    arguments = (x.size, y, x, *counter_of(key, counter), numpy.uint64(threshold), float(scale))
    _SOURCE.kernel("dropout", name_of[x.dtype])(blocks_for(x.size, 8), (THREADS,), arguments)
    return y
