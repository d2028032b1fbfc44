"""Convolutions by cuDNN, where its frontend is installed (`pip install 'portanet[cudnn]'`).

Each configuration (shapes, dtype, strides, ...) is planned once and its plan kept; one that cuDNN has no plan for is
remembered too, and left to the kernels of `convolution`. Only plans that give the same bits every time are taken, and
in float32 only those that multiply float32 numbers, unless TF32 is asked for. ``PORTANET_CUDNN=0`` switches all of it
off.
"""

from __future__ import annotations

import collections
import ctypes
import importlib
import math
import os
import sys
import threading
from typing import Any

import cupy

from portanet.kernels.cupy._passes import name_of
from portanet.kernels.cupy._windows import LIMIT, Ints, Pairs
from portanet.precision import rounds_float32

allowed = os.environ.get("PORTANET_CUDNN", "1") != "0"

KEPT = 1024  # configurations; the one that was not used for the longest time goes first
WORKSPACE = 1 << 30  # bytes that a plan may ask for

_TYPES = {"float16": "HALF", "bfloat16": "BFLOAT16", "float32": "FLOAT", "float64": "DOUBLE"}
_FIRST, _SECOND, _RESULT = 1, 2, 3  # the names that cuDNN knows the arrays by

_found: collections.OrderedDict[Any, _Configuration] = collections.OrderedDict()
_lock = threading.Lock()
_own = threading.local()  # a handle is one thread's, and one device's


def conv(y: Any, x: Any, weight: Any, *, stride: Ints, padding: Pairs, dilation: Ints) -> bool:
    """Whether cuDNN wrote the convolution into ``y``. All arrays here are in row-major memory and of one dtype."""
    handle = _handle() if allowed else None
    if handle is None:
        return False
    found = _configuration(handle, x.dtype, x.shape, weight.shape, y.shape, stride, padding, dilation)
    return found.run("conv_fprop", handle, y, x, weight)


def conv_backward(
    dx: Any, dw: Any, g: Any, x: Any, weight: Any, *, stride: Ints, padding: Pairs, dilation: Ints
) -> tuple[bool, bool]:
    """Whether cuDNN wrote the cotangents of the convolution's input into ``dx``, and of its weight into ``dw``.

    What is None is not wanted; x is needed for ``dw`` alone, and the weight for ``dx``.
    """
    handle = _handle() if allowed else None
    if handle is None:
        return False, False
    of_x, of_weight = (x if dx is None else dx).shape, (weight if dw is None else dw).shape
    found = _configuration(handle, g.dtype, of_x, of_weight, g.shape, stride, padding, dilation)
    return (
        dx is not None and found.run("conv_dgrad", handle, dx, g, weight),
        dw is not None and found.run("conv_wgrad", handle, dw, x, g),
    )


class _Handle:
    """What one thread calls cuDNN by on one device, and the addresses of the call that it is making."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.given = importlib.import_module("cudnn").create_handle()
        self.address = getattr(self.given, "backend_handle", None)
        self.stream: int | None = None
        self.arrays = (ctypes.c_void_p * 3)()
        self.place = ctypes.addressof(self.arrays)

    def follow(self, stream: int) -> None:
        """From now on, run what is called on that stream."""
        if stream != self.stream:
            sys.modules["cudnn"].set_stream(handle=self.given, stream=stream)
            self.stream = stream


def _handle() -> _Handle | None:
    """This thread's handle for the current device, on the current stream; None where cuDNN cannot be used."""
    device = cupy.cuda.runtime.getDevice()
    try:
        handle = _own.handles[device]
    except (AttributeError, KeyError):
        handle = _own.__dict__.setdefault("handles", {})[device] = _made(device)
    if handle is not None:
        handle.follow(cupy.cuda.get_current_stream().ptr)
    return handle


def _made(device: int) -> _Handle | None:
    try:
        return _Handle(device)
    except Exception:  # not installed, without its library, or for another driver: the kernels of `convolution` remain
        return None


def _configuration(handle: _Handle, dtype: Any, *how: Any) -> _Configuration:
    """The plans for arrays of these shapes (input, weight, result), stride, padding and dilation."""
    key = handle.device, dtype.char, rounds_float32(), how
    try:
        found = _found[key]
        _found.move_to_end(key)
    except KeyError:
        with _lock:
            found = _found.setdefault(key, _Configuration(name_of[dtype], *how))
            if len(_found) > KEPT:
                _found.popitem(last=False)
    return found


class _Configuration:
    """A convolution there and back: one plan for each way, made when it is first gone."""

    def __init__(
        self, dtype: str, x: Ints, weight: Ints, y: Ints, stride: Ints, padding: Pairs, dilation: Ints
    ) -> None:
        self.dtype, self.x, self.weight, self.y = dtype, x, weight, y
        self.how = (stride, padding, dilation)
        self.plans: dict[str, _Plan | None] = {}

    def run(self, kind: str, handle: _Handle, result: Any, first: Any, second: Any) -> bool:
        """Whether cuDNN wrote the result of ``kind``."""
        try:
            plan = self.plans[kind]
        except KeyError:
            plan = self._remembered(kind, handle)
        if plan is None:
            return False
        try:
            plan.run(handle, result.data.ptr, first.data.ptr, second.data.ptr)
        except RuntimeError:
            self.plans[kind] = None
            return False
        return True

    def _remembered(self, kind: str, handle: _Handle) -> _Plan | None:
        shapes = {
            "conv_fprop": (self.x, self.weight, self.y),
            "conv_dgrad": (self.y, self.weight, self.x),
            "conv_wgrad": (self.x, self.y, self.weight),
        }[kind]
        with _lock:
            if kind not in self.plans:
                counted = max([math.prod(shape) for shape in shapes]) < LIMIT
                self.plans[kind] = _planned(kind, handle, self.dtype, shapes, *self.how) if counted else None
            return self.plans[kind]


