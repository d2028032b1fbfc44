"""Max pools undone, beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from tests.nn.cases import arrays, case, compared, compared_in_float32, printed_alike

torch = pytest.importorskip("torch")
F = nn.functional


def pooled(shape: tuple[int, ...], *args: Any) -> list[Any]:
    """The values and places of a max pool by PyTorch."""
    axes = {3: 1, 4: 2, 5: 3}[len(shape)]
    x = torch.from_numpy(arrays([shape], seed=2)[0])
    found = getattr(torch.nn.functional, f"max_pool{axes}d")(x, *args, return_indices=True)
    return [y.numpy() for y in found]


def without_batch(values: list[Any]) -> list[Any]:
    return [x[0] for x in values]


CASES = [
    case("MaxUnpool1d", 2, shapes=pooled((2, 3, 8), 2)),
    case("MaxUnpool1d", 3, stride=4, padding=1, shapes=without_batch(pooled((1, 3, 9), 3, 4, 1))),
    case("MaxUnpool1d", 2, shapes=pooled((2, 3, 9), 2), forward={"output_size": [9]}),
    case("MaxUnpool1d", 1, shapes=pooled((1, 1, 1), 1)),
    case("MaxUnpool2d", 2, shapes=pooled((2, 3, 6, 8), 2)),
    case("MaxUnpool2d", (3, 2), shapes=without_batch(pooled((1, 3, 6, 8), (3, 2)))),
    case("MaxUnpool2d", 2, (2, 3), shapes=pooled((2, 3, 6, 8), 2, (2, 3))),
    case("MaxUnpool2d", 2, shapes=pooled((2, 3, 7, 9), 2), forward={"output_size": (2, 3, 7, 9)}),
    case("MaxUnpool2d", 2, shapes=[numpy.zeros((0, 3, 2, 2)), numpy.zeros((0, 3, 2, 2), dtype=int)]),
    case("MaxUnpool3d", 2, shapes=pooled((2, 3, 4, 2, 6), 2)),
    case("MaxUnpool3d", (1, 2, 3), shapes=without_batch(pooled((1, 3, 4, 2, 6), (1, 2, 3)))),
    case("MaxUnpool3d", 2, padding=(0, 1, 0), shapes=pooled((2, 3, 4, 4, 6), 2, 2, (0, 1, 0))),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [one for one in CASES if one.inputs[0].size], ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    ours, indices = case.ours(), pn.asarray(case.inputs[1])
    x = pn.asarray(case.inputs[0])
    report = pn.testing.check_gradient(lambda v: ours(v, indices, **case.forward) ** 3, x, order=order, verbose=False)
    assert report.order > 1.8


def test_of_overlapping_windows_the_last_value_stays(backend):
    values, places = pooled((2, 3, 9, 8), 3, 1)
    values = values + numpy.arange(values.size).reshape(values.shape)  # no longer equal where the places are
    ours = F.max_unpool2d(pn.asarray(values), pn.asarray(places), 3, 1)
    theirs = torch.nn.functional.max_unpool2d(torch.from_numpy(values), torch.from_numpy(places), 3, 1)
    numpy.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    x = pn.asarray([[1.0, 2.0, 3.0]]).requires_grad_()
    y = F.max_unpool1d(x, pn.asarray([[2, 0, 2]]), 1)
    assert y.tolist() == [[2.0, 0.0, 3.0]]
    y.backward(pn.asarray([[10.0, 20.0, 30.0]]))
    assert x.grad.tolist() == [[0.0, 10.0, 30.0]]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_pool_and_its_unpool_keep_the_largest_and_drop_the_rest(axes, backend):
    x = pn.asarray(arrays([(2, 3, 6, 4, 8)[: axes + 2]])[0])
    pool, unpool = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True), getattr(nn, f"MaxUnpool{axes}d")(2)
    values, places = pool(x)
    y = unpool(values, places)
    assert y.shape == x.shape
    assert pool(F.relu(y))[0].tolist() == F.relu(values).tolist()
    kept = y.numpy() != 0
    assert kept.sum() == values.size
    numpy.testing.assert_array_equal(y.numpy()[kept], x.numpy()[kept])


@pytest.mark.parametrize("index", [4, -1])
def test_an_index_that_names_no_place_never_passes_silently(index, backend):
    values, places = pn.asarray([[1.0, 2.0], [3.0, 4.0]]), pn.asarray([[1, index], [0, 3]])
    try:
        y = F.max_unpool1d(values, places, 2).numpy()
    except IndexError as problem:
        assert f"MaxUnpool1d: the indices reach from {min(index, 0)} to" in str(problem)
        assert "4 places along its axes (4,)" in str(problem)
    else:  # where looking would make a device wait
        assert numpy.isnan(y[0, 0])
        assert y[1].tolist() == [3.0, 0.0, 0.0, 4.0]


def image(*shape: int) -> Any:
    return pn.ones(shape), pn.zeros(shape, dtype=pn.int64)


WRONG = {
    "axes": (lambda: nn.MaxUnpool2d(2)(*image(2, 2)), ValueError, "MaxUnpool2d: the input must have shape (N, C, H, W)"),
    "indices' shape": (
        lambda: nn.MaxUnpool1d(2)(pn.ones((1, 2)), image(1, 3)[1]),
        ValueError,
        "MaxUnpool1d: the indices has shape (1, 3), expected (1, 2)",
    ),
    "indices' dtype": (
        lambda: nn.MaxUnpool1d(2)(pn.ones((1, 2)), pn.ones((1, 2))),
        TypeError,
        "MaxUnpool1d: the indices must be integers, saw float32; a max pool returns them with return_indices=True.",
    ),
    "dtype": (
        lambda: nn.MaxUnpool1d(2)(image(1, 2)[1], image(1, 2)[1]), TypeError, "MaxUnpool1d: expected a real floating"
    ),
    "output size": (
        lambda: nn.MaxUnpool2d(2)(*image(1, 2, 3), output_size=(4, 8)),
        ValueError,
        "MaxUnpool2d: output_size=(4, 8) must differ by less than the stride (2, 2) from (4, 6)",
    ),
    "output sizes": (
        lambda: nn.MaxUnpool2d(2)(*image(1, 2, 3), output_size=(4, 6, 1)), TypeError, "2 whole numbers, or the whole"
    ),
    "nothing left": (lambda: nn.MaxUnpool1d(1, 1, 1)(*image(1, 2)), ValueError, "follow axes (0,), which are none"),
    "window": (lambda: nn.MaxUnpool2d(0), ValueError, "MaxUnpool2d: kernel_size must be at least 1, saw 0."),
    "padding": (lambda: nn.MaxUnpool2d(2, 2, (1, 1, 1)), TypeError, "MaxUnpool2d: padding must be a whole number or 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_in_words(name):
    wrong, error, words = WRONG[name]
    with pytest.raises(error) as problem:
        wrong()
    assert words in str(problem.value)


def test_the_functions_take_raw_arrays(backend):
    x, places = [pn.asarray(y) for y in pooled((2, 3, 6, 8), 2)]
    assert type(F.max_unpool2d(x.array, places.array, 2)) is type(x.array)
    assert isinstance(F.max_unpool2d(x.array, places, 2), pn.Tensor)
