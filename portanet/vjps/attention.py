"""VJPs of attention: joint ones, for the cotangents of queries, keys and values share nearly all of the work."""

from __future__ import annotations

from typing import Any


def _attention(xp: Any, g: Any, y: Any, q: Any, k: Any, v: Any, mask: Any, keep: Any, **how: Any) -> tuple[Any, ...]:
    return (*xp.attention_backward(g, y[0], y[1], q, k, v, mask, keep, **how), None)


def _packed_attention(xp: Any, g: Any, y: Any, x: Any, mask: Any, keep: Any, **how: Any) -> tuple[Any, ...]:
    return (*xp.packed_attention_backward(g, y[0], y[1], x, mask, keep, **how), None)


VJPS: dict[str, Any] = {"attention": _attention, "packed_attention": _packed_attention}
