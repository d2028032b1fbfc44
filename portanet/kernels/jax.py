"""Kernels for JAX arrays, which cannot be written to in place."""

from __future__ import annotations

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy

from portanet.kernels.generic.random import MULTIPLIERS, ROUNDS, WEYL, parts
from portanet.kernels.jax_images import *  # noqa: F403
from portanet.kernels.jax_sequences import *  # noqa: F403


def device_of(x: Any) -> Any:
    # An array that jax.jit is tracing has no device yet.
    return None if isinstance(x, jax.core.Tracer) else x.device


def out_of_memory(problem: BaseException) -> int | None:
    if not isinstance(problem, jax.errors.JaxRuntimeError) or "RESOURCE_EXHAUSTED" not in str(problem):
        return None
    found = re.search(r"allocat\w+ (\d+)", str(problem))
    return int(found[1]) if found else 0


def tracer() -> Any:
    return jax.jit


def set_at(x: Any, values: Any, *, key: Any) -> Any:
    return x.at[key].set(values)


def add_at(x: Any, updates: Any, *, key: Any) -> Any:
    return x.at[key].add(updates)


def scatter_add(x: Any, indices: Any, updates: Any) -> Any:
    return x.at[indices].add(updates)


def known_outside(x: Any, low: float, high: float) -> bool:
    # A tracer has no values yet, and on a GPU they would have to be waited for.
    if isinstance(x, jax.core.Tracer) or x.size == 0 or any([place.platform != "cpu" for place in x.devices()]):
        return False
    host = numpy.asarray(x)
    return not bool(host.min() >= low and host.max() <= high)


# ---------------------------------------------------------------------------------------------------------------------
# Random bits: JAX has no 64-bit integers unless told to, so a 64-bit number is two uint32 halves, low one first.


def random_on_host(device: Any) -> bool:
    # On the CPU NumPy's C code makes the same words, and no program has to be compiled for each new shape.
    return (jax.default_backend() if device is None else getattr(device, "platform", None)) == "cpu"


def _product32(a: Any, b: Any) -> tuple[Any, Any]:
    """The 64 bits of a times b, both uint32, by way of 16-bit halves, whose products fit."""
    a0, a1, b0, b1 = a & 0xFFFF, a >> 16, b & 0xFFFF, b >> 16
    middle = a1 * b0 + ((a0 * b0) >> 16)
    other = a0 * b1 + (middle & 0xFFFF)
    return a * b, a1 * b1 + (middle >> 16) + (other >> 16)


def _sum(*terms: Any) -> tuple[Any, Any]:
    """The sum of uint32 numbers, and how often it overflowed."""
    total, carry = terms[0], jnp.uint32(0)
    for term in terms[1:]:
        total = total + term
        carry = carry + (total < term).astype(jnp.uint32)
    return total, carry


def _product64(factors: Any, x: Any) -> tuple[Any, Any]:
    """The low and the high 64 bits of products: factors (n, 2) times x (n, 2, m), the second axis being the halves."""
    low, up = _product32(factors[:, :, None, None], x[:, None, :, :])
    middle, carry = _sum(up[:, 0, 0], low[:, 1, 0], low[:, 0, 1])
    upper, more = _sum(low[:, 1, 1], up[:, 1, 0], up[:, 0, 1], carry)
    return jnp.stack([low[:, 0, 0], middle], 1), jnp.stack([upper, up[:, 1, 1] + more], 1)


def _pairs(*numbers: int) -> Any:
    """64-bit numbers as rows of two halves."""
    return numpy.asarray([parts(number)[:2] for number in numbers], dtype=numpy.uint32)


def _round(_: Any, state: Any) -> Any:
    multiplied, other, key = state
    low, high = _product64(_pairs(*MULTIPLIERS), multiplied)
    weyl = _pairs(*WEYL)
    key_low, carry = _sum(key[:, 0], weyl[:, 0])
    bumped = jnp.stack([key_low, key[:, 1] + weyl[:, 1] + carry], 1)
    return high[::-1] ^ other ^ key[:, :, None], low[::-1], bumped


@functools.partial(jax.jit, static_argnums=0)
def _words(blocks: int, key: Any, counter: Any) -> Any:
    low, carry = _sum(jnp.arange(blocks, dtype=jnp.uint32), counter[0])
    rest = [jnp.broadcast_to(counter[i], (blocks,)) for i in range(2, 8)]
    words = jnp.stack([low, counter[1] + carry, *rest]).reshape(2, 2, 2, blocks)
    # A loop, because ten copies of a round take long to compile.
    multiplied, other, _ = jax.lax.fori_loop(0, ROUNDS, _round, (words[:, 0], words[:, 1], key))
    return jnp.stack([multiplied, other], 1).reshape(8, blocks).T.reshape(-1)


def random_words(blocks: int, *, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    # Key and counter are inputs, not constants: one program serves every draw of this size.
    return _words(blocks, *jax.device_put((_pairs(*key), numpy.asarray(parts(counter), dtype=numpy.uint32)), device))


@functools.partial(jax.jit, static_argnums=0)
def _integers(dtype: Any, words: Any, low: Any, span: Any) -> Any:
    _, value = _product64(span, words.reshape(-1, 2).T[None])
    lower, carry = _sum(value[0, 0], low[0, 0])
    if jnp.dtype(dtype).itemsize < 8:
        return lower.astype(dtype)
    high = (value[0, 1] + low[0, 1] + carry).astype(jnp.uint64)
    return ((high << 32) | lower.astype(jnp.uint64)).astype(dtype)


def random_integers(
    count: int, *, low: int, span: int, dtype: Any, key: tuple[int, int], counter: int, device: Any = None
) -> Any:
    words = random_words((count + 3) // 4, key=key, counter=counter, device=device)
    return _integers(dtype, words[: 2 * count], _pairs(low), _pairs(span))


# ---------------------------------------------------------------------------------------------------------------------
# Special functions: JAX's, where it has them; not betaln (right to 3e-8 only) and log_ndtr (to 7 % on the right).

_SPECIAL = {
    name: name
    for name in ("betainc erf erfc erfinv gamma gammainc gammaincc gammaln i0 i0e i1 i1e logit logsumexp ndtri").split()
} | {"psi": "digamma"}


def __getattr__(name: str) -> Any:
    # Asked for once a name, so they are imported when the first of them runs and not before.
    if name in _SPECIAL:
        from jax.scipy import special

        return getattr(special, _SPECIAL[name])
    raise AttributeError(f"no kernel {name!r} for JAX")
