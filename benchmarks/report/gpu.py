"""What the report of a GPU says, as blocks: how it was measured, the goals, times, rates, and what was left out."""

from __future__ import annotations

import inspect
from typing import Any

from benchmarks.goals import GPU_GOALS
from benchmarks.gpu import contenders, workloads
from benchmarks.gpu.workloads import JOBS, moved, operations
from benchmarks.report.blocks import Block, Heading, Paragraph, Table
from benchmarks.report.content import first_results, left_out, pairs_of
from benchmarks.report.ratios import TABLES, everything, section
from benchmarks.report.words import amount, counted, title, titles
from benchmarks.workloads.base import Network
from benchmarks.workloads.images import ResNet
from benchmarks.workloads.sequences import Transformer

TITLE = "portanet on a GPU, measured"
OURS = (contenders.EAGER, contenders.COMPILED)
NETWORKS = [one.name for one in workloads.NETWORKS]
ROUNDED = [f"{name}, TF32" for name in workloads.TF32]
MEMORY = [name for name, one in workloads.ALL.items() if moved(one)]
HOW = (
    "All contenders take turns in one process, A B C A B C ..., and what is compared is the ratio of times within a turn; "
    "the tables show the median of these ratios. In its turn a contender starts as many steps as fill {block:.0f} ms and "
    "then waits until the GPU is done; it is warm by then. Before they are timed, all compute a few steps from the same "
    "weights on the same batch; one whose losses differ is left out. Everything is float32, and products do not round "
    "their factors to TF32, in any library, except where a workload's name says so. A CUDA graph of PyTorch copies each "
    "batch to where it reads it; portanet.compile gets the batch as arguments; so does JAX, which takes it where it lies."
)
SMALL = "This was a trial of the benchmarks themselves, at smaller sizes or without a GPU: its figures say nothing."


def blocks_of(findings: dict[str, Any]) -> list[Block]:
    """The whole report."""
    pairs = pairs_of(findings)
    eager = [one for one in pairs if one.subject == contenders.EAGER and one.against != contenders.COPY]
    others = [one for one in eager if one.against not in (contenders.GEMM, contenders.PRODUCTS)]
    copied = [one for one in pairs if one.subject == contenders.COPY]
    steps = "Forward, loss, backward, update, float32. " + TABLES
    rounded = "The same, while products may round their factors to TF32, which have 10 bits of mantissa. " + TABLES
    bound = (
        "Work that is bound by memory, beside a copy within the card's memory that moves as many bytes, half of them read "
        "and half written. 1.25 is 0.8 of the copy's rate. What is counted is in the table of workloads. A compiler that "
        "sees forward and backward at once may read an array once for both, and then moves less than is counted."
    )
    return [
        Heading(1, TITLE),
        *introduction(findings),
        *described(findings),
        *goals(findings),
        *section("Training steps", "training", steps, others, NETWORKS),
        *section("Training steps in TF32", "tf32", rounded, others, ROUNDED),
        *section("Bound by memory", "memory", bound, copied, MEMORY),
        *times(findings),
        *products(findings),
        *rates(findings),
        *first_results(findings["built"]),
        *everything([one for one in pairs if one.subject in OURS]),
        *left_out(findings),
    ]


def introduction(findings: dict[str, Any]) -> list[Block]:
    from benchmarks.gpu.worker import BLOCK

    facts = [[name, value] for name, value in findings["environment"].items()]
    took = f"Measured by `{findings['command']}` in {findings['seconds']:.0f} s. "
    trial = [Paragraph(SMALL)] if findings["small"] else []
    return [*trial, Paragraph(took + HOW.format(block=1000 * BLOCK)), Table(["what", "which"], facts, words=2)]


def described(findings: dict[str, Any]) -> list[Block]:
    """What the workloads are, and the bytes that are counted."""
    rows = []
    for name, one in workloads.ALL.items():
        if name not in findings["done"] and f"{name}, TF32" not in findings["done"]:
            continue
        if isinstance(one, Network):
            rows.append([name, _what(one), str(one.batch), one.optimizer, ""])
        elif isinstance(one, workloads.Operation):
            what = (
                f"On {one.shape[0]} x {one.shape[1]}: {one.counted if one.backward else one.counted.partition(';')[0]}."
            )
            rows.append([name, what, "", "", f"{one.both if one.backward else one.forward}"])
        else:
            what = "Adam alone, the gradients given: parameter, gradient and two moments read, three of them written."
            rows.append([name, what, "", "", "28"])
    head = ["workload", "what it is", "batch", "optimizer", "bytes an element"]
    return [Heading(2, "Workloads"), Table(head, rows, words=2)] if rows else []


