"""Scaled dot-product attention and its way back, on queries, keys and values apart or packed in one array."""

from __future__ import annotations

import math
from typing import Any


def _single(xp: Any, x: Any) -> Any:
    """``x`` in float32 where its dtype is half-width: sums of exponentials and their logarithms need more digits."""
    return xp.astype(x, xp.float32) if str(x.dtype).endswith("float16") else x


def _of_dtype(xp: Any, x: Any, like: Any) -> Any:
    return x if x.dtype == like.dtype else xp.astype(x, like.dtype)


def attention_scores(xp: Any, q: Any, k: Any, mask: Any, causal: bool, scale: float) -> Any:
    """scale q k^T (..., L, S), -inf where a query must not see a key."""
    scores = xp.matmul(q * scale, xp.matrix_transpose(k))
    hidden = xp.full_like(scores, -math.inf)
    if causal:
        seen = xp.expand_dims(xp.positions(scores, axis=-2), axis=-1) >= xp.positions(scores, axis=-1)
        scores = xp.where(seen, scores, hidden)
    if mask is None:
        return scores
    return xp.where(mask, scores, hidden) if xp.isdtype(mask.dtype, "bool") else scores + mask


def attention(
    xp: Any,
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
    """softmax(scale q k^T + mask) v, and log(sum(exp(scale q k^T + mask))), which the way back needs.

    Shapes: q (..., L, E), k (..., S, E), v (..., S, V); the results (..., L, V) and (..., L). ``mask`` broadcasts to (...,
    L, S): truth values, True where a query sees a key, or numbers that are added. ``causal``: query i sees the keys up
    to i. A query that sees no key gets zeros, and so does its sum. ``keep`` (..., L, S) multiplies the softmax: dropout.
    ``through`` says whether the way back will be asked for the cotangent of ``mask``; here it is idle. Of half-width arrays
    the products are half-width, the softmax and the logarithms are float32.
    """
    scores = _single(xp, attention_scores(xp, q, k, mask, causal, scale))
    largest = xp.max(scores, axis=-1, keepdims=True)  # taken off first: exp overflows above 88 in float32
    zero = xp.zeros_like(largest)
    largest = xp.where(largest == -math.inf, zero, largest)
    p = xp.exp(scores - largest)
    total = xp.sum(p, axis=-1, keepdims=True)
    some = total > 0
    total = xp.where(some, total, xp.ones_like(total))
    p = p / total
    logs = xp.where(some, largest + xp.log(total), zero)
    return xp.matmul(_of_dtype(xp, p if keep is None else p * keep, v), v), xp.squeeze(logs, axis=-1)


def attention_backward(
    xp: Any,
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
    """The cotangents of q, k, v and (where ``through``, else None) of ``mask``; ``g``: those of both results, or None.

    The softmax is computed anew from the logarithms of the sums, so that nothing of shape (..., L, S) is kept. With
    P the softmax, dS = P (dP - rowsum(g out)). Dao, Fu, Ermon, Rudra and Ré 2022, "FlashAttention", section 3.
    """
    gout, glogs = g
    gout = xp.zeros_like(out) if gout is None else gout
    p = xp.exp(_single(xp, attention_scores(xp, q, k, mask, causal, scale)) - xp.expand_dims(logs, axis=-1))
    gp = _single(xp, xp.matmul(gout, xp.matrix_transpose(v)))
    kept = p if keep is None else p * keep
    gp = gp if keep is None else gp * keep
    level = xp.sum(_single(xp, gout) * _single(xp, out), axis=-1, keepdims=True)
    if glogs is not None:
        level = level - xp.expand_dims(glogs, axis=-1)
    gs = p * (gp - level)
    narrow, kept = _of_dtype(xp, gs, q), _of_dtype(xp, kept, gout)
    gq = xp.matmul(narrow, k) * scale
    gk = xp.matmul(xp.matrix_transpose(narrow), q * scale)
    return gq, gk, xp.matmul(xp.matrix_transpose(kept), gout), gs if through else None


def unpacked(xp: Any, x: Any, heads: int) -> list[Any]:
    """Queries, keys and values, each (N, heads, L, E / heads), of x (N, L, 3E)."""
    batch, length, width = x.shape
    apart = xp.permute_dims(xp.reshape(x, (batch, length, 3, heads, width // (3 * heads))), (2, 0, 3, 1, 4))
    return [apart[j, ...] for j in range(3)]


def merged(xp: Any, x: Any) -> Any:
    """(N, heads, L, D) -> (N, L, heads * D)."""
    batch, heads, length, width = x.shape
    return xp.reshape(xp.permute_dims(x, (0, 2, 1, 3)), (batch, length, heads * width))


def packed_attention(
    xp: Any,
    x: Any,
    mask: Any = None,
    keep: Any = None,
    *,
    heads: int,
    causal: bool = False,
    scale: float = 1.0,
    through: bool = False,
) -> tuple[Any, Any]:
    """`attention` in several heads on queries, keys and values side by side: x (N, L, 3E) -> (N, L, E), (N, heads, L)."""
    how = {"causal": causal, "scale": scale, "through": through}
    out, logs = xp.attention(*unpacked(xp, x, heads), mask, keep, **how)
    return merged(xp, out), logs


def packed_attention_backward(
    xp: Any,
    g: Any,
    out: Any,
    logs: Any,
    x: Any,
    mask: Any = None,
    keep: Any = None,
    *,
    heads: int,
    causal: bool = False,
    scale: float = 1.0,
    through: bool = False,
) -> tuple[Any, Any]:
    """The cotangents of x and of ``mask``, as in `attention_backward`."""
    batch, length, width = out.shape
    shape, order = (batch, length, heads, width // heads), (0, 2, 1, 3)
    gout = None if g[0] is None else xp.permute_dims(xp.reshape(g[0], shape), order)
    apart = xp.permute_dims(xp.reshape(out, shape), order)
    how = {"causal": causal, "scale": scale, "through": through}
    *found, gmask = xp.attention_backward((gout, g[1]), apart, logs, *unpacked(xp, x, heads), mask, keep, **how)
    return xp.concat([merged(xp, one) for one in found], axis=-1), gmask
