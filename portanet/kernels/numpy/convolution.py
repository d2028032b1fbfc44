"""Convolution for NumPy: windows are copied into a block that fits the cache, and one matrix product takes them all.

Results are views of shape (N, C, ...) on memory in which the channels come last: a window is then a few long runs of
memory, and ufuncs keep that order, so the next convolution finds it again. The way back to x is a convolution of the
cotangent, one for each remainder by the stride; nothing is scattered.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from portanet import threads
from portanet.kernels.generic import convolution as generic
from portanet.kernels.numpy import _thin
from portanet.kernels.numpy._memory import space_for
from portanet.kernels.numpy._numba import Products
from portanet.kernels.numpy._runs import Runs, runs_of
from portanet.kernels.numpy._windows import (
    PORTION,
    RUN,
    SHORT,
    Block,
    Done,
    Ints,
    Pairs,
    Sweep,
    Windows,
    backward_sweeps,
    blocks_of,
    channels_first,
    channels_last,
    each,
    forward_sweep,
    portions_for,
    product,
    seen_alone,
    shifts_of,
    summed,
    transposed_product,
    windows_of,
)
from portanet.library import namespace_of

__all__ = ["channel_sums", "conv", "conv_backward", "conv_backward_input", "conv_backward_weight"]


def _is_plain(groups: int, *arrays: Any) -> bool:
    """Whether the kernels here are meant for such arrays; the others are left to the definition."""
    return groups == 1 and all([x.size > 0 and x.dtype == arrays[0].dtype for x in arrays])


def _add_line(rows: Any, values: Any, count: int) -> None:
    """Add ``values`` (n,) to each of the rows (m, n), ``count`` rows at a time: NumPy adds long runs faster."""
    lines = rows.reshape(-1, count * values.size)
    np.add(lines, np.concatenate([values] * count), out=lines)


def _form_of(x: Any, sweep: Sweep, weight: Any, y: Any) -> Runs | Windows:
    """The form in which the products of a sweep's windows, which go to y, cost least."""
    size, channels = x.shape[1:-1], x.shape[-1]
    bare = math.prod(sweep.kernel) == max(sweep.stride) == 1 and y.flags.c_contiguous  # windows are x as it is
    return (None if bare else runs_of(size, channels, weight.shape[0], sweep)) or windows_of(size, channels, sweep)


def _swept(x: Any, jobs: list[tuple[Sweep, Any, Any]], bias: Any = None) -> None:
    """For each sweep over x (N, *spatial, C), its windows times the weights (O, C, *kernel) into (N, *windows, O)."""

    forms: list[Any] = [_form_of(x, sweep, weight, y) for sweep, weight, y in jobs]
    matrices = [form.columns(weight) for form, (_, weight, _) in zip(forms, jobs, strict=True)]
    cost = sum([math.prod(s.output) * w.size for s, w, _ in jobs]) * x.shape[0]
    rows = max([sweep.output[0] for sweep, _, _ in jobs])
    bytes_of_row = max([form.row for form in forms]) * x.itemsize
    free = all([isinstance(form, Runs) for form in forms])
    portions = blocks_of(x.shape[0], rows, bytes_of_row, portions_for(cost, free))
    loops: list[Any] = [form.loop(cost, x) if isinstance(form, Runs) else None for form in forms]
    whole = len(portions) > 1 and portions[0][0][2:] == (0, rows)  # images
    if whole and all([loop is not None and loop.is_shared for loop in loops]):
        for form, loop, matrix, (sweep, _, y) in zip(forms, loops, matrices, jobs, strict=True):
            run = functools.partial(loop.shared, len(portions))
            form.by_loop(run, x, (0, x.shape[0], 0, sweep.output[0]), matrix, bias, y)
        return

    def work(blocks: list[Block]) -> None:
        for form, loop, matrix, (sweep, _, y) in zip(forms, loops, matrices, jobs, strict=True):
            done: Done = {}  # the memory of the sweep before is this one's now
            for n0, n1, r0, r1 in _joined(blocks, rows) if loop else blocks:
                block = (n0, n1, r0, min(r1, sweep.output[0]))
                if r0 >= block[-1]:
                    continue
                if loop is not None:
                    form.by_loop(loop.alone, x, block, matrix, bias, y)
                elif isinstance(form, Runs):
                    form.multiply(x, block, matrix, bias, y, done)
                else:
                    _by_windows(form, x, block, matrix, bias, y, done)

    each(portions, work)


def _joined(blocks: list[Block], rows: int) -> list[Block]:
    """Neighbouring blocks of whole images, which have so many rows, as one."""
    return [(blocks[0][0], blocks[-1][1], 0, rows)] if blocks[0][2:] == (0, rows) else blocks


