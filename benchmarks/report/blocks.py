"""What a page is made of: headings, paragraphs, tables and pictures, which Markdown and HTML each write in their way."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str  # `code` in backticks is the only markup


@dataclass(frozen=True)
class Items:
    texts: list[str]


@dataclass(frozen=True)
class Table:
    """A first row of names and rows of cells; the first ``words`` columns are text, the others numbers.

    ``marks`` gives cells (row, column) a class: "met" or "missed".
    """

    head: list[str]
    rows: list[list[str]]
    marks: dict[tuple[int, int], str] = field(default_factory=dict)
    words: int = 1


@dataclass(frozen=True)
class Picture:
    """An SVG picture: the ending of its file's name, its text, and what it shows in a sentence."""

    name: str
    svg: str
    caption: str


Block = Heading | Paragraph | Items | Table | Picture
