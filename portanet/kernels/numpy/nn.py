"""Kernels of networks, with the fewest passes over memory that NumPy allows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import threads
from portanet.kernels.generic import nn as generic
from portanet.kernels.numpy._memory import in_order
from portanet.kernels.numpy._mkl import mkl
from portanet.kernels.numpy._numba import Loop
from portanet.kernels.numpy._products import product, sums
from portanet.library import namespace_of
from portanet.plan.recorded import takes_out, whole

_LARGE = 1 << 15  # numbers from which on a loop that Numba compiles takes less time, with what leads there


def relu(x: Any) -> Any:
    return _large_relu(x) if x.size >= _LARGE and x.dtype.char in "fd" else np.maximum(x, 0)


@takes_out
def _large_relu(x: Any, out: Any = None) -> Any:
    y = np.empty_like(x) if out is None else out
    if y.strides != x.strides or not _relu.over([in_order(y), in_order(x)], []):
        np.maximum(x, 0, out=y)
    return y


@Loop
def _relu(portion: int, portions: int, ys: Any, xs: Any) -> None:
    here = slice(portion * xs.size // portions, (portion + 1) * xs.size // portions)
    x, y = xs[here], ys[here]
    for i in range(x.size):
        y[i] = x[i] if x[i] > 0 or x[i] != x[i] else 0  # nan, as NumPy's maximum


def relu_backward(g: Any, y: Any) -> Any:
    # y is positive, 0 or nan. A product is ten times as fast as a choice, whose branches no processor foresees.
    large = y.size >= _LARGE and g.dtype == y.dtype and y.dtype.char in "fd"
    return _large_relu_backward(g, y) if large else np.multiply(g, np.not_equal(y, 0))


@takes_out
def _large_relu_backward(g: Any, y: Any, out: Any = None) -> Any:
    gx = np.empty_like(g) if out is None else out
    alike = gx.strides == g.strides == y.strides  # so that the axes are in one order
    if not alike or not _relu_backward.over([in_order(gx), in_order(g), in_order(y)], []):
        np.multiply(g, np.not_equal(y, 0), out=gx)
    return gx


@Loop
def _relu_backward(portion: int, portions: int, gxs: Any, gs: Any, ys: Any) -> None:
    here = slice(portion * ys.size // portions, (portion + 1) * ys.size // portions)
    gx, g, y = gxs[here], gs[here], ys[here]
    for i in range(y.size):
        gx[i] = g[i] * (y[i] != 0)


_TALL = 1024  # rows from which on a product is cut into portions of rows, each a task of ours


def _is_tall(rows: Any, weight: Any) -> bool:
    """Whether a product is to be spread over our own threads and not over BLAS's.

    Sequences and images have many rows, and between their products other work is spread. BLAS's threads look for more
    work long after a product, on the cores that our own would use; so they are better left asleep. MKL's are.
    """
    tall = rows.ndim == 2 and len(rows) >= _TALL and rows.dtype == weight.dtype and rows.dtype.char in "fd"
    return tall and mkl() is None


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    # All axes but the last as one: one large product is faster than many small ones.
    rows = x.reshape(-1, x.shape[-1]) if x.ndim > 2 and x.shape[-1] else x
    if _is_tall(rows, weight):
        y = _tall(rows, weight.T, bias)
    else:
        y = product(rows, weight.T) if rows.ndim == 2 else np.matmul(rows, weight.T)
        if bias is not None:
            y += bias  # into the array just made: half the memory traffic
    return y if y.ndim == x.ndim else y.reshape(*x.shape[:-1], y.shape[-1])


@whole
def _tall(x: Any, weight: Any, bias: Any) -> Any:
    """x W + b by portions of rows, each with its bias while it is in the cache."""
    y = np.empty((x.shape[0], weight.shape[1]), x.dtype)
    bias = None if bias is None else bias.astype(x.dtype, copy=False)

    def work(first: int, last: int) -> None:
        part = product(x[first:last], weight, y[first:last])
        if bias is not None:
            np.add(part, bias, out=part)

    threads.spread(work, len(x), len(x) // (_TALL // 2))
    return y


def linear_backward(g: Any, x: Any, weight: Any, *, wanted: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    if x.ndim > 2 and x.size and weight.size:
        rows, given = g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1])
        of_x, of_weight, of_bias = linear_backward(rows, given, weight, wanted=wanted)
        return None if of_x is None else of_x.reshape(x.shape), of_weight, of_bias
    if x.ndim != 2 or g.size == 0:
        return generic.linear_backward(namespace_of(g), g, x, weight, wanted=wanted)
    if _is_tall(g, weight) and x.dtype == g.dtype:
        return _tall_backward(g, x, weight, wanted)
    of_x = product(g, weight) if wanted[0] else None
    of_weight = product(g.T, x) if wanted[1] else None
    return of_x, of_weight, column_sums(g) if wanted[-1] and len(wanted) == 3 else None


@whole
def _tall_backward(g: Any, x: Any, weight: Any, wanted: tuple[bool, ...]) -> tuple[Any, Any, Any]:
    found: list[Any] = [None, None, None]
    tasks: list[Callable[[], Any]] = []
    if wanted[0]:
        of_x = found[0] = np.empty(x.shape, g.dtype)
        for first, last in threads.cut(len(g), len(g) // (_TALL // 2)):
            tasks.append(functools.partial(product, g[first:last], weight, of_x[first:last]))
    parts: list[Any] = []
    if wanted[1]:
        stretches = threads.cut(len(g), len(g) // _TALL)
        parts = list(np.empty((len(stretches), *weight.shape), g.dtype))
        for part, (first, last) in zip(parts, stretches, strict=True):
            tasks.append(functools.partial(product, g[first:last].T, x[first:last], part))
    if len(wanted) == 3 and wanted[2]:
        of_bias = found[2] = np.empty(weight.shape[0], g.dtype)
        tasks.append(lambda: np.copyto(of_bias, column_sums(g)))
    threads.run(tasks)
    if parts:
        found[1] = parts[0]  # always the same sums, with any number of threads
        for part in parts[1:]:
            found[1] += part
    return found[0], found[1], found[2]


@functools.lru_cache(maxsize=32)
def _ones(count: int, dtype: Any) -> Any:
    ones = np.ones(count, dtype)
    ones.flags.writeable = False
    return ones


def column_sums(x: Any) -> Any:
    if x.dtype.char not in "fd" or 0 in x.shape:
        return np.add.reduce(x, axis=tuple(range(x.ndim - 1)))
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    return sums(_ones(rows.shape[0], x.dtype), rows)  # BLAS: half the time of a sum over so short an axis


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
