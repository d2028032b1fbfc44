"""The benchmarks of a GPU, where there is none: the same code with portanet on other backends, and all others on the CPU."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import portanet
from benchmarks import __main__, goals, timing
from benchmarks.gpu import contenders, running, worker, workloads
from benchmarks.gpu.contenders.base import Run
from benchmarks.gpu.place import Place
from benchmarks.gpu.workloads import JOBS, Job
from benchmarks.report import contents, gpu
from benchmarks.report.markdown import markdown
from benchmarks.workloads.base import Network

ROOT = Path(__file__).resolve().parents[1]
EAGER, COMPILED, TORCH = contenders.EAGER, contenders.COMPILED, contenders.TORCH

# ------------------------------------------------------------------------------------------------- what there is to do


@pytest.mark.parametrize(
    "goal", goals.GPU_GOALS, ids=lambda goal: f"{goal.workload}, {goal.subject}, {goal.against}, {goal.bound()}"
)
def test_every_goal_names_what_there_is(goal):
    assert (goal.at_most is None) != (goal.at_least is None)
    workload = workloads.ALL[JOBS[goal.workload].workload]
    for name in (goal.subject, goal.against):
        assert contenders.at(Place())[name].builder(workload), f"{name} cannot do {goal.workload}"


def test_what_the_goals_compare_is_compared():
    pairs = worker.pairs_of("LeNet", [TORCH, EAGER, COMPILED])
    assert pairs == [(EAGER, TORCH), (EAGER, COMPILED), (COMPILED, TORCH), (COMPILED, EAGER)]


def test_the_bytes_that_are_counted():
    elements = 16384 * 2048
    assert workloads.moved(workloads.ALL["GELU"]) == (2 + 3) * 4 * elements  # x, y; x, g, dx
    assert workloads.moved(workloads.ALL["GELU, forward"]) == 2 * 4 * elements
    assert workloads.moved(workloads.ALL["Adam on 100 M parameters"]) == 7 * 4 * 100_000_000
    assert workloads.moved(workloads.ALL["LeNet"]) is None


def test_the_operations_of_the_widest_network():
    assert workloads.operations(workloads.WIDE) == (8 + 8 + 7) * 2 * 4096**3  # forward, weights, and down but once


def test_numbers_are_drawn_once_and_copied():
    calls = [0]

    class Counted(type(workloads.SMALL_MLP)):
        def weights(self):
            calls[0] += 1
            return {"w": np.zeros(2)}

    found = workloads.drawn_once(Counted("w", 1))
    first, second = found.weights(), found.weights()
    first["w"][:] = 1
    assert calls == [1] and second["w"].max() == 0 and found.weights()["w"].max() == 0


def test_dropout_is_judged_by_its_factors():
    workload = workloads.small(workloads.ALL["dropout"])
    arrays = workload.arrays()
    x, g = [workloads.sampled(arrays[name]) for name in ("x", "g")]
    kept = np.random.default_rng(0).random(x.shape) < 0.5
    right = workload.digest([2 * x * kept, 2 * g * kept])
    assert [one.tolist() for one in right] == [[1, 1], 1]
    other_mask = workload.digest([2 * x * kept, 2 * g * ~kept])
    assert other_mask[0].tolist() == [1, 3]
    assert workload.digest([2 * x, 2 * g])[1] == 0  # nothing dropped


# ------------------------------------------------------------------------------------------------------- who does it


def task(**options) -> worker.Task:
    return worker.Task(**{"jobs": [], "contenders": [], "seconds": 0.0, "limit": 600.0, "small": True} | options)


def told(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("pretended", ["numpy", "array_api_strict:device1", None], ids=lambda one: one or "on the GPU")
@pytest.mark.parametrize("name", workloads.ALL)
def test_all_compute_the_same(name, pretended, capsys):
    for package in ("torch", (pretended or "cupy").partition(":")[0]):
        pytest.importorskip(package)
    if pretended is None and Place().unavailable():
        pytest.skip(Place().unavailable())
    who = [TORCH, contenders.GRAPH, contenders.FUSED, EAGER, COMPILED, contenders.COPY]
    busy = worker.Worker(task(contenders=who, pretended=pretended))
    workload = workloads.small(workloads.ALL[name])
    runs = busy.built(Job(name), workload)
    found = told(capsys)
    assert [one for one in found if one["kind"] == "failed"] == []
    assert TORCH in runs and EAGER in runs
    if isinstance(workload, Network):
        assert (COMPILED in runs) == (pretended in ("numpy", None))
        left = {one["contender"]: one["reason"] for one in found if one["kind"] == "left_out"}
        assert COMPILED in runs or left[COMPILED].startswith("is not replayed: array_api_strict has no compiler")


@pytest.mark.eager
@pytest.mark.parametrize(
    "name", ["MLP 784-512-512-10 Adam", "ResNet-18", "Adam on 100 M parameters", "layer norm", "dropout"]
)
def test_jax_computes_the_same(name, capsys):
    for package in ("torch", "jax"):
        pytest.importorskip(package)
    busy = worker.Worker(task(contenders=[TORCH, contenders.JAX], pretended="numpy"))
    assert list(busy.built(Job(name), workloads.small(workloads.ALL[name]))) == [TORCH, contenders.JAX], told(capsys)


def test_a_contender_that_computes_something_else_fails_the_run(capsys):
    busy = worker.Worker(
        task(contenders=["right", "wrong", "broken", "portanet-broken", "elsewhere"], pretended="numpy")
    )

    def contender(value):
        def build(workload):
            return Run(lambda: value, lambda last: None, lambda last: [np.asarray(1 / last)])

        return SimpleNamespace(builder=lambda workload: build, build=build, missing=lambda: None)

    busy.contenders = {
        "right": contender(1.0), "wrong": contender(1.01), "broken": contender(0), "portanet-broken": contender(0),
        "elsewhere": SimpleNamespace(builder=lambda workload: None),
    }  # fmt: skip
    assert list(busy.built(Job("LeNet"), workloads.ALL["LeNet"])) == ["right"]
    reasons = {one["contender"]: (one["kind"], one["reason"]) for one in told(capsys) if "reason" in one}
    assert reasons["wrong"][0] == "failed" and "computes something else: step 1" in reasons["wrong"][1]
    assert reasons["broken"][0] == "left_out" and reasons["portanet-broken"][0] == "failed"
    assert "ZeroDivisionError" in reasons["broken"][1] and "elsewhere" not in reasons


def test_a_gpu_that_failed_ends_the_process(monkeypatch, capsys):
    def lost(self):
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(Place, "wait", lost)
    busy = worker.Worker(task(pretended="numpy"))
    with pytest.raises(SystemExit, match="answers no more after that: an illegal memory access"):
        busy.broken(Job("LeNet"), EAGER, RuntimeError("first"))
    assert told(capsys)[0]["reason"] == "failed: RuntimeError: first"


def test_steps_are_started_one_after_the_other_and_waited_for_once(monkeypatch):
    monkeypatch.setattr(timing, "SHORT", 0.0)  # no call that is not timed
    seen: list[str] = []
    clock = iter(range(10**6))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock) / 1000)  # each look takes a millisecond
    runs = [lambda: seen.append("a"), lambda: seen.append("b")]
    waits = [lambda: seen.append("wait a"), lambda: seen.append("wait b")]
    timing.alternate(runs, 0.0, least=1, waits=waits, block=0.003)
    assert seen[-8:] == ["a", "a", "a", "wait a", "b", "b", "b", "wait b"]
    assert seen[:2] == ["a", "wait a"]  # how long one takes is known when it has ended


# ---------------------------------------------------------------------------------------------------------------- TF32


def test_tf32_is_switched_in_each_library():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    jax_before, ours_before = jax.config.jax_default_matmul_precision, portanet.get_float32_matmul_precision()
    try:
        for allowed, words in ((True, ("tensorfloat32", "high")), (False, ("highest", "highest"))):
            for name in (contenders.GEMM, contenders.JAX, EAGER):
                Place().allow_tf32(allowed, name)
            assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (allowed, allowed)
            assert (jax.config.jax_default_matmul_precision, portanet.get_float32_matmul_precision()) == words
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
        jax.config.update("jax_default_matmul_precision", jax_before)
        portanet.set_float32_matmul_precision(ours_before)


# ------------------------------------------------------------------------------------------------------------- the run


def options(path: Path, **others) -> argparse.Namespace:
    given = ["--backend", "cupy", "--pretend", "numpy", "--smoke", "--output", str(path)]
    found = __main__.parsed(given)
    return argparse.Namespace(**vars(found) | others)


def workers(monkeypatch, *scripts: str) -> list[worker.Task]:
    """Workers that say what each script says, one after the other; and the tasks that they were given."""
    waiting, given = list(scripts), []

    def command(self, task):
        given.append(task)
        return [sys.executable, "-c", "import json, sys, time\ndef tell(kind, **finding):\n"
                "    print(json.dumps({'kind': kind, **finding}), flush=True)\n" + waiting.pop(0)]  # fmt: skip

    monkeypatch.setattr(running.Running, "command", command)
    return given


DONE = "tell('begin', workload='{0}'); tell('spent', workload='{0}', seconds=1.0)\n"


def test_who_ends_a_process_is_left_out_of_the_next(monkeypatch, tmp_path):
    died = "tell('begin', workload='LeNet'); tell('built', workload='LeNet', contender='torch-cuda', seconds=1.0)\n"
    died += "tell('left_out', workload='LeNet', contender='jax-cuda', reason='failed: OutOfMemory')\n"
    died += "tell('building', workload='LeNet', contender='portanet-cupy'); sys.exit(3)"
    given = workers(monkeypatch, DONE.format("GELU") + died, DONE.format("LeNet") + "tell('end')")
    findings, _ = running.measured(options(tmp_path / "run", workloads=["LeNet", "GELU"]), tmp_path)
    assert [list(map(tuple, one.jobs)) for one in given] == [
        [("LeNet", False), ("GELU", False), ("GELU, forward", False)],
        [("LeNet", False), ("GELU, forward", False)],
    ]
    assert given[1].excluded == [["LeNet", EAGER]]
    assert findings["done"] == ["GELU", "LeNet"]
    assert [(one["contender"], one["reason"]) for one in findings["failed"]] == [(EAGER, "the process ended with 3")]
    assert findings["built"] == findings["left_out"] == []  # of the first try
    assert json.loads((tmp_path / "run.json").read_text())["done"] == ["GELU", "LeNet"]


def test_a_worker_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "SILENT", 2.0)
    silent = "tell('begin', workload='LeNet'); tell('timing', workload='LeNet'); time.sleep(60)"
    given = workers(monkeypatch, silent)
    findings, _ = running.measured(options(tmp_path / "run", workloads=["LeNet"]), tmp_path)
    assert len(given) == 1
    assert findings["failed"] == [{"workload": "LeNet", "contender": "all", "reason": "said nothing for 2 s"}]


def test_a_worker_that_cannot_start_ends_the_run(monkeypatch, tmp_path):
    workers(monkeypatch, "sys.exit(1)")
    findings, _ = running.measured(options(tmp_path / "run"), tmp_path)
    assert findings["failed"][0]["workload"] == "everything"


def test_time_that_is_up_is_no_failure(monkeypatch, tmp_path):
    workers(monkeypatch, DONE.format("LeNet"))
    findings, _ = running.measured(options(tmp_path / "run", workloads=["LeNet", "GELU"], limit=-1.0), tmp_path)
    assert findings["failed"] == []
    assert {one["reason"] for one in findings["left_out"]} == {"no time was left"}
    text = markdown(contents(findings).blocks_of(findings), "run")
    assert "| LeNet | portanet on CuPy | PyTorch | at least 0.8 x as fast | **not measured** |" in text
    assert "Met: 0 of 3." in text


def test_a_folder_gets_a_report_that_is_named_after_the_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(Place, "card", lambda self: "NVIDIA H100 80GB HBM3")
    assert running._path(options(tmp_path), Place(), tmp_path) == tmp_path / "nvidia-h100-80gb-hbm3"
    assert running._path(options(tmp_path / "mine"), Place(), tmp_path) == tmp_path / "mine"


def test_without_a_gpu_it_says_why():
    reason = Place().unavailable()
    if reason is None:
        pytest.skip("there is a GPU")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--backend", "cupy"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.strip() == f"python -m benchmarks --backend cupy: {reason}"
    assert "backend 'cupy'" in reason


def test_a_small_run_that_is_resumed_and_rendered(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "run"
    words = ["--backend", "cupy", "--pretend", "numpy", "--smoke", "--output", str(path), "--contenders"]
    words += [TORCH, EAGER, COMPILED, contenders.COPY, contenders.GEMM, "--workloads"]

    def run(*more: str) -> dict:
        done = subprocess.run([sys.executable, "-m", "benchmarks", *more], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(path.with_suffix(".json").read_text())

    first = run(*words, "MLP 8 x 4096, TF32", "GELU, forward")
    again = run(*words, "GELU", "--resume")
    assert again["done"] == ["GELU, forward", "MLP 8 x 4096, TF32", "GELU"] and again["failed"] == []
    assert again["pairs"][: len(first["pairs"])] == first["pairs"]
    measured = {(one["workload"], one["subject"], one["against"]) for one in again["pairs"]}
    assert ("MLP 8 x 4096, TF32", COMPILED, contenders.GEMM) in measured
    assert ("GELU", EAGER, contenders.COPY) in measured and ("GELU", contenders.COPY, EAGER) in measured
    assert all(math.isfinite(one["ratio"]) and one["ratio"] > 0 for one in again["pairs"])
    page = path.with_suffix(".md").read_text()
    assert gpu.SMALL in page and "| GELU, forward | On 16384 x 2048: x read, y written. |" in page
    path.with_suffix(".md").unlink()
    run("--render", str(path.with_suffix(".json")))
    assert path.with_suffix(".md").read_text() == page
