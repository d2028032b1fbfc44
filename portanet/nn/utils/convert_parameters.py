"""All parameters as one vector, and back: for methods that see training as minimising a function of a vector."""

from __future__ import annotations

import math
from collections.abc import Iterable

from portanet.library import namespace_of
from portanet.plan.recorder import writing
from portanet.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after another, of shape (number of elements,). Gradients pass.

    >>> import portanet
    >>> portanet.nn.utils.parameters_to_vector([portanet.ones((1, 2)), portanet.zeros(1)])
    tensor([1., 1., 0.])
    """
    given = list(parameters)
    if not given:
        raise ValueError("parameters_to_vector: there are no parameters; a generator gives them only once.")
    xp = namespace_of(given[0])
    return xp.concat([xp.reshape(p, (-1,)) for p in given])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the elements of a vector, in order: what `parameters_to_vector` undoes.

    Raises ValueError, and changes nothing, unless the vector has as many elements as the parameters together.

    >>> import portanet
    >>> p = portanet.nn.Parameter(portanet.zeros((1, 2)))
    >>> portanet.nn.utils.vector_to_parameters(portanet.asarray([1.0, 2.0]), [p])
    >>> p.detach()
    tensor([[1., 2.]])
    """
    given = list(parameters)
    count = sum([p.size for p in given])
    if vec.shape != (count,):
        raise ValueError(
            f"vector_to_parameters: the parameters have {count} elements, the vector has shape {vec.shape}."
        )
    xp, start, vec = namespace_of(vec), 0, vec.detach()
    for p in given:
        stop = start + math.prod(p.shape)
        piece = xp.move_like(xp.reshape(vec[start:stop], p.shape), p)
        writing(p)
        p._raw = xp.astype(piece, p.dtype)._raw
        start = stop
