"""cuBLASLt by ctypes: products of matrices that a CUDA graph can capture, with a bias or its gradient on the way.

CuPy's own products go through cuBLAS, which CuPy refuses to call while a stream is being captured. Row by row stored
matrices are column by column stored ones transposed, so D = A B is computed as D^T = B^T A^T: what is cuBLASLt's first
operand is our second one.
"""

from __future__ import annotations

import ctypes as C
import functools
import threading
from dataclasses import dataclass
from typing import Any

import cupy

WORKSPACE = 32 << 20  # bytes: what NVIDIA recommends for Hopper

# cudaDataType, cublasComputeType_t and the type of alpha and beta, by dtype
_REAL32, _REAL64 = 0, 1
TYPES = {
    "float16": (2, 68, _REAL32),
    "bfloat16": (14, 68, _REAL32),
    "float32": (0, 68, _REAL32),
    "float64": (1, 70, _REAL64),
}
FAST_TF32 = 77  # the compute type in which float32 is rounded to TF32 first

# cublasLtEpilogue_t
PLAIN, BIAS, BIAS_GRADIENT = 1, 4, 512

# cublasLtMatmulDescAttributes_t, cublasLtMatrixLayoutAttribute_t, cublasLtMatmulPreferenceAttributes_t
_TRANSPOSE_FIRST, _TRANSPOSE_SECOND, _EPILOGUE, _BIAS_POINTER = 3, 4, 7, 8
_BATCH, _BATCH_STRIDE = 5, 6
_LARGEST_WORKSPACE, _ALIGNMENTS = 1, (5, 6, 7, 8)


class Unsupported(Exception):
    """cuBLASLt has no algorithm for this product."""


class _Heuristic(C.Structure):  # cublasLtMatmulHeuristicResult_t
    _fields_ = [
        ("algorithm", C.c_uint64 * 8),
        ("workspace", C.c_size_t),
        ("state", C.c_int),
        ("waves", C.c_float),
        ("reserved", C.c_int * 4),
    ]


@functools.cache
def _library() -> Any:
    from cuda.pathfinder import load_nvidia_dynamic_lib  # CuPy needs it itself

    library = C.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
    pointer, size, i32, i64, u64 = C.c_void_p, C.c_size_t, C.c_int, C.c_int64, C.c_uint64
    library.cublasLtCreate.argtypes = [C.POINTER(pointer)]
    library.cublasLtMatmulDescCreate.argtypes = [C.POINTER(pointer), i32, i32]
    library.cublasLtMatmulDescSetAttribute.argtypes = [pointer, i32, pointer, size]
    library.cublasLtMatmulDescDestroy.argtypes = [pointer]
    library.cublasLtMatrixLayoutCreate.argtypes = [C.POINTER(pointer), i32, u64, u64, i64]
    library.cublasLtMatrixLayoutSetAttribute.argtypes = [pointer, i32, pointer, size]
    library.cublasLtMatrixLayoutDestroy.argtypes = [pointer]
    library.cublasLtMatmulPreferenceCreate.argtypes = [C.POINTER(pointer)]
    library.cublasLtMatmulPreferenceSetAttribute.argtypes = [pointer, i32, pointer, size]
    library.cublasLtMatmulPreferenceDestroy.argtypes = [pointer]
    library.cublasLtMatmulAlgoGetHeuristic.argtypes = [*[pointer] * 7, i32, C.POINTER(_Heuristic), C.POINTER(i32)]
    library.cublasLtMatmul.argtypes = [*[pointer] * 14, size, pointer]
    return library


def _require(status: int, call: str) -> None:
    if status == 15:  # CUBLAS_STATUS_NOT_SUPPORTED
        raise Unsupported(call)
    if status:
        raise RuntimeError(f"cuBLASLt's {call} failed with status {status}.")


def _set(function: Any, owner: Any, attribute: int, value: Any) -> None:
    _require(function(owner, attribute, C.byref(value), C.sizeof(value)), function.__name__)


@functools.cache
def _handle(device: int) -> Any:
    handle = C.c_void_p()
    with cupy.cuda.Device(device):
        _require(_library().cublasLtCreate(C.byref(handle)), "cublasLtCreate")
    return handle


_workspaces: dict[tuple[int, int], Any] = {}  # by device and stream: two streams may be at work at once


def workspace(device: int, stream: int) -> int:
    """The address of the memory that products on this stream work in."""
    memory = _workspaces.get((device, stream))
    if memory is None:
        memory = _workspaces[device, stream] = cupy.cuda.alloc(WORKSPACE)
    pointer: int = memory.ptr
    return pointer


def release_workspace(device: int, stream: int) -> None:
    """Give the memory back, when the stream goes."""
    _workspaces.pop((device, stream), None)


