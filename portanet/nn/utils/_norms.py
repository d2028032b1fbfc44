"""What weight and spectral normalisation compute, in both of their forms."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import namespace_of
from portanet.namespace import empty_like
from portanet.nn import init
from portanet.plan.recorder import writing
from portanet.tensor import Tensor


def norm_except(v: Any, dim: int | None) -> Any:
    """The Euclidean norms over all axes but ``dim``, these having length 1; over all axes (None or -1) without any."""
    xp = namespace_of(v)
    if dim is None or dim == -1:
        return xp.sqrt(xp.sum(v * v))
    axes = tuple([axis for axis in range(v.ndim) if axis != dim % v.ndim])
    return xp.sqrt(xp.sum(v * v, axis=axes, keepdims=True)) if axes else xp.abs(v)


def require_dim(where: str, dim: int | None, weight: Tensor) -> None:
    """Raise IndexError unless ``dim`` is an axis of the weight, or None."""
    if dim is not None and not -weight.ndim <= dim < weight.ndim:
        raise IndexError(f"{where}: there is no axis dim={dim} in a weight of shape {weight.shape}.")


def require_positive(where: str, n_power_iterations: int) -> None:
    """Raise ValueError for less than one iteration."""
    if n_power_iterations < 1:
        raise ValueError(f"{where}: n_power_iterations must be at least 1, saw {n_power_iterations}.")


def matrix(weight: Any, dim: int) -> Any:
    """The weight as a matrix whose rows belong to the axis ``dim``."""
    xp = namespace_of(weight)
    front = weight if dim == 0 else xp.moveaxis(weight, dim, 0)
    return xp.reshape(front, (front.shape[0], math.prod(front.shape[1:])))


def unit(x: Any, eps: float) -> Any:
    """The vector divided by its norm, which is taken for at least ``eps``."""
    xp = namespace_of(x)
    return x / xp.maximum(xp.sqrt(xp.sum(x * x)), eps)


def directions(w: Any, eps: float) -> tuple[Tensor, Tensor]:
    """Random unit vectors u and v for a matrix (h, w)."""
    raw = w._raw
    u, v = [init.normal_(empty_like(Tensor(one))) for one in (raw[:, 0], raw[0, :])]
    return Tensor(unit(u._raw, eps)), Tensor(unit(v._raw, eps))


def iterate(w: Any, u: Tensor, v: Tensor, count: int, eps: float, first: str) -> None:
    """Bring u and v nearer to the first singular vectors of a matrix, by the power method, beginning with ``first``."""
    raw, a, b = w._raw, u._raw, v._raw
    xp = namespace_of(raw)
    for _ in range(count):
        if first == "u":
            a = unit(xp.matmul(raw, b), eps)
        b = unit(xp.matmul(xp.matrix_transpose(raw), a), eps)
        if first == "v":
            a = unit(xp.matmul(raw, b), eps)
    for tensor, new in ((u, a), (v, b)):
        writing(tensor)
        tensor._raw = new


def largest(w: Any, u: Tensor, v: Tensor) -> Any:
    """u^T W v, the largest singular value where u and v are its singular vectors; gradients go to W alone."""
    xp = namespace_of(w)
    return xp.sum(u.detach() * xp.matmul(w, v.detach()))
