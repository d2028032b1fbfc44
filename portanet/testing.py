"""Gradients that prove themselves: checked by the order at which the error of the tangent vanishes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from portanet import autograd
from portanet.dtypes import complex128, float64
from portanet.library import namespace_of
from portanet.tensor import Tensor, cast

__all__ = ["Report", "check_gradient", "taylor_test"]

STEPS = tuple([2.0**-k for k in range(8, 14)])


@dataclass
class Report:
    """The table of remainders, and the orders at which they vanish.

    ``order`` is the median order of the remainder with the gradient: 2 for a right gradient of a smooth function,
    about 1 for a wrong one. It is infinite where the remainder is no more than rounding, as for linear functions.
    """

    steps: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    remainders: list[float] = field(default_factory=list)
    noise: float = 0.0
    remark: str = ""

    @property
    def orders(self) -> list[float]:
        """log2 of the ratio of each remainder to the next, as the step halves; only those above rounding."""
        pairs = list(zip(self.remainders, self.remainders[1:], strict=False))
        return [math.log2(a / b) for a, b in pairs if b > self.noise]

    @property
    def order(self) -> float:
        """The median of the orders; nan where a remainder is nan."""
        if not math.isfinite(sum(self.remainders)):
            return math.nan  # no comparison is true of nan: it must not pass for rounding
        orders = sorted(self.orders)
        return orders[len(orders) // 2] if orders else math.inf

    def __str__(self) -> str:
        lines = ["        h   |f(x+hv) - f(x)|   |... - h <gradient, v>|   order"]
        orders = [
            math.log2(a / b) if b > self.noise else math.nan
            for a, b in zip(self.remainders, self.remainders[1:], strict=False)
        ]
        for i, h in enumerate(self.steps):
            order = f"{orders[i - 1]:7.2f}" if i and not math.isnan(orders[i - 1]) else "      -"
            lines.append(f"{h:9.2e}   {self.without[i]:16.3e}   {self.remainders[i]:22.3e} {order}")
        lines.append(f"order {self.order:.2f}" + (f": {self.remark}" if self.remark else ""))
        return "\n".join(lines)


def check_gradient(function: Callable[..., Any], *args: Any, order: int = 1, verbose: bool = True) -> Report:
    """Check the gradient of ``function`` at ``args`` by Taylor's theorem, and print the table.

    With v a fixed direction and L a fixed weighted sum of the results, |L(x + h v) - L(x) - h <grad L, v>| must fall
    as h**2 (Taylor 1715; the check of dolfin-adjoint and pyadjoint). A wrong gradient leaves order 1.

    Args:
        function: takes Tensors, returns a Tensor or a tuple of them.
        args: arrays; the floating ones are varied. Use float64: float32 leaves no room between the steps and rounding.
        order: 1 checks the gradient; 2 checks the gradient of a directional derivative, that is, second derivatives.
        verbose: print the table.

    Returns:
        a `Report`; ``report.order > 1.8`` is the usual demand.

    Raises:
        TypeError: no argument is floating, one is not of double precision, or the function returns nothing floating.

    >>> import portanet
    >>> x = portanet.asarray([0.5, 1.0], dtype=portanet.float64)
    >>> portanet.testing.check_gradient(portanet.exp, x, verbose=False).order > 1.9
    True
    """
    points = [_as_point(x) for x in args]
    varied = [i for i, x in enumerate(points) if isinstance(x, Tensor) and "floating" in x.dtype.kind]
    if not varied:
        raise TypeError("check_gradient: no argument is a floating array; pass at least one, in float64.")
    for i in varied:
        if points[i].dtype.name not in ("float64", "complex128"):
            raise TypeError(
                f"check_gradient: argument {i} is {points[i].dtype}; use float64, or rounding hides the order."
            )
    objective = _slope(function, varied) if order == 2 else function
    report = _measure(objective, points, varied)
    report.remark = _remark(report)
    if verbose:
        print(report)
    return report


def taylor_test(model: Any, loss: Callable[[Any, Any], Any], batch: tuple[Any, Any], *, verbose: bool = True) -> Report:
    """Check the gradient of a whole network's loss with respect to its parameters, and print the table.

    As `check_gradient`, with v a fixed direction in the space of all parameters that require grad. It is done in float64
    and in the mode (train or eval) that the model is in, on copies: parameters, buffers, the state of the random
    numbers and every ``.grad`` are afterwards what they were, also where ``loss`` raises.

    Args:
        model: a Module.
        loss: ``loss(model(x), target)`` gives one number.
        batch: ``(x, target)``.
        verbose: print the table.

    Returns:
        a `Report`. A smooth network shows order 2; a correct ReLU network 1.3 to 1.9 where some units switch within
        the step; a wrong gradient shows 1.

    Raises:
        ValueError: no parameter requires grad.
        TypeError: the library has no float64 (JAX without ``jax_enable_x64``).

    >>> import portanet
    >>> from portanet import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> x = portanet.ones((4, 2))
    >>> portanet.testing.taylor_test(model, nn.MSELoss(), (x, x[:, :1]), verbose=False).order > 1.9
    True
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("taylor_test: the model has no parameter that requires grad.")
    others = [p for p in model.parameters() if not p.requires_grad] + list(model.buffers())
    x, target = [_wide(part) for part in batch]
    states = [get() for get, _ in autograd.REPLAYED]

    def objective(*values: Any) -> Any:
        # The others are widened anew each time: a forward pass may write into them.
        with _holding(model, trained + others, [*values, *[_wide(t) for t in others]]):
            _replay(states)  # dropout must fall alike each time
            return loss(model(x), target)

    points = [_wide(p) for p in trained]
    try:
        report = _measure(objective, points, list(range(len(points))))
    finally:
        _replay(states)
    report.remark = _remark(report)
    if verbose:
        print(report)
    return report


