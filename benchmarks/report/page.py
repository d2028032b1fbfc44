"""A page as one HTML file that needs nothing else: its pictures are inside."""

from __future__ import annotations

import html
import re

from benchmarks.report.blocks import Block, Heading, Items, Paragraph, Picture, Table

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2, h3 { line-height: 1.2; margin: 2rem 0 .5rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .875rem; margin: .75rem 0; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th.word, td.word { text-align: left; }
td.met { color: #1a6b34; }
td.missed { color: #a51d1d; font-weight: 600; }
code { background: #f3f3f3; padding: 0 .2rem; }
figure { margin: 1rem 0; }
figure svg { max-width: 100%; height: auto; }
figcaption { color: #555; font-size: .875rem; max-width: 60rem; }
"""


def page(blocks: list[Block], title: str) -> str:
    """The whole file."""
    body = "\n".join([_text(block) for block in blocks])
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _inline(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(text))


def _text(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Items(texts):
            return "<ul>" + "".join([f"<li>{_inline(text)}</li>" for text in texts]) + "</ul>"
        case Table(head, rows, marks, words):
            kinds = ["word" if j < words else "" for j in range(len(head))]
            top = _row(head, kinds, "th")
            lines = [_row(row, [marks.get((i, j), kinds[j]) for j in range(len(row))]) for i, row in enumerate(rows)]
            return f'<div class="wide"><table><thead>{top}</thead><tbody>{"".join(lines)}</tbody></table></div>'
        case Picture(_, svg, caption):
            return f"<figure>{svg[svg.index('<svg') :]}<figcaption>{_inline(caption)}</figcaption></figure>"


def _row(cells: list[str], kinds: list[str], tag: str = "td") -> str:
    made = [f'<{tag} class="{kind}">' if kind else f"<{tag}>" for kind in kinds]
    return (
        "<tr>" + "".join([f"{start}{_inline(cell)}</{tag}>" for start, cell in zip(made, cells, strict=True)]) + "</tr>"
    )
