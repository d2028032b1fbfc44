"""Products on a GPU: whatever way the operands lie, into views, from threads, and as exact as was asked for."""

from __future__ import annotations

import itertools
import threading

import numpy
import pytest

import portanet

DTYPES = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-6, "float64": 1e-14}
SHAPES = [(128, 784, 512), (1, 3, 2), (33, 65, 17), (5, 1, 7), (7, 1000, 1), (256, 256, 256)]


@pytest.fixture(autouse=True)
def _on_cupy():
    reason = portanet.available_backends()["cupy"].reason
    if reason:
        pytest.skip(reason)
    with portanet.use_backend("cupy"):
        yield


def drawn(shape, dtype="float32", seed=0):
    import cupy

    xp = portanet.get_backend().library
    return cupy.asarray(numpy.random.default_rng(seed).normal(size=shape)).astype(xp.raw_dtype(dtype))


def error(found, a, b):
    exact = numpy.matmul(a.astype("float64").get(), b.astype("float64").get())
    return numpy.linalg.norm(found.astype("float64").get() - exact) / numpy.linalg.norm(exact)


def turned(x):
    """The same matrices, stored by columns."""
    import cupy

    return cupy.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_or_columns(shape, dtype):
    from portanet.kernels.cupy import _products

    m, k, n = shape
    a, b = drawn((m, k), dtype), drawn((k, n), dtype, 1)
    for one, other in itertools.product((a, turned(a)), (b, turned(b))):
        found = _products.product(one, other)
        assert found is not None, "cuBLASLt has no algorithm"
        assert error(found, a, b) < DTYPES[dtype]


def lying():
    """Pairs of operands with axes before the matrices."""
    wide, other = drawn((3, 4, 17, 24)), drawn((3, 4, 24, 9), seed=1)
    yield wide, other
    yield wide, other[0, 0]
    yield wide[:, :, ::2, :], other
    yield wide[..., ::2], other[..., ::2, :]
    yield wide.transpose(1, 0, 2, 3), other.transpose(1, 0, 2, 3)
    yield wide[:, :1], other
    yield wide[0], other[:, :1]
    yield wide[:, :, 3:, :], other[..., 1:]


def test_stacks_of_matrices_however_they_lie():
    xp = portanet.get_backend().library
    for i, (a, b) in enumerate(lying()):
        assert error(xp.matmul(a, b), a, b) < 1e-6, i


def test_into_a_view():
    import cupy

    from portanet.kernels.cupy._products import is_stack, multiplied

    a, b = drawn((3, 17, 24)), drawn((3, 24, 8), seed=1)
    memory = cupy.full((3, 17, 5, 8), 7.0, "float32")
    multiplied(a, b, memory[:, :, 2, :])
    assert error(memory[:, :, 2, :], a, b) < 1e-6
    assert bool((memory[:, :, [0, 1, 3, 4], :] == 7).all())
    assert is_stack(memory[:, :, 2, :])
    assert not is_stack(memory.transpose(0, 2, 1, 3))


def test_float32_is_rounded_only_where_that_was_asked_for():
    xp = portanet.get_backend().library
    a, b = drawn((512, 512)), drawn((512, 512), seed=1)
    assert error(xp.matmul(a, b), a, b) < 2e-6
    portanet.set_float32_matmul_precision("high")
    try:
        assert 5e-5 < error(xp.matmul(a, b), a, b) < 2e-3
    finally:
        portanet.set_float32_matmul_precision("highest")
    assert error(xp.matmul(a, b), a, b) < 2e-6


def test_a_bias_of_its_own_in_each_thread():
    """A plan is shared, and holds the address of the bias while it is called."""
    import cupy

    xp = portanet.get_backend().library
    x, weight = drawn((8, 16)), drawn((4, 16), seed=1)
    plain = xp.matmul(x, weight.T)
    wrong = []

    def work(number):
        bias = cupy.full(4, float(number), "float32")
        with cupy.cuda.Stream(non_blocking=True) as stream:
            for _ in range(200):
                y = xp.linear(x, weight, bias)
            stream.synchronize()
            if not bool(cupy.allclose(y, plain + number, atol=1e-4)):
                wrong.append(number)

    cupy.cuda.Device().synchronize()
    threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
