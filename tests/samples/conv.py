"""Samples of convolution, pooling and batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy

from portanet import namespace
from portanet.nn import functional as F
from tests.samples import Sample, real, signed


def distinct(*shape: int) -> Any:
    """Numbers no two of which are nearer than 0.05: the largest stays the largest under small steps."""
    count = int(numpy.prod(shape))
    return numpy.random.default_rng(count).permutation(count).reshape(shape) * 0.05 - 1.0


def _conv(axes: int, **how: Any) -> Any:
    return lambda *args: getattr(F, f"conv{axes}d")(*args, **how)


def _padded_pool(x: Any) -> Any:
    return F.max_pool2d(x, 3, stride=2, padding=1) ** 2


def _overridden(x: Any) -> Any:
    return F.avg_pool3d(x, (1, 2, 2), stride=1, divisor_override=3) ** 2


CONVOLUTIONS = [
    Sample("conv", _conv(2), (signed(2, 3, 4, 5), signed(2, 3, 2, 3), signed(2))),
    Sample("conv", _conv(2, stride=2, padding=1), (signed(2, 2, 4, 5), signed(3, 2, 3, 3)), "stride and padding"),
    Sample("conv", _conv(1, padding="same", dilation=2), (signed(2, 2, 6), signed(2, 2, 2), signed(2)), "one axis"),
    Sample("conv", _conv(2, groups=2, stride=(1, 2)), (signed(1, 4, 3, 4), signed(2, 2, 2, 2)), "groups"),
    Sample("conv", _conv(3, padding=(1, 0, 0)), (signed(1, 1, 2, 3, 3), signed(1, 1, 2, 2, 2)), "three axes"),
]


def _transposed(axes: int, **how: Any) -> Any:
    return lambda *args: getattr(F, f"conv_transpose{axes}d")(*args, **how)


def _weights(g: Any, x: Any) -> Any:
    how: dict[str, Any] = {"stride": (2,), "padding": ((1, 1),), "dilation": (1,), "groups": 1}
    return namespace.conv_backward_weight(g, x, size=(3,), **how)


WAYS_BACK = [
    Sample("conv_backward_input", _transposed(2), (signed(2, 2, 3, 2), signed(2, 3, 2, 3), signed(3))),
    Sample(
        "conv_backward_input",
        _transposed(2, stride=(2, 3), padding=(0, 1), output_padding=(1, 2), groups=2),
        (signed(1, 4, 2, 3), signed(4, 1, 2, 3)),
        "all arguments",
    ),
    Sample(
        "conv_backward_input",
        _transposed(1, dilation=3, output_padding=2),
        (signed(2, 2, 4), signed(2, 1, 2)),
        "longer than a stride",
    ),
    Sample("conv_backward_weight", _weights, (signed(2, 2, 3), signed(2, 3, 5))),
]

COLUMNS = [
    Sample("unfold", lambda x: F.unfold(x, 2) ** 2, (signed(2, 2, 3, 4),)),
    Sample(
        "unfold", lambda x: F.unfold(x, (2, 3), dilation=(2, 1), padding=1, stride=2) ** 2, (signed(1, 1, 5, 4),), "all"
    ),
    Sample("fold", lambda x: F.fold(x, (3, 4), 2) ** 2, (signed(2, 8, 6),)),
    Sample("fold", lambda x: F.fold(x, 5, 2, dilation=2, padding=1, stride=2) ** 2, (signed(1, 4, 9),), "all"),
]

POOLS = [
    Sample("max_pool", lambda x: F.max_pool2d(x, 2) ** 2, (distinct(1, 2, 4, 4),)),
    Sample("max_pool", _padded_pool, (distinct(1, 2, 5, 4),), "overlapping"),
    Sample("max_pool", lambda x: F.max_pool1d(x, 2, stride=1, dilation=2) ** 2, (distinct(2, 1, 6),), "dilated"),
    Sample("avg_pool", lambda x: F.avg_pool2d(x, 2) ** 2, (signed(1, 2, 4, 4),)),
    Sample(
        "avg_pool",
        lambda x: F.avg_pool2d(x, 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False) ** 2,
        (signed(1, 2, 4, 5),),
        "counted without padding",
    ),
    Sample("avg_pool", _overridden, (signed(1, 1, 2, 3, 3),), "divisor"),
]


def _trained(*args: Any) -> Any:
    x, *affine = args
    return F.batch_norm(x, None, None, *affine, training=True, eps=1e-2)


NORMS = [
    Sample("batch_norm", _trained, (signed(3, 2, 2), signed(2), signed(2))),
    Sample("batch_norm", _trained, (signed(3, 2, 2, 2),), "without parameters"),
    Sample(
        "batch_norm",
        lambda *args: namespace.batch_norm(*args, eps=1e-2, own=False),
        (signed(3, 2, 2), signed(2), signed(2), signed(2, seed=1), real(2)),
        "given moments",
    ),
    Sample(
        "batch_norm",
        lambda x, m, v: namespace.batch_norm(x, None, None, m, v, eps=1e-2, own=False),
        (signed(3, 2), signed(2), real(2)),
        "given moments, without parameters",
    ),
]

SAMPLES = [*CONVOLUTIONS, *WAYS_BACK, *COLUMNS, *POOLS, *NORMS]
