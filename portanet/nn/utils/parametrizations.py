"""Parametrizations that are often wanted: a weight by length and direction, of bounded slope, or orthogonal."""

from __future__ import annotations

from typing import Any, TypeVar

from portanet.nn.module import Module
from portanet.nn.utils._computed import taken
from portanet.nn.utils._norms import (
    directions,
    iterate,
    largest,
    matrix,
    norm_except,
    require_dim,
    require_positive,
    unit,
)
from portanet.nn.utils.parametrize import is_parametrized, register_parametrization
from portanet.tensor import Tensor

__all__ = ["spectral_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


class _WeightNorm(Module):
    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Any) -> tuple[Any, Any]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Length and direction of a weight as parameters of their own: w = g v / ||v||.

    g is ``parametrizations.<name>.original0`` and v ``...original1``. Salimans and Kingma 2016, "Weight normalization".

    Args:
        module: has the parameter; it is changed in place.
        name: of the parameter.
        dim: the axis whose entries have a length each; None (and as in PyTorch -1): one length for the whole.

    Returns:
        the module.

    Raises:
        ValueError: the module has no such parameter.
        IndexError: there is no such axis.

    >>> import portanet
    >>> layer = portanet.nn.utils.parametrizations.weight_norm(portanet.nn.Linear(3, 2))
    >>> {name: p.shape for name, p in layer.named_parameters()}
    {'bias': (2,), 'parametrizations.weight.original0': (2, 1), 'parametrizations.weight.original1': (2, 3)}
    """
    require_dim("weight_norm", dim, _weight("weight_norm", module, name))
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        require_positive("spectral_norm", n_power_iterations)
        require_dim("spectral_norm", dim, weight)
        self.dim = dim % weight.ndim
        self.eps = eps
        if weight.ndim > 1:
            self.n_power_iterations = n_power_iterations
            w = matrix(weight.detach(), self.dim)
            u, v = directions(w, eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)
            iterate(w, u, v, 15, eps, first="u")

    def forward(self, weight: Any) -> Any:
        if weight.ndim == 1:
            return unit(weight, self.eps)  # a vector's only singular value
        w = matrix(weight, self.dim)
        if self.training:
            iterate(w.detach(), self._u, self._v, self.n_power_iterations, self.eps, first="u")
        return weight / largest(w, self._u, self._v)

    def right_inverse(self, value: Any) -> Any:
        return value


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """A weight divided by its largest singular value: w = W / sigma, sigma = u^T W v.

    W is ``parametrizations.<name>.original``; the buffers ``parametrizations.<name>.0._u`` and ``..._v`` come nearer to
    the singular vectors by the power method, 15 steps at the start and some whenever the weight is read in training.
    Miyato, Kataoka, Koyama and Yoshida 2018, "Spectral normalization for generative adversarial networks".

    Args:
        module: has the parameter; it is changed in place.
        name: of the parameter, which is seen as a matrix.
        n_power_iterations: steps of the power method at each reading in training.
        eps: the least norm that is divided by.
        dim: the axis that gives the rows of the matrix; None: 0.

    Returns:
        the module.

    Raises:
        ValueError: the module has no such parameter; no iteration.
        IndexError: there is no such axis.

    >>> import portanet
    >>> layer = portanet.nn.utils.parametrizations.spectral_norm(portanet.nn.Linear(3, 2))
    >>> list(layer.state_dict())[1:]
    ['parametrizations.weight.original', 'parametrizations.weight.0._u', 'parametrizations.weight.0._v']
    """
    weight = _weight("spectral_norm", module, name)
    return register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, 0 if dim is None else dim, eps)
    )


def _weight(where: str, module: Module, name: str) -> Any:
    """The tensor that will be parametrised (once more)."""
    if is_parametrized(module, name):
        return getattr(module, name).detach()
    return taken(where, module, name)
