"""Batch normalisation in evaluation is affine, so the layer before can do its work: one layer instead of two."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from portanet.autograd import no_grad
from portanet.library import namespace_of
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]

M = TypeVar("M", bound=Module)


def fuse_conv_bn_weights(
    conv_w: Any, conv_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any, transpose: bool = False
) -> tuple[Parameter, Parameter]:
    """Weight and bias of a convolution that includes the batch norm after it: W s and (b - m) s + c, s = w / sqrt(v + eps).

    Args:
        conv_w, conv_b: W, of shape (O, ...), and b, of shape (O,), or None for 0.
        bn_rm, bn_rv: the running averages m and v.
        bn_eps: eps.
        bn_w, bn_b: w and c of the batch norm, or None for 1 and 0.
        transpose: whether the channels that come out are the second axis of W, as in a transposed convolution.

    >>> import portanet
    >>> one = portanet.ones(1)
    >>> w, b = portanet.nn.utils.fuse_conv_bn_weights(portanet.ones((1, 1, 2)), None, one, 4 * one, 0.0, one, one)
    >>> w.tolist(), b.tolist()
    ([[[0.5, 0.5]]], [0.5])
    """
    with no_grad():
        xp = namespace_of(conv_w)
        scale = 1 / xp.sqrt(bn_rv + bn_eps)
        scale = scale if bn_w is None else scale * bn_w
        shape = [1] * conv_w.ndim
        shape[1 if transpose else 0] = -1
        bias = (0 - bn_rm if conv_b is None else conv_b - bn_rm) * scale
        bias = bias if bn_b is None else bias + bn_b
        weight = conv_w * xp.reshape(scale, tuple(shape))
    return Parameter(weight, conv_w.requires_grad), Parameter(bias, conv_w.requires_grad)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """`fuse_conv_bn_weights` for the weight (out, in) of a linear layer.

    >>> import portanet
    >>> one = portanet.ones(1)
    >>> w, b = portanet.nn.utils.fuse_linear_bn_weights(portanet.ones((1, 2)), None, one, 4 * one, 0.0, one, one)
    >>> w.tolist(), b.tolist()
    ([[0.5, 0.5]], [0.5])
    """
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_conv_bn_eval(conv: M, bn: Module, transpose: bool = False) -> M:
    """A new convolution that computes what ``conv`` and then ``bn`` do in evaluation.

    Args:
        conv, bn: both in evaluation mode; ``bn`` has running averages. They stay as they are.
        transpose: whether it is a transposed convolution.

    Raises ValueError where a mode is another or averages are missing.

    >>> import portanet
    >>> nn = portanet.nn
    >>> nn.utils.fuse_conv_bn_eval(nn.Conv1d(2, 3, 1, bias=False).eval(), nn.BatchNorm1d(3).eval())
    Conv1d(2, 3, kernel_size=(1,), stride=(1,))
    """
    return _fused("fuse_conv_bn_eval", conv, bn, transpose)


def fuse_linear_bn_eval(linear: M, bn: Module) -> M:
    """A new linear layer that computes what ``linear`` and then ``bn`` do in evaluation; see `fuse_conv_bn_eval`.

    >>> import portanet
    >>> nn = portanet.nn
    >>> nn.utils.fuse_linear_bn_eval(nn.Linear(2, 3).eval(), nn.BatchNorm1d(3).eval())
    Linear(in_features=2, out_features=3, bias=True)
    """
    return _fused("fuse_linear_bn_eval", linear, bn, False)


def _fused(name: str, layer: M, bn: Any, transpose: bool) -> M:
    if layer.training or bn.training:
        raise ValueError(f"{name}: both layers must be in evaluation mode; call eval() first.")
    if bn.running_mean is None:
        raise ValueError(f"{name}: {type(bn).__name__} keeps no running averages, so it is not affine.")
    channels = layer.weight.shape[1 if transpose else 0]
    if channels != bn.num_features:
        raise ValueError(
            f"{name}: {type(bn).__name__}(num_features={bn.num_features}) does not fit the {channels} that come out of "
            f"{type(layer).__name__}."
        )
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused
