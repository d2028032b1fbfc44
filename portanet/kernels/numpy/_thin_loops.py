"""Convolutions of few channels as loops that Numba compiles: what `_thin` does, for a stretch of images, one by one.

Arrays of images with the channels first are (N, C, lines, numbers of a line); what has the channels last, and is then
said to be so by ``last``, is (N, 1, lines, numbers of a line). In ``lines`` one such image lies with what is between
its lines, in ``source`` the planes of x with their zeros. Each is for one of so many portions of the images. This module
is imported when they are compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from portanet.kernels.numpy._conv_loops import add, copy
from portanet.kernels.numpy._gemm import numba, product


def _see(x: Any, source: Any, windows: Any, taps: Any, places: Any) -> None:
    """An image x into its planes, and what each of the taps sees there into a row of the windows."""
    # Where x begins in a plane, and from one plane and line to the next: numbers.
    first, plane, pitch = places[0], places[1], places[2]
    for c in range(x.shape[0]):
        for i in range(x.shape[1]):
            begin = c * plane + first + i * pitch
            copy(x[c, i], source[begin : begin + x.shape[2]])
    for t in range(taps.size):
        copy(source[taps[t] : taps[t] + windows.shape[1]], windows[t])


def _lay(g: Any, lines: Any) -> None:
    for c in range(g.shape[0]):
        for i in range(g.shape[1]):
            copy(g[c, i], lines[c, i, : g.shape[2]])


see, lay = [numba.njit(nogil=True)(function) for function in (_see, _lay)]


def conv(
    portion: int, portions: int, at: int, last: int, x: Any, matrix: Any, bias: Any, y: Any, sizes: Any, taps: Any, places: Any
) -> None:  # fmt: skip
    """The windows of x times ``matrix`` (O, K), and ``bias`` as a line of every channel holds it, into y.

    ``sizes``: of the source, of a row of windows, and the shape of ``lines``.
    """
    out, k = matrix.shape
    count = sizes[1]
    source, windows = np.zeros(sizes[0], x.dtype), np.empty((k, count), x.dtype)
    lines = np.empty((sizes[2], sizes[3], sizes[4]), x.dtype)
    for image in range(portion * x.shape[0] // portions, (portion + 1) * x.shape[0] // portions):
        see(x[image], source, windows, taps, places)
        if last:
            product(
                at, 3, count, out, k,
                windows.ctypes.data, count, matrix.ctypes.data, k, lines.ctypes.data, out,
            )  # fmt: skip
        else:
            product(
                at, 0, out, count, k,
                matrix.ctypes.data, k, windows.ctypes.data, count, lines.ctypes.data, count,
            )  # fmt: skip
        for c in range(y.shape[1]):
            for i in range(y.shape[2]):
                to = y[image, c, i]
                copy(lines[c, i, : to.size], to)
                if bias is not None:
                    add(bias[c], to)


def weights(
    portion: int,
    portions: int,
    at: int,
    last: int,
    x: Any,
    g: Any,
    totals: Any,
    cuts: Any,
    sizes: Any,
    taps: Any,
    places: Any,
) -> None:
    """For each portion of the images the sum of what they give to the weights, into ``totals``, a run for each.

    Of these (K, O) or, channels first, (O, K). ``cuts`` says with which image each begins and ends, and how many are
    summed first.
    """
    k, count = taps.size, sizes[1]
    out = totals.shape[1] // k
    source, windows = np.zeros(sizes[0], x.dtype), np.empty((k, count), x.dtype)
    lines = np.zeros((sizes[2], sizes[3], sizes[4]), x.dtype)
    part, total = np.empty((2, out * k), x.dtype), totals[portion]
    total[:] = 0
    for begin in range(cuts[portion, 0], cuts[portion, 1], cuts[portion, 2]):
        for image in range(begin, min(begin + cuts[portion, 2], cuts[portion, 1])):
            see(x[image], source, windows, taps, places)
            lay(g[image], lines)
            found = part[min(image - begin, 1)]
            if last:
                product(
                    at, 0, k, out, count,
                    windows.ctypes.data, count, lines.ctypes.data, out, found.ctypes.data, out,
                )  # fmt: skip
            else:
                product(
                    at, 2, out, k, count,
                    lines.ctypes.data, count, windows.ctypes.data, count, found.ctypes.data, k,
                )  # fmt: skip
            if image > begin:
                add(found, part[0])
        add(part[0], total)


def fold(
    portion: int, portions: int, at: int, last: int, g: Any, matrix: Any, x: Any, sizes: Any, taps: Any, places: Any
) -> None:
    """What each tap gave of g times ``matrix`` (O, K), added up where the tap had seen it, into x."""
    first, plane, pitch = places[0], places[1], places[2]
    out, k = matrix.shape
    count = sizes[1]
    source, windows = np.empty(sizes[0], g.dtype), np.empty((k, count), g.dtype)
    lines = np.zeros((sizes[2], sizes[3], sizes[4]), g.dtype)
    for image in range(portion * g.shape[0] // portions, (portion + 1) * g.shape[0] // portions):
        lay(g[image], lines)
        product(
            at, 3 if last else 1, k, count, out,
            matrix.ctypes.data, k, lines.ctypes.data, out if last else count, windows.ctypes.data, count,
        )  # fmt: skip
        source[:] = 0
        for t in range(k):
            add(windows[t], source[taps[t] : taps[t] + count])
        for c in range(x.shape[1]):
            for i in range(x.shape[2]):
                begin = c * plane + first + i * pitch
                copy(source[begin : begin + x.shape[3]], x[image, c, i])