class _Plan:
    """One way of a convolution, planned for one device."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.workspace = int(graph.get_workspace_size())
        self.native, self.index = _native(graph)

    def run(self, handle: _Handle, result: int, first: int, second: int) -> None:
        """Compute on the handle's stream; the arrays are given by their addresses."""
        # The memory goes back to the pool at once: what gets it next is launched on the same stream, and so runs later.
        space = cupy.cuda.alloc(self.workspace) if self.workspace else None
        where = 0 if space is None else space.ptr
        if self.native is not None and handle.address is not None:
            handle.arrays[:] = [first, second, result]
            try:
                self.native(handle.place, 3, where, handle.address, self.index)
                return
            except TypeError:  # it takes other arguments in this frontend
                self.native = None
        self.graph.execute({_FIRST: first, _SECOND: second, _RESULT: result}, where or None, handle=handle.given)


def _native(graph: Any) -> tuple[Any, int]:
    """The function that a graph's ``execute`` ends in, and which of its plans to name there.

    Before that ``execute`` describes all arrays anew, in Python, though only their addresses have changed. None instead
    of the function, where this frontend has it not, or not for these arrays in this order.
    """
    try:
        if graph.selected_engine is not None or graph._variant_pack_uids() != [_FIRST, _SECOND, _RESULT]:
            return None, -1
        index = graph._plans[graph._plan_index].cpp_index
        return graph._lowered_graph._execute_with_raw_ptrs, -1 if index is None else index
    except (AttributeError, LookupError):
        return None, -1


def _planned(
    kind: str, handle: _Handle, dtype: str, shapes: tuple[Ints, ...], stride: Ints, padding: Pairs, dilation: Ints
) -> _Plan | None:
    try:
        graph = _graph(kind, handle, dtype, shapes, stride, padding, dilation)
        graph.build_operation_graph()
        graph.create_execution_plans(_heuristics())
        graph.deselect_numeric_notes(_unwanted(dtype))
        graph.deselect_workspace_greater_than(WORKSPACE)
    except Exception:  # each step refuses in a way of its own what cuDNN does not do
        return None
    for index in range(graph.get_execution_plan_count()):
        try:
            graph.build_plan_at_index(index)
            return _Plan(graph)
        except Exception:  # what was deselected, or cannot be built after all
            continue
    return None


def _heuristics() -> list[Any]:
    modes = sys.modules["cudnn"].heur_mode
    return [modes.A, modes.FALLBACK]


def _unwanted(dtype: str) -> list[Any]:
    """The properties of plans that are not taken."""
    notes = sys.modules["cudnn"].numerical_note
    found = [notes.NONDETERMINISTIC, notes.DOWN_CONVERT_INPUTS, notes.REDUCED_PRECISION_REDUCTION]
    if dtype == "float32" and not rounds_float32():
        found.append(notes.TENSOR_CORE)  # which in float32 rounds to TF32
    return found


def _graph(
    kind: str, handle: _Handle, dtype: str, shapes: tuple[Ints, ...], stride: Ints, padding: Pairs, dilation: Ints
) -> Any:
    cudnn = sys.modules["cudnn"]
    kept = getattr(cudnn.data_type, _TYPES[dtype])
    computed = cudnn.data_type.DOUBLE if dtype == "float64" else cudnn.data_type.FLOAT
    graph = cudnn.pygraph(
        name=kind, io_data_type=kept, intermediate_data_type=computed, compute_data_type=computed, handle=handle.given
    )
    if len(stride) == 1:  # cuDNN knows planes and volumes
        stride, padding, dilation = (1, *stride), ((0, 0), *padding), (1, *dilation)
    first, second, result = [_of_planes(shape) for shape in shapes]
    tensors = [
        graph.tensor(dim=shape, stride=_strides(shape), data_type=kept, uid=uid, name=str(uid))
        for uid, shape in ((_FIRST, first), (_SECOND, second))
    ]
    before, after = [b for b, _ in padding], [a for _, a in padding]
    how = {"pre_padding": before, "post_padding": after, "stride": list(stride), "dilation": list(dilation)}
    y = getattr(graph, kind)(*tensors, **how)
    y.set_output(True).set_data_type(kept).set_dim(result).set_stride(_strides(result)).set_uid(_RESULT)
    graph.validate()
    return graph


def _of_planes(shape: Ints) -> list[int]:
    return [*shape[:2], 1, shape[2]] if len(shape) == 3 else list(shape)


def _strides(shape: list[int]) -> list[int]:
    """Those of row-major memory, in elements."""
    strides = [1]
    for n in reversed(shape[1:]):
        strides.insert(0, strides[0] * n)
    return strides
