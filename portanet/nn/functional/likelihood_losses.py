"""Losses that are the negative logarithm of a probability: of Gaussian noise and of Poisson counts."""

from __future__ import annotations

import math
from typing import Any

from portanet.library import is_array
from portanet.nn.functional._arguments import require_broadcast, require_dtype, together
from portanet.nn.functional._losses import alike, counted, reduced, require_positive, require_within
from portanet.tensor import Tensor

__all__ = ["gaussian_nll_loss", "poisson_nll_loss"]


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """(log(var) + (input - target)**2 / var) / 2: the target being Gaussian about the input with variance var.

    Nix and Weigend 1994, "Estimating the mean and variance of the target probability distribution".

    Args:
        input: expectations, real floating, any shape.
        target: of the same shape and dtype.
        var: variances, at least 0: a number, or an array of the same dtype and shape, where axes may have length 1 or
            the last one be missing. Below ``eps`` they count as ``eps``, but the gradient passes.
        full: whether the constant log(2 pi) / 2 is added.
        eps: the smallest variance, above 0.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each element.

    Returns:
        no axes, or the shape of the input for ``"none"``; the dtype of the input.

    Raises:
        TypeError: an argument is no array, or not real floating, or the dtypes differ.
        ValueError: the shapes do not go together, or another ``reduction``, or a variance below 0. The variances are
            looked at where that means no waiting; elsewhere one below 0 gives nan.

    >>> import portanet
    >>> x, target = portanet.asarray([0.0, 1.0]), portanet.asarray([2.0, 1.0])
    >>> portanet.nn.functional.gaussian_nll_loss(x, target, portanet.asarray([4.0, 1.0]), reduction="none")
    tensor([1.1931472, 0.       ])
    """
    name = "gaussian_nll_loss"
    require_positive(name, "eps", eps)
    if is_array(var):
        input, target, var = together(name, input, target, var)
    xp, input, target = alike(name, input, target, reduction)
    if is_array(var):
        require_dtype(name, "var", var, input)
        if tuple(var.shape) == tuple(input.shape)[:-1] and var.ndim < input.ndim:
            var = xp.expand_dims(var, axis=-1)
        if var.ndim != input.ndim:
            raise ValueError(
                f"{name}: var has shape {tuple(var.shape)}; expected that of the input, {tuple(input.shape)}, where axes "
                "may have length 1 or the last one be missing."
            )
        require_broadcast(name, "var", var, input)
        require_within(name, "variances", var, 0, math.inf, ValueError)
        # The step up to eps is a constant: so the gradient passes as if there were none.
        held = var.detach() if isinstance(var, Tensor) else var
        step = xp.where(held < eps, eps - held, xp.zeros_like(held))
        var = var + xp.where(held < 0, xp.full_like(held, math.nan), step)
    else:
        require_positive(name, "var", var, zero=True)
        var = xp.full_like(input, max(var, eps))
    losses = 0.5 * (xp.log(var) + xp.square(input - target) / var)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(xp, losses, reduction)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """exp(input) - target input: the target being a Poisson count with the expectation exp(input).

    Args:
        input: logarithms of expectations, or with ``log_input=False`` these themselves; real floating, any shape.
        target: counts, of the same shape, and of the same dtype or an integer one.
        log_input: whether the input is a logarithm. If not, the loss is input - target log(input + eps).
        full: whether log(target!) is added where the target is above 1, by Stirling's formula target log(target) -
            target + log(2 pi target) / 2.
        eps: keeps the logarithm from 0.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for the loss of each element.

    Returns:
        no axes, or the shape of the input for ``"none"``; the dtype of the input.

    Raises:
        TypeError: an argument is no array, or the dtypes do not go together.
        ValueError: the shapes differ, or another ``reduction``.

    >>> import portanet
    >>> x, counts = portanet.asarray([0.0, 1.0]), portanet.asarray([3, 0])
    >>> portanet.nn.functional.poisson_nll_loss(x, counts, reduction="none")
    tensor([1.       , 2.7182817])
    """
    xp, input, target = counted("poisson_nll_loss", input, target, reduction)
    if log_input:
        losses = xp.exp(input) - target * input
    else:
        losses = input - target * xp.log(input + eps)
    if full:
        many = target > 1
        n = xp.where(many, target, xp.ones_like(target))  # elsewhere the logarithm may be of 0
        factorial = n * xp.log(n) - n + 0.5 * xp.log(2 * math.pi * n)
        losses = losses + xp.where(many, factorial, xp.zeros_like(factorial))
    return reduced(xp, losses, reduction)
