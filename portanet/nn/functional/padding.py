"""Padding: arrays continued beyond their ends, with a number or with what is in them."""

from __future__ import annotations

from typing import Any

from portanet.library import namespace_of
from portanet.nn.functional._checks import dtype_of, raw_of
from portanet.nn.functional._windows import Pairs, spatial

__all__ = ["pad"]

MODES = ("constant", "reflect", "replicate", "circular")


def pad(input: Any, pad: tuple[int, ...], mode: str = "constant", value: Any = None) -> Any:
    """``input`` continued beyond the ends of its last axes.

    Along an axis that holds 1, 2, 3, two places before and two after are, in the mode

    - ``"constant"``: v, v, **1, 2, 3**, v, v with v = ``value``;
    - ``"reflect"``: 3, 2, **1, 2, 3**, 2, 1: mirrored at the ends, which are not doubled;
    - ``"replicate"``: 1, 1, **1, 2, 3**, 3, 3: the ends again and again;
    - ``"circular"``: 2, 3, **1, 2, 3**, 1, 2: as if the axis were a ring.

    Args:
        input: of any shape for ``"constant"``; for the other modes (N, C, *spatial) or (C, *spatial), with one, two or
            three spatial axes, for each of which ``pad`` has two numbers.
        pad: how many places stand before and after the last axis, then before and after the last but one, and so on.
            Where a number is negative, as many are cut off.
        mode: what they hold.
        value: the number for ``"constant"``; None: 0.

    Returns:
        An array of the same dtype.

    Raises:
        ValueError: the shape is another, an axis has too few values to be mirrored or to go round once, or more is cut
            off than there is.
        TypeError: ``pad`` is not made of whole numbers, or ``value`` has no place in the input's dtype.

    >>> import portanet
    >>> from portanet.nn import functional as F
    >>> x = portanet.asarray([[1.0, 2.0, 3.0]])
    >>> F.pad(x, (1, 2), value=9.0)
    tensor([[9., 1., 2., 3., 9., 9.]])
    >>> F.pad(x, (2, 2), mode="reflect")
    tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """
    whole = isinstance(pad, (tuple, list)) and all([type(n) is int for n in pad])
    if not whole or len(pad) % 2:
        raise TypeError(f"pad: pad must be whole numbers, two for each axis from the last on, saw {pad!r}.")
    if mode != "constant" and value is not None:
        raise ValueError(f"pad: mode={mode!r} takes no value, saw {value!r}.")
    return padded("pad", input, pairs_of(pad), mode, 0 if value is None else value)


def pairs_of(pad: tuple[int, ...]) -> Pairs:
    """PyTorch's flat order, the last axis first, as a pair for each axis in the array's order."""
    return tuple([(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -2, -2)])


def padded(name: str, input: Any, pairs: Pairs, mode: str, value: Any = 0) -> Any:
    """``input`` with its last axes, as many as there are ``pairs``, continued before and after; ``name`` is for errors."""
    raw, xp = raw_of(input), namespace_of(input)
    if mode not in MODES:
        raise ValueError(f"{name}: the mode must be one of {', '.join(MODES)}, saw {mode!r}.")
    if mode != "constant":
        if len(pairs) not in (1, 2, 3):
            raise ValueError(f"{name}: mode={mode!r} is for one, two or three axes, saw {len(pairs)} pairs of numbers.")
        spatial(name, raw, len(pairs))
    elif len(pairs) > raw.ndim:
        raise ValueError(f"{name}: {len(pairs)} axes are to be padded, the input has shape {tuple(raw.shape)}.")
    first = raw.ndim - len(pairs)
    for (before, after), n in zip(pairs, raw.shape[first:], strict=True):
        _require_room(name, mode, tuple(raw.shape), n, before, after)
    if not any([before or after for before, after in pairs]):
        return input
    if mode == "constant":
        return _bordered(name, xp, input, pairs, value)
    for i, (before, after) in enumerate(pairs):
        if mode == "circular":  # the ring is closed after the cut, a mirror stands where the end was
            input = _cut(input, first + i, before, after)
        input = _continued(xp, input, first + i, max(before, 0), max(after, 0), mode)
        if mode != "circular":
            input = _cut(input, first + i, before, after)
    return input


