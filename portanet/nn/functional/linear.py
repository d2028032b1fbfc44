"""Affine and bilinear maps of the last axis."""

from __future__ import annotations

from typing import Any

from portanet.nn.functional._checks import common_namespace, raw_of, refuse_dtype, require_dtype

__all__ = ["bilinear", "linear"]


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """The affine map y = x W^T + b of the last axis.

    Args:
        input: x, of shape (..., in_features).
        weight: W, of shape (out_features, in_features), of the same dtype as x.
        bias: b, of shape (out_features,), or None.

    Returns:
        y, of shape (..., out_features).

    Raises:
        ValueError: the last axis of x is not in_features.
        TypeError: the dtypes or the libraries differ; the message has the cast.

    >>> import portanet
    >>> x, w = portanet.asarray([[1.0, 2.0]]), portanet.asarray([[3.0, 4.0], [0.0, 1.0]])
    >>> portanet.nn.functional.linear(x, w, portanet.asarray([10.0, 20.0]))
    tensor([[21., 22.]])
    """
    x, w = raw_of(input), raw_of(weight)
    if w.ndim != 2:
        raise ValueError(f"linear: the weight must have shape (out_features, in_features), saw {tuple(w.shape)}.")
    if x.ndim == 0 or x.shape[-1] != w.shape[1]:
        last = f"last axis is {x.shape[-1]}" if x.ndim else "axes are none"
        raise ValueError(f"Linear(in_features={w.shape[1]}): the input's {last} (shape {tuple(x.shape)}).")
    if x.dtype is not w.dtype:
        refuse_dtype("Linear", x, w)
    if bias is not None:
        b = raw_of(bias)
        if b.dtype is not w.dtype:
            refuse_dtype("Linear's bias", b, w)
    return common_namespace(weight, bias, input).linear(input, weight, bias)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Any:
    """The map y_k = sum_ij x1_i W_kij x2_j + b_k of the last axes of two inputs.

    Args:
        input1: x1, of shape (..., in1_features).
        input2: x2, of shape (..., in2_features), the axes before the last as in x1.
        weight: W, of shape (out_features, in1_features, in2_features).
        bias: b, of shape (out_features,), or None.

    Returns:
        y, of shape (..., out_features).

    >>> import portanet
    >>> x = portanet.asarray([1.0, 2.0])
    >>> portanet.nn.functional.bilinear(x, x, portanet.ones((1, 2, 2)))
    tensor([9.])
    """
    a, b, w = raw_of(input1), raw_of(input2), raw_of(weight)
    if w.ndim != 3:
        raise ValueError(
            f"bilinear: the weight must have shape (out_features, in1_features, in2_features), saw {tuple(w.shape)}."
        )
    out, in1, in2 = w.shape
    for which, x, length in (("first", a, in1), ("second", b, in2)):
        if x.ndim == 0 or x.shape[-1] != length:
            raise ValueError(
                f"Bilinear({in1}, {in2}): the {which} input has shape {tuple(x.shape)}; its last axis is not {length}."
            )
    if tuple(a.shape[:-1]) != tuple(b.shape[:-1]):
        raise ValueError(
            f"Bilinear: inputs of shapes {tuple(a.shape)} and {tuple(b.shape)} differ before the last axis."
        )
    require_dtype("Bilinear", input1, weight, bias)
    require_dtype("Bilinear", input2, weight)
    xp = common_namespace(input1, input2, weight, bias)
    rows = xp.reshape(xp.permute_dims(weight, (1, 0, 2)), (in1, out * in2))
    half = xp.reshape(xp.matmul(input1, rows), (*a.shape[:-1], out, in2))  # x1 W, one row for each k
    y = xp.sum(half * xp.expand_dims(input2, axis=-2), axis=-1)
    return y if bias is None else y + bias
