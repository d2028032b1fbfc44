"""`OutOfMemoryError`: every library's own way of saying that memory is used up, told in one, and let go of quickly."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from portanet.whereabouts import size_text, whereabouts

__all__ = ["OutOfMemoryError"]


class OutOfMemoryError(MemoryError):
    """There is no memory for the result of an operation; a smaller batch can be tried right away.

    It holds no frames of what was being computed, so the arrays of the step that failed are free as soon as nobody
    else holds them.

    Attributes:
        asked: bytes that were asked for, 0 where the library does not say.
        in_use, total: bytes in use on the device and bytes there are, or None.
        layer: the class and the dotted name of the innermost `nn.Module` at work, "" outside of any.
        operation: what was being computed: ``"matmul"``, ``"backward of matmul"``, ``"Adam.step"``.

    >>> import portanet
    >>> try:
    ...     portanet.ones(2**50)
    ... except portanet.OutOfMemoryError as problem:
    ...     print(problem.operation, problem.asked)
    ones 4503599627370496
    """

    asked: int = 0
    in_use: int | None = None
    total: int | None = None
    layer: str = ""
    operation: str = ""


def exhausted(name: str, problem: BaseException, libraries: Iterable[Any]) -> OutOfMemoryError | None:
    """``problem`` as an `OutOfMemoryError` of the operation ``name``, if that is what it says; else None.

    The frames that ``problem`` came up through are let go of, with all that they hold.
    """
    if isinstance(problem, OutOfMemoryError):
        return problem.with_traceback(None)
    told = [(size, library) for library in libraries if (size := library.out_of_memory(problem)) is not None]
    if not told:
        return None
    asked, library = max(told, key=operator.itemgetter(0))
    problem.__traceback__ = problem.__cause__ = problem.__context__ = None
    place = whereabouts()
    if place.operation.startswith("backward of") and not name.startswith("backward of"):
        name = f"{name}, {place.operation}"
    use = library.memory_in_use()
    held = "" if use is None else f" {size_text(use[0])} of {size_text(use[1])} are in use."
    size = size_text(asked) if asked else "more"
    found = OutOfMemoryError(
        f"{name}: there is no memory for {size}{', ' if str(place) else ''}{place}.{held} Try a smaller batch; "
        "autograd.checkpoint(layer, x), which keeps less for the way back; no_grad() where no gradient is needed."
    )
    found.asked, found.layer, found.operation = asked, place.layer, name
    found.in_use, found.total = use or (None, None)
    return found
