"""The checks of gradients: they pass what is right, find what is wrong, and leave everything as it was."""

from __future__ import annotations

import numpy
import pytest

import portanet
from portanet import nn
from portanet.testing import check_gradient, taylor_test
from portanet.vjps import RULES

POINT = numpy.asarray([0.3, -0.7, 1.1])


def batch() -> tuple[portanet.Tensor, portanet.Tensor]:
    """Inputs of six numbers and targets of one."""
    x = numpy.sin(numpy.arange(48.0)).reshape(8, 6)
    return portanet.asarray(x, dtype="float32"), portanet.asarray(x[:, :1] ** 2, dtype="float32")


def network(activation: nn.Module) -> nn.Module:
    portanet.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), activation, nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))


def test_a_right_gradient_has_order_two_and_a_wrong_one_has_not(backend, monkeypatch):
    x = portanet.asarray(POINT)
    assert check_gradient(portanet.sin, x, verbose=False).order > 1.9
    monkeypatch.setattr(RULES["sin"], "vjps", (lambda xp, g, y, x: 1.01 * g * xp.cos(x),))
    assert check_gradient(portanet.sin, x, verbose=False).order < 1.2


def test_a_gradient_that_is_nan_does_not_pass(monkeypatch):
    monkeypatch.setattr(RULES["sin"], "vjps", (lambda xp, g, y, x: g * float("nan"),))
    assert not check_gradient(portanet.sin, portanet.asarray(POINT), verbose=False).order > 1.8


def test_a_wrong_second_derivative_is_found(monkeypatch):
    # A rule whose values are right but which hides what they depend on: first order passes, second does not.
    monkeypatch.setattr(RULES["exp"], "vjps", (lambda xp, g, y, x: g * (y.detach() if hasattr(y, "detach") else y),))
    x = portanet.asarray(POINT)
    assert check_gradient(portanet.exp, x, verbose=False).order > 1.9
    assert check_gradient(portanet.exp, x, order=2, verbose=False).order < 1.2


def test_several_arguments_and_results_and_complex_numbers(backend):
    z = portanet.asarray(POINT + 0.5j)
    report = check_gradient(lambda a, b: (a * b, portanet.exp(a)), z, portanet.asarray(POINT), verbose=False)
    assert 1.9 < report.order < 2.5


def test_float32_and_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="float64"):
        check_gradient(portanet.sin, portanet.ones(3), verbose=False)
    with pytest.raises(TypeError, match="no argument is a floating array"):
        check_gradient(portanet.abs, portanet.asarray([1, 2]), verbose=False)


def test_the_table_is_printed(capsys):
    check_gradient(portanet.sin, portanet.asarray(POINT))
    assert "order" in capsys.readouterr().out
    check_gradient(portanet.sin, portanet.asarray(POINT), verbose=False)
    assert capsys.readouterr().out == ""


@pytest.mark.heavy
def test_a_smooth_network_has_order_two(backend):
    assert taylor_test(network(nn.Tanh()), nn.MSELoss(), batch(), verbose=False).order > 1.9


def test_a_network_with_a_wrong_rule_is_found(monkeypatch):
    monkeypatch.setattr(RULES["tanh"], "vjps", (lambda xp, g, y, x: g * (1 - 0.9 * y * y),))
    assert taylor_test(network(nn.Tanh()), nn.MSELoss(), batch(), verbose=False).order < 1.3


def test_kinks_are_explained():
    corner = portanet.asarray([0.0, 0.0], dtype=portanet.float64)  # |x|^1.5 has a tangent there, but no curvature
    kinked = check_gradient(lambda x: portanet.abs(x) ** 1.5, corner, verbose=False)
    assert 1.25 < kinked.order < 1.8
    assert "kink" in kinked.remark


@pytest.mark.heavy
def test_everything_is_afterwards_what_it_was(backend):
    model = network(nn.ReLU())
    x, y = batch()
    nn.MSELoss()(model(x), y).backward()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    grads = [p.grad.numpy().copy() for p in model.parameters()]
    state, training = portanet.random.get_state(), model.training
    taylor_test(model, nn.MSELoss(), (x, y), verbose=False)
    for name, value in model.state_dict().items():
        numpy.testing.assert_array_equal(value.numpy(), before[name], err_msg=name)
        assert value.dtype == before[name].dtype
    for p, grad in zip(model.parameters(), grads, strict=True):
        numpy.testing.assert_array_equal(p.grad.numpy(), grad)
        assert p.is_leaf and p.requires_grad
    assert portanet.random.get_state() == state and model.training is training


def test_a_loss_that_raises_leaves_the_model_alone():
    model = network(nn.Tanh())
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}

    def broken(prediction: portanet.Tensor, target: portanet.Tensor) -> portanet.Tensor:
        raise ZeroDivisionError("broken")

    with pytest.raises(ZeroDivisionError):
        taylor_test(model, broken, batch(), verbose=False)
    for name, value in model.state_dict().items():
        numpy.testing.assert_array_equal(value.numpy(), before[name], err_msg=name)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ValueError, match="no parameter"):
        taylor_test(nn.Tanh(), nn.MSELoss(), batch(), verbose=False)
