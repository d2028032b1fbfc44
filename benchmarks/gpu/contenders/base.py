"""A contender at work on a GPU: it starts its steps, and someone else waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Run:
    """Called, it starts a step and does not wait for it.

    Args:
        start: starts a step and returns something of what it will give.
        wait: waits for all that was started, given what the last start returned.
        value: of what a start returned, the numbers that all contenders must agree on: a list of arrays.
        trouble: why what runs is not what is asked for, or "".
    """

    def __init__(
        self,
        start: Callable[[], Any],
        wait: Callable[[Any], Any],
        value: Callable[[Any], list[np.ndarray]] | None = None,
        trouble: Callable[[], str] | None = None,
    ) -> None:
        self.start, self._wait, self._value, self._trouble = start, wait, value, trouble
        self.last: Any = None

    def __call__(self) -> None:
        self.last = self.start()

    def wait(self) -> None:
        self._wait(self.last)

    def values(self, steps: int) -> list[np.ndarray]:
        """What the first steps give, one after the other."""
        found = []
        for _ in range(steps):
            self()
            self.wait()
            found += self._value(self.last) if self._value is not None else []
        return found

    def trouble(self) -> str:
        return self._trouble() if self._trouble is not None else ""


def number(loss: Any) -> list[np.ndarray]:
    """The value of a loss, whatever library it is of."""
    return [np.asarray(float(loss))]
