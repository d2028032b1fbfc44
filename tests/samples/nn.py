"""Samples of the kernels of networks."""

from __future__ import annotations

import math
from typing import Any

import numpy

from portanet import namespace
from tests.samples import Sample, complex_, real, signed

IDS = numpy.asarray([[2, 0, 2], [1, 2, 0]])

LAYERS = [
    Sample("linear", namespace.linear, (signed(5, 3), signed(4, 3), signed(4))),
    Sample("linear", namespace.linear, (signed(5, 3), signed(4, 3)), "no bias"),
    Sample("linear", namespace.linear, (signed(3), signed(4, 3), signed(4)), "one example"),
    Sample("linear", namespace.linear, (signed(2, 5, 3), signed(4, 3), signed(4)), "two batch axes"),
    Sample("linear", namespace.linear, (numpy.zeros((0, 3)), signed(4, 3), signed(4)), "empty batch"),
    Sample("linear", namespace.linear, (complex_(5, 3), complex_(4, 3), complex_(4)), "complex"),
    Sample("standardized", lambda x: namespace.standardized(x, axis=(1,), eps=1e-2), (signed(4, 5),), "rows"),
    Sample("standardized", lambda x: namespace.standardized(x, axis=(0, 2), eps=0.0), (signed(4, 3, 2),), "two axes"),
    Sample("rows_at", lambda w, i: namespace.rows_at(w * w, i), (signed(4, 3), IDS)),
    Sample("horner", namespace.horner, (signed(4, 3), signed(4))),
    Sample("horner", namespace.horner, (signed(4, 3), signed(1)), "constant"),
]

ACTIVATIONS = [
    Sample("relu", namespace.relu, (signed(3, 4),)),
    Sample("sigmoid", namespace.sigmoid, (signed(3, 4) * 3,)),
    Sample("silu", namespace.silu, (signed(3, 4) * 3,)),
    Sample(
        "dropout",
        lambda x: namespace.dropout(x, threshold=2**31, scale=2.0, key=(1, 2), counter=3),
        (real(3, 4),),
    ),
    Sample("gelu", lambda x: namespace.gelu(x, approximate="none"), (signed(3, 4) * 2,)),
    Sample("gelu", lambda x: namespace.gelu(x, approximate="tanh"), (signed(3, 4) * 2,), "tanh"),
    Sample("softplus", lambda x: namespace.softplus(x, beta=1.0, threshold=20.0), (signed(3, 4) * 3,)),
    Sample("softplus", lambda x: namespace.softplus(x, beta=-2.0, threshold=math.inf), (signed(3, 4),), "falling"),
    Sample("softplus", lambda x: namespace.softplus(x, beta=2.0, threshold=1.0), (signed(3, 4),), "straight beyond 1"),
    Sample("softmax", lambda x: namespace.softmax(x, axis=-1), (signed(3, 4) * 3,)),
    Sample("softmax", lambda x: namespace.softmax(x, axis=1), (signed(2, 3, 4),), "axis in the middle"),
    Sample("softmax", lambda x: namespace.softmax(x, axis=None), (signed(2, 3),), "all axes"),
    Sample("log_softmax", lambda x: namespace.log_softmax(x, axis=0), (signed(3, 4) * 3,)),
    Sample("log_softmax", lambda x: namespace.log_softmax(x, axis=(0, 2)), (signed(2, 3, 4),), "two axes"),
]

LABELS = numpy.asarray([2, 0, -100, 3, 1])
MAP = numpy.asarray([[0, 3, 1], [1, 2, 2]], dtype=numpy.int32)


def _picked(x: Any, labels: Any) -> Any:
    return namespace.pick_class(x, labels, ignore_index=-100) ** 2


def _cross_entropy(x: Any, labels: Any) -> Any:
    loss, p = namespace.softmax_cross_entropy(x, labels, ignore_index=3, reduction="none")
    return loss, p


def _mean_cross_entropy(x: Any, labels: Any) -> Any:
    return namespace.softmax_cross_entropy(x, labels, ignore_index=-100, reduction="mean")[0]


def _total_cross_entropy(x: Any, labels: Any) -> Any:
    return namespace.softmax_cross_entropy(x, labels, ignore_index=-100, reduction="sum")[0]


def _of_scores(x: Any, labels: Any) -> Any:
    loss, logs = namespace.cross_entropy_of_scores(x, labels, ignore_index=3, reduction="none")
    return loss, logs


def _mean_of_scores(x: Any, labels: Any) -> Any:
    return namespace.cross_entropy_of_scores(x, labels, ignore_index=-100, reduction="mean")[0]


def _total_of_scores(x: Any, labels: Any) -> Any:
    return namespace.cross_entropy_of_scores(x, labels, ignore_index=-100, reduction="sum")[0]


LOSSES = [
    Sample("pick_class", _picked, (signed(5, 4), LABELS)),
    Sample("pick_class", _picked, (signed(2, 3, 4), MAP), "map"),
    Sample("softmax_cross_entropy", _cross_entropy, (signed(5, 4) * 3, abs(LABELS) % 5)),
    Sample("softmax_cross_entropy", _cross_entropy, (signed(2, 3, 4), MAP), "map"),
    Sample("softmax_cross_entropy", _cross_entropy, (signed(4), numpy.asarray(1)), "one example"),
    Sample("softmax_cross_entropy", _mean_cross_entropy, (signed(5, 4) * 3, LABELS), "mean, one ignored"),
    Sample("softmax_cross_entropy", _mean_cross_entropy, (signed(2, 3, 4), MAP), "mean of a map"),
    Sample("softmax_cross_entropy", _total_cross_entropy, (signed(5, 4) * 3, abs(LABELS) % 4), "sum"),
    Sample("cross_entropy_of_scores", _of_scores, (signed(5, 4) * 3, abs(LABELS) % 5)),
    Sample("cross_entropy_of_scores", _of_scores, (signed(2, 3, 4), MAP), "map"),
    Sample("cross_entropy_of_scores", _of_scores, (signed(4), numpy.asarray(1)), "one example"),
    Sample("cross_entropy_of_scores", _mean_of_scores, (signed(5, 4) * 3, LABELS), "mean, one ignored"),
    Sample("cross_entropy_of_scores", _total_of_scores, (signed(2, 3, 4), MAP), "sum of a map"),
    Sample("sigmoid_cross_entropy", namespace.sigmoid_cross_entropy, (signed(3, 4) * 3, real(3, 4))),
    Sample("binary_cross_entropy", namespace.binary_cross_entropy, (real(3, 4), real(3, 4, seed=7))),
]

SAMPLES = [*LAYERS, *ACTIVATIONS, *LOSSES]
