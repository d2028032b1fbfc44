"""Adamax: Adam with the largest gradient of late in the place of the running mean square."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_fraction, require_nonnegative
from portanet.optim.moments import downhill
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["Adamax"]


def adamax_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> tuple[Any, State]:
    """One step of Adamax for one array.

    ::

        g <- g + weight_decay p
        t <- t + 1
        m <- beta1 m + (1 - beta1) g
        u <- max(beta2 u, abs(g) + eps)
        p <- p - lr m / (1 - beta1**t) / u
    """
    beta1, beta2 = betas
    g = downhill(p, g, weight_decay, maximize)
    zero = xp.zeros_like(p)
    t = state.get("step", 0) + 1
    m = beta1 * state.get("exp_avg", zero) + (1 - beta1) * g
    u = xp.maximum(beta2 * state.get("exp_inf", zero), xp.abs(g) + eps)
    return p - lr / (1 - beta1**t) * m / u, {"step": t, "exp_avg": m, "exp_inf": u}


class Adamax(Optimizer):
    """Adamax: each element steps by the running mean of its gradient over the largest gradient of late.

    ::

        t <- t + 1
        m <- beta1 m + (1 - beta1) g
        u <- max(beta2 u, abs(g) + eps)
        p <- p - lr m / (1 - beta1**t) / u

    Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR 2015), algorithm 2: Adam with the maximum norm.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate, not negative.
        betas: how much is kept at a step of the running mean, and of the largest gradient; in [0, 1).
        eps: keeps the division away from 0.
        weight_decay: the factor of the L2 penalty, added to the gradient.
        maximize: go uphill.

    Raises:
        ValueError: ``lr``, ``eps`` or ``weight_decay`` is negative, or a beta is not in [0, 1).

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.Adamax([w], lr=0.5)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1.5], requires_grad=True)
    """

    rule = staticmethod(adamax_update)
    state_names = ("step", "exp_avg", "exp_inf")

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("Adamax", group, "lr", "eps", "weight_decay")
        require_fraction("Adamax", group, "betas", 2)
