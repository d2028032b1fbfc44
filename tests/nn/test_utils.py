"""Gradients clipped, parameters as a vector, activations by name: beside PyTorch, or by hand."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import utils


def with_gradients(backend: object, *gradients: object) -> list[nn.Parameter]:
    parameters = []
    for values in gradients:
        gradient = pn.asarray(values, dtype=pn.float64)
        parameter = nn.Parameter(pn.zeros_like(gradient))
        parameter.grad = gradient
        parameters.append(parameter)
    return parameters


GRADIENTS = ([[3.0, -1.0], [0.5, 2.0]], [-4.0, 0.0, 1.0], 2.0)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping_by_norm_is_pytorchs(norm_type, max_norm, backend):
    torch = pytest.importorskip("torch")
    ours = with_gradients(backend, *GRADIENTS)
    theirs = [torch.zeros(p.shape, dtype=torch.float64, requires_grad=True) for p in ours]
    for parameter, values in zip(theirs, GRADIENTS, strict=True):
        parameter.grad = torch.tensor(values, dtype=torch.float64)
    norm = utils.clip_grad_norm_([*ours, nn.Parameter(pn.ones(1))], max_norm, norm_type)  # one without gradient
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert norm.item() == pytest.approx(expected.item(), rel=1e-12)
    for p, t in zip(ours, theirs, strict=True):
        numpy.testing.assert_allclose(p.grad.numpy(), t.grad.numpy(), rtol=1e-12)
        assert not p.grad.requires_grad


def test_clipping_by_norm_at_the_edges(backend):
    assert utils.clip_grad_norm_([], 1.0).item() == 0.0
    (p,) = with_gradients(backend, [0.0, 0.0])
    assert utils.clip_grad_norm_(p, 1.0).item() == 0.0  # one Tensor instead of a list
    assert p.grad.tolist() == [0.0, 0.0]
    (p,) = with_gradients(backend, [3.0, 4.0])
    assert utils.clip_grad_norm_([p, p], 100.0).item() == pytest.approx(5.0)  # the same twice counts once
    (p,) = with_gradients(backend, [math.nan, 4.0])
    with pytest.raises(RuntimeError, match="the norm of the gradients is nan"):
        utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad.tolist()[1] == 4.0
    assert math.isnan(utils.clip_grad_norm_(p, 1.0).item())
    with pytest.raises(ValueError, match="norm_type must be positive"):
        utils.clip_grad_norm_(p, 1.0, norm_type=0)


def test_the_norm_of_huge_and_tiny_gradients(backend):
    for size in (1e30, 1e-30):
        gradient = pn.asarray([3 * size, 4 * size], dtype=pn.float32)  # their squares leave float32
        assert utils.get_total_norm([gradient]).item() == pytest.approx(5 * size, rel=1e-6)
    assert utils.get_total_norm([pn.asarray([math.inf, 1.0])]).item() == math.inf


def test_clipping_by_norm_of_complex_gradients(backend):
    p = nn.Parameter(pn.asarray([0j, 0j]))
    p.grad = pn.asarray([3 + 0j, 4j])
    assert utils.clip_grad_norm_(p, 1.0).item() == pytest.approx(5.0)
    numpy.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8j], rtol=1e-5)


def test_clipping_by_value(backend):
    a, b = with_gradients(backend, [3.0, -3.0, 0.5], [[1.0]])
    utils.clip_grad_value_([a, b], 1)
    assert a.grad.tolist() == [1.0, -1.0, 0.5]
    assert b.grad.tolist() == [[1.0]]


def test_parameters_as_a_vector_and_back(backend):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    vector = utils.parameters_to_vector(model.parameters())
    assert vector.shape == (11,)
    assert vector[:6].tolist() == pn.reshape(model[0].weight, (-1,)).tolist()
    pn.sum(vector * pn.astype(pn.arange(11), pn.float32)).backward()
    assert model[1].bias.grad.tolist() == [10.0]
    before = list(model.parameters())
    utils.vector_to_parameters(2 * vector, model.parameters())
    numpy.testing.assert_allclose(
        utils.parameters_to_vector(model.parameters()).detach().numpy(), 2 * vector.detach().numpy()
    )
    assert all(p is q and p.requires_grad and p.is_leaf for p, q in zip(before, model.parameters(), strict=True))
    with pytest.raises(ValueError, match=r"have 11 elements, the vector has shape \(10,\)"):
        utils.vector_to_parameters(pn.ones(10), model.parameters())
    with pytest.raises(ValueError, match="there are no parameters"):
        utils.parameters_to_vector([])


def test_activations_are_a_and_h(backend):
    model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    x = pn.asarray(numpy.random.default_rng(0).normal(size=(5, 2)), dtype=pn.float32)
    found = utils.activations(model, x)
    assert list(found) == ["0", "1", "2.0", "2.1", "2"]
    a = x @ model[0].weight.detach().T + model[0].bias.detach()
    numpy.testing.assert_allclose(found["0"].numpy(), a.numpy(), rtol=1e-5, atol=1e-6)
    numpy.testing.assert_allclose(found["1"].numpy(), numpy.tanh(a.numpy()), rtol=1e-5, atol=1e-6)
    assert found["2"].tolist() == found["2.1"].tolist() == model(x).tolist()
    assert not any(module._forward_hooks for module in model.modules())  # none is left behind
    assert model(x).requires_grad


def test_activations_of_a_module_called_twice_and_with_a_graph(backend):
    act = nn.Tanh()
    model = nn.Sequential(nn.Linear(2, 2), act, nn.Linear(2, 2), act)
    x = pn.ones((1, 2))
    found = utils.activations(model, x, keep_graph=True)
    assert list(found) == ["0", "1", "2", "1#2"]
    assert found["1#2"].tolist() == model(x).tolist()
    pn.sum(found["0"]).backward()
    assert model[0].weight.grad.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_activations_leave_no_hooks_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="last axis is 3"):
        utils.activations(model, pn.ones((1, 3)))
    assert not model[0]._forward_hooks


def test_counting_parameters():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    assert utils.count_parameters(model) == 14
    model[1].weight.requires_grad_(False)
    assert utils.count_parameters(model, trainable_only=True) == 10
    model[0] = model[1]
    assert utils.count_parameters(model) == 6  # a tied one once
