"""What goes into and comes out of a compiled step: its state, and the arrays inside of its arguments and results."""

from __future__ import annotations

import copy
from numbers import Number
from typing import Any

from portanet.amp import GradScaler
from portanet.library import libraries, namespaces
from portanet.nn.module import Module
from portanet.nn.parameter import is_lazy
from portanet.optim.optimizer import Optimizer
from portanet.plan.recorder import Refused
from portanet.tensor import Tensor

__all__ = ["State", "collected", "flattened", "rebuilt"]


class State:
    """What a step reads and changes besides its arguments: the Tensors of modules and optimizers, and single ones.

    Raises TypeError for anything else.
    """

    def __init__(self, given: Any) -> None:
        self.given = given
        self.modules: list[Module] = []
        self.optimizers: list[Optimizer] = []
        tensors: list[Tensor] = []
        scalers: list[GradScaler] = []
        for one in given if isinstance(given, (tuple, list)) else (given,):
            if isinstance(one, Module):
                self.modules += list(one.modules())
                # Those without a shape come later: what materialises them restructures the module.
                tensors += [t for t in [*one.parameters(), *one.buffers()] if not is_lazy(t)]
            elif isinstance(one, Optimizer):
                self.optimizers.append(one)
                tensors += [p for group in one.param_groups for p in group["params"]]
            elif isinstance(one, Tensor):
                tensors.append(one)
            elif isinstance(one, GradScaler):
                scalers.append(one)
            else:
                raise TypeError(
                    f"compile: the state is made of Modules, Optimizers, Tensors and a GradScaler, saw "
                    f"{type(one).__name__}; write state=(model, optimizer)."
                )
        for scaler in scalers:
            if tensors:  # it was made before anybody knew where the loss would be
                scaler.place(tensors[0]._raw)
            tensors += scaler.tensors
        self.sizes = [[len(group["params"]) for group in one.param_groups] for one in self.optimizers]
        self.tensors = list({id(t): t for t in tensors}.values())

    def renewed(self) -> State | None:
        """The state as it is now, if modules or optimizers hold other things than they did; else None."""
        now = State(self.given)
        pairs: list[tuple[list[Any], list[Any]]] = [(self.tensors, now.tensors), (self.modules, now.modules)]
        same = all([list(map(id, one)) == list(map(id, other)) for one, other in pairs])
        return None if same and self.sizes == now.sizes else now

    def constants(self) -> list[dict[str, Any]]:
        """The hyperparameters that are recorded as they are now: all but the learning rate."""
        return copy.deepcopy(self._constants())  # a list of betas may change while it stays the same object

    def has_constants(self, recorded: list[dict[str, Any]]) -> bool:
        """Whether the hyperparameters are still those that were recorded."""
        return self._constants() == recorded

    def _constants(self) -> list[dict[str, Any]]:
        return [
            {name: group[name] for name in optimizer.defaults if name != "lr"}
            for optimizer in self.optimizers
            for group in optimizer.param_groups
        ]

    def modes(self) -> list[bool]:
        """Which modules are training: another mode is another computation."""
        return [module.training for module in self.modules]


def flattened(tree: Any) -> tuple[list[Any], Any]:
    """The raw arrays in nested tuples, lists and dicts, and the form of the rest: equal forms compute alike.

    Raises `Refused` for a Tensor that requires grad: its gradient would be lost.
    """
    arrays: list[Any] = []
    if type(tree) is not tuple:
        return arrays, _form(tree, arrays)
    form = []
    for one in tree:  # the usual arguments without a call for each
        if type(one) is Tensor and one._node is None:
            raw = one._raw
            arrays.append(raw)
            form.append((Tensor, type(raw), raw.shape, raw.dtype, namespaces[type(raw)].layout(raw)))
        else:
            form.append(_form(one, arrays))
    return arrays, form


def _form(tree: Any, arrays: list[Any]) -> Any:
    if type(tree) is Tensor or isinstance(tree, Tensor):
        if tree._node is not None:
            raise Refused("an argument requires grad, whose gradient would not come out; put it into the state")
        raw = tree._raw
        arrays.append(raw)
        return Tensor, type(raw), raw.shape, raw.dtype, namespaces[type(raw)].layout(raw)
    if type(tree) in libraries:
        arrays.append(tree)
        return type(tree), tree.shape, tree.dtype, namespaces[type(tree)].layout(tree)
    if isinstance(tree, (tuple, list)):
        return type(tree), [_form(one, arrays) for one in tree]
    if isinstance(tree, dict):
        return dict, [(key, _form(one, arrays)) for key, one in tree.items()]
    # As text, numbers tell 0 from -0, and nan is itself.
    return type(tree), repr(tree) if isinstance(tree, Number) else tree


def collected(tree: Any) -> list[Any]:
    """The raw arrays in nested tuples, lists and dicts, of Tensors too, in order."""
    if isinstance(tree, Tensor):
        return [tree._raw]
    if type(tree) in libraries:
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [x for one in tree for x in collected(one)] if isinstance(tree, (tuple, list)) else []


def rebuilt(tree: Any, arrays: list[Any]) -> Any:
    """The tree with these arrays in the places of its own, in order; Tensors are new ones."""
    return _rebuilt(tree, iter(arrays))


def _rebuilt(tree: Any, arrays: Any) -> Any:
    if isinstance(tree, Tensor):
        return Tensor(next(arrays))
    if type(tree) in libraries:
        return next(arrays)
    if isinstance(tree, (tuple, list)):
        made = [_rebuilt(one, arrays) for one in tree]
        return type(tree)(*made) if hasattr(tree, "_fields") else type(tree)(made)
    if isinstance(tree, dict):
        return {key: _rebuilt(one, arrays) for key, one in tree.items()}
    return tree
