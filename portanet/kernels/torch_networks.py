"""Linear maps, ReLU and cross entropy for PyTorch tensors: its own functions, and those its gradients are made of."""

from __future__ import annotations

from typing import Any

import torch

from portanet.kernels.generic import nn as generic
from portanet.library import namespace_of

__all__ = [
    "column_sums", "linear", "relu", "relu_backward", "softmax_cross_entropy", "softmax_cross_entropy_backward",
]  # fmt: skip

_aten = torch.ops.aten
_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}  # PyTorch's numbers


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    return torch.nn.functional.linear(x, weight, bias)


def relu(x: Any) -> Any:
    return torch.relu(x)


def relu_backward(g: Any, y: Any) -> Any:
    return _aten.threshold_backward.default(g, y, 0)


def column_sums(x: Any) -> Any:
    return torch.sum(x, tuple(range(x.ndim - 1))) if x.ndim > 1 else x


# ---------------------------------------------------------------------------------------------------------------------
# Cross entropy.


def softmax_cross_entropy(x: Any, target: Any, *, ignore_index: int, reduction: str) -> tuple[Any, Any]:
    # On a GPU PyTorch's own ends the process at a target that names no class.
    if x.device.type == "cpu":
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        logs = torch.log_softmax(rows, 1)
        try:
            losses, _ = _aten.nll_loss_forward.default(
                logs, target.reshape(-1).to(torch.int64), None, _REDUCTIONS[reduction], ignore_index
            )
        except IndexError:  # which the definition says in more words
            pass
        else:
            if reduction == "none":
                losses = losses.add_(0.0).reshape(target.shape)  # so that no loss reads -0
            p = torch.exp(logs)
            return losses, p if x.ndim == 2 else p.reshape(x.shape)
    how: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
    return generic.softmax_cross_entropy(namespace_of(x), x, target, **how)


def softmax_cross_entropy_backward(g: Any, p: Any, target: Any, *, ignore_index: int, reduction: str) -> Any:
    if p.device.type == "cpu":
        rows, t = (p if p.ndim == 2 else p.reshape(-1, p.shape[-1])), target.reshape(-1).to(torch.int64)
        kept = t.ne(ignore_index)
        total = kept.sum().to(p.dtype)
        # -g at the classes that are right, else 0; what is added makes the sum of each row 0.
        gx = _aten.nll_loss_backward.default(
            g.reshape(-1) if reduction == "none" else g, rows, t, None, _REDUCTIONS[reduction], ignore_index, total
        )
        gx = torch.addcmul(gx, rows, gx.sum(1, keepdim=True), value=-1)
        return gx if p.ndim == 2 else gx.reshape(p.shape)
    how: dict[str, Any] = {"ignore_index": ignore_index, "reduction": reduction}
    return generic.softmax_cross_entropy_backward(namespace_of(p), g, p, target, **how)
