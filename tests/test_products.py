"""Products of matrices on NumPy: those of MKL, where it is installed, and those of NumPy beside them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import portanet
from portanet import nn, threads
from portanet.kernels.numpy import _mkl, _numba, _products
from portanet.kernels.numpy._mkl import SPREAD, mkl
from portanet.kernels.numpy._products import LARGE, product

needs_mkl = pytest.mark.skipif(mkl() is None, reason="MKL is not installed, or is switched off")
SHAPES = [(3, 5, 4), (64, 300, 20), (128, 128, 128), (128, 129, 130), (300, 520, 280)]  # m, k, n: small to spread


def drawn(*shape, dtype=np.float32):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def exact(a, b):
    return np.matmul(a.astype(np.float64), b.astype(np.float64))


@pytest.fixture
def used(monkeypatch):
    """How many threads each of MKL's products was given."""
    library, counts = mkl(), []
    if library is None:
        pytest.skip("MKL is not installed, or is switched off")
    wanted = library.threads_for
    monkeypatch.setattr(library, "threads_for", lambda size: (counts.append(wanted(size)), counts[-1])[1])
    return counts


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
def test_products_of_matrices_as_they_lie(m, k, n, turned, dtype):
    a = drawn(k, m, dtype=dtype).T if "a" in turned else drawn(m, k, dtype=dtype)
    b = drawn(n, k, dtype=dtype).T if "b" in turned else drawn(k, n, dtype=dtype)
    out = np.full((m, n), np.nan, dtype)
    found = product(a, b)
    assert found.dtype == dtype and found.flags.c_contiguous
    np.testing.assert_allclose(found, exact(a, b), rtol=0, atol=1e-4 * np.sqrt(k))
    assert product(a, b, out) is out
    np.testing.assert_array_equal(out, found)


@needs_mkl
def test_mkl_takes_what_is_large(used):
    product(drawn(64, 128), drawn(128, 128))
    assert used == []
    product(drawn(128, 128), drawn(128, 128))  # as many multiplications as LARGE
    assert len(used) == 1


@needs_mkl
@pytest.mark.parametrize(
    "which",
    [
        "rows apart",
        "columns apart",
        "a row",
        "whole numbers",
        "two types",
        "no rows",
        "complex",
        "bytes in the other order",
        "between addresses",
    ],
)
def test_other_matrices_are_numpys(which, used):
    a, b = drawn(256, 256), drawn(256, 256)
    if which == "rows apart":  # which MKL takes as well
        a = drawn(512, 256)[::2]
    elif which == "columns apart":
        a = drawn(256, 512)[:, ::2]
    elif which == "a row":
        a, b = drawn(1, 2048), drawn(2048, 2048)
    elif which == "whole numbers":
        a, b = (10 * a).astype(np.int64), (10 * b).astype(np.int64)
    elif which == "two types":
        b = b.astype(np.float64)
    elif which == "no rows":
        a = a[:0]
    elif which == "complex":
        a, b = a + 1j * a, b.astype(np.complex64)
    elif which == "bytes in the other order":
        a, b = a.astype(">f4"), b.astype(">f4")
    elif which == "between addresses":
        shifted = np.empty(a.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(a.shape)
        shifted[...] = a
        a = shifted
    found = product(a, b)
    expected = np.matmul(a, b)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert len(used) == (which == "rows apart")


@needs_mkl
def test_an_output_that_lies_otherwise_is_refused_as_by_numpy():
    a, b = drawn(256, 256), drawn(256, 256)
    with pytest.raises(ValueError, match="output array"):
        product(a, b, np.empty((256, 256), np.float32).T)


@needs_mkl
def test_a_product_that_is_not_a_number_where_it_should_be():
    a, b = drawn(256, 256), drawn(256, 256)
    a[3, 5] = np.inf
    b[7, 9] = np.nan
    np.testing.assert_array_equal(np.isfinite(product(a, b)), np.isfinite(a @ b))
    a[:] = 0
    assert np.isnan(product(a, b)[:, 9]).all()


@needs_mkl
def test_as_many_threads_as_numpys_blas_may_use(used):
    small, large = (drawn(128, 128), drawn(128, 128)), (drawn(256, 256), drawn(256, 256))
    assert (LARGE, SPREAD) == (128**3, 256**3)
    for count in (1, 2):
        with threadpool_limits(count, user_api="blas"):
            product(*small)
            product(*large)
    assert used == [1, 1, 1, 2]


@needs_mkl
def test_in_a_task_of_ours_a_product_has_one_thread(used):
    a, b = drawn(256, 256), drawn(256, 256)
    with threadpool_limits(2, user_api="blas"):
        threads.run([lambda: product(a, b)] * 4)
    assert used == [1] * 4


@needs_mkl
@pytest.mark.parametrize("sizes", [(64, 1100, 2000), (1, 1024, 1024), (300, 700, 1500)], ids=str)
def test_a_wide_matrix_is_multiplied_by_columns_with_the_same_bits_in_any_number_of_threads(sizes, used):
    m, k, n = sizes
    a, b, found = drawn(m, k), drawn(k, n), []
    for count in (1, 2):
        with threadpool_limits(count, user_api="blas"):
            found.append(product(a, b))
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], exact(a, b), rtol=0, atol=1e-4 * np.sqrt(k))
    assert used == []  # each stretch of columns has one


