"""A step captured as device graphs: its state at fixed places, its work launched as a whole, its effects put back."""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

from portanet.library import PYTHON_SCALARS, device_of, namespace_of
from portanet.lifting import State, collected, rebuilt
from portanet.optim.at_once import step_arrays
from portanet.optim.optimizer import Optimizer
from portanet.optim.ownership import alone
from portanet.optim.state import COUNT, raw
from portanet.plan.recorder import Refused, Stale, active
from portanet.replay import Late, StepRecorder, Touched
from portanet.tape import Leaf
from portanet.tensor import Tensor

__all__ = ["Captured"]

NUMBERS = 256  # learning rates and counts of steps that one recording may read


class _Capturing(StepRecorder):
    """While a device records, optimizers step within the graph or between two; generators are moved on by hand."""

    def __init__(self, captured: Captured) -> None:
        super().__init__(captured)
        self.generator: tuple[Any, dict[str, int]] | None = None  # the one that was drawn from, and its state before

    def draw(self, generator: Any, drawn: Callable[[], Any]) -> Any:
        if self.generator is None:
            self.generator = generator, generator.get_state()
        elif self.generator[0] is not generator:
            raise Refused("two generators are drawn from; a recording can move one alone")
        return drawn()

    def advance(self, optimizer: Optimizer) -> None:
        self.advance_unless(optimizer, None)

    def advance_unless(self, optimizer: Optimizer, skip: Any) -> None:
        self.require_known(optimizer)
        self.owner.advance(optimizer, skip)


class _Given(Tensor):
    """A gradient that there is before the step, which knows whether the step looks at it."""

    __slots__ = ("_array", "was_read")

    def __init__(self, array: Any) -> None:
        self._array, self.was_read, self._node = array, False, None

    @property
    def _raw(self) -> Any:
        self.was_read = True
        return self._array

    @_raw.setter
    def _raw(self, new: Any) -> None:
        self._array = new


