"""SciPy's minimizers end where they should, with each method's derivatives, and leave the best point in the model."""

from __future__ import annotations

import importlib
import sys

import numpy
import pytest

import portanet
from portanet import nn, optim
from portanet.optim.minimize import _Problem
from portanet.optim.vector import Layout
from tests.optim.problem import loss, parameters, values

scipy_optimize = pytest.importorskip("scipy.optimize")

METHODS = ["Nelder-Mead", "Powell", "CG", "BFGS", "Newton-CG", "L-BFGS-B", "TNC", "COBYLA", "SLSQP", "trust-constr",
           "trust-ncg", "trust-krylov", "trust-exact", "dogleg"]  # fmt: skip


def rosenbrock(v, w):
    return (1 - v[0]) ** 2 + 100 * (w[0] - v[0] ** 2) ** 2 + portanet.sum((w[1:] - 3) ** 2)


def started(start=(1.2, 1.1, 2.0)):
    v, w = [portanet.tensor(list(x), dtype=portanet.float64, requires_grad=True) for x in (start[:1], start[1:])]
    return v, w


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore:delta_grad == 0.0")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_minimum(method):
    with portanet.use_backend("numpy"):
        v, w = started()
        options = {"maxiter": 5000} if method in ("COBYLA", "Nelder-Mead", "trust-constr") else None
        tol = 1e-10 if method in ("COBYLA", "Nelder-Mead", "CG", "Powell") else None
        result = optim.scipy_minimize([v, w], lambda: rosenbrock(v, w), method, options=options, tol=tol)
        found = numpy.concatenate([v.detach().numpy(), w.detach().numpy()])
        assert (found == result.x).all()
        # The best that was seen is the answer, though the last digits may fail a method's own test.
        assert numpy.allclose(found, [1, 1, 3], atol=1e-2), result.message
        assert v.grad is None and w.grad is None and v.requires_grad and v.is_leaf


@pytest.mark.heavy
@pytest.mark.parametrize("method", ["BFGS", "Newton-CG", "trust-exact"])
def test_on_every_library(method, backend):
    v, w = started()
    result = optim.scipy_minimize([v, w], lambda: rosenbrock(v, w), method)
    assert type(result.x) is numpy.ndarray and result.x.dtype == "float64"
    assert numpy.allclose(numpy.concatenate([v.detach().numpy(), w.detach().numpy()]), [1, 1, 3], atol=1e-3)
    assert v.dtype is portanet.float64 and v.backend == portanet.get_backend().name


def test_derivatives_are_those_of_finite_differences():
    with portanet.use_backend("numpy"):
        p = parameters()
        layout = Layout(list(p.values()))
        problem = _Problem(layout, lambda: loss(p))
        x = values(p)
        value, slope = problem.value_and_gradient(x)
        assert value == problem.value(x)
        hessian = problem.hessian(x)
        assert numpy.allclose(hessian, hessian.T, atol=1e-12)
        h = 1e-5
        for i in (0, 13, 20, 24):
            step = h * numpy.eye(x.size)[i]
            assert abs((problem.value(x + step) - problem.value(x - step)) / (2 * h) - slope[i]) < 1e-8
            column = (problem.value_and_gradient(x + step)[1] - problem.value_and_gradient(x - step)[1]) / (2 * h)
            assert numpy.allclose(hessian[:, i], column, atol=1e-7)
            assert numpy.allclose(problem.product(x, numpy.eye(x.size)[i]), hessian[i], atol=1e-14)


def test_a_model_in_float32_is_fitted():
    with portanet.use_backend("numpy"):
        portanet.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
        model[0].bias.requires_grad_(False)
        frozen = model[0].bias.detach().numpy().copy()
        x = portanet.randn(20, 2)
        y = x[:, :1] - 0.5 * x[:, 1:]

        def error():
            return nn.functional.mse_loss(model(x), y)

        before = error().item()
        result = optim.scipy_minimize(model, error, options={"maxiter": 100})
        assert error().item() < before / 100
        assert abs(error().item() - result.fun) < 1e-7
        assert result.x.shape == (2 * 4 + 4 + 1,)
        assert (model[0].bias.numpy() == frozen).all() and model[0].weight.dtype is portanet.float32


def test_complex_parameters():
    with portanet.use_backend("numpy"):
        z = portanet.tensor([1.0 + 1.0j, 2.0], dtype=portanet.complex128, requires_grad=True)
        target = portanet.asarray([3.0 - 2.0j, 1.0j], dtype=portanet.complex128)

        def distance():
            error = z - target
            return portanet.sum(portanet.real(error * portanet.conj(error)) ** 2)

        for method in ("BFGS", "trust-exact"):
            optim.scipy_minimize([z], distance, method, tol=1e-12)
            assert numpy.allclose(z.detach().numpy(), [3 - 2j, 1j], atol=1e-3)
            with portanet.no_grad():
                z[...] = z + 1


def test_bounds_callback_and_an_unused_parameter():
    with portanet.use_backend("numpy"):
        v, w = started()
        seen = []
        result = optim.scipy_minimize(
            [v, w], lambda: portanet.sum(v * v), bounds=[(0.5, None)] + [(None, None)] * 2, callback=seen.append
        )
        assert result.success and v.item() == 0.5 and w.tolist() == [1.1, 2.0] and seen


def test_what_goes_wrong_leaves_the_parameters():
    with portanet.use_backend("numpy"):
        v, w = started()
        calls = []

        def fails():
            calls.append(1)
            if len(calls) > 3:
                raise ArithmeticError("enough")
            return rosenbrock(v, w)

        with pytest.raises(ArithmeticError, match="enough"):
            optim.scipy_minimize([v, w], fails)
        assert v.tolist() == [1.2] and w.tolist() == [1.1, 2.0]


def test_what_it_refuses(monkeypatch):
    v, w = started()
    with pytest.raises(ValueError, match=r"the loss is a Tensor of shape \(2,\).*take its mean"):
        optim.scipy_minimize([v, w], lambda: w * 2)
    with pytest.raises(ValueError, match="the loss is float"):
        optim.scipy_minimize([v, w], lambda: 1.0)
    with pytest.raises(ValueError, match="no parameter requires grad"):
        optim.scipy_minimize([portanet.ones(2)], lambda: portanet.ones(1))
    with pytest.raises(ValueError, match="computed from other Tensors"):
        optim.scipy_minimize([v * 2], lambda: portanet.sum(v))
    with pytest.raises(TypeError, match=r"write \[p\]"):
        optim.scipy_minimize(v, lambda: portanet.sum(v))
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scipy"):
        optim.scipy_minimize([v], lambda: portanet.sum(v))
    assert importlib.import_module("scipy")
