"""Affine layers: what the weights and biases of a network are."""

from __future__ import annotations

import math
from typing import Any

from portanet.namespace import empty
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter

__all__ = ["Bilinear", "Identity", "Linear"]


class Identity(Module):
    """What goes in comes out; it takes the place of a layer that is left out. Arguments are ignored.

    >>> import portanet
    >>> portanet.nn.Identity()(portanet.ones(1))
    tensor([1.])
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Module):
    """The affine map y = x W^T + b of the last axis: the pre-activations of a layer.

    Args:
        in_features: the length of the last axis of x.
        out_features: that of y.
        bias: whether there is a b.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32. An input of another dtype is refused.

    Shapes: x (..., in_features) -> y (..., out_features). Parameters: ``weight`` (out_features, in_features) and
    ``bias`` (out_features,), at the start uniform in +-1/sqrt(in_features).

    Raises:
        ValueError: the last axis of x has another length.
        TypeError: x has another dtype or library than the parameters; the message has the cast.

    >>> import portanet
    >>> layer = portanet.nn.Linear(3, 2)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    >>> layer(portanet.ones((5, 3))).shape
    (5, 2)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in_features), dtype=dtype, device=device))
        self.register_parameter("bias", Parameter(empty(out_features, dtype=dtype, device=device)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # that is +-1/sqrt(in_features)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Any:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """The map y_k = sum_ij x1_i W_kij x2_j + b_k of two inputs.

    Shapes: x1 (..., in1_features), x2 (..., in2_features) -> y (..., out_features). Parameters: ``weight``
    (out_features, in1_features, in2_features) and ``bias`` (out_features,), at the start uniform in
    +-1/sqrt(in1_features).

    >>> import portanet
    >>> portanet.nn.Bilinear(2, 3, 4)(portanet.ones((5, 2)), portanet.ones((5, 3))).shape
    (5, 4)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be positive, saw {in1_features}.")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(empty((out_features, in1_features, in2_features), dtype=dtype, device=device))
        self.register_parameter("bias", Parameter(empty(out_features, dtype=dtype, device=device)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Any:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
