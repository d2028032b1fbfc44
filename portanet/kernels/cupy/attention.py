"""Attention: products by cuBLASLt, and between them one pass over the scores, in their own memory.

In float32 kernels that keep no scores are faster where no mask hides any.

Heads that lie side by side in one array are read and written where they are, one after the other.
"""

from __future__ import annotations

import math
from typing import Any

import cupy

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._flash import attended
from portanet.kernels.cupy._flash_back import gone_back
from portanet.kernels.cupy._passes import GROUPS, PACKS, fits, name_of, packed
from portanet.kernels.cupy._products import is_stack, multiplied
from portanet.kernels.generic.attention import attention as _composed
from portanet.kernels.generic.attention import attention_backward as _composed_backward
from portanet.kernels.generic.attention import packed_attention as _composed_packed
from portanet.kernels.generic.attention import packed_attention_backward as _composed_packed_backward
from portanet.library import namespace_of

__all__ = ["attention", "attention_backward", "packed_attention", "packed_attention_backward"]

_SOURCE = Source(
    "attention",
    PACKS
    + GROUPS
    + r"""
    #define INFINITE ((A)__longlong_as_double(0x7ff0000000000000LL))

    // An array (first, second, rows, columns) by its steps in elements, 0 where it is the same along an axis.
    struct Steps { index first, second, row, column; };
    #define VIEW(name) index name##0, index name##1, index name##2, index name##3
    #define STEPS(name) Steps{name##0, name##1, name##2, name##3}

    struct Place { index first, second, row; };

    __device__ __forceinline__ index at(Steps s, Place p, index column) {
        return p.first * s.first + p.second * s.second + p.row * s.row + column * s.column;
    }

    // The number before the softmax: -inf where the key is hidden.
    struct Scores {
        const T* scores; const bool* seen; const T* added; Steps of_mask; Place place; A scale; bool causal;
        __device__ __forceinline__ A operator()(index j) const {
            if (causal && j > place.row) return -INFINITE;
            A s = (A)scores[j] * scale;
            if (seen) return seen[at(of_mask, place, j)] ? s : -INFINITE;
            return added ? s + (A)added[at(of_mask, place, j)] : s;
        }
    };

    #define ARGUMENTS \
        index rows, index columns, index second, T* scores, const bool* seen, const T* added, VIEW(mask), \
        const T* keep, VIEW(keep), double scale, bool causal
    // A block is as wide as a row needs, and each of its threads keeps up to HELD numbers of that.
    constexpr int HELD = sizeof(A) == 8 ? 4 : 8;
    #define BEGIN \
        index r = blockIdx.x, matrix = r / rows; \
        Place place = {matrix / second, matrix % second, r % rows}; \
        T* mine = scores + r * columns; \
        Scores score = {mine, seen, added, STEPS(mask), place, (A)scale, causal};

    extern "C" __global__ void __launch_bounds__(512, 1) attention(ARGUMENTS, A* logs) {
        BEGIN
        A held[HELD], largest = -INFINITE;
        #pragma unroll
        for (int k = 0; k < HELD; ++k) {
            index j = threadIdx.x + (index)blockDim.x * k;
            held[k] = j < columns ? score(j) : -INFINITE;
            largest = held[k] > largest || held[k] != held[k] ? held[k] : largest;
        }
        bool fits = columns <= (index)blockDim.x * HELD;
        if (!fits)
            for (index j = threadIdx.x + (index)blockDim.x * HELD; j < columns; j += blockDim.x) {
                A s = score(j);
                largest = s > largest || s != s ? s : largest;
            }
        largest = combined(largest, [](A a, A b) { return a != a || a > b ? a : b; });
        if (largest == -INFINITE) largest = 0;
        A sum = 0;
        #pragma unroll
        for (int k = 0; k < HELD; ++k) {
            held[k] = exp(held[k] - largest);  // 0 beyond the row
            sum += held[k];
        }
        if (!fits)
            for (index j = threadIdx.x + (index)blockDim.x * HELD; j < columns; j += blockDim.x)
                sum += exp(score(j) - largest);
        sum = total(sum);
        bool some = !(sum <= 0);  // nan passes
        A share = some ? 1 / sum : (A)0;
        #pragma unroll
        for (int k = 0; k < HELD; ++k) {
            index j = threadIdx.x + (index)blockDim.x * k;
            if (j < columns) mine[j] = (T)(held[k] * share * (keep ? (A)keep[at(STEPS(keep), place, j)] : (A)1));
        }
        if (!fits)
            for (index j = threadIdx.x + (index)blockDim.x * HELD; j < columns; j += blockDim.x)
                mine[j] = (T)(exp(score(j) - largest) * share * (keep ? (A)keep[at(STEPS(keep), place, j)] : (A)1));
        if (threadIdx.x == 0) logs[r] = some ? largest + log(sum) : (A)0;
    }

    // Scores become what multiplied the values; the cotangents of that, gp, become those of the scores times `factor`.
    extern "C" __global__ void __launch_bounds__(512) attention_backward(
        ARGUMENTS, T* gp, const A* logs, const T* gout, VIEW(gout), const T* out, VIEW(out), const A* glogs, index width,
        double factor
    ) {
        BEGIN
        A level = 0;
        for (index j = threadIdx.x; j < width; j += blockDim.x)
            level += (A)gout[at(STEPS(gout), place, j)] * (A)out[at(STEPS(out), place, j)];
        level = total(level) - (glogs ? glogs[r] : (A)0);
        A log_of_sum = logs[r];
        T* theirs = gp + r * columns;
        for (index j = threadIdx.x; j < columns; j += blockDim.x) {
            A p = exp(score(j) - log_of_sum), kept = keep ? (A)keep[at(STEPS(keep), place, j)] : (A)1;
            A g = p * ((A)theirs[j] * kept - level);
            mine[j] = (T)(p * kept);
            theirs[j] = (T)(g * (A)factor);
        }
    }
    """,
)
_HELD = 8  # as in the source, where numbers are not wider than 32 bits


