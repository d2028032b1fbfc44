"""How exactly float32 matrices are multiplied where the hardware leaves a choice."""

from __future__ import annotations

__all__ = ["get_float32_matmul_precision", "set_float32_matmul_precision"]

PRECISIONS = ("highest", "high", "medium")

_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Choose how float32 matrices are multiplied by portanet's own kernels on a GPU, in products and convolutions.

    It holds for all threads, and has no effect on the CPU. JAX and PyTorch have switches of their own.

    Args:
        precision: ``"highest"``, as at the start: in float32 throughout. ``"high"``: the factors may be rounded to TF32,
            which has 10 bits of mantissa (a relative error of 5e-4), and are multiplied several times as fast; sums
            stay in float32. ``"medium"`` means the same here.

    Raises:
        ValueError: it is none of these.

    >>> import portanet
    >>> portanet.set_float32_matmul_precision("high")
    >>> portanet.get_float32_matmul_precision()
    'high'
    >>> portanet.set_float32_matmul_precision("highest")
    """
    global _precision
    if precision not in PRECISIONS:
        raise ValueError(f"set_float32_matmul_precision: expected one of {', '.join(PRECISIONS)}, saw {precision!r}.")
    _precision = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` chose.

    >>> import portanet
    >>> portanet.get_float32_matmul_precision()
    'highest'
    """
    return _precision


def rounds_float32() -> bool:
    """Whether the factors of float32 products may be rounded."""
    return _precision != "highest"
