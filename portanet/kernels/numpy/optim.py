"""Optimizer steps in place: each block of the arrays stays in the cache until all is done with it.

Each does what the rule of its name does, bit by bit, and returns whether it could: the first step is the rule's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import threads

BLOCK = 1 << 15  # elements: with its temporaries a block stays within the second-level cache
SPREAD = 1 << 18  # elements from which a second thread pays


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

    def update(p: Any, g: Any, b: Any = None) -> None:
        if maximize:
            g = -g
        if weight_decay:
            g = g + weight_decay * p
        if momentum:
            b *= momentum
            b += (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        p -= lr * g

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

    def update(p: Any, g: Any, m: Any, v: Any, u: Any = None) -> None:
        if maximize:
            g = -g
        if weight_decay and decoupled_weight_decay:
            p *= 1 - lr * weight_decay
        elif weight_decay:
            g = g + weight_decay * p
        s = (1 - beta1) * g
        m *= beta1
        m += s
        np.multiply(g, g, out=s)
        s *= 1 - beta2
        v *= beta2
        v += s
        if amsgrad:
            v = np.maximum(u, v, out=u)
        np.sqrt(v, out=s)
        s += floor
        np.divide(rate * m, s, out=s)
        p -= s

    names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")
    _in_blocks(update, p, g, *[state[name] for name in names])
    return True


def _in_blocks(update: Callable[..., None], *arrays: Any) -> None:
    size = arrays[0].size
    if arrays[0].ndim == 0:  # of these NumPy's results are numbers, which cannot be written to
        update(*[x.reshape(1) for x in arrays])
    elif size <= BLOCK or not all([x.flags.c_contiguous for x in arrays]):
        update(*arrays)
    else:
        _spread(update, [x.reshape(-1) for x in arrays], size)


def _spread(update: Callable[..., None], flat: list[Any], size: int) -> None:
    def portion(start: int, stop: int) -> None:
        for i in range(start, stop, BLOCK):
            update(*[x[i : min(i + BLOCK, stop)] for x in flat])

    if size < SPREAD:
        portion(0, size)
        return
    step = max(SPREAD // 4, -(-size // (8 * threads.usable())))
    threads.run([lambda i=i: portion(i, min(i + step, size)) for i in range(0, size, step)])  # type: ignore[misc]
