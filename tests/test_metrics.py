"""Scores against scikit-learn, on every backend, and at their awkward places."""

from __future__ import annotations

import math

import numpy
import pytest

import portanet
from portanet import metrics

RANDOM = numpy.random.default_rng(0)
SCORES = RANDOM.normal(size=(50, 4))
CLASSES = RANDOM.integers(0, 4, size=50)
OUTPUT = RANDOM.normal(size=(50, 3))
TRUTH = OUTPUT + RANDOM.normal(size=(50, 3))


@pytest.fixture
def sklearn():
    return pytest.importorskip("sklearn.metrics")


def here(*arrays):
    return [portanet.asarray(numpy.array(x)) for x in arrays]


def test_classes_as_scikit_learn(sklearn, backend):
    scores, target = here(SCORES, CLASSES)
    chosen = portanet.argmax(scores, axis=1)
    expected = sklearn.accuracy_score(CLASSES, SCORES.argmax(1))
    assert metrics.accuracy(scores, target) == metrics.accuracy(chosen, target) == expected
    table = metrics.confusion_matrix(scores, target)
    assert type(table.array) is type(target.array)
    assert table.tolist() == sklearn.confusion_matrix(CLASSES, SCORES.argmax(1)).tolist()
    assert metrics.confusion_matrix(chosen, target).tolist() == table.tolist()
    for k in (1, 2, 3):
        expected = sklearn.top_k_accuracy_score(CLASSES, SCORES, k=k)
        assert metrics.top_k_accuracy(scores, target, k=k) == pytest.approx(expected, abs=1e-15)


def test_numbers_as_scikit_learn(sklearn, backend):
    for shape in ((50, 3), (150,)):
        y, t = OUTPUT.reshape(shape), TRUTH.reshape(shape)
        prediction, target = here(y, t)
        assert metrics.mean_squared_error(prediction, target) == pytest.approx(
            sklearn.mean_squared_error(t, y), rel=1e-12
        )
        assert metrics.mean_absolute_error(prediction, target) == pytest.approx(
            sklearn.mean_absolute_error(t, y), rel=1e-12
        )
        assert metrics.r2_score(prediction, target) == pytest.approx(sklearn.r2_score(t, y), rel=1e-12)


def test_a_constant_target_as_scikit_learn(sklearn, backend):
    t = numpy.stack([numpy.full(10, 0.5), numpy.full(10, 0.5), numpy.arange(10.0)], axis=1)
    y = t + numpy.asarray([0.0, 0.5, 0.1])
    assert metrics.r2_score(*here(y, t)) == pytest.approx(sklearn.r2_score(t, y), rel=1e-12)


def test_a_constant_target_whose_mean_is_rounded(backend):
    # The mean of ten times 0.1 is not 0.1: divided by that rounding, the score would be about -1e32.
    t = numpy.full(10, 0.1)
    assert metrics.r2_score(*here(t + 0.5, t)) == 0.0
    assert metrics.r2_score(*here(t, t)) == 1.0


def test_known_values(backend):
    scores, target = here([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3]], [1, 0, 0, 0])
    assert metrics.accuracy(scores, target) == 0.75
    assert metrics.confusion_matrix(scores, target).tolist() == [[2, 1], [0, 1]]
    y, t = here(numpy.float32([1, 2, 3]), numpy.float32([1, 2, 5]))
    assert metrics.mean_squared_error(y, t) == pytest.approx(4 / 3, rel=1e-6)
    assert metrics.mean_absolute_error(y, t) == pytest.approx(2 / 3, rel=1e-6)
    assert metrics.r2_score(y, t) == pytest.approx(1 - 4 / (26 / 3), rel=1e-6)


def test_results_are_python_floats_and_leave_no_graph():
    scores = portanet.asarray(SCORES).requires_grad_()
    target = portanet.asarray(CLASSES)
    values = [metrics.accuracy(scores, target), metrics.top_k_accuracy(scores, target, k=2)]
    y = portanet.asarray(OUTPUT).requires_grad_()
    values += [f(y, portanet.asarray(TRUTH)) for f in (metrics.mean_squared_error, metrics.r2_score)]
    assert [type(value) for value in values] == [float] * 4
    assert not metrics.confusion_matrix(scores, target).requires_grad


def test_raw_arrays_lists_and_truth_values(backend):
    scores, target = here(SCORES, CLASSES)
    assert metrics.accuracy(scores.array, target.array) == metrics.accuracy(scores, target)
    assert metrics.accuracy([0, 1, 1], [0, 1, 0]) == pytest.approx(2 / 3)
    yes, truth = here([True, True, False], [True, False, False])
    assert metrics.accuracy(yes, truth) == pytest.approx(2 / 3)
    assert metrics.accuracy(yes, portanet.asarray([1, 0, 0])) == pytest.approx(2 / 3)
    assert metrics.confusion_matrix(yes, truth).tolist() == [[1, 1], [0, 1]]
    assert metrics.mean_squared_error(*here([1, 2], [1, 4])) == 2.0


