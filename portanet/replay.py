"""A step recorded as a plan: its state lifted to fixed places, its calls replayed, its effects put back."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

from portanet.library import namespace_of
from portanet.lifting import State, collected, rebuilt
from portanet.optim.flat import GroupStep
from portanet.optim.optimizer import Optimizer
from portanet.plan.flat import Flat, references, stored_alike
from portanet.plan.program import Program, read_or_copied
from portanet.plan.recorded import Recorded, adopt, fixed, record
from portanet.plan.recorder import Recorder, Refused, active
from portanet.tape import Leaf, next_number
from portanet.tensor import Tensor

__all__ = ["Late", "Replay", "StepRecorder", "Touched"]


class Late(Exception):
    """The replay failed after its first effect, as the step would have: it must not be done once more."""

    def __init__(self, problem: Exception) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Touched(Exception):
    """Somebody has come to hold an array that the next replay would write to: a new recording has new arrays."""


class StepRecorder(Recorder):
    """A recorder that knows what of a step belongs to its state.

    Args:
        owner: the recording: its ``state``, whose Tensors are ``homed`` by identity, and their ``leaves``.
    """

    def __init__(self, owner: Any) -> None:
        super().__init__()
        self.owner = owner
        self.began = next_number()
        self.known = {id(leaf) for leaf in owner.leaves}
        self.written: list[tuple[Tensor, Any, Any]] = []  # Tensors beside the state that got other arrays, and theirs

    def wrote(self, tensor: Tensor) -> None:
        if not self.holds(tensor):
            self.written.append((tensor, tensor._raw, tensor._node))

    def holds(self, tensor: Tensor) -> bool:
        return id(tensor) in self.owner.homed

    def arrive(self, leaf: Leaf) -> None:
        if leaf.number < self.began and id(leaf) not in self.known:
            raise Refused("a gradient arrives at a Tensor that is not in state=(...), where it would be lost")

    def require_known(self, optimizer: Optimizer) -> None:
        """Raise `Refused` unless the state names this optimizer."""
        if not any([optimizer is known for known in self.owner.state.optimizers]):
            raise Refused(f"{type(optimizer).__name__}.step() is called, which is not in state=(...)")


class _PlanRecorder(StepRecorder):
    """Draws and steps of optimizers are calls of the plan."""

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay)
        self.generators: dict[int, tuple[Any, Any]] = {}  # each that was drawn from, and its state before

    def draw(self, generator: Any, drawn: Callable[[], Any]) -> Any:
        self.generators.setdefault(id(generator), (generator, generator.get_state()))
        return record(self, drawn, (), {})

    def advance(self, optimizer: Optimizer) -> None:
        self.require_known(optimizer)
        for step in self.owner.steps_of(self, optimizer):
            self.commit(step, f"{type(optimizer).__name__}.step()")


class Replay:
    """One recording of a step, for arguments of one form.

    Args:
        step: the function. It is called once, without effect on the state, to be recorded.
        state: what it reads and changes.
        args, options: its arguments.
        form: what they have in common with those of later calls.

    Raises:
        Refused: something in the step cannot be replayed; the message says what. All is then as it was.
    """

    def __init__(self, step: Callable[..., Any], state: State, args: Any, options: Any, form: Any) -> None:
        adopt()
        self.state = state
        self.form, self.modes = form, state.modes()
        arrays = collected((args, options))
        self.groups: list[tuple[Optimizer, dict[str, Any], list[Tensor], Flat]] = []
        self.places = self._places()
        self.leaves = [t._node for t in state.tensors if type(t._node) is Leaf]
        self.nodes = [t._node for t in state.tensors]  # which a user may freeze and thaw
        self.bare = [leaf.grad is None for leaf in self.leaves]
        self.sources = [stored_alike(x) for x in arrays]  # the arguments of a replay are copied to here
        self.grads: list[Any] = [
            None if leaf.grad is None else _copied(leaf.grad._raw) for leaf in self.leaves
        ]  # and grads here
        self.gradients: list[Flat] = []
        self.at_hand: dict[int, Any] = {}  # where a gradient of the recording will lie
        self.moods = list(zip(state.modules, self.modes))
        self.settled = False
        self._watched: list[Any] = []
        recorder = _PlanRecorder(self)
        self._record(recorder, step, args, options)
        self.generators = [generator for generator, _ in recorder.generators.values()]
        _require_nothing_kept(recorder)

    # ----------------------------------------------------------------------------------------------------- recording

    def _record(self, recorder: _PlanRecorder, step: Callable[..., Any], args: Any, options: Any) -> None:
        """Call the step, and leave all as it was."""
        state = self.state
        before = [t._raw for t in state.tensors], [leaf.grad for leaf in self.leaves]
        groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
        held = [dict(group) for group in groups]
        token = active.set(recorder)
        try:
            raws = [fixed(recorder, flat.put(i, t._raw)) for t, (flat, i) in zip(state.tensors, self.places)]
            for k, t in enumerate(state.tensors):  # no name holds one of them: references are counted
                t._raw = raws[k]
            self.homed = {id(t): k for k, t in enumerate(state.tensors)}
            self.raws = raws
            for leaf, grad in zip(self.leaves, self.grads):
                leaf.grad = None if grad is None else Tensor(fixed(recorder, grad))
            given = rebuilt((args, options), [fixed(recorder, x) for x in self.sources])
            result = step(*given[0], **given[1])
            self._finish(recorder, result, raws)
            if any([group[name] != old[name] for group, old in zip(groups, held) for name in old if name != "params"]):
                raise Refused("a hyperparameter of an optimizer is set; set it outside of the step")
        finally:
            active.reset(token)
            for t, old, node in zip(state.tensors, before[0], self.nodes):
                t._raw, t._node = old, node
            for leaf, old in zip(self.leaves, before[1]):
                leaf.grad = old
            for group, options in zip(groups, held):
                group.update(options)
            for tensor, old, node in reversed(recorder.written):
                tensor._raw, tensor._node = old, node
            for generator, earlier in recorder.generators.values():
                generator.set_state(earlier)
            self.raws = []

    def _places(self) -> list[tuple[Flat, int]]:
        """For each Tensor of the state the flat memory it goes to; what an optimizer steps together lies together."""
        found: dict[int, tuple[Flat, int]] = {}
        for optimizer in {id(one): one for one in self.state.optimizers}.values():
            for group in optimizer.param_groups:
                if any([id(p) in found for p in group["params"]]):
                    raise Refused("a parameter belongs to two optimizers; it can lie beside those of one alone")
                for params in _by_dtype(group["params"]):
                    self.groups.append((optimizer, group, params, _flat(params, found)))
        for tensors in _by_dtype([t for t in self.state.tensors if id(t) not in found]):
            _flat(tensors, found)
        return [found[id(t)] for t in self.state.tensors]

    def steps_of(self, recorder: Recorder, optimizer: Optimizer) -> list[GroupStep]:
        """The steps of an optimizer's groups, with the gradients that there are now."""
        steps = []
        for owner, group, params, values in self.groups:
            if owner is optimizer:
                self._bring(recorder, [p for p in params if p.grad is not None], optimizer)
                gradients = self._collect(recorder, [p.grad for p in params], params)
                given = [p.grad is not None for p in params]
                steps.append(GroupStep(optimizer, group, params, values, gradients, given))
        return steps

    def _bring(self, recorder: Recorder, params: list[Tensor], optimizer: Optimizer) -> None:
        """What the step has written to parameters before the optimizer's step, brought to where that will find it.

        Raises `Refused` where an array of old values is held, which would then change.
        """
        away = []
        for p in params:
            k = self.homed[id(p)]
            at_home = p._raw is self.raws[k]
            # One reference is of the list, one of the Tensor if it is at home, one of the call; and of the memory one.
            if sys.getrefcount(self.raws[k]) > 2 + at_home or sys.getrefcount(self.raws[k].memory) > 2:
                raise Refused(f"a parameter's value from before {type(optimizer).__name__}.step() is held beyond it")
            if not at_home:
                away.append((p, k, _own(recorder, p._raw)))
        if away:
            recorder.effects_follow("a parameter has changed")
        for p, k, new in away:
            flat, i = self.places[k]
            recorder.add(flat.put, i, new.value)
            p._raw = self.raws[k]

    def _collect(self, recorder: Recorder, grads: list[Tensor | None], like: list[Tensor]) -> Flat:
        """Flat memory in which these gradients will lie."""
        # Of the gradients' own dtype: where parameters are half-width, these may be float32.
        dtypes = list({grad._raw.dtype for grad in grads if grad is not None})
        flat = Flat([t.shape for t in like], dtypes[0] if len(dtypes) == 1 else like[0]._raw.dtype)
        for i, grad in enumerate(grads):
            if grad is not None:
                if not isinstance(grad._raw, Recorded):
                    raise Refused("a gradient comes from elsewhere; only what the step computes can be replayed")
                recorder.move(grad._raw.value, grad._raw.memory, flat.parts[i])
                self.at_hand[id(grad._raw.value)] = flat.parts[i]
        self.gradients.append(flat)
        return flat

    def _finish(self, recorder: Recorder, result: Any, raws: list[Any]) -> None:
        """What follows a replay: new values of the state, gradients, results."""
        late = [
            leaf.grad for leaf in self.leaves if leaf.grad is not None and id(_value(leaf.grad)) not in self.at_hand
        ]
        for grads in _by_dtype(late):
            self._collect(recorder, list(grads), grads)
        ends = [None if leaf.grad is None else self.at_hand[id(_value(leaf.grad))] for leaf in self.leaves]
        self.ends = [None if end is None else Tensor(end) for end in ends]  # what .grad is after each replay
        self.attached = list(zip(self.leaves, self.ends))
        self.repeats = self.bare == [end is None for end in self.ends]  # whether another replay may follow
        results = collected(result)
        recorder.effects_follow("the state has changed")
        backs = [(place, t._raw) for t, place, raw in zip(self.state.tensors, self.places, raws) if t._raw is not raw]
        # Of what comes from outside first a copy: it may be written to by another of these.
        for (flat, i), new in [(place, _own(recorder, new)) for place, new in backs]:
            if new.shape != flat.parts[i].shape or new.dtype != flat.parts[i].dtype:
                raise Refused(f"a state of shape {flat.parts[i].shape} gets another shape or dtype: {new.shape}")
            recorder.add(flat.put, i, new.value)
        read = recorder.read()
        self.read_grads = [i for i, grad in enumerate(self.grads) if grad is not None and id(grad) in read]
        before, after, moved = recorder.finished([_value(x) for x in results], self.sources)
        inputs, copies = read_or_copied(self.sources, recorder.viewed)
        self.calls = Program(copies + before, inputs).run
        self.effects = Program(after, inputs, [recorder.placed(_value(x), moved) for x in results]).run
        self.fresh = list(recorder.fresh.values())
        self.sources = []
        nothing = Flat([(0,)], bool).whole
        self.result = rebuilt(result, [nothing] * len(results))  # its form alone, which holds nothing of the recording
        self.is_tensor = isinstance(result, Tensor)
        parts = [flat.parts[i] for flat, i in self.places]
        self.homes = list(zip(self.state.tensors, parts, self.nodes))

    # ----------------------------------------------------------------------------------------------------- replaying

    def fits(self, form: Any) -> bool:
        """Whether arguments of this form, in the present modes and with the present gradients, take this way."""
        self.settled = form == self.form and self._is_as_left()
        return self.settled or (
            form == self.form
            and [t._node for t in self.state.tensors] == self.nodes
            and [leaf.grad is None for leaf in self.leaves] == self.bare
            and [module.training for module in self.state.modules] == self.modes
        )

    def _is_as_left(self) -> bool:
        """Whether nobody has touched anything since the last replay, and another may follow: the usual case."""
        if not self._watched or not self.repeats or references(self._watched) > self._held:
            return False
        for t, part, node in self.homes:
            if t._raw is not part or t._node is not node:
                return False
        for leaf, grad in self.attached:
            if leaf.grad is not grad:
                return False
        for module, mode in self.moods:  # noqa: SIM110 - a generator takes longer than all of this
            if module.training is not mode:
                return False
        return True

    def __call__(self, arrays: list[Any]) -> Any:
        """The step on these arrays, which are those of the arguments in order; `fits` has been asked before.

        Raises `Touched` before anything has changed; any other exception before the first effect leaves the state,
        the gradients and the generators as they were.
        """
        if not self.settled:
            self._return_home()
        for i in self.read_grads:
            self.grads[i][...] = self.leaves[i].grad._raw
        states = [generator.get_state() for generator in self.generators] if self.generators else []
        try:
            self.calls(*arrays)
        except BaseException:
            for generator, state in zip(self.generators, states):
                generator.set_state(state)
            for i in self.read_grads:  # they may have lain where this replay wrote
                self.leaves[i].grad = Tensor(self.grads[i].copy())
            raise
        try:
            results = self.effects(*arrays)
        except Exception as problem:
            raise Late(problem) from problem
        finally:
            if not self.settled:
                self._attach()
        if not self._watched:
            self._settle()
        for fresh in self.fresh:
            fresh.let_go()
        return Tensor(results[0]) if self.is_tensor else rebuilt(self.result, results)

    def _attach(self) -> None:
        # In a frame of its own: what a loop met last would be held by it, and be counted below.
        for leaf, grad in self.attached:
            leaf.grad = grad

    # What a replay writes to must be its own. While it was made all references were: more of them are somebody else's.

    def _settle(self) -> None:
        places = [flat for flat, _ in self.places] + self.gradients
        flats = {id(flat): flat for flat in places}.values()
        self._watched = [x for flat in flats for x in (flat.whole.base, *flat.parts)]
        self._watched += [grad for grad in self.ends if grad is not None]
        del flats, places
        self._held = references(self._watched)

    def _return_home(self) -> None:
        """Bring the values of the state to their places, where they are not: at first, or when a user set others."""
        places = zip(self.state.tensors, self.places)
        away = [(t, flat, i) for t, (flat, i) in places if t._raw is not flat.parts[i]]
        gone = sum([leaf.grad is not grad for leaf, grad in self.attached if grad is not None])
        if self._watched and references(self._watched) > self._held - len(away) - gone:
            raise Touched
        for t, flat, i in away:
            if t._raw.shape != flat.parts[i].shape or t._raw.dtype != flat.parts[i].dtype:
                raise Touched
            t._raw = flat.put(i, t._raw)


