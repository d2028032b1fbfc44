"""Convolutions of few channels as loops that Numba compiles: what `_thin` does, for a stretch of images, one by one.

Arrays of images with the channels first are (N, C, lines, numbers of a line); what has the channels last, and is then
said to be so by ``last``, is (N, 1, lines, numbers of a line). In ``lines`` one such image lies with what is between
its lines, in ``source`` the planes of x with their zeros. This module is imported when they are compiled.
"""

from __future__ import annotations

from typing import Any

from portanet.kernels.numpy._conv_loops import add, copy
from portanet.kernels.numpy._gemm import numba, product


def _see(x: Any, source: Any, windows: Any, taps: Any, places: Any) -> None:
    """An image x into its planes, and what each of the taps sees there into a row of the windows."""
    first, plane, pitch = places  # where x begins in a plane, and from one plane and line to the next: numbers
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
    at: int, last: int, x: Any, matrix: Any, bias: Any, y: Any, source: Any, windows: Any, lines: Any, taps: Any,
    places: Any,
) -> None:  # fmt: skip
    """The windows of x times ``matrix`` (O, K), and ``bias`` as a line of every channel holds it, into y."""
    out, k = matrix.shape
    count = windows.shape[1]
    for image in range(x.shape[0]):
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
    at: int, last: int, x: Any, g: Any, total: Any, source: Any, windows: Any, lines: Any, part: Any, taps: Any,
    images: int, places: Any,
) -> None:  # fmt: skip
    """The sum of what images give to the weights, so many at a time, into ``total``: (K, O) or, channels first, (O, K).

    ``part`` has room for two of these, in one run each as ``total``.
    """
    k, count = windows.shape
    out = total.size // k
    for begin in range(0, x.shape[0], images):
        for image in range(begin, min(begin + images, x.shape[0])):
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
    at: int, last: int, g: Any, matrix: Any, x: Any, source: Any, windows: Any, lines: Any, taps: Any, places: Any
) -> None:
    """What each tap gave of g times ``matrix`` (O, K), added up where the tap had seen it, into x."""
    first, plane, pitch = places
    out, k = matrix.shape
    count = windows.shape[1]
    for image in range(g.shape[0]):
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
