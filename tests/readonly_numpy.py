"""NumPy whose arrays cannot be written to: finds code that edits arrays which it did not make."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import array_api_compat.numpy as namespace
import numpy

from portanet import library


class ReadOnlyNamespace:
    """The namespace of NumPy, except that what its functions return is frozen, unless a copy was asked for."""

    __name__ = "numpy_readonly"

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        if name in ("linalg", "fft") and not callable(found):  # the module fft, not the function in it
            return ReadOnlyNamespace(found)
        if isinstance(found, type) or not callable(found):
            return found

        @functools.wraps(found)
        def frozen(*args: Any, **options: Any) -> Any:
            result = found(*args, **options)
            return result if options.get("copy") else _frozen(result)

        return frozen


def _frozen(result: Any) -> Any:
    if isinstance(result, numpy.ndarray):
        view = result.view()
        view.flags.writeable = False
        return view
    if type(result) in (tuple, list):
        return type(result)([_frozen(one) for one in result])
    return result


_library = library.Library(ReadOnlyNamespace(namespace))


@contextlib.contextmanager
def active() -> Iterator[library.Library]:
    """Within this block every NumPy array belongs to the read-only library."""
    before = library.namespace_of(numpy.ones(1))
    try:
        library.libraries[numpy.ndarray] = library.namespaces[numpy.ndarray] = _library
        yield _library
    finally:
        library.libraries[numpy.ndarray] = library.namespaces[numpy.ndarray] = before
