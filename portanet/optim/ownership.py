"""Whether an array may be written to: when nothing but its Tensor holds it, nobody can tell a write from a new array.

A graph that was retained, a result of ``detach``, a snapshot by ``state_dict``, a view of NumPy's: each holds a reference
to the array or to its memory, and Python counts them.
"""

from __future__ import annotations

import sys
from typing import Any

from portanet.library import PYTHON_SCALARS, namespaces
from portanet.reading import Reading

__all__ = ["all_alone", "alone"]


class _Probe(Reading):
    """A holder like a Tensor, to learn how many references are counted where nobody else has one."""

    __slots__ = ()

    def __init__(self) -> None:
        self._raw = object()


def _references(x: Any) -> int:
    return _count(x._raw)


# Interpreters differ in what they count, and some count nothing.
_COUNTED = hasattr(sys, "getrefcount")
_count = sys.getrefcount if _COUNTED else id
_ALONE = _references(_Probe()) if _COUNTED else 0


def alone(x: Reading) -> bool:
    """Whether the array of ``x`` may be written to, as no other object has it or part of its memory."""
    # The expression is that of the probe, so that it adds the same to the count.
    # What the library says comes first: while a compiler traces, it says no, and references are not counted then.
    return _COUNTED and namespaces[type(x._raw)].owns_memory(x._raw) and _count(x._raw) == _ALONE


def all_alone(state: dict[str, Any]) -> bool:
    """Whether the arrays among the state of a parameter may be written to."""
    return all([type(value) in PYTHON_SCALARS or alone(value) for value in state.values()])
