"""`compile`: a training step recorded once and replayed, by whatever its library has for that."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from portanet import autocasting
from portanet.captured import Captured
from portanet.library import namespace_of
from portanet.lifting import State, collected, flattened, rebuilt
from portanet.plan.recorder import Refused, Stale, active, structure
from portanet.replay import Late, Replay, Touched
from portanet.tape import recording
from portanet.traced import Traced

__all__ = ["CompiledStep", "compile"]

KEPT = 8  # recordings, one for each form of the arguments; the one that was used longest ago goes first


def compile(step: Callable[..., Any] | None = None, *, state: Any = ()) -> Any:
    """``step`` as a function that is recorded at its first call and then replayed, with the same results.

    On NumPy the record is a plan: the calls of the step one after the other, into memory that was allocated once, the
    parameters, gradients and moments of an optimizer each side by side, so that one call updates them all. The results
    are those of the step itself, bit by bit. On CuPy the step is captured as a CUDA graph, which the GPU runs as a
    whole: the first call with arguments of a form runs step by step, to make ready what the capture needs, and the
    second is captured; the results are again the same bits. On JAX the step is traced by ``jax.jit``, on PyTorch by
    ``torch.compile``. On any other library, and where a step cannot be recorded, it simply runs: `CompiledStep.reason`
    says why.

    A step is recorded anew for arguments of another shape, dtype or (where they are no arrays) value, for another
    training mode of a module, and where a truth value that it branches on comes out otherwise. What it does in Python,
    such as printing or counting, happens when it is recorded only, as under ``jax.jit``. A schedule of the learning
    rate works, if its own ``step()`` is called outside.

    Args:
        step: takes Tensors, arrays and plain values, in tuples, lists and dicts too, and returns such. What it returns
            are constants: Tensors without a graph.
        state: the Modules, Optimizers, Tensors and GradScaler that it reads or changes besides its arguments. What is
            not named here is taken for a constant. Without ``step`` this is a decorator.

    Returns:
        a `CompiledStep`.

    Raises:
        TypeError: something in ``state`` is none of these.

    >>> import portanet
    >>> from portanet import nn, optim
    >>> model = nn.Linear(3, 1)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> @portanet.compile(state=(model, optimizer))
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = nn.functional.mse_loss(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> losses = [step(portanet.ones((4, 3)), portanet.zeros((4, 1))).item() for _ in range(5)]
    >>> losses[-1] < losses[0], step.reason
    (True, '')
    """
    if step is None:
        return functools.partial(compile, state=state)
    if not callable(step):
        raise TypeError(f"compile: expected a function, saw {type(step).__name__}; write compile(step, state=...).")
    return CompiledStep(step, state)


class _NotYet(Refused):
    """This call runs step by step, and the next may be recorded."""


class CompiledStep:
    """A step and its recordings: see `compile`.

    Attributes:
        reason: why the last call ran step by step, or "" if it was replayed.
        recordings: how often the step was recorded.
    """

    def __init__(self, step: Callable[..., Any], state: Any) -> None:
        functools.update_wrapper(self, step)
        self.step = step
        self.state = State(state)
        self.reason = ""
        self.recordings = 0
        self._kept: list[Any] = []  # recordings, the last used first
        self._refused: list[tuple[Any, str]] = []  # forms that cannot be recorded, and why
        self._prepared: list[Any] = []  # forms with which the step has run, so that all it needs has been made once
        self._seen = structure.changes
        self._lock = threading.RLock()  # the recordings have memory of their own, for one call at a time

    def __call__(self, *args: Any, **options: Any) -> Any:
        if active.get() is not None:  # inside of another recording: part of that
            return self.step(*args, **options)
        with self._lock:
            if structure.changes != self._seen:
                self._renew()
            try:
                arrays, form = flattened((args, options) if options else args)
            except Refused as refusal:
                return self._run(args, options, str(refusal))
            form = (recording.get(), autocasting.form(), form)
            for recorded in self._kept:
                if recorded.fits(form):
                    try:
                        result = recorded(arrays)
                    except Stale:
                        continue
                    except Touched:
                        self._kept.remove(recorded)
                        break
                    except Late as late:
                        raise late.problem from None
                    except Exception as problem:
                        # The step itself says it best: it knows the way round, or raises the same with its lines.
                        return self._run(args, options, f"the replay failed: {problem}")
                    if recorded is not self._kept[0]:
                        self._kept.remove(recorded)
                        self._kept.insert(0, recorded)
                    self.reason = ""
                    return result
            return self._record(args, options, arrays, form)

    def _renew(self) -> None:
        """Forget the recordings if what the state holds is not what it was."""
        self._seen = structure.changes
        now = self.state.renewed()
        if now is not None:
            self.state, self._kept, self._refused, self._prepared = now, [], [], []

    def _record(self, args: Any, options: Any, arrays: list[Any], form: Any) -> Any:
        known = [why for refused, why in self._refused if refused == form]
        if known:
            return self._run(args, options, known[0])
        try:
            recorded = self._recorder(arrays, form)(self.step, self.state, args, options, form)
            result = recorded(arrays)
            self.recordings += 1
        except Late as late:
            raise late.problem from None
        except _NotYet as first:
            return self._run(args, options, str(first))
        except Exception as problem:
            why = str(problem) if isinstance(problem, Refused) else f"{type(problem).__name__}: {problem}"
            result = self._run(args, options, why)  # which raises, if it is the step that fails
            self._refused = [*self._refused[-KEPT:], (form, why)]
            return result
        self._kept.insert(0, recorded)
        del self._kept[KEPT:]
        self.reason = ""
        return result

    def _recorder(self, arrays: list[Any], form: Any) -> Callable[..., Any]:
        places = [t._raw for t in self.state.tensors] + arrays
        if not places:
            raise Refused("there is no array in the arguments or the state")
        libraries = {id(xp): xp for xp in [namespace_of(x) for x in places]}
        if len(libraries) > 1:
            raise Refused(f"arrays of several libraries: {', '.join([xp.library_name for xp in libraries.values()])}")
        (xp,) = libraries.values()
        if xp.is_replayed():
            return Replay
        capturer = xp.capturer()
        if capturer is not None:
            self._require_prepared((form, self.state.modes()))
            return functools.partial(Captured, capturer)
        traced = xp.tracer()
        if traced is None:
            raise Refused(f"{xp.library_name} has no compiler that is known here")
        return functools.partial(Traced, traced)

    def _require_prepared(self, form: Any) -> None:
        if form not in self._prepared:
            self._prepared = [*self._prepared[-KEPT:], form]
            raise _NotYet("the first call of a form runs step by step, to make ready what a capture needs")

    def _run(self, args: Any, options: Any, reason: str) -> Any:
        self.reason = reason
        result = self.step(*args, **options)
        return rebuilt(result, collected(result))  # without its graph, as from a recording

    def __repr__(self) -> str:
        name = getattr(self.step, "__qualname__", type(self.step).__name__)
        return f"<compiled {name}: {self.recordings} recordings{', ' + self.reason if self.reason else ''}>"
