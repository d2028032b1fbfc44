"""Stochastic gradient descent, with momentum where it is asked for."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_nonnegative
from portanet.optim.moments import downhill
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["SGD"]


def sgd_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> tuple[Any, State]:
    """One step of SGD for one array.

    ::

        g <- g + weight_decay p
        b <- momentum b + (1 - dampening) g      (b = g at the first step)
        g <- g + momentum b  with nesterov, else b
        p <- p - lr g
    """
    g = downhill(p, g, weight_decay, maximize)
    if momentum:
        b = state.get("momentum_buffer")
        b = g if b is None else momentum * b + (1 - dampening) * g
        state = {"momentum_buffer": b}
        g = g + momentum * b if nesterov else b
    return p - lr * g, state


class SGD(Optimizer):
    r"""Stochastic gradient descent.

    ::

        g <- grad + weight_decay p              (-grad with maximize)
        b <- momentum b + (1 - dampening) g     (b = g at the first step)
        p <- p - lr b                           (g + momentum b in place of b with nesterov)

    The momentum is Polyak's (1964), in the form of Sutskever, Martens, Dahl and Hinton, "On the importance of
    initialization and momentum in deep learning" (ICML 2013), with the learning rate outside the buffer, as PyTorch
    has it.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate, not negative.
        momentum: how much of the last step's direction is kept; 0 for plain gradient descent.
        dampening: how much of the new gradient is held back from the buffer.
        weight_decay: the factor of the L2 penalty, added to the gradient.
        nesterov: look ahead along the momentum; needs a momentum and no dampening.
        maximize: go uphill.

    Raises:
        ValueError: ``lr``, ``momentum`` or ``weight_decay`` is negative, or ``nesterov`` without momentum or with
            dampening.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.SGD([w], lr=0.25)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1. ], requires_grad=True)
    """

    rule = staticmethod(sgd_update)
    state_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("SGD", group, "lr", "momentum", "weight_decay")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                f"SGD: nesterov=True with momentum={group['momentum']} and dampening={group['dampening']}; it needs a "
                "momentum above 0, for example 0.9, and dampening=0."
            )
