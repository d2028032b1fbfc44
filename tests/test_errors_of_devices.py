"""Errors as a user meets them: a backend that lacks something, arrays in two places, and memory that is used up."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import subprocess
import sys
import weakref
from pathlib import Path

import numpy
import pytest

import portanet as pn
from portanet import data, library, memory, nn, optim

F = nn.functional
ROOT = Path(__file__).resolve().parents[1]

# ---------------------------------------------------------------------------------------------------------------------
# CuPy that lacks something, each case in a process of its own. Where this machine does not have the case, it is
# pretended: by modules that are hidden, and by functions of CuPy's runtime and of cuda.pathfinder that are replaced.

ASKED = """
import portanet
reason = portanet.available_backends()["cupy"].reason
try:
    portanet.set_backend("cupy")
except (ImportError, RuntimeError) as problem:
    assert str(problem) == reason, (problem, reason)
    print(type(problem).__name__, reason)
else:
    print("available", reason)
"""
RUNTIME = """
import cupy
runtime = cupy.cuda.runtime
def fails(name):
    def raising(*args):
        error = runtime.CUDARuntimeError.__new__(runtime.CUDARuntimeError)
        RuntimeError.__init__(error, name)
        raise error
    return raising
runtime.driverGetVersion = lambda: {driver}
runtime.getDeviceCount = {count}
"""
FOUND = """
from cuda import pathfinder
def found(name, hidden={hidden!r}):
    if name == hidden:
        raise pathfinder.DynamicLibNotFoundError("a page of places\\nwhere it is not")
    return object()
pathfinder.load_nvidia_dynamic_lib = found
pathfinder.find_nvidia_header_directory = lambda name: None if {hidden!r} == "headers" else "/include"
"""
DOUBLED = """
from importlib import metadata
version = metadata.version
metadata.version = lambda name: "14.2.0" if name in ("cupy-cuda12x", "cupy-cuda13x") else version(name)
"""
needs_cupy = pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="cupy is not installed")


def told(*pretended: str) -> str:
    """What `set_backend("cupy")` says in a new process where these statements came first."""
    script = "\n".join([*pretended, ASKED])
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stderr
    text = run.stdout.strip()
    assert "\n" not in text and len(text) < 500, "one sentence or two, no page"
    return text


def test_cupy_that_is_not_installed_is_said_with_the_pip_line():
    text = told("import sys", "sys.modules['cupy'] = None")
    assert text.startswith(
        "ImportError backend 'cupy' is not installed; install it with: pip install 'portanet[cuda13]'"
    )
    assert "'portanet[cuda12]'" in text


@needs_cupy
def test_cupy_that_does_not_import_is_not_said_to_be_missing():
    text = told("import sys", "sys.modules['cupy._core'] = None")
    assert text.startswith("ImportError backend 'cupy' is installed but does not import: ")
    assert "cupy._core" in text and "pip install 'portanet[cuda13]'" in text
    text = told("import sys", "sys.modules['cupy_backends'] = None")
    assert text.startswith("ImportError backend 'cupy' is installed but does not import: ")


@needs_cupy
def test_cupy_here_tells_the_truth():
    """No pretending: a machine without a driver says so, one with a GPU has it."""
    import cupy

    text = told()
    if cupy.cuda.runtime.driverGetVersion() == 0:
        assert text.startswith("RuntimeError backend 'cupy' finds no NVIDIA driver; install the driver")
    else:
        assert "finds no NVIDIA driver" not in text


@needs_cupy
@pytest.mark.parametrize(
    ("driver", "count", "expected"),
    [
        ("0", "fails('cudaErrorInsufficientDriver: too old')", "finds no NVIDIA driver; install"),
        ("13020", "fails('cudaErrorNoDevice: no device')", "finds a driver but no GPU; see whether nvidia-smi"),
        ("13020", "lambda: 0", "finds a driver but no GPU; see whether nvidia-smi"),
        ("12080", "fails('cudaErrorInsufficientDriver: too old')", "finds a driver for CUDA 12.8, which is older than"),
        ("13020", "fails('cudaErrorSystemNotReady: broken')", "finds a driver but no usable GPU (cudaErrorSystemNot"),
    ],
)
def test_driver_and_gpu_are_told_apart(driver, count, expected):
    text = told(RUNTIME.format(driver=driver, count=count), FOUND.format(hidden=""))
    assert text.startswith(f"RuntimeError backend 'cupy' {expected}")
    assert "use set_backend('numpy')" in text


@needs_cupy
@pytest.mark.parametrize(
    ("hidden", "part"),
    [
        ("nvrtc", "nvrtc (the compiler of kernels)"),
        ("cublas", "cublas (products of matrices)"),
        ("cublasLt", "cublasLt (products of matrices)"),
        ("headers", "the headers of cudart (cuda_fp16.h)"),
    ],
)
@pytest.mark.parametrize("major", [12, 13])
def test_the_part_of_the_toolkit_that_is_missing_is_named(hidden, part, major):
    version = f"runtime.runtimeGetVersion = lambda: {1000 * major + 20}"
    text = told(RUNTIME.format(driver="13020", count="lambda: 1"), version, FOUND.format(hidden=hidden))
    line = f"pip install 'portanet[cuda{major}]'"
    assert text == f"RuntimeError backend 'cupy' lacks a part of the CUDA toolkit, {part}; install it with: {line}"


@needs_cupy
def test_two_cupy_packages_at_once_are_named():
    text = told(DOUBLED, RUNTIME.format(driver="0", count="lambda: 0"))
    assert "finds no NVIDIA driver" in text
    assert "2 CuPy packages are installed, cupy-cuda12x 14.2.0 and cupy-cuda13x 14.2.0" in text
    assert "pip uninstall all of them" in text


# ---------------------------------------------------------------------------------------------------------------------
# An array of the host that meets one of the device.


@pytest.fixture
def host(backend):
    """Ones of the host, as a Tensor of NumPy's, by shape; the backend is another library."""
    if library.is_host(pn.ones(1).array):
        pytest.skip("this is the host's library")
    return lambda *shape: pn.Tensor(numpy.ones(shape, "float32"))


