"""Features phi(x) chosen by hand: functions, and modules without parameters to put before a `Linear`.

The model y(x, w) = sum_j w_j phi_j(x) is then ``Sequential(PolynomialFeatures(3), Linear(4, 1, bias=False))``: linear
in w, and trained by the same loop as a network.
"""

from __future__ import annotations

import math
from typing import Any, Self

from portanet import random
from portanet.library import namespace_of
from portanet.namespace import asarray, ones
from portanet.nn.functional._checks import common_namespace, dtype_of, raw_of, require_dtype
from portanet.nn.module import Module
from portanet.random import Generator
from portanet.tensor import Tensor

__all__ = ["FourierFeatures", "PolynomialFeatures", "RadialBasisFeatures", "fourier", "polynomial", "radial_basis"]


def polynomial(x: Any, degree: int, include_bias: bool = True) -> Any:
    """All products of coordinates of x with up to ``degree`` factors: 1, x1, x2, x1^2, x1 x2, x2^2, ...

    Args:
        x: of shape (..., D) and a floating dtype.
        degree: the largest number of factors, 0 or more.
        include_bias: whether the constant 1 comes first. Leave it out before a layer that has a bias of its own.

    Returns:
        of shape (..., M), M = (D + degree)! / (D! degree!), one less without the constant. By degree, and within a
        degree in the order of the coordinates' numbers.

    >>> import portanet
    >>> portanet.nn.features.polynomial(portanet.asarray([[2.0, 3.0]]), 2)
    tensor([[1., 2., 3., 4., 6., 9.]])
    """
    _check_degree(degree)
    _check_points("polynomial", x)
    xp, dimension = namespace_of(x), x.shape[-1]
    coordinates = [x[..., i] for i in range(dimension)]
    one = xp.ones_like(x[..., :1])
    columns = [one[..., 0]] if include_bias else []
    # A product of degree k is one of degree k - 1 times a coordinate not before its last: each arises once.
    last = [(i, coordinate) for i, coordinate in enumerate(coordinates)]
    for k in range(1, degree + 1):
        columns += [product for _, product in last]
        if k < degree:
            last = [(j, product * coordinates[j]) for i, product in last for j in range(i, dimension)]
    return xp.stack(columns, axis=-1) if columns else one[..., :0]


def _check_degree(degree: int) -> None:
    if not isinstance(degree, int) or degree < 0:
        raise ValueError(f"polynomial features: the degree must be an integer, 0 or more, saw {degree!r}.")


def _check_points(name: str, x: Any, dimension: int | None = None) -> None:
    """Raise unless ``x`` is a floating array whose last axis has ``dimension`` coordinates (None: any number)."""
    raw = raw_of(x)
    if raw.ndim == 0 or (dimension is not None and raw.shape[-1] != dimension):
        wanted = "D" if dimension is None else dimension
        raise ValueError(
            f"{name}: the input must have shape (..., {wanted}), its last axis the coordinates of a point, saw "
            f"{tuple(raw.shape)}; one number a point is a column: portanet.expand_dims(x, -1)."
        )
    if dtype_of(raw).kind != "real floating":
        raise TypeError(
            f"{name}: expected a real floating input, saw {dtype_of(raw)}; portanet.astype(x, portanet.float32)."
        )


def fourier(x: Any, frequencies: Any) -> Any:
    """cos(2 pi x b) and sin(2 pi x b) for each column b of ``frequencies``: first all cosines, then all sines.

    Args:
        x: of shape (..., D).
        frequencies: of shape (D, M), of the dtype of x; in periods per unit of x.

    Returns:
        of shape (..., 2 M).

    >>> import portanet
    >>> portanet.nn.features.fourier(portanet.asarray([[0.5]]), portanet.asarray([[0.0, 1.0]]))[0, :2]
    tensor([ 1., -1.])
    """
    b = raw_of(frequencies)
    if b.ndim != 2:
        raise ValueError(f"fourier: the frequencies must have shape (D, M), saw {tuple(b.shape)}.")
    _check_points("fourier", x, b.shape[0])
    require_dtype("fourier", x, frequencies)
    xp = common_namespace(x, frequencies)
    angle = xp.matmul(x, frequencies) * (2 * math.pi)
    return xp.concat([xp.cos(angle), xp.sin(angle)], axis=-1)


def radial_basis(x: Any, centres: Any, width: Any) -> Any:
    """exp(-|x - c|^2 / (2 width^2)) for each centre c.

    Args:
        x: of shape (..., D).
        centres: of shape (M, D), of the dtype of x.
        width: a number, or an array (M,) of that dtype.

    Returns:
        of shape (..., M).

    >>> import portanet
    >>> x, centres = portanet.asarray([[0.0], [1.0]]), portanet.asarray([[0.0]])
    >>> portanet.nn.features.radial_basis(x, centres, 1.0)
    tensor([[1.        ],
            [0.60653067]])
    """
    c = raw_of(centres)
    if c.ndim != 2:
        raise ValueError(f"radial_basis: the centres must have shape (M, D), saw {tuple(c.shape)}.")
    _check_points("radial_basis", x, c.shape[1])
    require_dtype("radial_basis", x, centres, None if isinstance(width, (int, float)) else width)
    xp = common_namespace(x, centres)
    gap = xp.subtract(xp.expand_dims(x, axis=-2), centres)
    return xp.exp(xp.sum(gap * gap, axis=-1) / (-2 * width * width))


