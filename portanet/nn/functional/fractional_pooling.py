"""Fractional max pooling: windows at random distances, so that axes shrink by any factor."""

from __future__ import annotations

from typing import Any

from portanet import random
from portanet.backend import use_backend
from portanet.library import device_of, namespace_of, require_same
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.nn.functional._constants import floats_like, indices_like
from portanet.nn.functional._largest import answer, largest
from portanet.nn.functional._windows import Ints, as_ints, spatial
from portanet.nn.functional.pooling import Size, require_floating

__all__ = [
    "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]  # fmt: skip

Ratio = float | tuple[float, ...]


def fractional_max_pool2d(
    input: Any,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: Any = None,
    *,
    generator: Any = None,
) -> Any:
    """The largest value in each of windows whose distances are drawn, anew for each channel of each image.

    The i-th of m windows of length k over L values begins at floor(a (i + u)) - floor(a u), where a = (L - k) / (m - 1)
    and u is random in [0, 1); the last one ends with the axis. Graham 2014, "Fractional max-pooling".

    Args:
        input: of shape (N, C, H, W) or (C, H, W), of a real floating dtype.
        kernel_size: the length of the window.
        output_size: how many windows there are along each axis; this or ``output_ratio`` must be given.
        output_ratio: their number over that of the values, between 0 and 1.
        return_indices: whether to return also where each largest value is, counted row by row, for `max_unpool2d`.
        _random_samples: the u, of shape (N, C, 2), the first for the last axis; None: drawn.
        generator: where they are drawn from; None: `portanet.random.default_generator`.

    Returns:
        of shape (N, C, H', W') or (C, H', W'). With ``return_indices`` a pair: these values, and integers of the same
        shape.

    Raises:
        ValueError: neither or both of size and ratio are given, the windows do not fit, or a shape is another.
        TypeError: a dtype is another, or an argument is no whole number.

    >>> import portanet
    >>> x = portanet.reshape(portanet.arange(25, dtype=portanet.float32), (1, 5, 5))
    >>> portanet.nn.functional.fractional_max_pool2d(x, 2, 3, _random_samples=portanet.zeros((1, 1, 2)))
    tensor([[[ 6.,  7.,  9.],
             [11., 12., 14.],
             [21., 22., 24.]]])
    """
    return _fractional(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples, generator)


def fractional_max_pool3d(
    input: Any,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = False,
    _random_samples: Any = None,
    *,
    generator: Any = None,
) -> Any:
    """The largest value in each of windows at random distances in volumes (N, C, D, H, W) or (C, D, H, W).

    Otherwise as `fractional_max_pool2d`; ``_random_samples`` has shape (N, C, 3), in the order of the axes.

    >>> import portanet
    >>> portanet.nn.functional.fractional_max_pool3d(portanet.ones((2, 7, 8, 9)), 2, output_ratio=0.5).shape
    (2, 3, 4, 4)
    """
    return _fractional(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples, generator)


def fractional_max_pool2d_with_indices(
    input: Any,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = True,
    _random_samples: Any = None,
    *,
    generator: Any = None,
) -> tuple[Any, Any]:
    """`fractional_max_pool2d` with ``return_indices=True``, always.

    >>> import portanet
    >>> portanet.nn.functional.fractional_max_pool2d_with_indices(portanet.asarray([[[1.0, 3.0], [2.0, 0.0]]]), 2, 1)
    (tensor([[[3.]]]), tensor([[[1]]]))
    """
    values, indices = _fractional(2, input, kernel_size, output_size, output_ratio, True, _random_samples, generator)
    return values, indices


def fractional_max_pool3d_with_indices(
    input: Any,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio | None = None,
    return_indices: bool = True,
    _random_samples: Any = None,
    *,
    generator: Any = None,
) -> tuple[Any, Any]:
    """`fractional_max_pool3d` with ``return_indices=True``, always.

    >>> import portanet
    >>> x = portanet.asarray([[[[1.0, 3.0], [2.0, 0.0]]]])
    >>> portanet.nn.functional.fractional_max_pool3d_with_indices(x, (1, 2, 2), 1)
    (tensor([[[[3.]]]]), tensor([[[[1]]]]))
    """
    values, indices = _fractional(3, input, kernel_size, output_size, output_ratio, True, _random_samples, generator)
    return values, indices


# ---------------------------------------------------------------------------------------------------------------------


def check_fractional(name: str, axes: int, output_size: Any, output_ratio: Any) -> tuple[Ints | None, Any]:
    """How many windows along each axis, or their ratio for each; ValueError unless one of the two is given."""
    if (output_size is None) == (output_ratio is None):
        raise ValueError(
            f"{name}: one of output_size and output_ratio must be given, saw output_size={output_size} and "
            f"output_ratio={output_ratio}."
        )
    if output_ratio is None:
        return as_ints(name, "output_size", output_size, axes, 1), None
    ratios = tuple(output_ratio) if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * axes
    if len(ratios) != axes or not all([isinstance(r, float) and 0 < r < 1 for r in ratios]):
        raise ValueError(
            f"{name}: output_ratio must be a number between 0 and 1, or {axes} of them, saw {output_ratio!r}."
        )
    return None, ratios


def _fractional(
    axes: int,
    input: Any,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    indices: bool,
    samples: Any,
    generator: Any,
) -> Any:
    name, x, xp = f"FractionalMaxPool{axes}d", raw_of(input), namespace_of(input)
    size, batched = spatial(name, x, axes)
    require_floating(name, x, real=True)
    kernel = as_ints(name, "kernel_size", kernel_size, axes, 1)
    output, ratios = check_fractional(name, axes, output_size, output_ratio)
    if output is None:
        output = tuple([int(n * r) for n, r in zip(size, ratios, strict=True)])
    if min(output) < 1 or any([m + k - 1 > n for n, m, k in zip(size, output, kernel, strict=True)]):
        raise ValueError(
            f"{name}: {output} windows of {kernel} do not begin at different places of the input's {size} values."
        )
    images = input if batched else xp.expand_dims(input, axis=0)
    shape = (*images.shape[:2], axes)
    if samples is None:
        with use_backend(namespace_of(x), device=device_of(x)):
            samples = random.uniform(shape, dtype=dtype_of(x), generator=generator)._raw
    samples = raw_of(samples)
    require_same(name, x, samples)
    if tuple(samples.shape) != shape or dtype_of(samples) is not dtype_of(x):
        raise ValueError(
            f"{name}: _random_samples must be of shape {shape} and of the input's dtype {dtype_of(x)}, saw shape "
            f"{tuple(samples.shape)} and {dtype_of(samples)}."
        )
    rows = []
    for i, (n, m, k) in enumerate(zip(size, output, kernel, strict=True)):
        # PyTorch's order: of images the width is first, of volumes the depth.
        rows.append(_rows(samples[:, :, axes - 1 - i if axes == 2 else i], n, m, k))
    return answer(*largest(images, rows), batched, indices)


def _rows(u: Any, length: int, count: int, kernel: int) -> Any:
    """The places of the windows of each channel, from random numbers (N, C)."""
    xp = namespace_of(u)
    last = indices_like(u, [length - kernel])
    starts = xp.broadcast_to(last, (*u.shape, 1))
    if count > 1:
        u = xp.expand_dims(u, axis=-1)
        step = floats_like(u, [(length - kernel) / (count - 1)])
        before = floats_like(u, list(range(count - 1)))
        moved = xp.astype(xp.floor((before + u) * step) - xp.floor(u * step), last.dtype)
        starts = xp.concat([moved, starts], axis=-1)
    return [starts + k for k in range(kernel)]