class Captured:
    """One capture of a step, for arguments of one form.

    Args:
        capturer: makes what records the work of a device.
        step: the function. It is called once, without effect on the state, to be recorded.
        state: what it reads and changes.
        args, options: its arguments.
        form: what they have in common with those of later calls.

    Raises:
        Refused, or the library's own error: something in the step cannot be captured. All is then as it was.
    """

    def __init__(
        self, capturer: Any, step: Callable[..., Any], state: State, args: Any, options: Any, form: Any
    ) -> None:
        self.state, self.form, self.modes = state, form, state.modes()
        arrays = collected((args, options))
        first = arrays[0] if arrays else state.tensors[0]._raw
        self.xp = namespace_of(first)
        self.capture = capturer(NUMBERS, device_of(first))
        self.leaves = [t._node for t in state.tensors if type(t._node) is Leaf]
        self.nodes = [t._node for t in state.tensors]
        self.bare = [leaf.grad is None for leaf in self.leaves]
        self.constants = state.constants()
        self.homed = {id(t): k for k, t in enumerate(state.tensors)}
        self.homes = [self._own(t) for t in state.tensors]
        for optimizer in state.optimizers:
            for values in optimizer.state.values():
                for value in [one for one in values.values() if isinstance(one, Tensor)]:
                    self._own(value)
        self.sources = [self.xp.copy(x) for x in arrays]
        self.grads = [None if leaf.grad is None else self.xp.copy(leaf.grad._raw) for leaf in self.leaves]
        self.parts: list[Callable[[], Any]] = []  # graphs to launch, and steps of optimizers between them
        self.numbers: list[Callable[[], float]] = []  # what the graphs read anew each time
        self.between: list[Any] = []  # the gradients that the latter are given
        self.steps: dict[int, _Within] = {}  # the optimizers that step within a graph
        self.moments: list[tuple[Optimizer, Tensor, str, Any]] = []  # the arrays that their states must hold
        self._watched: list[Any] = []
        self._held = [self._holders(k) for k in range(len(self.homes))]
        recorder = _Capturing(self)
        self._record(recorder, step, args, options)

    def _own(self, t: Tensor) -> Any:
        """The array of a Tensor, which nobody else may hold from now on."""
        if not alone(t):
            t._raw = self.xp.copy(t._raw)
        return t._raw

    def _holders(self, k: int) -> int:
        return sys.getrefcount(self.homes[k])

    def _require_free(self, k: int, at_home: bool) -> None:
        """Raise `Refused` where the step holds the old value of a state, or a view of it, which is about to change."""
        if self._holders(k) > self._held[k] - (not at_home):
            raise Refused("a value of the state from before it changed is held beyond that")

    # ----------------------------------------------------------------------------------------------------- recording

    def _record(self, recorder: _Capturing, step: Callable[..., Any], args: Any, options: Any) -> None:
        """Capture a call of the step, and leave all as it was."""
        before = [leaf.grad for leaf in self.leaves]
        groups = [group for optimizer in self.state.optimizers for group in optimizer.param_groups]
        held = [dict(group) for group in groups]
        token = active.set(recorder)
        gc.collect()
        collecting = gc.isenabled()
        gc.disable()  # what it would free may not be freed while a device records
        try:
            given_grads = [None if grad is None else _Given(grad) for grad in self.grads]
            for leaf, grad in zip(self.leaves, given_grads):
                leaf.grad = grad
            with self.capture.place():
                self.capture.begin()
                try:
                    given = rebuilt((args, options), list(self.sources))
                    self._finish(step(*given[0], **given[1]))
                    del given
                    self.parts.append(self.capture.end())
                    self.grads = [None if grad is None or not grad.was_read else grad._raw for grad in given_grads]
                except BaseException:
                    self.capture.abandon()
                    raise
            if any([group[name] != old[name] for group, old in zip(groups, held) for name in old if name != "params"]):
                raise Refused("a hyperparameter of an optimizer is set; set it outside of the step")
            self.generator = self.used = None
            if recorder.generator is not None:
                self.generator, earlier = recorder.generator
                self.drawn_from, self.used = earlier, self.generator.get_state()["counter"] - earlier["counter"]
        finally:
            if collecting:
                gc.enable()
            active.reset(token)
            for t, home, node in zip(self.state.tensors, self.homes, self.nodes):
                t._raw, t._node = home, node
            for leaf, old in zip(self.leaves, before):
                leaf.grad = old
            for group, kept in zip(groups, held):
                group.update(kept)
            for tensor, old, node in reversed(recorder.written):
                tensor._raw, tensor._node = old, node
            if recorder.generator is not None:
                recorder.generator[0].set_state(recorder.generator[1])
        self._require_nothing_kept(recorder)

    def advance(self, optimizer: Optimizer, skip: Any) -> None:
        """An optimizer's step: within the graph, where its rule can write to the parameters, else between two graphs;
        there, too, where the host is to read whether it is to ``skip`` it."""
        self._bring_home()
        if skip is not None or not self._stepped_within(optimizer):
            self.parts.append(self.capture.end())
            leaves = [p._node for group in optimizer.param_groups for p in group["params"] if type(p._node) is Leaf]
            grads = [(leaf, None if leaf.grad is None else leaf.grad._raw) for leaf in leaves]
            self.between += [x for x in (skip, *[grad for _, grad in grads]) if x is not None]
            self.parts.append(functools.partial(self._step_between, optimizer, grads, skip))
            self.capture.begin()

    def _bring_home(self) -> None:
        """Record that what the step gave to its state comes to the places of that."""
        away = [k for k, t in enumerate(self.state.tensors) if t._raw is not self.homes[k]]
        for k in away:
            self._require_free(k, False)
            new = self.state.tensors[k]._raw
            if new.shape != self.homes[k].shape or new.dtype != self.homes[k].dtype:
                raise Refused(f"a state of shape {self.homes[k].shape} gets another shape or dtype: {new.shape}")
        for k in away:
            self.xp.copy_into(self.homes[k], self.state.tensors[k]._raw)
            self.state.tensors[k]._raw = self.homes[k]

    def _stepped_within(self, optimizer: Optimizer) -> bool:
        """Record the step's kernels. False, and nothing is recorded, where the rule makes new arrays."""
        work = [(group, p) for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        states = [optimizer.state.get(p, {}) for _, p in work]
        numbers = [{name: value for name, value in state.items() if type(value) in PYTHON_SCALARS} for state in states]
        if (
            not work
            or any([optimizer._in_place(p._raw) is None or type(group["lr"]) is not float for group, p in work])
            or any([found.keys() - {COUNT} or found != numbers[0] for found in numbers])
        ):
            return False
        params = [p for _, p in work]
        within = self.steps.get(id(optimizer)) or _Within(optimizer, params, COUNT in numbers[0])
        if [id(p) for p in within.params] != [id(p) for p in params]:
            raise Refused(f"{type(optimizer).__name__} steps twice, for other parameters each time")
        count = {COUNT: self._number(within.count(self._times(optimizer)))} if within.counts else {}
        groups = [group for group in optimizer.param_groups if any([group is one for one, _ in work])]
        rates = [self._number(functools.partial(group.__getitem__, "lr")) for group in groups]
        options = {
            id(group): optimizer._options(group) | {"lr": rate} for group, rate in zip(groups, rates, strict=True)
        }
        for p in params:
            self._require_free(self.homed[id(p)], True)
        arrays = []
        for (group, p), state in zip(work, states):
            optimizer._require_agreement(p._raw, p.grad._raw, state)
            values = {name: raw(value) for name, value in state.items()} | count
            arrays.append((p._raw, p.grad._raw, values, options[id(group)]))
        done = step_arrays(optimizer, arrays)
        if not all(done):
            if any(done):
                raise Refused(f"{type(optimizer).__name__} has a state for some of its parameters only")
            return False
        if not within.times:
            self.moments += [
                (optimizer, p, name, raw(value))
                for p, state in zip(params, states)
                for name, value in state.items()
                if name != COUNT
            ]
        within.times += 1
        self.steps[id(optimizer)] = within
        return True

    def _times(self, optimizer: Optimizer) -> int:
        return self.steps[id(optimizer)].times if id(optimizer) in self.steps else 0

    def _number(self, value: Callable[[], float]) -> Any:
        if len(self.numbers) == NUMBERS:
            raise Refused(f"the optimizers have more than {NUMBERS} learning rates and counts")
        self.numbers.append(value)
        return self.capture.number(len(self.numbers) - 1)

    def _finish(self, result: Any) -> None:
        """What follows a launch: new values of the state, gradients, results."""
        self._bring_home()
        self.ends = [None if leaf.grad is None else Tensor(leaf.grad._raw) for leaf in self.leaves]
        self.results = collected(result)
        # Its form alone, which holds nothing of the recording.
        self.result = rebuilt(result, [self.capture.number(0)] * len(self.results))

    def _require_nothing_kept(self, recorder: _Capturing) -> None:
        """Raise `Refused` where something outlives the recording that a launch would not make anew."""
        written = [weakref.ref(tensor) for tensor, _, _ in recorder.written]
        recorder.written = []
        gc.collect()
        ours = self.results + self.between + [end._raw for end in self.ends if end is not None]
        others = self.homes + self.sources + [grad for grad in self.grads if grad is not None]
        if any([one() is not None for one in written]) or self.capture.holds_more_than(ours, others):
            raise Refused("the step changes or keeps a Tensor that is not in state=(...); name it there, or return it")

    # ----------------------------------------------------------------------------------------------------- replaying

    def fits(self, form: Any) -> bool:
        """Whether arguments of this form, in the present modes, with the present gradients and hyperparameters, take
        this way."""
        return (
            form == self.form
            and [t._node for t in self.state.tensors] == self.nodes
            and [leaf.grad is None for leaf in self.leaves] == self.bare
            and [module.training for module in self.state.modules] == self.modes
            and self.state.has_constants(self.constants)
        )

    def __call__(self, arrays: list[Any]) -> Any:
        """The step on these arrays, which are those of the arguments in order.

        Raises `Touched` or `Stale` before anything has changed, and `Late` after that.
        """
        self._return_home()
        shift = self._shift()
        self._bring(arrays)
        self.capture.write([number() for number in self.numbers], shift)
        try:
            for part in self.parts:
                part()
        except Exception as problem:
            raise Late(problem) from problem
        for within in self.steps.values():
            within.move_on()
        self._attach()
        if not self._watched:
            self._settle()
        return rebuilt(self.result, [self.xp.copy(x) for x in self.results])

    # Each in a frame of its own: what a loop met last would be held by it, and be counted below.

    def _bring(self, arrays: list[Any]) -> None:
        for source, x in zip(self.sources, arrays):
            self.xp.copy_into(source, x)
        for grad, leaf in zip(self.grads, self.leaves):
            if grad is not None:
                self.xp.copy_into(grad, leaf.grad._raw)

    def _attach(self) -> None:
        for leaf, grad in zip(self.leaves, self.ends):
            leaf.grad = grad

    def _step_between(self, optimizer: Optimizer, grads: list[tuple[Leaf, Any]], skip: Any) -> None:
        """A step of an optimizer between two graphs: its rule makes new arrays, or the host has to read ``skip``."""
        if skip is not None and bool(skip):
            return
        for leaf, grad in grads:  # copies: a rule may keep a gradient, and the next launch writes to this one
            leaf.grad = None if grad is None else Tensor(self.xp.copy(grad))
        optimizer._step()
        for group in optimizer.param_groups:
            for p in group["params"]:
                home = self.homes[self.homed[id(p)]]
                if p._raw is not home:
                    self.xp.copy_into(home, p._raw)
                    p._raw = home

    def _shift(self) -> int:
        """How many blocks of random words were drawn since the recording; they move on by those of one step."""
        if self.generator is None:
            return 0
        state = self.generator.get_state()
        if any([state[name] != self.drawn_from[name] for name in ("seed", "stream")]):
            raise Stale
        self.generator.set_state({**state, "counter": state["counter"] + self.used})
        return int(state["counter"] - self.drawn_from["counter"])

    # What a launch writes to must be its own. While it was made all references were: more of them are somebody else's.

    def _settle(self) -> None:
        self._watched = [*self.homes, *[array for *_, array in self.moments]]
        self._watched += [x for end in self.ends if end is not None for x in (end, end._raw)]
        self._references = self._count_references()

    def _count_references(self) -> int:
        attached = sum([leaf.grad is grad for leaf, grad in zip(self.leaves, self.ends)])
        return sum(map(sys.getrefcount, self._watched)) - attached

    def _return_home(self) -> None:
        """Bring the values of the state to their places, where they are not: when a user set others."""
        present = self._count_references() if self._watched else 0  # before anything here holds one of them too
        away = [(t, home) for t, home in zip(self.state.tensors, self.homes) if t._raw is not home]
        lost = [one for one in self.moments if raw(one[0].state[one[1]].get(one[2])) is not one[3]]
        if self._watched and present > self._references - len(away) - len(lost):
            raise Touched
        values = [(t._raw, home) for t, home in away] + [(raw(o.state[p].get(name)), x) for o, p, name, x in lost]
        if any([v is None or v.shape != x.shape or v.dtype != x.dtype for v, x in values]):
            raise Touched
        if any([not within.is_one_count() for within in self.steps.values()]):
            raise Touched
        for value, x in values:
            self.xp.copy_into(x, value)
        for t, home in away:
            t._raw = home
        for optimizer, p, name, x in lost:
            optimizer.state[p][name] = Tensor(x)


class _Within:
    """An optimizer that steps within a graph, and its count of steps, which stays in Python.

    Attributes:
        params: what it steps.
        counts: whether its state has a count.
        times: how often it steps at each launch.
    """

    def __init__(self, optimizer: Optimizer, params: list[Tensor], counts: bool) -> None:
        self.optimizer, self.params, self.counts, self.times = optimizer, params, counts, 0

    def count(self, later: int) -> Callable[[], float]:
        """What the count is before the step number ``later`` of a launch."""
        return lambda: float(self.optimizer.state[self.params[0]][COUNT] + later)

    def is_one_count(self) -> bool:
        """Whether all the parameters have been stepped as often, as in the recording."""
        return not self.counts or len({self.optimizer.state[p].get(COUNT) for p in self.params}) == 1

    def move_on(self) -> None:
        """What the steps of one launch change in Python."""
        self.optimizer.step_called = True
        if self.counts:
            for p in self.params:
                self.optimizer.state[p][COUNT] += self.times
