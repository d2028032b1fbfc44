"""The adaptive softmax: frequent classes in a head, rare ones in clusters that the head knows by one score each."""

from __future__ import annotations

import math
from typing import Any

from portanet.nn.functional._arguments import require_shape
from portanet.nn.functional._checks import common_namespace
from portanet.nn.functional._losses import require_whole, require_within

NAME = "AdaptiveLogSoftmaxWithLoss"


def log_probabilities(head: Any, tails: list[Any]) -> Any:
    """The log-probabilities of all classes (..., n_classes), from the scores of the head and those of each cluster."""
    xp = common_namespace(head, *tails)
    logs = xp.log_softmax(head, axis=-1)
    shortlist = head.shape[-1] - len(tails)
    parts = [logs[..., :shortlist]]
    for k, scores in enumerate(tails):
        parts.append(logs[..., shortlist + k : shortlist + k + 1] + xp.log_softmax(scores, axis=-1))
    return xp.concat(parts, axis=-1)


def target_log_probabilities(head: Any, tails: list[Any], target: Any) -> Any:
    """The log-probability of each target, the softmax of a cluster being looked at in one place of each example only.

    Shapes: head (..., shortlist + clusters), each of ``tails`` (..., classes of the cluster), target (...).
    """
    xp = common_namespace(head, *tails)
    shortlist = head.shape[-1] - len(tails)
    classes = shortlist + sum([scores.shape[-1] for scores in tails])
    require_whole(NAME, "a target", target)
    require_shape(NAME, "target", target, head.shape[:-1], head)
    target = xp.astype(target, xp.positions(head, axis=-1).dtype)
    require_within(NAME, "target's class indices", target, 0, classes - 1)
    elsewhere = xp.full_like(target, -1)  # counts for nothing
    of_head, found, low = target, None, shortlist
    for k, scores in enumerate(tails):
        high = low + scores.shape[-1]
        inside = (target >= low) & (target < high)
        of_head = xp.where(inside, xp.full_like(target, shortlist + k), of_head)
        within = xp.where(inside, target - low, elsewhere)
        log_p = xp.pick_class(xp.log_softmax(scores, axis=-1), within, ignore_index=-1)
        found = log_p if found is None else found + log_p
        low = high
    named = (target >= 0) & (target < classes)
    of_head = xp.where(named, of_head, elsewhere)
    log_p = xp.pick_class(xp.log_softmax(head, axis=-1), of_head, ignore_index=-1)
    total = log_p if found is None else found + log_p
    return xp.where(named, total, xp.full_like(total, math.nan))
