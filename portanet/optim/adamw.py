"""AdamW: Adam whose weight decay acts on the parameter itself and not through the gradient."""

from __future__ import annotations

from typing import Any

from portanet.optim.adam import Adam

__all__ = ["AdamW"]


class AdamW(Adam):
    """Adam with decoupled weight decay: before each step of `Adam`, p <- p - lr weight_decay p.

    Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019), algorithm 2, with the schedule
    multiplier inside ``lr``, as PyTorch has it.

    Args:
        params: an iterable of Tensors, of (name, Tensor) pairs, or of dicts that each describe a group (`Optimizer`).
        lr: the learning rate, not negative.
        betas: how much of each running mean is kept at a step, of the gradient and of its square; in [0, 1).
        eps: keeps the division away from 0.
        weight_decay: the share of the parameter, times ``lr``, that is taken off at each step.
        amsgrad: divide by the root of the largest running mean that was seen.
        maximize: go uphill.

    Raises:
        ValueError: ``lr``, ``eps`` or ``weight_decay`` is negative, or a beta is not in [0, 1).

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = optim.AdamW([w], lr=0.5, weight_decay=0.5)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.25, -1.  ], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)
