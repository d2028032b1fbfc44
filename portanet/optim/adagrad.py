"""Adagrad: steps divided by the root of the sum of all squared gradients so far."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_nonnegative
from portanet.optim.moments import downhill
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["Adagrad"]


def adagrad_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    lr_decay: float,
    eps: float,
    weight_decay: float,
    initial_accumulator_value: float,
    maximize: bool,
) -> tuple[Any, State]:
    """One step of Adagrad for one array.

    ::

        g <- g + weight_decay p
        s <- s + g**2                            (s = initial_accumulator_value before the first step)
        p <- p - lr / (1 + t lr_decay) g / (sqrt(s) + eps)
        t <- t + 1
    """
    g = downhill(p, g, weight_decay, maximize)
    t = state.get("step", 0)
    s = state["sum"] if "sum" in state else xp.full_like(p, initial_accumulator_value)
    s = s + g * g
    return p - lr / (1 + t * lr_decay) * g / (xp.sqrt(s) + eps), {"step": t + 1, "sum": s}


class Adagrad(Optimizer):
    """Adagrad: each element's gradient is divided by the root of the sum of its squares.

    ::

        s <- s + g**2
        p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization" (JMLR 2011),
    with the diagonal alone.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate, not negative.
        lr_decay: how fast the learning rate falls with the steps.
        weight_decay: the factor of the L2 penalty, added to the gradient.
        initial_accumulator_value: what the sums begin with.
        eps: keeps the division away from 0.
        maximize: go uphill.

    Raises:
        ValueError: a hyperparameter is negative.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.Adagrad([w], lr=0.5)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1.5], requires_grad=True)
    """

    rule = staticmethod(adagrad_update)
    state_names = ("step", "sum")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("Adagrad", group, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
