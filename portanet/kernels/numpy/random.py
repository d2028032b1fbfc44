"""Random bits: NumPy has Philox4x64-10 in C, and makes floats of its words just as the generic kernel does."""

from __future__ import annotations

from typing import Any

import numpy as np

from portanet import threads

_idle: list[Any] = []  # NumPy's generators, made once: making one costs more than a small draw
PORTION = 1 << 22  # bytes that are worth a thread


def _borrowed(key: tuple[int, int], counter: int) -> Any:
    """One of NumPy's generators, about to give block ``counter``; put it back on ``_idle`` after use."""
    try:
        generator = _idle.pop()
    except IndexError:
        generator = np.random.Generator(np.random.Philox(0))
    before = (counter - 1) % 2**256  # NumPy counts up before each block
    parts = [(before >> shift) % 2**64 for shift in (0, 64, 128, 192)]
    generator.bit_generator.state = {
        "bit_generator": "Philox", "state": {"counter": parts, "key": key},
        "buffer": (0, 0, 0, 0), "buffer_pos": 4, "has_uint32": 0, "uinteger": 0,
    }  # fmt: skip
    return generator


def random_words(blocks: int, *, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    generator = _borrowed(key, counter)
    words = generator.bit_generator.random_raw(4 * blocks).astype("<u8", copy=False).view("<u4")
    _idle.append(generator)
    return words


def random_uniform(count: int, *, dtype: Any, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    dtype = np.dtype(dtype)
    if dtype.itemsize < 4:  # float16, which NumPy's own generators do not make
        words = random_words((count + 7) // 8, key=key, counter=counter)[:count]
        return (words >> 21).astype(dtype) * dtype.type(2.0**-11)
    out = np.empty(count, dtype=dtype)

    def fill(first: int, last: int) -> None:
        generator = _borrowed(key, counter + first * dtype.itemsize // 32)  # a block is 32 bytes
        generator.random(dtype=dtype, out=out[first:last])
        _idle.append(generator)

    # Any block can be had without those before it, and NumPy lets go of the interpreter while it fills.
    threads.spread(fill, count, out.nbytes // PORTION, step=8)
    return out


def random_permutation(count: int, *, dtype: Any, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    words = random_words((count + 3) // 4, key=key, counter=counter).view("<u8")[:count]
    order = np.argsort(words)  # four times as fast as a stable sort, and the same unless two words are equal
    ordered = words[order]
    if np.any(ordered[1:] == ordered[:-1]):
        order = np.argsort(words, kind="stable")
    return order.astype(dtype, copy=False)
