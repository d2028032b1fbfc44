"""Group, instance, root-mean-square and local response normalisation: beside PyTorch, by hand, and what they refuse."""

from __future__ import annotations

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import functional as F
from tests.nn.cases import arrays, case, compared, compared_in_float32, printed_alike, proved

torch = pytest.importorskip("torch")

CASES = [
    case("GroupNorm", 2, 4, shapes=[(3, 4)]),
    case("GroupNorm", 2, 4, shapes=[(3, 4, 5)]),
    case("GroupNorm", 1, 4, shapes=[(1, 4, 2, 3)]),
    case("GroupNorm", 4, 4, shapes=[(2, 4, 1, 3)]),
    case("GroupNorm", 4, 4, shapes=[(2, 4)]),  # groups of one value: all that remains is the bias
    case("GroupNorm", 2, 4, eps=1e-2, shapes=[(3, 4, 5)]),
    case("GroupNorm", 2, 4, affine=False, shapes=[(3, 4, 5)]),
    case("GroupNorm", 2, 4, bias=False, shapes=[(3, 4, 5)]),
    case("GroupNorm", 2, 4, shapes=[(0, 4, 5)]),
    case("InstanceNorm1d", 4, shapes=[(3, 4, 5)]),
    case("InstanceNorm1d", 4, shapes=[(4, 5)]),
    case("InstanceNorm1d", 4, affine=True, shapes=[(3, 4, 5)]),
    case("InstanceNorm1d", 4, affine=True, shapes=[(4, 5)]),
    case("InstanceNorm1d", 4, affine=True, bias=False, eps=1e-2, shapes=[(1, 4, 2)]),
    case("InstanceNorm1d", 4, track_running_stats=True, shapes=[(3, 4, 5)]),
    case("InstanceNorm1d", 4, track_running_stats=True, shapes=[(4, 5)]),
    case("InstanceNorm1d", 4, affine=True, track_running_stats=True, momentum=0.7, shapes=[(3, 4, 5)]),
    case("InstanceNorm1d", 4, track_running_stats=True, momentum=None, shapes=[(3, 4, 5)]),
    case("InstanceNorm1d", 4, shapes=[(0, 4, 5)]),
    case("InstanceNorm2d", 2, affine=True, track_running_stats=True, shapes=[(3, 2, 3, 1)]),
    case("InstanceNorm2d", 2, shapes=[(2, 3, 4)]),
    case("InstanceNorm3d", 2, affine=True, track_running_stats=True, shapes=[(2, 2, 3, 1, 2)]),
    case("InstanceNorm3d", 2, affine=True, shapes=[(2, 2, 3, 4)]),
    case("RMSNorm", 4, shapes=[(3, 4)]),
    case("RMSNorm", 4, shapes=[(4,)]),
    case("RMSNorm", 4, shapes=[(0, 4)]),
    case("RMSNorm", 0, shapes=[(3, 0)]),
    case("RMSNorm", (3, 4), shapes=[(2, 3, 4)]),
    case("RMSNorm", 4, eps=1e-2, shapes=[(2, 3, 4)]),
    case("RMSNorm", 4, elementwise_affine=False, shapes=[(3, 4)]),
    case("LocalResponseNorm", 2, shapes=[(3, 4, 5)]),
    case("LocalResponseNorm", 3, alpha=2.0, shapes=[(2, 5, 1, 3)]),
    case("LocalResponseNorm", 4, alpha=1.0, beta=0.5, k=2.0, shapes=[(2, 5, 2, 1, 2)]),
    case("LocalResponseNorm", 9, alpha=1.0, shapes=[(2, 3, 4)]),  # further than there are channels
    case("LocalResponseNorm", 1, alpha=1.0, beta=2.0, shapes=[(1, 3, 4)]),
    case("LocalResponseNorm", 2, shapes=[(0, 3, 4)]),
    case("LocalResponseNorm", 2, shapes=[(2, 0, 4)]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_gradients_and_buffers_are_pytorchs(case, backend):
    compared(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_print_out_and_state_are_pytorchs(case):
    printed_alike(case)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float32_is_pytorchs_to_rounding(case, backend):
    compared_in_float32(case)


@pytest.mark.eager
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", [one for one in CASES if 0 not in one.inputs[0]][::2], ids=str)
def test_gradients_have_the_order_of_smooth_ones(case, order, backend):
    proved(case, order)


# ------------------------------------------------------------------------------------------------------------ by hand


def test_the_root_of_the_mean_square_of_1_and_7_is_5(backend):
    assert F.rms_norm(pn.asarray([1.0, 7.0]), 2, pn.asarray([10.0, 5.0]), eps=0.0).tolist() == [2.0, 7.0]


def test_groups_of_channels_are_those_that_stand_together(backend):
    y = F.group_norm(pn.asarray([[1.0, 3.0, 10.0, 30.0]]), 2, bias=pn.asarray([0.0, 0.0, 5.0, 5.0]), eps=0.0)
    numpy.testing.assert_allclose(y.numpy(), [[-1.0, 1.0, 4.0, 6.0]], rtol=1e-6)


def test_running_averages_of_instances_are_those_of_the_batch(backend):
    mean, variance = pn.zeros(1), pn.ones(1)
    x = pn.asarray([[[1.0, 3.0]], [[5.0, 9.0]]])
    F.instance_norm(x, mean, variance, momentum=0.5)
    assert mean.tolist() == [2.25]  # half of the mean of 2 and 7
    assert variance.tolist() == [3.0]  # (1 + the mean of the unbiased variances 2 and 8) / 2
    y = F.instance_norm(x, mean, variance, use_input_stats=False, eps=0.0)
    numpy.testing.assert_allclose(y.numpy()[0, 0], [-1.25 / 3**0.5, 0.75 / 3**0.5], rtol=1e-6)


def test_the_window_of_an_even_size_reaches_one_channel_further_back(backend):
    x = pn.asarray([[[3.0], [4.0], [0.0]]])
    y = F.local_response_norm(x, 2, alpha=2.0, beta=1.0, k=1.0)
    numpy.testing.assert_allclose(y.numpy()[0, :, 0], [3 / 10, 4 / 26, 0.0], rtol=1e-6)


def test_one_group_is_layer_norm_and_one_channel_each_instance_norm(backend):
    x = pn.asarray(arrays([(3, 4, 5)])[0])
    one, each = F.group_norm(x, 1), F.group_norm(x, 4)
    numpy.testing.assert_allclose(one.numpy(), F.layer_norm(x, (4, 5)).numpy(), rtol=1e-12, atol=1e-12)
    numpy.testing.assert_allclose(each.numpy(), F.instance_norm(x).numpy(), rtol=1e-12, atol=1e-12)


# ----------------------------------------------------------------------------------------------------- raw arrays, errors

FUNCTIONS = {
    "group_norm": lambda x, w: F.group_norm(x, 2, w, w),
    "instance_norm": lambda x, w: F.instance_norm(x, weight=w, bias=w),
    "rms_norm": lambda x, w: F.rms_norm(x, (5,)) * 1,
    "local_response_norm": lambda x, w: F.local_response_norm(x, 3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_functions_take_raw_arrays(name, backend):
    x, w = [pn.asarray(v) for v in arrays([(3, 4, 5), (4,)])]
    y = FUNCTIONS[name](x.array, w.array)
    assert type(y) is type(x.array)
    numpy.testing.assert_allclose(pn.Tensor(y).numpy(), FUNCTIONS[name](x, w).numpy(), rtol=1e-12)


WRONG = {
    "GroupNorm: num_channels=4 do not part into num_groups=3": lambda: nn.GroupNorm(3, 4),
    "GroupNorm: num_channels=4 do not part into num_groups=0": lambda: nn.GroupNorm(0, 4),
    r"GroupNorm: 3 channels \(shape \(2, 3\)\) do not part into 2 groups": lambda: F.group_norm(pn.ones((2, 3)), 2),
    r"GroupNorm: 3 channels in the input .*, weight has shape \(4,\)": lambda: nn.GroupNorm(2, 4)(pn.ones((2, 3))),
    r"GroupNorm: the input must have axes \(N, C, \.\.\.\), saw shape \(4,\)": lambda: nn.GroupNorm(2, 4)(pn.ones(4)),
    r"GroupNorm: one value for each of 4 groups \(shape \(1, 4\)\)": lambda: nn.GroupNorm(4, 4)(pn.ones((1, 4))),
    r"InstanceNorm1d\(num_features=4\): .* \(N, 4, L\) or \(4, L\), saw \(5, 3\)": (
        lambda: nn.InstanceNorm1d(4)(pn.ones((5, 3)))
    ),
    r"InstanceNorm2d\(num_features=4\): .* \(N, 4, H, W\) or \(4, H, W\), saw \(4, 3\)": (
        lambda: nn.InstanceNorm2d(4)(pn.ones((4, 3)))
    ),
    r"InstanceNorm: one place for each channel \(shape \(2, 4, 1\)\)": lambda: nn.InstanceNorm1d(4)(pn.ones((2, 4, 1))),
    r"InstanceNorm: the input must have axes \(N, C, L, \.\.\.\), saw shape": lambda: F.instance_norm(pn.ones((2, 4))),
    "InstanceNorm: without use_input_stats=True it needs running_mean and running_var": (
        lambda: F.instance_norm(pn.ones((2, 4, 3)), use_input_stats=False)
    ),
    "InstanceNorm: give running_mean and running_var both, or neither": (
        lambda: F.instance_norm(pn.ones((2, 4, 3)), pn.ones(4))
    ),
    r"RMSNorm\(normalized_shape=\(4,\)\): the input's last axes differ \(shape \(2, 3\)\)": (
        lambda: nn.RMSNorm(4)(pn.ones((2, 3)))
    ),
    r"RMSNorm\(normalized_shape=\(4,\)\): the weight has shape \(3,\)": (
        lambda: F.rms_norm(pn.ones((2, 4)), (4,), pn.ones(3))
    ),
    r"LocalResponseNorm: the input must have shape \(N, C, L, \.\.\.\), saw \(2, 3\)": (
        lambda: nn.LocalResponseNorm(2)(pn.ones((2, 3)))
    ),
    "LocalResponseNorm: size must be a whole number of at least 1, saw 0": (
        lambda: nn.LocalResponseNorm(0)(pn.ones((2, 3, 4)))
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_uses_are_explained(message, backend):
    with pytest.raises(ValueError, match=message):
        WRONG[message]()


@pytest.mark.parametrize("layer", [nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, affine=True), nn.RMSNorm(3)], ids=repr)
def test_another_dtype_is_refused_with_the_cast_to_write(layer):
    with pytest.raises(TypeError, match="input is float64, the parameters are float32; cast the input with"):
        layer(pn.ones((2, 4, 3), dtype=pn.float64))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whole_numbers_are_refused(name, backend):
    with pytest.raises(TypeError, match="Norm: expected a real floating input, saw int"):
        FUNCTIONS[name](pn.ones((3, 4, 5), dtype=pn.int64), None)


def test_running_averages_that_are_no_tensors_are_refused():
    with pytest.raises(TypeError, match="InstanceNorm: the running averages get new values in training"):
        F.instance_norm(numpy.ones((2, 3, 4)), numpy.ones(3), numpy.ones(3))


def test_no_places_give_gradients_of_zero(backend):
    layer = nn.GroupNorm(2, 4)
    pn.sum(layer(pn.ones((2, 4, 0)))).backward()
    assert layer.weight.grad.tolist() == [0.0] * 4  # PyTorch's are nan
