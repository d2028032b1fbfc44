"""Work in blocks: all of it is done, by as many threads as BLAS may use, and errors come out."""

from __future__ import annotations

import os
import threading

import pytest
from threadpoolctl import threadpool_limits

from portanet import threads


def test_every_task_runs_once():
    done: list[int] = []
    threads.run([lambda i=i: done.append(i) for i in range(50)])
    assert sorted(done) == list(range(50))


def test_two_threads_work_at_the_same_time():
    with threadpool_limits(2, user_api="blas"):
        meeting = threading.Barrier(2, timeout=20)  # a thread alone would wait here until the time is up
        threads.run([meeting.wait, meeting.wait])


def test_with_one_thread_of_blas_nothing_is_started():
    with threadpool_limits(1, user_api="blas"):
        assert threads.usable() == 1
        seen: list[threading.Thread] = []
        threads.run([lambda: seen.append(threading.current_thread())] * 8)
    assert set(seen) == {threading.current_thread()}


def test_blas_is_held_to_one_thread_inside_and_given_back():
    with threadpool_limits(2, user_api="blas"):
        before = threads._blas().get_num_threads()
        inside: list[int] = []
        threads.run([lambda: inside.append(threads._blas().get_num_threads())] * 4)
        assert (before, set(inside)) == (2, {1})
        assert threads._blas().get_num_threads() == before


def test_a_task_that_spreads_work_does_it_alone():
    with threadpool_limits(2, user_api="blas"):
        done: list[int] = []
        threads.run([lambda: threads.run([lambda: done.append(1)] * 3)] * 4)
    assert len(done) == 12


def test_an_error_comes_out_and_blas_is_given_back():
    def fail() -> None:
        raise ValueError("this block")

    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(ValueError, match="this block"):
            threads.run([fail] * 6)
        assert threads.usable() == 2


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux says which core a thread is on")
def test_a_thread_that_leaves_a_core_may_go_where_it_might_before():
    allowed = os.sched_getaffinity(0)
    here = threads._core()()
    threads._leave(here)
    assert os.sched_getaffinity(0) == allowed
    threads._leave(max(allowed) + 1)  # not even there
    assert os.sched_getaffinity(0) == allowed
