"""Gradients asked for in other ways than ``loss.backward()``, and the switches of the tape.

Complex numbers: the gradient of a real L with respect to z = a + ib is dL/da + i dL/db, PyTorch's convention, the
direction of steepest ascent. Inside, rules are plain transposes; the conjugation that turns one into the other is
done once, where gradients enter and leave.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from portanet import autocasting
from portanet.library import namespace_of
from portanet.pullback import conjugated, pull_back
from portanet.tape import Leaf, Node, Rule, recording
from portanet.tensor import Tensor

__all__ = [
    "Function", "checkpoint", "enable_grad", "grad", "hessian", "inference_mode", "is_grad_enabled", "jacobian",
    "no_grad", "value_and_grad", "vjp",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


class _Recording(contextlib.ContextDecorator):
    """Sets, for a block or a function, whether operations are remembered: for this thread or task alone."""

    _value = False

    def __init__(self) -> None:
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        self._tokens.append(recording.set(self._value))

    def __exit__(self, *exception: Any) -> None:
        recording.reset(self._tokens.pop())

    def _recreate_cm(self) -> _Recording:  # a decorated function may run in several threads
        return type(self)()


class no_grad(_Recording):
    """Within this block, or in a function decorated with it, nothing is remembered and results are constants.

    >>> import portanet
    >>> x = portanet.tensor([1.0], requires_grad=True)
    >>> with portanet.no_grad():
    ...     (2 * x).requires_grad
    False
    """


class inference_mode(_Recording):
    """`no_grad` under the name PyTorch gives it for pure inference.

    >>> import portanet
    >>> with portanet.inference_mode():
    ...     portanet.autograd.is_grad_enabled()
    False
    """


class enable_grad(_Recording):
    """Within this block, inside a `no_grad`, operations are remembered again.

    >>> import portanet
    >>> with portanet.no_grad(), portanet.enable_grad():
    ...     portanet.autograd.is_grad_enabled()
    True
    """

    _value = True


def is_grad_enabled() -> bool:
    """Whether operations on Tensors that require grad are being remembered.

    >>> import portanet
    >>> portanet.autograd.is_grad_enabled()
    True
    """
    return recording.get()


def _sequence(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of ``outputs`` with respect to ``inputs``; no ``.grad`` is touched.

    Args:
        outputs: a Tensor or a sequence of Tensors, differentiated together as their sum.
        inputs: a Tensor or a sequence of Tensors that require grad; computed ones may be among them.
        grad_outputs: the cotangent of each output, of its shape; may be left out for single elements.
        retain_graph: keep the graph for another time; None: exactly when ``create_graph``.
        create_graph: record this computation too, so that the result can be differentiated again.
        allow_unused: give None for an input that the outputs do not depend on, instead of raising.

    Returns:
        one gradient for each input, of its shape and dtype.

    Raises:
        RuntimeError: an input does not require grad, or was not used, or the graph was freed.

    >>> import portanet
    >>> x = portanet.tensor([3.0], requires_grad=True)
    >>> (slope,) = portanet.autograd.grad(x * x * x, x, create_graph=True)
    >>> portanet.autograd.grad(slope, x)
    (tensor([18.]),)
    """
    outputs, inputs = _sequence(outputs), _sequence(inputs)
    gradients = [None] * len(outputs) if grad_outputs is None else _sequence(grad_outputs)
    nodes = []
    for i, x in enumerate(inputs):
        if x._node is None:
            raise RuntimeError(f"autograd.grad: input {i} does not require grad; call requires_grad_() on it first.")
        nodes.append(x._node)
    retain = create_graph if retain_graph is None else retain_graph
    found = pull_back(Tensor, outputs, gradients, wanted=set(nodes), retain=retain, create=create_graph)
    for i, node in enumerate(nodes):
        if node not in found and not allow_unused:
            raise RuntimeError(
                f"autograd.grad: the outputs do not depend on input {i}; pass allow_unused=True to get None for it."
            )
    return tuple([found.get(node) for node in nodes])


