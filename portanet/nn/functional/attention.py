"""Attention: sums of values, weighted by how well each key goes with a query."""

from __future__ import annotations

import math
from typing import Any

from portanet.nn.functional._checks import common_namespace, dtype_of, raw_of, require_dtype
from portanet.nn.functional.dropout import dropout_mask
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
    enable_gqa: bool = False,
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
        enable_gqa: whether the heads, the third axis from the end, may be fewer in keys and values than in queries: each of
            theirs then serves as many neighbouring heads of the queries. Ainslie and others 2023, "GQA: training
            generalized multi-query Transformer models from multi-head checkpoints".

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
    if enable_gqa:
        _check_groups(name, shapes, q, k, v)
        if q.shape[-3] != k.shape[-3]:
            how: dict[str, Any] = {"dropout_p": dropout_p, "is_causal": is_causal, "scale": scale}
            return _in_groups(query, key, value, attn_mask, **how)
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(f"{name}: {shapes}; expected (..., L, E), (..., S, E), (..., S, V).")
    lead = _broadcast(name, shapes, *[tuple(x.shape[:-2]) for x in (q, k, v)])
    if attn_mask is not None:
        if is_causal:
            raise ValueError(f"{name}: give attn_mask or is_causal=True, not both.")
        lead = _check_mask(name, attn_mask, query, (*lead, q.shape[-2], k.shape[-2]))
    keep = dropout_factors(query, (*lead, q.shape[-2], k.shape[-2]), dropout_p)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)
    return common_namespace(query, key, value, attn_mask).attention(
        query, key, value, attn_mask, keep, causal=is_causal, scale=scale
    )[0]


def _check_groups(name: str, shapes: str, q: Any, k: Any, v: Any) -> None:
    if min(q.ndim, k.ndim, v.ndim) < 3 or k.shape[-3] != v.shape[-3] or q.shape[-3] % max(k.shape[-3], 1):
        raise ValueError(
            f"{name}(enable_gqa=True): {shapes}; expected (..., heads, L, E), (..., groups, S, E), (..., groups, S, V), the "
            "heads a multiple of the groups."
        )


def _in_groups(query: Any, key: Any, value: Any, mask: Any, **how: Any) -> Any:
    """Attention where several heads of the queries share one of keys and values: these get an axis of length 1."""
    xp = common_namespace(query, key, value, mask)
    *lead, heads, length, size = raw_of(query).shape
    groups = raw_of(key).shape[-3]
    query = xp.reshape(query, (*lead, groups, heads // groups, length, size))
    key, value = xp.expand_dims(key, axis=-3), xp.expand_dims(value, axis=-3)
    if mask is not None and mask.ndim > 2:
        *front, count, rows, columns = mask.shape
        shape = (groups, heads // groups) if count == heads else (count, 1)
        mask = xp.reshape(mask, (*front, *shape, rows, columns))
    found = scaled_dot_product_attention(query, key, value, mask, **how)
    return xp.reshape(found, (*found.shape[:-4], heads, length, found.shape[-1]))


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


def dropout_factors(like: Any, shape: tuple[int, ...], p: float) -> Any:
    """The factors that dropout multiplies the weights with, or None."""
    if not 0 <= p < 1:
        raise ValueError(f"attention: the probability of dropout must lie in [0, 1), saw {p}.")
    if p == 0:
        return None
    mask = dropout_mask(raw_of(like), shape, p)
    return Tensor(mask) if isinstance(like, Tensor) else mask
