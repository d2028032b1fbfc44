"""Dropout as a layer: active in training alone."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional.dropout import check_options
from portanet.nn.module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _Dropout(Module):
    """What all kinds of dropout are told when made."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_options(type(self).__name__, p, inplace)
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training each element becomes 0 with probability ``p``, and the others are divided by 1 - p.

    Args:
        p: the probability of a zero, from 0 to 1.
        inplace: kept for PyTorch's sake; only False is possible.

    The same seed drops the same elements on every library and device.

    >>> import portanet
    >>> layer = portanet.nn.Dropout(0.9)
    >>> layer.eval()(portanet.ones(3))
    tensor([1., 1., 1.])
    """

    def forward(self, input: Any) -> Any:
        return F.dropout(input, self.p, self.training)


class Dropout1d(_Dropout):
    """In training each channel of a sequence becomes 0 as a whole: see `portanet.nn.functional.dropout1d`.

    Shapes: (N, C, L) or (C, L), which stay. Arguments: `Dropout`.

    >>> import portanet
    >>> layer = portanet.nn.Dropout1d(0.9).eval()
    >>> bool(portanet.all(layer(portanet.ones((2, 3, 4))) == 1))
    True
    """

    def forward(self, input: Any) -> Any:
        return F.dropout1d(input, self.p, self.training)


class Dropout2d(_Dropout):
    """In training each channel of a image becomes 0 as a whole: see `portanet.nn.functional.dropout2d`.

    Shapes: (N, C, H, W), or with three axes (N, C, L), which stay. Arguments: `Dropout`.

    >>> import portanet
    >>> layer = portanet.nn.Dropout2d(0.9).eval()
    >>> bool(portanet.all(layer(portanet.ones((2, 3, 4, 4))) == 1))
    True
    """

    def forward(self, input: Any) -> Any:
        return F.dropout2d(input, self.p, self.training)


class Dropout3d(_Dropout):
    """In training each channel of a volume becomes 0 as a whole: see `portanet.nn.functional.dropout3d`.

    Shapes: (N, C, D, H, W) or (C, D, H, W), which stay. Arguments: `Dropout`.

    >>> import portanet
    >>> layer = portanet.nn.Dropout3d(0.9).eval()
    >>> bool(portanet.all(layer(portanet.ones((2, 3, 4, 4, 4))) == 1))
    True
    """

    def forward(self, input: Any) -> Any:
        return F.dropout3d(input, self.p, self.training)


class AlphaDropout(_Dropout):
    """Dropout beside `SELU`, which keeps mean and variance: see `portanet.nn.functional.alpha_dropout`.

    Shape and dtype stay. Arguments: `Dropout`.

    >>> import portanet
    >>> sorted({round(one, 4) for one in portanet.nn.AlphaDropout(0.5)(portanet.zeros(100)).tolist()})
    [-0.7792, 0.7792]
    """

    def forward(self, input: Any) -> Any:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels: see `portanet.nn.functional.feature_alpha_dropout`.

    Shapes: (N, C, ...), which stay. Arguments: `Dropout`.

    >>> import portanet
    >>> portanet.nn.FeatureAlphaDropout(0.9).eval()(portanet.ones((1, 3)))
    tensor([[1., 1., 1.]])
    """

    def forward(self, input: Any) -> Any:
        return F.feature_alpha_dropout(input, self.p, self.training)
