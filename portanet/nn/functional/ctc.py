"""Connectionist temporal classification: the loss of a sequence of labels whose places in time are not known."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import is_array, namespace_of
from portanet.nn.functional._arguments import real_namespace, together
from portanet.nn.functional._checks import raw_of
from portanet.nn.functional._losses import require_reduction, require_whole, require_within
from portanet.tensor import Tensor

__all__ = ["ctc_loss"]

NAME = "ctc_loss"


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:
    """-log of the probability of all paths of T labels that read as the target, once repetitions and blanks are out.

    The sum over the paths is taken forward in time, in logarithms: alpha_t(s) = log p_t(label s) + log(e^alpha(s) +
    e^alpha(s - 1) + e^alpha(s - 2)), alpha being that of t - 1, over the target with blanks about each label; the last
    term counts only from one label to another. Graves, Fernandez, Gomez and Schmidhuber 2006, "Connectionist temporal
    classification".

    The gradient is that of this formula. PyTorch's differs by softmax(log_probs), which makes no difference to what
    comes before the `log_softmax`.

    Args:
        log_probs: logarithms of the probabilities of C labels, such as `log_softmax` gives; shape (T, N, C) or (T, C).
        targets: labels, of any integer dtype. Shape (N, S), what is beyond the target's length being passed over; or
            all targets one after the other, shape (sum of the lengths,). Without N, (S,).
        input_lengths: how many of the T steps count: integers, an array of shape (N,) or a tuple; without N a number.
        target_lengths: likewise, how many of the labels. Where the targets come one after the other, a tuple makes
            less work, for an array's largest element is not looked at.
        blank: the label that stands for none.
        reduction: ``"mean"`` (each loss over the length of its target, then over the batch), ``"sum"``, or ``"none"``.
        zero_infinity: whether a loss is 0, with gradient 0, where no path has the target's length.

    Returns:
        no axes, or for ``"none"`` shape (N,); the dtype of ``log_probs``.

    Raises:
        TypeError: an argument is no array, or labels or lengths are no integers.
        ValueError: the shapes do not go together, a length is out of range, ``blank`` is no label, or another
            ``reduction``. What arrays hold is looked at where that means no waiting: on NumPy, and in PyTorch and JAX
            on the CPU.
        IndexError: a target names no label; likewise. Elsewhere its loss is nan.

    >>> import portanet
    >>> half = portanet.log(portanet.full((2, 1, 2), 0.5))
    >>> portanet.nn.functional.ctc_loss(half, portanet.asarray([[1]]), (2,), (1,))  # of four paths three read as 1
    tensor(0.2876821)
    """
    require_reduction(NAME, reduction)
    given = [x if is_array(x) else None for x in (input_lengths, target_lengths)]
    log_probs, targets, *given = together(NAME, log_probs, targets, *given)
    xp = real_namespace(NAME, log_probs)
    single = log_probs.ndim == 2
    if single:
        log_probs = xp.expand_dims(log_probs, axis=1)
    if log_probs.ndim != 3:
        raise ValueError(f"{NAME}: expected log_probs of shape (T, N, C) or (T, C), saw {tuple(log_probs.shape)}.")
    if not 0 <= blank < log_probs.shape[2]:
        raise ValueError(f"{NAME}: blank={blank}; expected a label from 0 to {log_probs.shape[2] - 1}.")
    steps = _lengths(xp, "input_lengths", input_lengths, given[0], log_probs, log_probs.shape[0])
    labels, counts = _padded(xp, targets, target_lengths, given[1], log_probs, blank, single)
    losses = _losses(xp, log_probs, labels, steps, counts, blank)
    if zero_infinity:
        losses = xp.where(losses == math.inf, xp.zeros_like(losses), losses)
    if reduction == "mean":
        return xp.mean(losses / xp.astype(xp.maximum(counts, 1), losses.dtype))
    if reduction == "sum":
        return xp.sum(losses)
    return xp.squeeze(losses, axis=0) if single else losses


def _lengths(xp: Any, what: str, lengths: Any, array: Any, log_probs: Any, most: int) -> Any:
    """Lengths (N,) as an array of indices, none of them above ``most``."""
    batch = log_probs.shape[1]
    if array is None:
        numbers = [int(n) for n in (lengths if isinstance(lengths, (tuple, list)) else [lengths])]
        like = raw_of(log_probs)
        library = namespace_of(like)
        raw = library.asarray(numbers, dtype=library.positions(like).dtype, device=library.device_of(like))
        array = Tensor(raw) if isinstance(log_probs, Tensor) else raw
    require_whole(NAME, what, array)
    if tuple(array.shape) != (batch,) and not (batch == 1 and array.ndim == 0):
        raise ValueError(
            f"{NAME}: {what} has shape {tuple(array.shape)}, expected ({batch},): one length for each sequence."
        )
    require_within(NAME, what, array, 0, most, ValueError)
    return xp.reshape(xp.astype(array, xp.positions(log_probs).dtype), (batch,))


def _padded(
    xp: Any, targets: Any, lengths: Any, array: Any, log_probs: Any, blank: int, single: bool
) -> tuple[Any, Any]:
    """The labels of all targets (N, S), blank beyond the lengths; and the lengths (N,)."""
    require_whole(NAME, "targets", targets)
    batch, classes = log_probs.shape[1], log_probs.shape[2]
    if targets.ndim == 1 and single:
        targets = xp.expand_dims(targets, axis=0)
    if targets.ndim not in (1, 2) or (targets.ndim == 2 and targets.shape[0] != batch):
        raise ValueError(
            f"{NAME}: targets have shape {tuple(targets.shape)}; expected ({batch}, S) for log_probs of {batch} "
            "sequences, or one axis with all targets one after the other."
        )
    counts = _lengths(xp, "target_lengths", lengths, array, log_probs, targets.shape[-1])
    targets = xp.astype(targets, counts.dtype)
    if targets.ndim == 1:
        targets = _parted(xp, targets, counts, None if array is not None else lengths)
    used = xp.expand_dims(xp.positions(targets, axis=1), axis=0) < xp.expand_dims(counts, axis=1)
    labels = xp.where(used, targets, xp.full_like(targets, blank))
    require_within(NAME, "targets", labels, 0, classes - 1)
    return labels, counts


def _parted(xp: Any, targets: Any, counts: Any, lengths: Any) -> Any:
    """Targets that stand one after the other, as rows. Without the lengths as numbers a row is as long as all."""
    total = targets.shape[0]
    if lengths is not None and sum(lengths) != total:
        raise ValueError(
            f"{NAME}: targets have shape {tuple(targets.shape)}, but target_lengths add up to {sum(lengths)}."
        )
    width = total if lengths is None else max(lengths, default=0)
    require_within(NAME, "sums of target_lengths", xp.sum(counts), total, total, ValueError)
    if width == 0:
        return xp.reshape(targets, (counts.shape[0], 0))
    starts = xp.expand_dims(xp.cumulative_sum(counts) - counts, axis=1)
    places = starts + xp.expand_dims(xp.positions(targets)[:width], axis=0)
    places = xp.minimum(places, xp.full_like(places, total - 1))
    return xp.reshape(xp.take(targets, xp.reshape(places, (-1,))), places.shape)


def _losses(xp: Any, log_probs: Any, labels: Any, steps: Any, counts: Any, blank: int) -> Any:
    """The loss of each sequence (N,). A state is a place in the target with a blank before and after each label, so
    there are 2 S + 1; labels beyond a target's length are states that no path to its end passes through."""
    batch, length = labels.shape
    states = xp.reshape(xp.stack([xp.full_like(labels, blank), labels], axis=2), (batch, 2 * length))
    states = xp.concat([states, xp.full_like(xp.expand_dims(counts, axis=1), blank)], axis=1)
    place = xp.expand_dims(xp.positions(states, axis=1), axis=0)
    emitted = _emitted(xp, log_probs, labels, blank)

    # Two places before the first, which no path comes from, so that each step is one sum of three shifted arrays.
    edge_states = xp.concat([xp.full_like(states[:, :1], blank)] * 2 + [states], axis=1)
    never = xp.full_like(emitted[0, :, :], -math.inf)
    edge = xp.full_like(emitted[0, :, :1], -math.inf)
    leap = xp.where(states == edge_states[:, :-2], never, xp.zeros_like(never))  # not over a label, not to a blank
    alpha = xp.where(place == 0, xp.zeros_like(never), never)
    for t, now in enumerate(xp.unstack(emitted, axis=0)):
        past = xp.concat([edge, edge, alpha], axis=1)
        ways = xp.stack([alpha, past[:, 1:-1], past[:, :-2] + leap], axis=0)
        running = xp.expand_dims(steps > t, axis=1)
        alpha = xp.where(running, now + xp.logsumexp(ways, axis=0), alpha)
    last = 2 * xp.expand_dims(counts, axis=1)
    ends = xp.where((place == last) | (place == last - 1), alpha, never)
    return 0 - xp.logsumexp(ends, axis=1)  # not -x: no loss should read -0


def _emitted(xp: Any, log_probs: Any, labels: Any, blank: int) -> Any:
    """The logarithms of the probabilities of all states at all times, (T, N, 2 S + 1)."""
    time, batch, classes = log_probs.shape
    length = labels.shape[1]
    blanks = xp.broadcast_to(log_probs[:, :, blank : blank + 1], (time, batch, length + 1))
    if length == 0:
        return blanks
    named = (labels >= 0) & (labels < classes)
    index = xp.broadcast_to(xp.where(named, labels, xp.full_like(labels, blank)), (time, batch, length))
    found = xp.take_along_axis(log_probs, index, axis=2)
    found = xp.where(named, found, xp.full_like(found, math.nan))
    pairs = xp.reshape(xp.stack([blanks[:, :, 1:], found], axis=3), (time, batch, 2 * length))
    return xp.concat([pairs, blanks[:, :, :1]], axis=2)
