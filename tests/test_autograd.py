"""The tape and the gradients asked of it: right at the awkward places, clear where it refuses, gone when it is done."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import numpy
import pytest

import portanet
from portanet import autograd


def leaf(*values: float, dtype: object = None) -> portanet.Tensor:
    return portanet.tensor(list(values), dtype=dtype, requires_grad=True)


def test_gradients_add_up_until_they_are_cleared(backend):
    x = leaf(1.0, 2.0)
    portanet.sum(x * x).backward()
    portanet.sum(x * x).backward()
    assert x.grad.tolist() == [4.0, 8.0]
    x.grad = None
    assert x.grad is None


def test_a_constant_gets_no_gradient(backend):
    x, c = leaf(1.0), portanet.asarray([2.0])
    portanet.sum(x * c).backward()
    assert c.grad is None and not c.requires_grad


def test_backward_of_several_elements_needs_a_gradient(backend):
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"single element, this has shape \(2,\)"):
        (x * x).backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), the Tensor \(2,\)"):
        (x * x).backward(portanet.ones(3))


def test_backward_without_a_graph_says_so(backend):
    with pytest.raises(RuntimeError, match="requires grad"):
        portanet.sum(portanet.ones(2)).backward()


def test_a_freed_graph_says_so(backend):
    x = leaf(1.0)
    y = portanet.sum(x * x)
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    y = portanet.sum(x * x)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6.0]


def test_a_part_freed_by_another_walk_says_so(backend):
    x = leaf(1.0, 2.0)
    first, second = portanet.unstack(x * x)
    first.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        second.backward()


def test_an_operation_without_a_rule_is_named(monkeypatch):
    from portanet.tape import Rule
    from portanet.vjps import RULES

    monkeypatch.setitem(RULES, "cumulative_sum", Rule("cumulative_sum"))
    y = portanet.sum(portanet.cumulative_sum(leaf(1.0, 2.0)))
    with pytest.raises(NotImplementedError, match=r"cumulative_sum has no derivative rule.*portanet/vjps"):
        y.backward()


def test_whole_numbers_have_no_gradient(backend):
    with pytest.raises(TypeError, match=r"floating dtype, this is int.*to\(portanet.float32\)"):
        portanet.asarray([1, 2]).requires_grad_()


def test_only_a_leaf_stops_requiring_grad():
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="detach"):
        (x * x).requires_grad_(False)
    assert not x.requires_grad_(False).requires_grad


def test_hooks_see_and_replace_gradients(backend):
    x = leaf(1.0, 2.0)
    y = x * 3.0
    seen = []
    remove = y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 10.0)
    x.register_hook(lambda g: g + 1.0)
    portanet.sum(y).backward(retain_graph=True)
    assert seen == [[1.0, 1.0]] and x.grad.tolist() == [31.0, 31.0]
    remove()
    portanet.sum(y).backward()
    assert len(seen) == 1


def test_grad_leaves_grad_attributes_alone(backend):
    x, w = leaf(2.0), leaf(3.0)
    inner = x * w
    slopes = autograd.grad(portanet.sum(inner * inner), [inner, x])
    assert [g.tolist() for g in slopes] == [[12.0], [36.0]]
    assert x.grad is None and w.grad is None


def test_grad_of_an_unused_input(backend):
    x, unused = leaf(2.0), leaf(1.0)
    with pytest.raises(RuntimeError, match="do not depend on input 1"):
        autograd.grad(portanet.sum(x), [x, unused])
    assert autograd.grad(portanet.sum(x), [x, unused], allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match="input 0 does not require grad"):
        autograd.grad(portanet.sum(x), portanet.ones(1))


def test_third_derivative(backend):
    x = leaf(2.0, dtype=portanet.float64)
    y = portanet.sum(x**5)
    for expected in (5 * 2.0**4, 20 * 2.0**3, 60 * 2.0**2):
        (y,) = autograd.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(expected)
        y = portanet.sum(y)


def test_complex_gradient_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    z = numpy.asarray([0.3 + 0.7j, -0.2 + 0.1j])

    def loss(xp, z):
        return xp.sum(xp.abs(z * z + 1j * xp.exp(z)) ** 2)

    x = portanet.asarray(z).requires_grad_()
    loss(portanet, x).backward()
    t = torch.tensor(z, requires_grad=True)
    loss(torch, t).backward()
    numpy.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=1e-12)


def test_jacobian_and_hessian_by_hand(backend):
    x = portanet.asarray([1.0, 2.0])
    found = autograd.jacobian(lambda t: portanet.stack([t[0] * t[1], t[0] ** 2, portanet.asarray(3.0)]), x)
    assert found.tolist() == [[2.0, 1.0], [2.0, 0.0], [0.0, 0.0]]
    assert autograd.hessian(lambda t: t[0] ** 2 * t[1], x).tolist() == [[4.0, 2.0], [2.0, 0.0]]
    assert autograd.hessian(portanet.sum, x).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_value_and_grad_of_several_arguments(backend):
    f = autograd.value_and_grad(lambda a, b: portanet.sum(a * b), argnums=(0, 1))
    value, (ga, gb) = f(portanet.asarray([1.0, 2.0]), portanet.asarray([3.0, 4.0]))
    assert value.item() == 11.0 and ga.tolist() == [3.0, 4.0] and gb.tolist() == [1.0, 2.0]


def test_vjp_may_be_called_again(backend):
    y, back = autograd.vjp(lambda a, b: (a * b, a), portanet.asarray([2.0]), portanet.asarray([5.0]))
    assert [one.tolist() for one in y] == [[10.0], [2.0]]
    one, zero = portanet.ones(1), portanet.zeros(1)
    assert [g.tolist() for g in back(one, zero)] == [[5.0], [2.0]]
    assert [g.tolist() for g in back(zero, one)] == [[1.0], [0.0]]


def test_no_grad_is_for_its_block_decorator_and_thread_alone():
    x = leaf(1.0)
    seen = []

    def other() -> None:
        seen.append((2 * x).requires_grad)

    with portanet.no_grad():
        assert not (2 * x).requires_grad
        with portanet.enable_grad():
            assert (2 * x).requires_grad
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [True] and (2 * x).requires_grad

    @portanet.no_grad()
    def constant() -> portanet.Tensor:
        return 2 * x

    assert not constant().requires_grad


class Scaled(autograd.Function):
    """a * b with a gradient of its own."""

    @staticmethod
    def forward(ctx, a, b, factor):
        ctx.save_for_backward(a, b)
        ctx.factor = factor
        return factor * a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        return ctx.factor * g * b, ctx.factor * g * a, None


def test_function_of_the_user_s_own(backend):
    a, b = leaf(2.0), leaf(5.0)
    y = Scaled.apply(a, b, 3.0)
    (slope,) = autograd.grad(portanet.sum(y * y), a, create_graph=True)
    assert y.tolist() == [30.0] and slope.tolist() == [900.0]
    assert autograd.grad(portanet.sum(slope), b)[0].tolist() == [360.0]  # d/db of 2 (3ab)(3b) = 36 a b


def test_function_that_returns_too_few_gradients_is_named():
    class Short(autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match=r"Short.backward returned 1 gradients for 2 arguments"):
        portanet.sum(Short.apply(leaf(1.0), leaf(1.0))).backward()


def test_checkpoint_gives_the_same_gradients(backend):
    results = []
    for wrap in (lambda f, *args: f(*args), autograd.checkpoint):
        x, w = leaf(0.5, 1.0), leaf(3.0, 4.0)  # w is used by the inside without being handed to it
        y = wrap(lambda a, w=w: portanet.sin(a * w) * w, x * 2.0)
        portanet.sum(y * y).backward()
        results.append((x.grad.numpy(), w.grad.numpy()))
    for plain, checked in zip(*results, strict=True):
        numpy.testing.assert_allclose(checked, plain, rtol=1e-6)


def test_checkpoint_can_be_differentiated_twice(backend):
    x = portanet.asarray([0.5, 1.0])
    w = leaf(3.0, 4.0)

    def inside(a):
        return portanet.sin(a) * w

    plain = autograd.hessian(lambda t: portanet.sum(inside(2.0 * t) ** 2), x)
    checked = autograd.hessian(lambda t: portanet.sum(autograd.checkpoint(inside, 2.0 * t) ** 2), x)
    numpy.testing.assert_allclose(checked.numpy(), plain.numpy(), rtol=1e-4, atol=1e-4)


def test_checkpoint_holds_no_values_of_the_inside():
    def deep(a):
        for _ in range(50):
            a = portanet.tanh(a)
        return a

    x = portanet.ones(100_000).requires_grad_()
    held = []
    for wrap in (lambda f, a: f(a), autograd.checkpoint):
        gc.collect()
        tracemalloc.start()
        y = wrap(deep, x)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        del y
    assert held[1] < held[0] / 10


def test_memory_returns_with_the_garbage_collector_off():
    def step() -> None:
        x = portanet.ones((100, 100)).requires_grad_()
        y = portanet.sum(portanet.tanh(x @ x) ** 2)
        for part in portanet.unstack(x):
            y = y + portanet.sum(part)
        y.backward()

    step()
    gc.collect()
    gc.disable()
    try:
        tracemalloc.start()
        step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            step()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        # Steps that kept a single array of 100 x 100 would keep 40,000 bytes; NumPy's own caches keep a few thousand.
        assert gc.collect() == 0 and after - before < 40_000
    finally:
        gc.enable()


def test_a_chain_of_20000_and_its_end():
    x = leaf(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    portanet.sum(y).backward()
    assert x.grad.tolist() == [1.0]
    y = x
    for _ in range(20_000):
        y = y + 1.0
    del y  # a graph that is never walked must go without recursion too


def test_a_diamond_of_60_doublings():
    x = leaf(1.0)
    y = x
    for _ in range(60):
        y = y + y
    portanet.sum(y).backward()
    assert x.grad.item() == 2.0**60


def test_repeated_use_of_one_output_of_several(backend):
    x = leaf(1.0, 2.0, 3.0)
    a, b, _ = portanet.unstack(x)
    (a * a + 2 * b + a).backward()
    assert x.grad.tolist() == [3.0, 2.0, 0.0]


def test_ties_share_alike(backend):
    x = leaf(1.0, 3.0, 3.0)
    portanet.max(x).backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]
    a, b = leaf(2.0), leaf(2.0)
    portanet.sum(portanet.maximum(a, b)).backward()
    assert a.grad.tolist() == b.grad.tolist() == [0.5]


def test_float32_gradients_of_mixed_arithmetic_keep_their_dtypes(backend):
    a, b = leaf(2.0), leaf(3.0, dtype=portanet.float64)
    portanet.sum(a * b).backward()
    assert a.grad.dtype is portanet.float32 and b.grad.dtype is portanet.float64
