"""NAdam: Adam that looks ahead along its momentum, as Nesterov does."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_fraction, require_nonnegative
from portanet.optim.moments import moments, shrunk
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["NAdam"]


def nadam_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    momentum_decay: float,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> tuple[Any, State]:
    """One step of NAdam for one array.

    ::

        p <- p - lr weight_decay p               decoupled;  else  g <- g + weight_decay p
        t <- t + 1
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g**2
        mu(t) = beta1 (1 - 0.96**(t momentum_decay) / 2)
        P <- P mu(t)                             (P = 1 before the first step)
        n = (1 - mu(t)) g / (1 - P) + mu(t + 1) m / (1 - P mu(t + 1))
        p <- p - lr n / (sqrt(v / (1 - beta2**t)) + eps)
    """
    p, g = shrunk(p, g, lr, weight_decay, decoupled_weight_decay, maximize)
    t, m, v, state = moments(xp, p, g, state, betas)
    mu, ahead = [betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1)]
    product = state.get("mu_product", 1.0) * mu
    n = (1 - mu) / (1 - product) * g + ahead / (1 - product * ahead) * m
    root = (1 - betas[1] ** t) ** 0.5
    return p - lr * root * n / (xp.sqrt(v) + eps * root), {**state, "mu_product": product}


class NAdam(Optimizer):
    """NAdam: `Adam` with Nesterov's momentum, whose coefficient mu grows with the steps.

    ::

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g**2
        mu(t) = beta1 (1 - 0.96**(t momentum_decay) / 2),     P(t) = mu(1) mu(2) ... mu(t)
        n = (1 - mu(t)) g / (1 - P(t)) + mu(t + 1) m / (1 - P(t + 1))
        p <- p - lr n / (sqrt(v / (1 - beta2**t)) + eps)

    Dozat, "Incorporating Nesterov momentum into Adam" (ICLR workshop 2016).

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate, not negative.
        betas: how much of each running mean is kept at a step, of the gradient and of its square; in [0, 1).
        eps: keeps the division away from 0.
        weight_decay: the factor of the L2 penalty, added to the gradient.
        momentum_decay: how fast mu grows to beta1.
        decoupled_weight_decay: take the weight decay off the parameter itself, as `AdamW` does.
        maximize: go uphill.

    `portanet.compile` replays its steps on NumPy; compilers of other libraries are not given them, since the product P
    is a number beside the arrays.

    Raises:
        ValueError: ``lr``, ``eps``, ``weight_decay`` or ``momentum_decay`` is negative, or a beta is not in [0, 1).

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.NAdam([w], lr=0.5, betas=(0.0, 0.0))
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1.5], requires_grad=True)
    """

    rule = staticmethod(nadam_update)
    state_names = ("step", "exp_avg", "exp_avg_sq", "mu_product")
    state_numbers = ("mu_product",)
    untraceable = "keeps a number, mu_product, besides the count of its steps"

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
                "momentum_decay": momentum_decay,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("NAdam", group, "lr", "eps", "weight_decay", "momentum_decay")
        require_fraction("NAdam", group, "betas", 2)
