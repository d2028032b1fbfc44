"""The VJP of layer normalisation: a joint one, as all cotangents need the standardised input."""

from __future__ import annotations

from typing import Any


def _layer_norm(
    xp: Any, g: Any, y: Any, x: Any, weight: Any = None, bias: Any = None, *, axes: int, eps: float
) -> tuple[Any, Any, Any]:
    found: tuple[Any, Any, Any] = xp.layer_norm_backward(g, x, weight, axes=axes, eps=eps)
    return found


VJPS: dict[str, Any] = {"layer_norm": _layer_norm}
