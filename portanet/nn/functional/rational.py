"""Rational functions as activations."""

from __future__ import annotations

from typing import Any

from portanet.nn.functional._checks import common_namespace, raw_of, require_dtype

__all__ = ["rational"]


def rational(input: Any, numerator: Any, denominator: Any) -> Any:
    """P(x) / Q(x), element by element, with P and Q given by their coefficients, the highest power first.

    Boulle, Nakatsukasa and Townsend 2020, "Rational neural networks", NeurIPS 33.

    Args:
        input: x, of any shape.
        numerator: the coefficients of P, of shape (degree + 1,) and the dtype of x.
        denominator: those of Q. Where Q has a zero the result is infinite.

    Returns:
        of the shape of x.

    >>> import portanet
    >>> x, p, q = [portanet.asarray(c) for c in ([1.0, 2.0], [1.0, 0.0], [1.0, 0.0, 1.0])]
    >>> portanet.nn.functional.rational(x, p, q)  # x / (x**2 + 1)
    tensor([0.5, 0.4])
    """
    for name, coefficients in (("numerator", raw_of(numerator)), ("denominator", raw_of(denominator))):
        if coefficients.ndim != 1 or coefficients.shape[0] == 0:
            raise ValueError(
                f"rational: the {name} needs coefficients of shape (degree + 1,), saw {tuple(coefficients.shape)}."
            )
    require_dtype("Rational", input, numerator, denominator)
    xp = common_namespace(input, numerator, denominator)
    return xp.horner(input, numerator) / xp.horner(input, denominator)
