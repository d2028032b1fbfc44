"""What activations and losses ask of their arguments, and the sentences in which they refuse."""

from __future__ import annotations

from typing import Any

from portanet.autocasting import current
from portanet.library import libraries, namespace_of, require_same
from portanet.nn.functional._checks import raw_of
from portanet.nn.functional._precision import widened
from portanet.tensor import Tensor


def real_namespace(name: str, input: Any) -> Any:
    """The library of ``input``, which must be real: exp of whole numbers or complex ones is not what is meant."""
    xp = namespace_of(input)
    raw = input._raw if isinstance(input, Tensor) else input
    if libraries[type(raw)].dtypes[raw.dtype].kind != "real floating":
        raise TypeError(f"{name}: expected a real floating input, saw {input.dtype}; cast it, as in x.to('float32').")
    return xp


def elementwise_namespace(name: str, input: Any, inplace: bool = False) -> Any:
    """`real_namespace` for a function that PyTorch can do in place, which raises ValueError here."""
    if inplace:
        raise ValueError(f"{name}: inplace=True is not possible: arrays here are never edited; write x = {name}(x).")
    return real_namespace(name, input)


def require_axis(name: str, dim: int, input: Any) -> None:
    """Raise IndexError unless ``input`` has the axis ``dim``."""
    if not -input.ndim <= dim < input.ndim:
        raise IndexError(f"{name}: dim={dim} is not an axis of the input, whose shape is {tuple(input.shape)}.")


def together(name: str, input: Any, *others: Any) -> tuple[Any, ...]:
    """The arrays as they are, or all of them as Tensors where one is; None stays None, anything else is refused.

    What takes several arrays so is a loss or the like: inside of `autocast` it sees them in float32.
    """
    region = current.get()
    if region is not None:
        input, others = widened(input), tuple([widened(x) for x in others])
    if isinstance(input, Tensor):
        for x in others:
            if x is not None and not isinstance(x, Tensor):
                break
        else:
            return input, *others
    given = [x for x in others if x is not None]
    if any([isinstance(x, Tensor) for x in [input, *given]]):
        return tuple([x if x is None or isinstance(x, Tensor) else Tensor(x) for x in [input, *others]])
    for x in given:
        require_same(name, input, x)
    return input, *others


def require_dtype(name: str, what: str, array: Any, input: Any) -> None:
    """Raise TypeError, naming the cast, unless ``array`` has the dtype of ``input``."""
    if array.dtype != input.dtype:
        raise TypeError(
            f"{name}: the {what} is {array.dtype}, the input {input.dtype}; they must be the same. Cast one, as in "
            f"{what}.to(input.dtype)."
        )


def require_shape(name: str, what: str, array: Any, shape: tuple[int, ...], input: Any) -> None:
    """Raise ValueError, naming both, unless ``array`` has ``shape``, which is what goes with ``input``."""
    seen = raw_of(array).shape
    if seen != shape and tuple(seen) != tuple(shape):
        raise ValueError(
            f"{name}: the {what} has shape {tuple(array.shape)}, expected {tuple(shape)} for an input of shape "
            f"{tuple(input.shape)}."
        )


def require_broadcast(name: str, what: str, array: Any, input: Any) -> None:
    """Raise ValueError unless ``array`` can be repeated to the shape of ``input`` without making it larger."""
    shape, wanted = tuple(array.shape), tuple(input.shape)
    last = wanted[len(wanted) - len(shape) :]
    if len(shape) > len(wanted) or any([n != 1 and n != m for n, m in zip(shape, last, strict=True)]):
        raise ValueError(f"{name}: the {what} has shape {shape}, which does not broadcast to the input's {wanted}.")
