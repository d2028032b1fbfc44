"""What several rules have in common: which way is down, and the running means of Adam and its kin. Pure functions."""

from __future__ import annotations

from typing import Any

from portanet.optim.state import State

__all__ = ["downhill", "moments", "shrunk"]


def downhill(p: Any, g: Any, weight_decay: float, maximize: bool) -> Any:
    """The gradient of what is to fall: turned round where it is to rise, and with the gradient of the L2 penalty."""
    if maximize:
        g = -g
    return g + weight_decay * p if weight_decay else g


def shrunk(p: Any, g: Any, lr: float, weight_decay: float, decoupled: bool, maximize: bool) -> tuple[Any, Any]:
    """The parameter and its gradient, with the weight decay in the one (``decoupled``) or in the other."""
    if weight_decay and decoupled:
        p, weight_decay = p * (1 - lr * weight_decay), 0.0
    return p, downhill(p, g, weight_decay, maximize)


def moments(xp: Any, p: Any, g: Any, state: State, betas: tuple[float, float]) -> tuple[int, Any, Any, State]:
    """The count of steps and the running means of the gradient and of its square, one step on, and the new state.

    ::

        t <- t + 1
        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g**2
    """
    beta1, beta2 = betas
    if "step" not in state:
        zero = xp.zeros_like(p)
        state = {**state, "step": 0, "exp_avg": zero, "exp_avg_sq": zero}
    t = state["step"] + 1
    m = beta1 * state["exp_avg"] + (1 - beta1) * g
    v = beta2 * state["exp_avg_sq"] + (1 - beta2) * (g * g)
    return t, m, v, {**state, "step": t, "exp_avg": m, "exp_avg_sq": v}
