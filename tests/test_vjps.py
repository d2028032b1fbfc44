"""Every rule, proved by order of convergence: first derivatives and second, on every backend."""

from __future__ import annotations

import numpy
import pytest

import portanet
from portanet.testing import check_gradient
from portanet.vjps import RULES
from tests import samples

EVERYTHING = samples.everything()


def arguments(sample: samples.Sample) -> list[portanet.Tensor]:
    return [portanet.asarray(numpy.array(x)) for x in sample.args]


def marked(sample: samples.Sample) -> object:
    return pytest.param(sample, marks=pytest.mark.needs(sample.needs) if sample.needs else (), id=str(sample))


@pytest.mark.parametrize("sample", [marked(s) for s in EVERYTHING])
def test_gradient_is_of_second_order(sample, backend):
    assert check_gradient(sample.function, *arguments(sample), verbose=False).order > 1.8


@pytest.mark.eager
@pytest.mark.parametrize("sample", [marked(s) for s in EVERYTHING if s.second])
def test_gradient_of_gradient_is_of_second_order(sample, backend):
    assert check_gradient(sample.function, *arguments(sample), order=2, verbose=False).order > 1.8


def test_every_rule_has_a_sample():
    differentiable = {name for name, rule in RULES.items() if rule.vjps or rule.joint}
    assert differentiable == {sample.rule for sample in EVERYTHING}


def rules_behind(results: object) -> set[str]:
    """The names of the rules that a gradient of the results would pass through."""
    seen: set[object] = set()
    pending = [y._node for y in (results if isinstance(results, (tuple, list)) else [results])]
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            pending += node.parents or ()
    return {node.rule.name for node in seen if node.rule is not None}


def test_every_sample_reaches_the_rule_that_it_is_named_after():
    with portanet.use_backend("array_api_strict"):  # not NumPy: moving there from there would be no move
        for sample in EVERYTHING:
            args = [x.requires_grad_() if "floating" in x.dtype.kind else x for x in arguments(sample)]
            assert sample.rule in rules_behind(sample.function(*args)), str(sample)


def test_a_wrong_rule_is_found(monkeypatch):
    monkeypatch.setattr(RULES["tanh"], "vjps", (lambda xp, g, y, x: g * (1 - y),))
    x = portanet.asarray([0.3, 0.7], dtype=portanet.float64)
    assert check_gradient(portanet.tanh, x, verbose=False).order < 1.25
