"""The kernels of sequences on Tensors: recurrent layers, attention, and the normalisation beside it."""

from __future__ import annotations

from typing import Any

from portanet.tensor import Tensor, apply

__all__ = ["attention", "layer_norm", "lstm", "packed_attention"]


def lstm(
    x: Any,
    h0: Any,
    c0: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias_ih: Any = None,
    bias_hh: Any = None,
    *,
    reverse: bool = False,
    all_cells: bool = False,
) -> tuple[Tensor, ...]:
    """One layer of long short-term memory in one direction: all h, the last h, the last c, and what the way back needs,
    first of it, where ``all_cells``, all c."""
    args = (x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh)
    found: tuple[Tensor, ...] = apply("lstm", *args, reverse=reverse, through=_wanted(x), all_cells=all_cells)
    return found


def attention(
    q: Any, k: Any, v: Any, mask: Any = None, keep: Any = None, *, causal: bool = False, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """softmax(scale q k^T + mask) v, and the logarithms of the softmax's sums."""
    found: tuple[Tensor, Tensor] = apply(
        "attention", q, k, v, mask, keep, causal=causal, scale=scale, through=_wanted(mask)
    )
    return found


def packed_attention(
    x: Any, mask: Any = None, keep: Any = None, *, heads: int, causal: bool = False, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """`attention` in several heads on queries, keys and values that lie side by side in ``x`` (N, L, 3E)."""
    how = {"heads": heads, "causal": causal, "scale": scale}
    found: tuple[Tensor, Tensor] = apply("packed_attention", x, mask, keep, **how, through=_wanted(mask))
    return found


def layer_norm(x: Any, weight: Any = None, bias: Any = None, *, axes: int, eps: float) -> Tensor:
    """``x`` standardised over its last ``axes`` axes, then scaled and shifted."""
    found: Tensor = apply("layer_norm", x, weight, bias, axes=axes, eps=eps)
    return found


def _wanted(x: Any) -> bool:
    """Whether a cotangent of ``x`` will be asked for: rules are told where it would cost much."""
    return isinstance(x, Tensor) and x.requires_grad
