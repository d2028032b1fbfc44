"""Layers beside PyTorch's: one case names a layer, its arguments and its inputs, and everything is compared.

A file of tests lists its cases and hands each to `compared` (float64, to rounding), `compared_in_float32`, `printed_alike`
and, where the layer is smooth, `proved`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.testing import check_gradient
from tests.oracle import is_newest

torch = pytest.importorskip("torch")


@dataclass(frozen=True)
class Case:
    """A layer by name and arguments, the same in both libraries, and the shapes of its inputs.

    An input may also be given as an array: of whole numbers, or where the numbers matter. ``forward`` holds arguments of
    the call itself.
    """

    name: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    inputs: tuple[Any, ...]
    forward: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = [f"{k}={v}" for k, v in {**self.options, **self.forward}.items()]
        shape = getattr(self.inputs[0], "shape", self.inputs[0]) if self.inputs else ""
        return f"{self.name}({', '.join([*map(str, self.args), *options])})-{'x'.join(map(str, shape))}"

    def ours(self, dtype: Any = pn.float64) -> nn.Module:
        return getattr(nn, self.name)(*self.args, **self.options).to(dtype)

    def theirs(self) -> Any:
        try:
            return getattr(torch.nn, self.name)(*self.args, **self.options).to(torch.float64)
        except (AttributeError, TypeError) as problem:
            if is_newest():
                raise
            pytest.skip(f"this PyTorch is older: {problem}")

    def values(self, seed: int) -> list[Any]:
        """The inputs of one step, drawn where only their shapes are given."""
        rng = numpy.random.default_rng(seed)
        return [x if isinstance(x, numpy.ndarray) else rng.normal(size=x) for x in self.inputs]


def case(name: str, *args: Any, shapes: list[Any], forward: dict[str, Any] | None = None, **options: Any) -> Case:
    return Case(name, args, options, tuple(shapes), forward or {})


def arrays(shapes: Any, seed: int = 0) -> list[Any]:
    rng = numpy.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def pair(case: Case, dtype: Any = pn.float64) -> tuple[nn.Module, Any]:
    """Our layer and PyTorch's with the same parameters, none of them at a special value."""
    ours, theirs = case.ours(dtype), case.theirs()
    with torch.no_grad():
        for k, parameter in enumerate(theirs.parameters()):
            parameter.copy_(torch.from_numpy(arrays([tuple(parameter.shape)], seed=10 + k)[0]))
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    return ours, theirs


def assert_close(ours: pn.Tensor, theirs: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    assert ours.shape == tuple(theirs.shape)
    numpy.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=atol)


def _leaves(values: list[Any]) -> tuple[list[Any], list[Any]]:
    """The inputs in both libraries, those of real numbers as leaves that want a gradient."""
    mine, yours = [pn.asarray(v) for v in values], [torch.from_numpy(numpy.array(v)) for v in values]
    for x, t in zip(mine, yours, strict=True):
        if "floating" in x.dtype.kind:
            x.requires_grad_()
            t.requires_grad_()
    return mine, yours


def _flat(results: Any) -> list[Any]:
    """The arrays in nested tuples, in order."""
    if isinstance(results, (tuple, list)):
        return [x for one in results for x in _flat(one)]
    return [] if results is None else [results]


def compared_step(
    ours: nn.Module, theirs: Any, inputs: list[Any], forward: dict[str, Any] | None = None, **near: float
) -> None:
    """Outputs, gradients of inputs and parameters, and buffers after one step forward and back."""
    x, t = _leaves(inputs)
    results, expected = _flat(ours(*x, **(forward or {}))), _flat(theirs(*t, **(forward or {})))
    assert len(results) == len(expected)
    for k, (y, u) in enumerate(zip(results, expected, strict=True)):
        assert_close(y, u, **near)
        assert y.requires_grad == u.requires_grad
        if u.requires_grad:
            cotangent = numpy.asarray(arrays([tuple(u.shape)], seed=77 + k)[0])
            y.backward(pn.asarray(cotangent.astype(str(y.dtype))), retain_graph=True)
            u.backward(torch.from_numpy(cotangent), retain_graph=True)
    for mine, yours in zip(x, t, strict=True):
        if yours.grad is not None:
            assert_close(mine.grad, yours.grad, **near)
    for (name, mine), (same, yours) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == same
        if yours.grad is not None:
            assert_close(mine.grad, yours.grad, **near)
    for (name, mine), (same, yours) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        assert name == same
        assert_close(mine, yours, **near)


def compared(case: Case) -> None:
    """Two steps of training and one of evaluation beside PyTorch's, in float64."""
    ours, theirs = pair(case)
    for step in range(2):  # the second with running averages that the first has moved
        compared_step(ours, theirs, case.values(step), case.forward)
    ours.eval()
    theirs.eval()
    compared_step(ours, theirs, case.values(5), case.forward)


def compared_in_float32(case: Case) -> None:
    """One step of training in float32 beside PyTorch's in float64, to what single precision allows."""
    ours, theirs = pair(case, pn.float32)
    narrow = [v.astype("float32") if v.dtype.kind == "f" else v for v in case.values(0)]
    x = [pn.asarray(v) for v in narrow]
    results = _flat(ours(*x, **case.forward))
    expected = _flat(theirs(*[torch.from_numpy(v.astype("float64") if v.dtype.kind == "f" else v) for v in narrow],
                            **case.forward))  # fmt: skip
    for y, u in zip(results, expected, strict=True):
        assert str(y.dtype) == str(u.dtype).removeprefix("torch.").replace("float64", "float32")
        assert_close(y, u, rtol=2e-4, atol=2e-5)


def printed_alike(case: Case) -> None:
    """The print-out, and the names, shapes and dtypes of the state, are PyTorch's."""
    if not is_newest():
        pytest.skip("an older PyTorch prints otherwise")
    ours, theirs = case.ours(), case.theirs()
    assert repr(ours) == repr(theirs)
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    assert {name: x.shape for name, x in state.items()} == {name: tuple(x.shape) for name, x in expected.items()}
    assert {name: str(x.dtype) for name, x in state.items()} == {
        name: str(x.dtype).removeprefix("torch.") for name, x in expected.items()
    }


def proved(case: Case, order: int = 1) -> None:
    """The gradients of inputs and parameters have order 2, as those of a smooth layer must; with ``order`` 2 those of a
    directional derivative too."""
    ours, _ = pair(case)
    values = case.values(3)
    parameters = [p.detach() for p in ours.parameters()]
    buffers = [(b, b._raw) for b in ours.buffers()]

    def of_all(*points: Any) -> Any:
        for b, raw in buffers:
            b._raw = raw
        inputs, weights = points[: len(values)], points[len(values) :]
        before = [(p, p._raw, p._node) for p in ours.parameters()]
        try:
            for (p, _, _), value in zip(before, weights, strict=True):
                p._raw, p._node = value._raw, value._node
            return [y for y in _flat(ours(*inputs, **case.forward)) if "floating" in y.dtype.kind]
        finally:
            for p, raw, node in before:
                p._raw, p._node = raw, node

    report = check_gradient(of_all, *[pn.asarray(v) for v in values], *parameters, order=order, verbose=False)
    assert report.order > 1.8, f"{case}:\n{report}"
