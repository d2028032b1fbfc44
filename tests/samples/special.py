"""Samples of the rules of special functions."""

from __future__ import annotations

import numpy

from portanet import special as sp
from tests.samples import Sample, real, signed

_ANYWHERE = ["erf", "erfc", "erfcx", "log_ndtr", "log_expit", "i0", "i0e", "i1", "i1e"]

SAMPLES = [
    *[Sample(name, getattr(sp, name), (signed(3, 4),)) for name in _ANYWHERE],
    *[
        Sample(name, getattr(sp, name), (5 * signed(3, 4),), "farther out")
        for name in ["log_ndtr", "log_expit", "i0e", "i1e"]
    ],
    Sample("erfinv", sp.erfinv, (signed(3, 4),)),
    Sample("ndtri", sp.ndtri, (real(3, 4),)),
    Sample("logit", sp.logit, (real(3, 4),)),
    *[Sample(name, getattr(sp, name), (real(3, 4, low=0.4, high=5.0),)) for name in ["gamma", "gammaln", "psi"]],
    *[Sample(name, getattr(sp, name), (-1 - real(5),), "left of 0") for name in ["gamma", "gammaln"]],
    Sample("polygamma", lambda x: sp.polygamma(1, x), (real(3, 4, low=0.4, high=5.0),)),
    Sample("polygamma", lambda x: sp.polygamma(4, x), (real(3, low=0.7, high=3.0),), "fourth"),
    Sample("betaln", sp.betaln, (real(3, 4, low=0.4, high=15.0), real(4, low=0.4, high=15.0, seed=1)), "broadcast"),
    Sample("gammainc", lambda x: sp.gammainc(1.7, x), (real(3, 4, high=5.0),)),
    Sample("gammaincc", lambda x: sp.gammaincc(1.7, x), (real(3, 4, high=5.0),)),
    Sample("betainc", lambda x: sp.betainc(1.7, 2.6, x), (real(3, 4),)),
    Sample("stdtr", lambda t: sp.stdtr(3.5, t), (3 * signed(3, 4),)),
    Sample("logsumexp", lambda x: sp.logsumexp(x, axis=1), (signed(3, 4),), "an axis"),
    Sample("logsumexp", lambda x: sp.logsumexp(x, axis=(0, -1), keepdims=True), (signed(2, 3, 2),), "two axes kept"),
    Sample("logsumexp", sp.logsumexp, (signed(3, 4),), "all"),
    # composed of other rules
    Sample("erfc", sp.ndtr, (signed(3, 4),), "ndtr"),
    Sample("betaln", sp.beta, (real(4, low=0.4, high=2.0), real(4, low=0.4, high=2.0, seed=1)), "beta"),
    Sample("gammainc", lambda x: sp.chdtr(3.0, x), (real(3, 4, high=5.0),), "chdtr"),
    Sample("gammaincc", lambda x: sp.chdtrc(3.0, x), (real(3, 4, high=5.0),), "chdtrc"),
    Sample("log", sp.xlogy, (real(3, 4), real(4, seed=1)), "xlogy"),
    Sample("log1p", sp.xlog1py, (real(3, 4), real(4, seed=1)), "xlog1py"),
    Sample("log", sp.entr, (real(3, 4),), "entr"),
    Sample("log", sp.rel_entr, (real(3, 4), real(4, seed=1)), "rel_entr"),
    Sample("log", sp.kl_div, (real(3, 4), real(4, seed=1)), "kl_div"),
    Sample("sin", sp.sinc, (numpy.asarray([-2.3, -0.1, 0.0, 1e-9, 0.2, 1.7]),), "sinc"),
    Sample("exp", lambda x: sp.softmax(x, axis=(0, 1)), (signed(2, 3),), "softmax over two axes"),
    Sample("logsumexp", lambda x: sp.log_softmax(x), (signed(2, 3),), "log_softmax over all"),
    Sample("i1", sp.i1, (numpy.asarray([0.0]),), "at 0"),
]
