"""Rprop: the sign of the gradient alone, with a step size for each element that learns from changes of sign."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_nonnegative
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["Rprop"]


def rprop_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    etas: tuple[float, float],
    step_sizes: tuple[float, float],
    maximize: bool,
) -> tuple[Any, State]:
    """One step of Rprop for one array.

    ::

        a = g g'                                 (g' of the last step; 0 at first)
        s <- clip(s eta_plus,  s_min, s_max)  where a > 0      (s = lr before the first step)
             clip(s eta_minus, s_min, s_max)  where a < 0
        g <- 0                                where a < 0
        p <- p - s sign(g)
    """
    if maximize:
        g = -g
    zero = xp.zeros_like(p)
    # Signs, not their product, which may sink to 0 in float32.
    agreed = xp.sign(g) * xp.sign(state.get("prev", zero))
    size = state["step_size"] if "step_size" in state else zero + lr
    factor = xp.where(agreed > 0, zero + etas[1], xp.where(agreed < 0, zero + etas[0], zero + 1))
    size = xp.minimum(xp.maximum(size * factor, zero + step_sizes[0]), zero + step_sizes[1])
    g = xp.where(agreed < 0, zero, g)
    return p - size * xp.sign(g), {"step": state.get("step", 0) + 1, "prev": g, "step_size": size}


class Rprop(Optimizer):
    """Resilient backpropagation: each element has a step size, which grows while the sign of its gradient stays.

    ::

        s <- s eta_plus   where the gradient has the sign it had, at most s_max
        s <- s eta_minus  where it has changed, at least s_min; no step there, and none is remembered
        p <- p - s sign(g)

    Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm" (ICNN
    1993), in the variant without going back of Igel and Hüsken (2000). For whole batches, not for noisy gradients.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the step size of all elements at the start.
        etas: (eta_minus, eta_plus), on the two sides of 1.
        step_sizes: (s_min, s_max).
        maximize: go uphill.

    Raises:
        ValueError: ``lr`` is negative, or ``etas`` or ``step_sizes`` are not as they should be.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.Rprop([w], lr=0.5)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1.5], requires_grad=True)
    """

    rule = staticmethod(rprop_update)
    state_names = ("step", "prev", "step_size")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize})

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("Rprop", group, "lr")
        etas, sizes = group["etas"], group["step_sizes"]
        if len(etas) != 2 or not 0 < etas[0] < 1 < etas[1]:
            raise ValueError(
                f"Rprop: etas={etas}; expected two numbers, the first between 0 and 1, the second above 1."
            )
        if len(sizes) != 2 or not 0 <= sizes[0] <= sizes[1]:
            raise ValueError(f"Rprop: step_sizes={sizes}; expected two numbers, the smallest and the largest step.")
