"""Codes of places beside formulas in NumPy, and the properties for which they were chosen."""

from __future__ import annotations

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from portanet.testing import check_gradient
from tests.nn.cases import arrays


def waves(places: numpy.ndarray, dim: int, base: float = 10000.0) -> numpy.ndarray:
    """The formula of Vaswani and others, element by element."""
    codes = numpy.empty((len(places), dim))
    for j in range(dim):
        angles = places / base ** (2 * (j // 2) / dim)
        codes[:, j] = numpy.cos(angles) if j % 2 else numpy.sin(angles)
    return codes


def turned(x: numpy.ndarray, places: numpy.ndarray, base: float = 10000.0) -> numpy.ndarray:
    """Pairs as complex numbers, each times exp(i t w)."""
    size = x.shape[-1]
    speeds = base ** (-2 * numpy.arange(size // 2) / size)
    z = (x[..., ::2] + 1j * x[..., 1::2]) * numpy.exp(1j * places[..., None] * speeds)
    return numpy.stack([z.real, z.imag], axis=-1).reshape(x.shape)


@pytest.mark.parametrize(("length", "dim", "base"), [(7, 6, 10000.0), (5, 5, 100.0), (1, 1, 10000.0), (0, 4, 10.0)])
def test_sinusoidal_positions_are_the_formula(length, dim, base, backend):
    codes = F.sinusoidal_positions(length, dim, base, dtype=pn.float64)
    assert codes.dtype is pn.float64
    numpy.testing.assert_allclose(codes.numpy(), waves(numpy.arange(length), dim, base), rtol=1e-12, atol=1e-13)
    narrow = F.sinusoidal_positions(length, dim, base)
    assert narrow.dtype is pn.float32
    numpy.testing.assert_allclose(narrow.numpy(), codes.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "shape", "lead"),
    [({}, (5, 2, 6), (5, 1, 6)), ({"batch_first": True}, (2, 5, 6), (1, 5, 6)), ({"base": 50.0}, (5, 6), (5, 6))],
    ids=str,
)
def test_positions_are_added_to_each_step(options, shape, lead, backend):
    layer, x = nn.SinusoidalPositions(6, **options), arrays([shape])[0]
    codes = waves(numpy.arange(5) + 3, 6, options.get("base", 10000.0)).reshape(lead)
    y = layer(pn.asarray(x), offset=3)
    numpy.testing.assert_allclose(y.numpy(), x + codes, rtol=1e-12)
    raw = F.add_sinusoidal_positions(pn.asarray(x).array, offset=3, **options)
    numpy.testing.assert_array_equal(pn.Tensor(raw).numpy(), y.numpy())
    assert layer(pn.astype(pn.asarray(x), pn.float32)).dtype is pn.float32


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 5, 6), (2, 0, 4), (1, 2)], ids=str)
def test_rotation_is_a_product_of_complex_numbers(shape, interleaved, backend):
    x = arrays([shape])[0]
    given = x if interleaved else numpy.concatenate([x[..., ::2], x[..., 1::2]], axis=-1)
    for positions, places in ((None, numpy.arange(shape[-2])), (7, numpy.arange(shape[-2]) + 7)):
        wanted = turned(x, places, 100.0)
        wanted = wanted if interleaved else numpy.concatenate([wanted[..., ::2], wanted[..., 1::2]], axis=-1)
        y = F.apply_rotary(pn.asarray(given), positions, 100.0, interleaved)
        numpy.testing.assert_allclose(y.numpy(), wanted, rtol=1e-11, atol=1e-12)
        again = nn.RotaryPositions(shape[-1], 100.0, interleaved)(pn.asarray(given), positions)
        numpy.testing.assert_array_equal(again.numpy(), y.numpy())
        raw = F.apply_rotary(pn.asarray(given).array, positions, 100.0, interleaved)
        numpy.testing.assert_array_equal(pn.Tensor(raw).numpy(), y.numpy())


