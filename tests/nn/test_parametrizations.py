"""Weights computed from other parameters: both forms of weight and spectral norm beside PyTorch, and one's own."""

from __future__ import annotations

import copy

import numpy
import pytest

import portanet as pn
from portanet import nn, optim
from portanet.nn import utils
from portanet.nn.utils import parametrizations, parametrize
from tests.nn.cases import arrays, compared_step

torch = pytest.importorskip("torch")

LAYERS = {
    "Linear": (lambda n: n.Linear(3, 4), (5, 3)),
    "Conv1d": (lambda n: n.Conv1d(2, 3, 2), (2, 2, 5)),
    "Conv2d": (lambda n: n.Conv2d(2, 3, (1, 2), bias=False), (2, 2, 3, 3)),
    "LSTM": (lambda n: n.LSTM(3, 2), (4, 2, 3)),
}
NORMS = {
    "weight_norm": (lambda u, m, name: u.weight_norm(m, name)),
    "weight_norm of dim 1": (lambda u, m, name: u.weight_norm(m, name, dim=1)),
    "weight_norm of the whole": (lambda u, m, name: u.weight_norm(m, name, dim=None)),
    "spectral_norm": (lambda u, m, name: u.spectral_norm(m, name)),
    "spectral_norm of dim 1": (lambda u, m, name: u.spectral_norm(m, name, n_power_iterations=2, dim=1)),
    "spectral_norm with a large eps": (lambda u, m, name: u.spectral_norm(m, name, eps=2.0)),
}
FORMS = {"classic": (utils, torch.nn.utils), "parametrized": (parametrizations, torch.nn.utils.parametrizations)}


def pair(layer, norm, form):
    make, shape = LAYERS[layer]
    name = "weight_hh_l0" if layer == "LSTM" else "weight"
    ours, theirs = make(nn).to(pn.float64), make(torch.nn).to(torch.float64)
    NORMS[norm](FORMS[form][0], ours, name)
    NORMS[norm](FORMS[form][1], theirs, name)
    return ours, theirs, shape


@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", LAYERS)
def test_outputs_gradients_and_state_are_pytorchs(layer, norm, form, backend):
    if layer == "LSTM" and "spectral" in norm:
        pytest.skip("PyTorch keeps flat weights there, which are read at other times")
    ours, theirs, shape = pair(layer, norm, form)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert {name: x.shape for name, x in state.items()} == {name: tuple(x.shape) for name, x in expected.items()}
    assert list(state) == list(expected)
    assert repr(ours) == repr(theirs) or norm == "weight_norm of the whole"
    ours.load_state_dict({name: x.numpy() for name, x in expected.items()})
    for step in range(2):
        compared_step(ours, theirs, arrays([shape], seed=step))
    ours.eval()
    theirs.eval()
    compared_step(ours, theirs, arrays([shape], seed=5))


@pytest.mark.filterwarnings("ignore:.*is deprecated")
@pytest.mark.parametrize("norm", [utils.weight_norm, parametrizations.weight_norm], ids=["classic", "parametrized"])
def test_weight_norm_leaves_the_value_and_can_be_undone(norm, backend):
    layer = nn.Linear(3, 2)
    before, x = layer.weight.detach().numpy(), pn.ones((1, 3))
    expected = layer(x).detach().numpy()
    norm(layer)
    numpy.testing.assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-6)
    numpy.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5)
    if norm is utils.weight_norm:
        utils.remove_weight_norm(layer)
    else:
        parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert [name for name, _ in layer.named_parameters()] == ["bias", "weight"]
    assert isinstance(layer.weight, nn.Parameter)
    numpy.testing.assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_spectral_norm_reaches_a_largest_singular_value_of_1(form, backend):
    layer = FORMS[form][0].spectral_norm(nn.Linear(5, 4).to(pn.float64), n_power_iterations=50)
    x = pn.ones((1, 5), dtype=pn.float64)
    for _ in range(5):
        layer(x)
    layer.eval()
    largest = numpy.linalg.svd(layer.weight.detach().numpy())[1][0]
    assert abs(largest - 1) < 1e-6
    before = layer.weight.tolist()
    layer(x)
    assert layer.weight.tolist() == before  # no iteration in evaluation


def test_removing_the_classic_spectral_norm(backend):
    layer = utils.spectral_norm(nn.Linear(3, 2))
    value = layer.weight.tolist()
    utils.remove_spectral_norm(layer)
    assert layer.weight.tolist() == value
    assert list(layer.state_dict()) == ["bias", "weight"]
    assert not layer._forward_pre_hooks