def trained_with(host, optimizer):
    w = pn.ones(3).requires_grad_()
    made = optimizer([w], lr=0.1)
    w.grad = host(3)
    made.step()


WHOLE = {"dtype": pn.int64}
MIXED = {
    "+": lambda host: pn.ones(3) + host(3),
    "+ on the right": lambda host: host(3) + pn.ones(3),
    "raw": lambda host: pn.ones(3) * host(3).array,
    "comparing": lambda host: pn.ones(3) > host(3),
    "@": lambda host: pn.ones((2, 3)) @ host(3, 2),
    "function": lambda host: pn.concat([pn.ones(3), host(3)]),
    "where": lambda host: pn.where(pn.ones(3) > 0, pn.ones(3), host(3)),
    "index": lambda host: pn.ones(3)[pn.Tensor(numpy.asarray([0, 1]))],
    "write": lambda host: pn.zeros(3).__setitem__(slice(None), host(3)),
    "Linear": lambda host: nn.Linear(3, 2)(host(4, 3)),
    "Conv1d": lambda host: nn.Conv1d(3, 2, 1)(host(1, 3, 4)),
    "BatchNorm1d": lambda host: nn.BatchNorm1d(3)(host(4, 3)),
    "LayerNorm": lambda host: nn.LayerNorm(3)(host(4, 3)),
    "LSTM": lambda host: nn.LSTM(3, 2)(host(4, 1, 3)),
    "Embedding": lambda host: nn.Embedding(5, 2)(pn.Tensor(numpy.asarray([0, 1]))),
    "attention": lambda host: nn.MultiheadAttention(4, 2)(host(3, 1, 4), host(3, 1, 4), host(3, 1, 4)),
    "mse_loss": lambda host: F.mse_loss(pn.ones(3), host(3)),
    "cross_entropy": lambda host: F.cross_entropy(pn.ones((2, 3)), pn.Tensor(numpy.asarray([0, 1]))),
    "binary_cross_entropy": lambda host: F.binary_cross_entropy(pn.ones(3) / 2, host(3)),
    "backward": lambda host: pn.ones(3).requires_grad_().__mul__(2).backward(host(3)),
    "SGD": lambda host: trained_with(host, optim.SGD),
    "Adam": lambda host: trained_with(host, optim.Adam),
    "items of a batch": lambda host: list(data.DataLoader([pn.ones(3), host(3)], batch_size=2)),
    "accuracy": lambda host: pn.metrics.accuracy(pn.ones((2, 3)), pn.Tensor(numpy.asarray([0, 1]))),
}


