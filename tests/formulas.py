"""What kernels compute, as plain formulas in NumPy: one element after another where that is plainest."""

from __future__ import annotations

import math

import numpy

from portanet.kernels.numpy import random_words


def scatter_add(x, indices, updates):
    y = x.copy()
    for index, update in zip(indices, updates, strict=True):
        y[index] += update
    return y


def set_at(x, values, *, key):
    y = x.copy()
    y[key] = values
    return y


def add_at(x, updates, *, key):
    places = numpy.arange(x.size).reshape(x.shape)[key]
    y = x.copy().reshape(-1)
    for place, update in zip(places.reshape(-1), numpy.broadcast_to(updates, places.shape).reshape(-1), strict=True):
        y[place] += update
    return y.reshape(x.shape)


def add_along_axis(x, indices, updates, axis):
    y = x.copy()
    for place in numpy.ndindex(indices.shape):
        target = list(place)
        target[axis] = indices[place]
        y[tuple(target)] += updates[place]
    return y


def linear(x, weight, bias=None):
    y = numpy.einsum("...n,mn->...m", x.astype(numpy.float64), weight.astype(numpy.float64))
    return y if bias is None else y + bias


def linear_backward(g, x, weight, *, wanted):
    wide = g.astype(numpy.float64)
    of_x = numpy.einsum("...m,mn->...n", wide, weight.astype(numpy.float64)) if wanted[0] else None
    of_weight = numpy.tensordot(wide, x.astype(numpy.float64), 2 * (range(x.ndim - 1),)) if wanted[1] else None
    return of_x, of_weight, column_sums(g) if any(wanted[2:]) else None


def softmax(x, *, axis):
    y = numpy.exp(x.astype(numpy.float64) - x.max(axis=axis, keepdims=True))
    return y / y.sum(axis=axis, keepdims=True)


def log_softmax(x, *, axis):
    x = x.astype(numpy.float64) - x.max(axis=axis, keepdims=True)
    return x - numpy.log(numpy.exp(x).sum(axis=axis, keepdims=True))


def matmul(x1, x2):
    a, b = x1.astype(numpy.float64), x2.astype(numpy.float64)
    y = numpy.einsum("...ij,...jk->...ik", a[None, :] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b)
    y = y[..., 0, :] if a.ndim == 1 else y
    return y[..., 0] if b.ndim == 1 else y


def sigmoid(x):
    return 1 / (1 + numpy.exp(-x.astype(numpy.float64)))


def sigmoid_backward(g, y):
    return g * y.astype(numpy.float64) * (1 - y.astype(numpy.float64))


def softplus(x, *, beta, threshold):
    z = beta * x.astype(numpy.float64)
    return numpy.where(z > threshold, x, numpy.log(1 + numpy.exp(z)) / beta)


def softplus_backward(g, x, *, beta, threshold):
    z = beta * x.astype(numpy.float64)
    return g * numpy.where(z > threshold, 1, 1 / (1 + numpy.exp(-z)))


def silu_backward(g, x):
    s = sigmoid(x)
    return g * (s + x * s * (1 - s))


def jacobian_of_softmax(y, axis):
    """(index of the result, index of the argument) of a row y, the axis brought to the end."""
    y = numpy.moveaxis(y.astype(numpy.float64), axis, -1)
    return y[..., :, None] * (numpy.eye(y.shape[-1]) - y[..., None, :])


def softmax_backward(g, y, *, axis):
    gx = numpy.einsum("...i,...ij->...j", numpy.moveaxis(g, axis, -1), jacobian_of_softmax(y, axis))
    return numpy.moveaxis(gx, -1, axis)


def log_softmax_backward(g, y, *, axis):
    p = numpy.moveaxis(numpy.exp(y.astype(numpy.float64)), axis, -1)[..., None, :]
    gx = numpy.einsum("...i,...ij->...j", numpy.moveaxis(g, axis, -1), numpy.eye(p.shape[-1]) - p)
    return numpy.moveaxis(gx, -1, axis)


