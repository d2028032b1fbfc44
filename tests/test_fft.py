"""Fourier transforms: values beside NumPy's on every backend, frequencies, and what is refused.

That the gradients are right is proved with the samples, in test_vjps.
"""

from __future__ import annotations

import numpy
import pytest

import portanet as pn
from tests.samples import complex_, signed

needs_fft = pytest.mark.needs("fft")
REAL = signed(2, 5, 6)
COMPLEX = complex_(2, 5, 6)
ONE = [{}, {"axis": 1}, {"n": 4, "axis": 1, "norm": "ortho"}, {"n": 9, "norm": "forward"}, {"n": 1}]
SEVERAL = [{}, {"axes": (1,)}, {"axes": (2, 0), "norm": "ortho"}, {"s": (3, 7), "axes": (-1, 1), "norm": "forward"}]
CALLS = [
    *[(name, x, options) for name in ("fft", "ifft") for x in (REAL, COMPLEX) for options in ONE],
    *[(name, x, options) for name in ("irfft", "hfft") for x in (REAL, COMPLEX) for options in ONE],
    *[(name, REAL, options) for name in ("rfft", "ihfft") for options in ONE],
    *[(name, x, options) for name in ("fftn", "ifftn", "irfftn") for x in (REAL, COMPLEX) for options in SEVERAL],
    *[("rfftn", REAL, options) for options in SEVERAL],
]


def named(call):
    name, x, options = call
    return "-".join([name, "complex" if x is COMPLEX else "real", *[f"{k}={v}" for k, v in options.items()]])


@needs_fft
@pytest.mark.heavy
@pytest.mark.parametrize("single", (False, True), ids=("double", "single"))
@pytest.mark.parametrize("call", CALLS, ids=named)
def test_values_and_dtypes_equal_numpys(call, single, backend):
    name, x, options = call
    expected = getattr(numpy.fft, name)(x, **options)
    if single:
        x = x.astype("complex64" if x is COMPLEX else "float32")
    found = getattr(pn.fft, name)(pn.asarray(numpy.array(x)), **options)
    assert found.dtype.name == (
        str(expected.dtype).replace("128", "64").replace("float64", "float32") if single else expected.dtype
    )
    numpy.testing.assert_allclose(found.numpy(), expected, atol=2e-4 if single else 1e-12, rtol=1e-5)


@needs_fft
def test_sizes_without_axes_are_those_of_the_last_axes(backend):
    x = pn.asarray(COMPLEX)
    expected = numpy.fft.fftn(COMPLEX, s=(3, 4), axes=(1, 2))
    numpy.testing.assert_allclose(pn.fft.fftn(x, s=(3, 4)).numpy(), expected, atol=1e-12)
    kept = numpy.fft.fftn(COMPLEX, s=(5, 4), axes=(1, 2))
    numpy.testing.assert_allclose(pn.fft.fftn(x, s=(-1, 4)).numpy(), kept, atol=1e-12)


@needs_fft
@pytest.mark.parametrize("norm", ("backward", "ortho", "forward"))
@pytest.mark.parametrize("n", (5, 6))
def test_inverses_invert(norm, n, backend):
    real, complex_numbers = pn.asarray(signed(3, n)), pn.asarray(complex_(3, n))
    for there, back, x in [
        (pn.fft.fft, pn.fft.ifft, complex_numbers),
        (pn.fft.rfft, lambda y, norm: pn.fft.irfft(y, n=n, norm=norm), real),
        (pn.fft.ihfft, lambda y, norm: pn.fft.hfft(y, n=n, norm=norm), real),
        (pn.fft.fftn, pn.fft.ifftn, complex_numbers),
        (pn.fft.rfftn, lambda y, norm: pn.fft.irfftn(y, s=(3, n), norm=norm), real),
    ]:
        numpy.testing.assert_allclose(back(there(x, norm=norm), norm=norm).numpy(), x.numpy(), atol=1e-12)


@needs_fft
def test_a_signal_by_hand(backend):
    y = pn.fft.rfft(pn.asarray([0.0, 1.0, 0.0, -1.0]))
    assert y.dtype == pn.complex64
    numpy.testing.assert_allclose(y.numpy(), [0, -2j, 0], atol=1e-6)


