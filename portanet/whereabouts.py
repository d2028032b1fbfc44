"""Who asked: the user's line, the layer and the operation at work, read from the Python frames when it is asked for.

Nothing is written down beforehand, so what never asks pays nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = str(Path(__file__).parent)
CALLS = frozenset({"forward", "__call__"})


class Whereabouts(NamedTuple):
    """Where the program is.

    Attributes:
        layer: the class of the innermost module at work and its dotted name within the outermost, as in
            ``"Linear 'layers.0'"``; "" outside of any.
        operation: ``"backward of matmul"`` on the way back; what the layer calls; else what of portanet the user called.
        file, line: of the innermost frame outside of portanet: "" and 0 where there is none.
    """

    layer: str
    operation: str
    file: str
    line: int

    def __str__(self) -> str:
        parts = [f"in {self.layer}"] if self.layer else []
        if self.file:
            parts.append(f"at {self.file}:{self.line}")
        return ", ".join(parts)


def whereabouts() -> Whereabouts:
    """Where the caller of this function is."""
    frame: Any = sys._getframe(1)
    modules: list[Any] = []
    called, operation, user = "", "", None
    while frame is not None:
        code = frame.f_code
        if code.co_name in CALLS and code.co_argcount and code.co_varnames[0] == "self":
            module = frame.f_locals.get("self")
            # Floor 0 knows no class of layers; this is what makes one.
            if hasattr(type(module), "named_modules"):
                modules.append(module)
                operation = operation or called
        if not code.co_filename.startswith(PACKAGE):
            user = user or frame
        elif code.co_name == "_cotangents":
            operation = operation or f"backward of {frame.f_locals['rule'].name}"
        elif user is None:
            called = code.co_qualname
        frame = frame.f_back
    file, line = ("", 0) if user is None else (user.f_code.co_filename, user.f_lineno)
    return Whereabouts(_name(modules), (operation or called).replace("Reading.", "Tensor."), file, line)


def _name(modules: list[Any]) -> str:
    """The innermost of the modules at work, as the outermost calls it."""
    if not modules:
        return ""
    layer, root = modules[0], modules[-1]
    for name, module in root.named_modules():
        if module is layer:
            return f"{type(layer).__name__} {name!r}" if name else type(layer).__name__
    return type(layer).__name__


def size_text(count: float) -> str:
    """A number of bytes as people say it: ``"1.5 GiB"``."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.4g} {unit}"
