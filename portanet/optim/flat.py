"""An optimizer's step on flat memory: one call of the rule for all the parameters of a group."""

from __future__ import annotations

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

    def __call__(self) -> None:
        optimizer = self.optimizer
        optimizer.step_called = True
        options = optimizer._options(self.group)
        numbers = self._gathered() if self.in_place is not None else None
        if self.in_place is not None and numbers is not None:
            state = {name: flat.whole for name, flat in self.states.items()} | numbers if self.states else numbers
            if self.in_place(self.values.whole, self.gradients.whole, state, **options):
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
        if not known:
            return {}
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
