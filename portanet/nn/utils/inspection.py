"""Looking into a network: what every part of it computes, and how many parameters there are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from portanet.autograd import enable_grad, no_grad
from portanet.nn.module import Module

__all__ = ["activations", "count_parameters"]


def activations(model: Module, *inputs: Any, keep_graph: bool = False) -> dict[str, Any]:
    """What each submodule returns when the model is given ``inputs``, by dotted name, in the order of computation.

    In ``Sequential(Linear(2, 16), Tanh(), Linear(16, 1))`` the pre-activations a of the hidden layer are ``"0"`` and
    its hidden units h are ``"1"``. A module that is called several times is ``"name"``, ``"name#2"``, ``"name#3"``, and
    so is one that stands at two places. What `forward` computes with functions, not modules, has no name.

    Args:
        model: called once, in the mode that it is in: dropout and batch norm behave as they would.
        inputs: what the model takes.
        keep_graph: whether the results belong to a graph that gradients can go back over; else they are constants.

    Returns:
        a dictionary of what the submodules returned: Tensors as a rule.

    >>> import portanet
    >>> nn = portanet.nn
    >>> found = nn.utils.activations(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), portanet.ones((5, 2)))
    >>> {name: h.shape for name, h in found.items()}
    {'0': (5, 3), '1': (5, 3)}
    """
    found: dict[str, Any] = {}

    def keeper(name: str) -> Callable[..., None]:
        calls = [0]

        def keep(module: Module, args: Any, output: Any) -> None:
            calls[0] += 1
            found[name if calls[0] == 1 else f"{name}#{calls[0]}"] = output

        return keep

    with contextlib.ExitStack() as stack:
        stack.enter_context(enable_grad() if keep_graph else no_grad())
        for name, module in model.named_modules():
            if module is not model:
                stack.enter_context(module.register_forward_hook(keeper(name)))
        model(*inputs)
    return found


def count_parameters(model: Module, trainable_only: bool = False) -> int:
    """The number of elements of all parameters, a tied one counted once.

    >>> import portanet
    >>> portanet.nn.utils.count_parameters(portanet.nn.Linear(3, 2))
    8
    """
    return sum([p.size for p in model.parameters() if p.requires_grad or not trainable_only])
