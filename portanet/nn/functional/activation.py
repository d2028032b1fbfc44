"""Activations: functions of one number, applied to each, and the softmax family, which works along an axis.

All take real floating arrays of any library, raw or as Tensors, and return the same dtype. Names, arguments and slopes
at kinks are PyTorch's.
"""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._arguments import elementwise_namespace as _namespace
from portanet.nn.functional._arguments import require_axis, together
from portanet.nn.functional._checks import require_dtype
from portanet.nn.functional._precision import like

__all__ = [
    "celu", "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax", "logsigmoid",
    "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus", "softsign", "tanh",
]  # fmt: skip

# Klambauer, Unterthiner, Mayr and Hochreiter 2017: with these, activations tend to mean 0 and variance 1.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0), element by element; the slope at 0 is 0.

    Args:
        input: real floating, any shape.
        inplace: kept for PyTorch's sake; only False is possible.

    Raises:
        TypeError: ``input`` is no array, or not real floating.
        ValueError: ``inplace`` is true.

    >>> import portanet
    >>> portanet.nn.functional.relu(portanet.asarray([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return _namespace("relu", input, inplace).relu(input)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where x > 0, and ``negative_slope * x`` elsewhere (Maas, Hannun and Ng 2013). Arguments and errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.leaky_relu(portanet.asarray([-1.0, 2.0]))
    tensor([-0.01,  2.  ])
    """
    xp = _namespace("leaky_relu", input, inplace)
    return xp.where(input > 0, input, input * negative_slope)


def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, and ``weight * x`` elsewhere, the slope being learnt (He, Zhang, Ren and Sun 2015).

    Args:
        input: real floating, shape (N, C, ...), or any shape where there is one weight.
        weight: of the same dtype, shape (C,) with one slope a channel (axis 1), or (1,) or ().

    Raises:
        TypeError: ``input`` is no array, or not real floating; ``weight`` has another dtype.
        ValueError: ``weight`` has another shape.

    >>> import portanet
    >>> portanet.nn.functional.prelu(portanet.asarray([-1.0, 2.0]), portanet.asarray([0.25]))
    tensor([-0.25,  2.  ])
    """
    given = input
    input, weight = together("prelu", input, weight)
    xp = _namespace("prelu", input)
    require_dtype("PReLU", input, weight)
    shape, count = tuple(weight.shape), input.shape[1] if input.ndim > 1 else 1
    if shape not in ((), (1,), (count,)):
        raise ValueError(
            f"prelu: weight has shape {shape}, expected (1,), or (C,) with the {count} channels on axis 1 of the input "
            f"(shape {tuple(input.shape)})."
        )
    if shape == (count,) and input.ndim > 2:
        weight = xp.reshape(weight, (count,) + (1,) * (input.ndim - 2))
    elif shape == (1,):
        weight = xp.reshape(weight, ())
    return like(xp.where(input > 0, input, weight * input), given)


def _elu(xp: Any, x: Any, alpha: float, scale: float, stretch: float) -> Any:
    positive = x > 0
    # Clean the input of the branch not taken: expm1 overflows there, and its nan would come back as a gradient.
    low = xp.where(positive, xp.zeros_like(x), x)
    high = x if scale == 1 else x * scale
    return like(xp.where(positive, high, (alpha * scale) * xp.expm1(low if stretch == 1 else low * stretch)), x)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, and ``alpha * (exp(x) - 1)`` elsewhere (Clevert, Unterthiner and Hochreiter 2016).

    Arguments and errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.elu(portanet.asarray([-100.0, 2.0]))
    tensor([-1.,  2.])
    """
    return _elu(_namespace("elu", input, inplace), input, alpha, 1.0, 1.0)


def selu(input: Any, inplace: bool = False) -> Any:
    """1.0507 elu(x, alpha=1.6733), which keeps mean 0 and variance 1 (Klambauer and others 2017).

    Arguments and errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.selu(portanet.asarray([0.0, 1.0]))
    tensor([0.      , 1.050701])
    """
    return _elu(_namespace("selu", input, inplace), input, SELU_ALPHA, SELU_SCALE, 1.0)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, and ``alpha * (exp(x / alpha) - 1)`` elsewhere: smooth for every alpha (Barron 2017).

    Arguments and errors: `relu`; ``alpha`` 0 is a ValueError.

    >>> import portanet
    >>> portanet.nn.functional.celu(portanet.asarray([-100.0, 2.0]), alpha=0.5)
    tensor([-0.5,  2. ])
    """
    if alpha == 0:
        raise ValueError("celu: alpha must not be 0, the formula divides by it; relu is the limit.")
    return _elu(_namespace("celu", input, inplace), input, alpha, 1.0, 1.0 / alpha)


def gelu(input: Any, *, approximate: str = "none") -> Any:
    """x Phi(x), Phi being the standard normal distribution function (Hendrycks and Gimpel 2016).

    Args:
        input: real floating, any shape.
        approximate: ``"none"``: exactly; ``"tanh"``: with Phi(x) = (1 + tanh(sqrt(2/pi) (x + 0.044715 x**3))) / 2.

    Raises:
        TypeError: ``input`` is no array, or not real floating.
        ValueError: another ``approximate``.

    >>> import portanet
    >>> portanet.nn.functional.gelu(portanet.asarray([0.0, 1.0]))
    tensor([0.       , 0.8413447])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate={approximate!r}; expected 'none' or 'tanh'.")
    return _namespace("gelu", input).gelu(input, approximate=approximate)


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x)), element by element, exact to the last digits at both ends. Errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.sigmoid(portanet.asarray([-1000.0, 0.0]))
    tensor([0. , 0.5])
    """
    return _namespace("sigmoid", input).sigmoid(input)


def tanh(input: Any) -> Any:
    """The hyperbolic tangent, element by element; complex numbers are welcome too.

    >>> import portanet
    >>> portanet.nn.functional.tanh(portanet.asarray([0.0, 1000.0]))
    tensor([0., 1.])
    """
    return namespace_of(input).tanh(input)


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x), also called swish (Elfwing, Uchibe and Doya 2018). Arguments and errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.silu(portanet.asarray([-1000.0, 0.0, 1000.0]))
    tensor([  -0.,    0., 1000.])
    """
    return _namespace("silu", input, inplace).silu(input)


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(softplus(x)) (Misra 2019). Arguments and errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.mish(portanet.asarray([0.0, 1000.0]))
    tensor([   0., 1000.])
    """
    xp = _namespace("mish", input, inplace)
    return like(input * xp.tanh(xp.softplus(input, beta=1.0, threshold=20.0)), input)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta x)) / beta: a smooth relu; x itself where ``beta * x > threshold``.

    Args:
        input: real floating, any shape.
        beta: how sharp the bend is; not 0.
        threshold: from where on the straight line takes over. There is no overflow without it either.

    Raises:
        TypeError: ``input`` is no array, or not real floating.
        ValueError: ``beta`` is 0.

    >>> import portanet
    >>> portanet.nn.functional.softplus(portanet.asarray([0.0, 1000.0]))
    tensor([6.931472e-01, 1.000000e+03])
    """
    if beta == 0:
        raise ValueError("softplus: beta must not be 0, the formula divides by it.")
    return _namespace("softplus", input).softplus(input, beta=beta, threshold=threshold)


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)) = -log(1 + exp(-x)), element by element, without the logarithm of 0. Errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.logsigmoid(portanet.asarray([-1000.0, 0.0]))
    tensor([-1.000000e+03, -6.931472e-01])
    """
    return like(-_namespace("logsigmoid", input).softplus(-input, beta=1.0, threshold=math.inf), input)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """x brought into the range from ``min_val`` to ``max_val``; the slope is 0 outside and on both ends.

    Arguments and errors: `relu`; ``min_val > max_val`` is a ValueError.

    >>> import portanet
    >>> portanet.nn.functional.hardtanh(portanet.asarray([-3.0, 0.5, 3.0]))
    tensor([-1. ,  0.5,  1. ])
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val={min_val} is above max_val={max_val}.")
    return _between(_namespace("hardtanh", input, inplace), input, min_val, max_val)


def _between(xp: Any, x: Any, low: float, high: float) -> Any:
    # Not clip, whose slope on the ends is 1.
    return xp.where(x <= low, low, xp.where(x >= high, high, x))


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6) (Krizhevsky 2010); the slope is 0 at 0 and at 6. Arguments and errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.relu6(portanet.asarray([-1.0, 2.0, 9.0]))
    tensor([0., 2., 6.])
    """
    return _between(_namespace("relu6", input, inplace), input, 0.0, 6.0)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """relu6(x + 3) / 6: a sigmoid of straight lines. Arguments and errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.hardsigmoid(portanet.asarray([-3.0, 0.0, 3.0]))
    tensor([0. , 0.5, 1. ])
    """
    return _between(_namespace("hardsigmoid", input, inplace), input + 3.0, 0.0, 6.0) / 6.0


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x hardsigmoid(x) (Howard and others 2019). Arguments and errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.hardswish(portanet.asarray([-3.0, 3.0]))
    tensor([-0.,  3.])
    """
    return input * (_between(_namespace("hardswish", input, inplace), input + 3.0, 0.0, 6.0) / 6.0)


def softsign(input: Any) -> Any:
    """x / (1 + |x|), element by element. Errors: `relu`.

    >>> import portanet
    >>> portanet.nn.functional.softsign(portanet.asarray([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """
    return input / (1 + _namespace("softsign", input).abs(input))


def glu(input: Any, dim: int = -1) -> Any:
    """a sigmoid(b), a and b being the halves of the input along the axis ``dim`` (Dauphin and others 2017).

    Args:
        input: real floating, of an even length along ``dim``, which is halved.
        dim: the axis.

    Raises:
        TypeError: ``input`` is no array, or not real floating.
        IndexError: ``dim`` is no axis of the input.
        ValueError: the length along ``dim`` is odd.

    >>> import portanet
    >>> portanet.nn.functional.glu(portanet.asarray([3.0, 5.0, 0.0, 1000.0]))
    tensor([1.5, 5. ])
    """
    xp = _namespace("glu", input)
    require_axis("glu", dim, input)
    dim, length = dim % input.ndim, input.shape[dim]
    if length % 2:
        raise ValueError(
            f"glu: the input's axis {dim} has length {length} (shape {tuple(input.shape)}), which must be even: one half "
            "is the values, the other their gates."
        )
    before, after = (slice(None),) * dim, (slice(None),) * (input.ndim - dim - 1)
    values = input[(*before, slice(0, length // 2), *after)]
    return values * xp.sigmoid(input[(*before, slice(length // 2, length), *after)])


def _along(name: str, input: Any, dim: int | None, dtype: Any) -> Any:
    """The library and the input of a softmax, ``dim`` having been checked."""
    xp = _namespace(name, input)
    if dim is None:
        raise TypeError(f"{name}: say along which axis it is to sum to 1, as in dim=-1.")
    require_axis(name, dim, input)
    return xp, input if dtype is None else xp.astype(input, dtype)


def softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along the axis ``dim``: positive numbers that sum to 1.

    Args:
        input: real floating, at least one axis. -inf gives 0; a line of nothing but -inf gives nan, as 0 / 0.
        dim: the axis; PyTorch's guess for None is deprecated there and an error here.
        dtype: cast the input to it first.

    Raises:
        TypeError: ``input`` is no array, or not real floating; or no ``dim``.
        IndexError: ``dim`` is no axis of the input.

    >>> import portanet
    >>> portanet.nn.functional.softmax(portanet.asarray([1000.0, 1000.0]), dim=0)
    tensor([0.5, 0.5])
    """
    xp, input = _along("softmax", input, dim, dtype)
    return xp.softmax(input, axis=dim)


def log_softmax(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """x - log(sum(exp(x))) along the axis ``dim``: the logarithm of `softmax`, exact where that is 0.

    Arguments and errors: `softmax`.

    >>> import portanet
    >>> portanet.nn.functional.log_softmax(portanet.asarray([0.0, -1000.0]), dim=0)
    tensor([    0., -1000.])
    """
    xp, input = _along("log_softmax", input, dim, dtype)
    return xp.log_softmax(input, axis=dim)


def softmin(input: Any, dim: int | None = None, *, dtype: Any = None) -> Any:
    """`softmax` of -x along the axis ``dim``: the smallest number gets the largest share.

    Arguments and errors: `softmax`.

    >>> import portanet
    >>> portanet.nn.functional.softmin(portanet.asarray([0.0, 1000.0]), dim=0)
    tensor([1., 0.])
    """
    xp, input = _along("softmin", input, dim, dtype)
    return xp.softmax(-input, axis=dim)
