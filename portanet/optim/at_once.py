"""Steps of many parameters by one call, for libraries where a call costs more than the step of a small array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.library import PYTHON_SCALARS, namespace_of
from portanet.optim.ownership import all_alone, alone
from portanet.optim.state import State, raw
from portanet.tensor import Tensor

__all__ = ["advance_at_once", "step_arrays"]

Work = tuple[Any, Any, State, dict[str, Any]]  # a parameter, its gradient, its state and the hyperparameters


def advance_at_once(optimizer: Any, work: list[tuple[Tensor, Tensor, State, dict[str, Any]]]) -> list[Any]:
    """Step what can be stepped in its own memory, if the library does that to many arrays at once; returns the rest."""
    if len(work) < 2 or _for_many(optimizer, work[0][0]._raw) is None:
        return work
    taken: list[Any] = []
    rest: list[Any] = []
    for one in work:
        p, _, state, _ = one
        free = optimizer._in_place(p._raw) is not None and alone(p) and (not state or all_alone(state))
        (taken if free else rest).append(one)
    arrays = [
        (p._raw, g._raw, {k: raw(value) for k, value in state.items()}, options) for p, g, state, options in taken
    ]
    for one, (_, _, values, _), done in zip(taken, arrays, step_arrays(optimizer, arrays)):
        if done:
            one[2].update({name: value for name, value in values.items() if type(value) in PYTHON_SCALARS})
        else:
            rest.append(one)
    return rest


def step_arrays(optimizer: Any, work: list[Work]) -> list[bool]:
    """Step raw arrays in their own memory, by one call for all of a kind where the library can; says of each whether it was."""
    done = [False] * len(work)
    kinds: dict[Any, list[int]] = {}
    for i, (p, _, _, options) in enumerate(work):
        kinds.setdefault((type(p), p.dtype, id(options)), []).append(i)
    for some in kinds.values():
        p, _, _, options = work[some[0]]
        one, many = optimizer._in_place(p), _for_many(optimizer, p)
        if one is None:
            continue
        found = [False] * len(some)
        if many is not None:
            found = many(*[[work[i][k] for i in some] for k in range(3)], **options)
        for i, stepped in zip(some, found):
            done[i] = stepped or one(*work[i][:3], **options)
    return done


def _for_many(optimizer: Any, p: Any) -> Callable[..., list[bool]] | None:
    """The library's version of the rule that writes into many arrays, or None."""
    xp = namespace_of(p)
    try:
        found: Callable[..., list[bool]] | None = optimizer._updates_of_many[xp]
    except KeyError:
        name = optimizer.rule.__name__
        found = getattr(xp, f"{name}s_", None) if name.endswith("_update") else None
        optimizer._updates_of_many[xp] = found
    return found
