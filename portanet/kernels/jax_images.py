"""Kernels of convolution and pooling for JAX arrays. Each is one program, compiled once for each shape."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy

from portanet.kernels.generic import convolution as generic
from portanet.library import namespace_of

__all__ = [
    "avg_pool", "avg_pool_backward", "conv", "conv_backward_input", "conv_backward_weight", "max_pool",
    "max_pool_backward",
]  # fmt: skip

_Ints = tuple[int, ...]
_Pairs = tuple[tuple[int, int], ...]


def _compiled(*static: str) -> Callable[[Any], Any]:
    return functools.partial(jax.jit, static_argnames=static)


def _convolved(x: Any, weight: Any, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int) -> Any:
    return jax.lax.conv_general_dilated(
        x, weight, stride, padding, rhs_dilation=dilation, feature_group_count=groups, precision="highest"
    )


@_compiled("stride", "padding", "dilation", "groups")
def conv(x: Any, weight: Any, bias: Any = None, *, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int) -> Any:
    y = _convolved(x, weight, stride, padding, dilation, groups)
    return y if bias is None else y + bias.reshape((-1,) + (1,) * len(stride))


@_compiled("size", "stride", "padding", "dilation", "groups")
def conv_backward_input(
    g: Any, weight: Any, *, size: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int
) -> Any:
    like = jax.ShapeDtypeStruct((g.shape[0], weight.shape[1] * groups, *size), g.dtype)
    (dx,) = jax.linear_transpose(lambda x: _convolved(x, weight, stride, padding, dilation, groups), like)(g)
    return dx


@_compiled("size", "stride", "padding", "dilation", "groups")
def conv_backward_weight(
    g: Any, x: Any, *, size: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints, groups: int
) -> Any:
    like = jax.ShapeDtypeStruct((g.shape[1], x.shape[1] // groups, *size), g.dtype)
    (dw,) = jax.linear_transpose(lambda w: _convolved(x, w, stride, padding, dilation, groups), like)(g)
    return dw


def _whole(values: Any, filling: Any) -> Any:
    """An option of the spatial axes as one of all axes."""
    return (filling, filling, *values)


@_compiled("kernel", "stride", "padding", "dilation")
def max_pool(x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> Any:
    shape = (_whole(kernel, 1), _whole(stride, 1), _whole(padding, (0, 0)))
    lowest = numpy.asarray(-math.inf, x.dtype)  # a constant, by which JAX knows the maximum as such
    return jax.lax.reduce_window(x, lowest, jax.lax.max, *shape, window_dilation=_whole(dilation, 1))


@_compiled("kernel", "stride", "padding", "dilation")
def max_pool_backward(g: Any, y: Any, x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, dilation: _Ints) -> Any:
    how: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return generic.max_pool_backward(namespace_of(x), g, y, x, **how)


def _summed(x: Any, kernel: _Ints, stride: _Ints, padding: _Pairs) -> Any:
    shape = (_whole(kernel, 1), _whole(stride, 1), _whole(padding, (0, 0)))
    return jax.lax.reduce_window(x, numpy.zeros((), x.dtype), jax.lax.add, *shape)


@_compiled("kernel", "stride", "padding", "counted", "divisor")
def avg_pool(x: Any, *, kernel: _Ints, stride: _Ints, padding: _Pairs, counted: _Pairs, divisor: int | None) -> Any:
    y = _summed(x, kernel, stride, padding)
    return y / generic._divisors(namespace_of(y), y, x.shape[2:], kernel, stride, padding, counted, divisor)


@_compiled("size", "kernel", "stride", "padding", "counted", "divisor")
def avg_pool_backward(
    g: Any, *, size: _Ints, kernel: _Ints, stride: _Ints, padding: _Pairs, counted: _Pairs, divisor: int | None
) -> Any:
    g = g / generic._divisors(namespace_of(g), g, size, kernel, stride, padding, counted, divisor)
    like = jax.ShapeDtypeStruct((*g.shape[:2], *size), g.dtype)
    (dx,) = jax.linear_transpose(lambda x: _summed(x, kernel, stride, padding), like)(g)
    return dx