@pytest.mark.parametrize("name", MIXED)
def test_an_array_of_the_host_is_refused_with_the_way_out(name, host, backend):
    with pytest.raises((TypeError, ValueError)) as caught:
        MIXED[name](host)
    text = str(caught.value)
    assert "numpy" in text and backend.name in text and "(" in text and ".to(" in text, text


@pytest.mark.parametrize("name", ["+", "function", "Linear", "mse_loss", "SGD"])
def test_an_array_on_another_device_is_refused_with_the_way_out(name):
    pytest.importorskip("array_api_strict")
    with pn.use_backend("array_api_strict:device1"):

        def other(*shape):
            return pn.ones(shape, device="CPU_DEVICE")

        with pytest.raises(TypeError, match=r"CPU_DEVICE.*device1|device1.*CPU_DEVICE") as caught:
            MIXED[name](other)
    assert ".to" in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# Memory that is used up.

LARGE = 2**25


def large():
    """A view of one number as LARGE x LARGE numbers: any result of that shape is 4 PiB."""
    return pn.broadcast_to(pn.ones(()), (LARGE, LARGE))


@pytest.fixture
def lazy_views(backend):
    if backend.name in ("jax", "cupy"):
        pytest.skip("a view of its own takes memory, or the GPU says it by another test")
    return backend


WANTED = {
    "ones": lambda: pn.ones((LARGE, LARGE)),
    "zeros": lambda: pn.zeros((LARGE, LARGE, 2**20)),
    "full": lambda: pn.full((LARGE, LARGE), 2.0),
}
COMPUTED = {
    "add": lambda: large() + 1.0,
    "multiply": lambda: 2.0 * large(),
    "negative": lambda: -large(),
    "exp": lambda: pn.exp(large()),
    "greater": lambda: large() > 0,
    "concat": lambda: pn.concat([large(), large()]),
}


@pytest.mark.parametrize("name", ["ones", "full"])
def test_what_cannot_be_made_says_how_much_it_is(name, backend):
    with pytest.raises(pn.OutOfMemoryError) as caught:
        WANTED[name]()
    problem = caught.value
    assert isinstance(problem, MemoryError) and problem.operation == name
    assert problem.asked in (2**52, 0)  # 0: dpnp does not tell
    assert f"{__file__}:" in str(problem) and "smaller batch" in str(problem)
    assert pn.ones(2).tolist() == [1.0, 1.0]  # and on it goes


@pytest.mark.parametrize("name", COMPUTED)
def test_what_cannot_be_computed_says_of_what(name, lazy_views):
    with pytest.raises(pn.OutOfMemoryError) as caught:
        COMPUTED[name]()
    assert caught.value.asked == 0 or caught.value.asked >= 2**50
    assert caught.value.operation and caught.value.layer == ""


def watched(x):
    """A weak reference to the array of ``x``: dead when nobody holds it."""
    try:
        return weakref.ref(x.array)
    except TypeError:
        pytest.skip("this library's arrays cannot be watched")


class Greedy(nn.Module):
    """Computes exp(x), which a test watches, and then wants 4 PiB."""

    def forward(self, x):
        y = pn.exp(x)
        self.__dict__["seen"] = watched(y)
        return pn.sum(y) * pn.exp(large())


def step(model, x):
    return model(x)


def test_the_layer_is_named_and_lets_go_of_what_it_held(lazy_views):
    model = nn.Sequential(nn.Identity(), nn.Sequential(Greedy()))
    gc.disable()
    try:
        with pytest.raises(pn.OutOfMemoryError) as caught:
            step(model, pn.ones(3).requires_grad_())
        assert caught.value.layer == "Greedy '1.0'" and caught.value.operation == "exp"
        assert model[1][0].seen() is None, "the error holds the frames of the layers, and they its arrays"
        frames = [entry.name for entry in caught.traceback]
        assert frames[-3:-1] == ["step", "__call__"] and "forward" not in frames
    finally:
        gc.enable()