def _require_nothing_kept(recorder: _PlanRecorder) -> None:
    """Raise `Refused` where something outlives the recording that a replay would not make anew. Tensors in which arrays
    of the recording were left, in a list say, are given arrays of their own."""
    written = [weakref.ref(tensor) for tensor, _, _ in recorder.written]
    recorder.written = []
    if any([one() is not None for one in [*written, *recorder.made]]):
        gc.collect()
    for array in [array for one in recorder.made if (array := one()) is not None]:
        for holder in gc.get_referrers(array):
            if isinstance(holder, Tensor):
                holder._raw = array.value.copy()
                written.append(weakref.ref(holder))
    if any([one() is not None for one in written]):
        raise Refused("the step changes or keeps a Tensor that is not in state=(...); name it there, or return it")


def _copied(raw: Any) -> Any:
    return namespace_of(raw).copy(raw)


def _value(x: Any) -> Any:
    """The array at its fixed place, of a recorded array or a Tensor of one."""
    raw = x._raw if isinstance(x, Tensor) else x
    return raw.value if isinstance(raw, Recorded) else raw


def _own(recorder: Recorder, raw: Any) -> Recorded:
    recorded = raw if isinstance(raw, Recorded) else fixed(recorder, raw)
    return recorded if recorded.memory.ours else recorded.copy()


def _by_dtype(tensors: list[Any]) -> list[list[Any]]:
    found: dict[Any, list[Any]] = {}
    for t in tensors:
        found.setdefault(t._raw.dtype, []).append(t)
    return list(found.values())


def _flat(tensors: list[Tensor], found: dict[int, tuple[Flat, int]]) -> Flat:
    flat = Flat([t.shape for t in tensors], tensors[0]._raw.dtype)
    found.update({id(t): (flat, i) for i, t in enumerate(tensors)})
    return flat
