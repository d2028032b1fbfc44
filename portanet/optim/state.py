"""The state of an optimizer as it is kept, saved and loaded: arrays of a parameter's shape, and the count of steps."""

from __future__ import annotations

from typing import Any

from portanet.library import PYTHON_SCALARS, device_of, is_array, libraries, move, namespace_of, operand
from portanet.tensor import Tensor

__all__ = ["State"]

State = dict[str, Any]

COUNT = "step"  # kept as a Python int: with it the corrections of Adam are exact numbers, not arrays of float32


def plain(value: Any) -> Any:
    """A hyperparameter as Python keeps it: NumPy's numbers, which would widen float32 arrays, and lists converted."""
    if type(value) in PYTHON_SCALARS:  # nearly always, and asked for at every step
        return value
    if isinstance(value, (list, tuple)):
        return tuple([plain(one) for one in value])
    found = operand(value)
    return value if found is NotImplemented else found


def raw(value: Any) -> Any:
    """A Tensor as its array, anything else as it is."""
    return value._raw if isinstance(value, Tensor) else value


def wrapped(value: Any) -> Any:
    """A raw array as a Tensor of its own, a number as it is."""
    return Tensor(raw(value)) if is_array(value) else value


def as_array(xp: Any, value: Any) -> Any:
    """What a rule returned: arrays and numbers as they are, NumPy's scalar (its result without axes) as an array."""
    return value if type(value) in libraries or type(value) in PYTHON_SCALARS else xp.asarray(value)


def require_agreement(where: str, p: Any, name: str, value: Any, shape: Any, dtypes: tuple[Any, ...]) -> None:
    """Raise TypeError unless an array (a gradient, a state) has this shape, its parameter's library, and one of the dtypes."""
    if name == COUNT or not is_array(value):
        return
    if namespace_of(value) is namespace_of(p) and value.dtype in dtypes and value.shape == shape:
        return
    way = (
        f"call zero_grad() and backward() again; or move this one: g.to({namespace_of(p).library_name!r})"
        if name == "gradient"
        else "optimizer.load_state_dict(optimizer.state_dict()) carries the state along"
    )
    raise TypeError(
        f"{where}: a parameter is {_described(p)}, its {name} {_described(value)}. "
        f"If the parameter was moved since: {way}."
    )


def _described(x: Any) -> str:
    library = namespace_of(x)
    return f"{library.dtype_of(x.dtype)} of {library.library_name} with shape {tuple(x.shape)}"


def by_parts(xp: Any, update: Any, p: Any, g: Any, state: State, options: dict[str, Any]) -> tuple[Any, State]:
    """A rule for real arrays on a complex one: real and imaginary part are two parameters, as in PyTorch.

    With the gradient dL/dRe + i dL/dIm each part of it is the gradient of that part.
    """
    re, re_state = update(xp.real(p), xp.real(g), {name: _part(xp, xp.real, s) for name, s in state.items()}, **options)
    im, im_state = update(xp.imag(p), xp.imag(g), {name: _part(xp, xp.imag, s) for name, s in state.items()}, **options)
    new = {name: _joined(xp, s, im_state[name], p) for name, s in re_state.items()}
    return _joined(xp, re, im, p), new


def _part(xp: Any, part: Any, value: Any) -> Any:
    return part(value) if is_array(value) and xp.isdtype(value.dtype, "complex floating") else value


def _joined(xp: Any, re: Any, im: Any, p: Any) -> Any:
    if not is_array(re) or not xp.isdtype(re.dtype, "real floating"):
        return re  # the count, which both parts share
    return xp.astype(as_array(xp, re), p.dtype) + 1j * xp.astype(as_array(xp, im), p.dtype)


def fitted(
    where: str,
    names: tuple[str, ...],
    numbers: tuple[str, ...],
    parameters: list[Tensor],
    shapes: list[dict[str, tuple[int, ...]]],
    dtypes: list[Any],
    states: dict[int, State],
) -> dict[int, State]:
    """Saved states, checked against the parameters and the names that are kept, and copied to where they belong."""
    found: dict[int, State] = {}
    for i, state in states.items():
        if not 0 <= i < len(parameters):
            raise ValueError(
                f"{where}: a state for parameter {i}, but there are {len(parameters)} parameters; build the optimizer "
                "over the parameters of the same model."
            )
        strange = [name for name in state if names and name not in names]
        if strange:
            raise ValueError(
                f"{where}: the state of parameter {i} has {', '.join(strange)}, and {where} keeps "
                f"{', '.join(names)}: it is another optimizer's state."
            )
        found[i] = {
            name: _number(name, s)
            if name in (COUNT, *numbers)
            else _fit(where, i, parameters[i], shapes[i], dtypes[i], name, s)
            for name, s in state.items()
            if s is not None
        }
    return found


def _number(name: str, value: Any) -> Any:
    value = Tensor(raw(value)).item() if is_array(value) else value
    return int(value) if name == COUNT else float(value)


def _fit(where: str, i: int, p: Tensor, shapes: dict[str, tuple[int, ...]], dtype: Any, name: str, value: Any) -> Any:
    value = plain(value)
    if not is_array(value):
        return value
    saved, shape = Tensor(raw(value)), shapes.get(name, p.shape)
    if saved.shape != shape:
        wanted = "" if shape == p.shape else f", which needs {shape}"
        raise ValueError(
            f"{where}: {name} of parameter {i} has shape {saved.shape}, the parameter {p.shape}{wanted}; build the "
            "optimizer over the parameters of the same model, in the same order."
        )
    xp = namespace_of(p._raw)
    return Tensor(xp.astype(xp.copy(move(saved._raw, xp, device_of(p._raw))), dtype))


def flattened(
    where: str, numbers: tuple[str, ...], parameters: list[Tensor], states: dict[Tensor, State]
) -> dict[str, Tensor]:
    """The states as one dict of Tensors, by the parameter's position and the state's name: "0.exp_avg"."""
    arrays = {}
    for i, p in enumerate(parameters):
        for name, value in states.get(p, {}).items():
            if not is_array(value):
                if name not in (COUNT, *numbers):
                    raise TypeError(
                        f"{where}: the state {name!r} is {value!r}; a flat dict holds arrays, a whole number under "
                        f"the name {COUNT!r}, and the floats that the optimizer names in state_numbers. Keep it as an "
                        "array, or use state_dict()."
                    )
                xp = namespace_of(p._raw)
                kind = xp.raw_dtype("int32" if name == COUNT else "float64")
                value = xp.full((), value, dtype=kind, device=device_of(p._raw))
            arrays[f"{i}.{name}"] = wrapped(value)
    return arrays


def unflattened(where: str, arrays: dict[str, Any]) -> dict[int, State]:
    """What `flattened` made flat, by the parameter's position again."""
    states: dict[int, State] = {}
    for key, value in arrays.items():
        index, _, name = key.partition(".")
        if not index.isdecimal() or not name:
            raise ValueError(
                f"{where}: {key!r} does not name an optimizer's array; they are like '0.exp_avg': the "
                "parameter's position, a dot, a name. Pass the optimizer's part of a checkpoint alone, without prefix."
            )
        states.setdefault(int(index), {})[name] = value
    return states