@needs_fft
def test_the_gradient_of_the_energy_is_parsevals(backend):
    """sum |fft(x)|^2 = n sum x^2, so the gradient is 2 n x."""
    x = pn.asarray(signed(5)).requires_grad_()
    pn.sum(pn.abs(pn.fft.fft(x)) ** 2).backward()
    assert x.grad is not None and x.grad.dtype == pn.float64
    numpy.testing.assert_allclose(x.grad.numpy(), 10 * x.detach().numpy(), atol=1e-12)


@needs_fft
def test_gradients_keep_single_precision(backend):
    x = pn.asarray(signed(4).astype("float32")).requires_grad_()
    pn.sum(pn.abs(pn.fft.rfft(x, n=6)) ** 2).backward()
    z = pn.asarray(complex_(4).astype("complex64")).requires_grad_()
    pn.sum(pn.fft.irfft(z) ** 2).backward()
    assert x.grad is not None and x.grad.dtype == pn.float32
    assert z.grad is not None and z.grad.dtype == pn.complex64


@pytest.mark.parametrize("n", (1, 2, 5, 8))
def test_frequencies_equal_numpys(n, backend):
    for function, expected in ((pn.fft.fftfreq, numpy.fft.fftfreq), (pn.fft.rfftfreq, numpy.fft.rfftfreq)):
        x = function(n, d=0.3)
        assert x.dtype == pn.float32 and x.backend == pn.zeros(1).backend and x.device == pn.zeros(1).device
        numpy.testing.assert_allclose(x.numpy(), expected(n, 0.3), rtol=1e-6)
        numpy.testing.assert_allclose(function(n, dtype=pn.float64).numpy(), expected(n), rtol=1e-15)


def test_frequencies_have_the_default_dtype():
    with pn.use_backend("numpy", dtype="float64"):
        assert pn.fft.fftfreq(3).dtype == pn.float64
        assert pn.fft.rfftfreq(3, dtype=pn.float32).dtype == pn.float32


@pytest.mark.parametrize("axes", (None, 0, -1, (0, 2), (1,)))
def test_shifts_equal_numpys(axes, backend):
    x = pn.asarray(REAL)
    numpy.testing.assert_array_equal(pn.fft.fftshift(x, axes=axes).numpy(), numpy.fft.fftshift(REAL, axes=axes))
    numpy.testing.assert_array_equal(pn.fft.ifftshift(x, axes=axes).numpy(), numpy.fft.ifftshift(REAL, axes=axes))


REFUSED = {
    "whole numbers": (lambda: pn.fft.fft(pn.asarray([1, 2])), TypeError, "int64.*astype"),
    "a list": (lambda: pn.fft.fft([1.0]), TypeError, "list.*asarray"),
    "rfft of complex": (lambda: pn.fft.rfft(pn.asarray([1j])), TypeError, r"complex64; use fft\.fft"),
    "ihfft of complex": (lambda: pn.fft.ihfft(pn.asarray([1j])), TypeError, r"use fft\.ifft"),
    "an unknown norm": (lambda: pn.fft.fft(pn.ones(2), norm="unitary"), ValueError, "'ortho'"),
    "no length": (lambda: pn.fft.fft(pn.ones(2), n=0), ValueError, "at least 1"),
    "irfft of one frequency": (lambda: pn.fft.irfft(pn.ones(1)), ValueError, "at least 1"),
    "an axis too many": (lambda: pn.fft.fft(pn.ones(2), axis=1), ValueError, "axis 1"),
    "a size too many": (lambda: pn.fft.fftn(pn.ones((2, 2)), s=(2, 2), axes=(0,)), ValueError, "one entry"),
    "an axis twice": (lambda: pn.fft.fftn(pn.ones((2, 2)), axes=(0, -2)), ValueError, "named once"),
    "frequencies of nothing": (lambda: pn.fft.fftfreq(0), ValueError, "at least 1"),
    "complex frequencies": (lambda: pn.fft.rfftfreq(2, dtype=pn.complex64), TypeError, "real floating"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()
