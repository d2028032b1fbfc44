"""What losses share: how the losses of the elements become one number, and what two sides, weights and classes must be."""

from __future__ import annotations

from typing import Any

from portanet.dtypes import int32, int64
from portanet.library import namespace_of
from portanet.nn.functional._arguments import real_namespace, require_broadcast, require_dtype, require_shape, together
from portanet.nn.functional._checks import dtype_of, raw_of

REDUCTIONS = ("mean", "sum", "none")
KL_REDUCTIONS = (*REDUCTIONS, "batchmean")


def require_reduction(name: str, reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise ValueError, listing what there is, unless ``reduction`` is one of ``allowed``."""
    if reduction not in allowed:
        raise ValueError(f"{name}: reduction={reduction!r}; expected one of {', '.join(allowed)}.")


def require_positive(name: str, what: str, value: float, zero: bool = False) -> None:
    """Raise ValueError unless ``value`` is above 0, or, with ``zero``, is 0."""
    if not (value > 0 or (zero and value == 0)):
        raise ValueError(f"{name}: {what}={value}; expected a number {'>=' if zero else '>'} 0.")


def require_smoothing(name: str, label_smoothing: float) -> None:
    """Raise ValueError unless ``label_smoothing`` is from 0 to 1."""
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing={label_smoothing}; expected a number from 0 to 1.")


def reduced(xp: Any, losses: Any, reduction: str) -> Any:
    """The losses as they are (``"none"``), their mean over all elements, or their sum."""
    if reduction == "mean":
        return xp.mean(losses)
    return xp.sum(losses) if reduction == "sum" else losses


def hinge(xp: Any, x: Any) -> Any:
    """max(x, 0), with slope 1 at 0: two points that coincide must feel the margin that is to part them."""
    return xp.clip(x, 0, None)


# ---------------------------------------------------------------------------------------------------------------------
# Two arrays of one shape


def alike(
    name: str, input: Any, target: Any, reduction: str, allowed: tuple[str, ...] = REDUCTIONS
) -> tuple[Any, Any, Any]:
    """The library, the input and the target of a loss whose two sides have one shape and dtype, all checked."""
    require_reduction(name, reduction, allowed)
    input, target = together(name, input, target)
    xp = real_namespace(name, input)
    require_shape(name, "target", target, input.shape, input)
    require_dtype(name, "target", target, input)
    return xp, input, target


def as_numbers(xp: Any, target: Any, input: Any) -> Any:
    """A target of whole numbers, such as counts or signs, in the dtype of the input; another target as it is."""
    return xp.astype(target, input.dtype) if "integer" in dtype_of(raw_of(target)).kind else target


def counted(name: str, input: Any, target: Any, reduction: str) -> tuple[Any, Any, Any]:
    """As `alike`, but the target may also be whole numbers of any integer dtype."""
    input, target = together(name, input, target)
    return alike(name, input, as_numbers(real_namespace(name, input), target, input), reduction)


def weighted(name: str, losses: Any, weight: Any, input: Any) -> Any:
    """The losses times a weight, or None, that broadcasts to the input."""
    if weight is None:
        return losses
    require_broadcast(name, "weight", weight, input)
    require_dtype(name, "weight", weight, input)
    return losses * weight


def require_one_shape(name: str, **arrays: Any) -> None:
    """Raise ValueError, naming both, unless all arrays have equally many axes, of equal length or of length 1."""
    (first, x), *others = arrays.items()
    for what, y in others:
        lengths = zip(x.shape, y.shape, strict=False)
        if len(x.shape) != len(y.shape) or any([n != m and 1 not in (n, m) for n, m in lengths]):
            raise ValueError(
                f"{name}: {first} has shape {tuple(x.shape)} and {what} {tuple(y.shape)}; expected one shape for both."
            )


# ---------------------------------------------------------------------------------------------------------------------
# Scores of classes and the right class


def class_axis(name: str, input: Any) -> int:
    """PyTorch's place for the classes: axis 0 of (C,), axis 1 of (N, C, ...)."""
    if input.ndim == 0:
        raise ValueError(f"{name}: expected an input of shape (C,) or (N, C, ...), saw one without axes.")
    return 0 if input.ndim == 1 else 1


def require_class_weight(name: str, weight: Any, input: Any) -> None:
    """Raise unless ``weight`` is None or has one element for each class, of the input's dtype."""
    if weight is not None:
        require_shape(name, "weight", weight, (input.shape[class_axis(name, input)],), input)
        require_dtype(name, "weight", weight, input)


def require_whole(name: str, what: str, array: Any) -> None:
    """Raise TypeError unless ``array`` holds integers."""
    if "integer" not in dtype_of(raw_of(array)).kind:
        raise TypeError(f"{name}: expected {what} of an integer dtype, saw {array.dtype}.")


def class_indices(name: str, xp: Any, target: Any, input: Any) -> Any:
    """Class indices, their dtype and shape checked. Whether they name classes is for the kernel to see, which knows
    where looking costs nothing: on a GPU it would make every step wait."""
    t, x = raw_of(target), raw_of(input)
    dtype = dtype_of(t)
    if "integer" not in dtype.kind:
        raise TypeError(f"{name}: expected class indices of an integer dtype as target, saw {target.dtype}.")
    axis = class_axis(name, x)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    if t.shape != shape:
        require_shape(name, "target", target, shape, input)
    if dtype is int64 or dtype is int32:
        return target
    # Narrow and unsigned types may not hold ignore_index, and some libraries index by their own integers alone.
    return xp.astype(target, xp.positions(input, axis=axis).dtype)


def require_within(
    name: str, what: str, array: Any, low: float, high: float, error: type[Exception] = IndexError
) -> None:
    """Raise ``error`` where it is known, without waiting for a device, that some element is outside low to high."""
    raw = raw_of(array)
    library = namespace_of(raw)
    if library.known_outside(raw, low, high):
        number = int if "integer" in dtype_of(raw).kind else float
        seen = f"from {number(library.min(raw))} to {number(library.max(raw))}"
        raise error(f"{name}: the {what} reach {seen}; they must lie in {low} to {high}.")