def _leaf(x: Any) -> Tensor:
    """A fresh leaf of the same elements, which gradients stop at."""
    return Tensor(x._raw if isinstance(x, Tensor) else x).requires_grad_()


def value_and_grad(function: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns what ``function`` returns, and its gradient with respect to some of its arguments.

    Args:
        function: takes arrays, returns a Tensor of one element.
        argnums: the positions of the arguments to differentiate; one number gives one gradient, a tuple a tuple.

    >>> import portanet
    >>> f = portanet.autograd.value_and_grad(lambda x: portanet.sum(x * x))
    >>> f(portanet.asarray([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(function)
    def with_gradient(*args: Any, **options: Any) -> Any:
        given = list(args)
        for place in places:
            given[place] = _leaf(args[place])
        with enable_grad():
            value = function(*given, **options)
        gradients = grad(value, [given[place] for place in places])
        return value.detach(), gradients[0] if isinstance(argnums, int) else gradients

    return with_gradient


def vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., tuple[Tensor, ...]]]:
    """The value of ``function`` at ``primals``, and the map that takes its cotangents to theirs.

    The map may be called any number of times. For a function that returns several Tensors it takes as many.

    >>> import portanet
    >>> y, back = portanet.autograd.vjp(portanet.square, portanet.asarray([1.0, 2.0]))
    >>> back(portanet.asarray([1.0, 10.0]))
    (tensor([ 2., 40.]),)
    """
    leaves = [_leaf(x) for x in primals]
    with enable_grad():
        value = function(*leaves)
    outputs = _sequence(value)

    def back(*cotangents: Any) -> tuple[Tensor, ...]:
        found = grad(outputs, leaves, list(cotangents), retain_graph=True, allow_unused=True)
        zero = [Tensor(namespace_of(leaf._raw).zeros_like(leaf._raw)) for leaf in leaves]
        return tuple([z if g is None else g for g, z in zip(found, zero, strict=True)])

    detached = [output.detach() for output in outputs]
    return (tuple(detached) if isinstance(value, (list, tuple)) else detached[0]), back


def jacobian(function: Callable[[Any], Tensor], x: Any, create_graph: bool = False) -> Tensor:
    """All first derivatives of ``function`` at ``x``: shape (*function(x).shape, *x.shape).

    One backward walk for each element of the result. With ``create_graph`` the result can be differentiated again,
    with respect to ``x`` where that requires grad.

    >>> import portanet
    >>> portanet.autograd.jacobian(lambda x: portanet.cumulative_sum(x), portanet.asarray([1.0, 2.0]))
    tensor([[1., 0.],
            [1., 1.]])
    """
    if not (create_graph and isinstance(x, Tensor) and x.requires_grad):
        x = _leaf(x)
    with enable_grad():
        y = function(x)
        xp = namespace_of(y)
        rows = []
        for i in range(y.size):
            chosen = xp.reshape(xp.astype(xp.positions(xp.reshape(y, (-1,))) == i, y.dtype), y.shape)
            (row,) = grad(y, x, chosen, retain_graph=True, create_graph=create_graph, allow_unused=True)
            rows.append(xp.zeros_like(x) if row is None else row)
        if not rows:
            return xp.zeros_like(xp.reshape(y, (*y.shape, *[1] * x.ndim)) * x)
        return xp.reshape(xp.stack(rows), (*y.shape, *x.shape))


def hessian(function: Callable[[Any], Tensor], x: Any) -> Tensor:
    """All second derivatives at ``x`` of a ``function`` that returns one element: shape (*x.shape, *x.shape).

    >>> import portanet
    >>> portanet.autograd.hessian(lambda x: x[0] * x[1], portanet.asarray([1.0, 2.0]))
    tensor([[0., 1.],
            [1., 0.]])
    """

    def slope(point: Tensor) -> Tensor:
        (found,) = grad(function(point), point, create_graph=True, allow_unused=True)
        return namespace_of(point).zeros_like(point) + 0 * point if found is None else _attached(found, point)

    return jacobian(slope, x)


def _attached(found: Tensor, point: Tensor) -> Tensor:
    """A gradient that does not depend on the point (of a linear function), as one that does, by nothing."""
    return found if found.requires_grad else found + 0 * point


# ---------------------------------------------------------------------------------------------------------------------
# Operations of the user's own.


class Context:
    """What a `Function` keeps from its forward for its backward."""

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self._saved: tuple[Any, ...] = ()
        self._now: dict[int, Tensor] = {}

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep Tensors for the backward. Other values may be kept as plain attributes."""
        self._saved = tuple([None if tensor is None else tensor._raw for tensor in tensors])

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What was kept, under the tape again where second derivatives are wanted."""
        return tuple([None if raw is None else self._now.get(id(raw), Tensor(raw)) for raw in self._saved])


class Function:
    """An operation with a derivative of its own: subclass it, and call ``apply``.

    ``forward(ctx, *args)`` gets Tensors and returns one (or a tuple); nothing it does is remembered.
    ``backward(ctx, *gradients)`` returns one gradient for each argument of forward, None where there is none.
    What it computes from ``ctx.saved_tensors`` is differentiable again.

    >>> import portanet
    >>> class Cube(portanet.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x * x * g
    >>> x = portanet.tensor([2.0], requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor([12.])
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Compute the result from the arguments; to be overridden."""
        raise NotImplementedError("a Function needs a forward(ctx, *args).")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Compute the gradients of the arguments from those of the results; to be overridden."""
        raise NotImplementedError("a Function needs a backward(ctx, *gradients).")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run the forward, and remember the backward where an argument requires grad."""
        ctx = Context()
        parents = [argument._node if isinstance(argument, Tensor) else None for argument in args]
        ctx.needs_input_grad = tuple([parent is not None for parent in parents])
        with no_grad():
            result = cls.forward(ctx, *[x.detach() if isinstance(x, Tensor) else x for x in args])
        several = isinstance(result, (list, tuple))
        results = [output.detach() for output in _sequence(result)]
        if not recording.get() or not any(ctx.needs_input_grad):
            return tuple(results) if several else results[0]
        values = [argument._raw if isinstance(argument, Tensor) else argument for argument in args]
        rule = Rule(cls.__name__, joint=functools.partial(_call_backward, cls, ctx, several))
        return _remembered(rule, values, parents, results, several)


def _remembered(rule: Rule, values: list[Any], parents: list[Any], results: list[Tensor], several: bool) -> Any:
    from portanet.tape import Output

    raws = tuple([output._raw for output in results])
    source = Node(rule, values, None, raws, parents)
    outputs = tuple([Tensor(raw, Output(source, i)) for i, raw in enumerate(raws)])
    return outputs if several else outputs[0]


def _call_backward(cls: type[Function], ctx: Context, several: bool, xp: Any, g: Any, y: Any, *args: Any) -> list[Any]:
    lifted = any([isinstance(argument, Tensor) for argument in args])
    if lifted:  # what was saved is found again by identity: an argument, or the result
        ctx._now = {id(t._raw): t for t in [*y, *args] if isinstance(t, Tensor)}
    outputs = [out if lifted else Tensor(out) for out in y]
    given = [
        namespace_of(out).zeros_like(out) if slot is None else conjugated(slot if lifted else Tensor(slot))
        for slot, out in zip(g, outputs, strict=True)
    ]
    try:
        found = _sequence(cls.backward(ctx, *given))
    finally:
        ctx._now = {}
    if len(found) != len(args):
        name = cls.__name__
        raise RuntimeError(f"{name}.backward returned {len(found)} gradients for {len(args)} arguments of forward.")
    found = [None if one is None else conjugated(one) for one in found]
    return found if lifted else [None if one is None else one._raw for one in found]


# ---------------------------------------------------------------------------------------------------------------------
# Memory for time.

# (get, set) of every state that a recomputation has to start from again: the block of `autocast`; the generator of
# random numbers adds its own.
REPLAYED: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [(autocasting.present, autocasting.current.set)]


@contextlib.contextmanager
def _replaying(states: Sequence[Any]) -> Iterator[None]:
    present = [get() for get, _ in REPLAYED]
    for (_, put), state in zip(REPLAYED, states, strict=True):
        put(state)
    try:
        yield
    finally:
        for (_, put), state in zip(REPLAYED, present, strict=True):
            put(state)


def checkpoint(function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)``, remembering only the arguments: the inside is computed again on the way back.

    Saves the memory of what ``function`` computes for the price of computing it twice. Parameters that it uses without
    being given them get their gradients as always, and random numbers (dropout) come out the same both times.

    Args:
        function: takes Tensors and returns a Tensor or a tuple of them.

    >>> import portanet
    >>> x = portanet.tensor([1.0, 2.0], requires_grad=True)
    >>> portanet.sum(portanet.autograd.checkpoint(portanet.exp, x)).backward()
    >>> x.grad
    tensor([2.7182817, 7.389056 ])
    """
    if not recording.get():
        return function(*args)
    states = [get() for get, _ in REPLAYED]
    start = Leaf().number
    inner = [_leaf(x) if isinstance(x, Tensor) and x.requires_grad else x for x in args]
    result = function(*inner)
    several = isinstance(result, (list, tuple))
    outside = _frontier([output._node for output in _sequence(result)], start)
    parents = [x._node if isinstance(x, Tensor) else None for x in args] + outside
    results = [output.detach() for output in _sequence(result)]
    if all([parent is None for parent in parents]):
        return tuple(results) if several else results[0]
    values = [x._raw if isinstance(x, Tensor) else x for x in args]
    del inner, result  # and with them the graph of the inside
    rule = Rule("checkpoint", joint=functools.partial(_recompute, function, states, outside, len(args)))
    # The places outside that the inside used have no value here that a cotangent would be matched with.
    return _remembered(rule, values + [None] * len(outside), parents, results, several)


def _frontier(nodes: list[Node | None], start: int) -> list[Node]:
    """The nodes made before ``start`` that the graph from ``nodes`` down to there leads to."""
    seen: set[Node] = set()
    found: list[Node] = []
    stack = [node for node in nodes if node is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.number < start:
            found.append(node)
        else:
            stack.extend([parent for parent in node.parents or () if parent is not None])
    return sorted(found, key=lambda node: node.number)


def _recompute(
    function: Callable[..., Any], states: Any, outside: list[Node], count: int, xp: Any, g: Any, y: Any, *args: Any
) -> list[Any]:
    lifted = any([isinstance(x, Tensor) for x in args[:count]]) or any([isinstance(slot, Tensor) for slot in g])
    inner = []
    for x in args[:count]:
        is_array = isinstance(x, Tensor) or (hasattr(x, "shape") and hasattr(x, "dtype"))
        inner.append((x if lifted and isinstance(x, Tensor) else _floating_leaf(x)) if is_array else x)
    with enable_grad(), _replaying(states):
        outputs = _sequence(function(*inner))
    pairs = [(o, s) for o, s in zip(outputs, g, strict=True) if s is not None and o._node is not None]
    cotangents = [conjugated(s if isinstance(s, Tensor) else Tensor(s)) for _, s in pairs]
    nodes = [x._node if isinstance(x, Tensor) else None for x in inner] + list(outside)
    wanted = {node for node in nodes if node is not None}
    found = pull_back(Tensor, [o for o, _ in pairs], cotangents, wanted=wanted, ends=True, retain=lifted, create=lifted)
    arrived = [None if node is None else found.get(node) for node in nodes]
    cotangents = [None if one is None else conjugated(one) for one in arrived]
    return cotangents if lifted else [None if one is None else one._raw for one in cotangents]


def _floating_leaf(x: Any) -> Tensor:
    x = Tensor(x)
    return x.requires_grad_() if x.dtype.kind in ("real floating", "complex floating") else x
