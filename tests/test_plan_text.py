"""The text of a plan: a line for each call, and arguments that are read where they lie."""

from __future__ import annotations

import numpy as np
import pytest

import portanet
from portanet.plan.program import Program, read_or_copied
from portanet.plan.recorded import adopt
from tests.test_plan import bits, recording


@pytest.fixture(autouse=True)
def _adopted():
    adopt()
    with portanet.use_backend("numpy"):
        yield


def test_a_plan_is_a_function_of_a_line_for_each_call():
    recorder, result = recording(lambda x, y: np.maximum(x + 1, y[1:]) if x[0] < 3 else x, np.ones(2), np.arange(3.0))
    places = [call[1][0] for call in recorder.calls[2:3]]
    before, _, moved = recorder.finished([result.value], places)
    program = Program(before, places, [recorder.placed(result.value, moved)])
    assert program.text.splitlines() == [
        "def run(input0):",
        "    less_1(x1, x2, x3)",
        "    if bool(x3) is not True: _compared_1(x3, True)",
        "    add_1(input0, x4, x5)",
        "    maximum_1(x5, x6, out=x7)",
        "    return [x7.copy()]",
    ]
    assert [x.tolist() for x in program.run(np.asarray([7.0, -7.0]))] == [[8, 2]]


def test_inputs_are_read_where_they_lie_unless_parts_of_them_are_read():
    def program(x, y, z):
        return x * 2, y.reshape(-1) + 1, [np.stack([z[1:], z[:-1]]), z]

    def listed(x, y, z):
        first, second, (third, fourth) = program(x, y, z)
        return first, second, third, fourth

    rng = np.random.default_rng(0)
    sources = [rng.normal(size=4).copy() for _ in range(3)]
    recorder, results = recording(listed, *sources)
    places = [next(x for call in recorder.calls for x in call[1] if isinstance(x, np.ndarray) and bits(x) == bits(y))
              for y in sources[:2]] + [results[3].value]  # fmt: skip
    before, _, moved = recorder.finished([result.value for result in results], places)
    inputs, copies = read_or_copied(places, recorder.viewed)
    assert [x is place for x, place in zip(inputs, places, strict=True)] == [True, True, False]
    run = Program(copies + before, inputs, [recorder.placed(result.value, moved) for result in results]).run
    others = [rng.normal(size=4) for _ in range(3)]
    held = [bits(x) for x in others]
    for found, expected in zip(run(*others), listed(*others), strict=True):
        assert bits(found) == bits(expected) and not np.may_share_memory(found, others[2])
    assert [bits(x) for x in others] == held


def test_arguments_of_every_kind_have_their_place_in_the_text():
    log = []

    def function(*args, **options):
        log.append((args, options))

    x, y = np.zeros(2), np.ones(2)
    key = (slice(None), np.asarray([0]))
    tree = [x, (y, {"a": x, "b": 2.5}), "text", None, key, (1,), []]
    Program([(function, (tree, 3), {"axis": -1, "more": {"x": (x,)}})], [y]).run(z := np.full(2, 7.0))
    ((found, three), options) = log[0]
    assert found[0] is x and found[1][0] is z and found[1][1] == {"a": x, "b": 2.5} and found[2:4] == ["text", None]
    assert found[4][0] == slice(None) and found[4][1] is key[1] and found[5:] == [(1,), []] and three == 3
    assert options["axis"] == -1 and options["more"]["x"][0] is x and not log[1:]
