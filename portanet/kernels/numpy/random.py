"""Random bits: NumPy has Philox4x64-10 in C, and makes floats of its words just as the generic kernel does."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

_idle: list[Any] = []  # NumPy's generators, made once: making one costs more than a small draw
PORTION = 1 << 22  # bytes that one thread fills before a second one pays


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
    portions = out.nbytes // PORTION
    workers = min(4, os.cpu_count() or 1, portions) if portions > 1 else 1
    # Any block can be had without those before it, and NumPy lets go of the interpreter while it fills.
    step = -(-count // (8 * workers)) * 8 or 8
    threads = []
    for start in range(step, count, step):
        block = counter + start * dtype.itemsize // 32
        threads.append(threading.Thread(target=_fill, args=(out[start : start + step], key, block)))
        threads[-1].start()
    _fill(out[:step], key, counter)
    for thread in threads:
        thread.join()
    return out


def _fill(out: Any, key: tuple[int, int], counter: int) -> None:
    generator = _borrowed(key, counter)
    generator.random(dtype=out.dtype, out=out)
    _idle.append(generator)


def random_permutation(count: int, *, dtype: Any, key: tuple[int, int], counter: int, device: Any = None) -> Any:
    words = random_words((count + 3) // 4, key=key, counter=counter).view("<u8")[:count]
    order = np.argsort(words)  # four times as fast as a stable sort, and the same unless two words are equal
    ordered = words[order]
    if np.any(ordered[1:] == ordered[:-1]):
        order = np.argsort(words, kind="stable")
    return order.astype(dtype, copy=False)
