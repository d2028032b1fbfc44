"""Steps of half-width parameters on copies of them in float32, which keep what rounding would lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.optim.state import State

__all__ = ["MASTER"]

MASTER = "master"  # the name of the copy among the state of a parameter


def is_half(xp: Any, x: Any) -> bool:
    """Whether an array is of a half-width floating dtype."""
    return xp.dtypes[x.dtype].name in ("float16", "bfloat16")


def through_master(
    xp: Any, updated: Callable[..., tuple[Any, State]], p: Any, g: Any, state: State, options: dict[str, Any]
) -> tuple[Any, State]:
    """One step of the copy by ``updated``, with gradient and state in float32; and the parameter, which is it rounded."""
    wide = xp.raw_dtype("float32")
    rest = {name: value for name, value in state.items() if name != MASTER}
    master = state[MASTER] if MASTER in state else xp.astype(p, wide)
    new, rest = updated(master, xp.astype(g, wide), rest, options)
    return xp.astype(new, p.dtype), {**rest, MASTER: new}
