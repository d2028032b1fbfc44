"""Pictures as SVG, by matplotlib; without it the report has none."""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Callable
from typing import Any

from benchmarks.timing import Pair

TICKS = [digit * 10.0**power for power in range(-4, 5) for digit in (1, 2, 5)]
BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # so that no line runs through a number
OURS, OTHERS, FLOOR = "#2166ac", "#b0b0b0", "#d9c27e"


def figure(rows: int, columns: int, width: float, height: float) -> Any:
    """A figure and its axes, drawn without a screen, with letters that stay letters."""
    import matplotlib

    matplotlib.rcParams |= {"svg.fonttype": "none", "font.size": 8, "svg.hashsalt": "portanet"}
    from matplotlib.figure import Figure

    found = Figure(figsize=(width, height), layout="constrained")
    return found, found.subplots(rows, columns, squeeze=False)


def svg(found: Any) -> str:
    text = io.StringIO()
    found.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def drawable() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def _plain(value: float, _: int) -> str:
    """A number on an axis, without powers of ten."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def bars(base: list[Pair], title: Callable[[str], str]) -> str | None:
    """One set of bars a workload: the time of each other contender as a multiple of the common subject's."""
    if not drawable():
        return None
    workloads = list(dict.fromkeys([one.workload for one in base]))
    columns = min(3, len(workloads))
    rows = math.ceil(len(workloads) / columns)
    most = max([sum(one.workload == name for one in base) for name in workloads])
    found, axes = figure(rows, columns, 3.6 * columns, rows * (0.7 + 0.19 * most))
    for ax, name in zip(axes.flat, workloads, strict=False):
        _bars(ax, name, [one for one in base if one.workload == name][::-1], title)
    for ax in list(axes.flat)[len(workloads) :]:
        ax.set_axis_off()
    return svg(found)


def _bars(ax: Any, name: str, mine: list[Pair], title: Callable[[str], str]) -> None:
    for i, one in enumerate(mine):
        value, low, high = 1 / one.ratio, 1 / one.high, 1 / one.low
        colour = OURS if one.against.startswith("portanet") else FLOOR if one.against == "floor" else OTHERS
        ax.barh(i, value, color=colour, height=0.75)
        ax.plot([low, high], [i, i], color="black", linewidth=0.8)
        ax.annotate(
            f"{value:.2f}", (max(value, high), i), xytext=(3, 0), textcoords="offset points", va="center", bbox=BOX
        )
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xscale("log")
    values = [1 / one.ratio for one in mine]
    ax.set_xlim(min(0.5, min(values) / 1.5), max(2, max(values) * 2.2))
    ax.set_yticks(range(len(mine)), [title(one.against) for one in mine])
    ax.set_title(name, fontsize=9)
    low, high = ax.get_xlim()
    ticks = [one for one in TICKS if low <= one <= high]
    ax.set_xticks(ticks if len(ticks) < 6 else [one for one in ticks if math.log10(one).is_integer()])
    ax.xaxis.set_major_formatter(_plain)
    ax.minorticks_off()
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


STYLES = {
    "floor": (FLOOR, "--"),
    "numpy": ("#444444", "-"),
    "torch": ("#d6604d", "-"),
    "jax": ("#4d9221", "-"),
    "autograd": ("#9970ab", "-"),
    "portanet-numpy": (OURS, "-"),
    "portanet-compile": ("#67a9cf", "-"),
}


def curves(found: list[dict[str, Any]], says: dict[str, str], title: Callable[[str], str]) -> str | None:
    """One panel a figure: the time of a step against the size, a line for each contender."""
    if not drawable():
        return None
    figures = list(dict.fromkeys([one["figure"] for one in found]))
    columns = min(2, len(figures))
    rows = math.ceil(len(figures) / columns)
    drawing, axes = figure(rows, columns, 5.2 * columns, 3.4 * rows)
    for ax, name in zip(axes.flat, figures, strict=False):
        for one in [one for one in found if one["figure"] == name]:
            colour, line = STYLES.get(one["contender"], (OTHERS, "-"))
            width = 2 if one["contender"].startswith("portanet") else 1.2
            style = {"color": colour, "linestyle": line, "linewidth": width, "marker": "o", "markersize": 3}
            ax.plot(
                one["sizes"], [1000 * seconds for seconds in one["seconds"]], label=title(one["contender"]), **style
            )
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel(f"{name} ({says[name]})")
        ax.set_ylabel("milliseconds a step")
        ax.grid(True, color="#eeeeee")
        ax.set_axisbelow(True)
        ax.legend(frameon=False, fontsize=7)
        ax.set_xticks(one["sizes"])
        ax.minorticks_off()
        ax.xaxis.set_major_formatter(_plain)
        ax.yaxis.set_major_formatter(_plain)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    for ax in list(axes.flat)[len(figures) :]:
        ax.set_axis_off()
    return svg(drawing)