@needs_mkl
def test_a_right_matrix_of_too_few_columns_for_two_is_left_to_mkls_threads(used):
    with threadpool_limits(2, user_api="blas"):
        product(drawn(64, 2000), drawn(2000, 800))
    assert used == [2]


@needs_mkl
@pytest.mark.skipif(not _numba.is_at_hand(), reason="Numba is not installed, or is switched off")
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_numbas_call_of_mkl_has_the_bits_of_the_call_by_ctypes(turned, monkeypatch):
    a = drawn(300, 200).T if "a" in turned else drawn(200, 300)
    b = drawn(400, 300).T if "b" in turned else drawn(300, 400)
    found = []
    for patience in (1e30, 0):
        monkeypatch.setattr(_numba, "PATIENCE", patience)
        for left, right in ((a, b), (a[:150], b[:, 20:]), (a[:, :200], b[:200])):
            with monkeypatch.context() as patch:
                if patience == 0:  # then ctypes is not asked
                    patch.setattr(mkl(), "products", dict.fromkeys(mkl().products))
                found.append(product(left, right))
    for one, other in zip(found[:3], found[3:], strict=True):
        np.testing.assert_array_equal(one, other)


@needs_mkl
def test_others_keep_mkls_number_of_threads():
    before = mkl().limit(3)
    product(drawn(256, 256), drawn(256, 256))
    assert mkl().limit(before) == 3


@needs_mkl
def test_between_small_and_large_openblas_has_one_thread_and_gets_its_others_back(monkeypatch):
    seen = []
    real = np.dot
    monkeypatch.setattr(
        _products.np, "dot", lambda *args: (seen.append(threads.blas().get_num_threads()), real(*args))[1]
    )
    with threadpool_limits(2, user_api="blas"):
        product(drawn(64, 128), drawn(128, 128))
        _products.sums(np.ones(128, np.float32), drawn(128, 128))
        product(drawn(8, 8), drawn(8, 8))
        assert threads.blas().get_num_threads() == 2
    assert seen == [1, 1, 2]


@pytest.mark.parametrize("size", [16, 64, 256])
def test_a_recorded_step_has_the_bits_of_the_step(size):
    def losses(compiled):
        portanet.manual_seed(3)
        model = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))
        optimizer = portanet.optim.SGD(model.parameters(), lr=0.05)
        x, y = portanet.asarray(drawn(size, size)), portanet.asarray(drawn(size, size + 1)[:, 1:])

        def step():
            optimizer.zero_grad()
            error = nn.functional.mse_loss(model(x), y)
            error.backward()
            optimizer.step()
            return error

        step = portanet.compile(step, state=(model, optimizer)) if compiled else step
        found = [step().item() for _ in range(8)]
        assert not compiled or step.reason == ""  # else nothing would have been replayed
        return found

    assert losses(compiled=True) == losses(compiled=False)


@needs_mkl
def test_the_environment_switches_mkl_off(monkeypatch):
    assert mkl.__wrapped__() is not None
    monkeypatch.setenv("PORTANET_MKL", "0")
    assert mkl.__wrapped__() is None


@needs_mkl
@pytest.mark.parametrize("missing", ["core", "tbb_thread", "libtbb.so.12", "rt"])
def test_without_one_of_its_files_mkl_is_not_used(missing, monkeypatch):
    path = _mkl._path
    monkeypatch.setattr(_mkl, "_path", lambda package, name: None if name == missing else path(package, name))
    assert mkl.__wrapped__() is None


@needs_mkl
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_multiplies():
    script = """
import os, numpy as np
from portanet.kernels.numpy._products import product
a = np.ones((512, 512), np.float32)
product(a, a)
child = os.fork()
if child == 0:
    os._exit(0 if (product(a, a) == 512).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "0", run.stderr
