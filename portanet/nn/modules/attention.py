"""Attention in several heads, with the linear maps around it."""

from __future__ import annotations

import math
from typing import Any

from portanet.dtypes import bool_
from portanet.namespace import (
    empty,
    expand_dims,
    full_like,
    logical_and,
    logical_not,
    mean,
    permute_dims,
    reshape,
    squeeze,
    where,
    zeros_like,
)
from portanet.nn import init
from portanet.nn.functional._checks import require_dtype
from portanet.nn.functional.attention import multi_head_attention
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
        add_bias_kv: only False; True is a ValueError.
        add_zero_attn: only False; True is a ValueError.
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
    uniform as by Glorot; ``in_proj_bias`` (3E,), 0 at the start; ``out_proj``, a Linear.

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
        if add_bias_kv or add_zero_attn:
            raise ValueError("MultiheadAttention: add_bias_kv and add_zero_attn are not built; leave them out.")
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.batch_first = batch_first
        alike = self.kdim == embed_dim and self.vdim == embed_dim
        apart = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        shapes: dict[str, Any] = {name: None if alike else (embed_dim, size) for name, size in apart.items()}
        shapes["in_proj_weight"] = (3 * embed_dim, embed_dim) if alike else None
        shapes["in_proj_bias"] = (3 * embed_dim,) if bias else None
        for name, shape in shapes.items():
            value = None if shape is None else Parameter(empty(shape, device=device, dtype=dtype))
            self.register_parameter(name, value)
        self.out_proj = Linear(embed_dim, embed_dim, bias, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights in front anew, and set the biases to 0."""
        for weight in self._in_weights():
            init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)

    def _in_weights(self) -> tuple[Any, ...]:
        if self.in_proj_weight is not None:
            return (self.in_proj_weight,)
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

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
        alone = query is key and key is value
        given = (query, key, value, key_padding_mask, attn_mask)
        query, key, value, padding, attn_mask = [x if x is None else _tensor(x) for x in given]
        self._check(query, key, value)
        single = query.ndim == 2
        inputs = [query] if alone else [query, key, value]
        if single:
            inputs = [expand_dims(x, axis=0) for x in inputs]
            padding = None if padding is None else expand_dims(padding, axis=0)
        elif not self.batch_first:
            inputs = [permute_dims(x, (1, 0, 2)) for x in inputs]
        q, k, v = inputs * 3 if alone else inputs
        mask = self._mask(q, k, padding, None if is_causal else attn_mask)
        result, weights = multi_head_attention(
            q, k, v, self.num_heads, self._in_weights(), self.in_proj_bias, self.out_proj.weight, self.out_proj.bias,
            mask, is_causal, self.dropout if self.training else 0.0, need_weights,
        )  # fmt: skip
        if weights is not None and average_attn_weights:
            weights = mean(weights, axis=1)
        if single:
            return squeeze(result, axis=0), None if weights is None else squeeze(weights, axis=0)
        return (result if self.batch_first else permute_dims(result, (1, 0, 2))), weights

    def _check(self, query: Any, key: Any, value: Any) -> None:
        """Raise ValueError or TypeError unless the inputs go with the parameters and with each other."""
        widths = (self.embed_dim, self.kdim, self.vdim)
        shapes = [tuple(x.shape) for x in (query, key, value)]
        place = 0 if self.batch_first else 1
        fits = len(shapes[0]) in (2, 3) and all([len(shape) == len(shapes[0]) for shape in shapes])
        fits = fits and all([shape[-1] == width for shape, width in zip(shapes, widths, strict=True)])
        fits = fits and shapes[1][:-1] == shapes[2][:-1]
        if not fits or (len(shapes[0]) == 3 and shapes[0][place] != shapes[1][place]):
            order = "(N, L, {}), (N, S, {}), (N, S, {})" if self.batch_first else "(L, N, {}), (S, N, {}), (S, N, {})"
            raise ValueError(
                f"MultiheadAttention(embed_dim={self.embed_dim}, num_heads={self.num_heads}): query, key and value have "
                f"shapes {', '.join(map(str, shapes))}; expected {order.format(*widths)}, or all without N."
            )
        for x in (query, key, value):
            require_dtype("MultiheadAttention", x, self.out_proj.weight)

    def _mask(self, q: Any, k: Any, padding: Any, attn: Any) -> Any:
        """Both masks as one that broadcasts to (N, heads, L, S): True where a query sees a key, or numbers to add."""
        batch, length, keys = q.shape[0], q.shape[1], k.shape[1]
        masks = []
        if padding is not None:
            self._check_mask("key_padding_mask", padding, q, [(batch, keys)])
            masks.append(reshape(padding, (batch, 1, 1, keys)))
        if attn is not None:
            self._check_mask("attn_mask", attn, q, [(length, keys), (batch * self.num_heads, length, keys)])
            lead = (1, 1) if attn.ndim == 2 else (batch, self.num_heads)
            masks.append(reshape(attn, (*lead, length, keys)))
        if not masks:
            return None
        if all([mask.dtype is bool_ for mask in masks]):
            seen = [logical_not(mask) for mask in masks]
            return seen[0] if len(seen) == 1 else logical_and(*seen)
        added = [_as_numbers(mask, q) for mask in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def _check_mask(self, what: str, mask: Any, q: Any, shapes: list[tuple[int, ...]]) -> None:
        if tuple(mask.shape) not in shapes:
            raise ValueError(
                f"MultiheadAttention: {what} has shape {tuple(mask.shape)}, expected {' or '.join(map(str, shapes))}."
            )
        if mask.dtype is not bool_:
            require_dtype(f"MultiheadAttention's {what}", mask, q)

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)


def _as_numbers(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers to add: -inf where truth values hide."""
    if mask.dtype is not bool_:
        return mask
    zeros = zeros_like(mask, dtype=like.dtype)
    return where(mask, full_like(zeros, -math.inf), zeros)
