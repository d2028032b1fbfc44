"""Muon: the momentum of a matrix, made orthogonal, is its step."""

from __future__ import annotations

from typing import Any

from portanet.optim.checks import require_nonnegative, require_real
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State

__all__ = ["Muon"]


def muon_update(
    xp: Any,
    p: Any,
    g: Any,
    state: State,
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool,
    ns_coefficients: tuple[float, float, float],
    eps: float,
    ns_steps: int,
    adjust_lr_fn: str | None,
) -> tuple[Any, State]:
    """One step of Muon for one matrix.

    ::

        b <- momentum b + (1 - momentum) g
        u = momentum b + (1 - momentum) g  with nesterov, else  b
        p <- p - lr weight_decay p - lr s orthogonal(u)
        s = sqrt(max(1, rows / columns))  or, to "match_rms_adamw",  0.2 sqrt(max(rows, columns))
    """
    b = state["momentum_buffer"] if "momentum_buffer" in state else xp.zeros_like(p)
    b = momentum * b + (1 - momentum) * g
    u = momentum * b + (1 - momentum) * g if nesterov else b
    rows, columns = p.shape
    if adjust_lr_fn == "match_rms_adamw":
        scale = 0.2 * max(rows, columns) ** 0.5
    else:
        scale = max(1, rows / columns) ** 0.5 if columns else 1.0
    step = orthogonal(xp, u, ns_coefficients, ns_steps, eps)
    return p * (1 - lr * weight_decay) - lr * scale * step, {"momentum_buffer": b}


def orthogonal(xp: Any, x: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """Roughly U V^T of x = U S V^T, by the iteration of Newton and Schulz::

        x <- x / norm(x)
        x <- a x + (b x x^T + c (x x^T)**2) x    some times

    The coefficients of Muon trade precision for speed: the singular values end between about 0.7 and 1.2.
    """
    a, b, c = coefficients
    tall = x.shape[0] > x.shape[1]
    if tall:  # of the two products the smaller one
        x = x.mT
    norm = xp.sqrt(xp.sum(x * x, keepdims=True))
    x = x / xp.maximum(norm, xp.zeros_like(norm) + eps)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if tall else x


class Muon(Optimizer):
    """Muon: momentum whose step is made orthogonal, so that no direction of a matrix is neglected.

    ::

        b <- momentum b + (1 - momentum) g
        u = momentum b + (1 - momentum) g  with nesterov, else  b
        p <- p - lr weight_decay p - lr s orthogonal(u)

    orthogonal(u) is roughly U V^T of the singular value decomposition u = U S V^T, by Newton and Schulz's iteration; s
    depends on the shape of the matrix. Jordan, Jin, Boza, You, Cesista, Newhouse and Bernstein, "Muon: an optimizer for
    hidden layers in neural networks" (2024). It is for the weights of hidden layers; give biases, embeddings and the
    last layer to `AdamW`. PyTorch iterates in bfloat16, which the standard does not have; here it is the dtype of the
    parameter.

    Args:
        params: an iterable of Tensors of two axes, of (name, Tensor) pairs, or of dicts that each describe a group.
        lr: the learning rate, not negative.
        weight_decay: the share of the parameter, times ``lr``, that is taken off at each step.
        momentum: how much of the running mean of the gradient is kept at a step.
        nesterov: look ahead along the momentum.
        ns_coefficients: a, b and c of the iteration x <- a x + (b x x^T + c (x x^T)**2) x.
        eps: the smallest norm that the matrix is divided by.
        ns_steps: how often it is iterated; below 100.
        adjust_lr_fn: "original" (or None), s = sqrt(max(1, rows / columns)): the step has the norm of its shape; or
            "match_rms_adamw", s = 0.2 sqrt(max(rows, columns)): the learning rate and weight decay of AdamW fit
            (Liu and others, "Muon is scalable for LLM training", 2025).

    Raises:
        ValueError: a hyperparameter is out of its range, or a parameter has not two axes.
        TypeError: a parameter is complex.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.asarray([[3.0, 0.0], [0.0, 0.5]]).requires_grad_()
    >>> optimizer = optim.Muon([w], lr=1.0, weight_decay=0.0, ns_coefficients=(1.5, -0.5, 0.0), ns_steps=20)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([[ 2. ,  0. ],
            [ 0. , -0.5]], requires_grad=True)
    """

    rule = staticmethod(muon_update)
    state_names = ("momentum_buffer",)
    elementwise = False
    texts = ("adjust_lr_fn",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("Muon", group, "lr", "weight_decay", "momentum")
        if group["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(f'Muon: adjust_lr_fn={group["adjust_lr_fn"]!r}; it is "original" or "match_rms_adamw".')
        if len(group["ns_coefficients"]) != 3:
            raise ValueError(f"Muon: ns_coefficients={group['ns_coefficients']}; expected three numbers.")
        if not 0 <= group["ns_steps"] < 100:
            raise ValueError(f"Muon: ns_steps={group['ns_steps']}; it must be 0 or more, and below 100.")
        for i, p in enumerate(group["params"]):
            if p.ndim != 2:
                raise ValueError(
                    f"Muon: parameter {i} of the group has shape {p.shape}; only matrices have an orthogonal step. Give "
                    "it to another optimizer, such as AdamW."
                )
        require_real("Muon", group)
