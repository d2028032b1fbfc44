"""An optimizer's step on flat memory: one call of the rule for all the parameters of a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.library import PYTHON_SCALARS, namespace_of
from portanet.optim.optimizer import Optimizer
from portanet.plan.flat import Flat
from portanet.tensor import Tensor

__all__ = ["GroupStep"]


class GroupStep:
    """The step of one group, whose parameters are the parts of ``values`` and whose gradients those of ``gradients``.

    It changes the optimizer's state as `Optimizer.step` would, to the same bits, and reads the hyperparameters anew at
    each call, so that a schedule has its way.

    Args:
        optimizer: whose rule it is.
        group: one of its ``param_groups``.
        params: the parameters, each holding the part of ``values`` at its position.
        given: which of them have a gradient.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        group: dict[str, Any],
        params: list[Tensor],
        values: Flat,
        gradients: Flat,
        given: list[bool],
    ) -> None:
        self.optimizer, self.group, self.params = optimizer, group, params
        self.values, self.gradients, self.given = values, gradients, given
        self.states: dict[str, Flat] = {}
        self.elementwise = optimizer.elementwise
        # A rule that looks at the shape or the norm of a parameter must see each one as it is.
        self.in_place = optimizer._in_place(values.whole) if self.elementwise and all(given) else None
        # A library may have the rule as a function that makes an update ready, for the same arrays each time.
        self._ready_made = getattr(namespace_of(values.whole), f"{optimizer.rule.__name__}_ready", None)
        self._read()

    def _read(self) -> None:
        """Take the hyperparameters as they are now, to be asked whether they are still the same objects."""
        values = [self.group[name] for name in self.optimizer.defaults]
        # What can be changed while it stays the same object is read each time.
        values = [value if _is_fixed(value) else object() for value in values]
        self.read = list(zip(self.optimizer.defaults, values))
        self.options = self.optimizer._options(self.group)
        self.ready: Callable[[], Any] | None = None

    def __call__(self) -> None:
        optimizer, in_place = self.optimizer, self.in_place
        optimizer.step_called = True
        group = self.group
        for name, value in self.read:
            if group[name] is not value:
                self._read()
                break
        options = self.options
        if not optimizer.state and in_place is not None and self._ready_made is not None:
            if self.ready is None:
                self.ready = self._ready_made(self.values.whole, self.gradients.whole, {}, **options)
            if self.ready is not None:
                self.ready()
                return
        numbers = None if in_place is None else self._gathered() if optimizer.state else {}
        if in_place is not None and numbers is not None:
            state = {name: flat.whole for name, flat in self.states.items()} | numbers if self.states else numbers
            if in_place(self.values.whole, self.gradients.whole, state, **options):
                if state:
                    for p in self.params:
                        optimizer.state[p].update({name: state[name] for name in numbers})
                return
        for i, p in enumerate(self.params):
            if self.given[i]:
                # A rule may keep the gradient itself, whose memory here is written to at the next call: give it a copy.
                g = namespace_of(self.values.whole).copy(self.gradients.parts[i])
                optimizer._advance(p, g, optimizer.state.get(p, {}), options)
                p._raw = self.values.put(i, p._raw)
        if self.in_place is not None:
            self._gathered()

    def _gathered(self) -> dict[str, Any] | None:
        """The arrays of the state brought to flat memory where they are not; the numbers of it, or None where the
        parameters differ in what they have."""
        known = self.optimizer.state
        states = [known[p] for p in self.params if p in known]
        if not states:
            return {}
        names = states[0].keys()
        if len(states) < len(self.params) or any([state.keys() != names for state in states]):
            return None
        numbers = {name: value for name, value in states[0].items() if type(value) in PYTHON_SCALARS}
        for name in names:
            if name in numbers:
                if any([state[name] != numbers[name] for state in states]):
                    return None
                continue
            flat = self.states.get(name)
            there = flat is not None and all([state[name]._raw is part for state, part in zip(states, flat.parts)])
            if flat is None or not there or not flat.untouched():
                self.states[name] = self._brought(name, states)
        return numbers

    def _brought(self, name: str, states: list[Any]) -> Flat:
        """Flat memory of its own for one array of the state; whoever holds the old arrays keeps them."""
        flat = Flat([p.shape for p in self.params], self.values.whole.dtype)
        for i, state in enumerate(states):
            state[name] = Tensor(flat.put(i, state[name]._raw))
        flat.settle()
        return flat


def _is_fixed(value: Any) -> bool:
    if isinstance(value, tuple):
        return all([_is_fixed(one) for one in value])
    return value is None or isinstance(value, str) or type(value) in PYTHON_SCALARS
