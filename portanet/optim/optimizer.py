"""What all optimizers share: groups of parameters, their state, and one step that gives each parameter a new value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar

from portanet.autograd import enable_grad
from portanet.library import PYTHON_SCALARS, explain, namespace_of
from portanet.optim.at_once import advance_at_once
from portanet.optim.checks import listed, named, require_numbers, require_parameter, seen
from portanet.optim.masters import MASTER, is_half, through_master
from portanet.optim.ownership import all_alone, alone
from portanet.optim.state import (
    State,
    as_array,
    by_parts,
    fitted,
    flattened,
    plain,
    raw,
    require_agreement,
    unflattened,
    wrapped,
)
from portanet.plan.recorder import Refused, active, refuse_while_recording, restructured
from portanet.tensor import Tensor
from portanet.threads import together

__all__ = ["Optimizer"]

_NOTHING: State = {}


class Optimizer:
    """Base of the optimizers: it holds parameters and their state, and applies one update rule to each.

    Args:
        params: an iterable of leaf Tensors; or of (name, Tensor) pairs; or of dicts, each with "params" and any
            hyperparameters that differ from the defaults in this group. A Tensor that is met twice in a group (tied
            weights) is one parameter.
        defaults: the hyperparameters by name, and their values for groups that do not say otherwise.

    Raises:
        ValueError: there is no parameter; one was computed, so it is no leaf; one is in two groups; a hyperparameter
            is out of range.
        TypeError: what should be a Tensor is something else, or the parameters come in no fixed order (a set).

    An optimizer of your own is a pure function and a table. The function gets the library of the arrays, one parameter,
    its gradient, its state (empty at first) and the hyperparameters as Python numbers; it returns the new value and the
    new state, and edits nothing that it was given:

    >>> import portanet
    >>> from portanet import optim
    >>> def signed(xp, p, g, state, *, lr):
    ...     return p - lr * xp.sign(g), state
    >>> class Signed(optim.Optimizer):
    ...     rule = staticmethod(signed)
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, {"lr": lr})
    >>> w = portanet.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Signed([w], lr=0.5)
    >>> portanet.sum(w * w).backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.5, -1.5], requires_grad=True)

    A rule whose name ends in ``_update`` can be replaced: a library that has a function of this name among its kernels
    (``sgd_update``) uses that. It is called without ``xp``. With one more underscore at its end (``sgd_update_``) the
    function writes into the arrays that it is given, and returns whether it could; ``sgd_updates_`` does so with lists of
    parameters, of gradients and of states, and returns a list.

    A rule that looks at a whole parameter, at its shape or its norm, says ``elementwise = False`` beside it: all the
    parameters of a group, side by side in one array, are then never given to it as one.

    Attributes:
        param_groups: a list of dicts: "params", the hyperparameters, and "param_names" where names were given.
        state: what the rule remembers, by parameter: names to Tensors, or numbers.
    """

    rule: ClassVar[Callable[..., tuple[Any, State]]]
    state_names: ClassVar[tuple[str, ...]] = ()  # what the rule may keep; () leaves that open
    state_numbers: ClassVar[tuple[str, ...]] = ()  # which of these are Python floats: one for the whole parameter
    elementwise: ClassVar[bool] = True  # whether each element steps by itself, so that parameters may be stepped as one
    texts: ClassVar[tuple[str, ...]] = ()  # the hyperparameters that are the names of things, not numbers
    untraceable: ClassVar[str] = ""  # why the compiler of a library cannot trace the rule
    masters = (
        False  # whether half-width parameters are stepped by float32 copies of them: `portanet.amp.master_weights`
    )

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = {name: plain(value) for name, value in defaults.items()}
        self.state: defaultdict[Tensor, State] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._groups_of: dict[Tensor, int] = {}  # to see at once that a parameter is in a group already
        self.step_called = False  # a scheduler asks, to warn of the wrong order
        self._updates: dict[Any, Callable[..., tuple[Any, State]]] = {}
        self._updates_in_place: dict[Any, Callable[..., bool] | None] = {}
        self._updates_of_many: dict[Any, Callable[..., list[bool]] | None] = {}
        entries = listed(self._name, params)
        if not entries:
            raise ValueError(
                f"{self._name}: got no parameters. Pass model.parameters(), and look whether the model has any, and "
                "whether a generator was used up before."
            )
        groups = entries if all(isinstance(entry, dict) for entry in entries) else [{"params": entries}]
        for group in groups:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def check(self, group: dict[str, Any]) -> None:
        """Raise ValueError where a group's hyperparameters make no sense; called for each group."""

    # ------------------------------------------------------------------------------------------------------ groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, as when a layer that was frozen starts to learn.

        Args:
            param_group: "params" (a Tensor, or an iterable of Tensors or of (name, Tensor) pairs), and hyperparameters
                that differ from the defaults.

        Raises as the constructor does.

        >>> import portanet
        >>> from portanet import optim
        >>> v, w = portanet.tensor([1.0], requires_grad=True), portanet.tensor([1.0], requires_grad=True)
        >>> optimizer = optim.SGD([v], lr=0.5)
        >>> optimizer.add_param_group({"params": [w], "lr": 0.25})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.5, 0.25]
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f'{self._name}: a parameter group is a dict with "params", saw {seen(param_group)}.')
        given = param_group["params"]
        names, tensors = named(self._name, [given] if isinstance(given, Tensor) else listed(self._name, given))
        for i, p in enumerate(tensors):
            require_parameter(self._name, i, p, self.param_groups, self._groups_of)
        group = {"params": tensors, **self.defaults}
        group.update({name: plain(value) for name, value in param_group.items() if name != "params"})
        if names:
            group["param_names"] = names
        if tensors and self.param_groups and ("param_names" in group) != ("param_names" in self.param_groups[0]):
            raise ValueError(f"{self._name}: some groups have named parameters and some have not; name all or none.")
        require_numbers(self._name, group, list(self.defaults), self.texts)
        self.check(group)
        restructured(f"{self._name}.add_param_group()")
        self._groups_of.update({p: len(self.param_groups) for p in tensors})
        self.param_groups.append(group)

    def state_shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The shapes of those arrays of the state that are not of the parameter's shape, which is ``shape``, by name.

        Asked for where ``elementwise`` is False.
        """
        return {}

    # -------------------------------------------------------------------------------------------------------- step

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; ``set_to_none=False`` makes them zeros.

        >>> import portanet
        >>> from portanet import optim
        >>> w = portanet.tensor([3.0], requires_grad=True)
        >>> (w * w).backward()
        >>> optim.SGD([w]).zero_grad()
        >>> w.grad is None
        True
        """
        for group in self.param_groups:
            for p in group["params"]:
                node = p._node  # a leaf's `grad`, by the shortest way: this runs for every parameter at every step
                if node is not None and node.grad is not None:
                    node.grad = None if set_to_none else Tensor(namespace_of(p._raw).zeros_like(p._raw))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Give every parameter that has a gradient its next value.

        What was computed from the old values keeps them, so a graph that was retained still gives the gradients at
        the old point: an array is written to only where nothing but its parameter holds it, and is otherwise replaced
        by a new one. Parameters without a gradient are left as they are.

        Args:
            closure: computes the loss anew, with its gradients, and returns it.

        Returns:
            what the closure returned; None without one.

        Raises:
            TypeError: a gradient or a state differs from its parameter in library or dtype. No parameter has then been
                changed.

        >>> import portanet
        >>> from portanet import optim
        >>> w = portanet.tensor([3.0], requires_grad=True)
        >>> optimizer = optim.SGD([w], lr=0.25)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = portanet.sum(w * w)
        ...     loss.backward()
        ...     return loss.item()
        >>> [optimizer.step(closure) for _ in range(3)]
        [9.0, 2.25, 0.5625]
        """
        recorder = active.get()
        if recorder is not None:  # the step is being recorded for `portanet.compile`, and made in the replay
            if closure is not None:
                raise Refused(f"{self._name}.step(closure) decides by the loss how often it is computed")
            return recorder.advance(self)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._step()
        return loss

    def _step(self) -> None:
        work = []
        for group in self.param_groups:  # all of them first: where one does not fit, nothing has been changed
            options = self._options(group)
            for p in group["params"]:
                g = None if p._node is None else p._node.grad
                if g is not None:
                    state = self.state.get(p, _NOTHING)
                    self._require_agreement(p._raw, g._raw, state)
                    work.append((p, g, state, options))
        with together():
            for p, g, state, options in advance_at_once(self, work):
                self._advance(p, g._raw, state, options)
        self.step_called = True

    def _advance(self, p: Tensor, g: Any, state: State, options: dict[str, Any]) -> None:
        """Give one parameter its next value: in its own memory if nobody else knows of that, else in new memory."""
        in_place = self._in_place(p._raw)
        if in_place is not None and alone(p) and (not state or all_alone(state)):
            values = {name: raw(value) for name, value in state.items()} if state else {}
            if in_place(p._raw, g, values, **options):
                if state:
                    state.update({name: value for name, value in values.items() if type(value) in PYTHON_SCALARS})
                return
        values = {name: raw(value) for name, value in state.items()}
        p._raw, new = self._updated(p._raw, g, values, options)
        if new:
            self.state[p] = {name: wrapped(value) for name, value in new.items()}

    def updated(self, values: list[Any], gradients: list[Any], states: list[State]) -> tuple[list[Any], list[State]]:
        """One step as a pure function: new values and new states from old ones. Nothing of the optimizer changes.

        This is what a compiler can trace: raw arrays in, raw arrays out, hyperparameters as constants.

        Args:
            values: the raw array of each parameter, in the order of the groups.
            gradients: as many; None leaves a parameter as it is.
            states: as many; {} at the start.

        >>> import numpy, portanet
        >>> from portanet import optim
        >>> w = portanet.tensor([1.0], requires_grad=True)
        >>> optim.SGD([w], lr=0.5).updated([numpy.asarray([1.0])], [numpy.asarray([1.0])], [{}])
        ([array([0.5])], [{}])
        """
        count = len(self._parameters())
        if not len(values) == len(gradients) == len(states) == count:
            raise ValueError(
                f"{self._name}.updated: {count} parameters, but {len(values)} values, {len(gradients)} gradients and "
                f"{len(states)} states; give one of each for every parameter."
            )
        new_values, new_states = list(values), list(states)
        i = 0
        for group in self.param_groups:
            options = self._options(group)
            for _ in group["params"]:
                if gradients[i] is not None:
                    self._require_agreement(values[i], gradients[i], states[i])
                    new_values[i], new_states[i] = self._updated(values[i], gradients[i], states[i], options)
                i += 1
        return new_values, new_states

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        """The hyperparameters as the rule takes them: NumPy numbers as Python's, which do not widen float32."""
        values = [group[name] for name in self.defaults]
        if not PYTHON_SCALARS.issuperset(map(type, values)):
            values = [raw(plain(value)) for value in values]
        return dict(zip(self.defaults, values, strict=True))

    def _updated(self, p: Any, g: Any, state: State, options: dict[str, Any]) -> tuple[Any, State]:
        xp = namespace_of(p)
        if self.masters and is_half(xp, p):
            return through_master(xp, self._updated, p, g, state, options)
        try:
            if xp.dtype_of(p.dtype).kind == "complex floating":
                new, state = by_parts(xp, self._update(xp), p, g, state, options)
            else:
                new, state = self._update(xp)(p, g, state, **options)
        except Exception as problem:
            values = (p, g, *state.values())
            explain(f"{self._name}.step", values, problem)
        if new.dtype != p.dtype:
            raise TypeError(
                f"{self._name}.step: the step took a {p.dtype} parameter to {new.dtype}; a hyperparameter is an "
                "array of a wider dtype. Use a Python number."
            )
        return as_array(xp, new), {name: as_array(xp, value) for name, value in state.items()}

    def _update(self, xp: Any) -> Callable[..., tuple[Any, State]]:
        """The library's own version of the rule where it has one, else the rule."""
        found = self._updates.get(xp)
        if found is None:
            rule, name = self.rule, self.rule.__name__
            # The ending keeps a rule from being taken for a function of the library that is called the same.
            found = getattr(xp, name, None) if name.endswith("_update") else None
            if found is None:

                def found(*args: Any, **options: Any) -> tuple[Any, State]:
                    return rule(xp, *args, **options)

            self._updates[xp] = found
        return found

    def _in_place(self, p: Any) -> Callable[..., bool] | None:
        """The library's version of the rule that writes into the arrays it is given, or None."""
        key = type(p), p.dtype
        try:
            return self._updates_in_place[key]
        except KeyError:
            xp, name = namespace_of(p), self.rule.__name__
            fits = name.endswith("_update") and xp.dtype_of(p.dtype).kind == "real floating"
            fits = fits and not (self.masters and is_half(xp, p))
            found = self._updates_in_place[key] = getattr(xp, name + "_", None) if fits else None
            return found

    def _require_agreement(self, p: Any, g: Any, state: State) -> None:
        as_it_is = g.dtype is p.dtype and g.shape == p.shape and type(g) is type(p)
        if as_it_is and not state:
            return
        kind, kept, own = type(p), self._kept_dtype(p), p.shape
        if not as_it_is:
            require_agreement(self._name, p, "gradient", g, own, (p.dtype, kept))
        shapes = _NOTHING if self.elementwise else self.state_shapes(own)
        for name, value in state.items():
            if type(value) in PYTHON_SCALARS:
                continue
            x, shape = raw(value), shapes.get(name, own)
            if type(x) is not kind or x.dtype is not kept or x.shape != shape:
                require_agreement(self._name, p, name, x, shape, (kept,))

    def _kept_dtype(self, p: Any) -> Any:
        """The dtype of the state of a parameter."""
        if not self.masters:
            return p.dtype
        xp = namespace_of(p)
        return xp.raw_dtype("float32") if is_half(xp, p) else p.dtype

    # ------------------------------------------------------------------------------------------------------- state

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, in PyTorch's structure.

        Returns:
            {"state": {index: {name: Tensor or number}}, "param_groups": [{..., "params": [indices]}]}: parameters are
            counted through the groups. Later steps do not change it. "param_groups" holds plain Python values, so that
            JSON can keep it.

        >>> import portanet
        >>> from portanet import optim
        >>> optim.SGD([portanet.tensor([1.0], requires_grad=True)], lr=0.5).state_dict()["param_groups"][0]["params"]
        [0]
        """
        refuse_while_recording(f"{self._name}.state_dict()")
        state, groups = {}, []
        i = 0
        for group in self.param_groups:
            indices = list(range(i, i + len(group["params"])))
            groups.append({**{name: value for name, value in group.items() if name != "params"}, "params": indices})
            for index, p in zip(indices, group["params"], strict=True):
                if self.state.get(p):
                    state[index] = {name: wrapped(raw(value)) for name, value in self.state[p].items()}
            i += len(indices)
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state and hyperparameters that `state_dict` gave, here or in PyTorch.

        Arrays are copied to the library, device and dtype of their parameters.

        Raises:
            ValueError: the groups differ in number or size, or a state does not fit its parameter or this optimizer.
                Nothing has then been changed.

        >>> import portanet
        >>> from portanet import optim
        >>> w = portanet.tensor([1.0], requires_grad=True)
        >>> optimizer = optim.Adam([w])
        >>> optimizer.load_state_dict(optim.Adam([w], lr=0.5).state_dict())
        >>> optimizer.param_groups[0]["lr"]
        0.5
        """
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        saved_sizes = [len(group["params"]) for group in saved]
        if sizes != saved_sizes:
            raise ValueError(
                f"{self._name}: the saved groups have {saved_sizes} parameters, the optimizer's {sizes}; build it over "
                "the same parameters in the same groups before loading."
            )
        order = [index for group in saved for index in group["params"]]
        places = {index: i for i, index in enumerate(order)}
        unknown = [index for index in state_dict["state"] if index not in places]
        if unknown:
            raise ValueError(f"{self._name}: the saved state has entries for {unknown}, which no saved group names.")
        by_place = {places[index]: state for index, state in state_dict["state"].items()}
        states = self._fitted(by_place)
        groups = [self._merged(group, new) for group, new in zip(self.param_groups, saved, strict=True)]
        for group, new in zip(self.param_groups, groups, strict=True):
            group.update(new)
        self._set_states(states)

    def _merged(self, group: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
        """A group with the hyperparameters of a saved one, checked."""
        names, saved_names = group.get("param_names"), saved.get("param_names")
        if names is not None and saved_names is not None and names != list(saved_names):
            raise ValueError(
                f"{self._name}: the saved parameters are {saved_names}, the optimizer's {names}; give them in the same "
                "order, or without names to match them by position."
            )
        given = {name: plain(value) for name, value in saved.items() if name not in ("params", "param_names")}
        merged = {**group, **given}
        require_numbers(self._name, merged, list(self.defaults), self.texts)
        self.check(merged)
        return merged

    def state_arrays(self) -> dict[str, Tensor]:
        """The state as a flat dict of Tensors, as checkpoints hold it: {"0.exp_avg": ..., "0.step": ...}.

        Numbers become arrays of no axes. The hyperparameters are not in it: they are plain Python values, in
        ``state_dict()["param_groups"]``.

        >>> import portanet
        >>> from portanet import optim
        >>> w = portanet.tensor([1.0], requires_grad=True)
        >>> optimizer = optim.SGD([w], lr=0.5, momentum=0.9)
        >>> (w * w).backward()
        >>> optimizer.step()
        >>> optimizer.state_arrays()
        {'0.momentum_buffer': tensor([2.])}
        """
        return flattened(self._name, self.state_numbers, self._parameters(), self.state)

    def load_state_arrays(self, arrays: dict[str, Any]) -> None:
        """Take over a state that `state_arrays` gave; the hyperparameters stay as they are.

        Args:
            arrays: Tensors, or raw arrays of any library. They are copied to where their parameters are.

        Raises ValueError where a name or a shape does not fit; nothing has then been changed.

        >>> import numpy, portanet
        >>> from portanet import optim
        >>> w = portanet.tensor([1.0], requires_grad=True)
        >>> optimizer = optim.SGD([w], momentum=0.9)
        >>> optimizer.load_state_arrays({"0.momentum_buffer": numpy.asarray([2.0])})
        >>> optimizer.state[w]
        {'momentum_buffer': tensor([2.])}
        """
        states = unflattened(self._name, arrays)
        self._set_states(self._fitted(states))

    def _fitted(self, states: dict[int, State]) -> dict[int, State]:
        parameters = self._parameters()
        shapes = [self.state_shapes(p.shape) for p in parameters]
        dtypes = [self._kept_dtype(p._raw) for p in parameters]
        names = (*self.state_names, MASTER) if self.masters and self.state_names else self.state_names
        return fitted(self._name, names, self.state_numbers, parameters, shapes, dtypes, states)

    def _set_states(self, states: dict[int, State]) -> None:
        parameters = self._parameters()
        self.state = defaultdict(dict, {parameters[i]: state for i, state in states.items() if state})

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])
