"""Weight and spectral normalisation in their older form: parameters renamed, the weight computed from them.

The newer form is in `portanet.nn.utils.parametrizations`.
"""

from __future__ import annotations

from typing import Any, TypeVar

from portanet.autograd import no_grad
from portanet.nn.module import Module
from portanet.nn.parameter import Parameter
from portanet.nn.utils._computed import compute, forget, is_computed, taken
from portanet.nn.utils._norms import directions, iterate, largest, matrix, norm_except, require_dim, require_positive

__all__ = ["remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Length and direction of a weight as parameters of their own: w = g v / ||v||.

    The parameter ``name`` gives way to ``name_g`` and ``name_v``, and is computed from them whenever it is read.
    Salimans and Kingma 2016, "Weight normalization".

    Args:
        module: has the parameter; it is changed in place.
        name: of the parameter.
        dim: the axis whose entries have a length each; None (and as in PyTorch -1): one length for the whole.

    Returns:
        the module.

    Raises:
        ValueError: the module has no such parameter, or computes it already.
        IndexError: there is no such axis.

    >>> import portanet
    >>> layer = portanet.nn.utils.weight_norm(portanet.nn.Linear(3, 2))
    >>> {name: p.shape for name, p in layer.named_parameters()}
    {'bias': (2,), 'weight_g': (2, 1), 'weight_v': (2, 3)}
    """
    weight = taken("weight_norm", module, name)
    require_dim("weight_norm", dim, weight)

    def computed(owner: Module) -> Any:
        g, v = owner._parameters[f"{name}_g"], owner._parameters[f"{name}_v"]
        return v * (g / norm_except(v, dim))

    delattr(module, name)
    module.register_parameter(f"{name}_g", Parameter(norm_except(weight.detach(), dim)))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    compute(module, name, computed)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo `weight_norm`: the weight is one parameter again, at its present value.

    Raises ValueError where there is nothing to undo.

    >>> import portanet
    >>> layer = portanet.nn.utils.weight_norm(portanet.nn.Linear(3, 2))
    >>> [name for name, _ in portanet.nn.utils.remove_weight_norm(layer).named_parameters()]
    ['bias', 'weight']
    """
    return _removed("weight_norm", module, name, ("_g", "_v"))


def spectral_norm(
    module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> M:
    """A weight divided by its largest singular value: w = W / sigma, sigma = u^T W v.

    The parameter ``name`` gives way to ``name_orig``; the buffers ``name_u`` and ``name_v`` come nearer to the singular
    vectors by the power method, a little at each call in training. Miyato, Kataoka, Koyama and Yoshida 2018, "Spectral
    normalization for generative adversarial networks".

    Args:
        module: has the parameter; it is changed in place.
        name: of the parameter, which is seen as a matrix.
        n_power_iterations: steps of the power method at each call in training.
        eps: the least norm that is divided by.
        dim: the axis that gives the rows of the matrix; None: 0.

    Returns:
        the module.

    Raises:
        ValueError: the module has no such parameter, or computes it already; no iteration.
        IndexError: there is no such axis.

    >>> import portanet
    >>> layer = portanet.nn.utils.spectral_norm(portanet.nn.Linear(3, 2))
    >>> list(layer.state_dict())
    ['bias', 'weight_orig', 'weight_u', 'weight_v']
    """
    require_positive("spectral_norm", n_power_iterations)
    weight, rows = taken("spectral_norm", module, name), 0 if dim is None else dim
    require_dim("spectral_norm", rows, weight)

    def computed(owner: Module) -> Any:
        w, u, v = _parts(owner, name)
        return w / largest(matrix(w, rows), u, v)

    def nearer(owner: Module, args: Any) -> None:
        if owner.training:
            w, u, v = _parts(owner, name)
            iterate(matrix(w.detach(), rows), u, v, n_power_iterations, eps, first="v")

    delattr(module, name)
    u, v = directions(matrix(weight.detach(), rows), eps)
    module.register_parameter(f"{name}_orig", weight)
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    compute(module, name, computed)
    nearer.spectral_norm_of = name  # type: ignore[attr-defined]  # by this it is found again
    module.register_forward_pre_hook(nearer)
    return module


def _parts(owner: Module, name: str) -> tuple[Any, Any, Any]:
    return owner._parameters[f"{name}_orig"], owner._buffers[f"{name}_u"], owner._buffers[f"{name}_v"]


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Undo `spectral_norm`: the weight is one parameter again, at its present value.

    Raises ValueError where there is nothing to undo.

    >>> import portanet
    >>> layer = portanet.nn.utils.spectral_norm(portanet.nn.Linear(3, 2))
    >>> list(portanet.nn.utils.remove_spectral_norm(layer).state_dict())
    ['bias', 'weight']
    """
    _removed("spectral_norm", module, name, ("_orig", "_u", "_v"))
    hooks = module._forward_pre_hooks
    for key in [key for key, (hook, _) in hooks.items() if getattr(hook, "spectral_norm_of", None) == name]:
        del hooks[key]
    return module


def _removed(what: str, module: M, name: str, suffixes: tuple[str, ...]) -> M:
    if not is_computed(module, name) or not hasattr(module, name + suffixes[0]):
        raise ValueError(f"remove_{what}: {type(module).__name__}.{name} has no {what}.")
    with no_grad():
        value = getattr(module, name)
    for suffix in suffixes:
        delattr(module, name + suffix)
    forget(module, name)
    module.register_parameter(name, Parameter(value))
    return module
