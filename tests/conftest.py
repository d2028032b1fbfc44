"""Every test that asks for the fixture `backend` runs once on each backend that is installed here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Before any of the libraries is imported: float64 in JAX, array API dispatch in SciPy, the OpenCL driver for dpnp.
os.environ.setdefault("JAX_ENABLE_X64", "1")
# JAX compiles each operation anew for each shape: quick compiling, not quick code, is what small tests need.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
os.environ.setdefault("SCIPY_ARRAY_API", "1")
_opencl = Path(sys.prefix) / "lib" / "libintelocl.so"
if _opencl.exists():
    os.environ.setdefault("OCL_ICD_FILENAMES", str(_opencl))

import numpy  # noqa: E402
import pytest  # noqa: E402

import portanet  # noqa: E402
from portanet import library  # noqa: E402
from tests import readonly_numpy  # noqa: E402

# name in the test's id -> (importable module, what it is)
BACKENDS = {
    "numpy": "numpy",
    "numpy_readonly": "numpy",  # every array that the library hands out refuses to be written to
    "array_api_strict:device1": "array_api_strict",  # a device that is not the host: finds what a GPU would
    "array_api_strict:strictest": "array_api_strict",  # no extensions, no data-dependent shapes, no boolean masks
    "torch": "torch",
    "jax": "jax",
    "dpnp": "dpnp",
    "cupy": "cupy",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        metavar="NAME[:DEVICE]",
        help="run on this backend alone (may be given several times); default: on every one that is installed",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(feature): linalg, fft, boolean_indexing or data_dependent_shapes")
    config.addinivalue_line("markers", "heavy: too slow for dpnp's OpenCL on the CPU")
    config.addinivalue_line("markers", "eager: too slow where each new shape is compiled: dpnp and JAX")


@pytest.fixture(scope="module", autouse=True)
def programs_are_forgotten() -> Iterator[None]:
    """JAX keeps each program that it compiled: over the whole suite that would be gigabytes."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", _chosen(metafunc.config), indirect=True)


def _chosen(config: pytest.Config) -> list[object]:
    asked = config.getoption("--backend")
    return [name if _why_not(name) is None else _skipped(name) for name in asked or BACKENDS]


def _why_not(name: str) -> str | None:
    module = BACKENDS.get(name, name.partition(":")[0])
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed"
    if module in ("cupy", "dpnp"):
        info = portanet.available_backends()[module] if module == "cupy" else portanet.backend._info(module)
        return info.reason
    return None


def _skipped(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.skip(reason=str(_why_not(name))))


@pytest.fixture
def backend(request: pytest.FixtureRequest):
    """The backend that this run of the test is for; it is the current one until the test ends."""
    name = request.param
    with contextlib.ExitStack() as stack:
        if name == "numpy_readonly":
            stack.enter_context(readonly_numpy.active())
            stack.enter_context(portanet.use_backend(library.libraries[numpy.ndarray]))
        elif name == "array_api_strict:strictest":
            stack.enter_context(_strictest(request))
            stack.enter_context(portanet.use_backend("array_api_strict"))
        else:
            if name == "dpnp" and request.node.get_closest_marker("heavy"):
                pytest.skip("too slow for dpnp's OpenCL on the CPU")
            if name in ("dpnp", "jax") and request.node.get_closest_marker("eager"):
                pytest.skip("too slow where each new shape is compiled; the rules are the same code on every backend")
            stack.enter_context(portanet.use_backend(name))
        yield portanet.get_backend()


def _strictest(request: pytest.FixtureRequest) -> contextlib.AbstractContextManager[object]:
    from array_api_strict import ArrayAPIStrictFlags

    for mark in request.node.iter_markers("needs"):
        pytest.skip(f"needs {mark.args[0]}, which is switched off here")
    return ArrayAPIStrictFlags(
        api_version="2025.12", boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=()
    )


@pytest.fixture(autouse=True)
def _unchanged_defaults():
    """A test must not leave another backend or dtype behind."""
    before = portanet.get_backend()
    yield
    assert portanet.get_backend() == before, "this test changed the backend for all that follow"
