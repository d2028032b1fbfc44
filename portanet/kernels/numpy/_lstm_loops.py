"""The steps of an LSTM as loops that Numba compiles, without the interpreter between them.

Products and tanh are NumPy's own loops, and the rest is computed in the order in which `recurrent` does it: the bits are
the same. The examples of a batch do not meet, so stretches of the batch go through all steps side by side, in threads
that need not wait for each other. Each loop over one row touches few arrays: of many Numba cannot tell whether they
overlap, and would not compute several numbers at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def forward(
    product: Any, tanh: Any, gates: Any, cells: Any, y: Any, h: Any, c: Any, weight: Any,
    first: int, last: int, reverse: bool,
) -> None:  # fmt: skip
    """Examples ``first`` to ``last`` through all steps.

    ``gates`` (T, 4, N, P, H / P) comes with W x + b, the gates ordered o, i, f, g; ``cells`` and ``y`` are
    (T, N, P, H / P), ``h`` and ``c`` (N, P, H / P) the states before. ``weight`` is (4 P, H, H / P).
    """
    steps, _, _, parts, columns = gates.shape
    count, width, size = last - first, parts * columns, gates.itemsize
    z = np.empty((4, parts, count, columns), gates.dtype)
    flat = z.reshape(-1)
    squashed = np.empty((count, parts, columns), gates.dtype)
    half = z.dtype.type(0.5)

    times = np.empty(3, np.int64)  # the arguments of the product: addresses, sizes, strides
    sizes = np.array([4 * parts, count, width, columns])
    strides = np.array(
        [
            0,
            width * columns * size,
            count * columns * size,
            width * size,
            size,
            columns * size,
            size,
            columns * size,
            size,
        ]
    )
    pair, one = np.empty(2, np.int64), np.array([size, size])  # those of tanh
    many, few = np.array([z.size]), np.array([squashed.size])

    before = h.ctypes.data + first * width * size
    for step in range(steps):
        t = steps - 1 - step if reverse else step
        times[0], times[1], times[2] = before, weight.ctypes.data, z.ctypes.data
        product(times.ctypes, sizes.ctypes, strides.ctypes, 0)
        for gate in range(4):
            for part in range(parts):
                for n in range(count):
                    for j in range(columns):
                        z[gate, part, n, j] += gates[t, gate, first + n, part, j]
        pair[:] = z.ctypes.data
        tanh(pair.ctypes, many.ctypes, one.ctypes, 0)
        for k in range(3 * count * width):
            flat[k] = flat[k] * half + half
        for gate in range(4):
            for n in range(count):
                for part in range(parts):
                    for j in range(columns):
                        gates[t, gate, first + n, part, j] = z[gate, part, n, j]
        for n in range(count):
            for part in range(parts):
                for j in range(columns):
                    i, f, g = z[1, part, n, j], z[2, part, n, j], z[3, part, n, j]
                    cells[t, first + n, part, j] = f * c[first + n, part, j] + i * g
                for j in range(columns):
                    c[first + n, part, j] = cells[t, first + n, part, j]
        start = (t * y.shape[1] + first) * width * size
        pair[0], pair[1] = cells.ctypes.data + start, squashed.ctypes.data
        tanh(pair.ctypes, few.ctypes, one.ctypes, 0)
        for n in range(count):
            for part in range(parts):
                for j in range(columns):
                    y[t, first + n, part, j] = z[0, part, n, j] * squashed[n, part, j]
        before = y.ctypes.data + start


def backward(
    product: Any, tanh: Any, rows: Any, gh: Any, gc: Any, gy: Any, gates: Any, cells: Any, y: Any, weight: Any,
    first: int, last: int, reverse: bool,
) -> None:  # fmt: skip
    """Examples ``first`` to ``last`` back through all steps.

    ``rows`` (T, N, 4, P, H / P) becomes the cotangents of the pre-activations, ordered i, f, g, o; ``gh`` and ``gc``
    (N, P, H / P) become those of the states before. ``gy`` may be None. ``weight`` is (4, P, H, H / P).
    """
    steps, _, _, parts, columns = gates.shape
    count, width, size = last - first, parts * columns, gates.itemsize
    terms = np.empty((4, parts, count, columns), gates.dtype)
    squashed = np.empty((count, parts, columns), gates.dtype)
    whole = squashed.dtype.type(1)

    times = np.empty(3, np.int64)
    sizes = np.array([parts, count, width, columns])
    block = width * columns * size
    strides = np.array(
        [0, block, count * columns * size, 4 * width * size, size, columns * size, size, columns * size, size]
    )
    pair = np.empty(2, np.int64)
    few, one = np.array([squashed.size]), np.array([size, size])

    for row in range(steps - 1, -1, -1):
        t = steps - 1 - row if reverse else row
        at = t * y.shape[1] + first
        pair[0], pair[1] = cells.ctypes.data + at * width * size, squashed.ctypes.data
        tanh(pair.ctypes, few.ctypes, one.ctypes, 0)
        for n in range(count):
            m = first + n
            for p in range(parts):
                if gy is not None:
                    for j in range(columns):
                        gh[m, p, j] += gy[t, m, p, j]
                for j in range(columns):
                    of_cell = gates[t, 0, m, p, j] - squashed[n, p, j] * y[t, m, p, j]
                    gc[m, p, j] += of_cell * gh[m, p, j]
                for j in range(columns):
                    i, g = gates[t, 1, m, p, j], gates[t, 3, m, p, j]
                    rows[row, m, 0, p, j] = (whole - i) * (i * g) * gc[m, p, j]
                for j in range(columns):
                    i, g = gates[t, 1, m, p, j], gates[t, 3, m, p, j]
                    before = cells[t, m, p, j] - i * g
                    rows[row, m, 1, p, j] = (whole - gates[t, 2, m, p, j]) * before * gc[m, p, j]
                for j in range(columns):
                    i, g = gates[t, 1, m, p, j], gates[t, 3, m, p, j]
                    rows[row, m, 2, p, j] = (i - (i * g) * g) * gc[m, p, j]
                for j in range(columns):
                    rows[row, m, 3, p, j] = (whole - gates[t, 0, m, p, j]) * y[t, m, p, j] * gh[m, p, j]
                for j in range(columns):
                    gc[m, p, j] *= gates[t, 2, m, p, j]
        for gate in range(4):
            times[0] = rows.ctypes.data + ((row * y.shape[1] + first) * 4 + gate) * width * size
            times[1] = weight.ctypes.data + gate * parts * block
            times[2] = terms.ctypes.data + gate * count * width * size
            product(times.ctypes, sizes.ctypes, strides.ctypes, 0)
        for p in range(parts):
            for n in range(count):
                for j in range(columns):
                    two = terms[0, p, n, j] + terms[1, p, n, j]
                    gh[first + n, p, j] = two + terms[2, p, n, j] + terms[3, p, n, j]
