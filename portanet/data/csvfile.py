"""CSV files as fields that know their line, so that what is wrong can be said with its place."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from typing import Any

from portanet.data.columns import Cell

__all__ = ["Records", "is_source", "read_records"]


class Records:
    """The fields of a file as text, row by row, with the line that each row begins in."""

    def __init__(
        self, source: str, names: list[str], rows: list[list[str]], places: list[str], missing_words: Iterable[str]
    ) -> None:
        self.source = source
        self.names = names
        self.rows = rows
        self.places = places
        self._cells: dict[str, list[Cell]] = {}
        self._missing = {word.strip().casefold() for word in missing_words} | {""}

    def __len__(self) -> int:
        return len(self.rows)

    def require(self, name: str) -> int:
        """The place of a column, or ValueError where there is none of this name."""
        if name not in self.names:
            hint = ""
            if len(self.names) == 1 and any([mark in self.names[0] for mark in ";\t|"]):
                hint = " The fields seem to be separated by something else than the delimiter= given."
            raise ValueError(f"{self.source}: no column {name!r}; there are {', '.join(map(repr, self.names))}.{hint}")
        return self.names.index(name)

    def cells(self, name: str) -> list[Cell]:
        """The fields of one column; kept, because they are looked at twice: to fit the column and to encode it."""
        if name not in self._cells:
            k = self.require(name)
            fields = [row[k].strip() for row in self.rows]
            self._cells[name] = [
                Cell(None if text.casefold() in self._missing else text, place, name)
                for text, place in zip(fields, self.places, strict=True)
            ]
        return self._cells[name]


def is_source(rows: Any) -> bool:
    """Whether this is a path or an open file, as opposed to rows."""
    return isinstance(rows, (str, os.PathLike)) or hasattr(rows, "read")


def read_records(source: Any, delimiter: str, missing_words: Sequence[str], encoding: str = "utf-8-sig") -> Records:
    """The records of a CSV file; ValueError, naming the line, for a row that does not fit the header."""
    if hasattr(source, "read"):
        return _parsed(source, "the file", delimiter, missing_words)
    with open(source, encoding=encoding, newline="") as file:
        try:
            return _parsed(file, os.fspath(source), delimiter, missing_words)
        except UnicodeDecodeError as problem:
            raise ValueError(
                f"{source}: not text in {encoding} ({problem}); give encoding=, perhaps 'latin-1'."
            ) from None


def _parsed(file: Any, source: str, delimiter: str, missing_words: Sequence[str]) -> Records:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    rows, places = [], []
    line = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as problem:
            raise ValueError(f"{source}, line {line}: {problem}; is a quotation mark missing?") from None
        first, line = line, reader.line_num + 1  # a quoted field may go over several lines
        if not row:
            continue
        if names is None:
            names = _names(row, source)
        elif len(row) != len(names):
            few = "few" if len(row) < len(names) else "many"
            where = f", from column {names[len(row)]!r} on" if few == "few" else ""
            raise ValueError(f"{source}, line {first}: too {few} fields: {len(row)}, expected {len(names)}{where}.")
        else:
            rows.append(row)
            places.append(f"{source}, line {first}")
    if names is None:
        raise ValueError(f"{source}: empty; the first line should name the columns.")
    if not rows:
        raise ValueError(f"{source}: no rows below the names of the columns.")
    return Records(source, names, rows, places, missing_words)


def _names(row: list[str], source: str) -> list[str]:
    # An open file may still have the byte order mark that opening by path takes away.
    names = [name.strip().removeprefix("\ufeff") or f"column {k + 1}" for k, name in enumerate(row)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{source}, line 1: column {twice[0]!r} is there twice; columns need names of their own.")
    return names