def gelu(x, *, approximate):
    x = x.astype(numpy.float64)
    if approximate == "none":
        return x * numpy.vectorize(lambda one: 0.5 * math.erfc(-one * math.sqrt(0.5)))(x)
    return 0.5 * x * (1 + numpy.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def dropout(x, *, threshold, scale, key, counter):
    words = random_words((x.size + 7) // 8, key=key, counter=counter)[: x.size]
    return x * numpy.where(words < threshold, scale, 0).reshape(x.shape)


def silu(x):
    return x * sigmoid(x)


def pick_class(x, target, *, ignore_index):
    y = numpy.zeros(target.shape, dtype=x.dtype)
    for place in numpy.ndindex(target.shape):
        if target[place] != ignore_index:
            y[place] = x[(*place, target[place])]
    return y


def softmax_cross_entropy(x, target, *, ignore_index, reduction):
    losses = -pick_class(log_softmax(x, axis=-1), target, ignore_index=ignore_index)
    counted = (target != ignore_index).sum()
    reduced = {"none": losses, "sum": losses.sum(), "mean": losses.sum() / counted}[reduction]
    return numpy.asarray(reduced), softmax(x, axis=-1)


def softmax_cross_entropy_backward(g, p, target, *, ignore_index, reduction):
    y = numpy.zeros_like(p)
    for place in numpy.ndindex(target.shape):
        if target[place] != ignore_index:
            share = (
                g[place] if reduction == "none" else g / (1 if reduction == "sum" else (target != ignore_index).sum())
            )
            y[place] = share * (p[place] - (numpy.arange(p.shape[-1]) == target[place]))
    return y


def cross_entropy_of_scores(x, target, *, ignore_index, reduction):
    how = {"ignore_index": ignore_index, "reduction": reduction}
    return softmax_cross_entropy(x, target, **how)[0], numpy.log(numpy.exp(x).sum(axis=-1))


def cross_entropy_of_scores_backward(g, x, logs, target, *, ignore_index, reduction):
    how = {"ignore_index": ignore_index, "reduction": reduction}
    return softmax_cross_entropy_backward(g, softmax(x, axis=-1), target, **how)


def relu(x):
    return numpy.where(x > 0, x, 0)


def relu_backward(g, y):
    return numpy.where(y > 0, g, 0)


def matrix_transpose(x):
    return numpy.swapaxes(x, -1, -2)


zeros_like = numpy.zeros_like
ones_like = numpy.ones_like


def sum(x, *, axis=None, keepdims=False):
    return numpy.asarray(x.astype(numpy.float64).sum(axis=axis, keepdims=keepdims))


def max(x, *, axis=None, keepdims=False):
    return numpy.asarray(-(-x).min(axis=axis, keepdims=keepdims))


def min(x, *, axis=None, keepdims=False):
    return numpy.asarray(-(-x).max(axis=axis, keepdims=keepdims))


def clip(x, min=None, max=None):
    low = x if min is None else numpy.where(x < min, min, x)
    return (low if max is None else numpy.where(low > max, max, low)).astype(x.dtype)


def sigmoid_cross_entropy(x, target):
    p = sigmoid(x)
    return -target * numpy.log(p) - (1 - target) * numpy.log(1 - p)


def binary_cross_entropy(p, target):
    with numpy.errstate(divide="ignore"):
        log_p, log_q = (numpy.maximum(numpy.log(q.astype(numpy.float64)), -100) for q in (p, 1 - p))
    return -target * log_p - (1 - target) * log_q


def column_sums(x):
    return x.astype(numpy.float64).sum(axis=tuple(range(x.ndim - 1)))


def standardized(x, *, axis, eps):
    x = x.astype(numpy.float64)
    return (x - x.mean(axis=axis, keepdims=True)) / numpy.sqrt(x.var(axis=axis, keepdims=True) + eps)


def rows_at(weight, indices, *, padding_idx=None):
    return weight[indices]


def horner(x, coefficients):
    return numpy.polyval(coefficients.astype(numpy.float64), x)
