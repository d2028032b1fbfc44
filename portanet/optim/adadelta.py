"""Adadelta: steps that have the units of the parameter, from running means of squared gradients and squared steps."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_nonnegative, require_within
from portanet.optim.moments import downhill
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["Adadelta"]


def adadelta_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> tuple[Any, State]:
    """One step of Adadelta for one array.

    ::

        g <- g + weight_decay p
        v <- rho v + (1 - rho) g**2
        d = sqrt(u + eps) / sqrt(v + eps) g
        u <- rho u + (1 - rho) d**2
        p <- p - lr d
    """
    g = downhill(p, g, weight_decay, maximize)
    zero = xp.zeros_like(p)
    u = state.get("acc_delta", zero)
    v = rho * state.get("square_avg", zero) + (1 - rho) * (g * g)
    d = xp.sqrt(u + eps) / xp.sqrt(v + eps) * g
    u = rho * u + (1 - rho) * (d * d)
    return p - lr * d, {"step": state.get("step", 0) + 1, "square_avg": v, "acc_delta": u}


class Adadelta(Optimizer):
    """Adadelta: the root mean square of past steps over that of past gradients is each element's learning rate.

    ::

        v <- rho v + (1 - rho) g**2
        d = sqrt(u + eps) / sqrt(v + eps) g
        u <- rho u + (1 - rho) d**2
        p <- p - lr d

    Zeiler, "ADADELTA: an adaptive learning rate method" (2012), algorithm 1, where ``lr`` is 1.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: a factor of the step, not negative.
        rho: how much of each running mean is kept at a step; between 0 and 1.
        eps: keeps the division away from 0, and the first steps from being 0.
        weight_decay: the factor of the L2 penalty, added to the gradient.
        maximize: go uphill.

    Raises:
        ValueError: ``lr``, ``eps`` or ``weight_decay`` is negative, or ``rho`` is not between 0 and 1.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.Adadelta([w], rho=0.0, eps=1.0)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.10557282, -1.0298575 ], requires_grad=True)
    """

    rule = staticmethod(adadelta_update)
    state_names = ("step", "square_avg", "acc_delta")

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize})

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("Adadelta", group, "lr", "eps", "weight_decay")
        require_within("Adadelta", group, "rho", 0, 1)
