"""Activations as modules: what they are told when made, and one call of the function of the same name."""

from __future__ import annotations

from typing import Any

from portanet.namespace import full
from portanet.nn import functional as F
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "SELU", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid",
    "LogSoftmax", "Mish", "PReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Softmax", "Softmax2d", "Softmin", "Softplus",
    "Softsign", "Tanh",
]  # fmt: skip


def require_not_in_place(name: str, inplace: bool) -> None:
    """Raise ValueError for ``inplace=True``."""
    if inplace:
        raise ValueError(f"{name}: inplace=True is not possible: arrays here are never edited; leave it out.")


class Sigmoid(Module):
    """1 / (1 + exp(-x)), element by element: see `portanet.nn.functional.sigmoid`. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.Sigmoid()(portanet.asarray([0.0]))
    tensor([0.5])
    """

    def forward(self, input: Any) -> Any:
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent, element by element. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.Tanh()(portanet.asarray([0.0]))
    tensor([0.])
    """

    def forward(self, input: Any) -> Any:
        return F.tanh(input)


class ReLU(Module):
    """max(x, 0), element by element: see `portanet.nn.functional.relu`. Shape and dtype stay.

    Args:
        inplace: kept for PyTorch's sake; only False is possible (ValueError).

    >>> import portanet
    >>> portanet.nn.ReLU()(portanet.asarray([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("ReLU", inplace)

    def forward(self, input: Any) -> Any:
        return F.relu(input)


class ReLU6(Module):
    """min(max(x, 0), 6), element by element. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.ReLU6()(portanet.asarray([-1.0, 9.0]))
    tensor([0., 6.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("ReLU6", inplace)

    def forward(self, input: Any) -> Any:
        return F.relu6(input)


class LeakyReLU(Module):
    """x where x > 0, ``negative_slope * x`` elsewhere. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.LeakyReLU(0.1)(portanet.asarray([-1.0, 2.0]))
    tensor([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("LeakyReLU", inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Any) -> Any:
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """x where x > 0, ``weight * x`` elsewhere, the slopes being learnt: see `portanet.nn.functional.prelu`.

    Args:
        num_parameters: 1, or the number of channels (axis 1 of the input) for a slope each.
        init: what the slopes are at the start.
        device: where the weight is to lie; None: the current backend's device.
        dtype: its floating dtype; None: the default one.

    Attributes:
        weight: the slopes, shape (num_parameters,). Weight decay would pull them to relu.

    >>> import portanet
    >>> portanet.nn.PReLU()(portanet.asarray([-1.0, 2.0])).detach()
    tensor([-0.25,  2.  ])
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(full((num_parameters,), float(init), device=device, dtype=dtype))

    def forward(self, input: Any) -> Any:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(Module):
    """x where x > 0, ``alpha * (exp(x) - 1)`` elsewhere. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.ELU()(portanet.asarray([-100.0, 2.0]))
    tensor([-1.,  2.])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("ELU", inplace)
        self.alpha = alpha

    def forward(self, input: Any) -> Any:
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SELU(Module):
    """1.0507 elu(x, 1.6733), which keeps mean 0 and variance 1. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.SELU()(portanet.asarray([0.0, 1.0]))
    tensor([0.      , 1.050701])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("SELU", inplace)

    def forward(self, input: Any) -> Any:
        return F.selu(input)


class CELU(Module):
    """x where x > 0, ``alpha * (exp(x / alpha) - 1)`` elsewhere. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.CELU(alpha=0.5)(portanet.asarray([-100.0, 2.0]))
    tensor([-0.5,  2. ])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("CELU", inplace)
        self.alpha = alpha

    def forward(self, input: Any) -> Any:
        return F.celu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """x Phi(x), Phi being the normal distribution function: see `portanet.nn.functional.gelu`. Shape and dtype stay.

    Args:
        approximate: ``"none"``, or ``"tanh"`` for the formula with a tanh.

    >>> import portanet
    >>> portanet.nn.GELU()(portanet.asarray([0.0, 1.0]))
    tensor([0.       , 0.8413447])
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x sigmoid(x), element by element. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.SiLU()(portanet.asarray([0.0, 100.0]))
    tensor([  0., 100.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("SiLU", inplace)

    def forward(self, input: Any) -> Any:
        return F.silu(input)


class Mish(Module):
    """x tanh(softplus(x)), element by element. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.Mish()(portanet.asarray([0.0, 100.0]))
    tensor([  0., 100.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("Mish", inplace)

    def forward(self, input: Any) -> Any:
        return F.mish(input)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta, and x itself where ``beta * x > threshold``. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.Softplus()(portanet.asarray([0.0]))
    tensor([0.6931472])
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Any:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class LogSigmoid(Module):
    """log(sigmoid(x)), element by element, without the logarithm of 0. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.LogSigmoid()(portanet.asarray([0.0]))
    tensor([-0.6931472])
    """

    def forward(self, input: Any) -> Any:
        return F.logsigmoid(input)


class Hardtanh(Module):
    """x brought into the range from ``min_val`` to ``max_val``. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.Hardtanh(-2.0, 2.0)(portanet.asarray([-3.0, 0.5]))
    tensor([-2. ,  0.5])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("Hardtanh", inplace)
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, input: Any) -> Any:
        return F.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class Hardsigmoid(Module):
    """relu6(x + 3) / 6, element by element. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.Hardsigmoid()(portanet.asarray([0.0, 3.0]))
    tensor([0.5, 1. ])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("Hardsigmoid", inplace)

    def forward(self, input: Any) -> Any:
        return F.hardsigmoid(input)


class Hardswish(Module):
    """x hardsigmoid(x), element by element. Shape and dtype stay; ``inplace`` as in `ReLU`.

    >>> import portanet
    >>> portanet.nn.Hardswish()(portanet.asarray([0.0, 3.0]))
    tensor([0., 3.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        require_not_in_place("Hardswish", inplace)

    def forward(self, input: Any) -> Any:
        return F.hardswish(input)


class Softsign(Module):
    """x / (1 + |x|), element by element. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.Softsign()(portanet.asarray([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """

    def forward(self, input: Any) -> Any:
        return F.softsign(input)


class Softmax(Module):
    """exp(x) / sum(exp(x)) along the axis ``dim``: see `portanet.nn.functional.softmax`. Shape and dtype stay.

    Before a `CrossEntropyLoss` leave it out: that takes logits.

    >>> import portanet
    >>> portanet.nn.Softmax(dim=-1)(portanet.asarray([0.0, 0.0]))
    tensor([0.5, 0.5])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of `Softmax`, exact where that is 0. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.LogSoftmax(dim=-1)(portanet.asarray([0.0, 0.0]))
    tensor([-0.6931472, -0.6931472])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Module):
    """`Softmax` of -x along the axis ``dim``: the smallest number gets the largest share. Shape and dtype stay.

    >>> import portanet
    >>> portanet.nn.Softmin(dim=-1)(portanet.asarray([0.0, 1000.0]))
    tensor([1., 0.])
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.softmin(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """`Softmax` over the channels, at each place of an image. Shapes: (N, C, H, W) or (C, H, W), which stay.

    Raises:
        ValueError: the input has neither four axes nor three.

    >>> import portanet
    >>> portanet.nn.Softmax2d()(portanet.zeros((4, 1, 2)))[:, 0, 0]
    tensor([0.25, 0.25, 0.25, 0.25])
    """

    def forward(self, input: Any) -> Any:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected (N, C, H, W) or (C, H, W), saw shape {tuple(input.shape)}.")
        return F.softmax(input, -3)


class GLU(Module):
    """a sigmoid(b), a and b being the halves along the axis ``dim``: see `portanet.nn.functional.glu`.

    Shapes: (..., 2 n, ...) -> (..., n, ...).

    >>> import portanet
    >>> portanet.nn.GLU()(portanet.asarray([3.0, 5.0, 0.0, 1000.0]))
    tensor([1.5, 5. ])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
