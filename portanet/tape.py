"""The memory of what was computed, and the walk back through it: the chain rule. Knows no operation and no library.

A `Node` stands for one operation that ran. It holds the values that went in and came out, never the Tensors, so
that a Tensor which is later given another value cannot falsify the past, and so that no reference cycle arises.
Nodes are numbered as they are made; walking by falling number visits each after everything that used it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from heapq import heappop, heappush
from typing import Any

from portanet.library import namespace_of, namespaces, out_of_memory
from portanet.reads import reads

recording: ContextVar[bool] = ContextVar("portanet_recording", default=True)

next_number = itertools.count(1).__next__
_new = object.__new__


class Rule:
    """How one operation passes a cotangent back: one function ``vjp(xp, g, y, *args, **options)`` per argument.

    ``g`` is the cotangent of the result ``y``. An argument whose function is None passes nothing on (an index, a
    condition). ``joint`` instead is one function that returns the cotangents of all arguments at once; where it has
    a parameter ``wanted`` by name, it is told of each argument whether its cotangent will be used.
    A rule is the transpose of the derivative, without complex conjugation; see `portanet.autograd`.
    """

    def __init__(
        self, name: str, vjps: tuple[Callable[..., Any] | None, ...] = (), joint: Callable[..., Any] | None = None
    ):
        self.name = name
        self.vjps = vjps
        self.joint = joint
        code = getattr(joint, "__code__", None)
        names = () if code is None else code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        self.asks = "wanted" in names

    @functools.cached_property
    def _read(self) -> frozenset[int] | None:
        found = [reads(function) for function in (*self.vjps, self.joint) if function is not None]
        return None if None in found else frozenset().union(*[places or () for places in found])

    @functools.cached_property
    def reads_output(self) -> bool:
        """Whether the way back looks at the elements of the result."""
        return self._read is None or OUTPUT in self._read

    @functools.cached_property
    def spared(self) -> tuple[int, ...]:
        """The arguments at whose elements the way back does not look."""
        if self._read is None:
            return ()
        count = len(self.vjps) if self.joint is None else self.joint.__code__.co_argcount - ARGUMENTS
        return tuple([i for i in range(count) if ARGUMENTS + i not in self._read])


OUTPUT, ARGUMENTS = 2, 3  # the places of y and of the first argument among a rule's parameters: xp, g, y, *args


class Form:
    """All that is kept of an array whose elements the way back does not look at."""

    __slots__ = ("dtype", "ndim", "shape")

    def __init__(self, array: Any) -> None:
        self.shape = array.shape
        self.ndim = array.ndim
        self.dtype = array.dtype


class Node:
    """One operation that ran: its rule, what went in and came out, and the nodes that the arguments came from.

    Of ``args`` and ``output`` no more need be kept than the rule reads: see `remembered`.
    """

    __slots__ = ("args", "hooks", "number", "options", "output", "parents", "rule")

    def __init__(self, rule: Rule | None, args: Any, options: Any, output: Any, parents: Any) -> None:
        self.number = next_number()
        self.rule = rule
        self.args = args
        self.options = options
        self.output = output
        self.parents = parents
        self.hooks: list[Callable[[Any], Any]] | None = None


class Leaf(Node):
    """A place where the walk ends and a gradient is wanted: a parameter, or an input that requires grad."""

    __slots__ = ("grad",)

    def __init__(self) -> None:
        super().__init__(None, None, None, None, ())
        self.grad: Any = None


class Output(Node):
    """The ``index``-th of several results of one operation (svd, unstack): hands its cotangent on to there."""

    __slots__ = ("index",)

    def __init__(self, source: Node, index: int) -> None:  # written out, as by Node
        self.number = next_number()
        self.rule = self.args = self.options = self.output = self.hooks = None
        self.parents = (source,)
        self.index = index


def remembered(rule: Rule, args: Any, options: Any, output: Any, parents: Any) -> Node:
    """The node of an operation that ran, with as little kept alive as its rule allows."""
    for i in rule.spared:
        # What a leaf holds lives on in any case.
        if i < len(args) and type(parents[i]) is not Leaf and type(args[i]) in namespaces:
            args = list(args)
            args[i] = Form(args[i])
    node = _new(Node)  # written out, as its constructor makes it: one call less for each operation
    node.number, node.rule = next_number(), rule  # in pairs: for more, Python would make a tuple
    node.args, node.parents = args, parents
    node.options, node.hooks = options, None
    node.output = output if rule.reads_output else None
    return node


def walk(
    seeds: Iterable[tuple[Node, Any]],
    *,
    wanted: set[Node] | None = None,
    ends: bool = False,
    retain: bool = False,
    lift: Callable[[Any, Node | None], Any] | None = None,
    hooked: Callable[[Callable[[Any], Any], Any], Any] | None = None,
) -> dict[Node, Any]:
    """Pass the seeds' cotangents back and return what arrives at the ``wanted`` nodes (None: at every leaf).

    Args:
        seeds: pairs of a node and the cotangent of its result.
        ends: go no further than the wanted nodes.
        retain: keep the graph for another walk; otherwise each node is released as the walk passes.
        lift: makes a Tensor of a value and its node. Given, the walk itself is recorded (second derivatives).
        hooked: how to call a hook with a cotangent.
    """
    found: dict[Node, Any] = {}
    first = 0 if wanted is None else min([node.number for node in wanted], default=0)  # nothing older leads to these
    pending: dict[Node, Any] = {}  # the cotangents that have arrived at nodes not visited yet
    queue: list[tuple[int, Node]] = []  # these nodes but leaves, the newest first: all that used it come before it
    for node, g in seeds:
        _arrive(pending, queue, node, g)
    try:
        while queue:
            node = heappop(queue)[1]
            g = pending.pop(node)
            if node.hooks is not None:
                g = _hooked(node, g, hooked)
            if wanted is not None and node in wanted:
                found[node] = g
                if ends:
                    continue
            if node.rule is None:
                _arrive_at_output(pending, queue, node, g)
            else:
                for parent, cotangent in _cotangents(node, g, lift):
                    if parent in pending:
                        pending[parent] = pending[parent] + cotangent
                    else:
                        pending[parent] = cotangent
                        if type(parent) is not Leaf and parent.number >= first:
                            heappush(queue, (-parent.number, parent))
            if not retain:
                node.args = node.output = node.options = node.parents = None
    except Exception as problem:
        _let_go(problem, node, queue, retain)
        raise
    for node, g in pending.items():  # the leaves; and what lies before all that is wanted
        if type(node) is Leaf if wanted is None else node in wanted:
            found[node] = g if node.hooks is None else _hooked(node, g, hooked)
    return found


def _let_go(problem: Exception, node: Node, queue: list[tuple[int, Node]], retain: bool) -> None:
    """Out of memory on the way back from ``node``: say so, and free the rest of the graph, which nobody can walk now."""
    found = None
    try:
        found = out_of_memory("backward" if node.rule is None else f"backward of {node.rule.name}", problem)
        if found is not None:
            for one in [] if retain else _all_before([node, *[waiting for _, waiting in queue]]):
                one.args = one.output = one.options = one.parents = None
            raise found
    finally:
        del found, problem  # see library.explain


def _all_before(nodes: list[Node]) -> list[Node]:
    """These nodes and all that they lead back to, but leaves."""
    seen = set(nodes)
    found = list(seen)
    for node in found:  # which grows as it goes
        for parent in node.parents or ():
            if parent is not None and parent not in seen and type(parent) is not Leaf:
                seen.add(parent)
                found.append(parent)
    return found


def _hooked(node: Node, g: Any, hooked: Callable[[Callable[[Any], Any], Any], Any] | None) -> Any:
    if hooked is not None and node.hooks is not None:
        for hook in list(node.hooks):
            g = hooked(hook, g)
    return g


def _arrive(pending: dict[Node, Any], queue: list[tuple[int, Node]], node: Node, g: Any) -> None:
    """Add a cotangent to those that have arrived at ``node``, which is visited later."""
    before = pending.get(node)
    pending[node] = g if before is None else before + g
    if before is None and type(node) is not Leaf:
        heappush(queue, (-node.number, node))


def _arrive_at_output(pending: dict[Node, Any], queue: list[tuple[int, Node]], node: Node, g: Any) -> None:
    """The same for one of several results: at the operation a cotangent of each is waited for, or None."""
    if node.parents is None:
        raise _freed()
    source, index = node.parents[0], node.index  # type: ignore[attr-defined]
    slots = pending.get(source)
    if slots is None:
        # The output of a freed node is gone: the walk says so when it arrives there.
        slots = pending[source] = [None] * (index + 1 if source.output is None else len(source.output))
        heappush(queue, (-source.number, source))
    slots[index] = g if slots[index] is None else slots[index] + g


def _freed() -> RuntimeError:
    return RuntimeError(
        "this graph was used by an earlier backward and freed; call the first backward with retain_graph=True "
        "to use it twice, or compute the forward pass again."
    )


def _cotangents(node: Node, g: Any, lift: Any) -> list[tuple[Node, Any]]:
    """What the rule of ``node`` makes of its cotangent: those of the arguments that came from nodes, with these."""
    parents = node.parents
    if parents is None:
        raise _freed()
    rule: Any = node.rule
    args, y, options = node.args, node.output, node.options
    if lift is not None:
        args = [lift(value, parent) for value, parent in zip(args, parents, strict=True)]
        y = lift(y, node)
    xp = namespaces.get(type(g)) or namespace_of(_first(g) if type(g) is list else g)
    if rule.joint is not None:
        if rule.asks:
            wanted = tuple([parent is not None for parent in parents])
            options = {"wanted": wanted} if options is None else {**options, "wanted": wanted}
        found = rule.joint(xp, g, y, *args, **options or {})
    elif rule.vjps:
        found = [
            None if parent is None or vjp is None else vjp(xp, g, y, *args, **options or {})
            for parent, vjp in zip(parents, rule.vjps)
        ]
    else:
        raise NotImplementedError(
            f"{rule.name} has no derivative rule, so a gradient cannot pass through it; add one to the tables in "
            "portanet/vjps, or call it on x.detach()."
        )
    matched = []
    for parent, cotangent, x in zip(parents, found, args, strict=rule.joint is not None):
        if parent is not None and cotangent is not None:
            if x is not None and (cotangent.shape != x.shape or cotangent.dtype is not x.dtype):
                cotangent = match(xp, cotangent, x)
            matched.append((parent, cotangent))
    return matched


def _first(slots: list[Any]) -> Any:
    for g in slots:
        if g is not None:
            return g
    raise AssertionError("a node is only visited when a cotangent has arrived")


def match(xp: Any, g: Any, x: Any) -> Any:
    """The cotangent ``g`` as one of ``x``: broadcasting summed away, promotion undone. Nowhere else is either done."""
    if g.shape != x.shape:
        extra = g.ndim - x.ndim
        axes = list(range(extra))
        for i in range(x.ndim):
            if x.shape[i] == 1 and g.shape[extra + i] != 1:
                axes.append(extra + i)
        g = xp.reshape(xp.sum(g, axis=tuple(axes), dtype=g.dtype), x.shape)
    if g.dtype != x.dtype:
        if xp.isdtype(g.dtype, "complex floating") and not xp.isdtype(x.dtype, "complex floating"):
            g = xp.real(g)
        g = xp.astype(g, x.dtype)
    return g
