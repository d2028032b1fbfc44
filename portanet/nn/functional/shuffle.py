"""Channels of images rearranged: into finer images and back, and among each other. Arrays of any dtype are taken."""

from __future__ import annotations

from typing import Any

from portanet.library import namespace_of

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def _image(name: str, what: str, factor: int, input: Any, axes: int) -> tuple[Any, tuple[int, ...]]:
    """The library and the shape of an input with at least so many axes; ``factor`` must be positive."""
    xp, shape = namespace_of(input), tuple(input.shape)
    if factor < 1:
        raise ValueError(f"{name}: {what}={factor}; expected a positive integer.")
    if len(shape) < axes:
        raise ValueError(f"{name}: expected at least {axes} axes, (..., C, H, W), saw shape {shape}.")
    return xp, shape


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """Groups of r^2 channels become images r times as high and wide: (..., C r^2, H, W) -> (..., C, H r, W r).

    Shi, Caballero, Huszar and others 2016, "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network".

    Args:
        input: an array of shape (..., C r^2, H, W).
        upscale_factor: r.

    Raises:
        ValueError: fewer than three axes, a number of channels that r^2 does not divide, or r below 1.

    >>> import portanet
    >>> x = portanet.asarray([[[1.0]], [[2.0]], [[3.0]], [[4.0]]])
    >>> portanet.nn.functional.pixel_shuffle(x, 2)
    tensor([[[1., 2.],
             [3., 4.]]])
    """
    r = upscale_factor
    xp, shape = _image("pixel_shuffle", "upscale_factor", r, input, 3)
    (*batch, channels, height, width), n = shape, len(shape) - 3
    if channels % (r * r):
        raise ValueError(
            f"pixel_shuffle: the input has {channels} channels (shape {shape}); upscale_factor={r} needs a multiple of "
            f"{r * r}."
        )
    parts = xp.reshape(input, (*batch, channels // (r * r), r, r, height, width))
    moved = xp.permute_dims(parts, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return xp.reshape(moved, (*batch, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """`pixel_shuffle` undone: (..., C, H r, W r) -> (..., C r^2, H, W).

    Args:
        input: an array of shape (..., C, H r, W r).
        downscale_factor: r.

    Raises:
        ValueError: fewer than three axes, a height or width that r does not divide, or r below 1.

    >>> import portanet
    >>> portanet.nn.functional.pixel_unshuffle(portanet.ones((1, 6, 4)), 2).shape
    (4, 3, 2)
    """
    r = downscale_factor
    xp, shape = _image("pixel_unshuffle", "downscale_factor", r, input, 3)
    (*batch, channels, height, width), n = shape, len(shape) - 3
    if height % r or width % r:
        raise ValueError(
            f"pixel_unshuffle: the input is {height} high and {width} wide (shape {shape}); downscale_factor={r} must "
            "divide both."
        )
    parts = xp.reshape(input, (*batch, channels, height // r, r, width // r, r))
    moved = xp.permute_dims(parts, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return xp.reshape(moved, (*batch, channels * r * r, height // r, width // r))


def channel_shuffle(input: Any, groups: int) -> Any:
    """The channels of ``groups`` groups taken in turns: with two, 0, C/2, 1, C/2 + 1, ....

    Zhang, Zhou, Lin and Sun 2018, "ShuffleNet: an extremely efficient convolutional neural network for mobile devices".

    Args:
        input: an array of shape (N, C, ...) with at least three axes.
        groups: the number of groups, which divides C.

    Returns:
        of the shape of the input.

    Raises:
        ValueError: fewer than three axes, or channels that do not fall into so many groups.

    >>> import portanet
    >>> x = portanet.reshape(portanet.arange(4), (1, 4, 1))
    >>> portanet.nn.functional.channel_shuffle(x, 2)[0, :, 0]
    tensor([0, 2, 1, 3])
    """
    xp, shape = namespace_of(input), tuple(input.shape)
    if len(shape) < 3:
        raise ValueError(f"channel_shuffle: expected at least three axes, (N, C, ...), saw shape {shape}.")
    count, channels, *rest = shape
    if groups < 1 or channels % groups:
        raise ValueError(
            f"channel_shuffle: groups={groups} must be positive and divide the {channels} channels on axis 1 (shape "
            f"{shape})."
        )
    parts = xp.reshape(input, (count, groups, channels // groups, *rest))
    return xp.reshape(xp.permute_dims(parts, (0, 2, 1, *range(3, len(shape) + 1))), shape)