class PolynomialFeatures(Module):
    """All products of coordinates with up to ``degree`` factors; see `polynomial`.

    Args:
        degree: the largest number of factors.
        in_features: the number D of coordinates.
        include_bias: whether the constant 1 comes first. Leave it out before a layer that has a bias of its own.

    Shapes: (..., in_features) -> (..., out_features), of which the module has the numbers.

    >>> import portanet
    >>> phi = portanet.nn.PolynomialFeatures(3)
    >>> phi(portanet.asarray([[2.0]]))
    tensor([[1., 2., 4., 8.]])
    >>> model = portanet.nn.Sequential(phi, portanet.nn.Linear(phi.out_features, 1, bias=False))
    """

    def __init__(self, degree: int, in_features: int = 1, include_bias: bool = True) -> None:
        super().__init__()
        _check_degree(degree)
        self.degree = degree
        self.in_features = in_features
        self.include_bias = include_bias
        self.out_features = math.comb(in_features + degree, degree) - (not include_bias)

    def forward(self, input: Any) -> Any:
        _check_points("PolynomialFeatures", input, self.in_features)
        return polynomial(input, self.degree, self.include_bias)

    def extra_repr(self) -> str:
        return f"degree={self.degree}, in_features={self.in_features}, include_bias={self.include_bias}"


class FourierFeatures(Module):
    """Cosines and sines of given frequencies; see `fourier`.

    Args:
        frequencies: of shape (D, M), in periods per unit of x: an array, or nested lists, which get the default dtype.

    Shapes: (..., D) -> (..., 2 M); ``in_features`` and ``out_features`` have the numbers. Buffer: ``frequencies``.
    `FourierFeatures.harmonics` and `FourierFeatures.random` choose the frequencies.

    >>> import portanet
    >>> portanet.nn.FourierFeatures([[1.0, 2.0]])(portanet.zeros((5, 1))).shape
    (5, 4)
    """

    frequencies: Tensor

    def __init__(self, frequencies: Any) -> None:
        super().__init__()
        frequencies = asarray(frequencies)
        if frequencies.ndim != 2:
            raise ValueError(f"FourierFeatures: the frequencies must have shape (D, M), saw {frequencies.shape}.")
        self.register_buffer("frequencies", frequencies.detach())
        self.in_features = frequencies.shape[0]
        self.out_features = 2 * frequencies.shape[1]

    @classmethod
    def harmonics(cls, count: int, period: float = 1.0, in_features: int = 1) -> Self:
        """The first ``count`` harmonics of ``period`` in each coordinate by itself: the Fourier series.

        >>> import portanet
        >>> portanet.nn.FourierFeatures.harmonics(2, period=2.0).frequencies
        tensor([[0.5, 1. ]])
        """
        rows = []
        for i in range(in_features):
            row = [0.0] * (in_features * count)
            row[i * count : (i + 1) * count] = [k / period for k in range(1, count + 1)]
            rows.append(row)
        return cls(rows)

    @classmethod
    def random(cls, in_features: int, count: int, scale: float = 1.0, generator: Generator | None = None) -> Self:
        """``count`` normally distributed frequencies of standard deviation ``scale``.

        Rahimi and Recht 2007, "Random features for large-scale kernel machines"; for networks Tancik et al. 2020,
        "Fourier features let networks learn high frequency functions in low dimensional domains".

        >>> import portanet
        >>> portanet.nn.FourierFeatures.random(3, 16).out_features
        32
        """
        return cls(random.normal((in_features, count), std=scale, generator=generator))

    def forward(self, input: Any) -> Any:
        return fourier(input, self.frequencies)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class RadialBasisFeatures(Module):
    """Bells around given centres; see `radial_basis`. Broomhead and Lowe 1988.

    Args:
        centres: of shape (M, D), or (M,) for D = 1: an array, or lists, which get the default dtype.
        width: of every bell, or (M,) of each; positive.

    Shapes: (..., D) -> (..., M); ``in_features`` and ``out_features`` have the numbers. Buffers: ``centres`` and
    ``width``.

    >>> import portanet
    >>> portanet.nn.RadialBasisFeatures([0.0, 0.5, 1.0], width=0.5)(portanet.zeros((5, 1))).shape
    (5, 3)
    """

    centres: Tensor
    width: Tensor

    def __init__(self, centres: Any, width: Any) -> None:
        super().__init__()
        centres = asarray(centres).detach()
        if centres.ndim == 1:
            centres = namespace_of(centres).expand_dims(centres, axis=-1)
        if centres.ndim != 2:
            raise ValueError(f"RadialBasisFeatures: the centres must have shape (M, D), saw {centres.shape}.")
        width = width * ones(()) if isinstance(width, (int, float)) else asarray(width).detach()
        width = width.to(centres.backend, centres.device, centres.dtype)
        if width.shape not in ((), (centres.shape[0],)):
            raise ValueError(
                f"RadialBasisFeatures: width is one number or {centres.shape[0]}, saw shape {width.shape}."
            )
        if not bool(namespace_of(width).all(width > 0)):
            raise ValueError("RadialBasisFeatures: a width must be positive.")
        self.register_buffer("centres", centres)
        self.register_buffer("width", width)
        self.in_features = centres.shape[1]
        self.out_features = centres.shape[0]

    def forward(self, input: Any) -> Any:
        return radial_basis(input, self.centres, self.width)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"
