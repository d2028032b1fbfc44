"""Writes what was measured: a Markdown page, an HTML page, their pictures, and the numbers as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.report import content, gpu
from benchmarks.report.blocks import Picture
from benchmarks.report.markdown import markdown
from benchmarks.report.page import page


def contents(findings: dict[str, Any]) -> Any:
    """The module that says what a report of these findings has in it: of a GPU, or of a processor."""
    return gpu if "gpu" in findings else content


def write(findings: dict[str, Any], path: Path) -> list[Path]:
    """Write the report to ``path`` with the endings .md, .html and .json, and the pictures beside it."""
    numbers = path.with_name(f"{path.name}.json")
    numbers.write_text(json.dumps(rounded(findings), indent=1) + "\n", encoding="utf-8")  # first: they took long
    blocks = contents(findings).blocks_of(findings)
    files = {path.with_name(f"{path.name}-{one.name}.svg"): one.svg for one in blocks if isinstance(one, Picture)}
    files[path.with_name(f"{path.name}.md")] = markdown(blocks, path.name)
    files[path.with_name(f"{path.name}.html")] = page(blocks, contents(findings).TITLE)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return [numbers, *files]


def rounded(value: Any) -> Any:
    """Numbers to five digits, which is more than is measured."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value
