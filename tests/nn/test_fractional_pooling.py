"""Fractional max pools: beside PyTorch's for the same random numbers; and what is drawn."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from tests.nn.cases import arrays, assert_close

torch = pytest.importorskip("torch")
F = nn.functional

CASES: list[tuple[int, tuple[int, ...], Any, dict[str, Any]]] = [
    (2, (2, 3, 7, 9), 2, {"output_size": (3, 5)}),
    (2, (2, 3, 8, 8), (3, 2), {"output_ratio": 0.6}),
    (2, (3, 8, 9), 2, {"output_ratio": (0.5, 0.8)}),
    (2, (2, 3, 5, 5), 2, {"output_size": 1}),
    (2, (2, 3, 5, 6), (1, 2), {"output_size": 5}),
    (2, (0, 3, 5, 6), 2, {"output_size": 3}),
    (2, (1, 1, 1, 1), 1, {"output_size": 1}),
    (3, (2, 3, 5, 6, 7), 2, {"output_size": (2, 3, 4)}),
    (3, (3, 5, 6, 7), (2, 1, 3), {"output_ratio": 0.5}),
    (3, (2, 3, 5, 6, 7), 2, {"output_ratio": (0.3, 0.4, 0.8)}),
]


def both(axes: int, shape: tuple[int, ...], kernel: Any, options: Any, dtype: str = "float64") -> tuple[Any, Any, Any]:
    """The input, our layer and PyTorch's, which share their random numbers."""
    x = arrays([shape])[0].astype(dtype)
    batch = shape[0] if len(shape) == axes + 2 else 1
    u = numpy.random.default_rng(1).uniform(size=(batch, shape[-axes - 1], axes)).astype(dtype)
    name = f"FractionalMaxPool{axes}d"
    ours = getattr(nn, name)(kernel, return_indices=True, _random_samples=pn.asarray(u), **options)
    theirs = getattr(torch.nn, name)(kernel, return_indices=True, _random_samples=torch.from_numpy(u), **options)
    return x, ours, theirs


@pytest.mark.heavy
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_with_the_same_random_numbers_values_places_and_gradients_are_pytorchs(case, dtype, backend):
    values, ours, theirs = both(*case, dtype)
    x, t = pn.asarray(values).requires_grad_(), torch.from_numpy(values).requires_grad_()
    (y, places), (u, expected) = ours(x), theirs(t)
    assert_close(y, u)
    numpy.testing.assert_array_equal(places.numpy(), expected.numpy())
    cotangent = arrays([tuple(u.shape)], seed=3)[0].astype(dtype)
    y.backward(pn.asarray(cotangent))
    u.backward(torch.from_numpy(cotangent))
    assert_close(x.grad, t.grad, rtol=1e-6 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_state_and_print_out_are_pytorchs(case):
    _, ours, theirs = both(*case)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["_random_samples"]
    drawn = nn.FractionalMaxPool2d(2, 2)
    assert repr(drawn) == repr(torch.nn.FractionalMaxPool2d(2, 2))
    assert list(drawn.state_dict()) == []
    assert (ours.kernel_size, ours.output_size, ours.output_ratio) == (
        theirs.kernel_size, theirs.output_size, theirs.output_ratio
    )  # fmt: skip


def test_windows_by_hand(backend):
    x = pn.asarray([[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]])
    u = pn.asarray([[[0.5, 0.0]]])
    # a = (7 - 2) / (3 - 1) = 2.5: the windows begin at 0, floor(2.5 * 1.5) - floor(1.25) = 2, and 5.
    y, places = F.fractional_max_pool2d_with_indices(x, (1, 2), (1, 3), _random_samples=u)
    assert y.tolist() == [[[1.0, 3.0, 6.0]]]
    assert places.tolist() == [[[1, 3, 6]]]
    volume = pn.reshape(x, (1, 1, 1, 7))
    u = pn.asarray([[[0.0, 0.0, 0.5]]])
    assert F.fractional_max_pool3d_with_indices(volume, (1, 1, 2), (1, 1, 3), _random_samples=u)[1].tolist() == [
        [[[1, 3, 6]]]
    ]


def test_windows_are_drawn_anew_and_the_same_everywhere(backend):
    x = pn.reshape(pn.arange(40, dtype=pn.float32), (1, 2, 4, 5))
    generator = pn.random.Generator(5)
    assert F.fractional_max_pool2d(x, 1, 3, generator=generator).tolist() == OF_SEED_5
    seen = {str(F.fractional_max_pool2d(x, 1, 3, generator=generator).tolist()) for _ in range(8)}
    assert len(seen) > 2
    pn.manual_seed(3)
    layer = nn.FractionalMaxPool2d(1, output_size=3)
    one = layer(x).tolist()
    pn.manual_seed(3)
    assert layer.eval()(x).tolist() == one


OF_SEED_5 = [
    [
        [[0.0, 2.0, 4.0], [5.0, 7.0, 9.0], [15.0, 17.0, 19.0]],
        [[20.0, 22.0, 24.0], [30.0, 32.0, 34.0], [35.0, 37.0, 39.0]],
    ]
]

WRONG = {
    "neither": (lambda: nn.FractionalMaxPool2d(2), ValueError, "FractionalMaxPool2d: one of output_size and output_ratio"),
    "both": (lambda: nn.FractionalMaxPool3d(2, 2, 0.5), ValueError, "saw output_size=2 and output_ratio=0.5"),
    "ratio": (lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5), ValueError, "between 0 and 1, or 2 of them, saw 1.5"),
    "ratios": (lambda: nn.FractionalMaxPool2d(2, output_ratio=(0.5,) * 3), ValueError, "output_ratio must be a number"),
    "too many": (
        lambda: nn.FractionalMaxPool2d(3, 5)(pn.ones((1, 6, 8))),
        ValueError,
        "FractionalMaxPool2d: (5, 5) windows of (3, 3) do not begin at different places of the input's (6, 8) values.",
    ),
    "none": (lambda: nn.FractionalMaxPool2d(1, output_ratio=0.1)(pn.ones((1, 6, 8))), ValueError, "(0, 0) windows"),
    "axes": (lambda: nn.FractionalMaxPool2d(1, 2)(pn.ones((6, 8))), ValueError, "(N, C, H, W) or (C, H, W), saw (6, 8)"),
    "dtype": (lambda: nn.FractionalMaxPool2d(1, 2)(pn.ones((1, 6, 8), dtype=pn.int64)), TypeError, "real floating"),
    "samples": (
        lambda: F.fractional_max_pool2d(pn.ones((1, 6, 8)), 1, 2, _random_samples=pn.ones((1, 1, 3))),
        ValueError,
        "FractionalMaxPool2d: _random_samples must be of shape (1, 1, 2)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_in_words(name):
    wrong, error, words = WRONG[name]
    with pytest.raises(error) as problem:
        wrong()
    assert words in str(problem.value)


def test_the_functions_take_raw_arrays(backend):
    x = pn.asarray(arrays([(2, 3, 6, 7)])[0]).array
    assert type(F.fractional_max_pool2d(x, 2, 3)) is type(x)
