"""Special functions: values beside SciPy's, known numbers, extremes, and SciPy's own functions on Tensors."""

from __future__ import annotations

import math
import sys

import numpy
import pytest

import portanet as pn
from portanet import library, special
from portanet.kernels import generic
from tests import samples

POWERS = 10.0 ** numpy.arange(-8.0, 9.0)
WIDE = numpy.concatenate([numpy.linspace(-25.0, 25.0, 201), POWERS, -POWERS, [0.0]])
UNIT = numpy.concatenate([numpy.linspace(0.001, 0.999, 101), 10.0 ** numpy.arange(-30.0, -3.0, 3.0)])
POSITIVE = numpy.concatenate([numpy.linspace(0.01, 40.0, 203), POWERS])
LEFT = -numpy.linspace(0.03, 19.97, 100)  # between the poles at whole numbers
A = numpy.asarray([0.1, 0.5, 1.0, 2.5, 10.0, 60.0])[:, None]
X = numpy.linspace(0.05, 3.0, 24)[None, :] * A + 0.1
P = numpy.linspace(0.02, 0.98, 25)

# function -> the arguments at which it is compared, and what is reached: relative in float64, relative in float32, and
# the absolute error that is allowed beside the relative one, for there are zeros (in float32 times 1e8).
CASES = {
    "erf": ((WIDE,), 2e-15, 1e-6, 0.0),
    "erfc": ((WIDE,), 1e-13, 1e-5, 1e-300),  # SciPy itself is 6e-14 off at 23
    "erfcx": ((WIDE[WIDE > -9],), 1e-12, 2e-5, 0.0),
    "erfinv": ((numpy.concatenate([UNIT, -UNIT]),), 1e-14, 1e-5, 0.0),
    "ndtr": ((WIDE,), 1e-13, 1e-5, 1e-300),
    "log_ndtr": ((WIDE[WIDE < 10],), 1e-13, 1e-5, 0.0),
    "ndtri": ((UNIT,), 1e-13, 2e-5, 1e-15),
    "expit": ((WIDE,), 2e-15, 1e-6, 1e-40),
    "logit": ((UNIT,), 1e-13, 1e-5, 1e-15),
    "log_expit": ((WIDE,), 1e-14, 1e-6, 1e-40),
    "gammaln": ((POSITIVE,), 1e-12, 1e-5, 1e-14),
    "gamma": ((POSITIVE[POSITIVE < 30],), 1e-12, 2e-5, 0.0),
    "psi": ((POSITIVE,), 1e-12, 1e-5, 1e-14),
    "betaln": ((POSITIVE[:203:5], POSITIVE[:203:5][::-1].copy()), 1e-11, 2e-5, 1e-14),
    "beta": ((POSITIVE[:203:5], POSITIVE[:203:5][::-1].copy()), 1e-11, 1e-4, 0.0),
    "gammainc": ((A, X), 1e-11, 1e-4, 1e-15),
    "gammaincc": ((A, X), 1e-11, 1e-4, 1e-15),
    "betainc": (
        (A[:, :, None], A[None, :, :] + 0.2, P[None, None, :].repeat(6, 0)[:, :1] + 0 * A[:, :, None]),
        1e-11,
        1e-3,
        1e-14,
    ),
    "chdtr": ((A + 1.0, X), 1e-11, 1e-4, 1e-15),
    "chdtrc": ((A + 1.0, X), 1e-11, 1e-4, 1e-15),
    "stdtr": ((A, numpy.linspace(-9.0, 9.0, 31)[None, :]), 1e-12, 1e-4, 0.0),
    "i0": ((WIDE[abs(WIDE) < 80],), 1e-13, 1e-5, 0.0),
    "i0e": ((WIDE,), 1e-13, 1e-5, 0.0),
    "i1": ((WIDE[abs(WIDE) < 80],), 1e-13, 1e-5, 1e-30),
    "i1e": ((WIDE,), 1e-13, 1e-5, 1e-30),
    "sinc": ((numpy.linspace(-5.0, 5.0, 101),), 1e-12, 1e-4, 1e-15),
    "xlogy": ((UNIT, UNIT[::-1].copy()), 1e-14, 1e-5, 0.0),
    "xlog1py": ((UNIT, UNIT[::-1].copy()), 1e-14, 1e-5, 0.0),
    "entr": ((POSITIVE,), 1e-14, 1e-5, 1e-15),
    "rel_entr": ((UNIT, UNIT[::-1].copy()), 1e-13, 1e-4, 1e-15),
    "kl_div": ((UNIT, UNIT[::-1].copy()), 1e-12, 1e-4, 1e-14),
}

