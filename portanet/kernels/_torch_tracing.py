"""A pure function of PyTorch tensors as one graph, compiled by torch.compile.

Dynamo, which reads bytecode, would break a step into dozens of graphs where it meets the tape's dictionaries and context
variables. So the function is run once, and the operations that it does on tensors are written down: the graph of these
is what torch.compile gets.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

__all__ = ["traced_number", "tracer"]

tracing: ContextVar[bool] = ContextVar("portanet_torch_tracing", default=False)


def is_tracing() -> bool:
    """Whether operations are being written down, so that values must not be looked at, nor references counted."""
    return tracing.get() or torch.compiler.is_compiling()


def tracer() -> Any:
    return _Compiled


def traced_number(x: float) -> Any:
    return torch.tensor(x, dtype=torch.float64)  # as a number it would be compiled in; without axes it widens nothing


class _Compiled:
    """A pure function of nested lists and dicts of tensors, compiled anew for each form of its arguments."""

    def __init__(self, pure: Callable[..., Any]) -> None:
        self.pure = pure
        self.programs: dict[Any, tuple[Callable[..., Any], Any, list[Any]]] = {}

    def __call__(self, *args: Any) -> Any:
        flat, form = pytree.tree_flatten(args)
        tensors = [x for x in flat if isinstance(x, torch.Tensor)]
        key = str(form), *[(x.shape, x.dtype, x.device) if isinstance(x, torch.Tensor) else x for x in flat]
        if key not in self.programs:
            self.programs[key] = self._traced(flat, form, tensors)
        program, result_form, others = self.programs[key]
        results = iter(program(*tensors))
        return pytree.tree_unflatten([next(results) if x is _TENSOR else x for x in others], result_form)

    def _traced(self, flat: list[Any], form: Any, tensors: list[Any]) -> tuple[Callable[..., Any], Any, list[Any]]:
        found: list[Any] = []

        def on_tensors(*tensors: Any) -> list[Any]:
            left = iter(tensors)
            args = pytree.tree_unflatten([next(left) if isinstance(x, torch.Tensor) else x for x in flat], form)
            results, result_form = pytree.tree_flatten(self.pure(*args))
            found[:] = [result_form, [_TENSOR if isinstance(x, torch.Tensor) else x for x in results]]
            return [x for x in results if isinstance(x, torch.Tensor)]

        token = tracing.set(True)
        try:
            with torch.no_grad():
                graph = make_fx(on_tensors)(*tensors)
        finally:
            tracing.reset(token)
        return torch.compile(graph), found[0], found[1]


_TENSOR = object()
