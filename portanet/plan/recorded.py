"""`Recorded`: a NumPy array that has each computation with it written down, as it is done.

Whatever NumPy lets it see (ufuncs and their methods, array functions, indexing) is recorded: results that share memory
with an argument need no call, all others are written to a fixed place. Whatever would bypass it is refused, so that
nothing is lost unnoticed: it is no subclass of NumPy's array and cannot be converted to one.
"""

from __future__ import annotations

import functools
import math
import operator
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from portanet.library import libraries, namespace_of, namespaces
from portanet.plan.fresh import Fresh, can_be_fresh
from portanet.plan.program import statement
from portanet.plan.recorder import Memory, Recorder, Refused, active

OF_THE_FORM = frozenset({np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj})
# The shapes of their results depend on the elements.
OF_OPEN_SHAPE = frozenset(
    getattr(np, name)
    for name in (
        "argwhere compress delete extract flatnonzero histogram intersect1d nonzero setdiff1d setxor1d trim_zeros "
        "union1d unique unique_all unique_counts unique_inverse unique_values bincount"
    ).split()
)
# They write to their first argument and return nothing.
WRITING = frozenset({np.copyto, np.put, np.put_along_axis, np.putmask, np.place, np.fill_diagonal})
FILLED = {np.zeros_like: False, np.ones_like: True}  # truth values go into arrays of any dtype
WITH_OUT = frozenset({np.concatenate, np.stack, np.mean, np.var, np.std, np.clip, np.cumsum, np.cumprod, np.dot})
AT_THE_END: set[Callable[..., Any]] = {np.dot}  # of their arguments; by name it costs NumPy half as much as a product


