"""Transposed convolutions beside PyTorch's, and convolutions whose padding is not zeros."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from tests.nn.cases import arrays, assert_close, case, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")
F = nn.functional

TRANSPOSED = [
    case("ConvTranspose1d", 2, 3, 3, shapes=[(2, 2, 5)]),
    case("ConvTranspose1d", 2, 3, 3, shapes=[(2, 1)]),
    case("ConvTranspose1d", 4, 2, 3, 2, 1, 1, 2, False, 2, shapes=[(2, 4, 5)]),
    case("ConvTranspose1d", 2, 3, 2, dilation=3, output_padding=2, shapes=[(2, 2, 4)]),
    case("ConvTranspose1d", 2, 3, 3, shapes=[(0, 2, 5)]),
    case("ConvTranspose1d", 2, 3, 3, stride=3, shapes=[(2, 2, 4)], forward={"output_size": (13,)}),
    case("ConvTranspose2d", 3, 2, 2, stride=2, shapes=[(2, 3, 4, 3)]),
    case("ConvTranspose2d", 3, 2, (3, 2), stride=(2, 1), padding=(1, 0), output_padding=(1, 0), shapes=[(3, 4, 3)]),
    case("ConvTranspose2d", 4, 4, 3, groups=4, padding=2, shapes=[(2, 4, 4, 3)]),
    case("ConvTranspose2d", 3, 2, 1, stride=3, bias=False, shapes=[(2, 3, 3, 2)]),
    case("ConvTranspose2d", 3, 2, 3, stride=2, padding=1, shapes=[(2, 3, 3, 4)], forward={"output_size": (6, 7)}),
    case("ConvTranspose2d", 3, 2, 3, stride=2, shapes=[(2, 3, 3, 4)], forward={"output_size": [2, 2, 7, 10]}),
    case("ConvTranspose3d", 2, 3, 2, stride=2, padding=1, shapes=[(2, 2, 2, 3, 2)]),
    case("ConvTranspose3d", 2, 3, (1, 3, 2), dilation=(1, 1, 2), output_padding=(0, 0, 1), shapes=[(2, 2, 3, 1)]),
]

CONTINUED = [
    case("Conv1d", 2, 3, 3, padding=2, padding_mode="reflect", shapes=[(2, 2, 5)]),
    case("Conv1d", 2, 3, 3, padding=5, padding_mode="circular", shapes=[(2, 5)]),
    case("Conv1d", 2, 3, 3, padding=2, padding_mode="replicate", shapes=[(2, 2, 1)]),
    case("Conv2d", 2, 3, (2, 4), padding="same", padding_mode="reflect", dilation=(3, 1), shapes=[(2, 2, 5, 4)]),
    case("Conv2d", 2, 4, 3, 2, (1, 2), 1, 2, False, "circular", shapes=[(2, 2, 5, 4)]),
    case("Conv2d", 2, 3, 3, padding="valid", padding_mode="replicate", shapes=[(2, 5, 4)]),
    case("Conv2d", 2, 3, 3, padding_mode="reflect", shapes=[(0, 2, 5, 4)]),
    case("Conv3d", 1, 2, 2, padding=(1, 0, 2), padding_mode="circular", shapes=[(1, 1, 2, 2, 3)]),
    case("Conv3d", 1, 2, 2, padding=(0, 1, 1), padding_mode="replicate", shapes=[(1, 1, 2, 2, 3)]),
]

CASES = [*TRANSPOSED, *CONTINUED]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.heavy
@pytest.mark.parametrize("case", [TRANSPOSED[2], TRANSPOSED[7], TRANSPOSED[13], CONTINUED[3], CONTINUED[7]], ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, backend):
    proved(case)


@pytest.mark.heavy
@pytest.mark.eager
@pytest.mark.parametrize("case", [TRANSPOSED[2], TRANSPOSED[3], TRANSPOSED[7], CONTINUED[4]], ids=str)
def test_second_gradients_have_the_order_of_smooth_ones(case, backend):
    proved(case, 2)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_parameters_start_as_widely_spread_as_pytorchs(axes):
    args = (12, 20, 3, 1, 0, 0, 2)
    with torch.no_grad():
        theirs = getattr(torch.nn, f"ConvTranspose{axes}d")(*args)
    ours = getattr(nn, f"ConvTranspose{axes}d")(*args)
    bound = 1 / numpy.sqrt(3**axes * 10)
    for layer in (ours, theirs):
        for parameter in layer.parameters():
            largest = float(abs(parameter.detach().numpy()).max())
            assert 0.7 * bound < largest <= bound * (1 + 1e-6)


def test_a_window_is_laid_down_at_every_value(backend):
    x, w = pn.asarray([[[1.0, 10.0]]]), pn.asarray([[[1.0, 2.0, 3.0]]])
    assert F.conv_transpose1d(x, w).tolist() == [[[1.0, 12.0, 23.0, 30.0]]]
    assert F.conv_transpose1d(x, w, stride=3, padding=1, output_padding=2).tolist() == [
        [[2.0, 3.0, 10.0, 20.0, 30.0, 0.0]]
    ]
    assert F.conv_transpose1d(x, w, dilation=2).tolist() == [[[1.0, 10.0, 2.0, 20.0, 3.0, 30.0]]]


def test_a_transposed_convolution_is_the_transpose(backend):
    """<conv(x), y> = <x, conv_transpose(y)>, whatever the arguments."""
    x, w = [pn.asarray(a) for a in arrays([(2, 4, 9, 8), (6, 2, 3, 2)])]
    how: dict[str, Any] = {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    z = F.conv2d(x, w, **how)
    y = pn.asarray(arrays([z.shape], seed=1)[0])
    extra = (0, 2)  # (8 - 3) % 3 columns are seen by no window
    back = F.conv_transpose2d(y, w, output_padding=extra, **how)
    assert back.shape == x.shape
    numpy.testing.assert_allclose(pn.sum(z * y).item(), pn.sum(x * back).item(), rtol=1e-12)


def test_second_derivatives_of_a_convolution_are_pytorchs(backend):
    """Through the rules of both ways back: the gradient of what gradients of input and weight amount to."""
    values = arrays([(2, 4, 5, 6), (4, 2, 3, 2), (2, 4, 3, 4)])
    how: dict[str, Any] = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    x, w, g = [pn.asarray(v).requires_grad_() for v in values]
    a, b, c = [torch.from_numpy(v).requires_grad_() for v in values]
    of_x, of_w = pn.autograd.grad(pn.sum(F.conv2d(x, w, **how) * g), [x, w], create_graph=True)
    of_a, of_b = torch.autograd.grad((torch.nn.functional.conv2d(a, b, **how) * c).sum(), [a, b], create_graph=True)
    (pn.sum(of_x**2) + pn.sum(of_w**2)).backward()
    ((of_a**2).sum() + (of_b**2).sum()).backward()
    for mine, yours in zip((x, w, g), (a, b, c), strict=True):
        assert_close(mine.grad, yours.grad)


def test_time_batch_channel_sequences_are_pytorchs(backend):
    values = arrays([(5, 2, 3), (3, 3, 4), (4,)])
    x, w, b = [pn.asarray(v) for v in values]
    t, u, v = [torch.from_numpy(v) for v in values]
    for pad in (0, 2):
        assert_close(F.conv_tbc(x, w, b, pad), torch.conv_tbc(t, u, v, pad))


def test_functions_take_raw_arrays(backend):
    x, w = [pn.asarray(a) for a in arrays([(1, 2, 4), (2, 3, 2)])]
    y = F.conv_transpose1d(x.array, w.array)
    assert type(y) is type(x.array)
    assert isinstance(F.conv_transpose1d(x.array, w), pn.Tensor)
    numpy.testing.assert_allclose(pn.asarray(y).numpy(), F.conv_transpose1d(x, w).numpy(), rtol=1e-12)


def ones(*shape: int) -> Any:
    return pn.ones(shape)


WRONG = {
    "mode of a transpose": (
        lambda: nn.ConvTranspose2d(2, 3, 3, padding_mode="reflect"),
        ValueError,
        "ConvTranspose2d: padding_mode must be one of zeros, saw 'reflect'",
    ),
    "word": (
        lambda: nn.ConvTranspose1d(2, 3, 3, padding="same"),
        TypeError,
        "ConvTranspose1d: padding must be a whole number or 1 of them, saw 'same'",
    ),
    "groups": (lambda: nn.ConvTranspose1d(3, 4, 3, groups=2), ValueError, "groups=2 must be a whole number that"),
    "output padding": (
        lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=2)(ones(2, 5)),
        ValueError,
        "ConvTranspose1d: output_padding=(2,) must be less than stride=(2,) or dilation=(1,)",
    ),
    "output size": (
        lambda: nn.ConvTranspose1d(2, 3, 2, stride=3)(ones(1, 2, 4), output_size=(3,)),
        ValueError,
        "ConvTranspose1d: output_size=(3,) is asked for, but from (11,) to (13,) is possible",
    ),
    "output sizes": (
        lambda: nn.ConvTranspose2d(2, 3, 2)(ones(1, 2, 4, 4), output_size=(3, 4, 5)),
        TypeError,
        "output_size must be a whole number or 2 of them, saw (3, 4, 5)",
    ),
    "nothing": (
        lambda: nn.ConvTranspose1d(2, 3, 2, padding=3)(ones(1, 2, 4)),
        ValueError,
        "nothing comes out: the input's (4,) become (-1,), with padding (3,)",
    ),
    "no value": (lambda: nn.ConvTranspose1d(2, 3, 2)(ones(1, 2, 0)), ValueError, "nothing comes out: the input's (0,)"),
    "channels": (
        lambda: nn.ConvTranspose2d(3, 4, 3)(ones(2, 5, 8, 8)),
        ValueError,
        "ConvTranspose2d(in_channels=3): the input has 5 channels (shape (2, 5, 8, 8), read as (N, C, H, W)).",
    ),
    "axes": (lambda: nn.ConvTranspose2d(3, 4, 3)(ones(8, 8)), ValueError, "(N, C, H, W) or (C, H, W), saw (8, 8)"),
    "weight": (
        lambda: F.conv_transpose2d(ones(1, 1, 4, 4), ones(1, 1, 3)),
        ValueError,
        "the weight must have shape (C, O / groups, 2 lengths of the window), saw (1, 1, 3)",
    ),
    "bias": (
        lambda: F.conv_transpose1d(ones(1, 1, 4), ones(1, 2, 3), ones(3)),
        ValueError,
        "ConvTranspose1d: 2 channels come out, the bias has shape (3,)",
    ),
    "dtype": (
        lambda: nn.ConvTranspose1d(1, 1, 1)(pn.ones((1, 1, 4), dtype=pn.float64)),
        TypeError,
        "ConvTranspose1d: the input is float64, the parameters are float32",
    ),
    "mirror": (
        lambda: nn.Conv1d(2, 3, 3, padding=4, padding_mode="reflect")(ones(2, 4)),
        ValueError,
        "Conv1d: mode='reflect' can continue an axis of length 4 by at most 3, saw (4, 4)",
    ),
    "continued axes": (
        lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")(ones(8, 8)),
        ValueError,
        "Conv2d: the input must have shape (N, C, H, W) or (C, H, W), saw (8, 8)",
    ),
    "mode": (
        lambda: nn.Conv1d(2, 3, 3, padding_mode="some"),
        ValueError,
        "Conv1d: padding_mode must be one of zeros, r",
    ),
    "tbc": (lambda: F.conv_tbc(ones(3, 4), ones(2, 4, 5), ones(5)), ValueError, "conv_tbc: the input must have shape"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_in_words(name):
    wrong, error, words = WRONG[name]
    with pytest.raises(error) as problem:
        wrong()
    assert words in str(problem.value)
