"""Attention over packed queries, keys and values as loops that Numba compiles: one head of one example after the other.

Products, exp and log are NumPy's own loops, on the blocks of `attention`, and the rest is computed in its order: the bits
are the same. The arguments of NumPy's loops are set before each, for they write to them. This module imports Numba; it
is imported when a loop is compiled.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

numba: Any = importlib.import_module("numba")


def _forward(
    product: Any, exp: Any, log: Any, maximum: Any, x: Any, out: Any, logs: Any, blocks: Any, causal: bool, scale: Any,
    highest: float, lowest: float, failed: Any, begin: int, end: int,
) -> None:  # fmt: skip
    """Examples ``begin`` to ``end``. ``x`` is (N, L, 3, heads, D), ``out`` (N, L, heads, D), ``logs`` (N, heads, L).

    ``failed[0]`` becomes True where a score is above ``highest`` or a sum below ``lowest``: then nothing is of use.
    """
    _, length, _, heads, width = x.shape
    size = x.itemsize
    row = 3 * heads * width * size  # bytes from one position to the next
    turned = np.empty((width, length), x.dtype)
    widest = 0
    for first, last, seen in blocks:
        widest = max(widest, (last - first) * seen)
    memory, ones, total = np.empty(widest, x.dtype), np.ones(length, x.dtype), np.empty(length, x.dtype)
    summed, top = np.empty((length, width), x.dtype), np.empty(1, x.dtype)
    at, dims, one = np.empty(3, np.int64), np.empty(4, np.int64), np.array([size, size])
    along = np.array([0, size, 0])  # of a maximum that is taken into its first argument
    for n in range(begin, end):
        for h in range(heads):
            for i in range(length):
                for d in range(width):
                    turned[d, i] = x[n, i, 0, h, d] * scale
            base = x.ctypes.data + (n * length * 3 * heads + h) * width * size
            keys, values = base + heads * width * size, base + 2 * heads * width * size
            for first, last, seen in blocks:
                count = last - first
                p = memory[: seen * count].reshape(seen, count)
                at[0], at[1], at[2] = keys, turned.ctypes.data + first * size, p.ctypes.data
                dims[0], dims[1], dims[2], dims[3] = 1, seen, width, count
                each = np.array([0, 0, 0, row, size, length * size, size, count * size, size])
                product(at.ctypes, dims.ctypes, each.ctypes, 0)
                top[0] = p[0, 0]
                at[0], at[1], at[2] = top.ctypes.data, p.ctypes.data, top.ctypes.data
                dims[0] = seen * count
                maximum(at.ctypes, dims.ctypes, along.ctypes, 0)
                if not top[0] <= highest:
                    failed[0] = True
                    return
                at[0], at[1] = p.ctypes.data, p.ctypes.data
                exp(at.ctypes, dims.ctypes, one.ctypes, 0)
                if causal:
                    for i in range(first, seen):
                        for j in range(min(i - first, count)):
                            p[i, j] = 0
                at[0], at[1], at[2] = ones.ctypes.data, p.ctypes.data, total.ctypes.data + first * size
                dims[0], dims[1], dims[2], dims[3] = 1, 1, seen, count
                each = np.array([0, 0, 0, size, size, count * size, size, size, size])
                product(at.ctypes, dims.ctypes, each.ctypes, 0)
                at[0], at[1], at[2] = p.ctypes.data, values, summed.ctypes.data + first * width * size
                dims[0], dims[1], dims[2], dims[3] = 1, count, seen, width
                each = np.array([0, 0, 0, size, count * size, row, size, width * size, size])
                product(at.ctypes, dims.ctypes, each.ctypes, 0)
            if not np.min(total) >= lowest:
                failed[0] = True
                return
            at[0], at[1] = total.ctypes.data, logs.ctypes.data + (n * heads + h) * length * size
            dims[0] = length
            log(at.ctypes, dims.ctypes, one.ctypes, 0)
            for i in range(length):
                for d in range(width):
                    out[n, i, h, d] = summed[i, d] / total[i]


def _backward(
    product: Any, exp: Any, gout: Any, out: Any, logs: Any, x: Any, gx: Any, blocks: Any, causal: bool, scale: Any,
    begin: int, end: int,
) -> None:  # fmt: skip
    """Examples ``begin`` to ``end`` of ``gx``; ``blocks`` are those of `forward`, the last first."""
    _, length, _, heads, width = x.shape
    size = x.itemsize
    row, narrow = 3 * heads * width * size, heads * width * size  # bytes from one position to the next
    turned, given = np.empty((width, length), x.dtype), np.empty((width, length), x.dtype)
    widest = 0
    for first, last, seen in blocks:
        widest = max(widest, (last - first) * seen)
    memory, ones, level = np.empty((2, widest), x.dtype), np.ones(width, x.dtype), np.empty(length, x.dtype)
    more, times = np.empty((length, width), x.dtype), np.empty((length, width), x.dtype)
    at, dims, one = np.empty(3, np.int64), np.empty(4, np.int64), np.array([size, size])
    nothing = x.dtype.type(0)
    for n in range(begin, end):
        for h in range(heads):
            for i in range(length):
                for d in range(width):
                    turned[d, i] = x[n, i, 0, h, d] * scale
                    given[d, i] = gout[n, i, h, d]
                for d in range(width):
                    times[i, d] = gout[n, i, h, d] * out[n, i, h, d]
            at[0], at[1], at[2] = times.ctypes.data, ones.ctypes.data, level.ctypes.data
            dims[0], dims[1], dims[2], dims[3] = 1, length, width, 1
            each = np.array([0, 0, 0, width * size, size, size, size, size, size])
            product(at.ctypes, dims.ctypes, each.ctypes, 0)
            place = (n * length * 3 * heads + h) * width * size
            queries, into = x.ctypes.data + place, gx.ctypes.data + place
            keys, values = queries + narrow, queries + 2 * narrow
            above = gout.ctypes.data + (n * length * heads + h) * width * size
            for i in range(blocks[0, 2], length):  # keys that no query sees
                for d in range(width):
                    gx[n, i, 1, h, d] = 0
                    gx[n, i, 2, h, d] = 0
            for b in range(len(blocks)):
                first, last, seen = blocks[b]
                count = last - first
                p = memory[0, : seen * count].reshape(seen, count)
                gs = memory[1, : seen * count].reshape(seen, count)
                each = np.array([0, 0, 0, row, size, length * size, size, count * size, size])
                at[0], at[1], at[2] = keys, turned.ctypes.data + first * size, p.ctypes.data
                dims[0], dims[1], dims[2], dims[3] = 1, seen, width, count
                product(at.ctypes, dims.ctypes, each.ctypes, 0)
                at[0], at[1], at[2] = values, given.ctypes.data + first * size, gs.ctypes.data
                product(at.ctypes, dims.ctypes, each.ctypes, 0)
                for i in range(seen):
                    for j in range(count):
                        p[i, j] -= logs[n, h, first + j]
                    if causal and i >= first:
                        for j in range(count):  # what is not seen may be large, and must not overflow
                            p[i, j] = nothing if p[i, j] > nothing else p[i, j]
                at[0], at[1] = p.ctypes.data, p.ctypes.data
                dims[0] = seen * count
                exp(at.ctypes, dims.ctypes, one.ctypes, 0)
                if causal:
                    for i in range(first, seen):
                        for j in range(min(i - first, count)):
                            p[i, j] = 0
                for i in range(seen):
                    for j in range(count):
                        gs[i, j] = (gs[i, j] - level[first + j]) * p[i, j]
                at[0], at[1], at[2] = gs.ctypes.data, keys, into + first * row
                dims[0], dims[1], dims[2], dims[3] = 1, count, seen, width
                each = np.array([0, 0, 0, size, count * size, row, size, row, size])
                product(at.ctypes, dims.ctypes, each.ctypes, 0)
                for which in range(1, 3):  # keys, then values
                    source, start = (gs, queries) if which == 1 else (p, above)
                    stride = row if which == 1 else narrow
                    target, step = (into + which * narrow, row) if b == 0 else (more.ctypes.data, width * size)
                    at[0], at[1], at[2] = source.ctypes.data, start + first * stride, target
                    dims[0], dims[1], dims[2], dims[3] = 1, seen, count, width
                    each = np.array([0, 0, 0, count * size, size, stride, size, step, size])
                    product(at.ctypes, dims.ctypes, each.ctypes, 0)
                    if b > 0:
                        for i in range(seen):
                            for d in range(width):
                                gx[n, i, which, h, d] += more[i, d]
            for i in range(length):
                for which in range(2):
                    for d in range(width):
                        gx[n, i, which, h, d] *= scale


some_forward, some_backward = [numba.njit(nogil=True, error_model="numpy")(one) for one in (_forward, _backward)]


def forward(
    portion: int, portions: int, product: Any, exp: Any, log: Any, maximum: Any, x: Any, out: Any, logs: Any,
    blocks: Any, causal: bool, scale: Any, highest: float, lowest: float, failed: Any,
) -> None:  # fmt: skip
    """One of so many portions of the examples."""
    begin, end = portion * x.shape[0] // portions, (portion + 1) * x.shape[0] // portions
    some_forward(product, exp, log, maximum, x, out, logs, blocks, causal, scale, highest, lowest, failed, begin, end)


def backward(
    portion: int, portions: int, product: Any, exp: Any, gout: Any, out: Any, logs: Any, x: Any, gx: Any,
    blocks: Any, causal: bool, scale: Any,
) -> None:  # fmt: skip
    """One of so many portions of the examples."""
    begin, end = portion * x.shape[0] // portions, (portion + 1) * x.shape[0] // portions
    some_backward(product, exp, gout, out, logs, x, gx, blocks, causal, scale, begin, end)
