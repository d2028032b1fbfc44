"""The list of calls that a recording makes, and the memory that they work in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from portanet.plan.fresh import Fresh, Part, owner_of
from portanet.plan.program import statement


class Refused(Exception):
    """What was asked of a recorded array cannot be replayed; the message says what and why."""


class Stale(Exception):
    """A truth value that steered the recording came out otherwise: these inputs take another way."""


Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

# The recording that is being made in this thread or task: what has effects of its own asks, and records itself whole.
active: ContextVar[Recorder | None] = ContextVar("portanet_recording_plan", default=None)


class Memory:
    """The memory of one result. When the last array on it is forgotten, later results of its form may take it over:
    the replay makes the same calls in the same order, so nobody needs it then either.

    Attributes:
        ours: the recording made it, and may write to it; otherwise it is an input or a state.
        fresh: it is other memory in each replay.
        begin: the call that first writes to it, by its place among the calls.
        constant: what is in it depends on nothing that a replay may change, and nothing has been written to it since.
    """

    __slots__ = ("begin", "buffer", "constant", "fresh", "ours", "recorder")

    def __init__(self, recorder: Recorder, buffer: Any, ours: bool, fresh: bool = False) -> None:
        self.recorder = recorder
        self.buffer = buffer
        self.ours = ours
        self.fresh = fresh
        self.constant = False
        self.begin = len(recorder.calls)

    def __del__(self) -> None:
        if self.ours and not self.fresh and not self.constant:
            self.recorder.spare[form_of(self.buffer)].append(self.buffer)


def form_of(x: Any) -> tuple[Any, ...]:
    """What two arrays must have in common for one to take the place of the other."""
    return x.shape, x.dtype, x.strides


class Recorder:
    """Runs calls as they come and writes them down.

    Attributes:
        calls: (function, arguments, options) in order; the arguments are arrays at fixed places.
        spare: memory that nobody needs any more at this point, by its form.
        fresh: the results that each replay makes in other memory, by the identity of their memory in the recording.
        viewed: the inputs that must be at fixed places, because parts of them are read; known when it is `finished`.
        committed: what will have had an effect beyond the plan's own memory; "" as long as nothing has.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.spare: defaultdict[tuple[Any, ...], list[Any]] = defaultdict(list)
        self.committed = ""
        self._effects = 0  # where among the calls the first with an effect stands
        self._moves: list[tuple[int, Memory, Any]] = []
        self._constants: list[tuple[int, Memory]] = []
        self.made: list[Any] = []  # weak references to the arrays of the recording
        self.fresh: dict[int, Fresh] = {}
        self.viewed: set[int] = set()

    def add(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        """Write down a call that has been made."""
        self.calls.append((function, args, options))

    def place(self, value: Any, constant: bool = False) -> Memory:
        """Memory for a result that was computed just now, holding it: spare memory of its form, or its own.

        The next call is taken to be the one that writes it there. Where it is ``constant``, no replay makes that call
        unless somebody writes to the memory later on.
        """
        value = np.asarray(value)
        spare = None if constant else self.spare.get(form_of(value))
        if spare:
            buffer = spare.pop()
            np.copyto(buffer, value)
        else:
            # A view, such as a reshaped copy is, must not stand for new memory.
            buffer = value if value.base is None and value.flags.writeable else value.copy("K")
        memory = Memory(self, buffer, True)
        if constant:
            memory.constant = True
            self._constants.append((len(self.calls), memory))
        return memory

    def anew(self, result: Any) -> tuple[Fresh, Memory]:
        """A large result as one that each replay makes in other memory."""
        fresh = Fresh(result)
        self.fresh[id(fresh.memory)] = fresh
        return fresh, Memory(self, fresh.memory, True, fresh=True)

    def commit(self, function: Callable[[], None], what: str) -> None:
        """Write down a call that has effects beyond the plan's memory, without making it."""
        self.effects_follow(what)
        self.calls.append((function, (), {}))

    def effects_follow(self, what: str) -> None:
        """From here on calls write to more than the plan's own memory."""
        if not self.committed:
            self.committed = what
            self._effects = len(self.calls)

    def move(self, value: Any, memory: Memory, target: Any) -> None:
        """Have an array lie at ``target`` too: by a copy here, unless it can be computed there in the first place."""
        self._moves.append((len(self.calls), memory, target))
        np.copyto(target, value)
        self.add(np.copyto, target, value)

    def guard(self, value: Any) -> bool:
        """The truth value of an array, which the replay compares: if it differs, the recording does not apply."""
        if self.committed:
            raise Refused(f"a truth value is asked for after {self.committed}, when there is no way back")
        truth = bool(value)
        self.calls.append((_compared, (value, truth), {}))
        return truth

    def draw(self, generator: Any, drawn: Callable[[], Any]) -> Any:
        """A draw of random numbers, by a function that makes it and moves the generator on."""
        raise Refused("random numbers are drawn, and this recording has no place for that")

    def arrive(self, leaf: Any) -> None:
        """A gradient arrives at a leaf: a recorder that knows which are its own refuses the others."""

    def wrote(self, tensor: Any) -> None:
        """A Tensor is about to get another array: a recorder that knows which are its own gives it back later."""

    def advance(self, optimizer: Any) -> None:
        """An optimizer's step: a recorder that knows of optimizers writes it down."""
        raise Refused(f"{type(optimizer).__name__}.step() has effects that this recording has no place for")

    def advance_unless(self, optimizer: Any, skip: Any) -> None:
        """An optimizer's step, left out where ``skip`` is true; for a recorder that must not ask it is taken back there."""
        if not bool(skip):
            self.advance(optimizer)

    def holds(self, tensor: Any) -> bool:
        """Whether a Tensor that the step changes is given back; a recorder that knows which are its own refuses others."""
        return True

    def finished(self, kept: list[Any], inputs: Sequence[Any] = ()) -> tuple[list[Call], list[Call], dict[int, Any]]:
        """The calls ready to be made, before and from the first effect on; and where arrays that moved are now, by the
        identity of the array in the recording. The arrays ``kept`` are read after the last call.

        Views that show as much of the ``inputs`` as these do themselves, in the same way, are taken for the inputs;
        `viewed` are those of which there are others.
        """
        needless = {index for index, memory in self._constants if memory.constant}
        moved = self._inputs_seen_whole(inputs, kept)
        moves = self._moved_from(needless)
        first = self._effects if self.committed else len(self.calls)
        before: list[Call] = []
        after: list[Call] = []
        last = self._last_uses(kept)
        for i, call in enumerate(self.calls):
            moved.update(moves.get(i, ()))
            part = before if i < first else after
            if i not in needless:
                part.append(self._placed_call(call, moved))
            part += [(fresh.let_go, (), {}) for fresh in last[i]]
        return before, after, moved

    def _inputs_seen_whole(self, inputs: Sequence[Any], kept: list[Any]) -> dict[int, Any]:
        """The views that show all of an input, as it does itself, and the input, by the identity of the view."""
        found: dict[int, Any] = {}
        owners = {id(owner_of(place)): place for place in inputs}
        for x in [*_arrays([call[1:] for call in self.calls]), *kept]:
            place = owners.get(id(owner_of(x)))
            if place is not None and form_of(x) == form_of(place) and _begin(x) == _begin(place):
                found[id(x)] = place
            elif place is not None:
                self.viewed.add(id(place))
        return found

    def _moved_from(self, needless: set[int]) -> defaultdict[int, list[tuple[int, Any]]]:
        """For the call that makes an array which can be made where it goes, its identity and that place.

        The copies that this spares are added to ``needless``.
        """
        found: defaultdict[int, list[tuple[int, Any]]] = defaultdict(list)
        # By the memory, the last call that is given a part of it. Results that had the memory earlier do not count.
        viewed = {id(x.base): i for i, call in enumerate(self.calls) for x in _arrays(call[1:]) if x.base is not None}
        known = set()
        for index, memory, target in self._moves:
            value = self.calls[index][1][1]
            own = memory.ours and not memory.fresh and not memory.constant and value is memory.buffer
            alone = viewed.get(id(value), -1) < memory.begin and id(value) not in known
            if own and alone and value.strides == target.strides:
                known.add(id(value))
                needless.add(index)
                found[memory.begin].append((id(value), target))
        return found

    def _last_uses(self, kept: list[Any]) -> defaultdict[int, list[Fresh]]:
        """For each call the fresh results that nobody needs after it; those of the arrays ``kept`` are needed longer."""
        seen = {id(owner_of(x)) for x in kept}
        found: defaultdict[int, list[Fresh]] = defaultdict(list)
        for i in range(len(self.calls) - 1, -1, -1):
            targets = self.calls[i][1][0] if self.calls[i][1] and isinstance(self.calls[i][1][0], list) else []
            owners = [owner_of(x) for x in _arrays(self.calls[i][1:])]
            owners += [target.memory for target in targets if type(target) is Fresh]
            for owner in owners:
                if id(owner) in self.fresh and id(owner) not in seen:
                    seen.add(id(owner))
                    found[i].append(self.fresh[id(owner)])
        return found

    def _placed_call(self, call: Call, moved: dict[int, Any]) -> Call:
        function, args, options = call
        function = getattr(function, "_implementation", function)  # without asking each argument for its protocol
        return function, self.placed(args, moved), self.placed(options, moved)

    def placed(self, tree: Any, moved: dict[int, Any]) -> Any:
        """Arrays of the recording, in tuples, lists and dicts, as the replay finds them: where they are, or a `Part`."""
        if isinstance(tree, np.ndarray):
            fresh = self.fresh.get(id(owner_of(tree)))
            return moved.get(id(tree), tree) if fresh is None else Part(fresh, tree)
        if isinstance(tree, dict):
            return {name: self.placed(one, moved) for name, one in tree.items()}
        if isinstance(tree, (tuple, list)) and not hasattr(tree, "_fields"):
            return type(tree)([self.placed(one, moved) for one in tree])
        return tree

    def read(self) -> set[int]:
        """The identities of all arrays that calls are given, and of those that they are views of."""
        found = [x for call in self.calls for x in _arrays(call[1:])]
        return {id(x) for x in found} | {id(x.base) for x in found}


def _arrays(tree: Any) -> list[Any]:
    if isinstance(tree, np.ndarray):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [x for one in tree for x in _arrays(one)] if isinstance(tree, (tuple, list)) else []


def _begin(x: Any) -> int:
    """The address of the first element."""
    return int(x.ctypes.data)


@statement("if bool({0}) is not {1}: {function}({0}, {1})")
def _compared(value: Any, expected: bool) -> None:
    if bool(value) is not expected:
        raise Stale


def arriving(leaves: Any) -> None:
    """To be called before gradients are added to these leaves."""
    recorder = active.get()
    if recorder is not None:
        for leaf in leaves:
            recorder.arrive(leaf)


def writing(tensor: Any) -> None:
    """To be called before a Tensor that may not be of the recording gets another array."""
    recorder = active.get()
    if recorder is not None:
        recorder.wrote(tensor)


class _Structure:
    """How often modules and optimizers have got or lost something that they hold; a compiled step looks whether it was
    one of its own."""

    changes = 0


structure = _Structure()


def restructured(what: str) -> None:
    """To be called before a module or an optimizer gets or loses a Tensor or module: refused while recording."""
    refuse_while_recording(what)
    structure.changes += 1


def refuse_while_recording(what: str) -> None:
    """Raise `Refused` where a computation is being recorded: ``what`` would happen once and never again."""
    if active.get() is not None:
        raise Refused(f"{what} has effects in Python, which a replay does not repeat; call it outside of the step")
