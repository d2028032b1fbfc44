"""Adafactor: Adam's second moment of a matrix kept as one row and one column."""

from __future__ import annotations

import math
from typing import Any

from portanet.optim.checks import require_nonnegative, require_real
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["Adafactor"]


def adafactor_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    beta2_decay: float,
    eps: tuple[float | None, float],
    d: float,
    weight_decay: float,
    maximize: bool,
) -> tuple[Any, State]:
    """One step of Adafactor for one array.

    ::

        t <- t + 1,   b = t**beta2_decay
        a = max(eps2, rms(p)) min(lr, 1 / sqrt(t))
        p <- p - lr weight_decay p
        r <- (1 - b) r + b mean(g**2 over the columns),   c <- (1 - b) c + b mean(g**2 over the rows)
        v = r c / max(mean(r), eps1)             (fewer than two axes:  v <- (1 - b) v + b g**2)
        u = g / sqrt(max(v, eps1**2))
        p <- p - a u / max(1, rms(u) / d)
    """
    if maximize:
        g = -g
    eps1 = xp.finfo(p.dtype).eps if eps[0] is None else eps[0]
    t = state.get("step", 0) + 1
    b = t**beta2_decay
    size = _rms(xp, p)
    size = xp.maximum(size, xp.zeros_like(size) + eps[1])
    # As arrays: a compiler has the count and the rate as such.
    rate = size * xp.minimum(xp.zeros_like(size) + lr, xp.zeros_like(size) + t**-0.5)
    p = p * (1 - lr * weight_decay) if weight_decay else p
    square = g * g
    if p.ndim > 1:
        row, column = _mean(xp, square, -1), _mean(xp, square, -2)
        row = (1 - b) * state.get("row_var", xp.zeros_like(row)) + b * row
        column = (1 - b) * state.get("col_var", xp.zeros_like(column)) + b * column
        mean = _mean(xp, row, -2)
        v = row * column / xp.maximum(mean, xp.zeros_like(mean) + eps1)
        state = {"step": t, "row_var": row, "col_var": column}
    else:
        v = (1 - b) * state.get("variance", xp.zeros_like(p)) + b * square
        state = {"step": t, "variance": v}
    u = g / xp.sqrt(xp.maximum(v, xp.zeros_like(v) + eps1 * eps1))
    excess = _rms(xp, u) / d
    return p - rate / xp.maximum(xp.ones_like(excess), excess) * u, state


def _mean(xp: Any, x: Any, axis: int) -> Any:
    """The mean over an axis, which is kept; 0 where there are no elements."""
    return xp.sum(x, axis=axis, keepdims=True) / max(1, x.shape[axis])


def _rms(xp: Any, x: Any) -> Any:
    """The root mean square of all elements, with the axes kept; 0 where there are none."""
    return xp.sqrt(xp.sum(x * x, keepdims=True) / max(1, math.prod(x.shape)))


class Adafactor(Optimizer):
    """Adafactor: of a matrix of n rows and m columns it remembers n + m numbers, where Adam remembers 2 n m.

    ::

        b = t**beta2_decay
        r <- (1 - b) r + b mean(g**2 over the columns),   c <- (1 - b) c + b mean(g**2 over the rows)
        v = r c / mean(r)                        (fewer than two axes:  v <- (1 - b) v + b g**2)
        u = g / sqrt(v)
        p <- p - max(eps2, rms(p)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / d)

    Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost" (ICML 2018), algorithm 4 without
    momentum; as in PyTorch, with a learning rate and a decoupled weight decay. The last two axes are the rows and
    columns.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the largest relative step, not negative.
        beta2_decay: the power of the step by which the running means forget, not positive.
        eps: (eps1, eps2): eps1 keeps the division away from 0, None for the dtype's own rounding; eps2 is the smallest
            size that a parameter counts as having.
        d: the root mean square that an update may have.
        weight_decay: the share of the parameter, times ``lr``, that is taken off at each step.
        maximize: go uphill.

    Raises:
        ValueError: a hyperparameter is out of its range.
        TypeError: a parameter is complex.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.ones((2, 3)).requires_grad_()
    >>> optimizer = optim.Adafactor([w], lr=0.5)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([[0.5, 0.5, 0.5],
            [0.5, 0.5, 0.5]], requires_grad=True)
    >>> optimizer.state[w]["row_var"].shape, optimizer.state[w]["col_var"].shape
    ((2, 1), (1, 3))
    """

    rule = staticmethod(adafactor_update)
    state_names = ("step", "row_var", "col_var", "variance")
    elementwise = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("Adafactor", group, "lr", "weight_decay")
        if not group["beta2_decay"] <= 0:
            raise ValueError(f"Adafactor: beta2_decay={group['beta2_decay']}; it must be 0 or less.")
        eps = group["eps"]
        if len(eps) != 2 or not (eps[0] is None or eps[0] >= 0) or not eps[1] >= 0:
            raise ValueError(f"Adafactor: eps={eps}; expected two numbers, 0 or more; the first may be None.")
        if not group["d"] >= 1:
            raise ValueError(f"Adafactor: d={group['d']}; it must be 1 or more.")
        require_real("Adafactor", group)

    def state_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, *shape[-1:])}
