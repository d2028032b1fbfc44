"""Attention in several heads, between linear maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from portanet.kernels.generic.attention import attention_scores, unpacked
from portanet.nn.functional._checks import common_namespace, dtype_of, raw_of, require_dtype
from portanet.nn.functional.attention import dropout_factors
from portanet.nn.functional.linear import linear

__all__ = ["multi_head_attention_forward"]


def multi_head_attention_forward(
    query: Any,
    key: Any,
    value: Any,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Any = None,
    k_proj_weight: Any = None,
    v_proj_weight: Any = None,
    static_k: Any = None,
    static_v: Any = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    *,
    batch_first: bool = False,
) -> tuple[Any, Any]:
    """Attention in several heads: each maps queries, keys and values by weights of its own, and attends; their results,
    side by side, go through a last linear map. Vaswani and others 2017, "Attention is all you need", section 3.2.2.

    Args:
        query: of shape (L, N, E), or (L, E) without a batch.
        key: of shape (S, N, K), or (S, K).
        value: of shape (S, N, V), or (S, V).
        embed_dim_to_check: E.
        num_heads: the number of heads, which divides E; each has the width D = E / num_heads.
        in_proj_weight: of shape (3E, E), for queries, keys and values, where K = V = E.
        in_proj_bias: of shape (3E,), or None.
        bias_k: of shape (1, 1, E): a key that every query sees beside the others; None: there is none.
        bias_v: its value, of shape (1, 1, E).
        add_zero_attn: whether every query sees a key of zeros, too, whose value is zeros.
        dropout_p: the probability with which a weight is set to 0 when ``training``, from 0 to below 1.
        out_proj_weight: of shape (E, E).
        out_proj_bias: of shape (E,), or None.
        training: whether dropout works.
        key_padding_mask: of shape (N, S), or (S,): truth values, True where *no* query sees a key, or numbers to add.
        need_weights: whether to return the weights.
        attn_mask: of shape (L, S) or (N * num_heads, L, S): truth values, True where a query does *not* see a key, or
            numbers to add.
        use_separate_proj_weight: whether the next three take the place of ``in_proj_weight``.
        q_proj_weight: of shape (E, E).
        k_proj_weight: of shape (E, K).
        v_proj_weight: of shape (E, V).
        static_k: of shape (N * num_heads, S, D), in place of the keys after their map.
        static_v: of shape (N * num_heads, S, D), in place of the values after theirs.
        average_attn_weights: whether the weights are averaged over the heads.
        is_causal: whether query i sees the keys up to i, which an ``attn_mask`` given as well is taken to say too.
        batch_first: whether the batch is the first axis of query, key, value and result.

    Returns:
        the result, of the shape of the query; and the weights, of shape (N, L, S) or (N, num_heads, L, S), without N
        where the query has none, S counting the keys that were added; or None. A query that sees no key gets
        ``out_proj_bias``.

    Raises:
        ValueError: shapes that do not go together.
        TypeError: an input of another dtype or library than the weights.

    >>> import portanet
    >>> x, one = portanet.asarray([[1.0], [3.0]]), portanet.ones((1, 1))
    >>> maps = (portanet.asarray([[0.0], [0.0], [1.0]]), None, None, None, False, 0.0, one, None)
    >>> y, weights = portanet.nn.functional.multi_head_attention_forward(x, x, x, 1, 1, *maps)
    >>> y  # the mean of the values, for all scores are 0
    tensor([[2.],
            [2.]])
    """
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else (in_proj_weight,)
    name = f"MultiheadAttention(embed_dim={embed_dim_to_check}, num_heads={num_heads})"
    _check(name, (query, key, value), embed_dim_to_check, num_heads, weights, out_proj_weight, batch_first)
    alone = query is key and key is value
    single = raw_of(query).ndim == 2
    xp = common_namespace(query, key, value, out_proj_weight)
    inputs = [query] if alone else [query, key, value]
    if single:
        inputs = [xp.expand_dims(x, axis=0) for x in inputs]
        if key_padding_mask is not None:
            keys = key.shape[0] if static_k is None else static_k.shape[1]
            _check_mask("key_padding_mask", key_padding_mask, query, [(keys,)])
            key_padding_mask = xp.expand_dims(key_padding_mask, axis=0)
    elif not batch_first:
        inputs = [xp.permute_dims(x, (1, 0, 2)) for x in inputs]
    q, k, v = inputs * 3 if alone else inputs
    result, found = _attended(
        xp, q, k, v, num_heads, weights, in_proj_bias, out_proj_weight, out_proj_bias, (bias_k, bias_v), add_zero_attn,
        dropout_p if training else 0.0, key_padding_mask, None if is_causal else attn_mask, is_causal, need_weights,
        (static_k, static_v),
    )  # fmt: skip
    if found is not None and average_attn_weights:
        found = xp.mean(found, axis=1)
    if single:
        return xp.squeeze(result, axis=0), None if found is None else xp.squeeze(found, axis=0)
    return (result if batch_first else xp.permute_dims(result, (1, 0, 2))), found


def _check(
    name: str,
    inputs: Sequence[Any],
    width: int,
    heads: int,
    weights: tuple[Any, ...],
    out_weight: Any,
    batch_first: bool,
) -> None:
    """Raise ValueError or TypeError unless the inputs go with the parameters and with each other."""
    if any([weight is None for weight in weights]):
        raise ValueError(f"{name}: give in_proj_weight, or with use_separate_proj_weight q_, k_ and v_proj_weight.")
    if width % heads or tuple(raw_of(out_weight).shape) != (width, width):
        raise ValueError(
            f"{name}: out_proj_weight has shape {tuple(raw_of(out_weight).shape)}; expected {(width, width)}, a multiple "
            "of num_heads."
        )
    widths = [raw_of(weight).shape[1] for weight in (weights if len(weights) == 3 else weights * 3)]
    widths[0] = width
    shapes = [tuple(raw_of(x).shape) for x in inputs]
    place = 0 if batch_first else 1
    fits = len(shapes[0]) in (2, 3) and all([len(shape) == len(shapes[0]) for shape in shapes])
    fits = fits and all([shape[-1] == length for shape, length in zip(shapes, widths, strict=True)])
    fits = fits and shapes[1][:-1] == shapes[2][:-1]
    if not fits or (len(shapes[0]) == 3 and shapes[0][place] != shapes[1][place]):
        order = "(N, L, {}), (N, S, {}), (N, S, {})" if batch_first else "(L, N, {}), (S, N, {}), (S, N, {})"
        raise ValueError(
            f"{name}: query, key and value have shapes {', '.join(map(str, shapes))}; expected {order.format(*widths)}, or "
            "all without N."
        )
    for x in inputs:
        require_dtype("MultiheadAttention", x, out_weight)


def _attended(
    xp: Any,
    query: Any,
    key: Any,
    value: Any,
    heads: int,
    in_weights: tuple[Any, ...],
    in_bias: Any,
    out_weight: Any,
    out_bias: Any,
    bias_kv: tuple[Any, Any],
    zero: bool,
    dropout_p: float,
    padding: Any,
    attn_mask: Any,
    causal: bool,
    need_weights: bool,
    static: tuple[Any, Any],
) -> tuple[Any, Any]:
    """Query (N, L, E), key (N, S, K), value (N, S, V) -> (N, L, E), and the weights (N, heads, L, S) if needed."""
    batch, length, _ = query.shape
    width = raw_of(out_weight).shape[0]
    source = key if static[0] is None else static[0]
    keys = source.shape[1]
    added = (bias_kv[0] is not None) + zero
    mask = _merged(xp, query, heads, keys, padding, attn_mask)
    if added:
        mask, causal = _widened(xp, query, source, mask, causal, added), False
    keep = dropout_factors(query, (batch, heads, length, keys + added), dropout_p)
    how: dict[str, Any] = {"causal": causal, "scale": 1 / math.sqrt(width // heads)}
    whole = len(in_weights) == 1 and query is key and key is value
    if whole and not added and static == (None, None):
        x = linear(query, in_weights[0], in_bias)
        merged, logs = xp.packed_attention(x, mask, keep, heads=heads, **how)
        q, k = unpacked(xp, x, heads)[:2] if need_weights else (None, None)
    else:
        q, k, v = _projected(xp, (query, key, value), heads, width, in_weights, in_bias, static)
        if added:
            k, v = [_with_more(xp, x, heads, bias, zero) for x, bias in zip((k, v), bias_kv, strict=True)]
        out, logs = xp.attention(q, k, v, mask, keep, **how)
        merged = xp.reshape(xp.permute_dims(out, (0, 2, 1, 3)), (batch, length, width))
    weights = None
    if need_weights:
        scores = attention_scores(xp, q, k, mask, **how)
        weights = xp.exp(scores - xp.expand_dims(logs, axis=-1))  # float32 for half-width ones
        weights = weights if weights.dtype == merged.dtype else xp.astype(weights, merged.dtype)
        weights = weights if keep is None else weights * keep
    return linear(merged, out_weight, out_bias), weights


def _projected(
    xp: Any, inputs: Any, heads: int, width: int, weights: Any, bias: Any, static: tuple[Any, Any]
) -> list[Any]:
    """Queries, keys and values, each (N, heads, L, D), by a linear map each, or as they are given."""
    found = []
    for j, (x, given) in enumerate(zip(inputs, (None, *static), strict=True)):
        if given is not None:
            found.append(_given(xp, "static_v" if j == 2 else "static_k", given, x.shape[0], heads, width // heads))
            continue
        rows = slice(j * width, (j + 1) * width)
        weight = weights[0][rows, :] if len(weights) == 1 else weights[j]
        y = linear(x, weight, None if bias is None else bias[rows])
        y = xp.reshape(y, (*x.shape[:2], heads, width // heads))
        found.append(xp.permute_dims(y, (0, 2, 1, 3)))
    return found


def _given(xp: Any, what: str, x: Any, batch: int, heads: int, width: int) -> Any:
    if x.ndim != 3 or x.shape[0] != batch * heads or x.shape[2] != width:
        raise ValueError(
            f"MultiheadAttention: {what} has shape {tuple(x.shape)}, expected {(batch * heads, 'S', width)}: (N * num_heads, "
            "S, E / num_heads)."
        )
    return xp.reshape(x, (batch, heads, x.shape[1], width))


def _with_more(xp: Any, x: Any, heads: int, bias: Any, zero: bool) -> Any:
    """Keys or values (N, heads, S, D) with the one that the bias is, and one of zeros, behind them."""
    batch, _, _, width = x.shape
    parts = [x]
    if bias is not None:
        parts.append(xp.broadcast_to(xp.reshape(bias, (1, heads, 1, width)), (batch, heads, 1, width)))
    if zero:
        parts.append(xp.zeros_like(x[:, :, :1, :]))
    return xp.concat(parts, axis=2)


# -------------------------------------------------------------------------------------------------------------- masks


def _merged(xp: Any, q: Any, heads: int, keys: int, padding: Any, attn: Any) -> Any:
    """Both masks as one that broadcasts to (N, heads, L, S): True where a query sees a key, or numbers to add."""
    batch, length = q.shape[:2]
    masks = []
    if padding is not None:
        _check_mask("key_padding_mask", padding, q, [(batch, keys)])
        masks.append(xp.reshape(padding, (batch, 1, 1, keys)))
    if attn is not None:
        _check_mask("attn_mask", attn, q, [(length, keys), (batch * heads, length, keys)])
        lead = (1, 1) if attn.ndim == 2 else (batch, heads)
        masks.append(xp.reshape(attn, (*lead, length, keys)))
    if not masks:
        return None
    if all([_is_bool(mask) for mask in masks]):
        seen = [xp.logical_not(mask) for mask in masks]
        return seen[0] if len(seen) == 1 else xp.logical_and(*seen)
    added = [_as_numbers(xp, xp.logical_not(mask), q) if _is_bool(mask) else mask for mask in masks]
    return added[0] if len(added) == 1 else added[0] + added[1]


def _widened(xp: Any, q: Any, k: Any, mask: Any, causal: bool, added: int) -> Any:
    """``mask`` for ``added`` keys more, which every query sees; where ``causal``, it says that too."""
    if causal:
        seen = xp.expand_dims(xp.positions(q, axis=1), axis=1) >= xp.positions(k, axis=1)
        if mask is None:
            mask = seen
        else:
            mask = xp.logical_and(seen, mask) if _is_bool(mask) else mask + _as_numbers(xp, seen, q)
    if mask is None:
        return None
    column = mask[..., :1]
    more = xp.ones_like(column) if _is_bool(mask) else xp.zeros_like(column)
    return xp.concat([mask, *[more] * added], axis=-1)


def _is_bool(mask: Any) -> bool:
    return dtype_of(raw_of(mask)).name == "bool"


def _as_numbers(xp: Any, seen: Any, like: Any) -> Any:
    """Truth values as numbers to add: -inf where they hide a key."""
    zeros = xp.zeros_like(seen, dtype=like.dtype)
    return xp.where(seen, zeros, xp.full_like(zeros, -math.inf))


def _check_mask(what: str, mask: Any, q: Any, shapes: list[tuple[int, ...]]) -> None:
    if tuple(raw_of(mask).shape) not in shapes:
        raise ValueError(
            f"MultiheadAttention: {what} has shape {tuple(mask.shape)}, expected {' or '.join(map(str, shapes))}."
        )
    if not _is_bool(mask):
        require_dtype(f"MultiheadAttention's {what}", mask, q)
