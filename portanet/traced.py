"""A step traced by a library's own compiler: its state goes in and comes out as arguments of a pure function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from portanet.library import PYTHON_SCALARS, namespace_of
from portanet.lifting import State, collected, rebuilt
from portanet.optim.optimizer import Optimizer
from portanet.optim.skipping import step_unless
from portanet.optim.state import COUNT, raw, wrapped
from portanet.plan.recorder import Recorder, Refused, active
from portanet.tape import Leaf
from portanet.tensor import Tensor

__all__ = ["Traced"]


class _Tracer(Recorder):
    """While a compiler traces, optimizers step; what it cannot see (draws of random numbers) is refused."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state
        self.counts: defaultdict[int, int] = defaultdict(int)
        self.skips: dict[int, Any] = {}  # by the optimizer: whether its step is taken back
        self.known = {id(t) for t in state.tensors}

    def holds(self, tensor: Tensor) -> bool:
        return id(tensor) in self.known

    def advance_unless(self, optimizer: Optimizer, skip: Any) -> None:
        if id(optimizer) in self.counts:
            raise Refused(f"{type(optimizer).__name__} steps twice, and a GradScaler may take one of the steps back")
        self.skips[id(optimizer)] = skip
        self._advance(optimizer, lambda: step_unless(optimizer, skip))

    def advance(self, optimizer: Optimizer) -> None:
        if id(optimizer) in self.skips:
            raise Refused(f"{type(optimizer).__name__} steps twice, and a GradScaler may take one of the steps back")
        self._advance(optimizer, optimizer._step)

    def _advance(self, optimizer: Optimizer, step: Callable[[], None]) -> None:
        if not any([optimizer is known for known in self.state.optimizers]):
            raise Refused(f"{type(optimizer).__name__}.step() is called, which is not in state=(...)")
        if optimizer.untraceable:
            raise Refused(f"{type(optimizer).__name__} {optimizer.untraceable}")
        self.counts[id(optimizer)] += 1
        step()


class Traced:
    """One tracing of a step, for arguments of one form.

    Args:
        compiler: makes a fast function of a pure one.
        step, state: as for `portanet.compile`.
        args, options: the arguments of the first call.
        form: what they have in common with those of later calls.
    """

    def __init__(
        self, compiler: Callable[..., Any], step: Any, state: State, args: Any, options: Any, form: Any
    ) -> None:
        self.step, self.state, self.given = step, state, (args, options)
        self.form, self.modes = form, state.modes()
        self.leaves = [t._node for t in state.tensors if type(t._node) is Leaf]
        self.groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
        self.owners = [(o, p) for o in state.optimizers for group in o.param_groups for p in group["params"]]
        self.bare, self.constants = self._bare(), state.constants()
        self.compiled = compiler(self._pure)
        self.result: Any = None  # the tree that the step returned when it was traced
        self.counts: dict[int, int] = {}  # how often each optimizer stepped
        self.skipping: list[int] = []  # which of them may have taken their step back

    def _bare(self) -> list[bool]:
        return [leaf.grad is None for leaf in self.leaves]

    def fits(self, form: Any) -> bool:
        """Whether arguments of this form, in the present modes, with the present gradients and hyperparameters, take
        this way."""
        return (
            form == self.form
            and self.state.modes() == self.modes
            and self._bare() == self.bare
            and self.state.has_constants(self.constants)
        )

    def __call__(self, arrays: list[Any]) -> Any:
        """The step on these arrays, which are those of the arguments in order."""
        numbers, states = [], []
        for optimizer, p in self.owners:
            state = optimizer.state.get(p, {})
            states.append({name: raw(value) for name, value in state.items() if type(value) not in PYTHON_SCALARS})
            numbers.append({name: value for name, value in state.items() if type(value) in PYTHON_SCALARS})
        if any([set(found) > {COUNT} for found in numbers]):
            raise Refused("the optimizer keeps a number besides the count of its steps")
        xp = namespace_of(arrays[0] if arrays else self.state.tensors[0]._raw)
        rates = [xp.traced_number(group["lr"]) for group in self.groups]
        counts = [{name: xp.traced_number(value) for name, value in found.items()} for found in numbers]
        raws = [t._raw for t in self.state.tensors]
        grads = [None if leaf.grad is None else leaf.grad._raw for leaf in self.leaves]
        raws, grads, states, results, skips = self.compiled(raws, grads, states, counts, rates, arrays)
        for t, new in zip(self.state.tensors, raws):
            t._raw = new
        for leaf, grad in zip(self.leaves, grads):
            leaf.grad = None if grad is None else Tensor(grad)
        counting = {id(optimizer) for optimizer in self.state.optimizers if COUNT in optimizer.state_names}
        # Read from the device only where a count depends on it.
        skipped = {key: int(bool(skip)) for key, skip in zip(self.skipping, skips) if key in counting}
        for (optimizer, p), state, found in zip(self.owners, states, numbers):
            if state or found or optimizer.state.get(p):
                steps = self.counts[id(optimizer)] - skipped.get(id(optimizer), 0)
                count = {COUNT: found.get(COUNT, 0) + steps} if COUNT in optimizer.state_names else {}
                optimizer.state[p] = {**count, **{name: wrapped(value) for name, value in state.items()}}
        return rebuilt(self.result, list(results))

    def _pure(self, raws: Any, grads: Any, states: Any, counts: Any, rates: Any, arrays: Any) -> Any:
        """The step as a function of all that it reads, returning all that it changes."""
        tracer = _Tracer(self.state)
        held = [(t, t._raw) for t in self.state.tensors], [leaf.grad for leaf in self.leaves]
        held_states = [dict(optimizer.state.get(p, {})) for optimizer, p in self.owners]
        held_rates = [group["lr"] for group in self.groups]
        token = active.set(tracer)
        try:
            for t, new in zip(self.state.tensors, raws):
                t._raw = new
            for leaf, grad in zip(self.leaves, grads):
                leaf.grad = None if grad is None else Tensor(grad)
            for (optimizer, p), state, count in zip(self.owners, states, counts):
                optimizer.state[p] = {**count, **{name: Tensor(value) for name, value in state.items()}}
            for group, rate in zip(self.groups, rates):
                group["lr"] = rate
            args, options = rebuilt(self.given, list(arrays))
            self.result = self.step(*args, **options)
            self.counts, self.skipping = tracer.counts, list(tracer.skips)
            return (
                [t._raw for t in self.state.tensors],
                [None if leaf.grad is None else leaf.grad._raw for leaf in self.leaves],
                [
                    {name: raw(value) for name, value in optimizer.state.get(p, {}).items() if name != COUNT}
                    for optimizer, p in self.owners
                ],
                collected(self.result),
                list(tracer.skips.values()),
            )
        finally:
            active.reset(token)
            for t, old in held[0]:
                t._raw = old
            for leaf, grad in zip(self.leaves, held[1]):
                leaf.grad = grad
            for (optimizer, p), state in zip(self.owners, held_states):
                optimizer.state[p] = state
            for group, rate in zip(self.groups, held_rates):
                group["lr"] = rate
