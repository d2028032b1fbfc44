"""Tables: a CSV file to arrays, with the transformation kept to apply to new rows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from portanet.backend import get_default_dtype
from portanet.data.columns import KINDS, Column, fit_column, number
from portanet.data.csvfile import Records, is_source, read_records
from portanet.data.dataset import TensorDataset
from portanet.host import from_rows
from portanet.namespace.creation import asarray
from portanet.tensor import Tensor

__all__ = ["Table", "Transformation", "read_table"]

FORMAT = "portanet.data.Transformation 1"


@dataclass
class Transformation:
    """How the columns of a table become numbers: plain data, which `save` writes as JSON and `load` reads back.

    ``columns`` are those of the features in order, ``target`` that of the target or None, ``missing_words`` the texts
    that stand for a missing value; ``delimiter`` and ``encoding`` are those of the file, and of files to come.

    >>> import io, portanet
    >>> table = portanet.data.read_table(io.StringIO("rooms,heated\\n2,yes\\n4,no\\n"))
    >>> again = portanet.data.Transformation.from_json(table.transformation.to_json())
    >>> again.transform([{"rooms": 3, "heated": True}])
    tensor([[0., 1.]])
    """

    columns: list[Column]
    target: Column | None = None
    missing_words: list[str] = field(default_factory=list)
    delimiter: str = ","
    encoding: str = "utf-8-sig"

    @property
    def feature_names(self) -> list[str]:
        """What each of the D features is called."""
        return [name for column in self.columns for name in column.feature_names]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes 0, 1, ... of the target; None where it is a number or there is none."""
        return None if self.target is None or self.target.kind == "number" else self.target.categories

    def transform(self, rows: Any, *, unknown: str = "error") -> Tensor:
        """The features of new rows, as they are made for the rows of the table.

        Args:
            rows: the path of a CSV file (or an open text file) with these columns, in any order and among others; or
                a dict of column name -> value, or a list of them. Values may be text, numbers, truth values or None.
            unknown: for a label that was not in the table: ``"error"``, or ``"zeros"`` for an all-zero one-hot code.

        Returns:
            a Tensor of shape (rows, D) and the default dtype, on the current backend.

        Raises:
            ValueError: a column is not there, a field does not fit its column (named by line and column), or a label
                is unknown.
        """
        if unknown not in ("error", "zeros"):
            raise ValueError(f"unknown={unknown!r}; it must be 'error' or 'zeros'.")
        return self._features(self._records(rows), unknown)

    def transform_target(self, rows: Any) -> Tensor:
        """The target of new rows: (rows, 1) and floating for a number, (rows,) and whole for classes."""
        if self.target is None:
            raise ValueError("this table was read without target=, so there is no target to make.")
        return self._targets(self._records(rows))

    def restore_target(self, y: Any) -> Any:
        """A standardised target, or a network's prediction of it, in the units of the file again."""
        if self.target is None or self.target.kind != "number":
            raise ValueError(f"restore_target needs a target that is a number; here the classes are {self.classes}.")
        return y * self.target.std + self.target.shift

    def to_json(self) -> str:
        """The transformation as JSON text."""
        return json.dumps({"format": FORMAT} | asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Transformation:
        """The transformation that `to_json` wrote; ValueError where the text is something else."""
        try:
            content = json.loads(text)
            if content.pop("format") != FORMAT:
                raise ValueError("another format")
            columns = [_column(entry) for entry in content.pop("columns")]
            target = content.pop("target")
            return cls(columns, None if target is None else _column(target), **content)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"this JSON is no {FORMAT!r} ({problem!r}).") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the transformation to a JSON file."""
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Transformation:
        """The transformation in a JSON file."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except ValueError as problem:  # UnicodeDecodeError is one
            raise ValueError(f"{path}: {problem}") from None

    def _records(self, rows: Any) -> Records:
        if is_source(rows):
            return read_records(rows, self.delimiter, self.missing_words, self.encoding)
        return _records_of_dicts([rows] if isinstance(rows, Mapping) else rows, self.missing_words)

    def _features(self, records: Records, unknown: str = "error") -> Tensor:
        cells = [records.cells(column.name) for column in self.columns]
        rows = []
        for i in range(len(records)):
            row: list[float] = []
            for column, fields in zip(self.columns, cells, strict=True):
                row += column.encode(fields[i], unknown)
            rows.append(row)
        return _floats(rows, (len(rows), len(self.feature_names)))

    def _targets(self, records: Records) -> Tensor:
        column = self.target
        assert column is not None
        cells = records.cells(column.name)
        for cell in cells:
            if cell.text is None:
                raise ValueError(f"{cell.place}: the target is missing; take such rows out of the file.")
        if column.kind != "number":
            return asarray([column.place_of(cell) for cell in cells])
        return _floats([[(number(cell) - column.shift) / column.std] for cell in cells], (len(cells), 1))


