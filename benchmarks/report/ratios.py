"""The sections that compare: a picture and a table of ratios for each number of threads, and every pair with its spread."""

from __future__ import annotations

import statistics

from benchmarks.report import plots
from benchmarks.report.blocks import Block, Heading, Paragraph, Picture, Table
from benchmarks.report.words import amount, counted, title, titles
from benchmarks.timing import Pair

TABLES = (
    "The first column of numbers is the median time of a step; the others say how many times as long a contender takes: "
    "2.00 is half as fast, 0.50 twice as fast."
)


def section(heading: str, name: str, text: str, pairs: list[Pair], workloads: list[str]) -> list[Block]:
    """What was measured of these workloads, for each number of threads from the most to one."""
    mine = [one for one in pairs if one.workload in workloads]
    found: list[Block] = []
    for count in sorted({one.threads for one in mine}, reverse=True):
        base = _base([one for one in mine if one.threads == count])
        here = counted(count, "thread") if count else ""
        if count:
            found.append(Heading(3, f"{heading}, {here}"))
        caption = (
            f"{heading}{', ' if here else ''}{here}: what each contender needs, as a multiple of what "
            f"{title(base[0].subject)} needs (the line at 1). Longer is worse; the whiskers are quartiles."
        )
        svg = plots.bars(base, title)
        found += [Picture(f"{name}-{count}" if count else name, svg, caption)] if svg else []
        found.append(_table(base))
    return [Heading(2, heading), Paragraph(text), *found] if found else []


def _base(pairs: list[Pair]) -> list[Pair]:
    """The pairs of the contender that most others were measured against."""
    subject = statistics.mode([one.subject for one in pairs])
    return [one for one in pairs if one.subject == subject]


def _table(base: list[Pair]) -> Table:
    others = [name for name in titles() if any(one.against == name for one in base)]
    rows = []
    for workload in names(base):
        mine = {one.against: one for one in base if one.workload == workload}
        own = statistics.median([one.subject_value for one in mine.values()])
        row = [workload, amount(own, next(iter(mine.values())).unit)]
        rows.append(row + [f"{1 / mine[name].ratio:.2f}" if name in mine else "" for name in others])
    return Table(["workload", title(base[0].subject), *[title(name) for name in others]], rows)


def everything(pairs: list[Pair]) -> list[Block]:
    """Every pair with its spread."""
    rows = [
        [
            one.workload,
            title(one.subject),
            title(one.against),
            counted(one.threads, "thread") if one.threads else "",
            f"{one.ratio:.3f}",
            f"{one.low:.3f} to {one.high:.3f}",
            amount(one.subject_value, one.unit),
            amount(one.against_value, one.unit),
            str(one.turns),
        ]
        for one in pairs
    ]
    head = ["workload", "who", "against", "threads", "ratio", "quartiles", "who's median", "the other's", "turns"]
    text = "The ratio is the first one's time (or memory) over the other's, the median over the turns."
    return [Heading(2, "Every pair"), Paragraph(text), Table(head, rows, words=4)] if rows else []


def names(pairs: list[Pair]) -> list[str]:
    """The workloads that were measured, in order."""
    return list(dict.fromkeys([one.workload for one in pairs]))
