"""The section on how cost grows: curves of the step's time, and a table of what must grow no faster than its size."""

from __future__ import annotations

from typing import Any

from benchmarks.goals import STEEPEST
from benchmarks.report import plots
from benchmarks.report.blocks import Block, Heading, Paragraph, Picture, Table
from benchmarks.report.words import amount, title
from benchmarks.scaling import SAYS, exponent


def growth(findings: dict[str, Any]) -> list[Block]:
    """Everything that was found out about growth."""
    return [*_curves(findings["curves"]), *_linear(findings["growth"])]


def _curves(curves: list[dict[str, Any]]) -> list[Block]:
    if not curves:
        return []
    svg = plots.curves(curves, SAYS, title)
    caption = (
        "Time of a step against width, depth, batch, and length of the graph, all threads, both axes logarithmic. The "
        "matrix products alone show how the arithmetic grows."
    )
    picture = [Picture("growth", svg, caption)] if svg else []
    return [Heading(2, "How cost grows"), *picture, *_steepness(curves)]


def _steepness(curves: list[dict[str, Any]]) -> list[Block]:
    """The exponent over the upper half of the sizes, where the arithmetic outweighs the overhead if it ever does."""
    figures = list(dict.fromkeys([one["figure"] for one in curves]))
    rows = []
    for name in dict.fromkeys([one["contender"] for one in curves]):
        row = [title(name)]
        for figure in figures:
            found = [one for one in curves if one["contender"] == name and one["figure"] == figure]
            row.append(f"{_upper(found[0]):.2f}" if found and len(found[0]["sizes"]) > 1 else "")
        rows.append(row)
    text = "The power of the size that the time grows with, over the upper half of the sizes (width: 2 is the arithmetic's)."
    return [Paragraph(text), Table(["contender", *figures], rows)]


def _upper(curve: dict[str, Any]) -> float:
    first = (len(curve["sizes"]) - 1) // 2
    return exponent(curve["sizes"][first:], curve["seconds"][first:])


def _linear(growth: list[dict[str, Any]]) -> list[Block]:
    rows, marks = [], {}
    for one in growth:
        good = one["exponent"] < STEEPEST
        marks[len(rows), 5] = "met" if good else "missed"
        times = [amount(seconds, "s") for seconds in one["seconds"]]
        rows.append([one["name"], *times, f"{one['exponent']:.2f}", "met" if good else "missed"])
    if not rows:
        return []
    text = (
        "Nothing may be quadratic: each is measured at the size that is named, at twice and at four times that, and the "
        f"power that its time grows with must stay below {STEEPEST:g}. Where the data outgrow a cache it is somewhat over 1."
    )
    head = ["what", "this size", "twice", "four times", "power", f"below {STEEPEST:g}"]
    return [Heading(2, "No quadratic"), Paragraph(text), Table(head, rows, marks)]
