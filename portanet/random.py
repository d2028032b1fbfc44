"""Random numbers: `Generator`, and the functions of one default generator under NumPy's names and PyTorch's.

The same seed gives the same numbers on every library and device; see `Generator`.
"""

from __future__ import annotations

from typing import Any

from portanet.autograd import REPLAYED
from portanet.generator import Generator, integer
from portanet.tensor import Tensor

__all__ = [
    "Generator", "bernoulli", "default_generator", "get_state", "initial_seed", "integers", "manual_seed", "normal",
    "permutation", "rand", "randint", "randn", "randperm", "set_state", "uniform",
]  # fmt: skip

# Used where no generator is named.
default_generator = Generator(0)
# What a checkpoint computes twice draws the same numbers twice.
REPLAYED.append((default_generator.get_state, default_generator.set_state))


def _chosen(generator: Generator | None) -> Generator:
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(f"generator= takes a portanet.random.Generator, saw {type(generator).__name__}.")
    return generator


def manual_seed(seed: int) -> Generator:
    """Start the default generator again with an integer in [0, 2**64), and return it. Without this its seed is 0.

    >>> import portanet
    >>> portanet.random.manual_seed(5)
    Generator(seed=5, stream=0) at block 0
    """
    return default_generator.manual_seed(seed)


def initial_seed() -> int:
    """The seed of the default generator.

    >>> import portanet
    >>> generator = portanet.random.manual_seed(5)
    >>> portanet.random.initial_seed()
    5
    """
    return default_generator.initial_seed()


def get_state() -> dict[str, int]:
    """The place of the default generator, as three integers.

    >>> import portanet
    >>> generator = portanet.random.manual_seed(5)
    >>> portanet.random.get_state()
    {'seed': 5, 'stream': 0, 'counter': 0}
    """
    return default_generator.get_state()


def set_state(state: dict[str, int]) -> None:
    """Bring the default generator to the place that `get_state` told.

    >>> import portanet
    >>> portanet.random.set_state({"seed": 5, "stream": 0, "counter": 8})
    >>> portanet.random.default_generator
    Generator(seed=5, stream=0) at block 8
    """
    default_generator.set_state(state)


def uniform(
    shape: Any,
    low: float = 0.0,
    high: float = 1.0,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """`Generator.uniform` of the default generator, or of the one given.

    >>> import portanet
    >>> generator = portanet.random.manual_seed(1)
    >>> portanet.random.uniform(3)
    tensor([0.80898637, 0.7949013 , 0.0760473 ])
    """
    return _chosen(generator).uniform(shape, low, high, dtype=dtype, device=device)


def normal(
    shape: Any,
    mean: float = 0.0,
    std: float = 1.0,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """`Generator.normal` of the default generator, or of the one given.

    >>> import portanet
    >>> portanet.random.normal((2, 3), std=0.1).shape
    (2, 3)
    """
    return _chosen(generator).normal(shape, mean, std, dtype=dtype, device=device)


def integers(
    shape: Any,
    low: int,
    high: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """`Generator.integers` of the default generator, or of the one given.

    >>> import portanet
    >>> generator = portanet.random.manual_seed(1)
    >>> portanet.random.integers(8, 1, 7)
    tensor([5, 4, 6, 2, 2, 6, 1, 1])
    """
    return _chosen(generator).integers(shape, low, high, dtype=dtype, device=device)


def permutation(
    x: Any, *, axis: int = 0, dtype: Any = None, device: Any = None, generator: Generator | None = None
) -> Tensor:
    """`Generator.permutation` of the default generator, or of the one given.

    >>> import portanet
    >>> generator = portanet.random.manual_seed(1)
    >>> portanet.random.permutation(5)
    tensor([3, 4, 1, 0, 2])
    """
    return _chosen(generator).permutation(x, axis=axis, dtype=dtype, device=device)


def bernoulli(
    shape: Any, p: float, *, dtype: Any = None, device: Any = None, generator: Generator | None = None
) -> Tensor:
    """`Generator.bernoulli` of the default generator, or of the one given.

    >>> import portanet
    >>> generator = portanet.random.manual_seed(1)
    >>> portanet.random.bernoulli(6, 0.5)
    tensor([0., 0., 1., 0., 0., 0.])
    """
    return _chosen(generator).bernoulli(shape, p, dtype=dtype, device=device)


# ---------------------------------------------------------------------------------------------------------------------
# The same under PyTorch's names, with PyTorch's order of arguments.


def rand(
    *size: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers evenly distributed over [0, 1), of shape ``size``: integers, or one tuple. As `uniform` otherwise.

    >>> import portanet
    >>> generator = portanet.random.manual_seed(1)
    >>> portanet.random.rand(1, 3)
    tensor([[0.80898637, 0.7949013 , 0.0760473 ]])
    """
    return uniform(_size(size), dtype=dtype, device=device, generator=generator).requires_grad_(requires_grad)


def randn(
    *size: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Standard normal numbers, of shape ``size``: several integers, or one tuple. As `normal` otherwise.

    >>> import portanet
    >>> portanet.random.randn(2, 3).shape
    (2, 3)
    """
    return normal(_size(size), dtype=dtype, device=device, generator=generator).requires_grad_(requires_grad)


def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Integers from ``low`` up to, not including, ``high``: ``randint(high, size)`` or ``randint(low, high, size)``.

    As `integers` otherwise.

    >>> import portanet
    >>> generator = portanet.random.manual_seed(1)
    >>> portanet.random.randint(1, 7, (2, 4))
    tensor([[5, 4, 6, 2],
            [2, 6, 1, 1]])
    """
    if size is None:  # randint(high, size)
        low, high, size = 0, low, high
    elif high is None:  # randint(high, size=size)
        low, high = 0, low
    if size is None:
        raise TypeError("randint: size is missing; write randint(high, size) or randint(low, high, size).")
    return integers(size, low, high, dtype=dtype, device=device, generator=generator)


def randperm(n: int, *, dtype: Any = None, device: Any = None, generator: Generator | None = None) -> Tensor:
    """The integers 0, ..., n - 1 in random order. As `permutation`.

    >>> import portanet
    >>> generator = portanet.random.manual_seed(1)
    >>> portanet.random.randperm(5)
    tensor([3, 4, 1, 0, 2])
    """
    return permutation(integer("n", n), dtype=dtype, device=device, generator=generator)


def _size(size: tuple[Any, ...]) -> Any:
    return size[0] if len(size) == 1 else size
