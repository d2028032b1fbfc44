"""Kernels of a library beside the generic ones: the same arguments, and nearly the same numbers."""

from __future__ import annotations

import functools
from typing import Any

import numpy

import portanet as pn
from portanet.kernels import generic
from portanet.library import to_numpy

REAL = ("float32", "float64")


def rng_of(*what: object) -> numpy.random.Generator:
    return numpy.random.default_rng(sum(map(ord, str(what))))


def raw(x: Any) -> Any:
    """A NumPy array as a raw one of the current backend; None, numbers and sequences of arrays likewise."""
    if isinstance(x, (list, tuple)):
        return type(x)([raw(one) for one in x])
    return pn.asarray(x).array if isinstance(x, numpy.ndarray) else x


def assert_alike(found: Any, wanted: Any, dtype: str) -> None:
    """Two results of kernels, or sequences of them with None in the same places."""
    if isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_alike(one, other, dtype)
    elif wanted is None:
        assert found is None
    else:
        one, other = to_numpy(found), to_numpy(wanted)
        assert one.dtype == dtype
        assert one.shape == other.shape
        tolerance = 2e-5 if dtype == "float32" else 1e-11
        largest = float(numpy.abs(other).max(initial=1.0))
        numpy.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * largest)


def twins(backend: Any, name: str, args: Any, dtype: str, **options: Any) -> Any:
    """The library's own kernel and the generic one on the same arguments, which neither writes to; the former's result."""
    given = raw(args)
    found = getattr(backend.library, name)(*given, **options)
    assert_alike(found, getattr(generic, name)(backend.library, *given, **options), dtype)
    for after, before in zip(given, args, strict=True):
        if isinstance(before, numpy.ndarray):
            numpy.testing.assert_array_equal(to_numpy(after), before)
    return [None if one is None else to_numpy(one) for one in found] if isinstance(found, tuple) else to_numpy(found)


class Definitions:
    """The generic kernels as a library has its own."""

    def __init__(self, library: Any) -> None:
        self.library = library

    def __getattr__(self, name: str) -> Any:
        return functools.partial(getattr(generic, name), self.library)
