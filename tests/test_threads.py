"""Work in blocks: all of it is done, by as many threads as BLAS may use, and errors come out."""

from __future__ import annotations

import functools
import os
import threading
import time

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
        before = threads.blas().get_num_threads()
        inside: list[int] = []
        threads.run([lambda: inside.append(threads.blas().get_num_threads())] * 4)
        assert (before, set(inside)) == (2, {1})
        assert threads.blas().get_num_threads() == before


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


def test_after_an_error_no_further_task_begins():
    done: list[int] = []

    def fail() -> None:
        raise ValueError("this block")

    with threadpool_limits(1, user_api="blas"), pytest.raises(ValueError):
        threads.run([fail, lambda: done.append(1)])
    with threadpool_limits(2, user_api="blas"), pytest.raises(ValueError):
        threads.run([fail] + [lambda: (time.sleep(0.01), done.append(1))] * 50)
    assert len(done) < 5


def test_a_second_caller_does_its_tasks_alone_and_waits_for_nobody():
    inside, go_on, done = threading.Event(), threading.Event(), []
    with threadpool_limits(2, user_api="blas"):
        other = threading.Thread(target=threads.run, args=([lambda: (inside.set(), go_on.wait(20))] * 2,))
        other.start()
        assert inside.wait(20)
        threads.run([lambda: done.append(threading.current_thread())] * 4)  # while the helper is still at the first's
        go_on.set()
        other.join()
    assert done == [threading.current_thread()] * 4


@pytest.mark.parametrize(
    ("size", "portions", "step", "found"),
    [
        (10, 3, 1, [(0, 3), (3, 6), (6, 10)]),
        (10, 3, 4, [(0, 4), (4, 8), (8, 10)]),
        (10, 8, 4, [(0, 4), (4, 8), (8, 10)]),
        (10, 0, 1, [(0, 10)]),
        (0, 4, 1, [(0, 0)]),
    ],
)
def test_a_range_is_cut_into_stretches_at_multiples_of_a_step(size, portions, step, found):
    assert threads.cut(size, portions, step) == found


def test_what_is_spread_is_all_done():
    done: list[int] = []
    threads.spread(lambda first, last: done.extend(range(first, last)), 100, 7, step=8)
    assert sorted(done) == list(range(100))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux says which core a thread is on")
def test_each_thread_has_a_core_of_its_own_and_the_caller_may_go_where_it_might_before():
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one core")
    kept: dict[threading.Thread, set[int]] = {}
    meeting = threading.Barrier(2, timeout=20)

    def look() -> None:
        kept[threading.current_thread()] = os.sched_getaffinity(0)
        meeting.wait()

    with threadpool_limits(2, user_api="blas"):
        threads.run([look, look])
    first, second = kept.values()
    assert len(first) == len(second) == 1
    assert first != second
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_has_helpers_of_its_own():
    with threadpool_limits(2, user_api="blas"):
        threads.run([lambda: None] * 4)
        child = os.fork()
        if child == 0:
            done: list[int] = []
            threads.run([lambda: done.append(1)] * 4)
            os._exit(0 if len(done) == 4 else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_work_for_later_is_done_at_once_unless_there_is_an_end_to_wait_for():
    done: list[tuple[int, int]] = []
    threads.spread_later(lambda *stretch: done.append(stretch), 4, 2)
    assert sorted(done) == [(0, 2), (2, 4)]
    done.clear()
    with pytest.raises(ValueError, match="meanwhile"), threads.together():
        threads.spread_later(lambda *stretch: done.append(stretch), 4, 2)
        threads.spread_later(lambda *stretch: done.append(stretch), 3, 1)
        assert done == []
        raise ValueError("meanwhile")
    assert sorted(done) == [(0, 2), (0, 3), (2, 4)]  # what had been given is done all the same
    threads.spread_later(lambda *stretch: done.append(stretch), 1, 1)
    assert done[-1] == (0, 1)


@pytest.mark.parametrize("count", (1, 2))
def test_a_phase_begins_when_the_one_before_is_done(count):
    done: list[int] = []

    def task(phase: int, wait: float) -> None:
        time.sleep(wait)
        done.append(phase)

    phases = [[functools.partial(task, phase, 0.01 * (i == 0)) for i in range(3)] for phase in range(4)]
    with threadpool_limits(count, user_api="blas"):
        threads.run_in_turn(*phases[:2], [], *phases[2:])
    assert done == sorted(done) and len(done) == 12


@pytest.mark.parametrize("count", (1, 2))
def test_after_a_phase_that_failed_no_other_begins(count):
    done: list[int] = []

    def fail() -> None:
        raise ValueError("this task")

    with threadpool_limits(count, user_api="blas"), pytest.raises(ValueError, match="this task"):
        threads.run_in_turn([fail, lambda: time.sleep(0.01)], [lambda: done.append(1)] * 4)
    assert done == []
