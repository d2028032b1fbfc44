"""A module called as a function of its parameters and buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portanet.nn.module import Module
from portanet.tensor import Tensor

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Any],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """What ``module`` computes with other parameters and buffers than its own, which it has again afterwards.

    Gradients go to the Tensors that are given. A buffer that changes, such as a running average, changes in them too.

    Args:
        module: any module.
        parameters_and_buffers: Tensors or arrays by dotted name; what is not named is the module's own.
        args: a tuple of arguments of the module, or a single one.
        kwargs: arguments by name.
        tie_weights: whether the other names of a tied parameter follow the one that is given.
        strict: whether names that are missing or unexpected are an error; else the latter are passed over.

    Returns:
        what the module returns.

    Raises:
        RuntimeError: with ``strict``, names do not fit.

    >>> import portanet
    >>> layer = portanet.nn.Linear(2, 1, bias=False)
    >>> w = portanet.asarray([[1.0, 10.0]])
    >>> portanet.nn.utils.stateless.functional_call(layer, {"weight": w}, portanet.asarray([2.0, 3.0]))
    tensor([32.])
    """
    places: dict[str, tuple[Module, str, str]] = {}
    for prefix, one in module.named_modules(remove_duplicate=False):
        for table in ("_parameters", "_buffers"):
            for name, value in one.__dict__[table].items():
                if value is not None:
                    places[f"{prefix}.{name}" if prefix else name] = (one, table, name)
    given = {name: x if isinstance(x, Tensor) else Tensor(x) for name, x in parameters_and_buffers.items()}
    own = {name: one.__dict__[table][key] for name, (one, table, key) in places.items()}
    replaced = {id(own[name]): x for name, x in given.items() if name in own} if tie_weights else {}
    if strict:
        missing = [name for name in own if name not in given and id(own[name]) not in replaced]
        unexpected = [name for name in given if name not in own]
        if missing or unexpected:
            raise RuntimeError(
                f"functional_call of {type(module).__name__}: missing: {', '.join(missing) or 'none'}; unexpected: "
                f"{', '.join(unexpected) or 'none'}."
            )
    new = {name: given.get(name, replaced.get(id(value), value)) for name, value in own.items()}
    arguments = args if isinstance(args, tuple) else () if args is None else (args,)
    try:
        _put(places, new)
        return module(*arguments, **(kwargs or {}))
    finally:
        _put(places, own)


def _put(places: dict[str, tuple[Module, str, str]], values: dict[str, Tensor]) -> None:
    """Let the modules hold these Tensors. They are not asked: what they hold is the same again soon."""
    for name, (one, table, key) in places.items():
        one.__dict__[table][key] = one.__dict__[key] = values[name]
