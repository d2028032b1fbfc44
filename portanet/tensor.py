"""`Tensor`: an array of any library, together with the node that remembers where it came from."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from portanet import library as lib
from portanet.autocasting import RULED, Region, current
from portanet.backend import destination
from portanet.dtypes import DType
from portanet.library import PYTHON_SCALARS, explain, libraries, namespace_of, operand, require_same
from portanet.plan.recorder import arriving, writing
from portanet.pullback import pull_back
from portanet.reading import Reading, raw_key
from portanet.tape import Leaf, Node, Output, Rule, next_number, recording, remembered
from portanet.vjps import rule as rule_of

__all__ = ["Tensor"]


_new = object.__new__


def _operator(name: str, compute: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Any]:
    rule = rule_of(name)
    keeps_output, is_recording = rule.reads_output, recording.get
    ruled, switch = name in RULED, current.get

    # Written out, with Tensor and Node as their constructors make them: operators are used on the smallest arrays.
    def method(self: Tensor, other: Any) -> Any:
        if ruled and (region := switch()) is not None:
            self, other = precise(region, name, (self, other))
        a, p = self._raw, self._node
        kind = type(a)
        if type(other) is Tensor or isinstance(other, Tensor):
            b, q = other._raw, other._node
            if kind is not type(b):
                require_same(name, a, b)
            promoted = a.dtype is not b.dtype
        else:
            b, q = _other(name, a, other), None
            if b is NotImplemented:
                return NotImplemented
            promoted = type(b) not in PYTHON_SCALARS and a.dtype is not b.dtype
        try:
            y = _promoted(name, a, b) if promoted else compute(a, b)
        except Exception as problem:
            explain(name, (a, b), problem)
        if type(y) is not kind:  # NumPy gives a scalar for no axes
            y = _as_raw(y)
        result = _new(Tensor)
        result._raw = y
        if (p is None and q is None) or not is_recording():
            result._node = None
        else:
            result._node = node = _new(Node)
            node.number, node.rule = next_number(), rule  # in pairs: for more, Python would make a tuple
            node.args, node.parents = (a, b), (p, q)
            node.options = node.hooks = None
            node.output = y if keeps_output else None
        return result

    return method


def _reflected(name: str, compute: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Any]:
    rule = rule_of(name)
    cast_as = "reciprocal" if name == "divide" else name  # a number over x is a multiple of 1 / x
    ruled, switch = cast_as in RULED, current.get

    def method(self: Tensor, other: Any) -> Any:
        if ruled and (region := switch()) is not None:
            self, other = precise(region, cast_as, (self, other))
            other = getattr(other, "_raw", other)
        a, p = self._raw, self._node
        b = _other(name, a, other)
        if b is NotImplemented:
            return NotImplemented
        try:
            y = compute(b, a) if type(b) in PYTHON_SCALARS or a.dtype is b.dtype else _promoted(name, b, a)
        except Exception as problem:
            explain(name, (b, a), problem)
        if p is None or not recording.get():
            return Tensor(y)
        return result_of(rule, (b, a), None, y, (None, p))

    return method


def _unary(name: str, compute: Callable[[Any], Any]) -> Callable[[Tensor], Tensor]:
    rule = rule_of(name)

    def method(self: Tensor) -> Tensor:
        a, p = self._raw, self._node
        try:
            y = compute(a)
        except Exception as problem:
            explain(name, (a,), problem)
        if p is None or not recording.get():
            return Tensor(y)
        return result_of(rule, (a,), None, y, (p,))

    return method


def _constant(name: str, compute: Callable[[Any, Any], Any], swapped: bool = False) -> Callable[[Tensor, Any], Any]:
    """An operator whose result is whole numbers or truth values: no gradient passes, nothing is remembered."""

    def method(self: Tensor, other: Any) -> Any:
        a = self._raw
        b = other._raw if isinstance(other, Tensor) else operand(other)
        if b is NotImplemented:
            return NotImplemented
        if type(b) in libraries and type(a) is not type(b):
            require_same(name, a, b)
        same = type(b) in PYTHON_SCALARS or a.dtype is b.dtype
        if swapped:
            a, b = b, a
        try:
            return Tensor(compute(a, b) if same else _promoted(name, a, b))
        except Exception as problem:
            explain(name, (a, b), problem)

    return method


def _promoted(name: str, a: Any, b: Any) -> Any:
    # Of two dtypes PyTorch's operators, unlike the standard's functions, ignore that of an array without axes.
    return getattr(libraries[type(a)], name)(a, b)


def _other(name: str, a: Any, other: Any) -> Any:
    if type(other) in PYTHON_SCALARS:
        return other
    b = operand(other)
    if b is not NotImplemented and type(b) in libraries and type(a) is not type(b):
        require_same(name, a, b)
    return b


class Tensor(Reading):
    """An array that remembers how it was computed, where a gradient is wanted.

    It wraps one array of any Array API library and has the attributes, methods and operators that the standard gives
    an array, with the standard's meaning; from PyTorch come ``grad``, ``backward`` and their kin. A Tensor that
    requires no gradient is a constant and costs next to nothing.

    Args:
        raw: an array of any library that conforms.

    Raises:
        TypeError: ``raw`` is no array (lists go through `portanet.asarray`).

    >>> import numpy, portanet
    >>> x = portanet.Tensor(numpy.asarray([1.0, 2.0])).requires_grad_()
    >>> y = portanet.sum(x * x)
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.], dtype=float64)
    """

    __slots__ = ("__weakref__",)
    __array_ufunc__ = None  # NumPy then leaves its operators with a Tensor to the Tensor
    __array_priority__ = 1000.0

    def __init__(self, raw: Any, node: Node | None = None) -> None:
        if type(raw) not in libraries:
            raw = _as_raw(raw)
        self._raw = raw
        self._node = node

    # ------------------------------------------------------------------------------------------------ attributes

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix (two axes exactly)."""
        if self.ndim != 2:
            raise ValueError(f"x.T is for two axes, this has shape {self.shape}; use x.mT or portanet.permute_dims.")
        return apply("matrix_transpose", self)

    @property
    def mT(self) -> Tensor:
        """The transposes of a stack of matrices (the last two axes swapped)."""
        if self.ndim < 2:
            raise ValueError(f"x.mT needs at least two axes, this has shape {self.shape}.")
        return apply("matrix_transpose", self)

    # ------------------------------------------------------------------------------------------------- gradients

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient can be asked for: this is a leaf that wants one, or was computed from one."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a gradient (or no longer), and return this same Tensor.

        Raises TypeError for whole numbers and truth values, which have no derivative, and RuntimeError for
        ``False`` on a computed Tensor: use `detach` there.
        """
        if requires_grad and self._node is None:
            if self.dtype.kind not in ("real floating", "complex floating"):
                raise TypeError(
                    f"a gradient needs a floating dtype, this is {self.dtype}; write x.to(portanet.float32)."
                )
            self._node = Leaf()
        elif not requires_grad and self._node is not None:
            if not isinstance(self._node, Leaf):
                raise RuntimeError("this Tensor was computed, so it cannot stop requiring grad; use x.detach().")
            self._node = None
        return self

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has added up here so far: of this shape and dtype, or None.

        For complex elements it is dL/dRe + i dL/dIm, as in PyTorch: the direction of steepest ascent.
        """
        return self._node.grad if isinstance(self._node, Leaf) else None

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if not isinstance(self._node, Leaf):
            raise RuntimeError("only a leaf that requires grad has a .grad; call requires_grad_() first.")
        if value is not None:
            value = value if isinstance(value, Tensor) else Tensor(value)
            if value.shape != self.shape:
                raise ValueError(f"this Tensor has shape {self.shape}, so its grad cannot have shape {value.shape}.")
        self._node.grad = value

    def backward(self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False) -> None:
        """Add the gradient of this Tensor to the ``grad`` of every leaf that it was computed from.

        Args:
            gradient: dL/d(this), of this shape; may be left out for a single element, where it is 1.
            retain_graph: keep the graph for another backward; otherwise its memory is freed on the way.
            create_graph: record the computation of the gradients, so that they can be differentiated again.

        Raises:
            RuntimeError: this Tensor does not require grad; it has several elements and no ``gradient`` was given;
                or the graph was freed by an earlier backward.
            NotImplementedError: an operation on the way has no rule; the message names it.

        >>> import portanet
        >>> x = portanet.asarray([1.0, 2.0]).requires_grad_()
        >>> (3 * x).backward(gradient=portanet.asarray([1.0, 10.0]))
        >>> x.grad
        tensor([ 3., 30.])
        """
        found = pull_back(Tensor, [self], [gradient], retain=retain_graph or create_graph, create=create_graph)
        arriving(found)
        for node, g in found.items():
            if type(node) is Leaf:
                node.grad = g if node.grad is None else _added(node.grad, g, create_graph)

    def detach(self) -> Tensor:
        """The same elements as a constant: gradients stop here."""
        return Tensor(self._raw)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """For copy.deepcopy: the same elements in new memory; a leaf's copy is a leaf of its own, with its own grad."""
        if not self.is_leaf:
            raise RuntimeError("a Tensor that was computed under the tape cannot be copied alone; use x.detach().")
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        copied = namespace_of(self._raw).copy
        twin._raw, twin._node = copied(self._raw), None
        if self._node is not None:
            twin.requires_grad_().grad = None if self.grad is None else Tensor(copied(self.grad._raw))
        return twin

    # ------------------------------------------------------------------------------------------- moving

    def to_device(self, device: Any, /, *, stream: Any = None) -> Tensor:
        """This Tensor on another device of its own library; gradients come back the same way."""
        library = namespace_of(self._raw)
        return moved(self, library, library.device(device))

    def to(self, *targets: Any, device: Any = None, dtype: Any = None) -> Tensor:
        """This Tensor in another library, on another device, of another dtype, as the arguments say.

        ``x.to("torch")``, ``x.to("cuda:0")``, ``x.to("cupy:1")``, ``x.to(portanet.float64)``, or several at once. A
        move between libraries shares memory by DLPack where both can, and copies through the host otherwise. It is part
        of the graph: gradients come back to where the Tensor came from.

        >>> import portanet
        >>> portanet.asarray([1.0]).to("numpy", portanet.float64).dtype
        portanet.float64
        """
        library, device, dtype = destination(targets, namespace_of(self._raw), device, dtype)
        x = moved(self, library, device)
        return x if dtype is None or x.dtype is dtype else cast(x, dtype)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a Tensor with no axes cannot be iterated over.")
        rest = (slice(None),) * (self.ndim - 1)
        return iter([self[(i, *rest)] for i in range(len(self))])

    __hash__ = object.__hash__

    # --------------------------------------------------------------------------------------------------- indexing

    def __getitem__(self, key: Any) -> Tensor:
        raw, node = self._raw, self._node
        key = raw_key(key, raw)
        try:
            y = raw[key]
        except Exception as problem:
            explain("indexing", (raw, *(key if isinstance(key, tuple) else (key,))), problem)
        if node is None or not recording.get():
            return Tensor(y)
        return result_of(_GETITEM, (raw,), {"key": key}, y, (node,))

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write into this Tensor: it is given a new value, so what was computed before keeps the old one."""
        if isinstance(self._node, Leaf) and recording.get():
            raise RuntimeError(
                "a write into a leaf that requires grad would falsify its gradient; write into x.detach(), or under "
                "portanet.no_grad()."
            )
        raw = self._raw
        key = raw_key(key, raw)
        if isinstance(value, Tensor):
            v, q = value._raw, value._node
        else:
            v, q = _other("write", raw, value), None
            if v is NotImplemented:
                raise TypeError(f"a write needs a number or an array, saw {type(value).__name__}.")
        if type(v) in libraries:
            require_same("write", raw, v)
        writing(self)
        y = namespace_of(raw).set_at(raw, v, key=key)
        tracked = (self._node is not None or q is not None) and recording.get()
        if isinstance(self._node, Leaf):
            self._raw = y
        else:
            node = remembered(_SET_AT, (raw, v), {"key": key}, y, (self._node, q)) if tracked else None
            self._raw, self._node = y, node

    # -------------------------------------------------------------------------------------------------- operators

    __add__ = _operator("add", operator.add)
    __sub__ = _operator("subtract", operator.sub)
    __mul__ = _operator("multiply", operator.mul)
    __truediv__ = _operator("divide", operator.truediv)
    __floordiv__ = _operator("floor_divide", operator.floordiv)
    __mod__ = _operator("remainder", operator.mod)
    __pow__ = _operator("pow", operator.pow)
    __matmul__ = _operator("matmul", operator.matmul)
    __radd__ = _reflected("add", operator.add)
    __rsub__ = _reflected("subtract", operator.sub)
    __rmul__ = _reflected("multiply", operator.mul)
    __rtruediv__ = _reflected("divide", operator.truediv)
    __rfloordiv__ = _reflected("floor_divide", operator.floordiv)
    __rmod__ = _reflected("remainder", operator.mod)
    __rpow__ = _reflected("pow", operator.pow)
    __rmatmul__ = _reflected("matmul", operator.matmul)
    __neg__ = _unary("negative", operator.neg)
    __pos__ = _unary("positive", operator.pos)
    __abs__ = _unary("abs", operator.abs)

    __and__ = _constant("bitwise_and", operator.and_)
    __or__ = _constant("bitwise_or", operator.or_)
    __xor__ = _constant("bitwise_xor", operator.xor)
    __lshift__ = _constant("bitwise_left_shift", operator.lshift)
    __rshift__ = _constant("bitwise_right_shift", operator.rshift)
    __rand__ = _constant("bitwise_and", operator.and_, swapped=True)
    __ror__ = _constant("bitwise_or", operator.or_, swapped=True)
    __rxor__ = _constant("bitwise_xor", operator.xor, swapped=True)
    __rlshift__ = _constant("bitwise_left_shift", operator.lshift, swapped=True)
    __rrshift__ = _constant("bitwise_right_shift", operator.rshift, swapped=True)
    __eq__ = _constant("equal", operator.eq)
    __ne__ = _constant("not_equal", operator.ne)
    __lt__ = _constant("less", operator.lt)
    __le__ = _constant("less_equal", operator.le)
    __gt__ = _constant("greater", operator.gt)
    __ge__ = _constant("greater_equal", operator.ge)

    def __invert__(self) -> Tensor:
        return Tensor(~self._raw)


_GETITEM = rule_of("getitem")
_SET_AT = rule_of("set_at")


def _as_raw(raw: Any) -> Any:
    """A raw array as it is; a NumPy scalar, which NumPy returns for 'no axes', as the array it stands for."""
    if isinstance(raw, Tensor):
        return raw._raw
    array = lib.as_array(raw)
    namespace_of(array)
    return array


# ---------------------------------------------------------------------------------------------------------------------
# Applying a function of the library, remembered where a gradient may be asked for.


def apply(name: str, *args: Any, **options: Any) -> Any:
    """Call the library's function ``name`` with the arrays inside ``args``, and remember it where one requires grad.

    Positional arguments may be Tensors, raw arrays, numbers or None; options are passed on as they are. The result
    is a Tensor, or a tuple of them where the function returns several arrays.
    """
    region = current.get()
    if region is not None and name in RULED and options.get("dtype") is None:
        args = precise(region, name, args)
    values: list[Any] = []
    parents: list[Node | None] = []
    first: Any = None
    tracked = False
    for argument in args:
        parent = None
        if isinstance(argument, Tensor):
            parent, argument = argument._node, argument._raw
            tracked = tracked or parent is not None
        elif argument is not None and type(argument) not in PYTHON_SCALARS:
            given, argument = argument, operand(argument)
            if argument is NotImplemented:
                raise TypeError(
                    f"{name}: expected an array or a number, saw {type(given).__name__}; portanet.asarray makes one."
                )
        if type(argument) in libraries:
            if first is None:
                first = argument
            elif type(first) is not type(argument):
                require_same(name, first, argument)
        values.append(argument)
        parents.append(parent)
    if first is None:
        raise TypeError(f"{name}: expected at least one array; portanet.asarray makes one.")
    function = getattr(libraries[type(first)], name)
    try:
        y = function(*values, **options)
    except Exception as problem:
        explain(name, values, problem)
    tracked = tracked and recording.get()
    if isinstance(y, (tuple, list)):
        return _several(rule_of(name), values, options, y, parents, tracked)
    if not tracked:
        return Tensor(y)
    if type(y) not in libraries:
        y = _as_raw(y)
    return result_of(rule_of(name), values, options, y, parents) if _differentiable(y) else Tensor(y)


def result_of(rule: Rule, args: Any, options: Any, y: Any, parents: Any) -> Tensor:
    """The result ``y`` of an operation as a Tensor that remembers it."""
    result = _new(Tensor)
    result._raw = y if type(y) in libraries else _as_raw(y)
    result._node = remembered(rule, args, options, y, parents)
    return result


def _several(rule: Rule, values: Any, options: Any, results: Any, parents: Any, tracked: bool) -> tuple[Tensor, ...]:
    made = [Tensor(y) for y in results]
    if tracked:
        raws = tuple([one._raw for one in made])
        source = remembered(rule, values, options, raws, parents)
        source.output = raws  # how many there are is asked for
        for i, one in enumerate(made):
            if _differentiable(one._raw):
                one._node = Output(source, i)
    return tuple(made)


def _differentiable(raw: Any) -> bool:
    return libraries[type(raw)].dtypes[raw.dtype].kind in ("real floating", "complex floating")


def moved(x: Tensor, library: Any, device: Any) -> Tensor:
    """``x`` in ``library`` and on ``device``, as a step that gradients can go back over."""
    raw = lib.move(x._raw, library, device)
    if raw is x._raw:
        return x
    if x._node is None or not recording.get():
        return Tensor(raw)
    return result_of(rule_of("moved"), (x._raw,), None, raw, (x._node,))


def cast(x: Tensor, dtype: DType) -> Tensor:
    """``x`` with another dtype."""
    return apply("cast", x, dtype=namespace_of(x._raw).raw_dtype(dtype))


def precise(region: Region, name: str, args: Any) -> Any:
    """The arguments of an operation in the dtype that the block of `autocast` has it run in."""
    return region.converted(name, [Tensor(x) if type(x) in libraries else x for x in args], cast)


def _added(a: Tensor, b: Tensor, create: bool) -> Tensor:
    return a + b if create else Tensor(a._raw + b._raw)