@pytest.mark.heavy
@pytest.mark.parametrize("norm", [utils.weight_norm, parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_compiled_step_trains_it_as_a_plain_one(norm, backend):
    def trained(compiled):
        pn.manual_seed(0)
        model = norm(nn.Linear(3, 2).to(pn.float64))
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = pn.mean(model(x) ** 2)
            loss.backward()
            optimizer.step()
            return loss

        run = pn.compile(step, state=(model, optimizer)) if compiled else step
        losses = [run(pn.asarray(x)).item() for x in arrays([(4, 3)] * 4)]
        if compiled and backend.name in ("numpy", "torch", "jax"):
            assert run.reason == ""
        return losses

    numpy.testing.assert_allclose(trained(True), trained(False), rtol=1e-9)


# ----------------------------------------------------------------------------------------------------------- one's own


class Symmetric(nn.Module):
    def forward(self, x):
        return pn.triu(x) + pn.triu(x, k=1).T

    def right_inverse(self, x):
        return pn.triu(x)


class Scaled(nn.Module):
    def forward(self, x):
        return 3 * x


def test_one_of_ones_own_is_trained_and_assigned_to(backend):
    layer = nn.Linear(3, 3)
    weight = layer.weight
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert layer.parametrizations.weight.original is weight  # an optimizer that holds it goes on
    assert type(layer).__name__ == "ParametrizedLinear"
    layer(pn.ones((2, 3))).backward(pn.ones((2, 3)))
    assert weight.grad.tolist() == [[2.0, 4.0, 4.0], [0.0, 2.0, 4.0], [0.0, 0.0, 2.0]]
    layer.weight = pn.eye(3)
    assert layer.weight.tolist() == pn.eye(3).tolist()
    assert parametrize.is_parametrized(layer)
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")


def test_two_are_applied_one_after_the_other_and_removed_together(backend):
    layer = nn.Linear(2, 2)
    layer.weight = nn.Parameter(pn.asarray([[1.0, 2.0], [2.0, 5.0]]))
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "weight", Scaled())
    assert layer.weight.tolist() == [[3.0, 6.0], [6.0, 15.0]]
    with pytest.raises(RuntimeError, match="Scaled has no right_inverse"):
        layer.weight = pn.eye(2)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert layer.weight.tolist() == [[1.0, 2.0], [0.0, 5.0]]
    assert "parametrizations" not in layer._modules


def test_buffers_may_be_computed_too(backend):
    layer = nn.BatchNorm1d(2)
    parametrize.register_parametrization(layer, "running_mean", Scaled())
    assert list(layer.state_dict())[-1] == "parametrizations.running_mean.original"
    parametrize.remove_parametrizations(layer, "running_mean")
    assert "running_mean" in layer._buffers


def test_a_copy_has_parameters_of_its_own(backend):
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    twin = copy.deepcopy(layer)
    parametrize.remove_parametrizations(layer, "weight")
    assert parametrize.is_parametrized(twin, "weight")
    twin.weight = pn.zeros((2, 3)) + 2
    assert twin.weight.tolist() != layer.weight.tolist()


def test_what_is_cached_is_computed_once(backend):
    layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    assert layer.weight is not layer.weight
    with parametrize.cached():
        first = layer.weight
        with parametrize.cached():
            assert layer.weight is first
        assert layer.weight is first
    assert layer.weight is not first


def test_refusals():
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="Linear has no parameter 'wight'; it has weight, bias"):
        utils.weight_norm(layer, "wight")
    with pytest.raises(IndexError, match=r"weight_norm: there is no axis dim=2 in a weight of shape \(2, 3\)"):
        parametrizations.weight_norm(layer, dim=2)
    with pytest.raises(ValueError, match="n_power_iterations must be at least 1, saw 0"):
        utils.spectral_norm(layer, n_power_iterations=0)
    with pytest.raises(ValueError, match="Linear has no parameter or buffer 'wight'"):
        parametrize.register_parametrization(layer, "wight", Scaled())
    with pytest.raises(ValueError, match="remove_weight_norm: Linear.weight has no weight_norm"):
        utils.remove_weight_norm(layer)
    with pytest.raises(ValueError, match=r"Linear.weight has no parametrization"):
        parametrize.remove_parametrizations(layer, "weight")

    class Flat(nn.Module):
        def forward(self, x):
            return pn.reshape(x, (-1,))

    with pytest.raises(ValueError, match=r"of shape \(6,\), but the tensor is float32 of shape \(2, 3\); unsafe=True"):
        parametrize.register_parametrization(layer, "weight", Flat())
    assert type(layer) is nn.Linear
    utils.weight_norm(layer)
    with pytest.raises(ValueError, match="Linear.weight is computed from other parameters already"):
        utils.weight_norm(layer)
    with pytest.raises(AttributeError, match="Linear.weight is computed from other parameters; change those"):
        layer.weight = nn.Parameter(pn.ones((2, 3)))
    several = parametrizations.weight_norm(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="computed from several tensors, so leave_parametrized must be True"):
        parametrize.remove_parametrizations(several, "weight", leave_parametrized=False)
