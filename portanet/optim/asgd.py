"""ASGD: gradient descent with falling steps, and the average of the points it came through beside it."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_nonnegative
from portanet.optim.moments import downhill
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["ASGD"]


def asgd_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    lambd: float,
    alpha: float,
    t0: float,
    weight_decay: float,
    maximize: bool,
) -> tuple[Any, State]:
    """One step of ASGD for one array.

    ::

        g <- g + weight_decay p
        t <- t + 1
        p <- (1 - lambd eta) p - eta g           (eta = lr at the first step)
        a <- a + mu (p - a)                      (mu = 1 at the first step)
        eta <- lr / (1 + lambd lr t)**alpha
        mu <- 1 / max(1, t - t0)
    """
    g = downhill(p, g, weight_decay, maximize)
    t, eta, mu = state.get("step", 0) + 1, state.get("eta", lr), state.get("mu", 1.0)
    p = (1 - lambd * eta) * p - eta * g
    a = p if mu == 1 else state["ax"] + mu * (p - state["ax"])
    return p, {"step": t, "eta": lr / (1 + lambd * lr * t) ** alpha, "mu": 1 / max(1, t - t0), "ax": a}


class ASGD(Optimizer):
    """Averaged stochastic gradient descent: falling steps, and from step ``t0`` on the mean of all points in the state.

    ::

        p <- (1 - lambd eta) p - eta g           (eta = lr at the first step)
        a <- a + mu (p - a)                      (mu = 1 at the first step)
        eta <- lr / (1 + lambd lr t)**alpha
        mu <- 1 / max(1, t - t0)

    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992), as in Bottou's and PyTorch's
    code. The mean a is ``optimizer.state[p]["ax"]``; the parameter itself is the last point.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate at the start, not negative.
        lambd: the share of the parameter, times the learning rate, that is taken off at each step.
        alpha: the power by which the learning rate falls.
        t0: the step at which averaging begins.
        weight_decay: the factor of the L2 penalty, added to the gradient.
        maximize: go uphill.

    `portanet.compile` replays its steps on NumPy; compilers of other libraries are not given them, since eta and mu are
    numbers beside the arrays.

    Raises:
        ValueError: ``lr`` or ``weight_decay`` is negative.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0], requires_grad=True)
    >>> optimizer = optim.ASGD([w], lr=0.25, lambd=0.0, t0=0)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     portanet.sum(w * w).backward()
    ...     optimizer.step()
    >>> w, optimizer.state[w]["ax"]
    (tensor([0.25], requires_grad=True), tensor([0.25]))
    """

    rule = staticmethod(asgd_update)
    state_names = ("step", "eta", "mu", "ax")
    state_numbers = ("eta", "mu")
    untraceable = "keeps numbers, eta and mu, besides the count of its steps"

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "maximize": maximize},
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("ASGD", group, "lr", "weight_decay")