def _wide(x: Any, shape: tuple[int, ...]) -> tuple[Any, tuple[int, int, int, int]]:
    """``x`` broadcast to (..., L, S), and its steps in elements when all axes before these count as two."""
    wide = cupy.broadcast_to(x, shape)
    if wide.ndim > 4:
        wide = packed(wide).reshape(-1, *shape[-3:])
    steps = [stride // wide.itemsize for stride in wide.strides]
    return wide, (*[0] * (4 - wide.ndim), *steps)


def _arguments(scores: Any, mask: Any, keep: Any, causal: bool, scale: float) -> tuple[Any, ...]:
    """What both kernels are told of the scores (..., L, S) and of what hides them or drops them."""
    seen = added = kept = None
    of_mask = of_keep = (0, 0, 0, 0)
    if mask is not None and mask.dtype == cupy.bool_:
        seen, of_mask = _wide(mask, scores.shape)
    elif mask is not None:
        added, of_mask = _wide(mask, scores.shape)
    if keep is not None:
        kept, of_keep = _wide(keep, scores.shape)
    second = scores.shape[-3] if scores.ndim > 2 else 1
    rows, columns = scores.shape[-2:]
    return rows, columns, second, scores, seen, added, *of_mask, kept, *of_keep, float(scale), bool(causal)


def _taken(q: Any, k: Any, v: Any, mask: Any, keep: Any) -> bool:
    masks = [x for x in (mask, keep) if x is not None and x.dtype != cupy.bool_]
    batch = q.shape[:-2]
    return fits(q, k, v, *masks) and k.shape[:-2] == batch and v.shape[:-2] == batch


def _of_sums(x: Any) -> Any:
    """The dtype of the logarithms of the sums: float32 for half-width ones, as rounded they would be factors of all."""
    return cupy.dtype(cupy.float32) if x.dtype.itemsize == 2 else x.dtype


def _launched(kernel: str, scores: Any, arguments: tuple[Any, ...]) -> None:
    columns = scores.shape[-1]
    threads = min(512, max(32, 1 << math.ceil(math.log2(max(1, columns / _HELD)))))
    _SOURCE.kernel(kernel, name_of[scores.dtype])((scores.size // columns,), (threads,), arguments)


def _multiplied(a: Any, b: Any, out: Any) -> None:
    """Write a b to ``out``, head by head where they do not follow each other in even steps."""
    if a.ndim != 4 or all([is_stack(x) for x in (a, b, out)]):
        multiplied(a, b, out)
    else:
        for head in range(a.shape[1]):
            multiplied(a[:, head], b[:, head], out[:, head])


def _forward(q: Any, k: Any, v: Any, mask: Any, keep: Any, out: Any, causal: bool, scale: float) -> Any:
    """Write the result of attention to ``out``; returns the logarithms of the sums."""
    logs = attended(q, k, v, out, causal, scale) if mask is None and keep is None else None
    if logs is not None:
        return logs
    scores = cupy.ndarray((*q.shape[:-1], k.shape[-2]), q.dtype)
    _multiplied(q, k.swapaxes(-1, -2), scores)
    logs = cupy.ndarray(scores.shape[:-1], _of_sums(scores))
    _launched("attention", scores, (*_arguments(scores, mask, keep, causal, scale), logs))
    _multiplied(scores, v, out)
    return logs


def _backward(
    g: Any, out: Any, logs: Any, q: Any, k: Any, v: Any, mask: Any, keep: Any, into: Any, causal: bool, scale: float,
    through: bool,
) -> Any:  # fmt: skip
    """Write the cotangents of q, k and v to the three arrays ``into``; returns those of the scores, unless scaled."""
    gout, glogs = g
    # Kernels of its own compute scores twice, which pays where half of them are hidden.
    half = causal and mask is None and keep is None
    if half and gone_back(gout, packed(glogs), out, packed(logs), q, k, v, into, causal, scale):
        return None
    scores = cupy.ndarray((*q.shape[:-1], k.shape[-2]), q.dtype)
    gp = cupy.ndarray(scores.shape, q.dtype)
    _multiplied(q, k.swapaxes(-1, -2), scores)
    _multiplied(gout, v.swapaxes(-1, -2), gp)
    # The mask's cotangent is that of the scores as they are after scaling; else both products share the factor.
    factor = 1.0 if through else scale
    rows = [part for x in (gout, out) for part in _wide(x, x.shape)]
    logs, glogs = packed(logs), packed(glogs)
    rest = (gp, logs, rows[0], *rows[1], rows[2], *rows[3], glogs, out.shape[-1], float(factor))
    _launched("attention_backward", scores, (*_arguments(scores, mask, keep, causal, scale), *rest))
    gq, gk, gv = into
    _multiplied(gp, k, gq)
    _multiplied(gp.swapaxes(-1, -2), q, gk)
    _multiplied(scores.swapaxes(-1, -2), gout, gv)
    if not through:
        return None
    for x in (gq, gk):
        x *= scale
    return gp


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
    if not _taken(q, k, v, mask, keep):
        how: dict[str, Any] = {"causal": causal, "scale": scale, "through": through}
        return _composed(namespace_of(q), q, k, v, mask, keep, **how)
    out = cupy.ndarray((*q.shape[:-1], v.shape[-1]), q.dtype)
    return out, _forward(q, k, v, mask, keep, out, causal, scale)


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
    if not (_taken(q, k, v, mask, keep) and _returned(g, out, logs)):
        how: dict[str, Any] = {"causal": causal, "scale": scale, "through": through}
        return _composed_backward(namespace_of(q), g, out, logs, q, k, v, mask, keep, **how)
    into = [cupy.ndarray(x.shape, x.dtype) for x in (q, k, v)]
    gmask = _backward(g, out, logs, q, k, v, mask, keep, into, causal, scale, through)
    return *into, gmask


def _returned(g: Any, out: Any, logs: Any) -> bool:
    return g[0] is not None and fits(g[0], out) and logs.dtype == _of_sums(out)


# ---------------------------------------------------------------------------------------------------------------------
# Queries, keys and values side by side in one array.


def _heads(x: Any, count: int, heads: int) -> list[Any]:
    """``count`` arrays (N, heads, L, E / heads) that lie side by side in x (N, L, count E), as views."""
    batch, length, width = x.shape
    apart = x.reshape(batch, length, count, heads, width // (count * heads)).transpose(2, 0, 3, 1, 4)
    return [apart[i] for i in range(count)]


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
    q, k, v = _heads(x, 3, heads)
    if not _taken(q, k, v, mask, keep):
        how: dict[str, Any] = {"heads": heads, "causal": causal, "scale": scale, "through": through}
        return _composed_packed(namespace_of(x), x, mask, keep, **how)
    out = cupy.ndarray((*x.shape[:-1], x.shape[-1] // 3), x.dtype)
    return out, _forward(q, k, v, mask, keep, _heads(out, 1, heads)[0], causal, scale)


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
    q, k, v = _heads(x, 3, heads)
    if not (_taken(q, k, v, mask, keep) and _returned(g, out, logs)):
        how: dict[str, Any] = {"heads": heads, "causal": causal, "scale": scale, "through": through}
        return _composed_packed_backward(namespace_of(x), g, out, logs, x, mask, keep, **how)
    gx = cupy.ndarray(x.shape, x.dtype)
    apart = [_heads(one, 1, heads)[0] for one in (g[0], out)]
    into = _heads(gx, 3, heads)
    gmask = _backward((apart[0], g[1]), apart[1], logs, q, k, v, mask, keep, into, causal, scale, through)
    return gx, gmask
