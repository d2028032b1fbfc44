"""A page as Markdown, its pictures in files beside it."""

from __future__ import annotations

from benchmarks.report.blocks import Block, Heading, Items, Paragraph, Picture, Table


def markdown(blocks: list[Block], stem: str) -> str:
    """The text; a picture is linked as ``<stem>-<name>.svg``."""
    return "\n\n".join([_text(block, stem) for block in blocks]) + "\n"


def _text(block: Block, stem: str) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Items(texts):
            return "\n".join([f"- {text}" for text in texts])
        case Table(head, rows, marks, words):
            lines = [head, ["---"] * words + ["---:"] * (len(head) - words)]
            for i, row in enumerate(rows):
                lines.append([f"**{cell}**" if marks.get((i, j)) == "missed" else cell for j, cell in enumerate(row)])
            return "\n".join(["| " + " | ".join([cell.replace("|", "\\|") for cell in line]) + " |" for line in lines])
        case Picture(name, _, caption):
            return f"![{caption}]({stem}-{name}.svg)\n\n{caption}"