class Recorded(NDArrayOperatorsMixin):
    """One array of a recording: its elements at a place that the replay will write to as well."""

    __slots__ = ("__weakref__", "memory", "recorder", "value")

    def __init__(self, recorder: Recorder, value: Any, memory: Memory) -> None:
        self.recorder = recorder
        self.value = value
        self.memory = memory
        recorder.made.append(weakref.ref(self))

    # ------------------------------------------------------------------------------------------------------ its form

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    @property
    def ndim(self) -> int:
        return self.value.ndim

    @property
    def size(self) -> int:
        return self.value.size

    @property
    def itemsize(self) -> int:
        return self.value.itemsize

    @property
    def nbytes(self) -> int:
        return self.value.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        return self.value.strides

    @property
    def flags(self) -> Any:
        return self.value.flags

    @property
    def device(self) -> str:
        return "cpu"

    def __len__(self) -> int:
        return len(self.value)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.value.__array_namespace__(api_version=api_version)

    # ---------------------------------------------------------------------------------------------- what cannot be

    def _refuse(self, what: str) -> Any:
        raise Refused(f"{what} reads the elements of an array, which the replay would not do again")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._refuse("a conversion to a NumPy array")

    def __float__(self) -> float:
        return self._refuse("float()")

    def __int__(self) -> int:
        return self._refuse("int()")

    def __complex__(self) -> complex:
        return self._refuse("complex()")

    def __index__(self) -> int:
        return self._refuse("use as an index")

    def __iter__(self) -> Any:
        return iter([self[i] for i in range(len(self))])

    def item(self, *place: int) -> Any:
        """Refused, as is `tolist`."""
        return self._refuse("item()")

    def tolist(self) -> Any:
        """Refused: a plan has no place for Python numbers."""
        return self._refuse("tolist()")

    def __bool__(self) -> bool:
        return self.recorder.guard(self.value)

    # ----------------------------------------------------------------------------------------------------- computing

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        recorder = self.recorder
        raw = [_raw(x) for x in inputs]
        options = {name: _raw(x) for name, x in options.items()}
        call = ufunc if method == "__call__" else getattr(ufunc, method)
        if method == "at":
            _require_recorded(inputs[0])
            call(*raw)
            recorder.add(call, *raw)
            return None
        if out is not None:
            for target in out:
                _require_recorded(target)
            targets = tuple([target.value for target in out])
            call(*raw, out=targets if len(targets) > 1 else targets[0], **options)
            _add(recorder, *_with_out(method, call, raw, targets, options))
            return out if len(out) > 1 else out[0]
        results = call(*raw, **options)
        if isinstance(results, tuple):
            places = [recorder.place(result) for result in results]
            recorder.add(call, *raw, out=tuple([place.buffer for place in places]), **options)
            return tuple([Recorded(recorder, place.buffer, place) for place in places])
        constant = method == "__call__" and np.ndim(results) == 0 and all([_is_constant(x) for x in inputs])
        place = recorder.place(results, constant)
        _add(recorder, *_with_out(method, call, raw, (place.buffer,), options))
        return Recorded(recorder, place.buffer, place)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return record(self.recorder, function, args, options)

    def __pow__(self, other: Any) -> Recorded:
        # NumPy's operator has ways of its own for squares and roots, whose last bit is not that of its function.
        return record(self.recorder, operator.pow, (self, other), {})

    def __rpow__(self, other: Any) -> Recorded:
        return record(self.recorder, operator.pow, (other, self), {})

    def __getitem__(self, key: Any) -> Recorded:
        raw = _raw_key(key)
        entries = raw if isinstance(raw, tuple) else (raw,)
        if any([isinstance(entry, (np.ndarray, list)) for entry in entries]):
            place = self.recorder.place(self.value[raw])
            self.recorder.add(_gathered, place.buffer, self.value, raw)
            return Recorded(self.recorder, place.buffer, place)
        if not any([entry is Ellipsis for entry in entries]):
            entries = (*entries, Ellipsis)  # with it, NumPy gives a view even of a single element
        return Recorded(self.recorder, self.value[entries], self.memory)

    def __setitem__(self, key: Any, values: Any) -> None:
        _require_recorded(self)
        call = (self.value, _raw(key), _raw(values))
        _written(*call)
        self.recorder.add(_written, *call)

    # -------------------------------------------------------------------------------------- NumPy's methods, in terms
    # of its functions, which come back by the protocol above

    @property
    def T(self) -> Recorded:
        return Recorded(self.recorder, self.value.T, self.memory)

    @property
    def mT(self) -> Recorded:
        return Recorded(self.recorder, self.value.mT, self.memory)

    @property
    def real(self) -> Recorded:
        return np.real(self)

    @property
    def imag(self) -> Recorded:
        return np.imag(self)

    def astype(self, dtype: Any, copy: bool = True, **options: Any) -> Recorded:
        """A copy with another dtype; this same array where nothing changes and ``copy`` is false."""
        if not copy and self.dtype == np.dtype(dtype):
            return self
        place = self.recorder.place(self.value.astype(dtype, **options))
        np.copyto(place.buffer, self.value, casting="unsafe")
        self.recorder.add(np.copyto, place.buffer, self.value, casting="unsafe")
        return Recorded(self.recorder, place.buffer, place)

    def copy(self, order: str = "C") -> Recorded:
        """The same elements at another place."""
        place = self.recorder.place(self.value.copy(order))
        self.recorder.add(np.copyto, place.buffer, self.value)
        return Recorded(self.recorder, place.buffer, place)

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> Recorded:
        """As NumPy's: a view where one is possible."""
        wanted = shape[0] if len(shape) == 1 else shape
        return np.reshape(self, wanted, order=order, copy=copy)  # type: ignore[call-overload]

    def transpose(self, *axes: Any) -> Recorded:
        """As NumPy's: a view."""
        return record(self.recorder, np.transpose, (self, (axes[0] if len(axes) == 1 else axes) or None), {})

    def view(self, dtype: Any) -> Recorded:
        """The same memory read as another dtype."""
        return Recorded(self.recorder, self.value.view(dtype), self.memory)

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            function = getattr(np, name)
            return lambda *args, **options: function(self, *args, **options)
        raise AttributeError(f"a recorded array has no attribute {name!r}")


_METHODS = frozenset(
    "all any argmax argmin clip conj cumsum diagonal max mean min prod ravel round squeeze std sum swapaxes take "
    "trace var".split()
)


