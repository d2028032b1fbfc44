"""Convolution, pooling and batch norm on CuPy: with and without cuDNN, in parts, in half precision, the same every time.

`test_conv.py` compares the same kernels with their definitions on every backend; here is what only CuPy's have.
"""

from __future__ import annotations

import collections
import ctypes
import importlib
import itertools
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy
import pytest

import portanet as pn
from portanet.library import to_numpy
from tests.test_conv import DRAWS, Draw, agree, convolutions_agree, definition, raw

pytest.importorskip("cupy")

_windows = importlib.import_module("portanet.kernels.cupy._windows")
_cudnn = importlib.import_module("portanet.kernels.cupy._cudnn")
convolution = importlib.import_module("portanet.kernels.cupy.convolution")
norm = importlib.import_module("portanet.kernels.cupy.norm")
pooling = importlib.import_module("portanet.kernels.cupy.pooling")


# ---------------------------------------------------------------------------------------------------------------------
# Without a GPU.


def test_a_product_and_a_shift_divide_exactly():
    rng = numpy.random.default_rng(0)
    numbers = [*range(1, 200), *rng.integers(200, 2**31, 200).tolist(), 2**30, 2**30 + 1, 2**31 - 1]
    for number in numbers:
        _, factor, shift = _windows._division(number)
        multiples = number * numpy.asarray([1, 2, 3, (2**31 - 1) // number])
        n = numpy.concatenate([rng.integers(0, 2**31, 200), multiples, multiples - 1, [0, 1, 2**31 - 1]])
        n = n[n < 2**31].astype(numpy.uint64)
        found = n if number == 1 else ((n * numpy.uint64(factor)) >> numpy.uint64(32)) >> numpy.uint64(shift)
        assert factor < 2**32
        numpy.testing.assert_array_equal(found, n // numpy.uint64(number))


def test_the_structure_has_the_fields_of_the_source():
    for size in ((7,), (7, 8), (7, 8, 9)):
        one = (1,) * len(size)
        found = _windows.windows(size, size, one, one, ((2, 3),) * len(size), one, ((1, 0),) * len(size))
        assert (found.size, found.dtype.itemsize) == (1, 63 * 4)
        fields = found.view("int32")
        assert fields[:3].tolist() == [1] * (3 - len(size)) + list(size)
        assert fields[12:15].tolist() == [0] * (3 - len(size)) + [2] * len(size)
        assert fields[18:21].tolist() == [0] * (3 - len(size)) + [-1] * len(size)


@pytest.mark.parametrize("images", [1, 7])
@pytest.mark.parametrize("each", [1, 1000, 2**30, 2**31 - 1])
def test_portions_are_all_images_and_can_be_counted(images, each):
    cuts = _windows.portions(images, each)
    assert [a for a, _ in cuts] + [images] == [0] + [b for _, b in cuts]
    assert max([b - a for a, b in cuts]) * each < 2**31
    assert _windows.portions(images, 2**31) is None


def test_parts_are_views_only_where_there_are_several():
    x, y = numpy.arange(6).reshape(3, 2), numpy.arange(3)
    ((one, other),) = _windows.parts(_windows.portions(3, 1), x, y)
    assert one is x
    assert other is y
    found = _windows.parts([(0, 2), (2, 3)], x, y)
    assert [[part.tolist() for part in pair] for pair in found] == [[[[0, 1], [2, 3]], [0, 1]], [[[4, 5]], [2]]]


def test_columns_stay_within_their_block_of_memory():
    cuts = convolution._images_at_a_time(256, 4, 64 * 9 * 1024, 64 * 1024, 64 * 1024)
    assert max([b - a for a, b in cuts]) * 64 * 9 * 1024 * 4 <= convolution.BLOCK
    assert convolution._images_at_a_time(3, 4, convolution.BLOCK, 5) == [(0, 1), (1, 2), (2, 3)]


class Planner:
    """Stands for cuDNN, which plans, and runs what it planned, as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plans: bool, runs: bool = True) -> None:
        self.asked, self.ran, self.plans, self.runs = 0, 0, plans, runs
        monkeypatch.setattr(_cudnn, "allowed", True)
        monkeypatch.setattr(_cudnn, "_found", collections.OrderedDict())
        monkeypatch.setattr(_cudnn, "_handle", lambda: SimpleNamespace(device=0))
        monkeypatch.setattr(_cudnn, "_planned", self.planned)

    def planned(self, *what: Any) -> Any:
        self.asked += 1
        return self if self.plans else None

    def run(self, *arrays: Any) -> None:
        self.ran += 1
        if not self.runs:
            raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")


def images(*size: int) -> Any:
    """Images of this size, as far as cuDNN sees them."""
    return SimpleNamespace(shape=(1, 1, *size), dtype=numpy.dtype("float32"), data=SimpleNamespace(ptr=1 << 20))


HOW: Any = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1)}


def convolved(*size: int) -> bool:
    """Whether cuDNN took a convolution of such images."""
    return _cudnn.conv(images(*size), images(*size), images(1, 1), **HOW)


def test_cudnn_plans_each_configuration_once(monkeypatch):
    cudnn = Planner(monkeypatch, plans=True)
    assert [convolved(4, 4), convolved(4, 4), convolved(4, 5), convolved(4, 4)] == [True] * 4
    assert cudnn.asked == 2
    pn.set_float32_matmul_precision("high")
    try:
        assert convolved(4, 4)
        assert cudnn.asked == 3
    finally:
        pn.set_float32_matmul_precision("highest")


def test_cudnn_goes_back_only_where_that_is_wanted(monkeypatch):
    cudnn, kinds = Planner(monkeypatch, plans=True), []
    monkeypatch.setattr(_cudnn, "_planned", lambda kind, *rest: kinds.append((kind, rest[2])) or cudnn)
    x, w, g = images(6, 6), images(3, 3), images(4, 4)
    assert _cudnn.conv_backward(x, None, g, None, w, **HOW) == (True, False)
    assert kinds == [("conv_dgrad", (g.shape, w.shape, x.shape))]
    assert _cudnn.conv_backward(None, w, g, x, None, **HOW) == (False, True)
    assert kinds[1:] == [("conv_wgrad", (x.shape, g.shape, w.shape))]
    assert _cudnn.conv_backward(x, w, g, x, w, **HOW) == (True, True)
    assert (len(kinds), len(_cudnn._found)) == (2, 1)


@pytest.mark.parametrize("plans", [True, False])
def test_what_cudnn_cannot_do_is_remembered(plans, monkeypatch):
    cudnn = Planner(monkeypatch, plans, runs=False)
    assert not convolved(4, 4)
    assert not convolved(4, 4)
    assert (cudnn.asked, cudnn.ran) == (1, int(plans))


def test_plans_that_were_not_used_for_long_are_given_up(monkeypatch):
    cudnn = Planner(monkeypatch, plans=True)
    monkeypatch.setattr(_cudnn, "KEPT", 2)
    for n in (1, 2, 1, 3, 1):
        assert convolved(n, 4)
    assert cudnn.asked == 3
    assert convolved(2, 4)
    assert cudnn.asked == 4


class Graph:
    """Stands for a graph of cuDNN's frontend, whose ``execute`` ends in a function that takes addresses."""

    def __init__(self, order: tuple[int, ...] = (1, 2, 3), takes: int = 5) -> None:
        self.selected_engine, self._plan_index, self.order, self.takes = None, 1, list(order), takes
        self._plans = [SimpleNamespace(cpp_index=None), SimpleNamespace(cpp_index=7)]
        self._lowered_graph = SimpleNamespace(_execute_with_raw_ptrs=self.native)
        self.ran: list[Any] = []

    def get_workspace_size(self) -> int:
        return 0

    def _variant_pack_uids(self) -> list[int]:
        return self.order

    def native(self, *given: int) -> None:
        if len(given) != self.takes:
            raise TypeError("incompatible function arguments")
        place, count, workspace, handle, index = given
        addresses = (ctypes.c_void_p * count).from_address(place)
        self.ran.append(("native", list(addresses), workspace, handle, index))

    def execute(self, arrays: dict[int, int], workspace: Any, handle: Any) -> None:
        self.ran.append(("public", [arrays[uid] for uid in (1, 2, 3)], workspace, handle))


def handle_of(monkeypatch: pytest.MonkeyPatch, **given: Any) -> Any:
    """A handle as a frontend makes it, and the streams that it is set to."""
    streams: list[int] = []
    made = SimpleNamespace(**given)
    frontend: Any = ModuleType("cudnn")
    frontend.create_handle = lambda: made
    frontend.set_stream = lambda handle, stream: streams.append(stream)
    monkeypatch.setitem(sys.modules, "cudnn", frontend)
    return _cudnn._Handle(0), streams


def test_a_plan_is_run_by_the_addresses_alone(monkeypatch):
    handle, _ = handle_of(monkeypatch, backend_handle=5)
    graph = Graph()
    plan = _cudnn._Plan(graph)
    for result in (10, 40):
        plan.run(handle, result, 20, 30)
    assert graph.ran == [("native", [20, 30, result], 0, 5, 7) for result in (10, 40)]


@pytest.mark.parametrize("given", [{"backend_handle": 5}, {}], ids=str)
@pytest.mark.parametrize("other", ["order", "arguments", "names"])
def test_another_frontend_is_called_as_it_says(other, given, monkeypatch):
    handle, _ = handle_of(monkeypatch, **given)
    graph: Any = Graph(order=(1, 3, 2)) if other == "order" else Graph(takes=4)
    if other == "names":  # it has only those that are for everybody
        graph = SimpleNamespace(get_workspace_size=graph.get_workspace_size, execute=graph.execute, ran=graph.ran)
    plan = _cudnn._Plan(graph)
    plan.run(handle, 10, 20, 30)
    plan.run(handle, 10, 20, 30)
    assert graph.ran == [("public", [20, 30, 10], None, handle.given)] * 2


def test_a_handle_is_told_of_a_stream_once(monkeypatch):
    handle, streams = handle_of(monkeypatch)
    for stream in (0, 0, 7, 7, 0):
        handle.follow(stream)
    assert streams == [0, 7, 0]


def test_cudnn_can_be_switched_off_and_sees_no_array_that_it_cannot_count(monkeypatch):
    cudnn = Planner(monkeypatch, plans=True)
    assert not convolved(2**16, 2**15)
    monkeypatch.setattr(_cudnn, "allowed", False)
    assert not convolved(4, 4)
    assert cudnn.asked == 0
    script = "from portanet.kernels.cupy import _cudnn; print(_cudnn.allowed)"
    for value, wanted in (("0", "False"), ("1", "True")):
        done = subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"PORTANET_CUDNN": value}, capture_output=True, text=True
        )
        assert done.stdout.strip() == wanted, done.stderr


# ---------------------------------------------------------------------------------------------------------------------
# On a GPU.

SAME = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
HALF = ("float16", "bfloat16")


@pytest.fixture
def gpu():
    reason = pn.available_backends()["cupy"].reason
    if reason is not None:
        pytest.skip(reason)
    with pn.use_backend("cupy") as backend:
        yield backend


@pytest.fixture(params=["cuDNN", "own"])
def products(request, gpu, monkeypatch):
    """Who computes convolutions."""
    if request.param == "own":
        monkeypatch.setattr(_cudnn, "allowed", False)
    elif not _cudnn.allowed or _cudnn._handle() is None:
        pytest.skip("cuDNN is not installed here, or switched off")
    return request.param


@pytest.fixture
def no_definition(monkeypatch):
    """The definitions must not be needed."""

    def missing(x: Any) -> Any:
        raise AssertionError("left to the definition")

    for module in (convolution, norm, pooling):
        monkeypatch.setattr(module, "namespace_of", missing)


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> Any:
    return numpy.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("seed", range(2 * DRAWS))
def test_convolutions_agree_with_their_definition(seed, gpu, products, no_definition):
    convolutions_agree(gpu, Draw(seed))


@pytest.mark.parametrize("block", [1, 20_000])
def test_images_in_portions_give_the_same(block, gpu, monkeypatch):
    monkeypatch.setattr(_cudnn, "allowed", False)
    monkeypatch.setattr(convolution, "BLOCK", block)
    convolution._form.cache_clear()
    for seed in range(100, 106):
        convolutions_agree(gpu, Draw(seed))
    convolution._form.cache_clear()


def test_cudnn_plans_what_networks_are_made_of(gpu, products):
    if products != "cuDNN":
        pytest.skip("of cuDNN alone")
    _cudnn._found.clear()
    x, w, g = normal(8, 16, 12, 12), normal(24, 16, 3, 3, seed=1), normal(8, 24, 12, 12, seed=2)
    agree_in_float32("conv", gpu, (x, w, normal(24)), SAME)
    agree_in_float32("conv_backward", gpu, (g, x, w), SAME | {"wanted": (True, True, True)})
    (found,) = _cudnn._found.values()
    assert set(found.plans) == {"conv_fprop", "conv_dgrad", "conv_wgrad"}
    assert None not in found.plans.values()
    assert None not in [plan.native for plan in found.plans.values()]  # by the addresses alone


def agree_in_float32(name: str, backend: Any, args: Any, options: Any) -> None:
    """To the precision of float32 numbers, not of TF32, whose error would be larger by far."""
    found = getattr(backend.library, name)(*[raw(x) for x in args], **options)
    wanted = definition(name, *[x.astype("float64") for x in args], **options)
    several = isinstance(wanted, tuple)
    for mine, theirs in zip(found if several else [found], wanted if several else [wanted], strict=True):
        error = numpy.abs(to_numpy(mine) - theirs).max() / numpy.abs(theirs).max()
        assert error < 2e-5


@pytest.mark.parametrize("groups", [1, 4])
def test_float32_is_not_rounded_to_tf32(groups, products, gpu):
    x, w, g = normal(4, 64, 16, 16), normal(64, 64 // groups, 3, 3, seed=1), normal(4, 64, 16, 16, seed=2)
    how = SAME | {"groups": groups}
    agree_in_float32("conv", gpu, (x, w, normal(64)), how)
    agree_in_float32("conv_backward", gpu, (g, x, w), how | {"wanted": (True, True, True)})


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision(dtype, products, gpu, no_definition):
    import cupy

    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    tolerance = 2e-3 if dtype == "float16" else 2e-2
    x, w, g = [one.astype(dtype) for one in (normal(8, 8, 9, 8), normal(16, 8, 3, 3, seed=1), normal(8, 16, 9, 8))]
    pool = {"kernel": (3, 2), "stride": (2, 2), "padding": ((1, 1), (0, 0))}
    largest, mean = pool | {"dilation": (1, 1)}, pool | {"counted": ((0, 0), (0, 0)), "divisor": None}
    wide = [one.astype("float64") for one in (x, w, g)]
    moments = definition("channel_moments", wide[0])
    y = definition("max_pool", wide[0], **largest)
    calls = [
        ("conv", (wide[0], wide[1], wide[1][:, 0, 0, 0]), SAME),
        ("conv_backward", (wide[2], *wide[:2]), SAME | {"wanted": (True, True, True)}),
        ("channel_moments", wide[:1], {}),
        ("channel_sums", wide[:1], {}),
        ("batch_norm", (wide[0], None, None, *moments), {"eps": 1e-3, "own": True}),
        ("batch_norm_backward", (wide[0] * 2, wide[0], None, *moments), {"eps": 1e-3, "own": False}),
        ("max_pool", wide[:1], largest),
        ("max_pool_backward", (y, y, wide[0]), largest),
        ("avg_pool", wide[:1], mean),
        ("avg_pool_backward", (y,), mean | {"size": (9, 8)}),
        ("unfold", wide[:1], largest),
    ]
    for name, args, options in calls:
        # float64 holds what float16 does: the definition then sees the very numbers that the kernel saw
        args = [one if one is None else one.astype(dtype) for one in args]
        found = getattr(gpu.library, name)(*[one if one is None else cupy.asarray(one) for one in args], **options)
        wanted = definition(name, *[one if one is None else one.astype("float64") for one in args], **options)
        several = isinstance(wanted, tuple)
        for mine, theirs in zip(found if several else [found], wanted if several else [wanted], strict=True):
            assert mine.dtype == dtype
            error = numpy.abs(to_numpy(mine).astype("float64") - theirs).max()
            assert error <= tolerance * max(1.0, numpy.abs(theirs).max()), name


@pytest.mark.parametrize("shape", [(64, 3, 40, 40), (6, 5, 33, 31), (9000, 7), (2, 70_000, 3), (3, 2, 8, 4)], ids=str)
def test_norms_of_many_parts_and_of_many_channels(shape, gpu, no_definition):
    x, g = normal(*shape, dtype="float64") + 3, normal(*shape, seed=1, dtype="float64")
    weight, bias = normal(2, shape[1], seed=2, dtype="float64")
    moments = definition("channel_moments", x)
    agree("channel_moments", gpu, (x,), {})
    agree("channel_sums", gpu, (x,), {})
    agree("batch_norm", gpu, (x, weight, bias, *moments), {"eps": 1e-3, "own": True})
    agree("batch_norm_backward", gpu, (g, x, weight, *moments), {"eps": 1e-3, "own": True})


def test_parts_of_an_array_are_read_where_they_begin(gpu, no_definition):
    """Images that do not begin at a multiple of 16 bytes, which is what a thread reads at once where it may."""
    import cupy

    x = normal(5, 3, 4, 4).reshape(-1)[: 4 * 48]
    given = cupy.asarray(numpy.concatenate([x[:1], x]))[1:].reshape(4, 3, 4, 4)
    assert given.data.ptr % 16 == 4
    x = x.reshape(4, 3, 4, 4)
    moments = definition("channel_moments", x)
    y = gpu.library.batch_norm(given, None, None, *[raw(one) for one in moments], eps=1e-3, own=True)
    wanted = definition("batch_norm", x, None, None, *moments, eps=1e-3, own=True)
    numpy.testing.assert_allclose(to_numpy(y), wanted, rtol=1e-5, atol=1e-5)


def test_the_same_bits_every_time(products, gpu):
    xp = gpu.library
    x, w, g = [raw(one) for one in (normal(16, 32, 20, 20), normal(48, 32, 3, 3), normal(16, 48, 20, 20))]
    how = {"kernel": (3, 3), "stride": (2, 2), "padding": ((1, 1), (1, 1)), "dilation": (1, 1)}
    y = xp.max_pool(x, **how)
    moments = xp.channel_moments(x)
    calls = (
        lambda: (xp.conv(x, w, **SAME),),
        lambda: xp.conv_backward(g, x, w, wanted=(True, True, True), **SAME),
        lambda: (xp.max_pool_backward(y, y, x, **how),),
        lambda: xp.channel_moments(x),
        lambda: xp.batch_norm_backward(x * 2, x, None, *moments, eps=1e-3, own=True),
    )
    for call, _ in itertools.product(calls, range(3)):
        for one, other in zip(call(), call(), strict=True):
            numpy.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_a_step_is_captured_with_all_of_its_kernels(products, gpu):
    """Convolution, norm and pool, there and back, as one CUDA graph: nothing in them waits or copies."""
    import cupy

    xp = gpu.library
    x, w, g = [raw(one) for one in (normal(4, 8, 8, 8), normal(8, 8, 3, 3, seed=1), normal(4, 8, 4, 4, seed=2))]
    how = {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0),) * 2, "dilation": (1, 1)}

    def step() -> Any:
        y = xp.conv(x, w, w[:, 0, 0, 0], **SAME)
        moments = xp.channel_moments(y)
        z = xp.batch_norm(y, None, None, *moments, eps=1e-5, own=True)
        top = xp.max_pool(z, **how)
        back = xp.max_pool_backward(g, top, z, **how)
        back = xp.batch_norm_backward(back, y, None, *moments, eps=1e-5, own=True)[0]
        return xp.conv_backward(back, x, w, wanted=(True, True, True), **SAME)

    wanted = [to_numpy(one) for one in step()]
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    cupy.cuda.Device().synchronize()
    with stream, cupy.cuda.using_allocator(pool.malloc):
        step()
        stream.synchronize()
        stream.begin_capture()
        found = step()
        graph = stream.end_capture()
        for _ in range(2):
            graph.launch(stream)
        stream.synchronize()
        for one, other in zip(found, wanted, strict=True):
            numpy.testing.assert_array_equal(to_numpy(one), other)
