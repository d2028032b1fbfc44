"""VJPs of special."""

from __future__ import annotations

from typing import Any

VJPS: dict[str, Any] = {}
