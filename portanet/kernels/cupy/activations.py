"""Activations and their ways back: one pass over memory each."""

from __future__ import annotations

from typing import Any

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import PACKS, THREADS, alike, blocks_for, fits, name_of, new_like
from portanet.kernels.generic import nn as generic
from portanet.library import namespace_of

__all__ = [
    "gelu", "gelu_backward", "relu", "relu_backward", "sigmoid", "sigmoid_backward", "silu", "silu_backward", "softplus",
    "softplus_backward",
]  # fmt: skip

# The formulas are those of the definitions.
_SOURCE = Source(
    "activations",
    PACKS
    + r"""
    __device__ __forceinline__ A logistic(A x) {
        A small = exp(-fabs(x));  // of a number <= 0: nothing overflows
        return (x >= 0 ? (A)1 : small) / (1 + small);
    }
    constexpr double ROOT_HALF = 0.70710678118654752440, DENSITY = 0.39894228040143267794;
    constexpr double SCALE = 0.79788456080286535588, CUBIC = 0.044715;
    __device__ __forceinline__ A near(A x) { return x > 10 ? (A)10 : x < -10 ? (A)-10 : x; }
    __device__ __forceinline__ A cubic(A x) { return tanh((A)SCALE * (x + (A)CUBIC * x * x * x)); }

    #define KERNEL(name, ...) extern "C" __global__ void __launch_bounds__(256) name(index n, T* y, __VA_ARGS__)
    #define EACH(...) each(thread(), threads(), n, __VA_ARGS__)

    KERNEL(relu, const T* x) { EACH([](index, A x) { return x <= 0 ? (A)0 : x; }, y, x); }  // nan passes

    KERNEL(relu_backward, const T* g, const T* z) { EACH([](index, A g, A z) { return z <= 0 ? (A)0 : g; }, y, g, z); }

    KERNEL(sigmoid, const T* x) { EACH([](index, A x) { return logistic(x); }, y, x); }

    KERNEL(sigmoid_backward, const T* g, const T* z) {
        EACH([](index, A g, A z) { return g * (z * (1 - z)); }, y, g, z);
    }

    KERNEL(silu, const T* x) { EACH([](index, A x) { return x * logistic(x); }, y, x); }

    KERNEL(silu_backward, const T* g, const T* x) {
        EACH([](index, A g, A x) { A s = logistic(x); return g * (s * (1 + x * (1 - s))); }, y, g, x);
    }

    KERNEL(softplus, const T* x, double beta, double threshold) {
        A b = (A)beta, most = (A)threshold;
        EACH([=](index, A x) {
            A z = b * x;
            return z > most ? x : ((z > 0 ? z : (A)0) + log1p(exp(-fabs(z)))) / b;
        }, y, x);
    }

    KERNEL(softplus_backward, const T* g, const T* x, double beta, double threshold) {
        A b = (A)beta, most = (A)threshold;
        EACH([=](index, A g, A x) { A z = b * x; return z > most ? g : g * logistic(z); }, y, g, x);
    }

    KERNEL(gelu_exact, const T* x) {
        EACH([](index, A x) { return (A)0.5 * x * (1 + erf(x * (A)ROOT_HALF)); }, y, x);
    }

    KERNEL(gelu_exact_backward, const T* g, const T* x) {
        EACH([](index, A g, A x) {
            A density = exp((A)-0.5 * x * x) * (A)DENSITY;
            return g * ((A)0.5 * (1 + erf(x * (A)ROOT_HALF)) + x * density);
        }, y, g, x);
    }

    KERNEL(gelu_tanh, const T* x) { EACH([](index, A x) { return (A)0.5 * x * (1 + cubic(near(x))); }, y, x); }

    KERNEL(gelu_tanh_backward, const T* g, const T* x) {
        EACH([](index, A g, A x) {
            A c = near(x), t = cubic(c);
            return g * ((A)0.5 * (1 + t) + (A)0.5 * x * (1 - t * t) * ((A)SCALE * (1 + (A)(3 * CUBIC) * c * c)));
        }, y, g, x);
    }
    """,
)


def _mapped(function: str, *arrays: Any, numbers: tuple[float, ...] = ()) -> Any:
    """One element of the result for one of each array; the last of them has the result's layout."""
    y = new_like(arrays[-1])
    given = [alike(y, x) for x in arrays]
    kernel = _SOURCE.kernel(function, name_of[y.dtype])
    kernel(blocks_for(y.size, 16 // y.itemsize), (THREADS,), (y.size, y, *given, *numbers))
    return y


def _agree(g: Any, x: Any) -> bool:
    return g.shape == x.shape and fits(x, g)


def relu(x: Any) -> Any:
    return _mapped("relu", x) if fits(x) else generic.relu(namespace_of(x), x)


def relu_backward(g: Any, y: Any) -> Any:
    return _mapped("relu_backward", g, y) if _agree(g, y) else generic.relu_backward(namespace_of(y), g, y)


def sigmoid(x: Any) -> Any:
    return _mapped("sigmoid", x) if fits(x) else generic.sigmoid(namespace_of(x), x)


def sigmoid_backward(g: Any, y: Any) -> Any:
    return _mapped("sigmoid_backward", g, y) if _agree(g, y) else generic.sigmoid_backward(namespace_of(y), g, y)


def silu(x: Any) -> Any:
    return _mapped("silu", x) if fits(x) else generic.silu(namespace_of(x), x)


def silu_backward(g: Any, x: Any) -> Any:
    return _mapped("silu_backward", g, x) if _agree(g, x) else generic.silu_backward(namespace_of(x), g, x)


def softplus(x: Any, *, beta: float, threshold: float) -> Any:
    if fits(x):
        return _mapped("softplus", x, numbers=(float(beta), float(threshold)))
    return generic.softplus(namespace_of(x), x, beta=beta, threshold=threshold)


def softplus_backward(g: Any, x: Any, *, beta: float, threshold: float) -> Any:
    if _agree(g, x):
        return _mapped("softplus_backward", g, x, numbers=(float(beta), float(threshold)))
    return generic.softplus_backward(namespace_of(x), g, x, beta=beta, threshold=threshold)


def gelu(x: Any, *, approximate: str) -> Any:
    if fits(x):
        return _mapped("gelu_exact" if approximate == "none" else "gelu_tanh", x)
    return generic.gelu(namespace_of(x), x, approximate=approximate)


def gelu_backward(g: Any, y: Any, x: Any, *, approximate: str) -> Any:
    if _agree(g, x):
        return _mapped("gelu_exact_backward" if approximate == "none" else "gelu_tanh_backward", g, x)
    return generic.gelu_backward(namespace_of(x), g, y, x, approximate=approximate)
