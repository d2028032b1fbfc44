"""What loss scaling does on the device, without the host looking: gradients divided, overflows found, the scale moved on."""

from __future__ import annotations

from typing import Any


def unscaled(xp: Any, gradients: list[Any], inverse: Any) -> tuple[list[Any], Any]:
    """All gradients times ``inverse`` (no axes), each in its dtype, and whether some element of them is inf or nan (no axes).

    A gradient of a half-width dtype comes out in float32: divided, it could vanish.
    """
    wide = [xp.astype(g, xp.float32) if xp.dtypes[g.dtype].itemsize == 2 else g for g in gradients]
    finite = xp.all(xp.isfinite(wide[0]))
    for g in wide[1:]:
        finite = xp.logical_and(finite, xp.all(xp.isfinite(g)))
    factors = {g.dtype: xp.astype(inverse, g.dtype) for g in wide}
    return [g * factors[g.dtype] for g in wide], xp.logical_not(finite)


def rescaled(
    xp: Any, scale: Any, tracker: Any, found: Any, *, growth: float, backoff: float, interval: int
) -> tuple[Any, Any]:
    """The next scale and the next count of steps without overflow, all without axes: after an overflow times ``backoff``,
    after ``interval`` steps without one times ``growth``, unless that is infinite."""
    count = tracker + 1
    due = count >= interval
    larger = scale * growth
    grown = xp.where(xp.logical_and(due, xp.isfinite(larger)), larger, scale)
    zero = xp.zeros_like(tracker)
    return xp.where(found, scale * backoff, grown), xp.where(xp.logical_or(found, due), zero, count)
