"""Layers that give images, volumes and sequences other lengths."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional.resizing import Factors, Lengths
from portanet.nn.module import Module

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]


class Upsample(Module):
    """The input with other lengths of its spatial axes, its values in between interpolated.

    Args:
        size: the lengths to come to, one number for each spatial axis or one for all; this or ``scale_factor``.
        scale_factor: by how much the lengths grow; the result's are rounded down.
        mode: ``"nearest"``, ``"nearest-exact"``, ``"linear"`` along one axis, ``"bilinear"`` and ``"bicubic"`` along
            two, ``"trilinear"`` along three, or ``"area"``; see `portanet.nn.functional.interpolate`.
        align_corners: whether values are points and those at the corners stay where they are, rather than squares.
        recompute_scale_factor: whether places are computed from the lengths though ``scale_factor`` is given.

    Shapes: (N, C, L), (N, C, H, W) or (N, C, D, H, W) -> (N, C, L'), (N, C, H', W') or (N, C, D', H', W').

    >>> import portanet
    >>> portanet.nn.Upsample(scale_factor=2, mode="linear")(portanet.asarray([[[1.0, 3.0]]]))
    tensor([[[1. , 1.5, 2.5, 3. ]]])
    """

    def __init__(
        self,
        size: Lengths = None,
        scale_factor: Factors = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, (tuple, list)):
            scale_factor = tuple([float(f) for f in scale_factor])
        elif scale_factor is not None:
            scale_factor = float(scale_factor)
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Any:
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        lengths = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{lengths}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images with other heights and widths, each place with the nearest value: `Upsample` with ``mode="nearest"``.

    Shapes: (N, C, H, W) -> (N, C, H', W').

    >>> import portanet
    >>> portanet.nn.UpsamplingNearest2d(scale_factor=2)(portanet.asarray([[[[1.0, 3.0]]]]))
    tensor([[[[1., 1., 3., 3.],
              [1., 1., 3., 3.]]]])
    """

    def __init__(self, size: Lengths = None, scale_factor: Factors = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Images with other heights and widths, in straight lines: `Upsample` with ``"bilinear"`` and ``align_corners``.

    Shapes: (N, C, H, W) -> (N, C, H', W').

    >>> import portanet
    >>> portanet.nn.UpsamplingBilinear2d(size=(1, 3))(portanet.asarray([[[[1.0, 3.0]]]]))
    tensor([[[[1., 2., 3.]]]])
    """

    def __init__(self, size: Lengths = None, scale_factor: Factors = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
