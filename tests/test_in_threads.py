"""Compiled loops that TBB's threads share: which portion is whose changes nothing, and nobody's settings are changed."""

from __future__ import annotations

import os
import threading

import numpy
import pytest
from threadpoolctl import threadpool_limits

from portanet import threads
from portanet.kernels.numpy import _in_threads, _numba, convolution, nn, norm

pytestmark = pytest.mark.skipif(
    not _numba.is_at_hand() or not _in_threads._tbb_is_at_hand(), reason="Numba or MKL is not installed"
)


def marked(portion: int, portions: int, x, y, factor) -> None:
    """Of a portion of x: each number times ``factor`` (None: 1) plus the number of the portion."""
    for i in range(portion * x.size // portions, (portion + 1) * x.size // portions):
        y[i] = x[i] + portion if factor is None else x[i] * factor + portion


def spread_over(portions, factor=2.0, size=1000):
    x, y = numpy.arange(float(size)), numpy.zeros(size)
    _in_threads.shared(marked, _numba.compiled(marked), False)(portions, x, y, factor)
    return x * (1.0 if factor is None else factor), y


@pytest.mark.parametrize("factor", (2.0, None))
@pytest.mark.parametrize("portions", (1, 2, 3, 7, 64))
@pytest.mark.parametrize("count", (1, 2))
def test_each_portion_is_done_once(count, portions, factor):
    with threadpool_limits(count, user_api="blas"):
        x, y = spread_over(portions, factor)
    wanted = numpy.concatenate([[k] * ((k + 1) * 1000 // portions - k * 1000 // portions) for k in range(portions)])
    numpy.testing.assert_array_equal(y - x, wanted)


def test_the_number_of_numbas_threads_is_left_as_it_was():
    numba = pytest.importorskip("numba")
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(2, user_api="blas"):
            spread_over(4)
        assert numba.get_num_threads() == 1
    finally:
        numba.set_num_threads(before)


def test_one_thread_is_enough_where_no_more_may_be_used(monkeypatch):
    def refuse():
        raise AssertionError("nobody asked for threads")

    numba = pytest.importorskip("numba")
    spread_over(2)
    monkeypatch.setattr(numba, "get_num_threads", refuse)
    with threadpool_limits(1, user_api="blas"):
        x, y = spread_over(2)
    assert (y - x).max() == 1
    with threadpool_limits(2, user_api="blas"), pytest.raises(AssertionError, match="nobody asked"):
        spread_over(2)


def long(portion: int, portions: int, x) -> None:
    for _ in range(20):
        for i in range(portion * x.size // portions, (portion + 1) * x.size // portions):
            x[i] = numpy.sin(x[i]) + 1


@pytest.mark.parametrize("calls_blas", (True, False))
def test_blas_has_one_thread_meanwhile_where_it_is_called(calls_blas):
    """For its products are called from several."""
    x, counts, over = numpy.zeros(1 << 18), set(), threading.Event()

    def watch():
        while not over.is_set():
            counts.add(threads.blas().get_num_threads())

    with threadpool_limits(2, user_api="blas"):
        run = _in_threads.shared(long, _numba.compiled(long), calls_blas)
        run(2, x)
        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(10):
            run(2, x)
        over.set()
        watcher.join()
        assert threads.blas().get_num_threads() == 2
    assert (1 in counts) == calls_blas


def test_loops_with_products_are_those_that_call_blas(monkeypatch):
    told = []
    monkeypatch.setattr(_numba, "PATIENCE", 0)
    monkeypatch.setattr(_numba, "shared", lambda function, compiled, calls_blas: told.append(calls_blas))
    for loop in (convolution._weights, norm._moments, nn._relu.late):
        loop.in_portions_after(1e9)
    assert told == [True, False, False]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_was_forked_does_not_wait_for_threads():
    with threadpool_limits(2, user_api="blas"):
        spread_over(4)
        child = os.fork()
        if child == 0:
            x, y = spread_over(4)
            os._exit(0 if (y - x).max() == 3 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        x, y = spread_over(4)
    assert (y - x).max() == 3


def test_other_threads_of_numbas_are_not_used(monkeypatch):
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba, "threading_layer", lambda: "workqueue")
    assert not _in_threads._tbb_is_at_hand.__wrapped__()
    monkeypatch.setattr(numba, "threading_layer", lambda: "tbb")
    assert _in_threads._tbb_is_at_hand.__wrapped__()
    monkeypatch.setattr(_in_threads, "mkl", lambda: None)
    assert not _in_threads._tbb_is_at_hand.__wrapped__()


def test_where_nothing_can_be_kept_on_the_disk_it_is_compiled_anew(monkeypatch):
    numba = pytest.importorskip("numba")
    real, asked = numba.njit, []

    def njit(**how):
        asked.append(how.get("cache", False))
        if asked[-1]:
            raise RuntimeError("cannot cache function: no locator available")
        return real(**how)

    monkeypatch.setattr(numba, "njit", njit)
    part = _numba.compiled.__wrapped__(marked)
    x, y = numpy.arange(10.0), numpy.zeros(10)
    _in_threads.shared.__wrapped__(marked, part, False)(2, x, y, 3.0)
    numpy.testing.assert_array_equal(y, x * 3 + numpy.repeat([0, 1], 5))
    assert asked == [True, False, True, False]


def test_what_is_kept_on_the_disk_has_another_name_when_the_file_of_the_function_has_changed(tmp_path):
    file, names = tmp_path / "loops.py", []
    for text in ("def inner(x):\n    return x + 1\n", "def inner(x):\n    return x + 2\n"):
        file.write_text(text + "def outer(x):\n    return inner(x)\ndef other(x):\n    return inner(x)\n")
        found = {}
        exec(compile(file.read_text(), str(file), "exec"), found)
        names += [_in_threads._digest(found[name].__code__) for name in ("outer", "other", "outer")]
    assert names[0] == names[2] and len(set(names)) == 4
    file.unlink()
    assert _in_threads._digest(found["outer"].__code__) not in names
