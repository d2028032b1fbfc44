"""RMSprop: steps divided by the running root mean square of the gradient."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_fraction, require_nonnegative
from portanet.optim.moments import downhill
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["RMSprop"]


def rmsprop_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    maximize: bool,
) -> tuple[Any, State]:
    """One step of RMSprop for one array.

    ::

        g <- g + weight_decay p
        v <- alpha v + (1 - alpha) g**2
        a <- alpha a + (1 - alpha) g             and  w = v - a**2  with centered, else  w = v
        b <- momentum b + g / (sqrt(w) + eps)
        p <- p - lr b
    """
    g = downhill(p, g, weight_decay, maximize)
    zero = xp.zeros_like(p)
    v = alpha * state.get("square_avg", zero) + (1 - alpha) * (g * g)
    state = {**state, "step": state.get("step", 0) + 1, "square_avg": v}
    if centered:
        a = alpha * state.get("grad_avg", zero) + (1 - alpha) * g
        state["grad_avg"] = a
        v = v - a * a
        v = xp.where(v < 0, zero, v)  # a variance, but rounding can take it below 0, where the root is NaN
    b = g / (xp.sqrt(v) + eps)
    if momentum:
        b = momentum * state.get("momentum_buffer", zero) + b
        state["momentum_buffer"] = b
    return p - lr * b, state


class RMSprop(Optimizer):
    """RMSprop: each element's gradient is divided by the root of the running mean of its square.

    ::

        v <- alpha v + (1 - alpha) g**2
        b <- momentum b + g / (sqrt(v) + eps)
        p <- p - lr b

    Hinton, "Neural networks for machine learning", lecture 6 (2012); ``centered`` takes the square of the running mean
    of g off v: Graves, "Generating sequences with recurrent neural networks" (2013), equations 38 to 41. As in PyTorch,
    ``eps`` is added after the root.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate, not negative.
        alpha: how much of the running mean is kept at a step.
        eps: keeps the division away from 0.
        weight_decay: the factor of the L2 penalty, added to the gradient.
        momentum: how much of the last step is kept.
        centered: divide by the root of the running variance instead.
        maximize: go uphill.

    Raises:
        ValueError: ``lr``, ``alpha``, ``eps``, ``weight_decay`` or ``momentum`` is negative, or ``alpha`` is 1 or more.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.RMSprop([w], lr=0.5, alpha=0.75)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0., -1.], requires_grad=True)
    """

    rule = staticmethod(rmsprop_update)
    state_names = ("step", "square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("RMSprop", group, "lr", "alpha", "eps", "weight_decay", "momentum")
        require_fraction("RMSprop", group, "alpha", 1)
