"""Kernels of networks, with the fewest passes over memory that NumPy allows."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from portanet.kernels.generic import nn as generic
from portanet.library import namespace_of


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def relu_backward(g: Any, y: Any) -> Any:
    # y is positive, 0 or nan. A product is ten times as fast as a choice, whose branches no processor foresees.
    return np.multiply(g, np.not_equal(y, 0))


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    # All axes but the last as one: one large product is faster than many small ones.
    rows = x.reshape(-1, x.shape[-1]) if x.ndim > 2 and x.shape[-1] else x
    y = np.dot(rows, weight.T) if rows.ndim == 2 else np.matmul(rows, weight.T)
    if bias is not None:
        y += bias  # into the array just made: half the memory traffic
    return y if y.ndim == x.ndim else y.reshape(*x.shape[:-1], y.shape[-1])


def linear_backward(g: Any, x: Any, weight: Any, *, wanted: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    if x.ndim != 2 or g.size == 0:
        return generic.linear_backward(namespace_of(g), g, x, weight, wanted=wanted)
    of_x = np.dot(g, weight) if wanted[0] else None
    of_weight = np.dot(g.T, x) if wanted[1] else None
    return of_x, of_weight, column_sums(g) if wanted[-1] and len(wanted) == 3 else None


@functools.lru_cache(maxsize=32)
def _ones(count: int, dtype: Any) -> Any:
    ones = np.ones(count, dtype)
    ones.flags.writeable = False
    return ones


def column_sums(x: Any) -> Any:
    if x.dtype.char not in "fd" or 0 in x.shape:
        return np.add.reduce(x, axis=tuple(range(x.ndim - 1)))
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    return np.dot(_ones(rows.shape[0], x.dtype), rows)  # BLAS: half the time of a sum over so short an axis


# ---------------------------------------------------------------------------------------------------------------------
# Cross entropy. Where every target names a class, which is nearly always, nothing is masked.


@functools.lru_cache(maxsize=32)
def _rows(count: int) -> Any:
    rows = np.arange(count)
    rows.flags.writeable = False
    return rows


def softmax_cross_entropy(x: Any, target: Any, *, ignore_index: int, reduction: str) -> tuple[Any, Any]:
    classes, t = x.shape[-1], target.reshape(-1)
    # An index beyond the classes is found by NumPy; one below 0 it would count from the end.
    if x.size and not -classes <= ignore_index < classes and not np.minimum.reduce(t) < 0:
        rows = x if x.ndim == 2 else x.reshape(-1, classes)
        try:
            losses, p = (_by_columns if classes <= FEW else _by_rows)(rows, t)
        except IndexError:
            pass
        else:
            p = p if x.ndim == 2 else p.reshape(x.shape)
            if reduction == "none":
                return losses.reshape(target.shape), p
            loss = np.add.reduce(losses)
            return loss / t.shape[0] if reduction == "mean" else loss, p
    how: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
    return generic.softmax_cross_entropy(namespace_of(x), x, target, **how)


def _by_rows(x: Any, t: Any) -> tuple[Any, Any]:
    p = np.subtract(x, np.maximum.reduce(x, axis=1, keepdims=True))
    picked = p[_rows(t.shape[0]), t]
    np.exp(p, out=p)
    total = np.add.reduce(p, axis=1, keepdims=True)
    np.divide(p, total, out=p)
    losses = np.log(total.reshape(-1))
    np.subtract(losses, picked, out=losses)
    return losses, p


FEW = 32  # classes up to which it pays to have the examples of one class side by side: short rows are slow to reduce


def _by_columns(x: Any, t: Any) -> tuple[Any, Any]:
    p = x.T.copy()
    np.subtract(p, np.maximum.reduce(p, axis=0), out=p)
    picked = p[t, _rows(t.shape[0])]
    np.exp(p, out=p)
    total = np.add.reduce(p, axis=0)
    np.divide(p, total, out=p)
    losses = np.log(total)
    np.subtract(losses, picked, out=losses)
    return losses, p.T


def softmax_cross_entropy_backward(g: Any, p: Any, target: Any, *, ignore_index: int, reduction: str) -> Any:
    classes, t = p.shape[-1], target.reshape(-1)
    if p.size and not -classes <= ignore_index < classes:  # then what is ignored lies beyond the classes
        share = g / t.shape[0] if reduction == "mean" else g if reduction == "sum" else g.reshape(-1, 1)
        gx = np.multiply(p if p.ndim == 2 else p.reshape(-1, classes), share)
        try:
            np.subtract.at(gx, (_rows(t.shape[0]), t), share.reshape(-1) if reduction == "none" else share)
        except IndexError:
            pass
        else:
            return gx if p.ndim == 2 else gx.reshape(p.shape)
    how: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
    return generic.softmax_cross_entropy_backward(namespace_of(p), g, p, target, **how)
