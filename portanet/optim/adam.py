"""Adam: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_fraction, require_nonnegative
from portanet.optim.moments import moments, shrunk
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["Adam"]


def adam_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> tuple[Any, State]:
    """One step of Adam, or with ``decoupled_weight_decay`` of AdamW, for one array.

    ::

        p <- p - lr weight_decay p               decoupled;  else  g <- g + weight_decay p
        t <- t + 1
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g**2
        u <- max(u, v)  with amsgrad, else v
        p <- p - lr m / (1 - beta1**t) / (sqrt(u / (1 - beta2**t)) + eps)
    """
    p, g = shrunk(p, g, lr, weight_decay, decoupled_weight_decay, maximize)
    t, m, v, state = moments(xp, p, g, state, betas)
    if amsgrad:
        u = state.get("max_exp_avg_sq")
        v = v if u is None else xp.maximum(u, v)
        state["max_exp_avg_sq"] = v
    # The corrections are numbers, so they cost nothing: the root of the second stands before the fraction and by eps.
    root = (1 - betas[1] ** t) ** 0.5
    rate = lr / (1 - betas[0] ** t) * root
    return p - rate * m / (xp.sqrt(v) + eps * root), state


class Adam(Optimizer):
    """Adam: each element steps by the running mean of its gradient over the root of that of its square.

    ::

        t <- t + 1
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g**2
        p <- p - lr m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)

    Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR 2015), algorithm 1; ``amsgrad`` puts the largest
    v so far in the place of v: Reddi, Kale and Kumar, "On the convergence of Adam and beyond" (ICLR 2018).

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate, not negative.
        betas: how much of each running mean is kept at a step, of the gradient and of its square; in [0, 1).
        eps: keeps the division away from 0.
        weight_decay: the factor of the L2 penalty, added to the gradient.
        amsgrad: divide by the root of the largest running mean that was seen.
        maximize: go uphill.
        decoupled_weight_decay: take the weight decay off the parameter itself, which is `AdamW`.

    Raises:
        ValueError: ``lr``, ``eps`` or ``weight_decay`` is negative, or a beta is not in [0, 1).

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.Adam([w], lr=0.5)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1.5], requires_grad=True)
    """

    rule = staticmethod(adam_update)
    state_names = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative(type(self).__name__, group, "lr", "eps", "weight_decay")
        require_fraction(type(self).__name__, group, "betas", 2)
