"""Activations, layer normalisation and attention by PyTorch's own functions, and their ways back by its own too."""

from __future__ import annotations

from typing import Any

import torch

from portanet.kernels.generic import attention as _attention
from portanet.kernels.generic import attention_backward as _attention_backward
from portanet.kernels.generic import gelu_backward as _gelu_backward
from portanet.library import namespace_of

_aten = torch.ops.aten
_flash: Any = getattr(_aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_flash_backward: Any = getattr(_aten, "_scaled_dot_product_flash_attention_for_cpu_backward", None)

sigmoid = torch.sigmoid
silu = torch.nn.functional.silu


def gelu(x: Any, *, approximate: str) -> Any:
    return torch.nn.functional.gelu(x, approximate=approximate)


def gelu_backward(g: Any, y: Any, x: Any, *, approximate: str) -> Any:
    if approximate == "tanh":  # PyTorch's own is nan for large numbers
        return _gelu_backward(namespace_of(x), g, y, x, approximate=approximate)
    return _aten.gelu_backward(g, x, approximate=approximate)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, *, axes: int, eps: float) -> Any:
    return torch.nn.functional.layer_norm(x, x.shape[x.ndim - axes :], weight, bias, eps)


def layer_norm_backward(g: Any, x: Any, weight: Any = None, *, axes: int, eps: float) -> tuple[Any, Any, Any]:
    shape = x.shape[x.ndim - axes :]
    factor = x.new_ones(shape) if weight is None else weight
    _, mean, scale = torch.native_layer_norm(x, shape, factor, None, eps)
    wanted = [True, True, True]
    found: tuple[Any, Any, Any] = _aten.native_layer_norm_backward(
        g, x, shape, mean, scale, factor, torch.zeros_like(factor), wanted
    )
    return found


def _is_plain(q: Any, k: Any, v: Any, mask: Any, keep: Any) -> bool:
    """Whether PyTorch's blockwise attention for the CPU is made for such arrays."""
    if _flash is None or mask is not None or keep is not None or q.ndim != 4 or q.device.type != "cpu":
        return False
    alike = q.shape[:2] == k.shape[:2] == v.shape[:2] and q.shape[3] == v.shape[3]
    return alike and 0 not in q.shape and 0 not in k.shape and q.dtype in (torch.float32, torch.float64)


def attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    keep: Any = None,
    *,
    causal: bool = False,
    scale: float = 1.0,
    through: bool = False,
) -> tuple[Any, Any]:
    if not _is_plain(q, k, v, mask, keep):
        how: dict[str, Any] = {"causal": causal, "scale": scale, "through": through}
        return _attention(namespace_of(q), q, k, v, mask, keep, **how)
    out, logs = _flash(q, k, v, 0.0, causal, scale=scale)
    return out, logs


def attention_backward(
    g: Any,
    out: Any,
    logs: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    keep: Any = None,
    *,
    causal: bool = False,
    scale: float = 1.0,
    through: bool = False,
) -> tuple[Any, ...]:
    if g[1] is not None or g[0] is None or _flash_backward is None or not _is_plain(q, k, v, mask, keep):
        how: dict[str, Any] = {"causal": causal, "scale": scale, "through": through}
        return _attention_backward(namespace_of(q), g, out, logs, q, k, v, mask, keep, **how)
    return (*_flash_backward(g[0], q, k, v, out, logs, 0.0, causal, scale=scale), None)
