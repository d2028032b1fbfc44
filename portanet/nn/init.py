"""Starting values of parameters, under PyTorch's names: each gives a Tensor new values in place, and returns it.

The random ones take ``generator=`` (None: `portanet.random.default_generator`), and the same seed gives the same
uniform numbers on every library and device. A slice of a Tensor is a Tensor of its own here: fill the whole, not a
part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from portanet import random
from portanet.backend import use_backend
from portanet.doors import read
from portanet.library import device_of, namespace_of
from portanet.plan.recorder import writing
from portanet.random import Generator
from portanet.tensor import Tensor

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

T = TypeVar("T", bound=Tensor)


def _value(tensor: Any) -> Any:
    """The raw array of a Tensor that may be filled."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"nn.init fills Tensors in place, saw {type(tensor).__name__}.")
    if not tensor.is_leaf:
        raise RuntimeError(
            "nn.init: this Tensor was computed under the tape; fill what it was computed from, or x.detach()."
        )
    return tensor._raw


def _fill(tensor: T, raw: Any) -> T:
    """Make the raw array ``raw`` the value of ``tensor``."""
    writing(tensor)
    tensor._raw = raw
    return tensor


def _drawn(draw: Callable[..., Tensor], tensor: Tensor, *numbers: float, generator: Generator | None) -> Any:
    """A raw array of random numbers, of the shape, dtype, library and device of ``tensor``."""
    raw = _value(tensor)
    with use_backend(namespace_of(raw), device=device_of(raw)):
        return draw(tensor.shape, *numbers, dtype=tensor.dtype, generator=generator)._raw


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> T:
    """Numbers evenly distributed over [a, b).

    >>> import portanet
    >>> x = portanet.nn.init.uniform_(portanet.empty(100), -1.0, 1.0)
    >>> bool(portanet.all(portanet.abs(x) <= 1.0))
    True
    """
    return _fill(tensor, _drawn(random.uniform, tensor, a, b, generator=generator))


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> T:
    """Normally distributed numbers.

    >>> import portanet
    >>> portanet.nn.init.normal_(portanet.empty((2, 3)), std=0.1).shape
    (2, 3)
    """
    return _fill(tensor, _drawn(random.normal, tensor, mean, std, generator=generator))


