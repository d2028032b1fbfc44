"""Optimizer steps in place: each block of the arrays stays in the cache until all is done with it.

Each does what the rule of its name does, bit by bit, and returns whether it could: the first step is the rule's.
Not in threads: calls this short leave each waiting for the interpreter, while BLAS's threads still look for work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.kernels.numpy._memory import space_for

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

    def update(s: Any, t: Any, p: Any, g: Any, b: Any = None) -> None:
        g = np.negative(g, out=t) if maximize else g
        if weight_decay:
            g = np.add(g, np.multiply(weight_decay, p, out=s), out=t)
        if momentum:
            np.multiply(b, momentum, out=b)
            np.add(b, g if not dampening else np.multiply(1 - dampening, g, out=s), out=b)
            g = np.add(g, np.multiply(momentum, b, out=s), out=t) if nesterov else b
        np.subtract(p, np.multiply(lr, g, out=s), out=p)

    _in_blocks(update, p, g, *([state["momentum_buffer"]] if momentum else []))
    return True


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

    def update(s: Any, t: Any, p: Any, g: Any, m: Any, v: Any, u: Any = None) -> None:
        g = np.negative(g, out=t) if maximize else g
        if weight_decay and decoupled_weight_decay:
            np.multiply(p, 1 - lr * weight_decay, out=p)
        elif weight_decay:
            g = np.add(g, np.multiply(weight_decay, p, out=s), out=t)
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

    names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")
    _in_blocks(update, p, g, *[state[name] for name in names])
    return True


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
