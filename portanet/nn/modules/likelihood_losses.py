"""Losses that are the negative logarithm of a probability, as modules: of noise, of counts, and of sequences."""

from __future__ import annotations

from typing import Any

from portanet.nn import functional as F
from portanet.nn.functional._losses import require_positive
from portanet.nn.modules.loss import _Loss

__all__ = ["CTCLoss", "GaussianNLLLoss", "PoissonNLLLoss"]


class GaussianNLLLoss(_Loss):
    """Targets that are Gaussian about the input: see `portanet.nn.functional.gaussian_nll_loss`.

    Args:
        full: whether the constant log(2 pi) / 2 is added.
        eps: the smallest variance, above 0.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.GaussianNLLLoss()(portanet.asarray([0.0]), portanet.asarray([2.0]), portanet.asarray([4.0]))
    tensor(1.1931472)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        require_positive("GaussianNLLLoss", "eps", eps)
        self.full = full
        self.eps = eps

    def forward(self, input: Any, target: Any, var: Any) -> Any:
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class PoissonNLLLoss(_Loss):
    """Targets that are Poisson counts: see `portanet.nn.functional.poisson_nll_loss`.

    Args:
        log_input: whether the input is the logarithm of the expectation, or this itself.
        full: whether log(target!) is added, by Stirling's formula.
        eps: keeps the logarithm of an expectation from 0.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    >>> import portanet
    >>> portanet.nn.PoissonNLLLoss()(portanet.asarray([0.0, 1.0]), portanet.asarray([3, 1]))
    tensor(1.3591409)
    """

    def __init__(
        self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, input: Any, target: Any) -> Any:
        return F.poisson_nll_loss(input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction)


class CTCLoss(_Loss):
    """Sequences of labels whose places in time are not known: see `portanet.nn.functional.ctc_loss`.

    Args:
        blank: the label that stands for none.
        reduction: ``"mean"`` (each loss over the length of its target, then over the batch), ``"sum"`` or ``"none"``.
        zero_infinity: whether a loss is 0, with gradient 0, where no path has the target's length.

    >>> import portanet
    >>> half = portanet.log(portanet.full((2, 1, 2), 0.5))
    >>> portanet.nn.CTCLoss()(half, portanet.asarray([[1]]), (2,), (1,))  # of four paths three read as 1
    tensor(0.2876821)
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
