"""All contenders on a GPU by their names, in the order in which they take turns: the first is whom the others agree with."""

from __future__ import annotations

from benchmarks.contenders.base import Contender
from benchmarks.gpu.contenders import floors, ours, plain_jax, pytorch
from benchmarks.gpu.place import Place
from benchmarks.gpu.workloads import Operation
from benchmarks.workloads.base import Network
from benchmarks.workloads.mlp import MLP
from benchmarks.workloads.others import Update

EAGER, COMPILED = "portanet-cupy", "portanet-compile-cupy"
TORCH, FUSED, GRAPH, JAX = "torch-cuda", "torch-cuda-fused", "torch-cuda-graph", "jax-cuda"
GEMM, PRODUCTS, COPY = "gemm", "products", "copy"


def at(place: Place) -> dict[str, Contender]:
    """The contenders at work in a place."""
    backend = place.backend
    tensors = "torch:cuda" if place.real else "torch"
    package = "cupy" if place.real else "numpy"
    eager = {
        name: {
            Network: ours.eager(place, name),
            Update: ours.update(place, name),
            Operation: ours.operation(place, name),
        }
        for name in (backend, tensors)
    }
    torch = {Network: pytorch.eager(place), Update: pytorch.update(place), Operation: pytorch.operation(place)}
    jax = {Network: plain_jax.network(place), Update: plain_jax.update(place), Operation: plain_jax.operation(place)}
    copied = {Update: floors.copy(place), Operation: floors.copy(place)}
    compiled = {Network: ours.compiled(place, backend)}
    needed = ("torch",)
    found = [
        Contender(TORCH, "PyTorch", needed, torch),
        Contender(FUSED, "PyTorch, fused=True", needed, {Update: pytorch.update(place, fused=True)}),
        Contender(GRAPH, "PyTorch, CUDA graph", needed, {Network: pytorch.graphed(place)}),
        Contender("torch-cuda-compile", "torch.compile", needed, {Network: pytorch.compiled(place)}, usual=False),
        Contender(JAX, "JAX jit", ("jax",), jax),
        Contender(EAGER, "portanet on CuPy", (package,), eager[backend]),
        Contender(COMPILED, "portanet.compile on CuPy", (package,), compiled),
        Contender("portanet-torch-cuda", "portanet on PyTorch", needed, eager[tensors], usual=False),
        Contender(GEMM, "its products, best layout", needed, {MLP: floors.gemm(place)}, agrees=False),
        Contender(PRODUCTS, "its products as they lie", needed, {MLP: floors.products(place)}, agrees=False),
        Contender(COPY, "as many bytes copied", needed, copied, agrees=False),
    ]
    return {one.name: one for one in found}


TITLES = {name: one.title for name, one in at(Place()).items()}


def chosen(place: Place, names: list[str]) -> list[Contender]:
    """The contenders of these names; without a name all that usually run."""
    everyone = at(place)
    strange = [name for name in names if name not in everyone]
    if strange:
        raise ValueError(f"no contender on a GPU is called {', '.join(strange)}; there are {', '.join(everyone)}")
    return [one for name, one in everyone.items() if (name in names if names else one.usual)]
