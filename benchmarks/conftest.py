"""What `pytest benchmarks` times is kept, unless the command line says where."""

from __future__ import annotations

import pytest

from benchmarks import environment


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend-name", default="numpy", metavar="NAME", help="the backend of benchmarks/bench_loader.py"
    )


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    asked = getattr(option, "benchmark_save", None) or getattr(option, "benchmark_json", None)
    if hasattr(option, "benchmark_autosave") and not asked and not option.benchmark_disable:
        option.benchmark_autosave = environment.commit().replace(" ", "-")
