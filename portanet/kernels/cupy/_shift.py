"""Where the draws of a CUDA graph stand: its counters are those of the recording, moved on by a word that it reads."""

from __future__ import annotations

from typing import Any


class _Shift:
    """Holds what is added to the counter of each draw: an array of one uint64 on the device, or None for nothing."""

    word: Any = None


shift = _Shift()