# PyTorch's incomplete gamma functions are right to 1e-9 only where a is above 20.
LOOSER = {("torch", name): 1e-8 for name in ("gammainc", "gammaincc", "chdtr", "chdtrc")}


def asarray(values, dtype="float64"):
    return pn.asarray(numpy.array(values, dtype=dtype))


def close(found, wanted, rtol, atol=0.0):
    numpy.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # float32 underflows and overflows where it has to
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_scipy(name, dtype, backend):
    reference = pytest.importorskip("scipy.special")
    args, rtol, rtol32, atol = CASES[name]
    args = [numpy.asarray(x, dtype=dtype) for x in args]
    wanted = getattr(reference, name)(*[x.astype("float64") for x in args])
    found = getattr(special, name)(*[asarray(x, dtype) for x in args])
    assert found.dtype == getattr(pn, dtype) and found.backend == backend.name
    rtol = LOOSER.get((backend.name, name), rtol)
    if dtype == "float32":
        rtol, atol = rtol32, max(1e8 * atol, 1e-37)
    close(found.numpy(), wanted, rtol, atol)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_polygamma_is_scipys(n, backend):
    reference = pytest.importorskip("scipy.special")
    x = numpy.linspace(0.05, 40.0, 101)
    close(special.polygamma(n, asarray(x)).numpy(), reference.polygamma(n, x), 1e-11, 1e-14)


@pytest.mark.parametrize("name, rtol", [("gammaln", 1e-12), ("psi", 1e-11), ("gamma", 1e-11)])
def test_left_of_zero(name, rtol, backend):
    reference = pytest.importorskip("scipy.special")
    close(getattr(special, name)(asarray(LEFT)).numpy(), getattr(reference, name)(LEFT), rtol, 1e-14)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_generic_polygamma_left_of_zero(n):
    reference = pytest.importorskip("scipy.special")
    xp = library.namespace_of(LEFT)
    close(generic.polygamma(xp, n, LEFT), reference.polygamma(n, LEFT), 1e-12, 1e-11)  # even orders have zeros there


# Computed with 30 digits by quadrature, series and asymptotic series.
KNOWN = [
    ("erf", (0.5,), 0.520499877813046537683),
    ("erfc", (5.0,), 1.53745979442803485019e-12),
    ("erfc", (23.025,), 1.40386638656549806216e-232),
    ("erfcx", (1e6,), 5.64189583547474192149e-07),
    ("erfinv", (0.5,), 0.476936276204469873381),
    ("ndtri", (1e-300,), -37.0470962993611992365),
    ("log_ndtr", (-100.0,), -5005.52420869420508863),
    ("gammaln", (0.5,), 0.572364942924700087072),
    ("gammaln", (1e-10,), 23.0258509298827352373),
    ("gammaln", (1.0 + 2.0**-20,), -5.50475006614886679092e-07),
    ("gammaln", (-2.5,), -0.0562437164976740506726),
    ("psi", (1.0,), -0.577215664901532860607),
    ("psi", (0.25,), -4.22745353337626540809),
    ("gammainc", (2.0, 1.0), 0.264241117657115356809),
    ("gammainc", (10000.0, 9700.0), 0.00123417558446849199664),
    ("betainc", (2.0, 3.0, 0.5), 0.6875),
    ("betainc", (150.0, 250.0, 0.375), 0.503434844241621439329),
    ("betainc", (1e5, 0.25, 0.99999), 0.0679210051748762462206),
    ("betaln", (1e8, 0.5), -8.63797542780148264900),  # SciPy 1.17 is 1e-9 off here
    ("stdtr", (1.0, -1.0), 0.25),
    ("stdtr", (1e12, -9.0), 1.12858840785045887274e-19),
    ("i0", (1.0,), 1.26606587775200833560),
    ("i1", (30.0,), 768532038938.956999494),
]


@pytest.mark.parametrize("name, args, wanted", KNOWN)
def test_generic_kernels_give_known_numbers(name, args, wanted):
    args = [numpy.asarray(x) for x in args]
    close(getattr(generic, name)(library.namespace_of(args[0]), *args), wanted, 2e-13)