def test_pixels_count_one_by_one(backend):
    scores, target = here(RANDOM.normal(size=(2, 3, 4, 5)), RANDOM.integers(0, 3, size=(2, 4, 5)))
    expected = numpy.mean(scores.numpy().argmax(1) == target.numpy())
    assert metrics.accuracy(scores, target) == pytest.approx(expected)
    assert portanet.sum(metrics.confusion_matrix(scores, target)).item() == 40


def test_a_small_dtype_does_not_wrap(backend):
    scores = numpy.zeros((1, 300))
    scores[0, 256] = 1.0
    prediction, target = here(scores, numpy.asarray([0], dtype=numpy.uint8))
    assert metrics.accuracy(prediction, target) == 0.0
    table = metrics.confusion_matrix(*here(numpy.uint8([200]), numpy.uint8([200])))
    assert table.shape == (201, 201) and table[200, 200].item() == 1


def test_ties_go_to_the_lower_class_and_nan_never_wins(backend):
    tied, target = here(numpy.zeros((3, 3)), [0, 1, 2])
    assert metrics.top_k_accuracy(tied, target, k=1) == metrics.accuracy(tied, target) == pytest.approx(1 / 3)
    assert metrics.top_k_accuracy(tied, target, k=2) == pytest.approx(2 / 3)
    broken, target = here([[math.nan, math.nan], [1.0, math.nan]], [0, 0])
    assert metrics.top_k_accuracy(broken, target, k=1) == 0.0
    assert metrics.top_k_accuracy(broken, target, k=2) == 0.5


def test_a_chosen_number_of_classes(backend):
    assert metrics.confusion_matrix(*here([0, 1], [0, 0]), num_classes=3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="prediction has class 1, and there are classes 0 to 0"):
        metrics.confusion_matrix(*here([0, 1], [0, 0]), num_classes=1)


@pytest.mark.parametrize(
    ("function", "shapes", "message"),
    [
        (metrics.accuracy, ((4, 3), (3,)), r"\(4, 3\), target \(3,\)"),
        (metrics.accuracy, ((4, 1), (4,)), "one score decides nothing"),
        (metrics.accuracy, ((4, 3), (4, 1)), "scores"),
        (metrics.top_k_accuracy, ((4,), (4,)), r"\(N, C\) are needed"),
        (metrics.accuracy, ((0, 3), (0,)), "no items"),
    ],
)
def test_shapes_that_do_not_fit(function, shapes, message):
    with pytest.raises(ValueError, match=message):
        function(portanet.zeros(shapes[0]), portanet.zeros(shapes[1], dtype=portanet.int64))


@pytest.mark.parametrize("function", [metrics.mean_squared_error, metrics.mean_absolute_error, metrics.r2_score])
def test_numbers_are_never_broadcast(function):
    with pytest.raises(ValueError, match=r"\(4, 1\), target \(4,\); they must be equal"):
        function(portanet.zeros((4, 1)), portanet.zeros(4))
    with pytest.raises(ValueError, match="no items"):
        function(portanet.zeros(0), portanet.zeros(0))
    with pytest.raises(TypeError, match="complex"):
        function(portanet.zeros(2, dtype=portanet.complex64), portanet.zeros(2))


def test_a_class_beyond_the_scores_is_refused(backend):
    for function in (metrics.accuracy, lambda y, t: metrics.top_k_accuracy(y, t, k=1), metrics.confusion_matrix):
        with pytest.raises(ValueError, match="class 4, and there are classes 0 to 3"):
            function(*here(SCORES[:2], [0, 4]))
        with pytest.raises(ValueError, match="class -1"):
            function(*here(SCORES[:2], [0, -1]))


def test_floats_are_no_classes():
    with pytest.raises(TypeError, match="target has dtype"):
        metrics.accuracy(portanet.zeros((2, 2)), portanet.zeros(2))
    with pytest.raises(TypeError, match="logit > 0"):
        metrics.accuracy(portanet.zeros(2), portanet.asarray([0, 1]))


def test_other_refusals():
    scores, target = here(SCORES, CLASSES)
    for k in (0, 5, True):
        with pytest.raises(ValueError, match="k must be from 1"):
            metrics.top_k_accuracy(scores, target, k=k)
    with pytest.raises(ValueError, match="two items"):
        metrics.r2_score([1.0], [1.0])
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match="two libraries"):
        metrics.accuracy(scores, strict.asarray(CLASSES))


def test_half_width_sums_are_made_in_float32():
    y = numpy.ones(5000, dtype=numpy.float16)
    assert metrics.mean_absolute_error(y, numpy.zeros_like(y)) == 1.0
    assert metrics.mean_squared_error(100 * y, -200 * y) == pytest.approx(90000.0)
