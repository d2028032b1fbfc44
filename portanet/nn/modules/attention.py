"""Attention in several heads, with the linear maps around it."""

from __future__ import annotations

from typing import Any

from portanet.namespace import empty
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.module import Module
from portanet.nn.modules.linear import Linear
from portanet.nn.parameter import Parameter
from portanet.tensor import Tensor

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention in several heads: each maps queries, keys and values by weights of its own, and attends; their results,
    side by side, go through a last linear map. Vaswani and others 2017, "Attention is all you need", section 3.2.2.

    Args:
        embed_dim: E, the length of the last axis of the queries and of the result; ``num_heads`` divides it.
        num_heads: the number of heads, each of width E / num_heads.
        dropout: the probability with which each weight is set to 0 in training, from 0 to below 1.
        bias: whether the linear maps add a bias.
        add_bias_kv: whether every query sees one more key and value, which are parameters.
        add_zero_attn: whether every query sees one more key and value of zeros.
        kdim: the length of the last axis of the keys; None: E.
        vdim: that of the values; None: E.
        batch_first: whether the batch is the first axis instead of the second.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: query (L, N, E), key (S, N, kdim), value (S, N, vdim), or without N; with ``batch_first`` N comes first. It
    returns the result, of the shape of the query, and the weights, averaged over the heads (N, L, S) or not (N, heads, L,
    S), or None without ``need_weights``. Masks: ``key_padding_mask`` (N, S), ``attn_mask`` (L, S) or (N * heads, L, S); truth
    values, True where a query must *not* see a key, or numbers that are added. ``is_causal``: query i sees the keys up to
    i, which an ``attn_mask`` given as well is taken to say too. Parameters: ``in_proj_weight`` (3E, E), or where kdim or
    vdim differ ``q_proj_weight`` (E, E), ``k_proj_weight`` (E, kdim) and ``v_proj_weight`` (E, vdim), at the start
    uniform as by Glorot; ``in_proj_bias`` (3E,), 0 at the start; with ``add_bias_kv`` ``bias_k`` and ``bias_v`` (1, 1, E),
    normal as by Glorot; ``out_proj``, a Linear. See `portanet.nn.functional.multi_head_attention_forward`.

    Raises:
        ValueError: an argument out of range; an input or a mask of another shape.
        TypeError: an input of another dtype or library than the parameters.

    >>> import portanet
    >>> layer = portanet.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = portanet.ones((3, 5, 8))
    >>> y, weights = layer(x, x, x, is_causal=True)
    >>> y.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: embed_dim must be a positive multiple of num_heads, saw embed_dim={embed_dim}, "
                f"num_heads={num_heads}."
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"MultiheadAttention: dropout must be a probability from 0 to below 1, saw {dropout}.")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        alike = self.kdim == embed_dim and self.vdim == embed_dim
        apart = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        shapes: dict[str, Any] = {name: None if alike else (embed_dim, size) for name, size in apart.items()}
        shapes["in_proj_weight"] = (3 * embed_dim, embed_dim) if alike else None
        shapes["in_proj_bias"] = (3 * embed_dim,) if bias else None
        shapes |= dict.fromkeys(("bias_k", "bias_v"), (1, 1, embed_dim) if add_bias_kv else None)
        for name, shape in shapes.items():
            value = None if shape is None else Parameter(empty(shape, device=device, dtype=dtype))
            self.register_parameter(name, value)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights in front anew, and set the biases to 0."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        given = (query, key, value, key_padding_mask, attn_mask)
        alone = query is key and key is value
        query, key, value, padding, attn_mask = [x if x is None else _tensor(x) for x in given]
        if alone:
            key = value = query
        return F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight, self.in_proj_bias, self.bias_k,
            self.bias_v, self.add_zero_attn, self.dropout, self.out_proj.weight, self.out_proj.bias, self.training,
            padding, need_weights, attn_mask, self.in_proj_weight is None, self.q_proj_weight,
            self.k_proj_weight, self.v_proj_weight, None, None, average_attn_weights, is_causal,
            batch_first=self.batch_first,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)