def _wide(x: Any) -> Any:
    """A constant copy in float64 (complex128); what is no floating Tensor stays as it is."""
    if not isinstance(x, Tensor) or "floating" not in x.dtype.kind:
        return x
    wanted = complex128 if x.dtype.kind == "complex floating" else float64
    wide = cast(x.detach(), wanted)
    if wide.dtype is not wanted:
        raise TypeError(
            f"taylor_test: {x.backend} made {wide.dtype} where {wanted} was asked for, and in single precision rounding "
            "hides the order; switch on its 64-bit types, or move model and batch to another library."
        )
    return wide


def _replay(states: list[Any]) -> None:
    for (_, put), state in zip(autograd.REPLAYED, states, strict=True):
        put(state)


@contextlib.contextmanager
def _holding(model: Any, tensors: list[Any], values: list[Any]) -> Iterator[None]:
    """Within this block the Tensors of a model stand for other values, and for the nodes of these."""
    before = [(t, t._raw, t._node) for t in tensors]
    # A forward pass may also put another Tensor in a buffer's place.
    buffers = [(module, name, t) for module in model.modules() for name, t in module._buffers.items()]
    try:
        for t, value in zip(tensors, values, strict=True):
            t._raw, t._node = value._raw, value._node
        yield
    finally:
        for module, name, t in buffers:
            if getattr(module, name) is not t:
                setattr(module, name, t)
        for t, raw, node in before:
            t._raw, t._node = raw, node


def _as_point(x: Any) -> Any:
    return Tensor(x._raw if isinstance(x, Tensor) else x) if hasattr(x, "dtype") else x


def wave(x: Any, phase: float) -> Any:
    """Fixed numbers between -1 and 1, without pattern, of the shape, dtype and library of ``x``: a direction."""
    xp = namespace_of(x)
    places = xp.reshape(xp.positions(xp.reshape(x, (-1,))), x.shape)
    real = xp.astype(xp.cos(xp.astype(places, xp.float64) * 1.618 + phase), x.dtype)
    if not xp.isdtype(x.dtype, "complex floating"):
        return real
    return real + 1j * xp.astype(xp.sin(xp.astype(places, xp.float64) * 2.236 + phase), x.dtype)


def _weighted(results: Any) -> Any:
    """One real number that depends on every element of every floating result."""
    total: Any = None
    for k, y in enumerate(results if isinstance(results, (tuple, list)) else [results]):
        xp = namespace_of(y)
        if not xp.isdtype(y.dtype, ("real floating", "complex floating")):
            continue
        term = xp.sum(
            xp.real(y * wave(y, 0.7 + k)) if xp.isdtype(y.dtype, "complex floating") else y * wave(y, 0.7 + k)
        )
        total = term if total is None else total + term
    if total is None:
        raise TypeError("the function returns nothing floating, so there is no gradient to check.")
    return total


def _slope(function: Callable[..., Any], varied: list[int]) -> Callable[..., Any]:
    """The derivative of the weighted sum along a fixed direction: differentiating it needs second derivatives."""

    def slope(*args: Any) -> Any:
        points = list(args)
        for i in varied:  # where the measure asks for values alone, a graph is still needed inside
            points[i] = points[i] if points[i].requires_grad else points[i].detach().requires_grad_()
        with autograd.enable_grad():
            value = _weighted(function(*points))
        chosen = [points[i] for i in varied]
        found = autograd.grad(value, chosen, create_graph=True, allow_unused=True)
        return [g for g in found if g is not None]

    return slope


def _measure(function: Callable[..., Any], points: list[Any], varied: list[int]) -> Report:
    leaves = list(points)
    for i in varied:
        leaves[i] = points[i].detach().requires_grad_()
    with autograd.enable_grad():
        value = _weighted(function(*leaves))
    base = value.item()
    gradients: tuple[Tensor | None, ...] = (None,) * len(varied)
    if value.requires_grad:
        gradients = autograd.grad(value, [leaves[i] for i in varied], allow_unused=True)
    directions = [wave(points[i], 0.3 + i) for i in varied]
    slope = sum([_inner(g, v) for g, v in zip(gradients, directions, strict=True) if g is not None])
    report = Report()
    size = abs(base)
    for h in STEPS:
        moved = list(points)
        for i, v in zip(varied, directions, strict=True):
            moved[i] = points[i] + h * v
        change = _weighted(function(*moved)).item() - base
        size = max(size, abs(base + change))
        report.steps.append(h)
        report.without.append(abs(change))
        report.remainders.append(abs(change - h * slope))
    report.noise = 1e-13 * max(size, abs(slope), 1e-3)
    return report


def _inner(g: Tensor, v: Tensor) -> float:
    xp = namespace_of(g)
    product = xp.real(xp.conj(g) * v) if xp.isdtype(g.dtype, "complex floating") else g * v
    return float(xp.sum(product).item())


def _remark(report: Report) -> str:
    if report.order > 1.8:
        return "the gradient is right" if math.isfinite(report.order) else "no remainder above rounding: linear here"
    if report.order > 1.25:
        return (
            "between 1 and 2: a kink (ReLU, max, abs) lies within the step for some inputs, where no tangent exists; a "
            "correct ReLU network shows 1.3 to 1.9. Smooth activations or smaller steps tell it from an error"
        )
    return "the gradient is wrong, or the function is not differentiable here"
