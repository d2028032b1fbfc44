"""Hooks: functions called before or after a module computes, and the handle that takes them away again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Self


class RemovableHandle:
    """Takes a hook away again: by `remove`, or at the end of a ``with`` block."""

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self._hooks = hooks
        self._key = key

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self._hooks.pop(self._key, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


_next_hook = itertools.count().__next__


def hooked(hooks: dict[int, Any], hook: Callable[..., Any], prepend: bool, with_kwargs: bool) -> RemovableHandle:
    """Put ``hook`` last among ``hooks``, or first."""
    key = _next_hook()
    before = dict(hooks)
    if prepend:
        hooks.clear()
    hooks[key] = (hook, with_kwargs)
    if prepend:
        hooks.update(before)
    return RemovableHandle(hooks, key)
