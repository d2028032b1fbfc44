"""Discrete Fourier transforms on Tensors: the standard's ``fft`` extension, differentiable.

y_k = sum_j x_j exp(-2 pi i j k / n); the inverse has the other sign and the factor 1 / n. ``norm`` says where the
factor goes: ``"backward"``: with the inverse; ``"forward"``: with the transform; ``"ortho"``: its root with each.
Results have the precision of the argument: float32 and complex64 make complex64.
"""

from __future__ import annotations

from typing import Any

from portanet.backend import get_backend
from portanet.dtypes import DType, as_dtype, complex_of
from portanet.library import namespace_of
from portanet.tensor import Tensor, apply, cast
from portanet.vjps.fft import OPPOSITE

__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn", "rfft",
    "rfftfreq", "rfftn",
]  # fmt: skip


def _complex(name: str, x: Any, norm: str) -> Tensor:
    """``x`` as complex numbers, which not every library makes of real ones by itself."""
    x = _known(name, x, norm)
    return x if x.dtype.kind == "complex floating" else cast(x, complex_of(x.dtype))


def _real(name: str, other: str, x: Any, norm: str) -> Tensor:
    x = _known(name, x, norm)
    if x.dtype.kind == "complex floating":
        raise TypeError(f"fft.{name} needs real numbers, saw {x.dtype}; use fft.{other}.")
    return x


def _known(name: str, x: Any, norm: str) -> Tensor:
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.dtype.kind not in ("real floating", "complex floating"):
        raise TypeError(
            f"fft.{name} needs a floating dtype, saw {x.dtype}; write portanet.astype(x, portanet.float32)."
        )
    if norm not in OPPOSITE:
        raise ValueError(f"fft.{name}: norm={norm!r} is not known; known are 'backward', 'ortho' and 'forward'.")
    return x


def _length(name: str, x: Tensor, n: int | None, axis: int, half: bool = False) -> int:
    """The length of the transform along ``axis``; ``half``: of the signal whose half spectrum ``x`` is."""
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"fft.{name}: axis {axis} is not an axis of shape {x.shape}.")
    if n is None:
        n = 2 * (x.shape[axis] - 1) if half else x.shape[axis]
    if n < 1:
        raise ValueError(f"fft.{name}: the length along axis {axis} must be at least 1, saw {n} (shape {x.shape}).")
    return n


def _lengths(name: str, x: Tensor, s: Any, axes: Any, half: bool = False) -> dict[str, Any]:
    """``s=`` and ``axes=`` with nothing left open: all axes, or the last len(s); an s of -1 keeps the length."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    axes = tuple([a % x.ndim if -x.ndim <= a < x.ndim else a for a in axes])
    s = [None] * len(axes) if s is None else [None if n == -1 else n for n in s]
    if len(s) != len(axes) or len(set(axes)) != len(axes) or not axes:
        raise ValueError(f"fft.{name}: s={tuple(s)} needs one entry for each of axes={axes}, each named once.")
    last = len(axes) - 1
    lengths = [_length(name, x, n, axis, half and i == last) for i, (n, axis) in enumerate(zip(s, axes, strict=True))]
    return {"s": tuple(lengths), "axes": axes}


# ---------------------------------------------------------------------------------------------------------------------
# Of complex signals.


def fft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The transform along ``axis``, after cutting or padding it with zeros to length ``n``. Real ``x`` is made complex.

    >>> import portanet
    >>> portanet.fft.fft(portanet.asarray([1.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j])
    """
    x = _complex("fft", x, norm)
    return apply("fft.fft", x, n=_length("fft", x, n, axis), axis=axis, norm=norm)


def ifft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The inverse of `fft`: ifft(fft(x)) == x.

    >>> import portanet
    >>> portanet.fft.ifft(portanet.asarray([3.0, 0.0, 0.0]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j])
    """
    x = _complex("ifft", x, norm)
    return apply("fft.ifft", x, n=_length("ifft", x, n, axis), axis=axis, norm=norm)


def fftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
    """`fft` along each of ``axes`` (all), to the lengths ``s``.

    >>> import portanet
    >>> portanet.fft.fftn(portanet.ones((2, 2)))
    tensor([[4.+0.j, 0.+0.j],
            [0.+0.j, 0.+0.j]])
    """
    x = _complex("fftn", x, norm)
    return apply("fft.fftn", x, **_lengths("fftn", x, s, axes), norm=norm)


def ifftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
    """The inverse of `fftn`: ifftn(fftn(x)) == x.

    >>> import portanet
    >>> portanet.fft.ifftn(portanet.ones((2, 2)))
    tensor([[1.+0.j, 0.+0.j],
            [0.+0.j, 0.+0.j]])
    """
    x = _complex("ifftn", x, norm)
    return apply("fft.ifftn", x, **_lengths("ifftn", x, s, axes), norm=norm)


# ---------------------------------------------------------------------------------------------------------------------
# Of real signals, whose spectrum mirrors itself: y_{n-k} = conj(y_k). Half of it is kept.


def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The first n // 2 + 1 frequencies of a real signal; the others are their conjugates.

    >>> import portanet
    >>> portanet.fft.rfft(portanet.asarray([1.0, 2.0, 3.0]), n=2)
    tensor([ 3.+0.j, -1.+0.j])
    """
    x = _real("rfft", "fft", x, norm)
    return apply("fft.rfft", x, n=_length("rfft", x, n, axis), axis=axis, norm=norm)


