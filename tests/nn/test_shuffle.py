"""Channels and pixels rearranged as PyTorch does, and by hand."""

from __future__ import annotations

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import arrays, case, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")

CASES = [
    case("PixelShuffle", 2, shapes=[(2, 8, 3, 4)]),
    case("PixelShuffle", 3, shapes=[(9, 1, 2)]),
    case("PixelShuffle", upscale_factor=1, shapes=[(2, 3, 4, 1)]),
    case("PixelShuffle", 2, shapes=[(2, 3, 4, 1, 2)]),
    case("PixelUnshuffle", 2, shapes=[(2, 3, 4, 6)]),
    case("PixelUnshuffle", 3, shapes=[(1, 3, 6)]),
    case("PixelUnshuffle", downscale_factor=1, shapes=[(2, 3, 4, 1)]),
    case("PixelUnshuffle", 2, shapes=[(2, 3, 1, 2, 4)]),
    case("ChannelShuffle", 2, shapes=[(2, 6, 3, 2)]),
    case("ChannelShuffle", 3, shapes=[(2, 6, 3)]),
    case("ChannelShuffle", groups=1, shapes=[(2, 6, 1, 2)]),
    case("ChannelShuffle", 6, shapes=[(1, 6, 2, 1, 2)]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_is_pytorchs(case):
    printed_alike(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [CASES[0], CASES[4], CASES[8]], ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


def test_places_by_hand(backend):
    whole = pn.reshape(pn.arange(8), (4, 1, 2))  # of any dtype, and raw arrays too
    assert F.pixel_shuffle(whole, 2).tolist() == [[[0, 2, 1, 3], [4, 6, 5, 7]]]
    raw = F.pixel_shuffle(whole.array, 2)
    assert type(raw) is type(whole.array)
    assert pn.Tensor(F.pixel_unshuffle(raw, 2)).tolist() == whole.tolist()
    channels = pn.reshape(pn.arange(6), (1, 6, 1))
    assert F.channel_shuffle(channels, 2)[0, :, 0].tolist() == [0, 3, 1, 4, 2, 5]
    assert F.channel_shuffle(F.channel_shuffle(channels, 2), 3).tolist() == channels.tolist()


@pytest.mark.parametrize("shape", [(8, 3, 5), (2, 8, 1, 1), (3, 2, 4, 2, 3)], ids=str)
def test_unshuffling_undoes_shuffling(shape, backend):
    x = arrays([shape])[0]
    numpy.testing.assert_array_equal(F.pixel_unshuffle(F.pixel_shuffle(pn.asarray(x), 2), 2).numpy(), x)


def test_no_image_is_rearranged_too(backend):
    # PyTorch leaves the shape of an empty batch as it was, or fails on the way back.
    x = pn.ones((0, 4, 3, 2)).requires_grad_()
    y = F.pixel_shuffle(x, 2)
    assert y.shape == (0, 1, 6, 4)
    pn.sum(y).backward()
    assert x.grad.shape == (0, 4, 3, 2)
    assert F.pixel_unshuffle(y, 2).shape == (0, 4, 3, 2)
    assert F.channel_shuffle(x, 2).shape == (0, 4, 3, 2)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"pixel_shuffle: the input has 6 channels \(shape \(6, 2, 2\)\); .* of 4"):
        nn.PixelShuffle(2)(pn.ones((6, 2, 2)))
    with pytest.raises(ValueError, match=r"pixel_unshuffle: the input is 3 high and 4 wide .*downscale_factor=2"):
        nn.PixelUnshuffle(2)(pn.ones((1, 3, 4)))
    with pytest.raises(ValueError, match=r"channel_shuffle: groups=4 must be positive and divide the 6 channels"):
        nn.ChannelShuffle(4)(pn.ones((1, 6, 2)))
    with pytest.raises(ValueError, match="channel_shuffle: groups=0"):
        nn.ChannelShuffle(0)(pn.ones((1, 6, 2)))
    with pytest.raises(ValueError, match="pixel_shuffle: upscale_factor=0; expected a positive integer"):
        nn.PixelShuffle(0)(pn.ones((6, 2, 2)))
    with pytest.raises(ValueError, match="pixel_unshuffle: downscale_factor=-1; expected a positive integer"):
        F.pixel_unshuffle(pn.ones((6, 2, 2)), -1)
    for function in (F.pixel_shuffle, F.pixel_unshuffle, F.channel_shuffle):
        with pytest.raises(ValueError, match=f"{function.__name__}: expected at least .*saw shape \\(4, 4\\)"):
            function(pn.ones((4, 4)), 2)
