"""Optimizer steps in one pass over memory, new or in place, and whether an array's memory may be written to.

Both ways of a step are one kernel, compiled without fused products and sums: they give the same bits, and those of the
rule where a parameter has the precision that is computed with. The learning rate and the count of steps may lie on the
device, as arrays of no axes in float64: a captured graph then reads them at each replay. Such a count is read, never
advanced: that is for whoever put it there.

A launch costs the host more than a small array costs the GPU, so many arrays are stepped by one.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import cupy
import numpy
from cupy.cuda import memory

from portanet.kernels.cupy._cuda import Source
from portanet.kernels.cupy._passes import PACKS, THREADS, alike, blocks_for, dense, fits, name_of, new_like

__all__ = [
    "adam_update", "adam_update_", "adam_updates_", "owns_memory", "sgd_update", "sgd_update_", "sgd_updates_",
]  # fmt: skip

_TOGETHER = 64  # arrays of one launch: what is said of them is handed over by value, and must stay below 4 KiB

_SOURCE = Source(
    "optim",
    PACKS
    + f"constexpr int TOGETHER = {_TOGETHER};"
    + r"""
    // Results may lie where an argument does: each thread has read an element before it writes it.
    struct Arrays { const T *p, *g, *m, *v, *u; T *new_p, *new_m, *new_v, *new_u; };
    struct Element { A p, g, m, v, u; };

    __device__ __forceinline__ A of(const T* x, index i) { return x ? (A)x[i] : (A)0; }
    __device__ __forceinline__ Pack pack_of(const T* x, index k) { return x ? ((const Pack*)x)[k] : Pack(); }

    // Elements below n, by threads that each begin at their own place and go on in steps.
    template <class F>
    __device__ __forceinline__ void stepped(index place, index step, index n, Arrays a, F f) {
        bool packed = aligned(a.p) && aligned(a.g) && aligned(a.m) && aligned(a.v) && aligned(a.u) && aligned(a.new_p)
            && aligned(a.new_m) && aligned(a.new_v) && aligned(a.new_u);
        index packs = packed ? n / N : 0;
        #pragma unroll 1
        for (index k = place; k < packs; k += step) {
            Pack p = pack_of(a.p, k), g = pack_of(a.g, k), m = pack_of(a.m, k), v = pack_of(a.v, k), u = pack_of(a.u, k);
            #pragma unroll
            for (int j = 0; j < N; ++j) {
                Element e = f(Element{(A)p.at[j], (A)g.at[j], (A)m.at[j], (A)v.at[j], (A)u.at[j]});
                p.at[j] = (T)e.p; m.at[j] = (T)e.m; v.at[j] = (T)e.v; u.at[j] = (T)e.u;
            }
            ((Pack*)a.new_p)[k] = p;
            if (a.new_m) ((Pack*)a.new_m)[k] = m;
            if (a.new_v) ((Pack*)a.new_v)[k] = v;
            if (a.new_u) ((Pack*)a.new_u)[k] = u;
        }
        for (index i = packs * N + place; i < n; i += step) {
            Element e = f(Element{of(a.p, i), of(a.g, i), of(a.m, i), of(a.v, i), of(a.u, i)});
            a.new_p[i] = (T)e.p;
            if (a.new_m) a.new_m[i] = (T)e.m;
            if (a.new_v) a.new_v[i] = (T)e.v;
            if (a.new_u) a.new_u[i] = (T)e.u;
        }
    }

    // One of many arrays that are stepped in their own memory: where it lies, how long it is, and the first of its blocks.
    struct Member { T* p; const T* g; T *m, *v, *u; index n, first; };
    struct Members { Member at[TOGETHER]; };  // as `_launched` fills it

    __device__ __forceinline__ T* from(T* x, index i) { return x ? x + i : x; }

    // `count` arrays, a block for every `length` elements of each.
    template <class F>
    __device__ __forceinline__ void stepped(const Members& members, int count, index length, F f) {
        int low = 0, high = count - 1;
        while (low < high) {  // the last one that begins at this block or before it
            int middle = (low + high + 1) / 2;
            if (members.at[middle].first <= blockIdx.x) low = middle;
            else high = middle - 1;
        }
        Member a = members.at[low];
        index start = (blockIdx.x - a.first) * length, n = a.n - start < length ? a.n - start : length;
        T *p = a.p + start, *m = from(a.m, start), *v = from(a.v, start), *u = from(a.u, start);
        stepped(threadIdx.x, blockDim.x, n, Arrays{p, a.g + start, m, v, u, p, m, v, u}, f);
    }

    // A number, or what a pointer that is not null points to.
    __device__ __forceinline__ double here(double number, const double* there) { return there ? *there : number; }

    struct Sgd {
        A rate, kept, taken, decay;
        bool moving, decaying, nesterov, maximize, first;  // first: there is no momentum yet, it begins as the gradient

        __device__ __forceinline__ Element operator()(Element e) const {
            A g = maximize ? -e.g : e.g;
            if (decaying) g = g + decay * e.p;
            if (moving) {
                e.m = first ? g : kept * e.m + taken * g;
                g = nesterov ? g + kept * e.m : e.m;
            }
            e.p = e.p - rate * g;
            return e;
        }
    };

    #define SGD_NUMBERS \
        double lr, const double* lr_there, double momentum, double dampening, double weight_decay, bool nesterov, \
        bool maximize, bool first
    #define SGD_STEP \
        Sgd{(A)here(lr, lr_there), (A)momentum, (A)(1 - dampening), (A)weight_decay, momentum != 0, weight_decay != 0, \
            nesterov, maximize, first}

    extern "C" __global__ void __launch_bounds__(256) sgd(
        index n, T* new_p, T* new_m, const T* p, const T* g, const T* m, SGD_NUMBERS
    ) {
        Arrays arrays = {p, g, m, nullptr, nullptr, new_p, new_m, nullptr, nullptr};
        stepped(thread(), threads(), n, arrays, SGD_STEP);
    }

    extern "C" __global__ void __launch_bounds__(256) sgd_together(
        const Members members, int count, index length, SGD_NUMBERS
    ) {
        stepped(members, count, length, SGD_STEP);
    }

    struct Adam {
        A rate, floor, shrink, decay, kept1, taken1, kept2, taken2;
        bool shrinking, decaying, maximize, amsgrad;

        __device__ __forceinline__ Element operator()(Element e) const {
            A g = maximize ? -e.g : e.g;
            if (shrinking) e.p = e.p * shrink;
            if (decaying) g = g + decay * e.p;
            e.m = kept1 * e.m + taken1 * g;
            e.v = kept2 * e.v + taken2 * (g * g);
            if (amsgrad) e.u = e.u > e.v ? e.u : e.v == e.v && e.u != e.u ? e.u : e.v;  // nan passes
            e.p = e.p - rate * e.m / (sqrt(amsgrad ? e.u : e.v) + floor);
            return e;
        }
    };

    #define ADAM_NUMBERS \
        double lr, const double* lr_there, double power1, double power2, const double* step_there, double beta1, \
        double beta2, double eps, double weight_decay, bool decoupled, bool maximize, bool amsgrad
    #define ADAM_STEP \
        adam_of(lr, lr_there, power1, power2, step_there, beta1, beta2, eps, weight_decay, decoupled, maximize, amsgrad)

    // What is raised to the count of steps is computed once a block, by its first thread.
    __device__ __forceinline__ Adam adam_of(ADAM_NUMBERS) {
        __shared__ A shared[3];
        if (threadIdx.x == 0) {
            lr = here(lr, lr_there);
            if (step_there) {
                power1 = pow(beta1, *step_there + 1);
                power2 = pow(beta2, *step_there + 1);
            }
            double root = sqrt(1 - power2);
            shared[0] = (A)(lr / (1 - power1) * root);
            shared[1] = (A)(eps * root);
            shared[2] = (A)(1 - lr * weight_decay);
        }
        __syncthreads();
        bool decays = weight_decay != 0;
        return {
            shared[0], shared[1], shared[2], (A)weight_decay, (A)beta1, (A)(1 - beta1), (A)beta2, (A)(1 - beta2),
            decays && decoupled, decays && !decoupled, maximize, amsgrad
        };
    }

    extern "C" __global__ void __launch_bounds__(256) adam(
        index n, T* new_p, T* new_m, T* new_v, T* new_u, const T* p, const T* g, const T* m, const T* v, const T* u,
        ADAM_NUMBERS
    ) {
        stepped(thread(), threads(), n, Arrays{p, g, m, v, u, new_p, new_m, new_v, new_u}, ADAM_STEP);
    }

    extern "C" __global__ void __launch_bounds__(256) adam_together(
        const Members members, int count, index length, ADAM_NUMBERS
    ) {
        stepped(members, count, length, ADAM_STEP);
    }
    """,
    options=("--fmad=false",),
)
_MOST = (1 << 31) - 1  # blocks, as many as there may be: memory is busiest where a thread takes one pack


# ---------------------------------------------------------------------------------------------------------------------
# Whose memory it is.

_OWN = (memory.Memory, memory.PooledMemory, memory.MemoryAsync)  # others came from elsewhere, or belong to the host too


def _holders(x: Any) -> tuple[int, int]:
    """How many hold the pointer of an array, and how many its memory: views share the one or the other."""
    data = x.data
    return sys.getrefcount(data), sys.getrefcount(data.mem)


@functools.cache
def _alone() -> tuple[int, int]:
    """What is counted where nobody else has the memory."""
    return _holders(cupy.ndarray((1,), cupy.float32))


def owns_memory(x: Any) -> bool:
    return x.base is None and type(x.data.mem) in _OWN and _holders(x) == _alone()


# ---------------------------------------------------------------------------------------------------------------------
# Steps.


def _number(x: Any) -> tuple[float, Any]:
    """A hyperparameter as the kernels take it: by value, or where it lies on the device."""
    return (0.0, x.astype(cupy.float64, copy=False)) if isinstance(x, cupy.ndarray) else (float(x), None)


def _kernel(name: str, p: Any, g: Any) -> Any:
    if not fits(p, g):
        raise TypeError(
            f"{name}: a {p.dtype} parameter on {p.device} with a {g.dtype} gradient on {g.device}, while the current "
            f"device is {cupy.cuda.Device()}; they must be of one floating dtype and there: with cupy.cuda.Device(...)."
        )
    return _SOURCE.kernel(name, name_of[p.dtype])


def sgd_update(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> tuple[Any, dict[str, Any]]:
    b = state.get("momentum_buffer")
    new, new_b = new_like(p), new_like(p) if momentum else None
    _sgd(new, new_b, alike(new, p), g, b, lr, momentum, dampening, weight_decay, nesterov, maximize)
    return new, {"momentum_buffer": new_b} if momentum else state


def sgd_update_(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> bool:
    b = state.get("momentum_buffer")
    if (momentum and b is None) or not _writable(p, *([b] if momentum else [])):
        return False
    _sgd(p, b if momentum else None, p, g, b, lr, momentum, dampening, weight_decay, nesterov, maximize)
    return True


def _sgd(
    new: Any, new_b: Any, p: Any, g: Any, b: Any, lr: Any, momentum: Any, dampening: Any, decay: Any, nesterov: Any,
    up: Any,
) -> None:  # fmt: skip
    if not p.size:
        return
    first = b is None
    b = None if first or not momentum else alike(new, b)
    numbers = _sgd_numbers(lr, momentum, dampening, decay, nesterov, up, first)
    arguments = (p.size, new, new_b, p, alike(new, g), b, *numbers)
    _kernel("sgd", p, g)(blocks_for(p.size, 16 // p.itemsize, _MOST), (THREADS,), arguments)


def _sgd_numbers(
    lr: Any, momentum: Any, dampening: Any, decay: Any, nesterov: Any, up: Any, first: bool
) -> tuple[Any, ...]:
    return *_number(lr), float(momentum), float(dampening), float(decay), bool(nesterov), bool(up), first


def adam_update(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> tuple[Any, dict[str, Any]]:
    if "step" not in state:
        zero = cupy.zeros_like(p)
        state = {"step": 0, "exp_avg": zero, "exp_avg_sq": zero}
    if amsgrad and "max_exp_avg_sq" not in state:
        state = {**state, "max_exp_avg_sq": cupy.zeros_like(p)}  # v is never below
    new = [new_like(p) for _ in range(4 if amsgrad else 3)]
    step = _adam(
        new, alike(new[0], p), g, state, lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay
    )
    state = {**state, "step": step, "exp_avg": new[1], "exp_avg_sq": new[2]}
    return new[0], {**state, "max_exp_avg_sq": new[3]} if amsgrad else state


def adam_update_(
    p: Any,
    g: Any,
    state: dict[str, Any],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> bool:
    names = _MOMENTS if amsgrad else _MOMENTS[:2]
    if "step" not in state or (amsgrad and _MOMENTS[2] not in state):
        return False
    arrays = [p, *[state[name] for name in names]]
    if not _writable(*arrays):
        return False
    state["step"] = _adam(arrays, p, g, state, lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay)
    return True


_MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


def _adam(
    new: list[Any], p: Any, g: Any, state: Any, lr: Any, betas: Any, eps: Any, decay: Any, amsgrad: Any, up: Any,
    apart: Any,
) -> Any:  # fmt: skip
    """The step, written to ``new``: the parameter and its moments. Returns the count of steps after it."""
    after, numbers = _adam_numbers(state["step"], lr, betas, eps, decay, amsgrad, up, apart)
    if not p.size:
        return after
    moments = [alike(new[0], state[name]) for name in _MOMENTS[: len(new) - 1]]
    none = [None] * (4 - len(new))
    arguments = (p.size, *new, *none, p, alike(new[0], g), *moments, *none, *numbers)
    _kernel("adam", p, g)(blocks_for(p.size, 16 // p.itemsize, _MOST), (THREADS,), arguments)
    return after


def _adam_numbers(
    step: Any, lr: Any, betas: Any, eps: Any, decay: Any, amsgrad: Any, up: Any, apart: Any
) -> tuple[Any, tuple[Any, ...]]:
    """The count of steps after this one, and what the kernels are told of it."""
    beta1, beta2 = betas
    there = _number(step)[1]
    after = step + 1 if there is None else step
    powers = (0.0, 0.0) if there is not None else (float(beta1) ** after, float(beta2) ** after)
    numbers = float(beta1), float(beta2), float(eps), float(decay), bool(apart), bool(up), bool(amsgrad)
    return after, (*_number(lr), *powers, there, *numbers)


def _writable(p: Any, *state: Any) -> bool:
    """Whether a parameter and its state lie in memory alike, so that a kernel may go through all of them at once."""
    return dense(p) and all([s.dtype == p.dtype and s.shape == p.shape and alike(p, s) is s for s in state])


# ---------------------------------------------------------------------------------------------------------------------
# Many arrays in place: each does for all what its namesake does for one, and says of each whether it could.


def sgd_updates_(
    ps: list[Any],
    gs: list[Any],
    states: list[dict[str, Any]],
    *,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> list[bool]:
    members = _members(ps, gs, states, _MOMENTUM if momentum else ())
    numbers = _sgd_numbers(lr, momentum, dampening, weight_decay, nesterov, maximize, False)
    _launched("sgd_together", ps[0].dtype, [one for one in members if one], numbers)
    return [one is not None for one in members]


_MOMENTUM = ("momentum_buffer",)


def adam_updates_(
    ps: list[Any],
    gs: list[Any],
    states: list[dict[str, Any]],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled_weight_decay: bool,
) -> list[bool]:
    members = _members(ps, gs, states, _MOMENTS if amsgrad else _MOMENTS[:2])
    counted: dict[Any, list[int]] = {}  # which have been stepped as often
    for i, one in enumerate(members):
        if one is not None:
            step = states[i]["step"]
            counted.setdefault(id(step) if isinstance(step, cupy.ndarray) else (step,), []).append(i)
    for some in counted.values():
        step = states[some[0]]["step"]
        after, numbers = _adam_numbers(step, lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay)
        _launched("adam_together", ps[0].dtype, [members[i] for i in some], numbers)
        for i in some:
            states[i]["step"] = after
    return [one is not None for one in members]


def _members(ps: Any, gs: Any, states: Any, names: tuple[str, ...]) -> list[list[int] | None]:
    """The fields of a Member, but for its first block, of each parameter that can be stepped with the first of them.

    All its arrays lie on the current device, in row-major memory. None for those that have to go by themselves.
    """
    dtype, here = ps[0].dtype, cupy.cuda.device.get_device_id()
    known, array, none = name_of[dtype] != "", cupy.ndarray, [0] * (3 - len(names))
    found: list[list[int] | None] = []
    for p, g, state in zip(ps, gs, states, strict=True):
        shape, fields = p.shape, []
        for x in (p, g, *map(state.get, names)):
            if type(x) is not array or x.dtype != dtype or x.shape != shape or not x.flags.c_contiguous:
                break
            data = x.data
            if data.device_id != here:
                break
            fields.append(data.ptr)
        whole = known and len(fields) == 2 + len(names)
        found.append([*fields, *none, p.size] if whole else None)
    return found


def _launched(name: str, dtype: Any, members: list[Any], numbers: tuple[Any, ...]) -> None:
    """The kernel ``name`` on all members: so many at a time as one launch takes."""
    for some in [members[i : i + _TOGETHER] for i in range(0, len(members), _TOGETHER)]:
        length = THREADS * 16 // dtype.itemsize  # of a block: a pack for each thread
        fields, blocks = [], 0
        for one in some:
            fields += [*one, blocks]
            blocks += -(-one[-1] // length)
        if blocks:
            told = numpy.zeros(7 * _TOGETHER, numpy.uint64)
            told[: len(fields)] = fields
            structure = told.view(f"V{8 * told.size}")  # which CuPy hands over by value
            arguments = (structure, numpy.int32(len(some)), length, *numbers)
            _SOURCE.kernel(name, name_of[dtype])((blocks,), (THREADS,), arguments)
