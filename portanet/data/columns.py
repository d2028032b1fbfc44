"""One column of a table: what kind of thing it holds, and how its words become numbers."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["KINDS", "Cell", "Column", "fit_column"]

YES_NO_PAIRS = ({"no", "yes"}, {"n", "y"}, {"false", "true"}, {"f", "t"}, {"0", "1"})
NO_WORDS, YES_WORDS = {"no", "n", "false", "f", "0"}, {"yes", "y", "true", "t", "1"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # float() also takes "1_000", "inf" and other scripts
MISSING_LABEL = "(missing)"
KINDS = ("number", "yesno", "onehot", "index", "label", "skip")


class Cell(NamedTuple):
    """One field of a file: its text, None where it is missing, and where it stands, for messages."""

    text: str | None
    row: str
    column: str

    @property
    def place(self) -> str:
        """Where the field is, in words."""
        return f"{self.row}, column {self.column!r}"


@dataclass
class Column:
    """How one column becomes numbers. All of it is plain data, so that it can be kept as JSON.

    ``kind`` is ``number`` (standardised: (x - mean) / std), ``yesno`` (0 or 1), ``onehot`` or ``index``. ``mean`` is
    also what a missing number becomes, for a yes/no column the share of yes. ``categories`` are the labels in order,
    for a yes/no column the words for no and for yes as the file first wrote them. ``std`` is 1 where the numbers are
    left as they are, and ``shift`` 0. ``indicator``: one more 0/1 column says what was missing.
    """

    name: str
    kind: str
    mean: float = 0.0
    shift: float = 0.0
    std: float = 1.0
    categories: tuple[str, ...] = ()
    indicator: bool = False
    refuse_missing: bool = False

    @property
    def feature_names(self) -> list[str]:
        """The names of the numbers that a field becomes."""
        names = [f"{self.name}={label}" for label in self.categories] if self.kind == "onehot" else [self.name]
        return [*names, f"{self.name} missing"] if self.indicator else names

    def encode(self, cell: Cell, unknown: str = "error") -> list[float]:
        """The numbers that one field becomes, as many as `feature_names`."""
        if cell.text is None and self.refuse_missing:
            raise ValueError(f"{cell.place}: the value is missing, and missing='error' was asked for.")
        if self.kind in ("onehot", "index"):
            return self._label(cell, unknown)
        value = self.mean if cell.text is None else self._number(cell)
        numbers = [(value - self.shift) / self.std]
        return [*numbers, float(cell.text is None)] if self.indicator else numbers

    def _number(self, cell: Cell) -> float:
        return self._yes(cell) if self.kind == "yesno" else number(cell)

    def _yes(self, cell: Cell) -> float:
        word = str(cell.text).casefold()
        zero_or_one = _zero_or_one(word)
        if word in YES_WORDS or zero_or_one == 1:
            return 1.0
        if word in NO_WORDS or zero_or_one == 0:
            return 0.0
        raise ValueError(
            f"{cell.place}: {cell.text!r} in a yes/no column; expected yes, no, y, n, true, false, 0 or 1."
        )

    def _label(self, cell: Cell, unknown: str) -> list[float]:
        place = self.place_of(cell, unknown)
        if self.kind == "index":
            return [float(place)]
        return [float(k == place) for k in range(len(self.categories))]

    def place_of(self, cell: Cell, unknown: str = "error") -> int:
        """Which of the categories a field holds: 0, 1, ..., or -1 where it is none and ``unknown`` lets it be."""
        if self.kind == "yesno":
            return int(self._yes(cell))
        label = MISSING_LABEL if cell.text is None else cell.text
        if label in self.categories:
            return self.categories.index(label)
        if unknown == "zeros" and self.kind == "onehot":
            return -1
        known = ", ".join([repr(one) for one in self.categories[:10]]) + (", ..." if len(self.categories) > 10 else "")
        advice = " unknown='zeros' makes it all zeros." if self.kind == "onehot" else ""
        what = "the value is missing, and was never" if cell.text is None else f"the label {cell.text!r} is not"
        raise ValueError(f"{cell.place}: {what} in the rows that the table was made from; known are {known}.{advice}")


def number(cell: Cell) -> float:
    """The finite number that a field holds."""
    value = float(cell.text) if cell.text is not None and NUMBER.fullmatch(cell.text) else math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"{cell.place}: {cell.text!r} in a number column. Mend the file, or state another kind for it."
        )
    return value


def _zero_or_one(text: str) -> float | None:
    """0 and 1 also as 0.0 and 1.0."""
    return float(text) if NUMBER.fullmatch(text) and float(text) in (0.0, 1.0) else None


def fit_column(
    name: str, cells: list[Cell], kind: str | None, *, labels: str, standardize: bool, missing: str
) -> tuple[Column, str]:
    """The `Column` for these fields, and the line that the report has on it.

    ``kind`` None is inferred: 0/1 and yes/no words are yes/no; numbers throughout, or for the most part, are numbers
    (so that a stray word among them is an error, not a label); anything else is labels.
    """
    texts = [cell.text for cell in cells if cell.text is not None]
    absent = len(cells) - len(texts)
    if not texts:
        raise ValueError(f"column {name!r} is missing in every row; leave it out: kinds={{{name!r}: 'skip'}}.")
    kind = _inferred(texts) if kind is None else kind
    kind = labels if kind == "label" else kind
    column = Column(name, kind, refuse_missing=missing == "error")
    if kind in ("onehot", "index"):
        column.categories = _categories(texts, bool(absent))
        note = f", {absent} missing as a category of their own" if absent else ""
        return column, f"{name}: {len(column.categories)} labels, {kind}{note}"
    column.indicator = missing == "indicator" and absent > 0
    if kind == "yesno":
        values = [column._yes(cell) for cell in cells if cell.text is not None]
        column.mean = math.fsum(values) / len(values)
        column.categories = _yes_no_words(texts, values)
        note = f"; {absent} missing filled with the share of yes, {column.mean:.3g}" if absent else ""
        return column, f"{name}: yes/no{note}"
    values = [number(cell) for cell in cells if cell.text is not None]
    column.mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum([(value - column.mean) ** 2 for value in values]) / len(values))
    if standardize:
        # A constant column has no spread to divide by; rounding may leave a little of one.
        column.shift, column.std = column.mean, 1.0 if max(values) == min(values) else spread
    note = f"; {absent} missing filled with the mean" if absent else ""
    return column, f"{name}: number, mean {column.mean:.6g}, standard deviation {spread:.6g}{note}"


def _inferred(texts: list[str]) -> str:
    words = {text.casefold() for text in texts}
    # Pair by pair: "N" and "T" together are no yes and no.
    if all([_zero_or_one(word) is not None for word in words]) or any([words <= pair for pair in YES_NO_PAIRS]):
        return "yesno"
    numbers = sum([1 for text in texts if NUMBER.fullmatch(text)])
    return "number" if 2 * numbers > len(texts) else "label"


def _categories(texts: list[str], absent: bool) -> tuple[str, ...]:
    labels = sorted(set(texts), key=_by_value)
    return tuple([*labels, MISSING_LABEL] if absent and MISSING_LABEL not in labels else labels)


def _by_value(label: str) -> tuple[Any, ...]:
    """Labels that are numbers in their order: "2" before "10"."""
    return (0, float(label), label) if NUMBER.fullmatch(label) else (1, 0.0, label)


def _yes_no_words(texts: list[str], values: list[float]) -> tuple[str, ...]:
    """The commonest word for no and for yes, as written."""
    written = Counter(zip(values, texts, strict=True))
    found: dict[float, str] = {}
    for (value, text), _ in written.most_common():
        found.setdefault(value, text)
    return found.get(0.0, "no"), found.get(1.0, "yes")
