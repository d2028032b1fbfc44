"""Convolutions over images as loops that Numba compiles: what `_runs` and `convolution` do, for a stretch of images.

This module is imported when they are compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from portanet.kernels.numpy._gemm import numba, product


def _copy(x: Any, y: Any) -> None:
    for i in range(y.size):
        y[i] = x[i]


def _add(x: Any, y: Any) -> None:
    for i in range(y.size):
        y[i] += x[i]


def _add_three(a: Any, b: Any, c: Any, y: Any) -> None:
    for i in range(y.size):
        y[i] = (a[i] + b[i]) + c[i]


copy, add, add_three = [numba.njit(nogil=True, inline="always")(function) for function in (_copy, _add, _add_three)]


def multiply(
    portion: int, portions: int, at: int, x: Any, columns: Any, bias: Any, y: Any, places: Any, rows: Any, steps: Any,
    sizes: Any,
) -> None:  # fmt: skip
    """The windows of x (N, lines, runs, numbers) times ``columns`` (taps, K, O), and ``bias``, into y of such a shape.

    ``sizes``: of an image with its zeros; how many groups of lines that a product takes there are, and how many numbers
    each has in what the other taps give.
    """
    first, pitch = places[0], places[1]  # where an image begins among its zeros, and from one line to the next: numbers
    merged, residues, count, share_pitch = rows[0], rows[1], rows[2], rows[3]
    of_tap, of_group, of_residue, row = steps[0], steps[1], steps[2], steps[3]  # in the source: numbers
    taps, k, out = columns.shape
    size, groups, length = sizes[0], sizes[1], sizes[2]
    source = np.zeros(size, x.dtype)
    shares = np.empty((taps, groups, length), x.dtype)
    for image in range(portion * x.shape[0] // portions, (portion + 1) * x.shape[0] // portions):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                begin = first + i * pitch + j * x.shape[3]
                copy(x[image, i, j], source[begin : begin + x.shape[3]])
        for t in range(taps):
            for group in range(groups):
                for r in range(residues):
                    product(
                        at, 0, count, out, k,
                        source.ctypes.data + 4 * (t * of_tap + group * of_group + r * of_residue), row,
                        columns.ctypes.data + 4 * t * k * out, out,
                        shares.ctypes.data + 4 * ((t * groups + group) * length + r * out), residues * out,
                    )  # fmt: skip
        for i in range(y.shape[1]):
            group = i // merged
            line = (i - group * merged) * share_pitch
            for j in range(y.shape[2]):
                begin, to = line + j * y.shape[3], y[image, i, j]
                end = begin + to.size
                if taps == 3:
                    add_three(shares[0, group, begin:end], shares[1, group, begin:end], shares[2, group, begin:end], to)
                else:
                    copy(shares[0, group, begin:end], to)
                    for t in range(1, taps):
                        add(shares[t, group, begin:end], to)
                if bias is not None:
                    add(bias, to)


def weights(
    portion: int, portions: int, at: int, x: Any, g: Any, totals: Any, cuts: Any, taps: Any, places: Any
) -> None:
    """For a portion of the images the sum over places of x at each tap times g, into one of the ``totals``.

    x is (N, lines, runs, numbers) and g likewise, ``totals`` (portions, taps, O x C). ``cuts`` says of each portion with
    which image it begins and ends, and how many are taken at a time; ``taps`` where each looks.
    """
    # An image's beginning in the source, from a line to the next, and to the next image: places. How many go together.
    first, pitch, area, rows = places[0], places[1], places[2], places[3]
    out, channels, furthest = places[4], places[5], places[6]
    images = cuts[portion, 2]
    most = -(-images * area // rows) * rows
    source, lines = np.empty((most + furthest) * channels, x.dtype), np.empty(most * out, x.dtype)
    part, total = np.empty((2, out * channels), x.dtype), totals[portion]
    total[:] = 0
    held = 0
    for begin in range(cuts[portion, 0], cuts[portion, 1], images):
        end = min(begin + images, cuts[portion, 1])
        parts = -(-(end - begin) * area // rows)
        if held != end - begin:
            source[:] = 0
            lines[:] = 0
            held = end - begin
        for image in range(begin, end):
            for i in range(x.shape[1]):
                for j in range(x.shape[2]):
                    to = ((image - begin) * area + first + i * pitch) * channels + j * x.shape[3]
                    copy(x[image, i, j], source[to : to + x.shape[3]])
            for i in range(g.shape[1]):
                for j in range(g.shape[2]):
                    to = ((image - begin) * area + i * pitch) * out + j * g.shape[3]
                    copy(g[image, i, j], lines[to : to + g.shape[3]])
        for t in range(taps.size):
            for p in range(parts):
                product(
                    at, 1, out, channels, rows,
                    lines.ctypes.data + 4 * p * rows * out, out,
                    source.ctypes.data + 4 * (taps[t] + p * rows * channels), channels,
                    part.ctypes.data + 4 * min(p, 1) * out * channels, channels,
                )  # fmt: skip
                if p > 0:
                    add(part[1], part[0])
            add(part[0], total[t])


def window_weights(
    portion: int, portions: int, at: int, x: Any, g: Any, totals: Any, cuts: Any, taps: Any, places: Any, rows: int
) -> None:
    """The same where windows begin at every few places alone: they are copied, and a product takes all of their taps.

    g is (N, windows, O), ``totals`` (portions, O, taps x C). ``taps`` says where each run of a window begins, and
    ``rows`` how many windows a product takes.
    """
    # An image's beginning among its zeros, and from a line to the next; from a window to the next; a run: all numbers.
    first, pitch, down, along, run = places[0], places[1], places[2], places[3], places[4]
    size, width = places[5], places[6]  # of an image with its zeros; windows in a line
    count, out, length = g.shape[1], g.shape[2], taps.size * run
    source, windows = np.zeros(size, x.dtype), np.empty((cuts[portion, 2] * count, length), x.dtype)
    part, total = np.empty((2, out, length), x.dtype), totals[portion].reshape(-1)
    for begin in range(cuts[portion, 0], cuts[portion, 1], cuts[portion, 2]):
        end = min(begin + cuts[portion, 2], cuts[portion, 1])
        for image in range(begin, end):
            for i in range(x.shape[1]):
                for j in range(x.shape[2]):
                    to = first + i * pitch + j * x.shape[3]
                    copy(x[image, i, j], source[to : to + x.shape[3]])
            for i in range(count):
                of, to = i // width * down + i % width * along, windows[(image - begin) * count + i]
                for t in range(taps.size):
                    copy(source[of + taps[t] : of + taps[t] + run], to[t * run : (t + 1) * run])
        done, all_of = 0, (end - begin) * count
        while done < all_of:
            k = min(rows, all_of - done)
            product(
                at, 1, out, length, k,
                g[begin].ctypes.data + 4 * done * out, out,
                windows.ctypes.data + 4 * done * length, length,
                part.ctypes.data + 4 * min(done, 1) * out * length, length,
            )  # fmt: skip
            if done > 0:
                add(part[1].reshape(-1), part[0].reshape(-1))
            done += k
        if begin > cuts[portion, 0]:
            add(part[0].reshape(-1), total)
        else:
            copy(part[0].reshape(-1), total)