def test_places_may_be_given_for_each_sequence(backend):
    x, places = arrays([(2, 3, 5, 4)])[0], numpy.random.default_rng(1).integers(0, 50, (2, 1, 5))
    y = nn.RotaryPositions(4)(pn.asarray(x), pn.asarray(places))
    numpy.testing.assert_allclose(y.numpy(), turned(x, places), rtol=1e-11, atol=1e-12)
    narrow = nn.RotaryPositions(4)(pn.asarray(x.astype("float32")), pn.asarray(places))
    assert narrow.dtype is pn.float32
    numpy.testing.assert_allclose(narrow.numpy(), y.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("interleaved", [True, False])
def test_scores_after_a_rotation_depend_on_distances_alone(interleaved, backend):
    rotary = nn.RotaryPositions(8, interleaved=interleaved)
    q, k = [pn.asarray(a) for a in arrays([(1, 8), (1, 8)])]
    scores = [(rotary(q, m) @ rotary(k, n).T).item() for m, n in ((0, 4), (3, 7), (100, 104), (4, 0))]
    numpy.testing.assert_allclose(scores[:3], scores[0], rtol=1e-10)
    assert abs(scores[3] - scores[0]) > 1e-3


@pytest.mark.eager
@pytest.mark.parametrize("interleaved", [True, False])
def test_gradients_of_the_rotation_have_order_two(interleaved, backend):
    def squares(x: pn.Tensor) -> pn.Tensor:
        return F.apply_rotary(x, 2, interleaved=interleaved) ** 3

    for order in (1, 2):
        report = check_gradient(squares, pn.asarray(arrays([(2, 3, 4)])[0]), order=order, verbose=False)
        assert report.order > 1.8, str(report)


def test_codes_have_no_state_and_say_what_they_are():
    assert repr(nn.SinusoidalPositions(6)) == "SinusoidalPositions(6, base=10000.0, batch_first=False)"
    assert repr(nn.RotaryPositions(4, 500.0)) == "RotaryPositions(4, base=500.0, interleaved=True)"
    assert not nn.RotaryPositions(4).state_dict()


WRONG = {
    r"expected length >= 0 and dim >= 1, saw 3 and 0": lambda: F.sinusoidal_positions(3, 0),
    r"SinusoidalPositions: dim must be positive, saw 0": lambda: nn.SinusoidalPositions(0),
    r"SinusoidalPositions\(dim=4\): the input has shape \(5, 3\); its last axis must be 4": lambda: (
        nn.SinusoidalPositions(4)(pn.ones((5, 3)))
    ),
    r"SinusoidalPositions: the input has shape \(4,\); expected \(L, N, E\) or \(L, E\)": lambda: (
        nn.SinusoidalPositions(4)(pn.ones(4))
    ),
    r"RotaryPositions: dim must be positive and even, saw 3": lambda: nn.RotaryPositions(3),
    r"RotaryPositions\(dim=4\): the input has shape \(5, 2\)": lambda: nn.RotaryPositions(4)(pn.ones((5, 2))),
    r"RotaryPositions: the input has shape \(5, 3\); expected \(..., L, D\) with D even": lambda: F.apply_rotary(
        pn.ones((5, 3))
    ),
    r"positions have shape \(2, 5\); expected one that broadcasts to \(2, 3, 5\)": lambda: F.apply_rotary(
        pn.ones((2, 3, 5, 4)), pn.ones((2, 5))
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_uses_are_refused(message, backend):
    with pytest.raises(ValueError, match=message):
        WRONG[message]()


def test_whole_numbers_are_refused(backend):
    with pytest.raises(TypeError, match="RotaryPositions: expected a real floating dtype, saw int64"):
        F.apply_rotary(pn.ones((5, 4), dtype=pn.int64))
    with pytest.raises(TypeError, match="SinusoidalPositions: expected a real floating dtype, saw int64"):
        nn.SinusoidalPositions(4)(pn.ones((5, 4), dtype=pn.int64))
