"""How the report says names, counts, times and sizes."""

from __future__ import annotations

from benchmarks import contenders
from benchmarks.gpu.contenders import TITLES

UNITS = {
    "s": [(1, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")],
    "B": [(2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")],
}


def titles() -> dict[str, str]:
    """How the tables call each contender, in their order: those on a GPU after the others."""
    return {name: one.title for name, one in contenders.ALL.items()} | TITLES


def title(name: str) -> str:
    """How the tables call a contender."""
    return titles().get(name, name)


def counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def amount(value: float, unit: str) -> str:
    """Seconds or bytes in the unit that reads best, to three digits."""
    size, name = next((one for one in UNITS[unit] if value >= one[0]), UNITS[unit][-1])
    shown = value / size
    return f"{shown:.0f} {name}" if shown >= 100 else f"{shown:.3g} {name}"
