"""Gradients kept from growing too large."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from portanet.autograd import no_grad
from portanet.library import namespace_of
from portanet.namespace import zeros
from portanet.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _with_gradient(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The parameters that have a gradient, each once."""
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return list({id(p): p for p in given if p.grad is not None}.values())


def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0) -> Tensor:
    """The p-norm of all elements of all ``tensors`` together, a Tensor without axes; 0 for none.

    >>> import portanet
    >>> portanet.nn.utils.get_total_norm([portanet.asarray([3.0]), portanet.asarray([4.0])])
    tensor(5.)
    """
    if not norm_type > 0:
        raise ValueError(f"norm_type must be positive (or infinity), saw {norm_type}.")
    with no_grad():
        sizes = [namespace_of(x).abs(x) for x in tensors if x.size > 0]
        if not sizes:
            return zeros(())
        xp, first = namespace_of(sizes[0]), sizes[0]
        largest = xp.max(xp.stack([_like(xp.max(size), first) for size in sizes]))
        if norm_type == math.inf:
            return largest
        # Divided by the largest before the power is taken, which could overflow or vanish.
        usable = (largest > 0) & (largest < math.inf)
        scale = xp.where(usable, largest, xp.ones_like(largest))
        powers = [_like(xp.sum((size / _like(scale, size)) ** norm_type), first) for size in sizes]
        return scale * xp.sum(xp.stack(powers)) ** (1 / norm_type)


def _like(x: Tensor, other: Tensor) -> Tensor:
    """``x`` in the library, on the device and with the dtype of ``other``: a model may be spread over several."""
    moved = namespace_of(x).move_like(x, other)
    return moved if moved.dtype is other.dtype else namespace_of(moved).astype(moved, other.dtype)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by one factor so that their norm, taken together, is at most ``max_norm``.

    The factor is min(1, max_norm / (norm + 1e-6)), as in PyTorch. Pascanu, Mikolov and Bengio 2013, "On the difficulty
    of training recurrent neural networks".

    Args:
        parameters: Tensors; those without a ``grad`` are passed over.
        max_norm: the limit.
        norm_type: the p of the norm; infinity is the largest element.
        error_if_nonfinite: whether a norm that is infinite or nan is an error; else it spoils every gradient.

    Returns:
        the norm before, a Tensor without axes.

    >>> import portanet
    >>> w = portanet.tensor([1.0, 1.0], requires_grad=True)
    >>> (3 * w[0] + 4 * w[1]).backward()
    >>> portanet.nn.utils.clip_grad_norm_(w, max_norm=1.0)
    tensor(5.)
    >>> portanet.round(10 * w.grad)
    tensor([6., 8.])
    """
    clipped = _with_gradient(parameters)
    norm = get_total_norm([p.grad for p in clipped if p.grad is not None], norm_type)
    if error_if_nonfinite and not math.isfinite(float(norm)):
        raise RuntimeError(
            f"clip_grad_norm_: the norm of the gradients is {float(norm)}; error_if_nonfinite=False ignores it."
        )
    clip_grads_with_norm_(clipped, max_norm, norm)
    return norm


def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor) -> None:
    """`clip_grad_norm_` by a norm that is known: all gradients times min(1, max_norm / (total_norm + 1e-6)).

    Args:
        parameters: Tensors; those without a ``grad`` are passed over.
        max_norm: the limit.
        total_norm: the norm, as by `get_total_norm`, perhaps of more gradients than these.

    >>> import portanet
    >>> w = portanet.tensor([1.0, 1.0], requires_grad=True)
    >>> (3 * w[0] + 4 * w[1]).backward()
    >>> portanet.nn.utils.clip_grads_with_norm_(w, 1.0, portanet.asarray(10.0))
    >>> portanet.round(10 * w.grad)
    tensor([3., 4.])
    """
    with no_grad():
        factor = namespace_of(total_norm).clip(max_norm / (total_norm + 1e-6), None, 1.0)
        for p in _with_gradient(parameters):
            gradient: Any = p.grad
            real = namespace_of(gradient).real(gradient) if gradient.dtype.kind == "complex floating" else gradient
            p.grad = gradient * _like(factor, real)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring every element of every gradient into [-clip_value, clip_value].

    >>> import portanet
    >>> w = portanet.tensor([1.0, 1.0], requires_grad=True)
    >>> (3 * w[0] + 0.5 * w[1]).backward()
    >>> portanet.nn.utils.clip_grad_value_(w, 1.0)
    >>> w.grad
    tensor([1. , 0.5])
    """
    limit = float(clip_value)
    with no_grad():
        for p in _with_gradient(parameters):
            p.grad = namespace_of(p.grad).clip(p.grad, -limit, limit)
