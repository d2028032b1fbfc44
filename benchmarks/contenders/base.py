"""What a contender is: a library or a way of writing, and how it does each kind of workload."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.workloads.base import Workload

Step = Callable[[], Any]  # does the work to its end, and returns what all contenders must agree on


class LeftOut(Exception):
    """Why a contender does not run here, or does not run this workload."""


class NotMine(LeftOut):
    """A contender that was never meant to do such a workload; nobody needs to be told."""


@dataclass(frozen=True)
class Contender:
    """A name for options, a title for tables, and one builder for each kind of workload that it can do.

    Attributes:
        packages: what must be installed.
        builders: for a class of workloads, what makes a step of one of them; it may raise LeftOut.
        agrees: False where the step computes a part only, so that there is nothing to compare (the floor).
        usual: False for one that runs only where it is named.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    builders: dict[type[Workload], Callable[[Any], Step]] = field(hash=False)
    agrees: bool = True
    usual: bool = True

    def missing(self) -> str | None:
        """Why the contender cannot run here, or None."""
        absent = [package for package in self.packages if importlib.util.find_spec(package) is None]
        return f"{', '.join(absent)} is not installed" if absent else None

    def build(self, workload: Workload) -> Step:
        """A step of the workload, from the start that all contenders share; raises LeftOut where it cannot."""
        reason = self.missing()
        if reason:
            raise LeftOut(reason)
        builder = self.builder(workload)
        if builder is None:
            raise NotMine(f"does not do {workload.name}")
        return builder(workload)

    def builder(self, workload: Workload) -> Callable[[Any], Step] | None:
        """What makes steps of such a workload, or None."""
        return next((self.builders[kind] for kind in type(workload).__mro__ if kind in self.builders), None)
