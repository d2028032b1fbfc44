"""What the report says, as blocks: the goals, the ratios with their spread, how cost grows, what was left out."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import contenders
from benchmarks.goals import GOALS
from benchmarks.report import plots
from benchmarks.report.blocks import Block, Heading, Items, Paragraph, Picture, Table
from benchmarks.timing import Pair

TITLE = "portanet, measured"


def blocks_of(findings: dict[str, Any]) -> list[Block]:
    """The whole report."""
    pairs = [Pair(**{name: one[name] for name in Pair.__dataclass_fields__}) for one in findings["pairs"]]
    return [
        Heading(1, TITLE),
        *introduction(findings),
        *goals(pairs, findings["threads"]),
        *steps("Training steps", "training", pairs, findings["threads"], [w for w in _names(pairs) if _trains(w)]),
        *steps(
            "Inference at batch 1", "inference", pairs, findings["threads"], [w for w in _names(pairs) if _infers(w)]
        ),
        *everything(pairs),
        *first_results(findings["built"]),
        *left_out(findings),
    ]


def introduction(findings: dict[str, Any]) -> list[Block]:
    facts = [[name, value] for name, value in findings["environment"].items()]
    return [
        Paragraph(
            f"Measured by `{findings['command']}` in {findings['seconds'] / 60:.1f} minutes. Two contenders are timed in "
            "turn, A B A B ..., in one process; each turn gives the ratio of neighbours, and the tables show the median of "
            "these ratios with the quartiles behind it. Before they are timed, all contenders compute three steps from "
            "the same weights on the same batch; one whose losses differ is left out. All have the same number of "
            "threads: a process with one core for one thread, and one with every core."
        ),
        Table(["what", "which"], facts),
    ]


# ------------------------------------------------------------------------------------------------------------- goals


def goals(pairs: list[Pair], threads: list[int]) -> list[Block]:
    """Each figure to reach beside what was measured."""
    counts = sorted(threads, reverse=True)
    rows, marks, met = [], {}, dict.fromkeys(counts, 0)
    for goal in GOALS:
        found = {one.threads: one for one in goal.of(pairs)}
        if not found:
            continue
        row = [goal.workload, title(goal.subject), title(goal.against), goal.bound()]
        for count in counts:
            one = found.get(count, found.get(0))
            if one is None:
                row.append("")
                continue
            good = goal.met(one.ratio)
            met[count] += good
            marks[len(rows), len(row)] = "met" if good else "missed"
            row.append(f"{goal.figure(one.ratio)}, {'met' if good else 'missed'}")
        rows.append(row)
    if not rows:
        return []
    sums = ", ".join([f"{met[count]} of {len(rows)} with {counted(count, 'thread')}" for count in counts])
    head = ["workload", "who", "against", "goal", *[counted(count, "thread") for count in counts]]
    return [Heading(2, "Goals"), Paragraph(f"Met: {sums}."), Table(head, rows, marks)]


# ------------------------------------------------------------------------------------------------------------ ratios


def steps(heading: str, name: str, pairs: list[Pair], threads: list[int], workloads: list[str]) -> list[Block]:
    """For each number of threads a picture and a table: how long each contender takes, in portanet's time."""
    found: list[Block] = []
    for count in sorted(threads, reverse=True):
        mine = [one for one in pairs if one.threads == count and one.workload in workloads]
        base = [one for one in mine if one.subject == _base(mine)]
        if not base:
            continue
        found.append(Heading(3, counted(count, "thread")))
        caption = (
            f"{heading}, {counted(count, 'thread')}: how long each contender takes, as a multiple of the time of "
            f"{title(base[0].subject)} (the line at 1). Longer is slower; the whiskers are quartiles."
        )
        svg = plots.bars(base, title)
        found += [Picture(f"{name}-{count}", svg, caption)] if svg else []
        found.append(_table(base))
    if not found:
        return []
    text = (
        "A cell says how many times as long a contender takes as the first column, where the median time stands: "
        "2.0 is half as fast, 0.5 twice as fast."
    )
    return [Heading(2, heading), Paragraph(text), *found]


def _table(base: list[Pair]) -> Table:
    others = [name for name in contenders.ALL if any(one.against == name for one in base)]
    rows = []
    for workload in _names(base):
        mine = {one.against: one for one in base if one.workload == workload}
        time = statistics.median([one.subject_value for one in mine.values()])
        row = [workload, amount(time, "s")]
        rows.append(row + [f"{mine[name].ratio ** -1:.2f}" if name in mine else "" for name in others])
    return Table(["workload", title(base[0].subject), *[title(name) for name in others]], rows)


def everything(pairs: list[Pair]) -> list[Block]:
    """Every pair with its spread."""
    rows = [
        [
            one.workload,
            str(one.threads or ""),
            title(one.subject),
            title(one.against),
            f"{one.ratio:.3f}",
            f"{one.low:.3f} to {one.high:.3f}",
            amount(one.subject_value, one.unit),
            amount(one.against_value, one.unit),
            str(one.turns),
        ]
        for one in pairs
    ]
    head = ["workload", "threads", "who", "against", "ratio", "quartiles", "who's median", "the other's", "turns"]
    return [Heading(2, "Every pair"), Table(head, rows)] if rows else []


# -------------------------------------------------------------------------------------------------------- the others


def first_results(built: list[dict[str, Any]]) -> list[Block]:
    """How long compilers take: only contenders that took more than a second are named."""
    slow = [one for one in built if one["seconds"] > 1]
    if not slow:
        return []
    rows = [
        [one["workload"], title(one["contender"]), str(one["threads"]), f"{one['seconds']:.1f} s"]
        for one in sorted(slow, key=lambda one: -one["seconds"])[:25]
    ]
    text = "From the start to three steps done, imports and compilers included; the slowest."
    return [
        Heading(2, "Time to the first results"),
        Paragraph(text),
        Table(["workload", "who", "threads", "time"], rows),
    ]


def left_out(findings: dict[str, Any]) -> list[Block]:
    """What is missing from the tables, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in [*findings["failed"], *findings["left_out"]]:
        where = reasons.setdefault((title(one["contender"]), one["reason"]), [])
        if one["workload"] not in where:
            where.append(one["workload"])
    texts = [f"{title(name)}: {reason}" for name, reason in findings["absent"].items()]
    texts += [f"{name}: {reason} ({'; '.join(where)})" for (name, reason), where in reasons.items()]
    return [Heading(2, "Left out"), Items(texts)] if texts else []


def title(name: str) -> str:
    """How the tables call a contender."""
    return contenders.ALL[name].title if name in contenders.ALL else name


def counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def amount(value: float, unit: str) -> str:
    """A time or a size in a unit that reads well."""
    units = [(1, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")] if unit == "s" else [(2**20, "MiB"), (2**10, "KiB")]
    size, name = next((one for one in units if value >= one[0]), units[-1])
    return f"{value / size:.3g} {name}"


def _base(pairs: list[Pair]) -> str:
    """The contender that most others were timed against."""
    return statistics.mode([one.subject for one in pairs]) if pairs else ""


def _names(pairs: list[Pair]) -> list[str]:
    return list(dict.fromkeys([one.workload for one in pairs]))


def _infers(name: str) -> bool:
    return name.endswith(", inference")


def _trains(name: str) -> bool:
    from benchmarks.workloads import STEPS

    return name in [workload.name for workload in STEPS]