def trunc_normal_(
    tensor: T,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> T:
    """Normally distributed numbers; those outside [a, b] are drawn again, so that none lies there.

    Raises ValueError where less than 1 number in 1000 would lie in [a, b].

    >>> import portanet
    >>> x = portanet.nn.init.trunc_normal_(portanet.empty(100), a=-1.0, b=1.0)
    >>> bool(portanet.all(portanet.abs(x) <= 1.0))
    True
    """
    share = _normal_below((b - mean) / std) - _normal_below((a - mean) / std) if std > 0 else 0.0
    if share < 1e-3:
        raise ValueError(
            f"trunc_normal_: [a, b] = [{a}, {b}] holds a share of {share:.1e} of the normal distribution with "
            f"mean={mean} and std={std}, too little to draw from; use uniform_ there."
        )
    raw = _drawn(random.normal, tensor, mean, std, generator=generator)
    xp = namespace_of(raw)
    while True:
        outside = (raw < a) | (raw > b)
        if not read(bool, xp.any(outside)):
            return _fill(tensor, raw)
        raw = xp.where(outside, _drawn(random.normal, tensor, mean, std, generator=generator), raw)


def _normal_below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def constant_(tensor: T, val: float) -> T:
    """The number ``val`` everywhere.

    >>> import portanet
    >>> portanet.nn.init.constant_(portanet.empty(2), 0.5)
    tensor([0.5, 0.5])
    """
    raw = _value(tensor)
    return _fill(tensor, namespace_of(raw).full_like(raw, val))


def ones_(tensor: T) -> T:
    """Ones.

    >>> import portanet
    >>> portanet.nn.init.ones_(portanet.empty(2))
    tensor([1., 1.])
    """
    raw = _value(tensor)
    return _fill(tensor, namespace_of(raw).ones_like(raw))


def zeros_(tensor: T) -> T:
    """Zeros.

    >>> import portanet
    >>> portanet.nn.init.zeros_(portanet.empty(2))
    tensor([0., 0.])
    """
    raw = _value(tensor)
    return _fill(tensor, namespace_of(raw).zeros_like(raw))


def eye_(tensor: T) -> T:
    """The identity, for a matrix: ones on the diagonal, zeros elsewhere.

    >>> import portanet
    >>> portanet.nn.init.eye_(portanet.empty((2, 3)))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    raw = _value(tensor)
    if tensor.ndim != 2:
        raise ValueError(f"eye_ needs two axes, saw shape {tensor.shape}.")
    xp = namespace_of(raw)
    return _fill(tensor, xp.astype(_column(xp, raw, 0) == _row(xp, raw, 1), raw.dtype))


def _column(xp: Any, raw: Any, axis: int) -> Any:
    """0, 1, ... along ``axis``, to compare with the other axes of a matrix."""
    return xp.expand_dims(xp.positions(raw, axis=axis), axis=1)


def _row(xp: Any, raw: Any, axis: int) -> Any:
    return xp.expand_dims(xp.positions(raw, axis=axis), axis=0)


def dirac_(tensor: T, groups: int = 1) -> T:
    """A convolution that hands on its input: weights (out, in, ...) with 1 in the middle from each channel to itself.

    Args:
        tensor: of 3 to 5 axes.
        groups: of the convolution; each group of output channels repeats this.

    >>> import portanet
    >>> portanet.nn.init.dirac_(portanet.empty((1, 1, 3)))
    tensor([[[0., 1., 0.]]])
    """
    raw, shape = _value(tensor), tensor.shape
    if not 3 <= len(shape) <= 5:
        raise ValueError(f"dirac_ needs 3, 4 or 5 axes, (out, in, ...), saw shape {shape}.")
    if shape[0] % groups:
        raise ValueError(f"dirac_: {shape[0]} output channels do not part into {groups} groups.")
    xp = namespace_of(raw)
    ones = _column(xp, raw, 0) % max(shape[0] // groups, 1) == _row(xp, raw, 1)
    for axis in range(2, len(shape)):
        ones = xp.expand_dims(ones, axis=-1) & (xp.positions(raw, axis=axis) == shape[axis] // 2)
    return _fill(tensor, xp.astype(ones, raw.dtype))


GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0, "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights before an activation are made larger, so that signals keep their size through it.

    Args:
        nonlinearity: ``"linear"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"``, ``"selu"`` or a
            convolution's name.
        param: for ``"leaky_relu"`` its slope below 0; None: 0.01.

    >>> import portanet
    >>> portanet.nn.init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in GAINS:
        raise ValueError(f"calculate_gain: {nonlinearity!r} is not known; known are leaky_relu, {', '.join(GAINS)}.")
    return GAINS[nonlinearity]


def _fans(tensor: Tensor) -> tuple[int, int]:
    """The numbers of inputs to and outputs from a unit of a layer with weights (out, in, ...)."""
    _value(tensor)
    if tensor.ndim < 2:
        raise ValueError(
            f"this initialisation needs weights (out, in, ...), at least two axes; saw shape {tensor.shape}."
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)).

    Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks".

    >>> import portanet
    >>> x = portanet.nn.init.xavier_uniform_(portanet.empty((4, 2)))
    >>> bool(portanet.all(portanet.abs(x) <= 1.0))
    True
    """
    bound = gain * math.sqrt(6.0 / max(sum(_fans(tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Normal with standard deviation gain sqrt(2 / (fan_in + fan_out)). Glorot and Bengio 2010.

    >>> import portanet
    >>> portanet.nn.init.xavier_normal_(portanet.empty((4, 2))).shape
    (4, 2)
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(sum(_fans(tensor)), 1)), generator)


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    """The standard deviation gain / sqrt(fan)."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', saw {mode!r}.")
    fan_in, fan_out = _fans(tensor)
    fan = fan_in if mode == "fan_in" else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Uniform in +-gain sqrt(3 / fan): signals keep their size forward (fan_in), or gradients backward (fan_out).

    He, Zhang, Ren and Sun 2015, "Delving deep into rectifiers".

    Args:
        tensor: weights (out, in, ...).
        a: the slope below 0 of the leaky ReLU that follows.
        mode: ``"fan_in"`` or ``"fan_out"``.
        nonlinearity: what follows; see `calculate_gain`.

    >>> import portanet
    >>> x = portanet.nn.init.kaiming_uniform_(portanet.empty((4, 6)))
    >>> bool(portanet.all(portanet.abs(x) <= 1.0))
    True
    """
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Normal with standard deviation gain / sqrt(fan). Arguments as in `kaiming_uniform_`; He et al. 2015.

    >>> import portanet
    >>> portanet.nn.init.kaiming_normal_(portanet.empty((4, 6))).shape
    (4, 6)
    """
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """A random matrix with orthonormal rows (or columns, where it has fewer), times ``gain``.

    Axes after the first are joined. It is the Q of a normal matrix, its signs those that make R's diagonal positive,
    which is evenly distributed. Saxe, McClelland and Ganguli 2013, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks".

    Raises:
        ValueError: fewer than two axes.
        AttributeError: the library has no linalg.qr.

    >>> import portanet
    >>> q = portanet.nn.init.orthogonal_(portanet.empty((2, 3)))
    >>> bool(portanet.all(portanet.abs(q @ q.T - portanet.eye(2)) < 1e-6))
    True
    """
    _value(tensor)
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_ needs at least two axes, saw shape {tensor.shape}.")
    if tensor.size == 0:
        return tensor
    shape = tensor.shape
    rows, columns = shape[0], math.prod(shape[1:])
    raw = _drawn(random.normal, tensor, 0.0, 1.0, generator=generator)
    xp = namespace_of(raw)
    raw = xp.reshape(raw, (rows, columns))
    q, r = getattr(xp, "linalg.qr")(raw if rows >= columns else xp.matrix_transpose(raw))
    diagonal = xp.sum(xp.where(_column(xp, r, 0) == _row(xp, r, 1), r, xp.zeros_like(r)), axis=0)
    q = q * xp.where(diagonal < 0, -xp.ones_like(diagonal), xp.ones_like(diagonal))
    q = q if rows >= columns else xp.matrix_transpose(q)
    return _fill(tensor, xp.reshape(gain * q, shape))


def sparse_(tensor: T, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> T:
    """Normal numbers, with a share ``sparsity`` of each column set to 0. For a matrix.

    Martens 2010, "Deep learning via Hessian-free optimization".

    >>> import portanet
    >>> x = portanet.nn.init.sparse_(portanet.empty((10, 4)), sparsity=0.3)
    >>> portanet.count_nonzero(x, axis=0)
    tensor([7, 7, 7, 7])
    """
    _value(tensor)
    if tensor.ndim != 2:
        raise ValueError(f"sparse_ needs two axes, saw shape {tensor.shape}.")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity is a share from 0 to 1, saw {sparsity}.")
    raw = _drawn(random.normal, tensor, 0.0, std, generator=generator)
    xp = namespace_of(raw)
    # The rank of each of as many random numbers as the column has rows: those of the lowest ranks become 0.
    ranks = xp.argsort(xp.argsort(_drawn(random.uniform, tensor, generator=generator), axis=0), axis=0)
    return _fill(tensor, xp.where(ranks < math.ceil(sparsity * tensor.shape[0]), xp.zeros_like(raw), raw))