def _column(entry: dict[str, Any]) -> Column:
    return Column(**entry | {"categories": tuple(entry["categories"])})


def _floats(rows: list[list[float]], shape: tuple[int, int]) -> Tensor:
    return asarray(from_rows(rows, shape), dtype=get_default_dtype())


@dataclass
class Table:
    """What `read_table` made of a file.

    Attributes:
        features: Tensor of shape (N, D), of the default dtype.
        target: Tensor of shape (N, 1) and the default dtype for a number, so that it fits a network with one output;
            of shape (N,) and whole numbers for classes; None without ``target=``.
        transformation: the `Transformation`, to keep and to apply to new rows.
        report: what was made of each column and of its missing values, a line each.
    """

    features: Tensor
    target: Tensor | None
    transformation: Transformation
    report: str

    @property
    def feature_names(self) -> list[str]:
        """What each of the D features is called: ``area``, ``street=Elm``, ``area missing``."""
        return self.transformation.feature_names

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the target's classes 0, 1, ...; None where it is a number or there is none."""
        return self.transformation.classes

    def __len__(self) -> int:
        """The number of rows."""
        return self.features.shape[0]

    def dataset(self) -> TensorDataset:
        """Features and, where there is one, target, for a `DataLoader`."""
        return TensorDataset(self.features) if self.target is None else TensorDataset(self.features, self.target)

    def transform(self, rows: Any, *, unknown: str = "error") -> Tensor:
        """The features of new rows: `Transformation.transform`."""
        return self.transformation.transform(rows, unknown=unknown)

    def transform_target(self, rows: Any) -> Tensor:
        """The target of new rows: `Transformation.transform_target`."""
        return self.transformation.transform_target(rows)

    def restore_target(self, y: Any) -> Any:
        """Targets or predictions in the units of the file: `Transformation.restore_target`."""
        return self.transformation.restore_target(y)


