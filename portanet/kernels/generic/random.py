"""Random bits by counting: block ``n`` of a stream is a fixed scramble of ``n``, the same on every library.

The scramble is Philox4x64-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"). A block
is four 64-bit words; here they are eight 32-bit words, the low half of each first. Libraries without unsigned 64-bit
arithmetic are many, so a 64-bit number is two halves, each in [0, 2**32) and held in int64.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = [
    "draws_anew", "dropout", "philox", "random_bernoulli", "random_integer_dtype", "random_integers", "random_normal",
    "random_on_host", "random_permutation", "random_uniform", "random_words",
]  # fmt: skip

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)  # added to the key after each round
ROUNDS = 10
UNIFORM_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}  # of the significand: every value is exact


def product(factor: int, low: Any, high: Any) -> tuple[Any, Any, Any, Any]:
    """The 128 bits of ``factor`` times a 64-bit number, as four 32-bit parts, lowest first.

    Products of halves wrap around in int64, which leaves their 64 bits right; a shift fills in copies of the sign,
    which the mask takes away again.
    """
    f_low, f_high = factor & MASK, factor >> 32
    a, b, c, d = f_low * low, f_high * low, f_low * high, f_high * high
    middle = ((a >> 32) & MASK) + (b & MASK) + (c & MASK)
    upper = d + ((b >> 32) & MASK) + ((c >> 32) & MASK) + (middle >> 32)
    return a & MASK, middle & MASK, upper & MASK, (upper >> 32) & MASK


def philox(counter: list[Any], key: tuple[int, int]) -> list[Any]:
    """Philox4x64-10 of a 256-bit counter, in eight 32-bit parts, lowest first; so is the result.

    Each part may be an int64 array or a Python int: only operators are used, so this scrambles either.
    """
    x0, x1, x2, x3, x4, x5, x6, x7 = counter
    key0, key1 = key
    for _ in range(ROUNDS):
        low0, low1, high0, high1 = product(MULTIPLIERS[0], x0, x1)
        low2, low3, high2, high3 = product(MULTIPLIERS[1], x4, x5)
        x0, x1 = high2 ^ x2 ^ (key0 & MASK), high3 ^ x3 ^ (key0 >> 32)
        x4, x5 = high0 ^ x6 ^ (key1 & MASK), high1 ^ x7 ^ (key1 >> 32)
        x2, x3, x6, x7 = low2, low3, low0, low1
        key0, key1 = (key0 + WEYL[0]) % 2**64, (key1 + WEYL[1]) % 2**64
    return [x0, x1, x2, x3, x4, x5, x6, x7]


def parts(counter: int) -> list[int]:
    """A 256-bit counter in eight 32-bit parts, lowest first."""
    return [(counter >> (32 * i)) & MASK for i in range(8)]


def random_on_host(xp: Any, device: Any) -> bool:
    """Whether numbers for ``device`` had better be made by NumPy and moved; the bits are the same either way."""
    return False


def random_integer_dtype(xp: Any, device: Any) -> Any:
    """The library's default dtype of integers: int64, but int32 where 64 bits are switched off."""
    return xp.dtype_of(xp.namespace.__array_namespace_info__().default_dtypes(device=device)["integral"])


