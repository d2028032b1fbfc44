"""Attention: sums of values, weighted by how well each key goes with a query."""

from __future__ import annotations

import math
from typing import Any

from portanet.kernels.generic.attention import attention_scores, unpacked
from portanet.nn.functional._checks import common_namespace, dtype_of, raw_of, require_dtype
from portanet.nn.functional.dropout import dropout_mask
from portanet.nn.functional.linear import linear
from portanet.tensor import Tensor

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """softmax(Q K^T scale + mask) V, the softmax over the keys. Vaswani and others 2017, "Attention is all you need".

    Args:
        query: Q, of shape (..., L, E) and a floating dtype.
        key: K, of shape (..., S, E).
        value: V, of shape (..., S, V). The axes in front broadcast.
        attn_mask: of a shape that broadcasts to (..., L, S): truth values, True where a query sees a key, or numbers of
            the dtype of the query, which are added; gradients reach these.
        dropout_p: the probability with which each weight is set to 0, the others being divided by 1 - p.
        is_causal: whether query i sees the keys 0 to i alone; not together with ``attn_mask``.
        scale: what the products are multiplied with; None: 1 / sqrt(E).

    Returns:
        of shape (..., L, V). A query that sees no key gets zeros.

    Raises:
        ValueError: the shapes do not go together; both a mask and ``is_causal``.
        TypeError: a dtype that is not the query's.

    >>> import portanet
    >>> x = portanet.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> portanet.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)
    tensor([[1.        , 0.        ],
            [0.33023843, 0.66976154]])
    """
    name = "scaled_dot_product_attention"
    q, k, v = raw_of(query), raw_of(key), raw_of(value)
    if "real floating" not in dtype_of(q).kind:
        raise TypeError(f"{name}: expected a real floating query, saw {dtype_of(q)}; cast it.")
    require_dtype(f"{name}'s key", key, query)
    require_dtype(f"{name}'s value", value, query)
    shapes = f"query {tuple(q.shape)}, key {tuple(k.shape)}, value {tuple(v.shape)}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(f"{name}: {shapes}; expected (..., L, E), (..., S, E), (..., S, V).")
    lead = _broadcast(name, shapes, *[tuple(x.shape[:-2]) for x in (q, k, v)])
    if attn_mask is not None:
        if is_causal:
            raise ValueError(f"{name}: give attn_mask or is_causal=True, not both.")
        lead = _check_mask(name, attn_mask, query, (*lead, q.shape[-2], k.shape[-2]))
    keep = _keep(query, (*lead, q.shape[-2], k.shape[-2]), dropout_p)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    return common_namespace(query, key, value, attn_mask).attention(
        query, key, value, attn_mask, keep, causal=is_causal, scale=scale
    )[0]


def _broadcast(name: str, what: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    result: list[int] = [1] * max([len(shape) for shape in shapes])
    for shape in shapes:
        for i, length in enumerate(shape, start=len(result) - len(shape)):
            if result[i] == 1:
                result[i] = length
            elif length not in (1, result[i]):
                raise ValueError(f"{name}: the axes in front do not broadcast together: {what}.")
    return tuple(result)


def _check_mask(name: str, mask: Any, query: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes in front of the scores that ``mask`` is given to, whose own are ``shape``."""
    if dtype_of(raw_of(mask)).name != "bool":
        require_dtype(f"{name}'s mask", mask, query)
    full = _broadcast(name, f"mask {tuple(mask.shape)}, scores {shape}", tuple(mask.shape), shape)
    if full[-2:] != shape[-2:]:
        raise ValueError(f"{name}: the mask has shape {tuple(mask.shape)}, expected one that broadcasts to {shape}.")
    return full[:-2]


def _keep(like: Any, shape: tuple[int, ...], p: float) -> Any:
    """The factors that dropout multiplies the weights with, or None."""
    if not 0 <= p < 1:
        raise ValueError(f"attention: the probability of dropout must lie in [0, 1), saw {p}.")
    if p == 0:
        return None
    mask = dropout_mask(raw_of(like), shape, p)
    return Tensor(mask) if isinstance(like, Tensor) else mask


# ---------------------------------------------------------------------------------------------------------------------
# Several heads.


def multi_head_attention(
    query: Any,
    key: Any,
    value: Any,
    num_heads: int,
    in_weights: tuple[Any, ...],
    in_bias: Any,
    out_weight: Any,
    out_bias: Any,
    mask: Any = None,
    causal: bool = False,
    dropout_p: float = 0.0,
    need_weights: bool = False,
) -> tuple[Any, Any]:
    """Attention in ``num_heads`` heads between linear maps: query (N, L, E), key (N, S, K), value (N, S, V) -> (N, L, E).

    ``in_weights``: one (3E, E) for all three where the inputs are as wide as each other, else three (E, ...). ``mask``
    broadcasts to (N, num_heads, L, S), as in `scaled_dot_product_attention`. The second result: the weights (N,
    num_heads, L, S) if they are needed.
    """
    xp = common_namespace(query, out_weight)
    batch, length, _ = query.shape
    width = raw_of(out_weight).shape[0]
    keep = _keep(query, (batch, num_heads, length, key.shape[1]), dropout_p)
    scale = 1 / math.sqrt(width // num_heads)
    how = {"causal": causal, "scale": scale}
    if len(in_weights) == 1 and query is key and key is value:
        x = linear(query, in_weights[0], in_bias)
        merged, logs = xp.packed_attention(x, mask, keep, heads=num_heads, **how)
        q, k = unpacked(xp, x, num_heads)[:2] if need_weights else (None, None)
    else:
        q, k, v = _projected(xp, (query, key, value), num_heads, width, in_weights, in_bias)
        out, logs = xp.attention(q, k, v, mask, keep, **how)
        merged = xp.reshape(xp.permute_dims(out, (0, 2, 1, 3)), (batch, length, width))
    weights = None
    if need_weights:
        scores = attention_scores(xp, q, k, mask, causal, scale)
        weights = xp.exp(scores - xp.expand_dims(logs, axis=-1))
        weights = weights if keep is None else weights * keep
    return linear(merged, out_weight, out_bias), weights


def _projected(xp: Any, inputs: Any, heads: int, width: int, weights: Any, bias: Any) -> list[Any]:
    """Queries, keys and values, each (N, heads, L, D), by a linear map each."""
    found = []
    for j, x in enumerate(inputs):
        rows = slice(j * width, (j + 1) * width)
        weight = weights[0][rows, :] if len(weights) == 1 else weights[j]
        y = linear(x, weight, None if bias is None else bias[rows])
        y = xp.reshape(y, (*x.shape[:2], heads, width // heads))
        found.append(xp.permute_dims(y, (0, 2, 1, 3)))
    return found
