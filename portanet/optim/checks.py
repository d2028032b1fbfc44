"""What an optimizer refuses: parameters and hyperparameters that make no sense, each with what to do about it."""

from __future__ import annotations

from typing import Any

from portanet.library import is_array
from portanet.nn.parameter import is_lazy
from portanet.tensor import Tensor

__all__ = ["require_fraction", "require_nonnegative", "require_real", "require_within"]


def require_nonnegative(where: str, group: dict[str, Any], *names: str) -> None:
    """Raise ValueError unless these hyperparameters of a group are 0 or more."""
    for name in names:
        if not group[name] >= 0:
            raise ValueError(f"{where}: {name}={group[name]}; it must be 0 or more.")


def require_fraction(where: str, group: dict[str, Any], name: str, count: int = 1) -> None:
    """Raise ValueError unless a hyperparameter, one number or a tuple of ``count``, lies in [0, 1)."""
    values = group[name] if isinstance(group[name], tuple) else (group[name],)
    if len(values) != count or not all(0 <= value < 1 for value in values):
        expected = "a number" if count == 1 else f"{count} numbers"
        raise ValueError(f"{where}: {name}={group[name]}; expected {expected} from 0 up to, not including, 1.")


def require_within(where: str, group: dict[str, Any], name: str, low: float, high: float) -> None:
    """Raise ValueError unless a hyperparameter lies between two numbers, or is one of them."""
    if not low <= group[name] <= high:
        raise ValueError(f"{where}: {name}={group[name]}; it must lie between {low} and {high}.")


def require_real(where: str, group: dict[str, Any]) -> None:
    """Raise TypeError where a parameter of the group is complex."""
    for i, p in enumerate(group["params"]):
        if p.dtype.kind == "complex floating":
            raise TypeError(
                f"{where}: parameter {i} of the group is {p.dtype}; its rule looks at whole parameters, which have to "
                "be real. Give it to another optimizer, or keep the real and imaginary part as two parameters."
            )


def require_numbers(where: str, group: dict[str, Any], names: list[str], texts: tuple[str, ...] = ()) -> None:
    """Raise TypeError where a hyperparameter is an array or text: Python numbers alone never widen float32."""
    for name in names:
        for value in group[name] if isinstance(group[name], tuple) else (group[name],):
            if isinstance(value, Tensor) or is_array(value) or (isinstance(value, str) and name not in texts):
                raise TypeError(f"{where}: {name} is {seen(value)}; give a Python number, for example float(x).")


def listed(where: str, params: Any) -> list[Any]:
    """The entries of an iterable, whose order has to be the same from run to run: state is kept by position."""
    hint = "pass a list of Tensors, of (name, Tensor) pairs or of dicts"
    if isinstance(params, Tensor):
        hint = "write [p] for a single parameter"
    elif isinstance(params, dict):
        hint = "write [group] for a single group, list(tensors.values()) for Tensors by name"
    elif isinstance(params, (set, frozenset)):
        hint = "a set has no order; pass a list"
    elif hasattr(params, "__iter__") and not isinstance(params, str) and not is_array(params):
        return list(params)
    raise TypeError(f"{where}: params must be an iterable of Tensors or of dicts, saw {seen(params)}; {hint}.")


def named(where: str, entries: list[Any]) -> tuple[list[str], list[Any]]:
    """The names (or none) and the parameters, each once: a tied weight is one parameter."""
    pairs = [isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str) for entry in entries]
    if any(pairs) and not all(pairs):
        raise ValueError(f"{where}: some parameters are named and some are not; name all or none.")
    by_identity: dict[int, Any] = {}
    for entry in entries:
        by_identity.setdefault(id(entry[1] if pairs[0] else entry), entry)
    kept = list(by_identity.values())
    if any(pairs):
        return [name for name, _ in kept], [p for _, p in kept]
    return [], kept


def require_parameter(where: str, i: int, p: Any, groups: list[dict[str, Any]], known: dict[Tensor, int]) -> None:
    """Raise unless ``p`` is a leaf Tensor that is in none of the groups yet; ``known``: where parameters were put."""
    if not isinstance(p, Tensor):
        raise TypeError(
            f"{where}: parameter {i} of the group is {seen(p)}, not a Tensor; make it one: "
            "portanet.tensor(x, requires_grad=True)."
        )
    if is_lazy(p):
        raise ValueError(
            f"{where}: parameter {i} of the group is uninitialized, a lazy layer's before its first input; call the model "
            "once with an example, then make the optimizer."
        )
    if not p.is_leaf:
        raise ValueError(
            f"{where}: parameter {i} of the group (shape {p.shape}) was computed from other Tensors, so no gradient is "
            "kept for it; pass the Tensors it was computed from, or p.detach().requires_grad_()."
        )
    k = known.get(p, len(groups))
    if k < len(groups) and any(p is other for other in groups[k]["params"]):  # a user may have taken it out again
        raise ValueError(
            f"{where}: parameter {i} of the group (shape {p.shape}) is in group {k} already; a parameter belongs "
            "to one group, so leave it out of the other."
        )


def seen(x: Any) -> str:
    """What was passed, in few words."""
    if isinstance(x, Tensor):
        return f"a Tensor of shape {x.shape}"
    return f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
