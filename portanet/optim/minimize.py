"""The minimizers of SciPy for a model: all parameters as one vector, with gradients and products with the Hessian."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from portanet.autograd import enable_grad, grad
from portanet.library import namespace_of, to_numpy
from portanet.namespace import sum as total
from portanet.nn.module import Module
from portanet.optim.checks import listed, named, require_parameter
from portanet.optim.vector import Layout
from portanet.plan.recorder import refuse_while_recording
from portanet.tensor import Tensor

__all__ = ["scipy_minimize"]

WITHOUT_GRADIENT = {"nelder-mead", "powell", "cobyla", "cobyqa"}
WITH_PRODUCT = {"newton-cg", "trust-ncg", "trust-krylov", "trust-constr"}
WITH_HESSIAN = {"dogleg", "trust-exact"}


def scipy_minimize(
    model: Module | Iterable[Tensor],
    loss: Callable[[], Tensor],
    method: str = "L-BFGS-B",
    *,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    options: dict[str, Any] | None = None,
) -> Any:
    """Minimize a loss by ``scipy.optimize.minimize``, for small problems that are to be solved to the last digits.

    The parameters cross to SciPy as one vector of float64, in their order, each by rows; a complex number counts as
    two. The gradient comes with the loss. Methods that use second derivatives ("Newton-CG", "trust-ncg",
    "trust-krylov", "trust-constr") get products of the Hessian with a vector, by differentiating the gradient once
    more; "dogleg" and "trust-exact" get the Hessian, from as many products as there are numbers. The numbers are only
    as exact as the dtype of the parameters: give them float64 where the last digits count.

    Args:
        model: a Module, whose parameters that require grad are changed; or the Tensors.
        loss: computes the loss at the present parameters, without arguments: a Tensor of one element. It is to be the
            same at the same point: without dropout and without noise.
        method: as for SciPy.
        bounds, constraints, tol, callback, options: as for SciPy, in terms of the vector.

    Returns:
        SciPy's result: ``x``, ``fun``, ``nit``, ``success``, ``message``... The parameters hold ``x``. No ``.grad`` is
        touched. If the loss raises, the parameters are what they were.

    Raises:
        ModuleNotFoundError: SciPy is not installed.
        ValueError: there is no parameter, or the loss has more than one element.

    >>> import portanet
    >>> from portanet import optim
    >>> w = portanet.tensor([-1.5, 2.0], dtype=portanet.float64, requires_grad=True)
    >>> def rosenbrock():
    ...     return (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2
    >>> result = optim.scipy_minimize([w], rosenbrock, method="Newton-CG")
    >>> bool(result.success), bool(portanet.all(abs(w.detach() - 1) < 1e-3))
    (True, True)
    """
    refuse_while_recording("scipy_minimize")
    try:
        minimize = importlib.import_module("scipy.optimize").minimize
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError("scipy_minimize needs SciPy: python -m pip install scipy") from missing
    layout = Layout(_parameters(model))
    problem = _Problem(layout, loss)
    kind = method.lower()
    derivatives: dict[str, Any] = {}
    if kind not in WITHOUT_GRADIENT:
        derivatives["jac"] = True
    if kind in WITH_PRODUCT:
        derivatives["hessp"] = problem.product
    elif kind in WITH_HESSIAN:
        derivatives["hess"] = problem.hessian
    function = problem.value_and_gradient if "jac" in derivatives else problem.value
    before = [p._raw for p in layout.params]
    try:
        result = minimize(
            function,
            _crossing(layout, before),
            method=method,
            bounds=bounds,
            constraints=constraints,
            tol=tol,
            callback=callback,
            options=options,
            **derivatives,
        )
    except BaseException:
        for p, old in zip(layout.params, before, strict=True):
            p._raw = old
        raise
    layout.put(result.x)
    return result


def _parameters(model: Any) -> list[Tensor]:
    given = list(model.parameters()) if isinstance(model, Module) else listed("scipy_minimize", model)
    params = [p for p in named("scipy_minimize", given)[1] if not isinstance(p, Tensor) or p.requires_grad]
    for i, p in enumerate(params):
        require_parameter("scipy_minimize", i, p, [], {})
    if not params:
        raise ValueError("scipy_minimize: no parameter requires grad; pass a model, or Tensors that require grad.")
    return params


def _crossing(layout: Layout, arrays: list[Any]) -> Any:
    """Arrays like the parameters as one vector of float64 on the host; None for zeros."""
    rows = [to_numpy(row) for row in layout.rows(arrays)]
    xp = namespace_of(rows[0])
    return xp.concat([xp.astype(row, xp.raw_dtype("float64")) for row in rows])


class _Problem:
    """The loss as functions of the vector."""

    def __init__(self, layout: Layout, loss: Callable[[], Tensor]) -> None:
        self.layout, self.loss = layout, loss

    def _loss(self, x: Any) -> Tensor:
        self.layout.put(x)
        value = self.loss()
        if not isinstance(value, Tensor) or value.size != 1:
            seen = f"a Tensor of shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"scipy_minimize: the loss is {seen}; it must be a Tensor of one element: take its mean.")
        return value

    def value(self, x: Any) -> float:
        return float(self._loss(x))

    def value_and_gradient(self, x: Any) -> tuple[float, Any]:
        with enable_grad():
            value = self._loss(x)
            found = grad(value, self.layout.params, allow_unused=True)
        return float(value), _crossing(self.layout, [None if g is None else g._raw for g in found])

    def product(self, x: Any, v: Any, *args: Any) -> Any:
        """The Hessian times a vector: the gradient of (gradient times the vector)."""
        return self._products(x, [v])[0]

    def hessian(self, x: Any, *args: Any) -> Any:
        """The whole Hessian, row by row."""
        like = namespace_of(x)
        rows = like.eye(self.layout.size, dtype=like.raw_dtype("float64"))
        return like.stack(self._products(x, [rows[i, :] for i in range(self.layout.size)]))

    def _products(self, x: Any, vectors: list[Any]) -> list[Any]:
        params = self.layout.params
        with enable_grad():
            slopes = grad(self._loss(x), params, create_graph=True, allow_unused=True)
            products = []
            for v in vectors:
                parts = zip(slopes, self.layout.scattered(v), strict=True)
                terms = [_along(g, Tensor(part)) for g, part in parts if g is not None and g.requires_grad]
                if terms:
                    along = terms[0]
                    for term in terms[1:]:
                        along = along + term
                    found = grad(along, params, retain_graph=True, allow_unused=True)
                    products.append(_crossing(self.layout, [None if g is None else g._raw for g in found]))
                else:  # the loss is linear
                    products.append(_crossing(self.layout, [None] * len(params)))
        return products


def _along(g: Tensor, part: Tensor) -> Tensor:
    """The component of a gradient along a direction; of a complex one both parts count."""
    xp = namespace_of(g)
    if g.dtype.kind == "complex floating":
        return total(xp.real(g) * xp.real(part) + xp.imag(g) * xp.imag(part))
    return total(g * part)
