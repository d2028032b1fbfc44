"""The benchmarks' own reasoning: turns, ratios, goals, equal mathematics, the report. No test looks at how fast anything is."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import portanet
from benchmarks import checking, contenders, goals, running, scaling, timing, worker, workloads
from benchmarks.contenders.base import Contender, LeftOut
from benchmarks.report import content, write
from benchmarks.report.blocks import Paragraph, Table
from benchmarks.report.markdown import markdown
from benchmarks.report.page import page
from benchmarks.report.words import amount
from benchmarks.workloads.base import Network, Product
from portanet import nn

ROOT = Path(__file__).resolve().parents[1]
NOT_THESE = ["wrong", "broken", "absent", "portanet-broken"]
SMALLEST = workloads.STEPS[0]


# -------------------------------------------------------------------------------------------------------------- timing


def test_the_ratio_is_the_median_of_the_ratios_of_neighbours():
    found = timing.pair("w", "a", "b", 1, [(1.0, 2.0), (9.0, 3.0), (4.0, 4.0)])
    assert (found.low, found.ratio, found.high) == (0.75, 1.0, 2.0)  # of 0.5, 3 and 1; the ratio of medians is 4/3
    assert (found.subject_value, found.against_value, found.turns) == (4.0, 3.0, 3)


def test_one_turn_is_its_own_quartiles():
    assert timing.quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_the_functions_take_turns(monkeypatch):
    monkeypatch.setattr(timing, "BLOCK", 0.0)  # one call a turn
    monkeypatch.setattr(timing, "SHORT", 0.0)  # and none that is not timed
    order: list[str] = []
    turns = timing.alternate([lambda: order.append("a"), lambda: order.append("b")], 0.0, least=4)
    assert [len(turn) for turn in turns] == [2, 2, 2, 2]
    assert order[-8:] == ["a", "b"] * 4


def test_a_function_is_warmed_up_by_so_many_calls_or_for_so_long(monkeypatch):
    called: list[int] = []
    timing.warm_up(lambda: called.append(1))
    assert len(called) == timing.WARM[0]
    monkeypatch.setattr(timing, "WARM", (10**9, 0.01))
    timing.warm_up(lambda: called.append(1))
    assert 60 < len(called) < 10**9


def test_short_functions_are_called_often_enough_to_be_timed():
    calls = [0]

    def count():
        calls[0] += 1

    turns = timing.alternate([count], 0.0, least=2)
    assert len(turns) == 2
    assert calls[0] > 1000  # a block of 4 ms each


def test_a_rest_lasts_until_all_other_threads_sleep():
    over = threading.Event()
    busy = threading.Thread(target=lambda: [sum(range(10_000)) for _ in iter(over.is_set, True)])
    busy.start()
    threading.Timer(0.08, over.set).start()
    started = time.perf_counter()
    timing.rest()
    assert over.is_set()
    assert time.perf_counter() - started < timing.LOOK * timing.LOOKS
    busy.join()


def test_with_several_threads_each_turn_begins_with_a_rest_and_a_call_that_is_not_timed(monkeypatch):
    happened: list[str] = []
    monkeypatch.setattr(timing, "rest", lambda: happened.append("rest"))
    monkeypatch.setattr(timing, "_plan", lambda function, wait, block: (2, False, 1.0))
    timing.alternate([lambda: happened.append("call")], 0.0, least=2, threads=2)
    assert happened[-4 * 2 :] == ["rest", "call", "call", "call"] * 2
    happened.clear()
    timing.alternate([lambda: happened.append("call")], 0.0, least=2, threads=1)
    assert happened == ["call", "call"] * 2


@pytest.mark.parametrize(("power", "constant"), [(1.0, 3.0), (2.0, 0.1)])
def test_the_power_of_growth_is_recovered(power, constant):
    sizes = [10, 20, 40]
    assert scaling.exponent(sizes, [constant * size**power for size in sizes]) == pytest.approx(power)


# --------------------------------------------------------------------------------------------------------------- goals


def test_a_bound_on_time_and_one_on_speed():
    slow = goals.Goal("w", "other", at_most=1.5)
    assert slow.met(1.5) and not slow.met(1.51)
    assert slow.figure(1.5) == "1.50 x"
    fast = goals.Goal("w", "other", at_least=4)
    assert fast.met(0.25) and not fast.met(0.26)
    assert fast.figure(0.2) == "5.00 x as fast"


@pytest.mark.parametrize("goal", goals.GOALS, ids=lambda goal: f"{goal.workload}, {goal.subject}, {goal.against}")
def test_every_goal_names_what_there_is(goal):
    assert (goal.at_most is None) != (goal.at_least is None)
    workload = workloads.ALL[goal.workload]
    for name in (goal.subject, goal.against):
        assert contenders.ALL[name].builder(workload), f"{name} cannot do {goal.workload}"


def test_the_recurrent_weights_are_one_matrix():
    found = workloads.ALL["LSTM"].products()
    assert Product(64, 32, 128, 512, shared=True) in found  # forward, step by step
    assert Product(64, 32, 512, 128, shared=True) in found  # and back
    assert Product(1, 128, 64 * 32, 512) in found  # their gradient at once
    assert not [one for one in found if one.stack > 1 and not one.shared]


def test_what_the_goals_compare_is_timed():
    pairs = worker.pairs_of(SMALLEST.name, ["numpy", "torch", "portanet-numpy", "portanet-torch"], "portanet-numpy")
    assert pairs == [
        ("portanet-numpy", "numpy"),
        ("portanet-numpy", "torch"),
        ("portanet-numpy", "portanet-torch"),
        ("portanet-torch", "torch"),
    ]


# ----------------------------------------------------------------------------------------------------- equal mathematics


def test_other_numbers_are_told_apart():
    assert checking.difference([2.0, 1.0], [2.0, 1.0 + 1e-5]) is None
    assert "step 2" in checking.difference([2.0, 1.0], [2.0, 1.01])
    assert "step 1" in checking.difference([2.0], [float("nan")])
    assert "shape" in checking.difference([np.zeros(2)], [np.zeros(3)])


@pytest.mark.parametrize("workload", workloads.STEPS, ids=lambda one: one.name)
def test_the_start_and_the_batch_are_everyone_s(workload):
    model = workload.network(nn, portanet.asarray)
    ours = {name: value.shape for name, value in model.named_parameters()}
    assert ours == workload.shapes()
    for one, other in zip(_numbers(workload), _numbers(workload), strict=True):
        np.testing.assert_array_equal(one, other)
    logits = model(portanet.asarray(workload.data()[0]))
    assert logits.shape == workload.classes()
    assert len(workload.data()[1]) == workload.classes()[0]


def _numbers(workload):
    return [*workload.weights().values(), *workload.data()]


def test_the_products_of_a_step():
    found = workloads.ALL["MLP 784-128-10"].products()
    forward = [Product(1, 64, 784, 128, first=True), Product(1, 64, 128, 10)]
    back = [Product(1, 784, 64, 128), Product(1, 128, 64, 10), Product(1, 64, 10, 128)]  # two for weights, one down
    assert found == forward + back
    assert workloads.ALL["MLP 784-128-10, inference"].products() == [one._replace(m=1) for one in forward]


@pytest.mark.parametrize("workload", [*workloads.STEPS, *workloads.INFERENCE], ids=lambda one: one.name)
def test_contenders_on_numpy_compute_the_same(workload):
    if workload.name.startswith("MLP 784-2048"):
        pytest.skip("takes long, and is the others' text")
    expected = None
    for name in ("portanet-numpy", "numpy", "autograd"):
        try:
            step = contenders.ALL[name].build(workload)
        except LeftOut:
            continue
        values = checking.results(step, 2)
        expected = values if expected is None else expected
        assert checking.difference(expected, values) is None, name


def test_a_contender_that_computes_something_else_is_left_out(monkeypatch, capsys):
    wrong = Contender("wrong", "wrong", ("numpy",), {Network: lambda _: lambda: 1.0})
    broken = Contender("broken", "broken", ("numpy",), {Network: lambda _: lambda: 1 / 0})
    absent = Contender("absent", "absent", ("a_package_that_nobody_has",), {Network: lambda _: lambda: 1.0})
    ours = Contender("portanet-broken", "broken", ("numpy",), {Network: lambda _: lambda: 1 / 0})
    for one in (wrong, broken, absent, ours):
        monkeypatch.setitem(contenders.ALL, one.name, one)
    task = worker.Task(1, 0.0, "portanet-numpy", ["numpy", *NOT_THESE, "portanet-numpy"])
    monkeypatch.setattr(worker.threads, "limit", lambda count: None)  # of this whole process
    assert list(worker.built(SMALLEST, task)) == ["numpy", "portanet-numpy"]
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    reasons = {one["contender"]: (one["kind"], one["reason"]) for one in told if "reason" in one}
    assert reasons["wrong"][0] == "failed" and "computes something else" in reasons["wrong"][1]
    assert reasons["broken"] == ("left_out", "failed: ZeroDivisionError: division by zero")
    assert reasons["portanet-broken"][0] == "failed" and "ZeroDivisionError" in reasons["broken"][1]
    assert reasons["absent"] == ("left_out", "a_package_that_nobody_has is not installed")


def test_some_contenders_run_only_where_they_are_named():
    assert "portanet-compile-jax" not in [one.name for one in contenders.chosen([])]
    assert [one.name for one in contenders.chosen(["portanet-compile-jax"])] == ["portanet-compile-jax"]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no contender is called numpi"):
        contenders.chosen(["numpi"])
    with pytest.raises(ValueError, match="no workload has"):
        workloads.chosen(["MLP 65"])


# -------------------------------------------------------------------------------------------------------------- report


def test_a_run_that_is_stopped_keeps_what_it_has(monkeypatch, capsys):
    def work(task, findings, bar):
        findings["built"].append(task.threads)
        if task.threads == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(running, "work", work)
    tasks = [worker.Task(count, 0.0, "portanet-numpy", ["numpy"], ["import"]) for count in (1, 2, 4)]
    assert running.run(tasks)["built"] == [1, 2]
    assert "stopped" in capsys.readouterr().out


@pytest.fixture
def findings():
    pairs = [
        timing.pair(SMALLEST.name, "portanet-numpy", "numpy", 2, [(1.4e-5, 1e-5)]),
        timing.pair(SMALLEST.name, "portanet-numpy", "torch", 2, [(1.4e-5, 2.8e-5)]),
        timing.pair(f"peak memory of {SMALLEST.name}", "portanet-numpy", "numpy", 0, [(2**20, 2**20)], "B"),
    ]
    curve = {"figure": "width", "contender": "numpy", "sizes": [1, 2, 4], "seconds": [1e-3, 2e-3, 4e-3]}
    steep = {"name": "a list", "sizes": [1, 2, 4], "seconds": [1e-3, 4e-3, 16e-3], "exponent": 2.0}
    return {
        "pairs": [asdict(one) for one in pairs], "threads": [2], "built": [], "left_out": [], "spent": [],
        "failed": [{"workload": "LeNet", "contender": "jax", "reason": "it <broke>", "threads": 2}],
        "absent": {"sklearn": "sklearn is not installed"}, "curves": [curve], "growth": [steep],
        "command": "python -m benchmarks", "environment": {"processor": "a & b"}, "seconds": 60.0,
    }  # fmt: skip


def test_the_report_says_what_was_met_and_what_was_missed(findings):
    text = markdown(content.blocks_of(findings), "cpu")
    assert "| MLP 64-32-10 | portanet on NumPy | NumPy by hand | at most 1.5 x | 1.40 x, met |" in text
    assert "at least 4 x as fast | **2.00 x as fast, missed** |" in text
    assert "Met: 2 of 3 with 2 threads." in text  # the memory of a step counts for every number of threads
    assert "| a list | 1 ms | 4 ms | 16 ms | 2.00 | **missed** |" in text
    assert "- scikit-learn: sklearn is not installed." in text
    assert "- JAX jit, by hand: it <broke> (LeNet)." in text


def test_the_goals_are_said_on_the_terminal_too(findings):
    line = content.goal_lines(findings)[0]
    assert line == "MLP 64-32-10, portanet on NumPy, NumPy by hand: at most 1.5 x: 1.40 x, met"


def test_the_page_escapes_what_it_is_given(findings):
    text = page(content.blocks_of(findings), content.TITLE)
    assert "a &amp; b" in text and "it &lt;broke&gt;" in text
    assert '<td class="missed">2.00 x as fast, missed</td>' in text
    assert text.count("<table>") == text.count("</table>") > 5


def test_cells_of_a_table_stay_cells():
    assert "a\\|b" in markdown([Table(["a|b"], [])], "cpu")
    assert "<code>x &lt; y</code>" in page([Paragraph("`x < y`")], "t")


def test_a_report_is_files_beside_each_other(findings, tmp_path):
    written = write(findings, tmp_path / "cpu")
    names = {path.name for path in written}
    assert {"cpu.md", "cpu.html", "cpu.json"} <= names
    text = (tmp_path / "cpu.md").read_text()
    pictures = {name for name in names if name.endswith(".svg")}
    assert bool(pictures) == (importlib.util.find_spec("matplotlib") is not None)
    assert all(f"]({name})" in text and (tmp_path / name).read_text().rstrip().endswith("</svg>") for name in pictures)
    again = json.loads((tmp_path / "cpu.json").read_text())  # the pages can be written anew from the numbers
    assert markdown(content.blocks_of(again), "cpu") == text


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1.5, "s", "1.5 s"),
        (0.0123, "s", "12.3 ms"),
        (3.3e-5, "s", "33 us"),
        (512, "B", "512 B"),
        (3e9, "B", "2.79 GiB"),
    ],
)
def test_amounts_read_well(value, unit, expected):
    assert amount(value, unit) == expected


def test_a_small_run_from_the_command_line(tmp_path):
    words = ["--smoke", "--workloads", "MLP 64-32-10", "peak memory of MLP 64-32-10", "--threads", "1"]
    words += ["--contenders", "floor", "numpy", "portanet-numpy", "--output", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "run.json").read_text())
    assert found["failed"] == []
    measured = {(one["workload"], one["against"]) for one in found["pairs"]}
    assert {
        (SMALLEST.name, "floor"),
        (SMALLEST.name, "numpy"),
        (f"peak memory of {SMALLEST.name}", "numpy"),
    } <= measured
    assert all(one["ratio"] > 0 and one["subject"] == "portanet-numpy" for one in found["pairs"])
    assert "MLP 64-32-10" in (tmp_path / "run.html").read_text()