def read_table(
    path: Any,
    target: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    labels: str = "onehot",
    missing: str = "fill",
    standardize: bool = True,
    standardize_target: bool = False,
    delimiter: str = ",",
    missing_words: Sequence[str] = ("", "NA", "N/A", "NaN", "null"),
    encoding: str = "utf-8-sig",
) -> Table:
    """Read a CSV file whose first line names its columns, and make arrays of it.

    Numbers are standardised to (x - mean) / std, std being the root of the mean squared deviation; yes/no columns
    (yes/no, y/n, true/false, t/f, 0/1, in any case) become 0 and 1; labels become one-hot codes or their index in
    alphabetical order. Missing numbers become the mean, missing yes/no the share of yes, missing labels a category of
    their own. The same mapping serves new rows: ``table.transform(...)``.

    Args:
        path: the file, or an open text file. Quoted fields and a byte order mark are understood; blanks around a field
            do not count.
        target: the column to predict. A number becomes a regression target; labels and yes/no become classes. A
            number that names a class needs ``kinds={target: "label"}``.
        columns: which columns become features, in this order; None: all but the target.
        kinds: what a column holds, where the guess is wrong: ``"number"``, ``"yesno"``, ``"label"``, ``"onehot"``,
            ``"index"``, or ``"skip"`` to leave it out. Guessed are yes/no where all values are such words, number where
            more than half are numbers, label elsewhere.
        labels: ``"onehot"`` or ``"index"``, for labels without a kind of their own.
        missing: ``"fill"``; ``"indicator"``: fill, and for each number or yes/no column with missing values add one
            that is 1 where they were missing; ``"error"``.
        standardize: False leaves numbers as they are.
        standardize_target: standardise a target that is a number; ``table.restore_target`` undoes it.
        delimiter: what separates fields.
        missing_words: texts that stand for a missing value, in any case.
        encoding: of the file.

    Returns:
        a `Table`: ``features``, ``target``, ``feature_names``, ``classes``, ``transformation``, ``report``; the arrays
        are on the current backend.

    Raises:
        ValueError: a row with too few or too many fields, a word in a number column, a missing target (each named by
            line and column); columns that are not there or named twice; an option that is none of those above.

    >>> import io, portanet
    >>> text = '''area,street,garden,price
    ... 50,Elm,yes,100
    ... 70,Oak,no,120
    ... NA,Elm,yes,130
    ... '''
    >>> table = portanet.data.read_table(io.StringIO(text), target="price")
    >>> table.feature_names
    ['area', 'street=Elm', 'street=Oak', 'garden']
    >>> table.features
    tensor([[-1.,  1.,  0.,  1.],
            [ 1.,  0.,  1.,  0.],
            [ 0.,  1.,  0.,  1.]])
    >>> table.target.shape
    (3, 1)
    >>> table.transform({"area": 80, "street": "Oak", "garden": "no"})
    tensor([[2., 0., 1., 0.]])
    """
    kinds = dict(kinds or {})
    _check_options(kinds, labels, missing)
    records = read_records(path, delimiter, list(missing_words), encoding)
    _check_names(records, target, columns, kinds)
    report = [f"{len(records)} rows"]
    fitted = []
    for name in records.names if columns is None else columns:
        if name == target or kinds.get(name) == "skip":
            continue
        options = {"labels": labels, "standardize": standardize, "missing": missing}
        column, line = fit_column(name, records.cells(name), kinds.get(name), **options)  # type: ignore[arg-type]
        fitted.append(column)
        report.append(line)
    if not fitted:
        raise ValueError("read_table: no column is left for the features.")
    transformation = Transformation(fitted, None, list(missing_words), delimiter, encoding)
    if target is not None:
        kind = {"onehot": "index", "label": "index"}.get(kinds.get(target, ""), kinds.get(target))
        cells = records.cells(target)
        column, line = fit_column(target, cells, kind, labels="index", standardize=standardize_target, missing="fill")
        transformation.target = column
        report.append(f"target {line}" + (f": {', '.join(column.categories)}" if column.categories else ""))
    features = transformation._features(records)
    targets = None if target is None else transformation._targets(records)
    return Table(features, targets, transformation, "\n".join(report))


def _check_options(kinds: Mapping[str, str], labels: str, missing: str) -> None:
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise ValueError(f"kinds: column {name!r} is {kind!r}; it must be one of {', '.join(KINDS)}.")
    if labels not in ("onehot", "index"):
        raise ValueError(f"labels={labels!r}; it must be 'onehot' or 'index'.")
    if missing not in ("fill", "indicator", "error"):
        raise ValueError(f"missing={missing!r}; it must be 'fill', 'indicator' or 'error'.")


def _check_names(records: Records, target: str | None, columns: Sequence[str] | None, kinds: Mapping[str, str]) -> None:
    if isinstance(columns, str):
        raise TypeError(f"columns={columns!r}: give a list of names.")
    for name in [*(columns or []), *kinds, *([] if target is None else [target])]:
        records.require(name)
    if columns is not None and len(set(columns)) < len(columns):
        raise ValueError(f"columns={list(columns)} names a column twice.")
    if columns is not None and target in columns:
        raise ValueError(f"columns= includes the target {target!r}; the answer must not be among the features.")
    if target is not None and kinds.get(target) == "skip":
        raise ValueError(f"the target {target!r} cannot be skipped.")


def _records_of_dicts(rows: Any, missing_words: Sequence[str]) -> Records:
    rows = list(rows)
    if not rows or not all([isinstance(row, Mapping) for row in rows]):
        raise TypeError(
            "transform: give the path of a CSV file, a dict of column name -> value, or a list of such dicts"
        )
    lines = [{str(name): _text(value) for name, value in row.items()} for row in rows]
    names = list(lines[0])
    for i, line in enumerate(lines):
        if set(line) != set(names):
            differing = ", ".join(sorted(set(line) ^ set(names)))
            raise ValueError(f"row {i}: its columns differ from those of row 0: {differing}.")
    places = [f"row {i}" for i in range(len(lines))]
    return Records("the rows", names, [[line[name] for name in names] for line in lines], places, missing_words)


def _text(value: Any) -> str:
    """A value given in Python as a file would write it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value != value:
        return ""  # NaN is how other programs hold a missing number
    return str(value.item() if hasattr(value, "item") else value)