def record(recorder: Recorder, function: Callable[..., Any], args: Any, options: dict[str, Any]) -> Any:
    """Call ``function`` and write the call down as one, whatever it does inside.

    Results that share memory with an argument are views and need no call; all others get a fixed place.
    """
    if function in OF_OPEN_SHAPE or _is_open(function, args, options):
        raise Refused(f"{function.__name__} has a result whose shape depends on the elements")
    found: list[Recorded] = []
    raw_args = [_raw(x, found) for x in args]
    raw_options = {name: _raw(x, found) for name, x in options.items()}
    if options.get("out") is not None:
        _require_recorded(options["out"])
    if function in WRITING:
        _require_recorded(args[0])
    results = function(*raw_args, **raw_options)
    if function in OF_THE_FORM:
        return results
    if function in WRITING:
        recorder.add(function, *raw_args, **raw_options)
        return None
    if options.get("out") is not None:
        recorder.add(function, *raw_args, **raw_options)
        return options["out"]
    if not isinstance(results, (tuple, list)):
        return _result(recorder, function, raw_args, raw_options, results, found)
    places: list[Any] = []
    made: list[Any] = []
    for result in results:
        if result is None:  # a kernel's way of saying that there is no such result for these arguments
            places.append(None)
            made.append(None)
            continue
        memory = _shared(result, found)
        places.append(None if memory else recorder.place(_array(function, result)))
        made.append(Recorded(recorder, result if memory else places[-1].buffer, memory or places[-1]))
    if any([place is not None for place in places]):
        buffers = [None if place is None else place.buffer for place in places]
        recorder.add(_kept, buffers, function, raw_args, raw_options)
    return type(results)(*made) if hasattr(results, "_fields") else type(results)(made)


def _is_open(function: Any, args: Any, options: dict[str, Any]) -> bool:
    """Whether the shape of the result depends on the elements for these arguments, not for all."""
    if function is np.where:
        return len(args) == 1
    return function is np.repeat and any([isinstance(x, Recorded) for x in (*args[1:], options.get("repeats"))])


def _result(
    recorder: Recorder, function: Any, args: list[Any], options: dict[str, Any], result: Any, found: list[Recorded]
) -> Recorded:
    shared = _shared(result, found)
    if shared is not None:
        return Recorded(recorder, result, shared)
    place = recorder.place(_array(function, result), constant=function in FILLED and result.ndim == 0)
    if function in FILLED:
        recorder.add(np.copyto, place.buffer, FILLED[function])
    elif function in AT_THE_END and not options:
        recorder.add(function, *args, place.buffer)
    elif function in WITH_OUT and result.dtype != np.float16:  # with out= its means are taken in float16 itself
        recorder.add(function, *args, **options, out=place.buffer)
    else:
        recorder.add(_kept, [place.buffer], lambda *a, **o: (function(*a, **o),), args, options)
    return Recorded(recorder, place.buffer, place)


def _array(function: Any, result: Any) -> Any:
    if not isinstance(result, (np.ndarray, np.generic)):
        raise Refused(f"{getattr(function, '__name__', function)} gives a {type(result).__name__}, which is no array")
    return result


def _shared(result: Any, arguments: list[Recorded]) -> Memory | None:
    """The memory of an argument that ``result`` is a view of, or None."""
    if isinstance(result, np.ndarray):
        for argument in arguments:
            if np.may_share_memory(result, argument.value) and (result.base is not None or result is argument.value):
                return argument.memory
    return None


def _add(recorder: Recorder, call: tuple[Any, ...], options: dict[str, Any]) -> None:
    recorder.add(*call, **options)


def _with_out(method: str, call: Any, raw: list[Any], targets: Any, options: dict[str, Any]) -> Any:
    """The quickest way to say the call with its output: by position where NumPy takes it so."""
    if method == "__call__" and call not in (np.maximum, np.minimum):  # which NumPy wants named
        return (call, *_strong(raw), *targets), options
    if method == "__call__":
        raw = _strong(raw)
    if method == "reduce" and set(options) <= {"axis", "dtype", "keepdims"} and len(raw) <= 3:
        named = {"axis": 0, "dtype": None, "keepdims": False} | options | dict(zip(("axis", "dtype"), raw[1:]))
        return (call, raw[0], named["axis"], named["dtype"], targets[0], named["keepdims"]), {}
    return (call, *raw), {**options, "out": targets if len(targets) > 1 else targets[0]}


def _strong(raw: list[Any]) -> list[Any]:
    """Python numbers beside arrays of one dtype as arrays of it, which NumPy would make of them each time."""
    dtypes = {x.dtype for x in raw if isinstance(x, np.ndarray)}
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    if dtype is not None and dtype.kind == "f":
        return [np.asarray(x, dtype) if type(x) in (int, float) and math.isfinite(x) else x for x in raw]
    if dtype is not None and dtype.kind == "i":  # a comparison may be with a number that the dtype does not hold
        most = np.iinfo(dtype).max
        return [np.asarray(x, dtype) if type(x) is int and -most <= x <= most else x for x in raw]
    return raw