def _require_room(name: str, mode: str, shape: tuple[int, ...], n: int, before: int, after: int) -> None:
    """Raise ValueError unless an axis of length n can be continued so."""
    left = n + min(before, 0) + min(after, 0)
    if mode == "constant":
        if left < 0:
            raise ValueError(f"{name}: padding {(before, after)} cuts off more than there is along {n} of {shape}.")
        return
    longest = {"reflect": n - 1, "replicate": max(before, after), "circular": left}[mode]
    if max(before, after) > longest:
        raise ValueError(
            f"{name}: mode={mode!r} can continue an axis of length {n} by at most {longest}, saw {(before, after)} for "
            f"an input of shape {shape}."
        )
    if n < 1 or n + before + after < 1:
        raise ValueError(f"{name}: padding {(before, after)} leaves nothing of an axis of length {n}, shape {shape}.")


def _along(x: Any, axis: int, start: int, stop: int) -> Any:
    """The slice from ``start`` to ``stop`` along one axis."""
    return x[(*[slice(None)] * axis, slice(start, stop), *[slice(None)] * (x.ndim - axis - 1))]


def _cut(x: Any, axis: int, before: int, after: int) -> Any:
    """``x`` without what negative numbers cut off."""
    if before >= 0 and after >= 0:
        return x
    return _along(x, axis, max(-before, 0), x.shape[axis] - max(-after, 0))


def _continued(xp: Any, x: Any, axis: int, before: int, after: int, mode: str) -> Any:
    """``x`` between the pieces that the mode puts before and after it. Pieces are joined: nothing is looked up."""
    n, pieces = x.shape[axis], [x]
    if before:
        if mode == "replicate":
            piece = xp.repeat(_along(x, axis, 0, 1), before, axis=axis)
        elif mode == "reflect":
            piece = xp.flip(_along(x, axis, 1, before + 1), axis=axis)
        else:
            piece = _along(x, axis, n - before, n)
        pieces.insert(0, piece)
    if after:
        if mode == "replicate":
            piece = xp.repeat(_along(x, axis, n - 1, n), after, axis=axis)
        elif mode == "reflect":
            piece = xp.flip(_along(x, axis, n - 1 - after, n - 1), axis=axis)
        else:
            piece = _along(x, axis, 0, after)
        pieces.append(piece)
    return xp.concat(pieces, axis=axis) if len(pieces) > 1 else x


def _bordered(name: str, xp: Any, x: Any, pairs: Pairs, value: Any) -> Any:
    """``x`` with the same number around it."""
    first = x.ndim - len(pairs)
    for i, (before, after) in enumerate(pairs):
        x = _cut(x, first + i, before, after)
    widths = [(0, 0)] * first + [(max(before, 0), max(after, 0)) for before, after in pairs]
    if not any([before or after for before, after in widths]):
        return x
    shape = tuple([n + before + after for n, (before, after) in zip(x.shape, widths, strict=True)])
    inside = tuple([slice(before, before + n) for n, (before, _) in zip(x.shape, widths, strict=True)])
    # One number of the library and device of x, though x may have no element: `any` of none is one.
    one = xp.any(x[tuple([slice(0, min(n, 1)) for n in x.shape])])
    one = xp.full_like(one, _in_dtype(name, value, dtype_of(raw_of(x))), dtype=x.dtype)
    return xp.set_at(xp.broadcast_to(one, shape), x, key=inside)


def _in_dtype(name: str, value: Any, dtype: Any) -> Any:
    """``value`` as the kind of number that arrays of this dtype hold."""
    kinds: dict[str, Any] = {"bool": bool, "real floating": float, "complex floating": complex}
    kind = kinds.get(dtype.kind, int)
    try:
        found = kind(value)
    except (TypeError, OverflowError, ValueError):
        found = None
    if found is None or (found != value and value == value):  # nan is none of the others' equals, nor its own
        raise TypeError(f"{name}: value={value!r} has no place in an input of dtype {dtype}; cast the input first.")
    return found
