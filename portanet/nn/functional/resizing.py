"""Resizing: images, volumes and sequences with more or fewer places along each axis.

Along an axis every place of the result is a weighted sum of a few places of the input, the same for all channels: a
matrix, which only the lengths decide. One axis is resized after the other.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.nn.functional._constants import floats_like, indices_like
from portanet.nn.functional._largest import like
from portanet.nn.functional._windows import Ints
from portanet.nn.functional.adaptive_pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from portanet.nn.functional.pooling import require_floating

__all__ = ["interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

MODES = {  # over how many axes each is possible
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "trilinear": (3,),
    "bicubic": (2,),
    "lanczos": (2,),
}
SMOOTHED = ("bilinear", "bicubic", "lanczos")  # those with antialias
AREAS = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}

Lengths = Any  # a whole number or one for each axis
Factors = Any  # a number or one for each axis
# For each tap, the place in the input that each place of the result has there, and its weight.
Taps = tuple[tuple[tuple[int, ...], ...], tuple[tuple[float, ...], ...]]


def interpolate(
    input: Any,
    size: Lengths = None,
    scale_factor: Factors = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """The input with other lengths of its spatial axes, its values in between interpolated.

    Place i of m lies at s (i + 1/2) - 1/2 in the input of n places, where s = n / m, or 1 / scale_factor where that is
    given: values are means over squares. With ``align_corners`` it lies at i (n - 1) / (m - 1): values are points, and
    the first and last stay where they are. Modes:

    - ``"nearest"``: the value at floor(s i). ``"nearest-exact"``: the one that is nearest.
    - ``"linear"``, ``"bilinear"``, ``"trilinear"``: between the neighbours along 1, 2 or 3 axes, in straight lines.
    - ``"bicubic"``: between four neighbours along each of two axes, by the cubic of Keys 1981, "Cubic convolution
      interpolation for digital image processing", with its slope a = -0.75.
    - ``"area"``: the mean of all values that the place covers: `adaptive_avg_pool2d`.
    - ``"lanczos"``: six neighbours, weighted by sinc(x) sinc(x / 3); with ``antialias`` only.

    Args:
        input: of shape (N, C, L), (N, C, H, W) or (N, C, D, H, W), of a real floating dtype; for the nearest value of
            any dtype.
        size: the lengths to come to, one number for each spatial axis or one for all; this or ``scale_factor``.
        scale_factor: by how much the lengths grow; the result's are rounded down.
        mode: how to interpolate.
        align_corners: whether corners stay where they are; not for the nearest value and the area.
        recompute_scale_factor: whether s is n / m though ``scale_factor`` is given.
        antialias: for ``"bilinear"``, ``"bicubic"`` (then with a = -0.5) and ``"lanczos"``: where an axis gets
            shorter, each place is a mean over as many more neighbours, so that nothing is skipped.

    Returns:
        of shape (N, C, L'), (N, C, H', W') or (N, C, D', H', W').

    Raises:
        ValueError: neither or both of size and factor are given, the mode is not one for this shape, or an argument is
            out of range.
        TypeError: the dtype is not real floating, or a length is no whole number.

    >>> import portanet
    >>> x = portanet.asarray([[[1.0, 3.0]]])
    >>> portanet.nn.functional.interpolate(x, scale_factor=2)
    tensor([[[1., 1., 3., 3.]]])
    >>> portanet.nn.functional.interpolate(x, size=3, mode="linear", align_corners=True)
    tensor([[[1., 2., 3.]]])
    """
    xp, x = namespace_of(input), raw_of(input)
    axes = x.ndim - 2
    if mode not in MODES or axes not in MODES[mode]:
        known = ", ".join([repr(one) for one, possible in MODES.items() if axes in possible])
        raise ValueError(
            f"interpolate: mode={mode!r} is none for an input of shape {tuple(x.shape)}, read as (N, C, ...); "
            + (f"there are {known}." if known else "it must have 1 to 3 spatial axes.")
        )
    lines = mode not in ("nearest", "nearest-exact", "area")
    if align_corners is not None and not lines:
        raise ValueError(f"interpolate: align_corners={align_corners} has no meaning for mode={mode!r}; leave it out.")
    if antialias and mode not in SMOOTHED:
        raise ValueError(f"interpolate: antialias=True is possible for {SMOOTHED} alone, saw mode={mode!r}.")
    if mode == "lanczos" and (not antialias or align_corners):
        raise ValueError("interpolate: mode='lanczos' needs antialias=True, and align_corners=False.")
    given = tuple(x.shape[2:])
    output, factors = _lengths(given, size, scale_factor, recompute_scale_factor)
    if min(output) < 1 or min(given) < 1:
        raise ValueError(f"interpolate: the input's lengths {given} would become {output}; there must be some of each.")
    if mode == "area":
        return AREAS[axes](input, output)
    if lines:
        require_floating("interpolate", x, real=True)
    steps = [n / m if f is None else 1 / f for n, m, f in zip(given, output, factors, strict=True)]
    y = input
    # What gets shorter goes first: less is left to do for the others.
    for i in sorted(range(axes), key=lambda i: output[i] / given[i]):
        n, m = given[i], output[i]
        if not lines:
            y = _picked(xp, y, i + 2, nearest(n, m, steps[i], mode == "nearest-exact", dtype_of(x).name != "float64"))
            continue
        step = (n - 1) / max(m - 1, 1) if align_corners else steps[i]
        if antialias:
            y = _weighted(xp, y, i + 2, m, smoothed(mode, n, m, step))
        elif m != n or (mode == "bicubic" and step != 1):  # PyTorch's straight lines leave an axis of the same length
            y = _weighted(xp, y, i + 2, m, between(mode, n, m, step, bool(align_corners)))
    return y


def upsample(
    input: Any,
    size: Lengths = None,
    scale_factor: Factors = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Any:
    """`interpolate` under its older name.

    >>> import portanet
    >>> portanet.nn.functional.upsample(portanet.asarray([[[1.0, 3.0]]]), 4, mode="linear")
    tensor([[[1. , 1.5, 2.5, 3. ]]])
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Lengths = None, scale_factor: Factors = None) -> Any:
    """`interpolate` with the nearest value, under its older name.

    >>> import portanet
    >>> portanet.nn.functional.upsample_nearest(portanet.asarray([[[1.0, 3.0]]]), scale_factor=2)
    tensor([[[1., 1., 3., 3.]]])
    """
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Any, size: Lengths = None, scale_factor: Factors = None) -> Any:
    """`interpolate` with ``mode="bilinear"`` and ``align_corners=True``, under its older name.

    >>> import portanet
    >>> portanet.nn.functional.upsample_bilinear(portanet.asarray([[[[1.0, 3.0]]]]), (1, 3))
    tensor([[[[1., 2., 3.]]]])
    """
    return interpolate(input, size, scale_factor, "bilinear", True)


