"""Samples of recurrent layers, attention and layer normalisation."""

from __future__ import annotations

from typing import Any

import numpy

from portanet import namespace
from tests.samples import Sample, real, signed

SHAPES = ((3, 2, 3), (2, 2), (2, 2), (8, 3), (8, 2), (8,), (8,))  # x, h, c, the weights and the biases of two units
LSTM = tuple([signed(*shape, seed=k) for k, shape in enumerate(SHAPES)])


def _shown(*args: Any) -> tuple[Any, ...]:
    return namespace.lstm(*args)[:3]


def _from_zero(x: Any, *weights: Any) -> Any:
    return namespace.lstm(x, None, None, *weights)[0]


def _backwards(*args: Any) -> tuple[Any, ...]:
    return namespace.lstm(*args, reverse=True)


RECURRENT = [
    Sample("lstm", _shown, LSTM),
    Sample("lstm", _backwards, LSTM, "in reverse, all results"),
    Sample("lstm", _from_zero, (LSTM[0], *LSTM[3:5]), "from zeros without biases"),
]

Q, K, V = signed(2, 3, 2), signed(2, 4, 2, seed=1), signed(2, 4, 3, seed=2)
KEEP = numpy.where(numpy.arange(24).reshape(2, 3, 4) % 5, 1.25, 0.0)
SEES = numpy.asarray([[True, True, False, True], [True, False, False, False], [False, True, True, True]])


def _attended(q: Any, k: Any, v: Any, mask: Any = None, keep: Any = None) -> tuple[Any, ...]:
    return namespace.attention(q, k, v, mask, None if keep is None else namespace.asarray(keep), scale=0.7)


def _causal(q: Any, k: Any, v: Any) -> tuple[Any, ...]:
    return namespace.attention(q, k, v, causal=True, scale=0.7)


def _packed(x: Any) -> tuple[Any, ...]:
    return namespace.packed_attention(x, heads=2, causal=True, scale=0.5)


ATTENTION = [
    Sample("attention", _attended, (Q, K, V)),
    Sample("attention", _causal, (Q, K, V), "causal"),
    Sample("attention", _attended, (Q, K, V, signed(3, 4)), "numbers as mask"),
    Sample("attention", _attended, (Q, K, V, SEES), "truth values as mask"),
    Sample("attention", lambda q, k, v: _attended(q, k, v, None, KEEP), (Q, K, V), "dropout"),
    Sample("packed_attention", _packed, (signed(2, 3, 12),)),
    Sample(
        "packed_attention",
        lambda x, m: namespace.packed_attention(x, m, heads=2),
        (signed(2, 3, 12), real(3, 3)),
        "mask",
    ),
]


def _normed(x: Any, weight: Any = None, bias: Any = None) -> Any:
    return namespace.layer_norm(x, weight, bias, axes=1, eps=1e-2)


NORMS = [
    Sample("layer_norm", _normed, (signed(2, 3, 4), signed(4, seed=1), signed(4, seed=2))),
    Sample("layer_norm", _normed, (signed(4),), "one example without parameters"),
    Sample(
        "layer_norm",
        lambda x, w: namespace.layer_norm(x, w, axes=2, eps=0.0),
        (signed(2, 3, 2), signed(3, 2)),
        "two axes",
    ),
]

SAMPLES = [*RECURRENT, *ATTENTION, *NORMS]
