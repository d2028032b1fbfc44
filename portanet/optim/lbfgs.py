"""L-BFGS: steps along a direction that the last changes of the gradient give, all parameters as one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.autograd import enable_grad
from portanet.doors import read
from portanet.library import device_of, is_array, move, namespace_of
from portanet.optim.checks import require_nonnegative
from portanet.optim.line_search import Point, strong_wolfe
from portanet.optim.optimizer import Optimizer
from portanet.optim.state import State, plain, raw
from portanet.optim.vector import Layout
from portanet.plan.recorder import Refused, active
from portanet.tensor import Tensor

__all__ = ["LBFGS"]

NUMBERS = ("t", "H_diag", "prev_loss")
COUNTS = ("func_evals", "n_iter")
VECTORS = ("d", "prev_flat_grad")
LISTS = ("old_dirs", "old_stps", "ro")


def direction(xp: Any, g: Any, old_dirs: list[Any], old_stps: list[Any], ro: list[float], scale: float) -> Any:
    """Minus the inverse Hessian, as the pairs of changes show it, times the gradient: the recursion of two loops.

    Args:
        g: the gradient.
        old_dirs: changes of the gradient, y.
        old_stps: changes of the parameters, s.
        ro: 1 / (y s) of each pair.
        scale: of the identity that the pairs improve on.
    """
    q, shares = -g, []
    for y, s, r in zip(reversed(old_dirs), reversed(old_stps), reversed(ro)):
        shares.append(_dot(xp, s, q) * r)
        q = q - shares[-1] * y
    q = q * scale
    for y, s, r in zip(old_dirs, old_stps, ro):
        q = q + (shares.pop() - _dot(xp, y, q) * r) * s
    return q


class LBFGS(Optimizer):
    """The quasi-Newton method of limited memory, which calls for the loss and its gradient several times a step.

    ::

        y = g - g_before,   s = p - p_before      (the last ``history_size`` pairs with y s > 1e-10 are kept)
        d = -H g                                  (H: from H = (y s) / (y y), improved by each pair)
        p <- p + t d                              (t = lr, or found by a line search)

    Nocedal, "Updating quasi-Newton matrices with limited storage" (1980); Nocedal and Wright, "Numerical optimization"
    (2006), algorithm 7.5. For losses without noise: whole batches, or small problems.

    Args:
        params: an iterable of Tensors or of (name, Tensor) pairs, of one dtype; one group.
        lr: the length of a step, or where the line search begins.
        max_iter: the iterations of one `step`.
        max_eval: the evaluations of the loss in one `step`; None for 5 / 4 of ``max_iter``.
        tolerance_grad: where no element of the gradient is larger, it is done.
        tolerance_change: where neither a parameter nor the loss changes by more, it is done.
        history_size: how many pairs are kept: memory for twice as many copies of all parameters.
        line_search_fn: None, or "strong_wolfe": then each step falls, whatever ``lr``.

    The state is that of all parameters together, and is kept at the first one, as in PyTorch. A step decides by the
    loss how often it is computed: `portanet.compile` runs it as it is.

    Raises:
        ValueError: there are several groups, or a hyperparameter is out of its range.
        TypeError: the parameters differ in dtype.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([-1.5, 2.0], requires_grad=True)
    >>> optimizer = optim.LBFGS([w], line_search_fn="strong_wolfe", max_iter=50)
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2  # Rosenbrock's valley
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure)
    >>> abs(w.detach() - 1) < 0.01
    tensor([ True,  True])
    """

    elementwise = False
    texts = ("line_search_fn",)
    state_names = (*COUNTS, *NUMBERS, *VECTORS, *LISTS, "al")

    def __init__(
        self,
        params: Any,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        require_nonnegative("LBFGS", group, "lr", "tolerance_grad", "tolerance_change")
        if self.param_groups and self.param_groups[0] is not group and "params" in group:
            known = self.param_groups[0]["params"]
            if len(known) != len(group["params"]) or any([a is not b for a, b in zip(known, group["params"])]):
                raise ValueError("LBFGS: it sees all parameters as one vector, so there can be one group alone.")
        if not group["history_size"] >= 1 or not group["max_iter"] >= 1:
            raise ValueError(
                f"LBFGS: history_size={group['history_size']}, max_iter={group['max_iter']}; both must be 1 or more."
            )
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(f'LBFGS: line_search_fn={group["line_search_fn"]!r}; it is None or "strong_wolfe".')
        kinds = sorted({str(p.dtype) for p in group["params"]})
        if len(kinds) > 1:
            raise TypeError(f"LBFGS: the parameters are {', '.join(kinds)}; one vector has one dtype.")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to ``max_iter`` iterations, each with one or more evaluations of the loss.

        Args:
            closure: forgets the gradients, computes the loss and its gradients anew, and returns the loss.

        Returns:
            what the closure returned first: the loss before the step.

        >>> import portanet
        >>> from portanet import optim
        >>> w = portanet.tensor([3.0], requires_grad=True)
        >>> optimizer = optim.LBFGS([w])
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = portanet.sum(w * w)
        ...     loss.backward()
        ...     return loss
        >>> optimizer.step(closure).item(), closure().item()
        (9.0, 0.0)
        """
        if closure is None:
            raise TypeError("LBFGS.step: it computes the loss several times; pass a closure: step(closure).")
        if active.get() is not None:
            raise Refused("LBFGS.step(closure) decides by the loss how often it is computed")
        group = self.param_groups[0]
        layout = Layout(group["params"])
        state = dict(self.state[group["params"][0]])
        for name in COUNTS:
            state.setdefault(name, 0)

        def evaluated() -> tuple[Any, Any]:
            with enable_grad():
                loss = closure()
            return loss, layout.gathered([None if p.grad is None else p.grad._raw for p in layout.params])

        first, g = evaluated()
        state["func_evals"] += 1
        if _largest(g) > group["tolerance_grad"]:
            self._iterate(group, layout, state, evaluated, float(first), g)
        self.state[group["params"][0]] = {name: _kept(value) for name, value in state.items()}
        self.step_called = True
        return first

    def _iterate(
        self, group: dict[str, Any], layout: Layout, state: State, evaluated: Any, loss: float, g: Any
    ) -> None:
        state.update({name: _raw(value) for name, value in state.items()})
        xp = namespace_of(g)
        change, evaluations = group["tolerance_change"], 1
        for n in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            self._turn(xp, group, state, g)
            d = state["d"]
            state["prev_flat_grad"], state["prev_loss"] = g, loss
            begins = state["n_iter"] == 1
            t = float(group["lr"])
            state["t"] = t = min(1.0, 1.0 / read(float, xp.sum(xp.abs(g)))) * t if begins else t
            slope = _dot(xp, g, d)
            if slope > -change:
                return
            here = layout.gathered([p._raw for p in layout.params])
            spent = 0
            if group["line_search_fn"] is not None:

                def at(t: float, here: Any = here, d: Any = d) -> Point:
                    layout.put(here + t * d)
                    value, gradient = evaluated()
                    return Point(t, float(value), gradient, _dot(xp, gradient, d))

                found, spent = strong_wolfe(
                    at,
                    Point(0.0, loss, g, slope),
                    t,
                    _largest(d),
                    tolerance_change=change,
                    max_evaluations=group["max_eval"] - evaluations,
                )
                state["t"] = t = found.t
                loss, g = found.value, found.gradient
                layout.put(here + t * d)
            else:
                layout.put(here + t * d)
                if n < group["max_iter"]:  # after the last one nobody asks for it
                    value, g = evaluated()
                    loss, spent = float(value), 1
            evaluations += spent
            state["func_evals"] += spent
            if (
                evaluations >= group["max_eval"]
                or _largest(g) <= group["tolerance_grad"]
                or _largest(t * d) <= change
                or abs(loss - state["prev_loss"]) < change
            ):
                return

    def _turn(self, xp: Any, group: dict[str, Any], state: State, g: Any) -> None:
        """The next direction, from the changes since the last one."""
        if state["n_iter"] == 1:
            state.update({"d": -g, "old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0})
            return
        y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
        ys = _dot(xp, y, s)
        if ys > 1e-10:
            for name, new in (("old_dirs", y), ("old_stps", s), ("ro", 1.0 / ys)):
                state[name] = [*state[name], new][-group["history_size"] :]
            state["H_diag"] = ys / _dot(xp, y, y)
        state["d"] = direction(xp, g, state["old_dirs"], state["old_stps"], state["ro"], state["H_diag"])

    def updated(self, values: list[Any], gradients: list[Any], states: list[State]) -> Any:
        """Not for LBFGS, which computes gradients of its own. Raises TypeError."""
        raise TypeError("LBFGS.updated: a step needs the loss at other points; call step(closure).")

    def state_arrays(self) -> dict[str, Tensor]:
        """Not for LBFGS, whose state has lists. Raises TypeError: use `state_dict`."""
        raise TypeError("LBFGS.state_arrays: its state has lists of vectors; use state_dict().")

    def _fitted(self, states: dict[int, State]) -> dict[int, State]:
        layout = Layout(self._parameters())
        like = layout.gathered([p._raw for p in layout.params])
        found: dict[int, State] = {}
        for i, state in states.items():
            strange = [name for name in state if name not in self.state_names]
            if strange or i:
                raise ValueError(
                    f"LBFGS: the state of parameter {i} has {', '.join(strange or state)}; LBFGS keeps its own at "
                    "parameter 0 alone: it is another optimizer's state."
                )
            given = {name: value for name, value in state.items() if value is not None and name != "al"}
            found[i] = {name: _fit(name, value, like) for name, value in given.items()}
        return found


def _fit(name: str, value: Any, like: Any) -> Any:
    """A saved entry of the state as it is kept here; a vector like this one."""
    if name in LISTS:
        return [_fit("" if name == "ro" else "d", one, like) for one in value]
    if name not in VECTORS:
        number: Any = Tensor(raw(value)).item() if is_array(value) else plain(value)
        return int(number) if name in COUNTS else float(number)
    saved = raw(value)
    if tuple(saved.shape) != tuple(like.shape):
        raise ValueError(
            f"LBFGS: a vector of the saved state has shape {tuple(saved.shape)}, the parameters together "
            f"{tuple(like.shape)}; build the optimizer over the parameters of the same model, in the same order."
        )
    xp = namespace_of(like)
    return Tensor(xp.astype(xp.copy(move(saved, xp, device_of(like))), like.dtype))


def _kept(value: Any) -> Any:
    """An entry of the state as it is kept: arrays as Tensors."""
    if isinstance(value, list):
        return [_kept(one) for one in value]
    return Tensor(raw(value)) if is_array(value) else value


def _raw(value: Any) -> Any:
    return [_raw(one) for one in value] if isinstance(value, list) else raw(value)


def _dot(xp: Any, a: Any, b: Any) -> float:
    return read(float, xp.sum(a * b))


def _largest(x: Any) -> float:
    xp = namespace_of(x)
    return read(float, xp.max(xp.abs(x))) if x.shape[0] else 0.0
