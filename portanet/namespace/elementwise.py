"""The elementwise functions: one line each. The table says what they compute, the library how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portanet.autocasting import RULED, current
from portanet.library import explain, libraries
from portanet.tape import recording
from portanet.tensor import Tensor, apply, precise, result_of
from portanet.vjps import rule as rule_of


def _documented(function: Callable[..., Tensor], name: str, doc: str, example: str) -> None:
    function.__name__ = function.__qualname__ = name
    call, result = example.split(" -> ")
    arguments = ", ".join([f"portanet.asarray({argument})" for argument in call.split(" ; ")])
    function.__doc__ = f"{doc}\n\n>>> import portanet\n>>> portanet.{name}({arguments})\n{result}\n"


def _unary(name: str, doc: str, example: str) -> Callable[[Any], Tensor]:
    rule = rule_of(name)
    ruled = name in RULED

    def function(x: Any, /) -> Tensor:
        if not isinstance(x, Tensor):
            return apply(name, x)
        if ruled and (region := current.get()) is not None:
            (x,) = precise(region, name, (x,))
        a, p = x._raw, x._node
        try:
            y = getattr(libraries[type(a)], name)(a)
        except Exception as problem:
            explain(name, (a,), problem)
        if p is None or not recording.get():
            return Tensor(y)
        return result_of(rule, (a,), None, y, (p,))

    _documented(function, name, doc, example)
    return function


def _test(name: str, doc: str, example: str) -> Callable[[Any], Tensor]:
    """A function whose result is truth values: nothing to differentiate."""

    def function(x: Any, /) -> Tensor:
        return apply(name, x)

    _documented(function, name, doc, example)
    return function


def _binary(name: str, doc: str, example: str) -> Callable[[Any, Any], Tensor]:
    def function(x1: Any, x2: Any, /) -> Tensor:
        return apply(name, x1, x2)

    _documented(function, name, doc, example)
    return function


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """Each element brought into the range from ``min`` to ``max`` (numbers or arrays; None: no limit).

    >>> import portanet
    >>> portanet.clip(portanet.asarray([-1.0, 0.5, 2.0]), 0.0, 1.0)
    tensor([0. , 0.5, 1. ])
    """
    return apply("clip", x, min, max)


abs = _unary(
    "abs",
    "The size of each element: |x|, for complex numbers the modulus.",
    "[-1.0, 2.0] -> tensor([1., 2.])",
)
acos = _unary(
    "acos",
    "The angle in [0, pi], in radians, whose cosine is x.",
    "[1.0, 0.0] -> tensor([0.       , 1.5707964])",
)
acosh = _unary("acosh", "The number >= 0 whose hyperbolic cosine is x.", "[1.0, 2.0] -> tensor([0.      , 1.316958])")
asin = _unary(
    "asin",
    "The angle in [-pi/2, pi/2], in radians, whose sine is x.",
    "[0.0, 1.0] -> tensor([0.       , 1.5707964])",
)
asinh = _unary("asinh", "The number whose hyperbolic sine is x.", "[0.0, 1.0] -> tensor([0.       , 0.8813736])")
atan = _unary(
    "atan",
    "The angle in [-pi/2, pi/2], in radians, whose tangent is x.",
    "[0.0, 1.0] -> tensor([0.       , 0.7853982])",
)
atanh = _unary("atanh", "The number whose hyperbolic tangent is x.", "[0.0, 0.5] -> tensor([0.        , 0.54930615])")
ceil = _unary("ceil", "The smallest whole number >= x. Its gradient is 0.", "[1.2, -1.2] -> tensor([ 2., -1.])")
conj = _unary("conj", "The complex conjugate: the imaginary part negated.", "[1.0, 2.0] -> tensor([1., 2.])")
cos = _unary("cos", "The cosine of x in radians.", "[0.0, 1.0] -> tensor([1.       , 0.5403023])")
cosh = _unary("cosh", "The hyperbolic cosine, (e^x + e^-x) / 2.", "[0.0, 1.0] -> tensor([1.       , 1.5430807])")
exp = _unary("exp", "The exponential e^x.", "[0.0, 1.0] -> tensor([1.      , 2.718282])")
expm1 = _unary("expm1", "e^x - 1, exact near 0.", "[0.0, 1.0] -> tensor([0.       , 1.7182819])")
floor = _unary("floor", "The largest whole number <= x. Its gradient is 0.", "[1.2, -1.2] -> tensor([ 1., -2.])")
imag = _unary("imag", "The imaginary part; of real numbers 0.", "[1j, 2.0] -> tensor([1., 0.])")
log = _unary("log", "The natural logarithm.", "[1.0, 2.0] -> tensor([0.       , 0.6931472])")
log10 = _unary("log10", "The logarithm to base 10.", "[1.0, 100.0] -> tensor([0.       , 2.0000002])")
log1p = _unary("log1p", "log(1 + x), exact near 0.", "[0.0, 1.0] -> tensor([0.       , 0.6931472])")
log2 = _unary("log2", "The logarithm to base 2.", "[1.0, 8.0] -> tensor([0., 3.])")
negative = _unary("negative", "-x.", "[1.0, -2.0] -> tensor([-1.,  2.])")
positive = _unary("positive", "x itself.", "[1.0, -2.0] -> tensor([ 1., -2.])")
real = _unary("real", "The real part.", "[1j, 2.0] -> tensor([0., 2.])")
reciprocal = _unary("reciprocal", "1 / x.", "[1.0, 2.0] -> tensor([1. , 0.5])")
round = _unary(
    "round",
    "The nearest whole number, the even one of two. Its gradient is 0.",
    "[1.5, 2.5] -> tensor([2., 2.])",
)
sign = _unary("sign", "-1, 0 or 1; of a complex number x / |x|.", "[-3.0, 0.0] -> tensor([-1.,  0.])")
sin = _unary("sin", "The sine of x in radians.", "[0.0, 1.0] -> tensor([0.      , 0.841471])")
sinh = _unary("sinh", "The hyperbolic sine, (e^x - e^-x) / 2.", "[0.0, 1.0] -> tensor([0.       , 1.1752012])")
sqrt = _unary("sqrt", "The square root.", "[1.0, 2.0] -> tensor([1.       , 1.4142135])")
square = _unary("square", "x * x.", "[1.0, -2.0] -> tensor([1., 4.])")
tan = _unary("tan", "The tangent of x in radians.", "[0.0, 1.0] -> tensor([0.       , 1.5574077])")
tanh = _unary(
    "tanh",
    "The hyperbolic tangent, (e^x - e^-x) / (e^x + e^-x): between -1 and 1.",
    "[0.0, 1.0] -> tensor([0.       , 0.7615942])",
)
trunc = _unary("trunc", "The whole number next to x towards 0. Its gradient is 0.", "[1.7, -1.7] -> tensor([ 1., -1.])")

bitwise_invert = _test("bitwise_invert", "Each bit turned over; for truth values, not x.", "[0, 1] -> tensor([-1, -2])")
isfinite = _test("isfinite", "Whether x is neither infinite nor nan.", "[1.0, float('inf')] -> tensor([ True, False])")
isinf = _test("isinf", "Whether x is infinite.", "[1.0, float('inf')] -> tensor([False,  True])")
isnan = _test("isnan", "Whether x is not a number.", "[1.0, float('nan')] -> tensor([False,  True])")
logical_not = _test("logical_not", "Whether x is false (zero).", "[True, False] -> tensor([False,  True])")
signbit = _test("signbit", "Whether the sign is minus, that of -0.0 included.", "[1.0, -0.0] -> tensor([False,  True])")

add = _binary("add", "x1 + x2.", "[1.0, 2.0] ; [3.0, 4.0] -> tensor([4., 6.])")
atan2 = _binary(
    "atan2",
    "The angle of the point (x2, x1) as seen from the origin, in radians from -pi to pi.",
    "[1.0] ; [1.0] -> tensor([0.7853981])",
)
bitwise_and = _binary("bitwise_and", "The bits that both have.", "[6] ; [3] -> tensor([2])")
bitwise_left_shift = _binary("bitwise_left_shift", "The bits of x1 moved x2 places up.", "[1] ; [3] -> tensor([8])")
bitwise_or = _binary("bitwise_or", "The bits that either has.", "[6] ; [3] -> tensor([7])")
bitwise_right_shift = _binary("bitwise_right_shift", "The bits of x1 moved x2 places down.", "[8] ; [3] -> tensor([1])")
bitwise_xor = _binary("bitwise_xor", "The bits that one of them has.", "[6] ; [3] -> tensor([5])")
copysign = _binary("copysign", "x1 with the sign of x2.", "[1.0, 2.0] ; [-3.0, 4.0] -> tensor([-1.,  2.])")
divide = _binary("divide", "x1 / x2.", "[1.0, 2.0] ; [4.0, 4.0] -> tensor([0.25, 0.5 ])")
equal = _binary("equal", "Whether x1 == x2.", "[1.0, 2.0] ; [1.0, 3.0] -> tensor([ True, False])")
floor_divide = _binary(
    "floor_divide",
    "x1 / x2 rounded down. Its gradient is 0.",
    "[7.0, -7.0] ; [2.0, 2.0] -> tensor([ 3., -4.])",
)
greater = _binary("greater", "Whether x1 > x2.", "[1.0, 4.0] ; [2.0, 3.0] -> tensor([False,  True])")
greater_equal = _binary("greater_equal", "Whether x1 >= x2.", "[2.0, 1.0] ; [2.0, 3.0] -> tensor([ True, False])")
hypot = _binary(
    "hypot",
    "The length of the vector (x1, x2), without overflow. Its gradient at the origin is 0.",
    "[3.0] ; [4.0] -> tensor([5.])",
)
less = _binary("less", "Whether x1 < x2.", "[1.0, 4.0] ; [2.0, 3.0] -> tensor([ True, False])")
less_equal = _binary("less_equal", "Whether x1 <= x2.", "[2.0, 4.0] ; [2.0, 3.0] -> tensor([ True, False])")
logaddexp = _binary("logaddexp", "log(e^x1 + e^x2), without overflow.", "[0.0] ; [0.0] -> tensor([0.6931472])")
logical_and = _binary("logical_and", "Whether both are true.", "[True, True] ; [True, False] -> tensor([ True, False])")
logical_or = _binary("logical_or", "Whether either is true.", "[True, False] ; [True, False] -> tensor([ True, False])")
logical_xor = _binary(
    "logical_xor",
    "Whether one of them is true.",
    "[True, True] ; [True, False] -> tensor([False,  True])",
)
maximum = _binary(
    "maximum",
    "The larger of the two; at a tie each has half of the gradient.",
    "[1.0, 4.0] ; [2.0, 3.0] -> tensor([2., 4.])",
)
minimum = _binary(
    "minimum",
    "The smaller of the two; at a tie each has half of the gradient.",
    "[1.0, 4.0] ; [2.0, 3.0] -> tensor([1., 3.])",
)
multiply = _binary("multiply", "x1 * x2.", "[1.0, 2.0] ; [3.0, 4.0] -> tensor([3., 8.])")
nextafter = _binary(
    "nextafter",
    "The number next to x1 that the dtype can hold, towards x2.",
    "[1.0] ; [2.0] -> tensor([1.0000001])",
)
not_equal = _binary("not_equal", "Whether x1 != x2.", "[1.0, 2.0] ; [1.0, 3.0] -> tensor([False,  True])")
pow = _binary("pow", "x1 to the power x2.", "[2.0, 3.0] ; [3.0, 2.0] -> tensor([8., 9.])")
remainder = _binary(
    "remainder",
    "What is left of x1 when x2 is taken away as often as goes; it has the sign of x2.",
    "[7.0, -7.0] ; [4.0, 4.0] -> tensor([3., 1.])",
)
subtract = _binary("subtract", "x1 - x2.", "[1.0, 2.0] ; [3.0, 5.0] -> tensor([-2., -3.])")

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clip",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "equal",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "remainder",
    "round",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
]  # fmt: skip
