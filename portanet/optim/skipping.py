"""A step that is taken back on the device, for compilers, which cannot ask the host whether to take it."""

from __future__ import annotations

from typing import Any

from portanet.library import PYTHON_SCALARS, namespace_of
from portanet.optim.masters import MASTER
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State, raw, wrapped

__all__ = ["step_unless"]


def step_unless(optimizer: Optimizer, skip: Any) -> None:
    """The step of ``optimizer``; where ``skip``, a truth value without axes, holds, parameters and state are as before.

    What the state would have been made of at a first step that is taken back is what zeros make of it. Numbers, which the
    host keeps, are counted on: the caller knows when ``skip`` is known.
    """
    before = []
    for group in optimizer.param_groups:
        options = optimizer._options(group)
        for p in group["params"]:
            if p.grad is not None:
                before.append((p, p._raw, dict(optimizer.state.get(p, {})), options))
    optimizer._step()
    for p, old, state, options in before:
        xp = namespace_of(old)
        new = optimizer.state.get(p, {})
        if new and not state:
            state = _fresh(optimizer, xp, old, options)
        p._raw = xp.where(skip, old, p._raw)
        if new:
            optimizer.state[p] = {
                name: value if type(raw(value)) in PYTHON_SCALARS else wrapped(_chosen(xp, skip, state[name], value))
                for name, value in new.items()
            }


def _fresh(optimizer: Optimizer, xp: Any, p: Any, options: dict[str, Any]) -> State:
    zeros = xp.zeros_like(p)
    _, state = optimizer._updated(zeros, zeros, {}, options)
    return {**state, MASTER: xp.astype(p, state[MASTER].dtype)} if MASTER in state else state


def _chosen(xp: Any, skip: Any, old: Any, new: Any) -> Any:
    old, new = raw(old), raw(new)
    return xp.where(skip, old, new)
