"""Windows over arrays (N, C, *spatial) as CUDA sees them: one structure of whole numbers for one to three spatial axes.

Indices have 32 bits: every array that a kernel sees has fewer than `LIMIT` elements, which the callers see to by taking
some images at a time. Whoever has a larger image still is left to the definition.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy

from portanet.kernels.cupy._passes import name_of

Ints = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]

LIMIT = 2**31  # elements of one array in one launch
THREADS = 256

# Division by a number that is known at the launch: a product and a shift, where the GPU's own takes about 20 steps.
# Granlund and Montgomery 1994, "Division by invariant integers using multiplication"; exact for n < 2^31.
DIVISION = r"""
struct Divisor { unsigned number, factor, shift; };
__device__ __forceinline__ unsigned quotient(unsigned n, Divisor by) {
    return by.number == 1 ? n : __umulhi(n, by.factor) >> by.shift;
}
"""

WINDOWS = (
    DIVISION
    + r"""
struct Windows {  // as `_windows.windows` fills it
    int size[3], out[3], kernel[3], stride[3], before[3], dilation[3];
    int low[3], high[3];  // the positions of what counts as a value: low <= position < high
    int sizes, outs, taps;  // how many there are over all axes
    Divisor by_sizes, by_outs, by_size1, by_size2, by_out1, by_out2, by_stride[3], by_dilation[3];
};
static_assert(sizeof(Windows) == 63 * 4, "as many fields as _windows.windows fills");
struct Place { int at[3]; };
struct Range { int first, last; };

__device__ __forceinline__ Place place_of(unsigned i, Divisor by1, Divisor by2) {  // i counts over three axes
    unsigned j = quotient(i, by2), k = quotient(j, by1);
    return {{(int)k, (int)(j - k * by1.number), (int)(i - j * by2.number)}};
}

// The windows along an axis that reach the position a, which is counted from the padding's beginning.
__device__ __forceinline__ Range reaching(const Windows& w, int axis, int a) {
    int start = a - (w.kernel[axis] - 1) * w.dilation[axis];
    int first = start <= 0 ? 0 : (int)quotient(start + w.stride[axis] - 1, w.by_stride[axis]);
    return {first, min(w.out[axis] - 1, (int)quotient(a, w.by_stride[axis]))};
}

// Which tap of window o lies at the position a, or -1: between two of them.
__device__ __forceinline__ int tap_at(const Windows& w, int axis, int a, int o) {
    int r = a - o * w.stride[axis];
    int t = (int)quotient(r, w.by_dilation[axis]);
    return t * w.dilation[axis] == r ? t : -1;
}
"""
)


@functools.lru_cache(maxsize=4096)
def _division(number: int) -> Ints:
    """The fields of a Divisor."""
    bits = max(number - 1, 0).bit_length()
    return (number, 0, 0) if number <= 1 else (number, -(-(1 << (31 + bits)) // number), bits - 1)


def _structure(fields: list[int]) -> Any:
    """Whole numbers as an array of one element, which CuPy hands to a kernel by value."""
    return numpy.asarray([n % 2**32 for n in fields], dtype=numpy.uint32).view(f"V{4 * len(fields)}")


@functools.lru_cache(maxsize=4096)
def divisor(number: int) -> Any:
    """The structure Divisor, for division by ``number``."""
    return _structure(list(_division(number)))


@functools.lru_cache(maxsize=1024)
def windows(
    size: Ints, output: Ints, kernel: Ints, stride: Ints, padding: Pairs, dilation: Ints, counted: Pairs = ()
) -> Any:
    """The structure Windows; ``counted`` says how much of the padding counts as values, as in `avg_pool`."""
    missing = 3 - len(size)
    before = tuple([b for b, _ in padding])
    ends = counted or ((0, 0),) * len(size)
    low, high = [-b for b, _ in ends], [n + a for n, (_, a) in zip(size, ends, strict=True)]
    ones, zeros = (1,) * missing, (0,) * missing
    size, output, kernel, stride = ones + size, ones + output, ones + kernel, ones + stride
    dilation, before = ones + dilation, zeros + before
    fields = [*size, *output, *kernel, *stride, *before, *dilation, *zeros, *low, *ones, *high]
    fields += [math.prod(size), math.prod(output), math.prod(kernel)]
    divisors = [math.prod(size), math.prod(output), size[1], size[2], output[1], output[2], *stride, *dilation]
    return _structure(fields + [field for number in divisors for field in _division(number)])


def is_plain(x: Any, *others: Any) -> bool:
    """Whether the kernels here are meant for such arrays; the others are left to the definition."""
    dtype = x.dtype
    if x.size == 0 or not name_of[dtype]:
        return False
    return all([one is None or (one.dtype == dtype and one.size > 0) for one in others])


def grid(total: int) -> tuple[int]:
    """The blocks of a launch with a thread for each of ``total``."""
    return (-(-total // THREADS),)


def portions(images: int, each: int, most: int = LIMIT - 1) -> list[tuple[int, int]] | None:
    """Images [first, last) at a time, so that ``each`` elements an image are ``most`` in all; None: one is too large.

    One image may have more than ``most`` elements, as long as they can be counted.
    """
    if each >= LIMIT:
        return None
    step = max(1, most // max(1, each))
    return [(first, min(first + step, images)) for first in range(0, images, step)]


def parts(cuts: list[tuple[int, int]], *arrays: Any) -> list[tuple[Any, ...]]:
    """These portions of the arrays; views cost time, and where one portion is all there are none."""
    return [arrays] if len(cuts) == 1 else [tuple([x[a:b] for x in arrays]) for a, b in cuts]
