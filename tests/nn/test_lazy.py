"""Lazy layers: beside PyTorch's, and what happens before the first input."""

from __future__ import annotations

import copy

import numpy
import pytest

import portanet as pn
from portanet import nn, optim
from tests.nn.cases import Case, case, compared_step, printed_alike
from tests.oracle import is_newest

torch = pytest.importorskip("torch")

CASES = [
    case("LazyLinear", 4, shapes=[(5, 3)]),
    case("LazyLinear", 4, bias=False, shapes=[(3,)]),
    case("LazyConv1d", 4, 2, shapes=[(2, 3, 5)]),
    case("LazyConv1d", 4, 2, stride=2, padding=1, dilation=2, groups=2, bias=False, shapes=[(4, 5)]),
    case("LazyConv2d", 4, (1, 2), shapes=[(2, 3, 2, 5)]),
    case("LazyConv3d", 2, 1, shapes=[(3, 2, 2, 3)]),
    case("LazyConvTranspose1d", 4, 2, shapes=[(2, 3, 5)]),
    case("LazyConvTranspose2d", 4, 3, stride=2, padding=1, output_padding=1, groups=2, shapes=[(2, 6, 3, 4)]),
    case("LazyConvTranspose3d", 2, 2, bias=False, shapes=[(3, 2, 2, 3)]),
    case("LazyBatchNorm1d", shapes=[(5, 4)]),
    case("LazyBatchNorm1d", eps=1e-2, momentum=0.5, shapes=[(5, 4, 2)]),
    case("LazyBatchNorm2d", affine=False, shapes=[(5, 4, 1, 2)]),
    case("LazyBatchNorm3d", track_running_stats=False, shapes=[(2, 4, 1, 2, 2)]),
    case("LazyInstanceNorm1d", shapes=[(5, 4, 3)]),
    case("LazyInstanceNorm2d", affine=False, bias=False, shapes=[(2, 4, 3, 2)]),
    case("LazyInstanceNorm3d", track_running_stats=False, shapes=[(2, 3, 2, 1, 2)]),
]


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_after_the_first_input_it_is_pytorchs_layer(case: Case, backend):
    if not is_newest():
        pytest.skip("an older PyTorch prints otherwise")
    ours, theirs, values = case.ours(), case.theirs(), case.values(0)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    held = list(ours.parameters())
    ours(pn.asarray(values[0]))
    theirs(torch.from_numpy(values[0]))
    assert repr(ours) == repr(theirs)
    assert type(ours).__name__ == case.name.removeprefix("Lazy")
    assert all([p is q and type(q) is nn.Parameter for p, q in zip(held, ours.parameters(), strict=True)])
    ours.load_state_dict({name: x.numpy() for name, x in theirs.state_dict().items()})
    compared_step(ours, theirs, case.values(1))


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("name", ["LazyLinear", "LazyBatchNorm1d"])
def test_it_loads_the_state_of_one_that_has_seen_its_input(name, backend):
    make = {"LazyLinear": lambda: nn.LazyLinear(2), "LazyBatchNorm1d": nn.LazyBatchNorm1d}[name]
    seen, lazy = make(), make()
    x = pn.asarray([[1.0, 2.0, 4.0], [0.0, 1.0, 1.0]])
    seen(x)
    lazy.load_state_dict(seen.state_dict())
    assert "Lazy" in repr(lazy)  # until its first input
    assert seen.eval()(x).tolist() == lazy.eval()(x).tolist()
    assert repr(lazy) == repr(seen)
    make().load_state_dict(make().state_dict())  # both without shapes
    with pytest.raises(RuntimeError, match="uninitialized"):
        seen.load_state_dict(make().state_dict())


def test_instances_without_a_batch_have_their_channels_first(backend):
    layer = nn.LazyInstanceNorm1d()
    assert layer(pn.ones((4, 3))).shape == (4, 3)
    assert layer.num_features == 4  # PyTorch takes 3 for them, and then refuses the input


