"""What the report says, as blocks: how it was measured, the goals, the comparisons, growth, and what was left out."""

from __future__ import annotations

import inspect
from typing import Any

from benchmarks import timing, workloads
from benchmarks.goals import GOALS
from benchmarks.report.blocks import Block, Heading, Items, Paragraph, Table
from benchmarks.report.growth import growth
from benchmarks.report.ratios import TABLES, everything, section
from benchmarks.report.words import counted, title
from benchmarks.timing import Pair

TITLE = "portanet, measured"
MEMORY = (
    "Peak memory is what Python and NumPy have asked for at most during a step, to the byte (tracemalloc): parameters, "
    "optimizer state, batch, activations, gradients. It is the fair measure between programs on NumPy. Resident memory "
    "is what the process occupies at most during a step over what it occupied before the model was made: the only "
    "measure that sees PyTorch's and JAX's memory, and it counts what their allocators and compilers keep. Each is "
    "measured in a process of its own."
)


def blocks_of(findings: dict[str, Any]) -> list[Block]:
    """The whole report."""
    pairs = pairs_of(findings)
    steps, inference, others, measured = [
        [workload.name for workload in some]
        for some in (workloads.STEPS, workloads.INFERENCE, workloads.OTHERS, workloads.MEASURED)
    ]
    memory = [name for name in measured if "memory" in name]
    imports = [name for name in measured if "memory" not in name]
    return [
        Heading(1, TITLE),
        *introduction(findings),
        *described(pairs),
        *goals(pairs, findings["threads"]),
        *section("Training steps", "training", f"Forward, loss, backward, update. {TABLES}", pairs, steps),
        *section("Inference at batch 1", "inference", TABLES, pairs, inference),
        *section("Optimizer, operation, epoch", "others", TABLES, pairs, others),
        *section("Memory", "memory", MEMORY, pairs, memory),
        *section("Import", "import", "Seconds of an import in a new interpreter.", pairs, imports),
        *growth(findings),
        *first_results(findings["built"]),
        *everything(pairs),
        *left_out(findings),
    ]


def pairs_of(findings: dict[str, Any]) -> list[Pair]:
    return [Pair(**{name: one[name] for name in Pair.__dataclass_fields__}) for one in findings["pairs"]]


def goal_lines(findings: dict[str, Any]) -> list[str]:
    """The table of goals for the terminal, a line each, the numbers of threads from the most to one."""
    tables = [one for one in goals(pairs_of(findings), findings["threads"]) if isinstance(one, Table)]
    return [f"{', '.join(row[:3])}: {row[3]}: {'; '.join(row[4:])}" for table in tables for row in table.rows]


def introduction(findings: dict[str, Any]) -> list[Block]:
    facts = [[name, value] for name, value in findings["environment"].items()]
    return [
        Paragraph(
            f"Measured by `{findings['command']}` in {findings['seconds'] / 60:.0f} minutes. Two contenders are timed in "
            "turn, A B A B ..., in one process; each turn gives the ratio of neighbours, and the tables show the median of "
            "these ratios. Before they are timed, all contenders compute three steps from the same weights on the same "
            "batch; one whose losses differ is left out. Then each makes up to "
            f"{timing.WARM[0]} steps that do not count, in {timing.WARM[1]:.0f} s at the most, by when has been compiled what "
            "compiles itself along the way; portanet's loops do at once (`PORTANET_PATIENCE=0`). All have the same number of "
            "threads: a process that is kept to one core for one thread, and one with every core. Before each turn with "
            "several threads there is a rest, until the other library's threads have given up looking for more work on the "
            "cores that both need (a tenth of a second for NumPy's OpenBLAS), and then a step that does not count and wakes "
            "one's own."
        ),
        Table(["what", "which"], facts, words=2),
    ]


def described(pairs: list[Pair]) -> list[Block]:
    """What the workloads are."""
    names = {one.workload for one in pairs}
    rows = [
        [one.name, inspect.getdoc(type(one)).partition("\n")[0], str(one.batch), one.optimizer]
        for one in workloads.STEPS
        if one.name in names
    ]
    rows += [
        [one.name, inspect.getdoc(type(one)).partition("\n")[0], "", ""]
        for one in workloads.OTHERS
        if one.name in names
    ]
    table = Table(["workload", "what it is", "batch", "optimizer"], rows, words=2)
    return [Heading(2, "Workloads"), table] if rows else []


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
    return [Heading(2, "Goals"), Paragraph(f"Met: {sums}."), Table(head, rows, marks, words=4)]


def first_results(built: list[dict[str, Any]]) -> list[Block]:
    """How long compilers take: the slowest to get ready, and more than a second."""
    slow = sorted([one for one in built if one["seconds"] > 1], key=lambda one: -one["seconds"])[:20]
    if not slow:
        return []
    rows = [
        [one["workload"], title(one["contender"]), str(one["threads"] or ""), f"{one['seconds']:.1f} s"] for one in slow
    ]
    text = "From the start to the first steps done, imports and compilers included; the slowest."
    return [
        Heading(2, "Time to the first results"),
        Paragraph(text),
        Table(["workload", "who", "threads", "time"], rows, words=2),
    ]


def left_out(findings: dict[str, Any]) -> list[Block]:
    """What is missing from the tables, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in [*findings["failed"], *findings["left_out"]]:
        where = reasons.setdefault((title(one["contender"]), one["reason"]), [])
        if one["workload"] not in where:
            where.append(one["workload"])
    texts = [f"{title(name)}: {reason}." for name, reason in findings["absent"].items()]
    texts += [f"{name}: {reason} ({'; '.join(where)})." for (name, reason), where in reasons.items()]
    return [Heading(2, "Left out"), Items(texts)] if texts else []
