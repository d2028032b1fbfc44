"""A step length along a line that meets the strong conditions of Wolfe: lower enough, and flatter enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Point", "strong_wolfe"]


class Point(NamedTuple):
    """A point of the line: how far along, the value there, the gradient, and its component along the line."""

    t: float
    value: float
    gradient: Any
    slope: float


def cubic_minimum(a: Point, b: Point, low: float | None = None, high: float | None = None) -> float:
    """Where the cubic through the values and slopes at two points is least, kept between two bounds.

    The bounds are the points themselves if they are not given. Nocedal and Wright, "Numerical optimization" (2006),
    equation 3.59.
    """
    if a.t > b.t:
        a, b = b, a
    low, high = (a.t if low is None else low), (b.t if high is None else high)
    d = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = d * d - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    root = math.sqrt(square)
    denominator = b.slope - a.slope + 2 * root
    if denominator == 0:
        return (low + high) / 2
    return min(max(b.t - (b.t - a.t) * ((b.slope + root - d) / denominator), low), high)


def strong_wolfe(
    at: Callable[[float], Point],
    start: Point,
    t: float,
    reach: float,
    *,
    tolerance_change: float,
    max_evaluations: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Point, int]:
    """A point whose value is below value + c1 t slope, and where abs(slope) is at most c2 of that at the start.

    First steps grow until two points have such a point between them; then these draw near to each other. Nocedal and
    Wright, "Numerical optimization" (2006), algorithms 3.5 and 3.6, with the safeguards of Schmidt's minFunc.

    Args:
        at: gives the point at t; it computes the value and the gradient.
        start: the point at 0, which slopes down.
        t: the first try.
        reach: the largest element of the direction, in size: where the points are so near that nothing moves.
        tolerance_change: what counts as no movement.
        max_evaluations: how many points may be tried, beside the first.
        c1, c2: see above.

    Returns:
        the best point that was found, and how many were tried.
    """

    def too_high(point: Point) -> bool:
        return point.value > start.value + c1 * point.t * start.slope

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    before, here = start, at(t)
    tried = 1
    while True:
        if tried > max_evaluations:
            pair = [start, here]
            break
        if too_high(here) or (tried > 2 and here.value >= before.value):
            pair = [before, here]
            break
        if flat(here):
            return here, tried
        if here.slope >= 0:
            pair = [before, here]
            break
        t = cubic_minimum(before, here, here.t + 0.01 * (here.t - before.t), 10 * here.t)
        before, here = here, at(t)
        tried += 1

    stuck = False
    low, high = (0, 1) if pair[0].value <= pair[1].value else (1, 0)
    while tried <= max_evaluations and abs(pair[1].t - pair[0].t) * reach >= tolerance_change:
        t = cubic_minimum(pair[0], pair[1])
        left, right = sorted([pair[0].t, pair[1].t])
        margin = 0.1 * (right - left)
        near = min(right - t, t - left) < margin
        if near and (stuck or t >= right or t <= left):  # a point at the edge would hardly narrow the bracket
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            near = False
        stuck = near
        here = at(t)
        tried += 1
        if too_high(here) or here.value >= pair[low].value:
            pair[high] = here
            low, high = (0, 1) if pair[0].value <= pair[1].value else (1, 0)
            continue
        if flat(here):
            return here, tried
        if here.slope * (pair[high].t - pair[low].t) >= 0:
            pair[high] = pair[low]
        pair[low] = here
    return pair[low], tried