class Wide(pn.autograd.Function):
    """The identity, whose way back wants 4 PiB."""

    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        return g * pn.ones((LARGE, LARGE))


def test_the_way_back_lets_go_of_the_graph(backend):
    w = pn.ones(3).requires_grad_()
    y = pn.exp(w)
    seen = watched(y)
    loss = pn.sum(Wide.apply(y))
    del y
    gc.disable()
    try:
        with pytest.raises(pn.OutOfMemoryError, match="^ones, backward of Wide: "):
            loss.backward()
        assert seen() is None
    finally:
        gc.enable()
    assert w.grad is None
    pn.sum(w * w).backward()  # a smaller one, right after
    assert w.grad.tolist() == [2.0, 2.0, 2.0]


def test_the_rule_that_wanted_memory_is_named(backend, monkeypatch):
    from portanet import vjps

    def greedy(xp, g, y):
        raise MemoryError

    w = pn.ones(3).requires_grad_()
    loss = pn.sum(pn.exp(w))
    monkeypatch.setattr(vjps.rule("exp"), "vjps", (lambda xp, g, y, x: greedy(xp, g, y),))
    with pytest.raises(pn.OutOfMemoryError, match=f"backward of exp: there is no memory.*{__name__.split('.')[-1]}"):
        loss.backward()
    with pytest.raises(RuntimeError, match="freed"):  # nothing was kept for a second try
        loss.backward()


def test_an_optimizer_that_finds_no_memory_says_so(backend, monkeypatch):
    w = pn.ones(3).requires_grad_()
    optimizer = optim.Adam([w])
    w.grad = pn.ones(3)

    def greedy(*args, **options):
        raise MemoryError

    monkeypatch.setattr(optimizer, "_update", lambda xp: greedy)
    with pytest.raises(pn.OutOfMemoryError) as caught:
        optimizer.step()
    assert caught.value.operation == "Adam.step"


def test_memory_in_use_is_told_where_it_is_known(monkeypatch):
    here = library.namespace_of(numpy.ones(1))
    monkeypatch.setattr(here, "memory_in_use", lambda: (3 * 2**29, 2**31), raising=False)
    found = memory.exhausted("matmul", MemoryError(), [here])
    assert "1.5 GiB of 2 GiB are in use" in str(found) and (found.in_use, found.total) == (3 * 2**29, 2**31)


def test_other_errors_are_left_as_they_are(backend):
    with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
        pn.ones((2, 3)) + pn.ones((4, 5))
    assert not isinstance(caught.value, MemoryError)


def test_an_error_of_an_operation_does_not_hold_its_arrays():
    """Not by a cycle, in any case, which would last until the garbage collector comes."""
    x = pn.ones((2, 3))
    seen = weakref.ref(x.array)
    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            x + pn.ones((4, 5))
        del x
        assert seen() is None
    finally:
        gc.enable()


@pytest.fixture
def one_gibibyte(backend):
    """CuPy's pool, which refuses to hold more: that is told as a full GPU is, and takes no time."""
    if backend.name != "cupy":
        pytest.skip("limits CuPy's memory")
    import cupy

    pool = cupy.get_default_memory_pool()
    gc.collect()
    pool.free_all_blocks()
    limit = pool.get_limit()
    pool.set_limit(size=pool.used_bytes() + 2**30)
    yield pool
    pool.set_limit(size=limit)


@pytest.mark.parametrize("rows", [2**16, 3 * 2**15])
def test_after_a_batch_too_large_a_smaller_one_is_trained_on_a_gpu(rows, one_gibibyte):
    model = nn.Sequential(nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024))
    optimizer = optim.Adam(model.parameters())

    def train(rows):
        optimizer.zero_grad()
        loss = pn.mean(model(pn.ones((rows, 1024))) ** 2)
        loss.backward()
        optimizer.step()
        return loss.item()

    train(256)
    before = one_gibibyte.used_bytes()
    gc.disable()
    try:
        with pytest.raises(pn.OutOfMemoryError) as caught:
            train(rows)
        problem = caught.value
        assert problem.asked >= rows * 1024 * 4 and "are in use" in str(problem)
        assert problem.layer or problem.operation
        del problem, caught
        assert one_gibibyte.used_bytes() - before < 2**26, "what the failed step held is free"
        train(256)
    finally:
        gc.enable()