# ---------------------------------------------------------------------------------------------------------------------
# Lengths.


def _lengths(given: Ints, size: Any, scale_factor: Any, recompute: bool | None) -> tuple[Ints, list[float | None]]:
    """The lengths to come to, and the factors that say where the places lie: None where the lengths do."""
    axes = len(given)
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"interpolate: one of size and scale_factor must be given, saw size={size} and scale_factor={scale_factor}."
        )
    if size is not None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor=True has no meaning where the size is given.")
        sizes = tuple(size) if isinstance(size, (tuple, list)) else (size,) * axes
        if len(sizes) != axes or any([type(n) is not int for n in sizes]):
            raise TypeError(f"interpolate: size must be a whole number or {axes} of them, saw {size!r}.")
        return sizes, [None] * axes
    factors = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * axes
    numbers = all([isinstance(f, (int, float)) and 0 < f < math.inf for f in factors])
    if len(factors) != axes or not numbers:
        raise ValueError(
            f"interpolate: scale_factor must be a positive number or {axes} of them, saw {scale_factor!r}."
        )
    output = tuple([int(n * f) for n, f in zip(given, factors, strict=True)])
    return output, [None if recompute else float(f) for f in factors]


# ---------------------------------------------------------------------------------------------------------------------
# Which places, and with which weights.


def _single(x: float) -> float:
    """The number of single precision that is nearest to ``x``."""
    return float(struct.unpack("f", struct.pack("f", x))[0])


@functools.lru_cache(maxsize=256)
def nearest(n: int, m: int, step: float, exact: bool, single: bool) -> tuple[int, ...]:
    """The place in the input, of n places, for each of m. Rounded where PyTorch rounds: a place on the border between
    two would otherwise go to the other one."""
    rounded = _single if single else float
    step = rounded(step)
    found = []
    for i in range(m):
        at = rounded(rounded(step * (i + 0.5) - 0.5) + 0.5) if exact else rounded(step * i)
        found.append(min(int(_single(at)), n - 1))
    return tuple(found)


