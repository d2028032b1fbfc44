"""RAdam: Adam that divides by the running mean square only when enough steps stand behind it."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_fraction, require_nonnegative
from portanet.optim.moments import moments, shrunk
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["RAdam"]


def radam_update(
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
    decoupled_weight_decay: bool,
) -> tuple[Any, State]:
    """One step of RAdam for one array.

    ::

        p <- p - lr weight_decay p               decoupled;  else  g <- g + weight_decay p
        t <- t + 1
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g**2
        R = 2 / (1 - beta2) - 1
        r = R - 2 t beta2**t / (1 - beta2**t)
        l = sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)) sqrt(1 - beta2**t) / (sqrt(v) + eps)  if r > 5,  else 1
        p <- p - lr l m / (1 - beta1**t)
    """
    p, g = shrunk(p, g, lr, weight_decay, decoupled_weight_decay, maximize)
    t, m, v, state = moments(xp, p, g, state, betas)
    rate = lr / (1 - betas[0] ** t)
    most = 2 / (1 - betas[1]) - 1
    now = most - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if now <= 5:
        return p - rate * m, state
    rectified = ((now - 4) * (now - 2) * most / ((most - 4) * (most - 2) * now) * (1 - betas[1] ** t)) ** 0.5
    return p - rate * rectified * m / (xp.sqrt(v) + eps), state


class RAdam(Optimizer):
    """RAdam: `Adam` that is plain momentum for the first steps, and then scales its steps by how well v is known.

    ::

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g**2
        R = 2 / (1 - beta2) - 1,     r = R - 2 t beta2**t / (1 - beta2**t)
        l = sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)) sqrt(1 - beta2**t) / (sqrt(v) + eps)  if r > 5,  else 1
        p <- p - lr l m / (1 - beta1**t)

    Liu, Jiang, He, Chen, Liu, Gao and Han, "On the variance of the adaptive learning rate and beyond" (ICLR 2020),
    algorithm 2; as in PyTorch it begins to divide at r = 5.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate, not negative.
        betas: how much of each running mean is kept at a step, of the gradient and of its square; in [0, 1).
        eps: keeps the division away from 0.
        weight_decay: the factor of the L2 penalty, added to the gradient.
        decoupled_weight_decay: take the weight decay off the parameter itself, as `AdamW` does.
        maximize: go uphill.

    `portanet.compile` replays its steps on NumPy; compilers of other libraries are not given them, since the rule
    branches on the count of steps.

    Raises:
        ValueError: ``lr``, ``eps`` or ``weight_decay`` is negative, or a beta is not in [0, 1).

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.RAdam([w], lr=0.25)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1. ], requires_grad=True)
    """

    rule = staticmethod(radam_update)
    state_names = ("step", "exp_avg", "exp_avg_sq")
    untraceable = "branches on the count of its steps"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("RAdam", group, "lr", "eps", "weight_decay")
        require_fraction("RAdam", group, "betas", 2)
