"""Rows added where indices say: sorted by these, and each row's sum taken in one order, whatever else is at work.

What goes to one row is a run of the sorted updates. Threads take stretches of these, a column each. A run within one
stretch is done then; of others the parts are kept, and put together by whoever has their beginning.
"""

from __future__ import annotations

from typing import Any

import cupy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import PACKS, THREADS, fits, name_of, packed
from portanet.kernels.generic import arrays as generic
from portanet.library import namespace_of

__all__ = ["scatter_add"]

_STRETCH = 32  # updates that a thread adds up one after the other

_SOURCE = Source(
    "scatter",
    PACKS
    + f"constexpr int STRETCH = {_STRETCH};"
    + r"""
    #define BEGIN \
        index stretch = (index)blockIdx.x * blockDim.y + threadIdx.y, column = (index)blockIdx.y * blockDim.x + threadIdx.x; \
        index first = stretch * STRETCH, stop = first + STRETCH < count ? first + STRETCH : count; \
        if (first >= count || column >= columns) return; \
        A *head = parts + stretch * columns + column, *tail = head + stretches * columns;

    // y holds x, to which is added; `rows` are the indices in order, and `order` says which update each of them came with.
    extern "C" __global__ void __launch_bounds__(256) runs(
        index count, index columns, index stretches, const index* rows, const index* order, const T* updates, T* y,
        A* parts
    ) {
        BEGIN
        bool begun = first > 0 && rows[first - 1] == rows[first];  // in an earlier stretch
        A sum = 0;
        for (index i = first; i < stop; ++i) {
            sum += (A)updates[order[i] * columns + column];
            bool goes_on = i + 1 < count && rows[i + 1] == rows[i];
            if (goes_on && i + 1 < stop) continue;
            T* to = y + rows[i] * columns + column;
            if (begun) *head = sum;
            else if (goes_on) *tail = sum;
            else *to = (T)((A)*to + sum);
            begun = false;
            sum = 0;
        }
    }

    extern "C" __global__ void __launch_bounds__(256) joined_runs(
        index count, index columns, index stretches, const index* rows, T* y, A* parts
    ) {
        BEGIN
        index row = rows[stop - 1], start = stop - 1;
        bool goes_on = stop < count && rows[stop] == row;
        while (start > first && rows[start - 1] == row) --start;
        if (!goes_on || (start == first && first > 0 && rows[first - 1] == row)) return;
        A sum = *tail;
        for (index at = stop; at < count && rows[at] == row; at += STRETCH) {
            head += columns;
            sum += *head;
        }
        T* to = y + row * columns + column;
        *to = (T)((A)*to + sum);
    }
    """,
)


def scatter_add(x: Any, indices: Any, updates: Any) -> Any:
    count = indices.size
    if not (count and updates.size and fits(x, updates)):
        return generic.scatter_add(namespace_of(x), x, indices, updates)
    order = cupy.argsort(indices, kind="stable").astype(cupy.int64, copy=False)
    rows = cupy.take(indices, order).astype(cupy.int64, copy=False)
    columns, stretches = updates.size // count, -(-count // _STRETCH)
    y, dtype = x.copy("C"), name_of[x.dtype]
    parts = cupy.ndarray((2, stretches, columns), cupy.float32 if x.dtype.itemsize == 2 else x.dtype)
    across = min(THREADS, 1 << (columns - 1).bit_length())
    block = across, THREADS // across
    grid = -(-stretches // block[1]), -(-columns // across)
    sizes = count, columns, stretches
    _SOURCE.kernel("runs", dtype)(grid, block, (*sizes, rows, order, packed(updates), y, parts))
    _SOURCE.kernel("joined_runs", dtype)(grid, block, (*sizes, rows, y, parts))
    return y
