"""Attention in blocks that stay in the cache: keys along the rows, so that each sum over keys adds whole rows.

Blocks of queries see only the keys they may where attention is causal. Large batches are spread over threads. Packed
queries, keys and values without a mask go through loops that Numba compiles, to the same bits; see `_attention_loops`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from portanet import threads
from portanet.kernels.numpy._loops import loop_of
from portanet.kernels.numpy._numba import Compiled, Routine

_QUERIES = 64  # in a block, where attention is causal
_CACHED = 1 << 17  # numbers in the blocks of scores that are computed together
_MODERATE = 60.0  # e to this power, times any number of keys, is far from overflow in float32
_PORTION = 1 << 24  # multiplications that are worth a thread


def _in_single(kernel: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """``kernel`` with float16 computed in float32, and its results rounded; the logarithms of the sums are not."""

    @functools.wraps(kernel)
    def called(*args: Any, **options: Any) -> tuple[Any, ...]:
        if not any([getattr(x, "dtype", None) == np.float16 for x in args]):
            return kernel(*args, **options)
        found = kernel(*_single(args), **options)
        if kernel.__name__.endswith("_backward"):
            return tuple([None if one is None else one.astype(np.float16) for one in found])
        return found[0].astype(np.float16), found[1]

    return called


def _single(tree: Any) -> Any:
    if isinstance(tree, (tuple, list)):
        return [_single(one) for one in tree]
    return tree.astype(np.float32) if getattr(tree, "dtype", None) == np.float16 else tree


@_in_single
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
    lead, q, k, v, mask, keep = _with_four_axes(q, k, v, mask, keep)
    out, logs = np.empty((*q.shape[:3], v.shape[3]), q.dtype), np.empty(q.shape[:3], q.dtype)
    _forward(q, k, v, mask, keep, out, logs, causal, scale)
    return out.reshape(*lead, *out.shape[2:]), logs.reshape(*lead, logs.shape[2])


@_in_single
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
    lead, q, k, v, mask, keep = _with_four_axes(q, k, v, mask, keep)
    batch, heads, length, size = q.shape
    keys = k.shape[2]
    shape = (batch, heads, length, v.shape[3])
    gout = np.broadcast_to(np.zeros((), q.dtype), shape) if g[0] is None else g[0].reshape(shape)
    glogs = None if g[1] is None else g[1].reshape(shape[:3])
    found: list[Any] = [
        np.empty((batch, heads, *rest), q.dtype) for rest in ((length, size), (keys, size), (keys, shape[3]))
    ]
    gmask = np.zeros((batch, heads, length, keys), q.dtype) if through else None
    out, logs = out.reshape(shape), logs.reshape(shape[:3])
    gq, gk, gv = found
    _backward(gout, glogs, out, logs, q, k, v, mask, keep, gq, gk, gv, gmask, causal, scale)
    found.append(gmask)
    return tuple([None if one is None else one.reshape(*lead, *one.shape[2:]) for one in found])


@_in_single
def packed_attention(
    x: Any,
    mask: Any = None,
    keep: Any = None,
    *,
    heads: int,
    causal: bool = False,
    scale: float = 1.0,
    through: bool = False,
) -> tuple[Any, Any]:
    batch, length, width = x.shape
    out, logs = np.empty((batch, length, width // 3), x.dtype), np.empty((batch, heads, length), x.dtype)
    if mask is None and keep is None and _packed_forward(x, out, logs, heads, causal, scale):
        return out, logs
    q, k, v = _heads(x, heads)
    _, q, k, v, mask, keep = _with_four_axes(q, k, v, mask, keep)
    _forward(q, k, v, mask, keep, _apart(out, heads), logs, causal, scale)
    return out, logs


@_in_single
def packed_attention_backward(
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
    batch, length, _ = x.shape
    gout = np.zeros_like(out) if g[0] is None else g[0]
    gx = np.empty(x.shape, x.dtype)
    if (
        mask is None
        and keep is None
        and g[1] is None
        and _packed_backward(gout, out, logs, x, gx, heads, causal, scale)
    ):
        return gx, None
    q, k, v = _heads(x, heads)
    _, q, k, v, mask, keep = _with_four_axes(q, k, v, mask, keep)
    gmask = np.zeros((batch, heads, length, length), x.dtype) if through else None
    gq, gk, gv = _heads(gx, heads)
    gout, out = _apart(gout, heads), _apart(out, heads)
    _backward(gout, g[1], out, logs, q, k, v, mask, keep, gq, gk, gv, gmask, causal, scale)
    return gx, gmask


# ---------------------------------------------------------------------------------------------------------------------
# Compiled loops, for queries, keys and values in one array and no mask.


_forward_loops, _backward_loops = [Routine("_attention_loops", name, "fd") for name in ("forward", "backward")]


def _compiled(loops: Routine, names: Sequence[Any], heads: int, x: Any, *others: Any) -> Compiled | None:
    """``loops`` with NumPy's own loops as its first arguments; None where NumPy's calls must do."""
    types = x.dtype.char
    if not x.size or not all([one.dtype == x.dtype and one.flags.carray for one in (x, *others)]):
        return None
    own = [loop_of(name, f"{types * name.nin}->{types}") for name in names]
    batch, length, _ = x.shape
    found = None if None in own else loops.at_hand(batch * heads * length * length, x)
    return None if found is None else found.having(*own)


def _packed_forward(x: Any, out: Any, logs: Any, heads: int, causal: bool, scale: float) -> bool:
    """Fill ``out`` and ``logs``; returns whether it was done."""
    run = _compiled(_forward_loops, (np.matmul, np.exp, np.log, np.maximum), heads, x, out, logs)
    if run is None:
        return False
    batch, length, width = x.shape
    each, failed = width // 3 // heads, np.zeros(1, np.bool_)
    arrays = (x.reshape(batch, length, 3, heads, each), out.reshape(batch, length, heads, each), logs)
    how = (
        np.array(_blocks(length, length, causal)),
        causal,
        x.dtype.type(scale),
        _MODERATE,
        math.exp(-_MODERATE),
        failed,
    )
    portions = batch * length * length * width // 3 // _PORTION
    run.over(batch, portions, lambda i, j: [one[i:j] for one in arrays], *how)
    return not failed[0]


def _packed_backward(
    gout: Any, out: Any, logs: Any, x: Any, gx: Any, heads: int, causal: bool, scale: float
) -> bool:  # fmt: skip
    """Fill ``gx``; returns whether it was done."""
    run = _compiled(_backward_loops, (np.matmul, np.exp), heads, x, gout, out, logs)
    if run is None:
        return False
    batch, length, width = x.shape
    each = width // 3 // heads
    narrow, wide = (batch, length, heads, each), (batch, length, 3, heads, each)
    arrays = (gout.reshape(narrow), out.reshape(narrow), logs, x.reshape(wide), gx.reshape(wide))
    how = (np.array(_blocks(length, length, causal)[::-1]), causal, x.dtype.type(scale))
    portions = 2 * batch * length * length * width // 3 // _PORTION
    run.over(batch, portions, lambda i, j: [one[i:j] for one in arrays], *how)
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Shapes: everything as (N, heads, ...), the masks with the keys before the queries.


def _apart(x: Any, heads: int) -> Any:
    """(N, L, E) -> (N, heads, L, E / heads), a view."""
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).swapaxes(1, 2)


def _heads(x: Any, heads: int) -> list[Any]:
    """Queries, keys and values, (N, heads, L, D), as views of (N, L, 3 * heads * D)."""
    third = x.shape[2] // 3
    return [_apart(x[:, :, j * third : (j + 1) * third], heads) for j in range(3)]


def _with_four_axes(q: Any, k: Any, v: Any, mask: Any, keep: Any) -> tuple[Any, ...]:
    """The axes in front that the arrays have together, and all as (N, heads, ...); the masks turned, (N, heads, S, L)."""
    lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    if mask is not None:
        lead = np.broadcast_shapes(lead, mask.shape[:-2])
    two = (1,) * (2 - len(lead)) + lead if len(lead) < 2 else (math.prod(lead[:-1]), lead[-1])
    queries, keys = q.shape[-2], k.shape[-2]
    q, k, v = [_led(x, lead, two) for x in (q, k, v)]
    if mask is not None:
        mask = np.broadcast_to(_turned_mask(mask, q.dtype), (*lead, keys, queries)).reshape(*two, keys, queries)
    if keep is not None:
        keep = np.broadcast_to(keep, (*lead, queries, keys)).reshape(*two, queries, keys).swapaxes(2, 3)
    return lead, q, k, v, mask, keep


def _led(x: Any, lead: tuple[int, ...], two: tuple[int, ...]) -> Any:
    if x.shape[:-2] != lead:
        x = np.broadcast_to(x, (*lead, *x.shape[-2:]))
    return x if x.shape[:-2] == two else x.reshape(*two, *x.shape[-2:])


def _turned_mask(mask: Any, dtype: Any) -> Any:
    """A mask as numbers to add, the keys before the queries."""
    mask = mask if mask.ndim > 1 else mask[None]
    turned = np.ascontiguousarray(mask.swapaxes(-1, -2))
    return np.where(turned, dtype.type(0), dtype.type(-np.inf)) if turned.dtype == bool else turned


@functools.lru_cache(maxsize=8)
def _past(keys: int, queries: int, dtype: Any) -> Any:
    """1 where key i does not come after query j, else 0."""
    past = (np.arange(keys)[:, None] <= np.arange(queries)).astype(dtype)
    past.flags.writeable = False
    return past


# ---------------------------------------------------------------------------------------------------------------------
# Blocks.


def _blocks(length: int, keys: int, causal: bool) -> list[tuple[int, int, int]]:
    """(first query, last query, number of keys it may see) of each block of queries."""
    step = _QUERIES if causal else max(1, min(length, max(2 * _QUERIES, _CACHED // max(1, keys))))
    starts = range(0, length, step)
    return [(r, min(r + step, length), min(r + step, length, keys) if causal else keys) for r in starts]


def _groups(begin: int, end: int, heads: int, block: int) -> tuple[int, list[tuple[slice, slice]]]:
    """How many blocks are computed together, and of which examples and heads: each group's slices of both axes."""
    together = max(1, _CACHED // max(1, block))
    some = max(1, together // heads)
    few = min(heads, together)
    starts = itertools.product(range(begin, end, some), range(0, heads, few))
    groups = [(slice(b, min(b + some, end)), slice(h, min(h + few, heads))) for b, h in starts]
    return min(some, end - begin) * few, groups


def _score(p: Any, k: Any, turned: Any, mask: Any) -> None:
    """Fill ``p`` (n, heads, keys, queries) with k q^T + mask."""
    np.matmul(k, turned, out=p)
    if mask is not None:
        np.add(p, mask, out=p)


def _softmax(p: Any, k: Any, turned: Any, mask: Any, first: int, causal: bool) -> tuple[Any, Any]:
    """Fill ``p`` with the softmax times its sums; returns these and their logarithms.

    Where no score is large, exp overflows nowhere, and where no sum is small, nothing is lost: then, as nearly always,
    the largest score of each query need not be found and taken off.
    """
    ones = np.ones(p.shape[2], p.dtype)
    own = p[:, :, first:]  # of the keys that some of these queries must not see yet
    past = _past(own.shape[2], p.shape[3], p.dtype) if causal and own.shape[2] else None
    _score(p, k, turned, mask)
    if np.maximum.reduce(p, axis=None) <= _MODERATE:
        np.exp(p, out=p)
        if past is not None:
            np.multiply(own, past, out=own)
        total = np.matmul(ones, p)
        if np.minimum.reduce(total, axis=None) >= math.exp(-_MODERATE):
            return total, np.log(total)
        _score(p, k, turned, mask)
    if past is not None:
        np.copyto(own, -np.inf, where=past == 0)
    top = np.maximum.reduce(p, axis=2)
    top[top == -np.inf] = 0  # these queries see no key
    np.subtract(p, top[:, :, None], out=p)
    np.exp(p, out=p)
    total = np.matmul(ones, p)
    none = total == 0
    top[none], total[none] = 0, 1
    return total, top + np.log(total)


def _forward(q: Any, k: Any, v: Any, mask: Any, keep: Any, out: Any, logs: Any, causal: bool, scale: float) -> None:
    batch, heads, length, size = q.shape
    keys = k.shape[2]
    blocks = _blocks(length, keys, causal)
    if keys == 0 or length == 0:
        out[...], logs[...] = 0, 0
        return
    block = max([(last - first) * seen for first, last, seen in blocks])

    def work(begin: int, end: int) -> None:
        count, groups = _groups(begin, end, heads, block)
        buffer = np.empty(count * block, q.dtype)
        for some in groups:
            turned = np.multiply(q[some].swapaxes(2, 3), q.dtype.type(scale), order="C")
            for first, last, seen in blocks:
                rows, columns = (*some, slice(first, last)), (*some, slice(0, seen))
                part = (*columns, slice(first, last))
                shape = (*turned.shape[:2], seen, last - first)
                p = buffer[: math.prod(shape)].reshape(shape)
                added = None if mask is None else mask[part]
                total, logs[rows] = _softmax(p, k[columns], turned[:, :, :, first:last], added, first, causal)
                if keep is not None:
                    np.multiply(p, keep[part], out=p)
                summed = np.matmul(p.swapaxes(2, 3), v[columns])
                np.divide(summed, total[:, :, :, None], out=out[rows])

    threads.spread(work, batch, batch * heads * length * keys * size // _PORTION)


def _backward(
    gout: Any, glogs: Any, out: Any, logs: Any, q: Any, k: Any, v: Any, mask: Any, keep: Any,
    gq: Any, gk: Any, gv: Any, gmask: Any, causal: bool, scale: float,
) -> None:  # fmt: skip
    """Fill ``gq``, ``gk``, ``gv`` and, if it is not None, ``gmask`` (N, heads, L, S)."""
    batch, heads, length, size = q.shape
    keys = k.shape[2]
    blocks = _blocks(length, keys, causal)[::-1]  # the last sees the most keys: it sets what the others add to
    if keys == 0 or length == 0:
        for one in (gq, gk, gv):
            one[...] = 0
        return
    block = max([(last - first) * seen for first, last, seen in blocks])
    level = np.matmul(np.multiply(gout, out, order="C"), np.ones(v.shape[3], q.dtype))  # (N, heads, L)
    if glogs is not None:
        level = level - glogs
    factor = q.dtype.type(scale)

    def work(begin: int, end: int) -> None:
        count, groups = _groups(begin, end, heads, 2 * block)
        buffer = np.empty((2, count * block), q.dtype)
        for some in groups:
            turned = np.multiply(q[some].swapaxes(2, 3), factor, order="C")
            given = np.array(gout[some].swapaxes(2, 3), order="C")
            most = (*some, slice(blocks[0][2], None))
            gk[most], gv[most] = 0, 0
            for first, last, seen in blocks:
                rows, columns = (*some, slice(first, last)), (*some, slice(0, seen))
                part = (*columns, slice(first, last))
                shape = (*turned.shape[:2], seen, last - first)
                p, gs = [one[: math.prod(shape)].reshape(shape) for one in buffer]
                _score(p, k[columns], turned[:, :, :, first:last], None if mask is None else mask[part])
                np.subtract(p, logs[rows][:, :, None], out=p)
                own = p[:, :, first:]
                hides = causal and own.shape[2] > 0
                if hides:  # what is not seen may be large, and must not overflow
                    np.minimum(own, 0, out=own)
                np.exp(p, out=p)
                if hides:
                    np.multiply(own, _past(*own.shape[2:], q.dtype), out=own)
                np.matmul(v[columns], given[:, :, :, first:last], out=gs)
                if keep is not None:
                    np.multiply(gs, keep[part], out=gs)
                np.subtract(gs, level[rows][:, :, None], out=gs)
                np.multiply(gs, p, out=gs)
                if keep is not None:
                    np.multiply(p, keep[part], out=p)
                if gmask is not None:
                    gmask[(*rows, slice(0, seen))] = gs.swapaxes(2, 3)
                np.matmul(gs.swapaxes(2, 3), k[columns], out=gq[rows])
                if last == length:
                    np.matmul(p, gout[rows], out=gv[columns])
                    np.matmul(gs, q[rows], out=gk[columns])
                else:
                    gv[columns] += np.matmul(p, gout[rows])
                    gk[columns] += np.matmul(gs, q[rows])
            gq[some] *= factor
            gk[some] *= factor

    threads.spread(work, batch, 2 * batch * heads * length * keys * size // _PORTION)
