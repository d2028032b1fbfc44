"""The product of matrices of NumPy's own BLAS, for loops that Numba compiles: `product(at, ...)`.

A compiled loop lets go of the interpreter once and calls it hundreds of times, where NumPy would take and let go of the
interpreter for each, and threads wait for one another. The results are those of `numpy.matmul`, bit by bit, for it is
the same function with the same arguments. This module imports Numba; it is imported when a loop is compiled.
"""

from __future__ import annotations

import importlib
from typing import Any

numba: Any = importlib.import_module("numba")
ir: Any = importlib.import_module("llvmlite.ir")
_extending: Any = importlib.import_module("numba.extending")


def _product(
    typing: Any,
    at: Any,
    turned: Any,
    m: Any,
    n: Any,
    k: Any,
    a: Any,
    a_row: Any,
    b: Any,
    b_row: Any,
    c: Any,
    c_row: Any,
) -> Any:
    """``c`` (m, n) = ``a`` (m, k) times ``b`` (k, n), float32, by the function whose address is ``at``.

    Matrices are given by the addresses of their first numbers, and how many numbers there are from a row to the next.
    Where ``turned`` has the bit 1, ``a`` lies there as (k, m), and where it has the bit 2, ``b`` as (n, k).
    """

    def write(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        at, turned, m, n, k, a, a_row, b, b_row, c, c_row = given
        word, long, number = ir.IntType(32), ir.IntType(64), ir.FloatType()
        matrix = [number.as_pointer(), long]
        function = ir.FunctionType(ir.VoidType(), [word] * 3 + [long] * 3 + [number, *matrix, *matrix, number, *matrix])
        rows, plain, transposed = word(101), word(111), word(112)  # as CBLAS names them
        of_a, of_b = [
            builder.select(builder.icmp_signed("!=", builder.and_(turned, long(bit)), long(0)), transposed, plain)
            for bit in (1, 2)
        ]
        a, b, c = [builder.inttoptr(x, number.as_pointer()) for x in (a, b, c)]
        builder.call(
            builder.inttoptr(at, function.as_pointer()),
            [rows, of_a, of_b, m, n, k, number(1.0), a, a_row, b, b_row, number(0.0), c, c_row],
        )
        return context.get_dummy_value()

    return numba.types.void(*[numba.types.int64] * 11), write


product: Any = _extending.intrinsic(_product)


def multiply(
    at: int, turned: int, m: int, n: int, k: int, a: Any, a_row: int, b: Any, b_row: int, c: Any, c_row: int
) -> None:
    """`product` of arrays."""
    product(at, turned, m, n, k, a.ctypes.data, a_row, b.ctypes.data, b_row, c.ctypes.data, c_row)