@dataclass(frozen=True, slots=True)
class Matrix:
    """How an operand lies in memory: rows and columns as stored, elements from row to row, from matrix to matrix."""

    rows: int
    columns: int
    step: int
    transposed: bool = False  # the operand is the transpose of what is stored
    stride: int = 0


@dataclass(frozen=True, slots=True)
class Product:
    """All that an algorithm is chosen by: D = A B for each of ``batch`` pairs, D being stored by rows without gaps."""

    a: Matrix
    b: Matrix
    d: Matrix
    batch: int
    dtype: str
    compute: int
    epilogue: int
    alignment: int  # bytes, of all the pointers


class Plan:
    """One form of product with the algorithm that was chosen for it.

    Raises `Unsupported` where there is none.
    """

    def __init__(self, form: Product, device: int) -> None:
        library = self._run = _library()
        self._handle = _handle(device)
        self._device = device
        self._lock = threading.Lock()
        kind, _, scale = TYPES[form.dtype]
        self._description = C.c_void_p()
        _require(
            library.cublasLtMatmulDescCreate(C.byref(self._description), form.compute, scale),
            "cublasLtMatmulDescCreate",
        )
        describe = library.cublasLtMatmulDescSetAttribute
        _set(describe, self._description, _TRANSPOSE_FIRST, C.c_int32(form.b.transposed))
        _set(describe, self._description, _TRANSPOSE_SECOND, C.c_int32(form.a.transposed))
        _set(describe, self._description, _EPILOGUE, C.c_uint32(form.epilogue))
        if form.epilogue != PLAIN:
            self._pointer = C.c_void_p(16)  # an aligned one, until the first call has a real one
            _set(describe, self._description, _BIAS_POINTER, self._pointer)
        self._layouts = [self._layout(kind, matrix, form.batch) for matrix in (form.b, form.a, form.d)]
        number = C.c_double if scale == _REAL64 else C.c_float
        self._one, self._zero = number(1), number(0)
        self._heuristic = self._chosen(form)
        self._refs = C.byref(self._one), C.byref(self._zero), C.byref(self._heuristic.algorithm)

    def _layout(self, kind: int, matrix: Matrix, batch: int) -> Any:
        layout = C.c_void_p()
        _require(
            self._run.cublasLtMatrixLayoutCreate(C.byref(layout), kind, matrix.columns, matrix.rows, matrix.step),
            "cublasLtMatrixLayoutCreate",
        )
        if batch > 1:
            attribute = self._run.cublasLtMatrixLayoutSetAttribute
            _set(attribute, layout, _BATCH, C.c_int32(batch))
            _set(attribute, layout, _BATCH_STRIDE, C.c_int64(matrix.stride))
        return layout

    def _chosen(self, form: Product) -> _Heuristic:
        preference = C.c_void_p()
        _require(self._run.cublasLtMatmulPreferenceCreate(C.byref(preference)), "cublasLtMatmulPreferenceCreate")
        attribute = self._run.cublasLtMatmulPreferenceSetAttribute
        _set(attribute, preference, _LARGEST_WORKSPACE, C.c_uint64(WORKSPACE))
        for name in _ALIGNMENTS:
            _set(attribute, preference, name, C.c_uint32(form.alignment))
        found, count = _Heuristic(), C.c_int()
        first, second, result = self._layouts
        status = self._run.cublasLtMatmulAlgoGetHeuristic(
            self._handle, self._description, first, second, result, result, preference, 1, found, count
        )
        self._run.cublasLtMatmulPreferenceDestroy(preference)
        _require(status, "cublasLtMatmulAlgoGetHeuristic")
        if count.value == 0:
            raise Unsupported("no algorithm")
        return found

    def __call__(self, a: int, b: int, d: int, bias: int = 0) -> None:
        """Compute on the current stream; all are addresses. ``bias`` is read, or its gradient written, by the epilogue."""
        if not bias:
            self._multiply(a, b, d)
            return
        with self._lock:  # the description holds the address until the call has been made
            self._pointer.value = bias
            _set(self._run.cublasLtMatmulDescSetAttribute, self._description, _BIAS_POINTER, self._pointer)
            self._multiply(a, b, d)

    def _multiply(self, a: int, b: int, d: int) -> None:
        stream = cupy.cuda.get_current_stream().ptr
        one, zero, algorithm = self._refs
        first, second, result = self._layouts
        status = self._run.cublasLtMatmul(
            self._handle, self._description, one, b, first, a, second, zero, d, result, d, result, algorithm,
            workspace(self._device, stream), self._heuristic.workspace, stream,
        )  # fmt: skip
        _require(status, "cublasLtMatmul")

    def __del__(self) -> None:
        for layout in getattr(self, "_layouts", ()):
            self._run.cublasLtMatrixLayoutDestroy(layout)
        if getattr(self, "_description", None):
            self._run.cublasLtMatmulDescDestroy(self._description)