def test_a_part_that_was_loaded_stays(backend):
    layer = nn.LazyLinear(2)
    layer.load_state_dict({"weight": pn.ones((2, 3))}, strict=False)
    layer(pn.ones(3))
    assert layer.weight.tolist() == [[1.0] * 3] * 2
    assert layer.bias.shape == (2,)


def test_before_the_first_input_values_are_refused_with_what_to_do(backend):
    layer = nn.LazyLinear(2)
    for use in (lambda: layer.weight.shape, lambda: layer.weight * 2, lambda: pn.sum(layer.weight)):
        with pytest.raises(RuntimeError, match="no values yet: its shape comes from the first input"):
            use()
    with pytest.raises(ValueError, match="SGD: parameter 0 of the group is uninitialized, .* call the model once"):
        optim.SGD(layer.parameters(), lr=0.1)
    assert repr(layer.weight) == "<UninitializedParameter>"
    assert repr(nn.LazyBatchNorm1d().running_mean) == "<UninitializedBuffer>"


def test_dtype_and_mode_are_kept_and_copies_are_apart(backend):
    layer = nn.LazyLinear(2).to(pn.float64).requires_grad_(False)
    assert layer.weight.dtype is pn.float64
    twin = copy.deepcopy(layer)
    layer(pn.ones((1, 3), dtype=pn.float64))
    assert layer.weight.dtype is pn.float64
    assert layer.weight.backend == backend.name
    assert not layer.weight.requires_grad
    twin(pn.ones((1, 5), dtype=pn.float64))
    assert (layer.weight.shape, twin.weight.shape) == ((2, 3), (2, 5))


def test_it_starts_as_the_ordinary_layer_would(backend):
    for lazy, plain, shape in (
        (lambda: nn.LazyLinear(4), lambda: nn.Linear(3, 4), (2, 3)),
        (lambda: nn.LazyConv1d(4, 2), lambda: nn.Conv1d(3, 4, 2), (2, 3, 5)),
    ):
        pn.manual_seed(4)
        layer = lazy()
        layer(pn.ones(shape))
        pn.manual_seed(4)
        for p, q in zip(layer.parameters(), plain().parameters(), strict=True):
            numpy.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


@pytest.mark.heavy
def test_a_compiled_step_runs_by_itself_once_and_is_then_recorded(backend):
    model = nn.Sequential(nn.LazyLinear(4), nn.Tanh())
    step = pn.compile(lambda x: model(x), state=model)
    x = pn.ones((2, 3))
    first = step(x).numpy()
    if backend.name in ("numpy", "torch", "jax"):
        assert "LazyLinear's first input" in step.reason
    second = step(x).numpy()
    if backend.name in ("numpy", "torch", "jax"):
        assert step.reason == ""
    numpy.testing.assert_allclose(first, second, rtol=1e-6)


def test_an_input_that_does_not_fit_leaves_it_lazy():
    layer = nn.LazyConv2d(4, 3, groups=2)
    with pytest.raises(ValueError, match=r"LazyConv2d: groups=2 must be .* in_channels=3"):
        layer(pn.ones((3, 5, 5)))
    with pytest.raises(ValueError, match=r"LazyConv2d: the input must have shape .*, saw \(5, 5\)"):
        layer(pn.ones((5, 5)))
    assert layer.has_uninitialized_params()
    assert layer(pn.ones((2, 5, 5))).shape == (4, 3, 3)
    norm = nn.LazyBatchNorm2d()
    with pytest.raises(ValueError, match=r"LazyBatchNorm2d.*saw \(2, 3\)"):
        norm(pn.ones((2, 3)))
    assert norm.num_features == 0


def test_a_lazy_print_out_says_what_is_known():
    printed = case("Linear", 3, 2, shapes=[])
    printed_alike(printed)
    assert repr(nn.LazyLinear(2)) == "LazyLinear(in_features=0, out_features=2, bias=True)"
