"""Samples of products and linear algebra."""

from __future__ import annotations

import portanet as pn
from tests.samples import Sample, complex_, real

SAMPLES = [
    Sample("matmul", pn.matmul, (real(3, 4), real(4, 2))),
    Sample("matmul", pn.matmul, (real(4), real(4, seed=1)), "vectors"),
    Sample("matmul", pn.matmul, (real(4), real(2, 4, 3)), "vector by stack"),
    Sample("matmul", pn.matmul, (real(2, 3, 4), real(4)), "stack by vector"),
    Sample("matmul", pn.matmul, (real(5, 1, 3, 4), real(2, 4, 2)), "stacks broadcast"),
    Sample("matmul", pn.matmul, (complex_(3, 4), complex_(4, 2)), "complex"),
    Sample("tensordot", lambda a, b: pn.tensordot(a, b, axes=2), (real(2, 3, 4), real(3, 4, 5))),
    Sample("tensordot", lambda a, b: pn.tensordot(a, b, axes=((2, 0), (0, 1))), (real(2, 3, 4), real(4, 2, 5)), "axes"),
    Sample("tensordot", lambda a, b: pn.tensordot(a, b, axes=0), (real(2), complex_(3)), "outer"),
    Sample("vecdot", lambda a, b: pn.vecdot(a, b, axis=-2), (real(4, 3), real(4, 3, seed=1))),
    Sample("vecdot", pn.vecdot, (complex_(3, 4), complex_(4)), "complex"),
]
