"""Which of its parameters a function reads, found in its code: what a rule does not read need not be kept for it."""

from __future__ import annotations

import dis
from collections.abc import Callable
from typing import Any

FORM = frozenset({"shape", "ndim", "dtype"})  # known without the elements


def reads(function: Callable[..., Any]) -> frozenset[int] | None:
    """The positions of the parameters whose elements ``function`` may look at; None: any of them.

    A parameter counts as read wherever its name stands for the value, unless only to ask for its shape or dtype.
    Of what is no plain function, or takes ``*args`` and reads them, nothing is known.

    >>> from portanet.reads import reads
    >>> sorted(reads(lambda g, y, x: g * x.shape[0] - y))
    [0, 1]
    """
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    named = _named(code)
    count = code.co_argcount
    if code.co_flags & 0x04 and code.co_varnames[count + code.co_kwonlyargcount] in named:  # 0x04: it has *args
        return None
    return frozenset([i for i, name in enumerate(code.co_varnames[:count]) if name in named])


def _named(code: Any) -> set[str]:
    steps = list(dis.get_instructions(code))
    found: set[str] = set()
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if step.opname.startswith("STORE") and "LOAD" not in step.opname:
            continue
        names = step.argval if isinstance(step.argval, tuple) else (step.argval,)  # newer Pythons load two at once
        if following is not None and following.opname == "LOAD_ATTR" and following.argval in FORM:
            names = names[:-1]
        found.update([name for name in names if isinstance(name, str)])
    return found