def _by_windows(windows: Windows, x: Any, block: Block, matrix: Any, bias: Any, y: Any, done: Done) -> None:
    """The windows of a block, once they are copied, times the weights as ``matrix`` into y (N, *windows, O)."""
    n0, n1, r0, r1 = block
    target, output, out = y[n0:n1, r0:r1], windows.sweep.output, matrix.shape[1]
    parts = windows.take(x, block, done)
    direct = windows.width == output[-1] and target.flags.c_contiguous
    width = windows.width if len(output) > 1 else r1 - r0
    lines = target if direct else space_for("lines", (*target.shape[:-2], width, out), x.dtype)
    rows = lines.reshape(-1, out)
    for part, places in parts:
        product(part, matrix, rows[places])
    if bias is not None:
        _add_line(rows, bias, width)
    if not direct:
        target[...] = lines[..., : output[-1], :]


def _shifted_backward_weight(g: Any, x: Any, sweep: Sweep) -> Callable[[], Any]:
    """The weights' cotangent where the stride is 1: what a tap sees is the padded array as it lies there, shifted.

    The cotangent is laid out in lines of the same length, with zeros where no window is; no window is copied.
    """
    data, given, out, channels = channels_last(x), channels_last(g), g.shape[1], x.shape[1]
    shifts = shifts_of(data.shape[1:-1], sweep)
    rows = max(64, min(256, 4096 // max(out, channels)))  # short products, which OpenBLAS does without packing
    sums: dict[Block, Any] = {}
    cost = g.size * math.prod(sweep.kernel) * channels
    loop = _weights.at_hand(cost, data, given) if len(sweep.kernel) == 2 and min(out, channels) > 1 else None

    portions = blocks_of(x.shape[0], 1, shifts.places * (channels + out) * x.itemsize, portions_for(cost, True))
    if loop is not None and loop.is_shared and len(portions) > 1:
        totals = shifts.by_loop(functools.partial(loop.shared, len(portions)), data, given, portions, rows)
        return lambda: _in_order(np.add.reduce(totals, axis=0))

    def work(blocks: list[Block]) -> None:
        if loop is not None:
            sums[blocks[0]] = shifts.by_loop(loop.alone, data, given, [blocks], rows)[0]
            return
        images, total = 0, 0.0
        for n0, n1, _, _ in blocks:
            count = n1 - n0
            parts = -(-count * shifts.places // rows)
            seen = space_for("source", ((parts * rows + shifts.furthest) * channels,), x.dtype)
            lines = space_for("lines", (parts * rows * out,), x.dtype)
            if images != count:
                seen.fill(0)
                lines.fill(0)
                images = count
            area, of = count * shifts.places, shifts.inside
            seen[: area * channels].reshape(count, *shifts.pitch, channels)[:, *shifts.target] = data[n0:n1, *of]
            lines[: area * out].reshape(count, *shifts.pitch, out)[:, *shifts.windows] = given[n0:n1]
            steps = [n * channels * x.itemsize for n in (*shifts.steps, rows, 1)]
            shape = (*sweep.kernel, parts, rows, channels)
            views = np.ndarray(shape, x.dtype, seen, 0, (*steps, x.itemsize))
            found = np.matmul(lines.reshape(parts, rows, out).transpose(0, 2, 1), views)
            total = total + np.add.reduce(found, axis=len(sweep.kernel))
        sums[blocks[0]] = total

    each(portions, work)
    return lambda: _in_order(summed(sums))


def _in_order(weights: Any) -> Any:
    """(*kernel, O, C) as (O, C, *kernel)."""
    return np.ascontiguousarray(weights.transpose(-2, -1, *range(weights.ndim - 2)))


_weights, _window_weights = Products("_conv_loops", "weights"), Products("_conv_loops", "window_weights")


def conv(x: Any, weight: Any, bias: Any = None, *, stride: Ints, padding: Pairs, dilation: Ints, groups: int) -> Any:
    if not _is_plain(groups, x, weight, *([] if bias is None else [bias])):
        how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv(namespace_of(x), x, weight, bias, **how)
    output = generic._output(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    sweep = forward_sweep(weight.shape[2:], stride, padding, dilation, output)
    if _thin.is_thin(x.shape[1], weight.shape[2:], output, stride, x.dtype):
        return _thin.conv(x, weight, bias, sweep)
    x, sweep = seen_alone(x, sweep)
    y = np.empty((x.shape[0], *output, weight.shape[0]), x.dtype)
    _swept(channels_last(x), [(sweep, weight, y)], bias)
    return channels_first(y)


def conv_backward_input(
    g: Any, weight: Any, *, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    if not _is_plain(groups, g, weight):
        how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward_input(namespace_of(g), g, weight, size=size, **how)
    if _thin.is_light(weight.shape[1], weight.shape[2:], g.shape[2:], stride, g.dtype):
        return _thin.backward_input(
            g, weight, size, forward_sweep(weight.shape[2:], stride, padding, dilation, g.shape[2:])
        )
    sweeps = backward_sweeps(size, weight.shape[2:], stride, padding, dilation)
    empty = np.zeros if any([sweep is None for _, _, sweep in sweeps]) else np.empty
    dx = empty((g.shape[0], *size, weight.shape[1]), g.dtype)
    jobs: list[tuple[Sweep, Any, Any]] = []
    for phase, taps, sweep in sweeps:
        places = dx[:, *[slice(r, None, s) for r, s in zip(phase, stride, strict=True)]]
        if sweep is not None:
            backwards = weight[:, :, *taps][:, :, *[slice(None, None, -1)] * len(size)]
            jobs.append((sweep, backwards.swapaxes(0, 1), places))
    if jobs:
        _swept(channels_last(g), jobs)
    return channels_first(dx)


def conv_backward_weight(
    g: Any, x: Any, *, size: Ints, stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> Any:
    if not _is_plain(groups, g, x):
        how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return generic.conv_backward_weight(namespace_of(g), g, x, size=size, **how)
    return _backward_weight(g, x, forward_sweep(size, stride, padding, dilation, g.shape[2:]))()


def _backward_weight(g: Any, x: Any, sweep: Sweep) -> Callable[[], Any]:
    """What gives the weights' cotangent once the threads are done."""
    output, out, size, stride = g.shape[2:], g.shape[1], sweep.kernel, sweep.stride
    if _thin.is_thin(x.shape[1], size, output, stride, x.dtype):
        return _thin.backward_weight(g, x, sweep)
    x, sweep = seen_alone(x, sweep)
    if max(sweep.stride) == 1 < math.prod(size) and min(x.shape[1], out) * x.itemsize >= SHORT:
        return _shifted_backward_weight(g, x, sweep)
    data, given = channels_last(x), channels_last(g)
    windows = windows_of(data.shape[1:-1], data.shape[-1], sweep)
    cost = g.size * math.prod(size) * x.shape[1]
    portions = blocks_of(x.shape[0], output[0], windows.row * x.itemsize, portions_for(cost, True))
    sums: dict[Block, Any] = {}
    loop = None
    if type(windows) is Windows and len(size) == 2 and portions[0][0][2:] == (0, output[0]):
        loop = _window_weights.at_hand(cost, data, given)
    if loop is not None:
        given = np.ascontiguousarray(given)
    if loop is not None and loop.is_shared and len(portions) > 1:
        totals = windows.by_loop(functools.partial(loop.shared, len(portions)), data, given, portions)
        return lambda: windows.weights(np.add.reduce(totals, axis=0))

    def work(blocks: list[Block]) -> None:
        if loop is not None:
            sums[blocks[0]] = windows.by_loop(loop.alone, data, given, [blocks])[0]
        else:
            sums[blocks[0]] = _window_products(windows, data, given, blocks)

    each(portions, work)
    return lambda: windows.weights(summed(sums))


def _window_products(windows: Windows, x: Any, g: Any, blocks: list[Block]) -> Any:
    """The sum of g (N, *windows, O) times the windows of x (N, *size, C), of so many blocks."""
    output, out = windows.sweep.output, g.shape[-1]
    done: Done = {}
    total = None
    for block in blocks:
        n0, n1, r0, r1 = block
        lines = g[n0:n1, r0:r1]
        if not g.flags.c_contiguous or windows.width > output[-1]:
            width = windows.width if len(output) > 1 else r1 - r0
            held = space_for("lines", (*lines.shape[:-2], width, out), g.dtype)
            held[..., : output[-1], :] = lines
            held[..., output[-1] :, :] = 0  # what belongs to no place adds nothing
            lines = held
        rows = lines.reshape(-1, out)
        for part, places in windows.take(x, block, done):
            found = transposed_product(rows[places], part)
            total = found if total is None else np.add(total, found, out=total)
    return total


def conv_backward(
    g: Any, x: Any, weight: Any, *, wanted: tuple[bool, ...], stride: Ints, padding: Pairs, dilation: Ints, groups: int
) -> tuple[Any, Any, Any]:
    how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if not _is_plain(groups, g, x, weight):
        return generic.conv_backward(namespace_of(g), g, x, weight, wanted=wanted, **how)
    of_x, finish = None, None
    cost = g.size * math.prod(weight.shape[1:])
    much = cost >= 2 * PORTION  # else one thread is done before another has begun
    if _thin.is_thin(x.shape[1], weight.shape[2:], g.shape[2:], stride, x.dtype):
        g, much = _thin.as_left(g), much or _thin.is_worth_threads(cost)
    with threads.together() if much else contextlib.nullcontext():
        if wanted[0]:
            of_x = conv_backward_input(g, weight, size=tuple(x.shape[2:]), **how)
        if wanted[1]:
            finish = _backward_weight(g, x, forward_sweep(weight.shape[2:], stride, padding, dilation, g.shape[2:]))
    return of_x, finish() if finish else None, channel_sums(g) if any(wanted[2:]) else None


def channel_sums(x: Any) -> Any:
    data = channels_last(x)
    if x.size == 0 or not data.flags.c_contiguous:
        return np.add.reduce(np.add.reduce(x, axis=tuple(range(2, x.ndim))), axis=0)
    count = x.shape[1]
    places = x.size // count
    run = next(n for n in range(max(1, min(RUN // count, places)), 0, -1) if places % n == 0)
    lines = np.add.reduce(data.reshape(-1, run * count), axis=0)  # long runs add faster than short ones
    return np.add.reduce(lines.reshape(run, count), axis=0)