def random_words(xp: Any, blocks: int, *, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    """The words of ``blocks`` blocks from number ``counter`` on: (8 * blocks,) integers in [0, 2**32).

    The integer dtype is whatever suits the library. ``counter`` has 256 bits; its low 64 must not overflow on the way.
    """
    if blocks == 0:
        return xp.zeros((0,), dtype=xp.int64, device=device)
    first = parts(counter)
    low = xp.arange(blocks, dtype=xp.int64, device=device) + first[0]
    scrambled = philox([low & MASK, (low >> 32) + first[1], *first[2:]], key)
    return xp.reshape(xp.stack(scrambled, axis=1), (-1,))


def _words(xp: Any, count: int, where: dict[str, Any]) -> Any:
    """The first ``count`` words of a draw."""
    return xp.random_words((count + 7) // 8, **where)[:count]


def _halves(xp: Any, count: int, where: dict[str, Any]) -> tuple[Any, Any]:
    """``count`` 64-bit words, as their low and high halves."""
    pairs = xp.reshape(_words(xp, 2 * count, where), (count, 2))
    return pairs[:, 0], pairs[:, 1]


def random_uniform(xp: Any, count: int, *, dtype: Any, **where: Any) -> Any:
    """``count`` numbers in [0, 1): the top bits of a word (float64: of two), as many as the dtype holds exactly."""
    bits = UNIFORM_BITS[xp.dtype_of(dtype).name]
    if bits == 53:
        low, high = _halves(xp, count, where)
        # Whole numbers below 2**53, so neither the product nor the sum rounds.
        return (xp.astype(high, dtype) * 2.0**21 + xp.astype(low >> 11, dtype)) * 2.0**-53
    return xp.astype(_words(xp, count, where) >> (32 - bits), dtype) * 2.0**-bits


def random_normal(xp: Any, count: int, *, dtype: Any, **where: Any) -> Any:
    """``count`` standard normal numbers in float32 or float64 (Box and Muller 1958): a pair of uniform ones gives two.

    The pairs' cosines come first, then their sines. The radius uses all 32 (53) bits: it reaches 6.7 (8.5).
    """
    pairs = (count + 1) // 2
    if xp.dtype_of(dtype).itemsize == 8:
        uniform = xp.random_uniform(2 * pairs, dtype=dtype, **where)
        chance, turn = uniform[:pairs] + 2.0**-53, uniform[pairs:]
    else:
        words = _words(xp, 2 * pairs, where)
        chance = xp.astype(words[:pairs], dtype) * 2.0**-32 + 2.0**-33  # never 0, whose logarithm is infinite
        turn = xp.astype(words[pairs:] >> 8, dtype) * 2.0**-24
    radius = xp.sqrt(-2.0 * xp.log(chance))
    angle = turn * (2 * math.pi)
    return xp.concat([radius * xp.cos(angle), radius * xp.sin(angle)])[:count]


def random_bernoulli(xp: Any, count: int, *, threshold: int, device: Any = None, **where: Any) -> Any:
    """``count`` truth values, each true for ``threshold`` of the 2**32 words."""
    words = _words(xp, count, {"device": device, **where})
    if threshold == 0:
        return xp.zeros((count,), dtype=xp.bool, device=device)
    return words <= xp.asarray(threshold - 1, dtype=words.dtype, device=device)  # 2**32 itself may not fit the dtype


def draws_anew(xp: Any) -> bool:
    """Whether a mask for dropout is sooner drawn once more on the way back than kept until then."""
    return False


def dropout(xp: Any, x: Any, *, threshold: int, scale: float, key: tuple[int, int], counter: int) -> Any:
    """``x`` with each element multiplied by ``scale`` if its word (in the order of the elements) is below ``threshold``,
    else by 0. A linear map, and its own transpose."""
    where: dict[str, Any] = {"key": key, "counter": counter, "device": xp.device_of(x)}
    kept = xp.reshape(xp.random_bernoulli(math.prod(x.shape), threshold=threshold, **where), x.shape)
    return x * (xp.astype(kept, x.dtype) * scale)


def random_integers(xp: Any, count: int, *, low: int, span: int, dtype: Any, **where: Any) -> Any:
    """``count`` integers in [low, low + span), span <= 2**63: the top of a 64-bit word times ``span`` (Lemire 2019).

    Without rejection, so that every draw uses up the same number of words; the bias is below span / 2**64.
    """
    first, second = _halves(xp, count, where)
    first, second = xp.astype(first, xp.int64, copy=False), xp.astype(second, xp.int64, copy=False)
    if span <= 2**31:  # nothing can overflow: a third of the work
        value = (second * span + ((first * span) >> 32)) >> 32
    else:
        _, _, upper, top = product(span, first, second)
        value = (top << 32) + upper
    return xp.astype(value + (low if low < 2**63 else low - 2**64), dtype)


def random_permutation(xp: Any, count: int, *, dtype: Any, **where: Any) -> Any:
    """0 to count - 1 in the order of ``count`` 64-bit words."""
    low, high = _halves(xp, count, where)
    # Sorting by the low half and then, stably, by the high half sorts by the whole.
    order = xp.argsort(low, stable=True)
    return xp.astype(xp.take(order, xp.argsort(xp.take(high, order), stable=True)), dtype)