def cubic(t: Any, a: float) -> list[Any]:
    """The weights of the four neighbours of a point that lies by ``t`` in [0, 1] after the second: Keys' cubic."""
    s = 1 - t
    return [
        a * (t * s * s),
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * s - (a + 3)) * s * s + 1,
        a * (s * t * t),
    ]


@functools.lru_cache(maxsize=256)
def between(mode: str, n: int, m: int, step: float, align: bool) -> Taps:
    """The neighbours of each place, two in straight lines and four for the cubic; beyond the ends the last is repeated."""
    columns = []
    for i in range(m):
        at = i * step if align else (i + 0.5) * step - 0.5
        if mode != "bicubic":
            at = max(at, 0.0)
        first = min(math.floor(at), n - 1)
        t = min(max(at - first, 0.0), 1.0)
        places, weights = [first, first + 1], [1 - t, t]
        if mode == "bicubic":
            places, weights = [first - 1, first, first + 1, first + 2], cubic(t, -0.75)
        columns.append(([min(max(p, 0), n - 1) for p in places], weights))
    return _by_taps(columns)


def _sinc(x: float) -> float:
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


def _keys(x: float) -> float:
    if x >= 2:
        return 0.0
    return cubic(x, -0.5)[1] if x < 1 else cubic(x - 1, -0.5)[0]


# How far each filter reaches, and its height at a distance of at most that.
FILTERS: dict[str, tuple[int, Callable[[float], float]]] = {
    "bilinear": (1, lambda x: 1 - x),
    "bicubic": (2, _keys),
    "lanczos": (3, lambda x: _sinc(x) * _sinc(x / 3)),
}


@functools.lru_cache(maxsize=256)
def smoothed(mode: str, n: int, m: int, step: float) -> Taps:
    """The neighbours of each place under a filter that is as much wider as the result is shorter, with sum 1."""
    reach, height = FILTERS[mode]
    wide = max(step, 1.0)
    columns = []
    for i in range(m):
        middle = step * (i + 0.5)
        first = max(int(middle - reach * wide + 0.5), 0)
        places = list(range(first, min(int(middle + reach * wide + 0.5), n)))
        distances = [abs(p - middle + 0.5) / wide for p in places]
        weights = [height(d) if d < reach else 0.0 for d in distances]
        total = sum(weights)
        columns.append((places, [w / total for w in weights]))
    return _by_taps(columns)


def _by_taps(columns: list[tuple[list[int], list[float]]]) -> Taps:
    """Tables with one row for each tap; a place that has fewer than others names one again, with weight 0."""
    most = max([len(places) for places, _ in columns])
    places = [(*found, *[found[-1]] * (most - len(found))) for found, _ in columns]
    weights = [(*found, *[0.0] * (most - len(found))) for _, found in columns]
    return tuple(zip(*places, strict=True)), tuple(zip(*weights, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# One axis.


def _picked(xp: Any, x: Any, axis: int, places: tuple[int, ...]) -> Any:
    n, m = x.shape[axis], len(places)
    if m % n == 0 and places == tuple([i // (m // n) for i in range(m)]):
        return x if m == n else xp.repeat(x, m // n, axis=axis)
    return xp.take(x, indices_like(x, places), axis=axis)


def _weighted(xp: Any, x: Any, axis: int, m: int, taps: Taps) -> Any:
    """Along ``axis`` the matrix (m, n) of the taps applied to n values."""
    n, before, after = x.shape[axis], x.shape[:axis], x.shape[axis + 1 :]
    matrix = like(x, _matrix(raw_of(x), axis, taps))
    if not after:
        y = xp.matmul(xp.reshape(x, (math.prod(before), n)), xp.matrix_transpose(matrix))
    else:
        y = xp.matmul(matrix, xp.reshape(x, (math.prod(before), n, math.prod(after))))
    return xp.reshape(y, (*before, m, *after))


def _matrix(x: Any, axis: int, taps: Taps) -> Any:
    xp = namespace_of(x)
    every = xp.positions(x, axis=axis)
    matrix: Any = None
    for places, weights in zip(*taps, strict=True):
        here = xp.expand_dims(indices_like(x, places), axis=-1) == every
        part = xp.astype(here, x.dtype) * xp.expand_dims(floats_like(x, weights), axis=-1)
        matrix = part if matrix is None else matrix + part
    return matrix