EXTREMES = [
    (special.erf, [-1e10, 1e10, math.inf, -math.inf], [-1.0, 1.0, 1.0, -1.0]),
    (special.erfc, [-1e10, 1e10, math.inf, -math.inf], [2.0, 0.0, 0.0, 2.0]),
    (special.erfinv, [-1.0, 0.0, 1.0, 1.5], [-math.inf, 0.0, math.inf, math.nan]),
    (special.ndtri, [0.0, 0.5, 1.0, -0.1], [-math.inf, 0.0, math.inf, math.nan]),
    (special.ndtr, [-1e10, 0.0, 1e10], [0.0, 0.5, 1.0]),
    (special.log_ndtr, [-1e10, 1e10], [-5e19, 0.0]),
    (special.expit, [-1000.0, 0.0, 1000.0], [0.0, 0.5, 1.0]),
    (special.log_expit, [-1000.0, 1000.0], [-1000.0, 0.0]),
    (special.logit, [0.0, 1.0, 0.5], [-math.inf, math.inf, 0.0]),
    (special.gammaln, [0.0, 1.0, 2.0, math.inf], [math.inf, 0.0, 0.0, math.inf]),
    (special.entr, [-1.0, 0.0, 1.0], [-math.inf, 0.0, 0.0]),
    (special.sinc, [0.0, 0.5, 3.0], [1.0, 2 / math.pi, 0.0]),
    (lambda x: special.xlogy(x, 0.0 * x), [0.0], [0.0]),
    (lambda x: special.xlogy(0.0, x), [-1.0, math.inf, math.nan], [0.0, 0.0, math.nan]),
    (lambda x: special.xlog1py(0.0, x), [-1.0, math.inf], [0.0, 0.0]),
    (lambda x: special.rel_entr(x, 1.0), [-1.0, 0.0, 1.0], [math.inf, 0.0, 0.0]),
    (lambda x: special.rel_entr(1.0, x), [0.0, -1.0], [math.inf, math.inf]),
    (lambda x: special.kl_div(0.0, x), [0.0, 2.0], [0.0, 2.0]),
    (lambda x: special.logsumexp(x), [-math.inf, -math.inf], -math.inf),
    (lambda x: special.logsumexp(x), [math.inf, 0.0], math.inf),
    (lambda x: special.logsumexp(x), [1000.0, 1000.0], 1000.0 + math.log(2.0)),
    (lambda x: special.softmax(x), [1000.0, 1000.0], [0.5, 0.5]),
    (lambda x: special.softmax(x, axis=0), [1000.0, -1000.0], [1.0, 0.0]),
    (lambda x: special.gammainc(2.0, x), [0.0, 1e9], [0.0, 1.0]),
    (lambda x: special.gammaincc(2.0, x), [0.0, 1e9], [1.0, 0.0]),
    (lambda x: special.chdtrc(2.0, x), [-1.0, 0.0], [1.0, 1.0]),
    (lambda x: special.betainc(2.0, 3.0, x), [0.0, 1.0], [0.0, 1.0]),
    (lambda x: special.stdtr(3.0, x), [-1e30, 0.0, 1e30], [0.0, 0.5, 1.0]),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("function, x, wanted", EXTREMES)
def test_values_at_the_extremes(function, x, wanted, dtype, backend):
    found = function(asarray(x, dtype)).numpy()
    close(found, numpy.asarray(wanted), 1e-12 if dtype == "float64" else 1e-6, 1e-15 if dtype == "float64" else 1e-6)


SLOPES = [
    (special.erf, [-1e10, 0.0, 1e10], [0.0, 2 / math.sqrt(math.pi), 0.0]),
    (special.erfc, [-1e10, 1e10], [0.0, 0.0]),
    (special.ndtr, [-1e10, 1e10], [0.0, 0.0]),
    (special.log_ndtr, [-1e6, -1.0, 1e6], [1e6, 1.5251352761609812, 0.0]),
    (special.expit, [-1000.0, 0.0, 1000.0], [0.0, 0.25, 0.0]),
    (special.log_expit, [-1000.0, 0.0, 1000.0], [1.0, 0.5, 0.0]),
    (special.entr, [0.0, 1.0], [0.0, -1.0]),
    (special.sinc, [0.0, 1e-8, 1.0], [0.0, -1e-8 * math.pi**2 / 3, -1.0]),
    (special.i0, [0.0], [0.0]),
    (special.i0e, [0.0, 1e6], [0.0, -0.5 * 1e-9 / math.sqrt(2 * math.pi)]),
    (special.i1, [0.0], [0.5]),
    (special.i1e, [0.0], [0.5]),
    (lambda x: special.xlogy(x, 3.0), [0.0], [math.log(3.0)]),
    (lambda x: special.xlogy(x, 0.0), [0.0], [0.0]),
    (lambda x: special.xlogy(0.0, x), [0.0, 2.0], [0.0, 0.0]),
    (lambda x: special.xlog1py(0.0, x), [-1.0], [0.0]),
    (lambda x: special.rel_entr(0.0, x), [0.0, 2.0], [0.0, 0.0]),
    (lambda x: special.rel_entr(2.0, x), [2.0], [-1.0]),
    (lambda x: special.kl_div(x, 2.0), [2.0], [0.0]),
    (special.logsumexp, [-math.inf, -math.inf], [0.0, 0.0]),
    (special.logsumexp, [-math.inf, 0.0], [0.0, 1.0]),
    (special.logsumexp, [math.inf, 0.0], [1.0, 0.0]),
    (special.logsumexp, [1000.0, 1000.0], [0.5, 0.5]),
    (lambda x: special.logsumexp(x, axis=0), [3.0, 3.0], [0.5, 0.5]),
    (lambda x: special.gammainc(1.0, x), [0.0], [1.0]),
    (lambda x: special.gammainc(3.0, x), [0.0], [0.0]),
    (lambda x: special.betainc(1.0, 1.0, x), [0.0, 1.0], [1.0, 1.0]),
    (lambda x: special.chdtrc(2.0, x), [-1.0, 0.0], [0.0, -0.5]),
    (lambda x: special.stdtr(1.0, x), [0.0, -1e6], [1 / math.pi, 1e-12 / math.pi]),
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("function, x, wanted", SLOPES)
def test_gradients_at_the_extremes(function, x, wanted, backend):
    x = asarray(x).requires_grad_()
    pn.sum(function(x)).backward()
    close(x.grad.numpy(), wanted, 1e-6, 1e-18)


@pytest.mark.parametrize(
    "function, parameter",
    [
        (lambda a: special.gammainc(a, 1.0), "a"),
        (lambda a: special.gammaincc(a, 1.0), "a"),
        (lambda a: special.betainc(a, 1.0, 0.5), "a"),
        (lambda b: special.betainc(1.0, b, 0.5), "b"),
        (lambda df: special.stdtr(df, 1.0), "df"),
    ],
)
def test_derivatives_that_are_not_elementary_are_refused(function, parameter):
    x = asarray([2.0]).requires_grad_()
    y = function(x)
    with pytest.raises(NotImplementedError, match=rf"respect to {parameter} .*{parameter}\.detach\(\)"):
        y.backward()


def test_numbers_whole_numbers_and_mixed_dtypes(backend):
    assert special.erf(pn.asarray([0, 1])).dtype == pn.float32
    assert special.xlogy(2, asarray([3.0], "float32")).dtype == pn.float32
    assert special.xlogy(asarray([2.0], "float32"), asarray([3.0])).dtype == pn.float64
    assert special.betaln(asarray([[1.0], [2.0]]), asarray([1.0, 2.0, 3.0])).shape == (2, 3)
    assert special.erf(asarray(0.5)).shape == () and special.erf(asarray(numpy.zeros((0, 2)))).shape == (0, 2)


def test_bad_arguments_are_named():
    x = pn.asarray([1.0])
    with pytest.raises(TypeError, match=r"erf: expected an array or a number, saw str"):
        special.erf("x")
    with pytest.raises(TypeError, match=r"xlogy: expected at least one array"):
        special.xlogy(1.0, 2.0)
    with pytest.raises(TypeError, match=r"gammaln is for real numbers"):
        special.gammaln(pn.asarray([1j]))
    with pytest.raises(TypeError, match=r"n must be one whole number, saw 1\.5"):
        special.polygamma(1.5, x)
    with pytest.raises(ValueError, match=r"0 or more, saw -1"):
        special.polygamma(-1, x)


def test_nan_stays_nan(backend):
    x = asarray([math.nan])
    for name in (
        "erf",
        "erfc",
        "erfcx",
        "erfinv",
        "ndtri",
        "log_ndtr",
        "expit",
        "logit",
        "log_expit",
        "gammaln",
        "psi",
        "gamma",
    ):
        assert math.isnan(getattr(special, name)(x).item()), name
    for name in ("i0", "i0e", "i1", "i1e", "sinc", "entr", "logsumexp"):
        assert math.isnan(getattr(special, name)(x).item()), name


def test_without_scipy_the_generic_kernels_serve(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    xp = library.Library(library.namespace_of(numpy.ones(1)).namespace)
    found = xp.erf(numpy.asarray([0.5], dtype="float32"))
    assert found.dtype == numpy.float32
    close(found, [0.5204998778], 1e-6)
    with pytest.raises(AttributeError, match="no_such_kernel"):
        _ = xp.no_such_kernel


# ---------------------------------------------------------------------------------------------------------------------
# SciPy's own functions, called with Tensors.


def _pearson(stats, x):
    y = asarray([1.0, 3.0, 2.0, 5.0, 4.0])
    return stats.pearsonr(x, y).statistic


SCIPY = {
    "special.logsumexp": lambda scipy, x: scipy.special.logsumexp(x),
    "special.softmax": lambda scipy, x: scipy.special.softmax(x),
    "special.log_softmax": lambda scipy, x: scipy.special.log_softmax(x),
    "special.erf": lambda scipy, x: scipy.special.erf(x),
    "special.erfinv": lambda scipy, x: scipy.special.erfinv(0.5 * x),
    "special.expit": lambda scipy, x: scipy.special.expit(x),
    "special.logit": lambda scipy, x: scipy.special.logit(0.5 * x),
    "special.ndtr": lambda scipy, x: scipy.special.ndtr(x),
    "special.ndtri": lambda scipy, x: scipy.special.ndtri(0.5 * x),
    "special.log_ndtr": lambda scipy, x: scipy.special.log_ndtr(x),
    "special.gammaln": lambda scipy, x: scipy.special.gammaln(x),
    "special.gammainc": lambda scipy, x: scipy.special.gammainc(2.0 + 0.0 * x.detach(), x),
    "special.betainc": lambda scipy, x: scipy.special.betainc(2.0 + 0.0 * x.detach(), 3.0 + 0.0 * x.detach(), 0.5 * x),
    "special.chdtrc": lambda scipy, x: scipy.special.chdtrc(3.0 + 0.0 * x.detach(), x),
    "special.stdtr": lambda scipy, x: scipy.special.stdtr(3.0 + 0.0 * x.detach(), x),
    "special.xlogy": lambda scipy, x: scipy.special.xlogy(x, x),
    "special.entr": lambda scipy, x: scipy.special.entr(x),
    "special.rel_entr": lambda scipy, x: scipy.special.rel_entr(x, x * x),
    "special.kl_div": lambda scipy, x: scipy.special.kl_div(x, x * x),
    "special.i0e": lambda scipy, x: scipy.special.i0e(x),
    "stats.entropy": lambda scipy, x: scipy.stats.entropy(x),
    "stats.gmean": lambda scipy, x: scipy.stats.gmean(x),
    "stats.skew": lambda scipy, x: scipy.stats.skew(x),
    "stats.kurtosis": lambda scipy, x: scipy.stats.kurtosis(x),
    "stats.zscore": lambda scipy, x: scipy.stats.zscore(x),
    "stats.pearsonr": lambda scipy, x: _pearson(scipy.stats, x),
    "stats.ttest_1samp": lambda scipy, x: scipy.stats.ttest_1samp(x, 0.3).pvalue,
    "stats.ttest_ind": lambda scipy, x: scipy.stats.ttest_ind(x, x * x + 0.3).pvalue,
    "stats.power_divergence": lambda scipy, x: scipy.stats.power_divergence(x, x.detach() * 0 + pn.mean(x)).pvalue,
    "stats.jarque_bera": lambda scipy, x: scipy.stats.jarque_bera(x).pvalue,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCIPY)
def test_scipys_functions_of_a_tensor_differentiate(name):
    pytest.importorskip("scipy", minversion="1.16")
    import scipy.special
    import scipy.stats

    x = asarray(samples.real(5))
    report = pn.testing.check_gradient(lambda x: SCIPY[name](scipy, x), x, verbose=False)
    assert report.order > 1.8
    assert isinstance(SCIPY[name](scipy, x), pn.Tensor)
    # not flat: a lost gradient would be of order 2 where the function does not change
    assert report.without[0] > 1e-6
