"""Kernels for PyTorch tensors."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from array_api_compat import torch as _standard

from portanet.kernels._torch_tracing import *  # noqa: F403
from portanet.kernels._torch_tracing import is_tracing
from portanet.kernels.torch_images import *  # noqa: F403
from portanet.kernels.torch_networks import *  # noqa: F403
from portanet.kernels.torch_optim import *  # noqa: F403
from portanet.kernels.torch_recurrent import *  # noqa: F403
from portanet.kernels.torch_sequences import *  # noqa: F403

_WIDE = frozenset({torch.float32, torch.float64, torch.complex64, torch.complex128, torch.int64})  # sums keep them


def to_host(x: Any) -> Any:
    if x.dtype is torch.bfloat16:  # which NumPy lacks; float32 holds each of its numbers
        x = x.to(torch.float32)
    return x.detach().resolve_conj().resolve_neg().cpu().numpy()


def out_of_memory(problem: BaseException) -> int | None:
    text = str(problem)
    if not isinstance(problem, torch.cuda.OutOfMemoryError) and "DefaultCPUAllocator" not in text:
        return None
    found = re.search(r"allocate ([\d.]+) (bytes|KiB|MiB|GiB)", text)
    unit = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return int(float(found[1]) * unit[found[2]]) if found else 0


def memory_in_use() -> tuple[int, int] | None:
    if not torch.cuda.is_initialized():
        return None
    free, total = torch.cuda.mem_get_info()
    # What the allocator keeps in hand for later is not in use.
    return total - free - (torch.cuda.memory_reserved() - torch.cuda.memory_allocated()), total


def scatter_add(x: Any, indices: Any, updates: Any) -> Any:
    # Of its own memory: torch.compile adds to elements that share a place as if each had one (seen in 2.13).
    return torch.index_add(x.contiguous(), 0, indices, updates)


def random_on_host(device: Any) -> bool:
    # On a GPU too: without arithmetic on uint64, one copy from the host beats some 400 small kernels.
    return True


# ---------------------------------------------------------------------------------------------------------------------
# Functions of the standard where no dtype is promoted: the wrappers that see to that cost more than small sums.


def sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    if x.dtype is dtype or (dtype is None and x.dtype in _WIDE):
        return torch.sum(x, () if axis is None else axis, keepdim=keepdims) if axis != () else x.clone()
    return _standard.sum(x, axis=axis, dtype=dtype, keepdims=keepdims)


def matmul(x1: Any, x2: Any, /) -> Any:
    return torch.matmul(x1, x2) if x1.dtype is x2.dtype else _standard.matmul(x1, x2)


def matrix_transpose(x: Any, /) -> Any:
    return x.mT


def softmax(x: Any, *, axis: Any) -> Any:
    return torch.softmax(x, axis) if isinstance(axis, int) else torch.exp(log_softmax(x, axis=axis))


def log_softmax(x: Any, *, axis: Any) -> Any:
    if isinstance(axis, int):
        return torch.log_softmax(x, axis)
    return x - torch.logsumexp(x, tuple(range(x.ndim)) if axis is None else axis, keepdim=True)


def known_outside(x: Any, low: float, high: float) -> bool:
    # While a compiler traces there are no values yet, and on a GPU they would have to be waited for.
    if is_tracing() or type(x) is not torch.Tensor or x.device.type != "cpu" or x.numel() == 0:
        return False
    return not bool((x >= low).all() & (x <= high).all())


# ---------------------------------------------------------------------------------------------------------------------
# Special functions.

erf = torch.special.erf
erfc = torch.special.erfc
erfcx = torch.special.erfcx
erfinv = torch.special.erfinv
gammainc = torch.special.gammainc
gammaincc = torch.special.gammaincc
gammaln = torch.special.gammaln
i0 = torch.special.i0
i0e = torch.special.i0e
i1 = torch.special.i1
i1e = torch.special.i1e
log_expit = torch.nn.functional.logsigmoid
log_ndtr = torch.special.log_ndtr
logit = torch.special.logit
ndtri = torch.special.ndtri
psi = torch.special.digamma


def polygamma(n: int, x: Any) -> Any:
    # PyTorch's own is right to 5e-10 only where n is 1.
    if n == 0:
        return torch.special.digamma(x)
    return (-1.0) ** (n + 1) * math.factorial(n) * torch.special.zeta(float(n + 1), x)


def logsumexp(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return torch.logsumexp(x, tuple(range(x.ndim)) if axis is None else axis, keepdims)