def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The real signal of length ``n`` (default: 2 (m - 1)) whose m first frequencies are given: the inverse of `rfft`.

    The imaginary parts of the frequencies 0 and n / 2 have no meaning and are not read. For odd lengths give ``n``.

    >>> import portanet
    >>> portanet.fft.irfft(portanet.asarray([3.0, -1.0]))
    tensor([1., 2.])
    """
    x = _complex("irfft", x, norm)
    return apply("fft.irfft", x, n=_length("irfft", x, n, axis, half=True), axis=axis, norm=norm)


def rfftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
    """`rfft` along the last of ``axes``, then `fft` along the others.

    >>> import portanet
    >>> portanet.fft.rfftn(portanet.ones((2, 3)))
    tensor([[6.+0.j, 0.+0.j],
            [0.+0.j, 0.+0.j]])
    """
    x = _real("rfftn", "fftn", x, norm)
    return apply("fft.rfftn", x, **_lengths("rfftn", x, s, axes), norm=norm)


def irfftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
    """`ifft` along all of ``axes`` but the last, then `irfft` along that: the inverse of `rfftn`.

    >>> import portanet
    >>> portanet.fft.irfftn(portanet.ones((2, 2)))
    tensor([[1., 0.],
            [0., 0.]])
    """
    x = _complex("irfftn", x, norm)
    return apply("fft.irfftn", x, **_lengths("irfftn", x, s, axes, half=True), norm=norm)


def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The real spectrum of a signal with x_{n-j} = conj(x_j), of which the m first elements are given.

    Its length is ``n`` (default: 2 (m - 1)).

    >>> import portanet
    >>> portanet.fft.hfft(portanet.asarray([1.0, 2.0]))
    tensor([ 3., -1.])
    """
    x = _complex("hfft", x, norm)
    return irfft(namespace_of(x).conj(x), n=_length("hfft", x, n, axis, half=True), axis=axis, norm=OPPOSITE[norm])


def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """The first half of the signal whose spectrum is real: the inverse of `hfft`.

    >>> import portanet
    >>> portanet.real(portanet.fft.ihfft(portanet.asarray([3.0, -1.0])))
    tensor([1., 2.])
    """
    x = _real("ihfft", "ifft", x, norm)
    return namespace_of(x).conj(rfft(x, n=_length("ihfft", x, n, axis), axis=axis, norm=OPPOSITE[norm]))


# ---------------------------------------------------------------------------------------------------------------------
# The frequencies that belong to the results, and their order.


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of the results of `fft`, in cycles per unit of ``d``, the distance of samples.

    0, 1, ..., then the negative ones, ..., -2, -1, each divided by n d. An array of the current backend.

    >>> import portanet
    >>> portanet.fft.fftfreq(4, d=0.5)
    tensor([ 0. ,  0.5, -1. , -0.5])
    """
    k = _counted("fftfreq", n, n, dtype, device)
    return namespace_of(k).where(k < (n + 1) // 2, k, k - n) / (n * d)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of the results of `rfft`: 0, 1, ..., n // 2, each divided by n d.

    >>> import portanet
    >>> portanet.fft.rfftfreq(4, d=0.5)
    tensor([0. , 0.5, 1. ])
    """
    return _counted("rfftfreq", n, n // 2 + 1, dtype, device) / (n * d)


def _counted(name: str, n: int, count: int, dtype: Any, device: Any) -> Tensor:
    """0, 1, ... in the current backend, as real floating numbers."""
    backend = get_backend()
    known: DType = backend.dtype if dtype is None else as_dtype(dtype)
    if known.kind != "real floating":
        raise TypeError(f"fft.{name}: dtype must be real floating, saw {known}; try portanet.float32.")
    if n < 1:
        raise ValueError(f"fft.{name}: n must be at least 1, saw {n}.")
    where = backend.device if device is None else backend.library.device(device)
    return Tensor(backend.library.arange(0, count, 1, dtype=backend.library.raw_dtype(known), device=where))


def fftshift(x: Any, /, *, axes: Any = None) -> Tensor:
    """The frequency 0 moved to the middle of ``axes`` (an int, a tuple, None for all): roll by n // 2.

    >>> import portanet
    >>> portanet.fft.fftshift(portanet.asarray([0.0, 1.0, -2.0, -1.0]))
    tensor([-2., -1.,  0.,  1.])
    """
    return _shifted(x, axes, 1)


def ifftshift(x: Any, /, *, axes: Any = None) -> Tensor:
    """The inverse of `fftshift`: roll by -(n // 2).

    >>> import portanet
    >>> portanet.fft.ifftshift(portanet.asarray([-2.0, -1.0, 0.0, 1.0]))
    tensor([ 0.,  1., -2., -1.])
    """
    return _shifted(x, axes, -1)


def _shifted(x: Any, axes: Any, sign: int) -> Tensor:
    x = x if isinstance(x, Tensor) else Tensor(x)
    chosen = tuple(range(x.ndim)) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    return namespace_of(x).roll(x, tuple([sign * (x.shape[axis] // 2) for axis in chosen]), axis=chosen)
