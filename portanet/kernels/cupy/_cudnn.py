"""Convolutions by cuDNN, where its frontend is installed (`pip install 'portanet[cudnn]'`).

Each configuration (shapes, dtype, strides, ...) is planned once and its plan kept; one that cuDNN has no plan for is
remembered too, and left to the kernels of `convolution`. Only plans that give the same bits every time are taken, and
in float32 only those that multiply float32 numbers, unless TF32 is asked for. ``PORTANET_CUDNN=0`` switches all of it
off.
"""

from __future__ import annotations

import collections
import importlib
import os
import sys
import threading
from typing import Any

import cupy

from portanet.kernels.cupy._windows import LIMIT, Ints, Pairs
from portanet.precision import rounds_float32

allowed = os.environ.get("PORTANET_CUDNN", "1") != "0"

PLANS = 1024  # that are kept; the one that was not used for the longest time goes first
WORKSPACE = 1 << 30  # bytes that a plan may ask for

_TYPES = {"float16": "HALF", "bfloat16": "BFLOAT16", "float32": "FLOAT", "float64": "DOUBLE"}
_FIRST, _SECOND, _RESULT = 1, 2, 3  # the names that cuDNN knows the arrays by

_plans: collections.OrderedDict[Any, _Plan | None] = collections.OrderedDict()
_lock = threading.Lock()
_own = threading.local()  # a handle is one thread's, and one device's


def conv(y: Any, x: Any, weight: Any, *, stride: Ints, padding: Pairs, dilation: Ints) -> bool:
    """Whether cuDNN wrote the convolution into ``y``. All arrays here are in row-major memory and of one dtype."""
    return _run("conv_fprop", y, x, weight, stride, padding, dilation)


def conv_backward_input(dx: Any, g: Any, weight: Any, *, stride: Ints, padding: Pairs, dilation: Ints) -> bool:
    """Whether cuDNN wrote the cotangent of the convolution's input into ``dx``."""
    return _run("conv_dgrad", dx, g, weight, stride, padding, dilation)


def conv_backward_weight(dw: Any, g: Any, x: Any, *, stride: Ints, padding: Pairs, dilation: Ints) -> bool:
    """Whether cuDNN wrote the cotangent of the convolution's weight into ``dw``."""
    return _run("conv_wgrad", dw, x, g, stride, padding, dilation)


class _Plan:
    """One convolution, planned for one device."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.workspace = int(graph.get_workspace_size())

    def run(self, handle: Any, result: Any, first: Any, second: Any) -> None:
        # The memory goes back to the pool at once: what gets it next is launched on the same stream, and so runs later.
        space = cupy.empty(self.workspace, cupy.uint8) if self.workspace else None
        arrays = {_FIRST: first.data.ptr, _SECOND: second.data.ptr, _RESULT: result.data.ptr}
        self.graph.execute(arrays, space if space is None else space.data.ptr, handle=handle)


def _run(kind: str, result: Any, first: Any, second: Any, stride: Ints, padding: Pairs, dilation: Ints) -> bool:
    handle = _handle() if allowed else None
    if handle is None or max(result.size, first.size, second.size) >= LIMIT:
        return False
    shapes, how = (first.shape, second.shape, result.shape), (stride, padding, dilation)
    key = (kind, first.data.device_id, first.dtype.name, rounds_float32(), *shapes, *how)
    with _lock:
        if key in _plans:
            _plans.move_to_end(key)
            plan = _plans[key]
        else:
            plan = _plans[key] = _planned(kind, handle, result, first, second, stride, padding, dilation)
            if len(_plans) > PLANS:
                _plans.popitem(last=False)
    if plan is None:
        return False
    try:
        plan.run(handle, result, first, second)
    except RuntimeError:
        _plans[key] = None
        return False
    return True


def _handle() -> Any:
    """This thread's handle for the current device, on the current stream; None where cuDNN cannot be used."""
    device = cupy.cuda.runtime.getDevice()
    handles = _own.__dict__.setdefault("handles", {})
    if device not in handles:
        handles[device] = _made()
    handle = handles[device]
    if handle is not None:
        sys.modules["cudnn"].set_stream(handle=handle, stream=cupy.cuda.get_current_stream().ptr)
    return handle


def _made() -> Any:
    try:
        return importlib.import_module("cudnn").create_handle()
    except Exception:  # not installed, without its library, or for another driver: the kernels of `convolution` remain
        return None


def _planned(
    kind: str, handle: Any, result: Any, first: Any, second: Any, stride: Ints, padding: Pairs, dilation: Ints
) -> _Plan | None:
    try:
        graph = _graph(kind, handle, result, first, second, stride, padding, dilation)
        graph.build_operation_graph()
        graph.create_execution_plans(_heuristics())
        graph.deselect_numeric_notes(_unwanted(first.dtype.name))
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
    kind: str, handle: Any, result: Any, first: Any, second: Any, stride: Ints, padding: Pairs, dilation: Ints
) -> Any:
    cudnn = sys.modules["cudnn"]
    kept = getattr(cudnn.data_type, _TYPES[first.dtype.name])
    computed = cudnn.data_type.DOUBLE if first.dtype.name == "float64" else cudnn.data_type.FLOAT
    graph = cudnn.pygraph(
        name=kind, io_data_type=kept, intermediate_data_type=computed, compute_data_type=computed, handle=handle
    )
    if len(stride) == 1:  # cuDNN knows planes and volumes
        stride, padding, dilation = (1, *stride), ((0, 0), *padding), (1, *dilation)
    tensors = [
        graph.tensor(dim=_shape(x), stride=_strides(_shape(x)), data_type=kept, uid=uid, name=str(uid))
        for uid, x in ((_FIRST, first), (_SECOND, second))
    ]
    before, after = [b for b, _ in padding], [a for _, a in padding]
    how = {"pre_padding": before, "post_padding": after, "stride": list(stride), "dilation": list(dilation)}
    shape = _shape(result)
    y = getattr(graph, kind)(*tensors, **how)
    y.set_output(True).set_data_type(kept).set_dim(shape).set_stride(_strides(shape)).set_uid(_RESULT)
    graph.validate()
    return graph


def _shape(x: Any) -> list[int]:
    return [*x.shape[:2], 1, x.shape[2]] if x.ndim == 3 else list(x.shape)


def _strides(shape: list[int]) -> list[int]:
    """Those of row-major memory, in elements."""
    strides = [1]
    for n in reversed(shape[1:]):
        strides.insert(0, strides[0] * n)
    return strides
