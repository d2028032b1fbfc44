"""Optimizer steps in place: each block of the arrays stays in the cache until all is done with it.

Each does what the rule of its name does, bit by bit, and returns whether it could: the first step is the rule's.
Not in threads: calls this short leave each waiting for the interpreter, while BLAS's threads still look for work.
A loop that Numba compiles takes a single pass over memory, in threads; see `_numba` for where that is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.kernels.numpy._memory import space_for
from portanet.kernels.numpy._numba import Loop

BLOCK = 1 << 15  # elements: with what it is computed from and in, a block stays within the second-level cache


def sgd_update_(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> bool:
    if momentum and "momentum_buffer" not in state:
        return False

    if p.ndim and p.size <= 4 * BLOCK and not (momentum or weight_decay or maximize):  # two calls: blocks would not pay
        p -= lr * g
        return True

    arrays = [p, g, state["momentum_buffer"] if momentum else None]
    sign = -1.0 if maximize else None
    if momentum:
        numbers = [momentum, 1 - dampening if dampening else None, momentum if nesterov else None]
    else:
        numbers = [None, None, None]
    if _sgd.over(arrays, [lr, sign, weight_decay or None, *numbers]):
        return True

    def update(s: Any, t: Any, p: Any, g: Any, b: Any = None) -> None:
        g = np.negative(g, out=t) if maximize else g
        if weight_decay:
            g = np.add(g, np.multiply(weight_decay, p, out=s), out=t)
        if momentum:
            np.multiply(b, momentum, out=b)
            np.add(b, g if not dampening else np.multiply(1 - dampening, g, out=s), out=b)
            g = np.add(g, np.multiply(momentum, b, out=s), out=t) if nesterov else b
        np.subtract(p, np.multiply(lr, g, out=s), out=p)

    _in_blocks(update, *[x for x in arrays if x is not None])
    return True


@Loop
def _sgd(p: Any, g: Any, b: Any, lr: Any, sign: Any, decay: Any, kept: Any, share: Any, ahead: Any) -> None:
    for i in range(p.size):
        d = g[i]
        if sign is not None:
            d = sign * d
        if decay is not None:
            d = d + decay * p[i]
        if b is not None:
            if share is None:
                b[i] = b[i] * kept + d
            else:
                b[i] = b[i] * kept + share * d
            d = b[i] if ahead is None else d + ahead * b[i]
        p[i] = p[i] - lr * d


def adam_update_(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> bool:
    if "step" not in state or (amsgrad and "max_exp_avg_sq" not in state):
        return False
    beta1, beta2 = betas
    t = state["step"] = state["step"] + 1
    root = (1 - beta2**t) ** 0.5
    rate, floor = lr / (1 - beta1**t) * root, eps * root

    arrays = [p, g, state["exp_avg"], state["exp_avg_sq"], state["max_exp_avg_sq"] if amsgrad else None]
    sign = -1.0 if maximize else None
    shrink = 1 - lr * weight_decay if weight_decay and decoupled_weight_decay else None
    decay = weight_decay if weight_decay and not decoupled_weight_decay else None
    if _adam.over(arrays, [beta1, 1 - beta1, beta2, 1 - beta2, rate, floor, sign, shrink, decay]):
        return True

    def update(s: Any, t: Any, p: Any, g: Any, m: Any, v: Any, u: Any = None) -> None:
        g = np.negative(g, out=t) if maximize else g
        if shrink is not None:
            np.multiply(p, shrink, out=p)
        elif decay is not None:
            g = np.add(g, np.multiply(decay, p, out=s), out=t)
        np.multiply(m, beta1, out=m)
        np.add(m, np.multiply(1 - beta1, g, out=s), out=m)
        np.multiply(v, beta2, out=v)
        np.multiply(np.multiply(g, g, out=s), 1 - beta2, out=s)
        np.add(v, s, out=v)
        if amsgrad:
            v = np.maximum(u, v, out=u)
        np.add(np.sqrt(v, out=s), floor, out=s)
        np.divide(np.multiply(rate, m, out=t), s, out=s)
        np.subtract(p, s, out=p)

    _in_blocks(update, *[x for x in arrays if x is not None])
    return True


@Loop
def _adam(
    p: Any, g: Any, m: Any, v: Any, u: Any,
    beta1: Any, rest1: Any, beta2: Any, rest2: Any, rate: Any, floor: Any, sign: Any, shrink: Any, decay: Any,
) -> None:  # fmt: skip
    for i in range(p.size):
        d, x = g[i], p[i]
        if sign is not None:
            d = sign * d
        if shrink is not None:
            x = x * shrink
        if decay is not None:
            d = d + decay * x
        m[i] = m[i] * beta1 + rest1 * d
        v[i] = v[i] * beta2 + d * d * rest2
        w = v[i]
        if u is not None:
            w = u[i] if u[i] >= w or u[i] != u[i] else w  # nan, as NumPy's maximum, where either is
            u[i] = w
        p[i] = x - rate * m[i] / (math.sqrt(w) + floor)


def _in_blocks(update: Callable[..., None], *arrays: Any) -> None:
    """Call ``update`` with scratch memory for two arrays and with the same stretch of each array, for all stretches."""
    first = arrays[0]
    if first.ndim == 0:  # of these NumPy's results are numbers, which cannot be written to
        update(*np.empty((2, 1), first.dtype), *[x.reshape(1) for x in arrays])
    elif first.size <= BLOCK or not all([x.flags.c_contiguous for x in arrays]):
        update(*np.empty_like(first, shape=(2, *first.shape)), *arrays)
    else:
        scratch = space_for("scratch", (2, BLOCK), first.dtype)
        flat = [x.reshape(-1) for x in arrays]
        for i in range(0, first.size, BLOCK):
            stretch = [x[i : i + BLOCK] for x in flat]
            update(*scratch[:, : len(stretch[0])], *stretch)