def _require_recorded(target: Any) -> None:
    """Raise `Refused` unless ``target`` was made by the recording, which then may write to it."""
    if not isinstance(target, Recorded):
        raise Refused("a recorded array is written to an array that is not recorded")
    if not target.memory.ours:
        raise Refused("an input or a state is written to in place; compute a new array and assign it")
    target.memory.constant = False


def _is_constant(x: Any) -> bool:
    return x.memory.constant if isinstance(x, Recorded) else type(x) in (bool, int, float)


def _raw(x: Any, found: list[Recorded] | None = None) -> Any:
    """``x`` with the arrays in place of the recorded ones, inside tuples and lists too; these are added to ``found``."""
    if isinstance(x, Recorded):
        if found is not None:
            found.append(x)
        return x.value
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
        return type(x)([_raw(one, found) for one in x])
    return x


def _raw_key(key: Any) -> Any:
    raw = _raw(key)
    for entry in key if isinstance(key, tuple) else (key,):
        if isinstance(entry, Recorded) and entry.dtype == np.bool_:
            raise Refused("indexing by a mask has a result whose shape depends on the elements")
    return raw


@statement("{0}[...] = {1}[{2}]")
def _gathered(buffer: Any, x: Any, key: Any) -> None:
    buffer[...] = x[key]


@statement("{0}[{1}] = {2}")
def _written(x: Any, key: Any, values: Any) -> None:
    x[key] = values


def _kept(buffers: list[Any], function: Any, args: list[Any], options: dict[str, Any]) -> None:
    for buffer, result in zip(buffers, function(*args, **options), strict=True):
        if buffer is not None:
            np.copyto(buffer, result)


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, which works in memory of its own making, such that a recording takes a call of it for one."""

    @functools.wraps(function)
    def called(*args: Any, **options: Any) -> Any:
        recorder = active.get()
        if recorder is None or not any([type(x) is Recorded for x in args]):
            return function(*args, **options)
        found: list[Recorded] = []
        raw_args = [_raw(x, found) for x in args]
        raw_options = {name: _raw(x, found) for name, x in options.items()}
        results = function(*raw_args, **raw_options)
        several = isinstance(results, tuple)
        targets, made = [], []
        for result in results if several else (results,):
            target, one = (None, None) if result is None else _target(recorder, function, result, found)
            targets.append(target)
            made.append(one)
        recorder.add(_made, targets, function, raw_args, raw_options, several)
        return tuple(made) if several else made[0]

    return called


def takes_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, which takes an array for its result after its arguments, such that a recording has it write there."""

    @functools.wraps(function)
    def called(*args: Any) -> Any:
        for x in args:
            if type(x) is Recorded:
                return record(x.recorder, function, args, {})
        return function(*args)

    AT_THE_END.add(function)
    return called


def _target(recorder: Recorder, function: Any, result: Any, found: list[Recorded]) -> tuple[Any, Recorded]:
    """Where a replay is to put a result of a whole kernel, and the recorded array of it."""
    shared = _shared(_array(function, result), found)
    if shared is not None:
        return None, Recorded(recorder, result, shared)
    if isinstance(result, np.ndarray) and can_be_fresh(result):
        fresh, memory = recorder.anew(result)
        return fresh, Recorded(recorder, result, memory)
    place = recorder.place(result)
    return place.buffer, Recorded(recorder, place.buffer, place)


def _made(targets: list[Any], function: Any, args: list[Any], options: dict[str, Any], several: bool) -> None:
    results = function(*args, **options)
    for target, result in zip(targets, results if several else (results,), strict=True):
        if type(target) is Fresh:
            target.renew(result)
        elif target is not None:
            np.copyto(target, result)


def adopt() -> None:
    """Have recorded arrays taken for arrays of NumPy's library everywhere."""
    libraries[Recorded] = namespaces[Recorded] = namespace_of(np.empty(0))


def fixed(recorder: Recorder, place: Any) -> Recorded:
    """An array that comes from outside, at a place that the recording must not write to."""
    return Recorded(recorder, place, Memory(recorder, place, False))
