"""A rational activation whose shape is trained with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portanet.namespace import asarray
from portanet.nn import functional as F
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter

__all__ = ["Rational"]

# ReLU is (x + |x|) / 2, and |x| is nearest to (a x^2 + b) / (c x^2 + 1) on [-1, 1], in the largest error, at
# a = 3.1914, b = 0.0436, c = 2.383. Hence P = (c x^3 + a x^2 + x + b) / 2 and Q = c x^2 + 1, whose largest error 0.0218
# is taken with alternating sign. The digits are those that Boulle, Nakatsukasa and Townsend published with their paper.
RELU = ((1.1915, 1.5957, 0.5, 0.0218), (2.383, 0.0, 1.0))


class Rational(Module):
    """The activation P(x) / Q(x) whose coefficients are trained: of type (3, 2), near to ReLU at the start.

    Boulle, Nakatsukasa and Townsend 2020, "Rational neural networks", NeurIPS 33: such networks need exponentially
    less depth than ReLU networks for the same accuracy. At the start |Rational(x) - ReLU(x)| <= 0.022 on [-1, 1];
    outside, both grow as x does. Nothing keeps Q from zeros while it is trained.

    Args:
        numerator: the coefficients of P at the start, the highest power first; their number decides the degree.
        denominator: those of Q.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: any -> the same. Parameters: ``numerator`` (4,) and ``denominator`` (3,), shared by all units of the layer.

    >>> import portanet
    >>> portanet.nn.Rational()(portanet.asarray([-0.5, 0.0, 0.5])).detach()
    tensor([0.01365346, 0.0218    , 0.51365346])
    """

    numerator: Parameter
    denominator: Parameter

    def __init__(
        self,
        numerator: Sequence[float] = RELU[0],
        denominator: Sequence[float] = RELU[1],
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not len(numerator) or not len(denominator):
            raise ValueError("Rational: numerator and denominator need one coefficient or more.")
        start = [[float(c) for c in coefficients] for coefficients in (numerator, denominator)]
        self.numerator = Parameter(asarray(start[0], dtype=dtype, device=device))
        self.denominator = Parameter(asarray(start[1], dtype=dtype, device=device))

    def forward(self, input: Any) -> Any:
        return F.rational(input, self.numerator, self.denominator)

    def extra_repr(self) -> str:
        return f"type=({self.numerator.shape[0] - 1}, {self.denominator.shape[0] - 1})"
