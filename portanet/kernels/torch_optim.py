"""Optimizer steps for PyTorch tensors, new or in place, and whether a tensor's memory may be written to.

Each does what the rule of its name does, to rounding, with sums and products as one; in place they give the same bits.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from portanet.kernels._torch_tracing import is_tracing

__all__ = ["adam_update", "adam_update_", "owns_memory", "sgd_update", "sgd_update_"]


def _holders(x: Any) -> tuple[int, int, int]:
    """How many hold a tensor, and how many its memory: views and what `detach` gives, in Python and outside of it."""
    storage = x.untyped_storage()
    return x._use_count(), sys.getrefcount(storage), torch._C._storage_Use_Count(storage._cdata)


def _counted() -> tuple[int, int, int] | None:
    try:
        return _holders(torch.empty(1))
    except AttributeError:  # another PyTorch, or another Python, may not count at all
        return None


_ALONE = _counted()  # what is counted where nobody else holds it


def owns_memory(x: Any) -> bool:
    # Memory that came from elsewhere (NumPy, DLPack, another process) cannot be resized. A compiler counts nothing.
    if _ALONE is None or type(x) is not torch.Tensor or is_tracing():
        return False
    return _holders(x) == _ALONE and bool(x.untyped_storage().resizable())


def sgd_update(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> tuple[Any, dict[str, Any]]:
    return _sgd(False, p, g, state, lr, momentum, dampening, weight_decay, nesterov, maximize)


def sgd_update_(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> bool:
    if momentum and "momentum_buffer" not in state:
        return False
    _sgd(True, p, g, state, lr, momentum, dampening, weight_decay, nesterov, maximize)
    return True


def _sgd(
    own: bool, p: Any, g: Any, state: Any, lr: Any, momentum: Any, dampening: Any, decay: Any, nesterov: Any, up: Any
) -> tuple[Any, dict[str, Any]]:
    """The step, written to the arrays themselves where they are one's ``own``."""
    if up:
        g = -g
    if decay:
        g = torch.add(g, p, alpha=decay)
    if momentum:
        b = state.get("momentum_buffer")
        if b is None:
            b = g
        else:
            kept = torch.mul(b, momentum, out=b if own else None)
            b = torch.add(kept, g, alpha=1 - dampening, out=b if own else None)
        state = {"momentum_buffer": b}
        g = torch.add(g, b, alpha=momentum) if nesterov else b
    if isinstance(lr, torch.Tensor):  # while a compiler traces
        return p - lr * g, state
    return torch.add(p, g, alpha=-lr, out=p if own else None), state


def adam_update(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> tuple[Any, dict[str, Any]]:
    if "step" not in state:
        zero = torch.zeros_like(p)
        state = {"step": 0, "exp_avg": zero, "exp_avg_sq": zero}
    if amsgrad and "max_exp_avg_sq" not in state:
        state = {**state, "max_exp_avg_sq": torch.zeros_like(p)}  # v is never below
    return _adam(False, p, g, state, lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay)


def adam_update_(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> bool:
    if "step" not in state or (amsgrad and "max_exp_avg_sq" not in state):
        return False
    _, new = _adam(True, p, g, state, lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay)
    state["step"] = new["step"]
    return True


def _adam(
    own: bool, p: Any, g: Any, state: Any, lr: Any, betas: Any, eps: Any, decay: Any, amsgrad: Any, up: Any, apart: Any
) -> tuple[Any, dict[str, Any]]:
    """The step, written to the arrays themselves where they are one's ``own``."""
    (beta1, beta2), t = betas, state["step"] + 1
    root = (1 - beta2**t) ** 0.5
    if up:
        g = -g
    target = p if own else None
    if decay and apart:
        p = torch.mul(p, 1 - lr * decay, out=target)
    elif decay:
        g = torch.add(g, p, alpha=decay)
    m, v = state["exp_avg"], state["exp_avg_sq"]
    m = torch.lerp(m, g, 1 - beta1, out=m if own else None)
    v = torch.addcmul(torch.mul(v, beta2, out=v if own else None), g, g, value=1 - beta2, out=v if own else None)
    state = {**state, "step": t, "exp_avg": m, "exp_avg_sq": v}
    if amsgrad:
        u = state["max_exp_avg_sq"]
        v = state["max_exp_avg_sq"] = torch.maximum(u, v, out=u if own else None)
    below = torch.sqrt(v).add_(eps * root)
    rate = lr / (1 - beta1**t) * root
    if isinstance(rate, torch.Tensor):  # while a compiler traces
        return p - rate * m / below, state
    return torch.addcdiv(p, m, below, value=-rate, out=target), state
