"""Lion: the sign of a momentum, so that every element steps by the same length."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_fraction, require_nonnegative
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["Lion"]


def lion_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
    maximize: bool,
) -> tuple[Any, State]:
    """One step of Lion for one array.

    ::

        c = beta1 m + (1 - beta1) g
        p <- p - lr (sign(c) + weight_decay p)
        m <- beta2 m + (1 - beta2) g
    """
    beta1, beta2 = betas
    if maximize:
        g = -g
    m = state["exp_avg"] if "exp_avg" in state else xp.zeros_like(p)
    direction = xp.sign(beta1 * m + (1 - beta1) * g)
    return p * (1 - lr * weight_decay) - lr * direction, {"exp_avg": beta2 * m + (1 - beta2) * g}


class Lion(Optimizer):
    """Lion: every element steps by ``lr``, against the sign of a mix of its gradient and its momentum.

    ::

        c = beta1 m + (1 - beta1) g
        p <- p - lr (sign(c) + weight_decay p)
        m <- beta2 m + (1 - beta2) g

    Chen, Liang, Huang, Real, Wang, Liu, Pham, Dong, Luong, Hsieh, Lu and Le, "Symbolic discovery of optimization
    algorithms" (NeurIPS 2023), algorithm 2. They advise a learning rate 3 to 10 times smaller than that for AdamW, and
    a weight decay larger by as much. PyTorch has no Lion.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate, not negative: the length of each element's step.
        betas: the share of the momentum in the direction, and how much of the momentum is kept at a step; in [0, 1).
        weight_decay: the share of the parameter, times ``lr``, that is taken off at each step.
        maximize: go uphill.

    Raises:
        ValueError: ``lr`` or ``weight_decay`` is negative, or a beta is not in [0, 1).

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.Lion([w], lr=0.5)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1.5], requires_grad=True)
    """

    rule = staticmethod(lion_update)
    state_names = ("exp_avg",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("Lion", group, "lr", "weight_decay")
        require_fraction("Lion", group, "betas", 2)
