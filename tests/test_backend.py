"""Choosing a backend: what it steers, how far the choice reaches, and the errors on the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import numpy
import pytest

import portanet
from portanet import backend as backend_module
from portanet import library


def test_creation_goes_to_the_backend(backend):
    assert portanet.zeros(2).backend == backend.name
    assert portanet.asarray([1.0]).backend == backend.name


def test_default_float_is_float32_on_every_backend(backend):
    for made in (portanet.zeros(2), portanet.ones(2), portanet.asarray([1.0]), portanet.full(2, 1.5), portanet.eye(2)):
        assert made.dtype is portanet.float32
    assert portanet.linspace(0.0, 1.0, 3).dtype is portanet.float32
    assert portanet.arange(0.0, 1.0, 0.5).dtype is portanet.float32
    assert portanet.asarray([1j]).dtype is portanet.complex64
    assert portanet.__array_namespace_info__().default_dtypes()["real floating"] is portanet.float32


def test_a_numpy_array_keeps_its_dtype(backend):
    assert portanet.asarray(numpy.ones(2)).dtype is portanet.float64


def test_scalars_never_widen_float32(backend):
    x = portanet.ones(2)
    for y in (x * 2.0, 2.0 * x, x * numpy.float64(2.0), numpy.float64(2.0) * x, x**2, x / 3):
        assert y.dtype is portanet.float32


def test_default_dtype_can_be_changed_and_is_scoped():
    with portanet.use_backend("numpy", dtype=portanet.float64):
        assert portanet.zeros(1).dtype is portanet.float64
        portanet.set_default_dtype("float32")
        assert portanet.zeros(1).dtype is portanet.float32
    assert portanet.get_default_dtype() is portanet.float32


def test_default_dtype_must_be_real_floating():
    with pytest.raises(TypeError, match="real floating, saw int32"):
        portanet.set_default_dtype(portanet.int32)


def test_a_backend_object_brings_its_device_and_dtype():
    with portanet.use_backend("array_api_strict:device1", dtype="float64") as chosen:
        pass
    with portanet.use_backend(chosen):
        assert portanet.zeros(1).dtype is portanet.float64 and "device1" in str(portanet.zeros(1).device)
    with portanet.use_backend(chosen, device="device2", dtype="float32"):
        assert portanet.zeros(1).dtype is portanet.float32 and "device2" in str(portanet.zeros(1).device)


def test_choosing_between_two_numbers_gives_the_default_dtype(backend):
    condition = portanet.asarray([True, False])
    assert portanet.where(condition, 1.0, 0.0).dtype is portanet.float32
    assert portanet.where(condition, 1, 0).dtype is portanet.int64
    assert portanet.where(condition, 1.0, 0.0).tolist() == [1.0, 0.0]


def test_use_backend_ends_with_its_block():
    with portanet.use_backend("array_api_strict"):
        with portanet.use_backend("numpy"):
            assert portanet.get_backend().name == "numpy"
        assert portanet.get_backend().name == "array_api_strict"
        portanet.set_backend("numpy")  # within a block, for the rest of that block
        assert portanet.get_backend().name == "numpy"
    assert portanet.get_backend().name == "numpy"


def test_set_backend_is_seen_by_other_threads_and_use_backend_is_not():
    seen: dict[str, str] = {}

    def look(key: str) -> None:
        seen[key] = portanet.get_backend().name

    def in_thread(key: str) -> None:
        thread = threading.Thread(target=look, args=(key,))
        thread.start()
        thread.join()

    with portanet.use_backend("array_api_strict"):
        in_thread("scoped")
    portanet.set_backend("array_api_strict")
    try:
        in_thread("process")
    finally:
        portanet.set_backend("numpy")
    assert seen == {"scoped": "numpy", "process": "array_api_strict"}


def test_asyncio_tasks_do_not_disturb_each_other():
    async def task(name: str) -> str:
        with portanet.use_backend(name):
            await asyncio.sleep(0.01)
            return portanet.zeros(1).backend

    async def both() -> list[str]:
        return await asyncio.gather(task("numpy"), task("array_api_strict"))

    assert asyncio.run(both()) == ["numpy", "array_api_strict"]


def test_environment_variable_sets_the_start():
    code = "import portanet; print(portanet.zeros(1).backend)"
    environment = {**os.environ, "PORTANET_BACKEND": "array_api_strict:device1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "array_api_strict"


def test_any_conforming_module_or_namespace_will_do():
    import array_api_strict

    with portanet.use_backend(array_api_strict) as chosen:
        assert chosen.name == "array_api_strict"
    with portanet.use_backend("array_api_compat.numpy") as chosen:
        assert chosen.name == "numpy"


def test_auto_is_numpy_where_no_gpu_works(monkeypatch):
    reason = backend_module.BackendInfo("cupy", None, (), "no GPU")
    monkeypatch.setattr(backend_module, "_info", lambda name: reason)
    with portanet.use_backend("auto") as chosen:
        assert chosen.name == "numpy"


def test_unknown_backend_lists_the_known():
    with pytest.raises(ValueError, match=r"'nunpy' is not known; known are auto, .*cupy.*numpy.*torch"):
        portanet.set_backend("nunpy")


def test_missing_backend_gives_the_pip_line(monkeypatch):
    monkeypatch.setitem(backend_module.KNOWN, "cupy", ("no_such_module_anywhere", "portanet[cuda13]"))
    with pytest.raises(ImportError, match=r"pip install 'portanet\[cuda13\]'"):
        portanet.set_backend("cupy")


def test_a_module_that_does_not_conform_says_what_it_lacks():
    with pytest.raises(ValueError, match=r"math does not conform .* lacks asarray"):
        portanet.set_backend("math")


def test_unknown_device_lists_the_known():
    with pytest.raises(ValueError, match=r"device='gpu:7': numpy has no such device; it has cpu"):
        portanet.set_backend("numpy", device="gpu:7")


def test_available_backends_say_what_is_there_or_why_not():
    found = portanet.available_backends()
    assert found["numpy"].available and found["numpy"].version == numpy.__version__
    assert "cpu" in found["numpy"].devices
    for info in found.values():
        assert info.available or info.reason


def test_arrays_of_two_libraries_are_named_with_the_way_out():
    with portanet.use_backend("array_api_strict"):
        strict = portanet.ones(2)
    for mix in (
        lambda: portanet.ones(2) + strict,
        lambda: portanet.concat([portanet.ones(2), strict]),
        lambda: strict * numpy.ones(2),
        lambda: portanet.ones(2) > strict,
    ):
        with pytest.raises(TypeError, match=r"two libraries, .*numpy.*x\.to\("):
            mix()


def test_arrays_on_two_devices_are_named_with_the_way_out():
    with portanet.use_backend("array_api_strict"):
        here, there = portanet.ones(2), portanet.ones(2, device="device1")
    with pytest.raises(TypeError, match=r"two devices, .*CPU_DEVICE.*device1.*to_device"):
        here + there
    with pytest.raises(TypeError, match="two devices"):
        portanet.concat([here, there])


def test_a_list_that_meets_a_tensor_is_refused():
    with pytest.raises(TypeError, match="asarray"):
        portanet.add(portanet.ones(2), [1.0, 2.0])


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match=r"expected an array, saw builtins\.str"):
        portanet.Tensor("numbers")


def test_the_kernel_of_a_missing_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="numpy has no function 'no_such_function'"):
        library.namespace_of(numpy.ones(1)).no_such_function  # noqa: B018
