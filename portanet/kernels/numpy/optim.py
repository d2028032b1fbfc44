"""Optimizer steps in place: each block of the arrays stays in the cache until all is done with it.

Each does what the rule of its name does, bit by bit, and returns whether it could: the first step is the rule's.
Not in threads: calls this short leave each waiting for the interpreter, while BLAS's threads still look for work.
A loop that Numba compiles takes a single pass over memory; see `_numba` for where that is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet.kernels.numpy._memory import space_for
from portanet.kernels.numpy._numba import Loop

BLOCK = 1 << 15  # elements: with what it is computed from and in, a block stays within the second-level cache
FEW = 1 << 14  # elements up to which SGD's two calls take no longer than a compiled loop and what leads there


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
    if p.ndim and p.size <= 4 * BLOCK and not (momentum or weight_decay or maximize):  # two calls: blocks would not pay
        if p.size <= FEW or not _sgd.over([p, g, None], [lr, None, None, None, None, None]):
            p -= lr * g
        return True
    how: dict[str, Any] = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov, "maximize": maximize}
    update = sgd_update_ready(p, g, state, lr=lr, weight_decay=weight_decay, **how)
    if update is not None:
        update()
    return update is not None


def sgd_update_ready(
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
) -> Callable[[], Any] | None:
    """What does `sgd_update_` on these very arrays, as often as it is called; None where that does not."""
    if momentum and "momentum_buffer" not in state:
        return None
    plain = not (momentum or weight_decay or maximize)
    arrays = [p, g, state["momentum_buffer"] if momentum else None]
    sign = -1.0 if maximize else None
    if momentum:
        numbers = [momentum, 1 - dampening if dampening else None, momentum if nesterov else None]
    else:
        numbers = [None, None, None]
    # NumPy would make an array of the number at each call.
    rate = np.asarray(lr, p.dtype) if type(lr) in (int, float) else lr

    def update(s: Any, t: Any, p: Any, g: Any, b: Any = None) -> None:
        if maximize:
            g = np.negative(g, t)
        if weight_decay:
            g = np.add(g, np.multiply(weight_decay, p, s), t)
        if momentum:
            np.multiply(b, momentum, b)
            np.add(b, g if not dampening else np.multiply(1 - dampening, g, s), b)
            g = np.add(g, np.multiply(momentum, b, s), t) if nesterov else b
        np.subtract(p, np.multiply(rate, g, s), p)

    if plain and p.size <= FEW:
        return _in_blocks(update, p, g)
    return _Ready(_sgd, arrays, [lr, sign, weight_decay or None, *numbers], update)


@Loop  # by one thread of ours: the memory is busy with one core, and OpenBLAS's threads may still be awake
def _sgd(
    portion: int, portions: int, ps: Any, gs: Any, bs: Any,
    lr: Any, sign: Any, decay: Any, kept: Any, share: Any, ahead: Any,
) -> None:  # fmt: skip
    here = slice(portion * ps.size // portions, (portion + 1) * ps.size // portions)
    p, g = ps[here], gs[here]
    if bs is not None:
        b = bs[here]
    for i in range(p.size):
        d = g[i]
        if sign is not None:
            d = sign * d
        if decay is not None:
            d = d + decay * p[i]
        if bs is not None:
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

    _in_blocks(update, *[x for x in arrays if x is not None])()
    return True


@functools.partial(Loop, portion=1 << 18)
def _adam(
    portion: int, portions: int, ps: Any, gs: Any, ms: Any, vs: Any, us: Any,
    beta1: Any, rest1: Any, beta2: Any, rest2: Any, rate: Any, floor: Any, sign: Any, shrink: Any, decay: Any,
) -> None:  # fmt: skip
    here = slice(portion * ps.size // portions, (portion + 1) * ps.size // portions)
    p, g, m, v = ps[here], gs[here], ms[here], vs[here]
    if us is not None:
        u = us[here]
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
        if us is not None:
            w = u[i] if u[i] >= w or u[i] != u[i] else w  # nan, as NumPy's maximum, where either is
            u[i] = w
        p[i] = x - rate * m[i] / (math.sqrt(w) + floor)


class _Ready:
    """An update of the same arrays each time it is called: by Numba's loop as soon as that pays, until then in blocks."""

    def __init__(self, loop: Loop, arrays: list[Any], numbers: list[float | None], update: Callable[..., None]) -> None:
        self.loop, self.arrays, self.numbers, self.update = loop, arrays, numbers, update
        self.compiled: Callable[[], Any] | None = None
        self.in_blocks: Callable[[], Any] | None = None

    def __call__(self) -> None:
        if self.compiled is None:
            self.compiled = self.loop.bound(self.arrays, self.numbers)
        if self.compiled is not None:
            self.compiled()
            return
        if self.in_blocks is None:
            self.in_blocks = _in_blocks(self.update, *[x for x in self.arrays if x is not None])
        self.in_blocks()


def _in_blocks(update: Callable[..., None], *arrays: Any) -> Callable[[], Any]:
    """What calls ``update`` with scratch memory for two arrays and with the same stretch of each array, for all of them."""
    first = arrays[0]
    if first.ndim == 0:  # of these NumPy's results are numbers, which cannot be written to
        return functools.partial(update, *np.empty((2, 1), first.dtype), *[x.reshape(1) for x in arrays])
    if first.size <= BLOCK or not all([x.flags.c_contiguous for x in arrays]):
        return functools.partial(update, *np.empty_like(first, shape=(2, *first.shape)), *arrays)
    flat = [x.reshape(-1) for x in arrays]
    stretches = [[x[i : i + BLOCK] for x in flat] for i in range(0, first.size, BLOCK)]

    def block_by_block() -> None:
        scratch = space_for("scratch", (2, BLOCK), first.dtype)
        for stretch in stretches:
            update(*scratch[:, : len(stretch[0])], *stretch)

    return block_by_block