def _what(network: Network) -> str:
    if isinstance(network, Transformer):
        return (
            f"{network.layers} causal layers of width {network.width}, {network.heads} heads, {network.between} between, "
            f"over {network.context} letters of {network.vocabulary}; a class a position."
        )
    what = inspect.getdoc(type(network)).partition("\n")[0]
    if isinstance(network, ResNet):
        return f"{what.removesuffix('.')}: {network.depth} each of {', '.join(map(str, network.channels))}, on 32x32."
    return what


# --------------------------------------------------------------------------------------------------------------- goals


def goals(findings: dict[str, Any]) -> list[Block]:
    """Each figure to reach beside what was measured; a goal that was not measured is not met."""
    pairs = pairs_of(findings)
    rows, marks, met = [], {}, 0
    asked = {one["workload"] for one in findings["left_out"] + findings["failed"]} | set(findings["done"])
    for goal in GPU_GOALS:
        if goal.workload not in asked:
            continue
        found = goal.of(pairs)
        said, good = "not measured", False
        if found:
            good = goal.met(found[0].ratio)
            ends = sorted([found[0].low, found[0].high], reverse=goal.at_most is None)
            spread = " to ".join([goal.figure(one).split()[0] for one in ends])
            said = f"{goal.figure(found[0].ratio)} ({spread}), {'met' if good else 'missed'}"
        met += good
        marks[len(rows), 4] = "met" if good else "missed"
        rows.append([goal.workload, title(goal.subject), title(goal.against), goal.bound(), said])
    if not rows:
        return []
    text = f"Met: {met} of {len(rows)}. In brackets the quartiles."
    head = ["workload", "who", "against", "goal", "measured"]
    return [Heading(2, "Goals"), Paragraph(text), Table(head, rows, marks, words=4)]


def goal_lines(findings: dict[str, Any]) -> list[str]:
    """The table of goals for the terminal, a line each."""
    tables = [one for one in goals(findings) if isinstance(one, Table)]
    return [f"{', '.join(row[:3])}: {row[3]}: {row[4]}" for table in tables for row in table.rows]


# --------------------------------------------------------------------------------------------------------------- times


def _seconds(findings: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The median time of each contender at each workload, in the order of the jobs."""
    found: dict[str, dict[str, float]] = {}
    for name in JOBS:
        mine = {one["contender"]: one["seconds"] for one in findings["times"] if one["workload"] == name}
        found |= {name: mine} if mine else {}
    return found


def _columns(times: dict[str, dict[str, float]]) -> list[str]:
    return [name for name in titles() if any(name in mine for mine in times.values())]


def times(findings: dict[str, Any]) -> list[Block]:
    """How long everything took."""
    found = _seconds(findings)
    if not found:
        return []
    who = _columns(found)
    rows = [[name, *[amount(mine[one], "s") if one in mine else "" for one in who]] for name, mine in found.items()]
    head = ["workload", *map(title, who)]
    text = "The median time of a step. Compare contenders by the ratios above, which are of neighbours."
    return [Heading(2, "Times"), Paragraph(text), Table(head, rows)]


def products(findings: dict[str, Any]) -> list[Block]:
    """How many operations a second the products of the widest network amount to."""
    found = {name: mine for name, mine in _seconds(findings).items() if name.startswith(workloads.WIDE.name)}
    if not found or findings["small"]:
        return []
    count = operations(workloads.WIDE)
    who = _columns(found)
    rows = [
        [title(one), *[f"{count / mine[one] / 1e12:.1f}" if one in mine else "" for mine in found.values()]]
        for one in who
    ]
    text = (
        f"{workloads.WIDE.name} at batch {workloads.WIDE.batch}: {count / 1e12:.2f} T operations a step (additions and "
        "multiplications of its matrix products), over the time of the whole step, in T operations a second. The card's own "
        "rate is that of the products alone, of the same shapes: once all of them with both factors along the summed axis "
        "(`x W'`, the best layout), and once as they lie in a step, where the other two thirds are `g' x` and `g W`."
    )
    return [Heading(2, "Matrix products"), Paragraph(text), Table(["who", *found], rows)]


def rates(findings: dict[str, Any]) -> list[Block]:
    """The bytes that are counted, over the time that they took."""
    found = {name: mine for name, mine in _seconds(findings).items() if name in MEMORY}
    if not found or findings["small"]:
        return []
    who = _columns(found)
    rows = []
    for name, mine in found.items():
        size = moved(workloads.ALL[name])
        row = [name, f"{size / 1e9:.2f} GB"]
        rows.append(row + [f"{size / mine[one] / 1e9:.0f}" if one in mine else "" for one in who])
    text = f"GB counted a second, for {counted(len(rows), 'workload')}; a copy counts what it reads and what it writes."
    return [Heading(2, "Rates of memory"), Paragraph(text), Table(["workload", "bytes", *map(title, who)], rows)]
