"""Pruning, layers fused with batch norm, modules as functions of their state: beside PyTorch, or by hand."""

from __future__ import annotations

import copy

import numpy
import pytest

import portanet as pn
from portanet import nn
from portanet.nn import utils
from portanet.nn.utils import prune
from portanet.nn.utils.stateless import functional_call
from tests.nn.cases import arrays, assert_close, compared_step

torch = pytest.importorskip("torch")
theirs_prune = pytest.importorskip("torch.nn.utils.prune")

CALLS = {
    "identity": [("identity", {})],
    "l1": [("l1_unstructured", {"amount": 0.4})],
    "l1 of a number": [("l1_unstructured", {"amount": 3})],
    "l1 of none": [("l1_unstructured", {"amount": 0})],
    "l1 of all": [("l1_unstructured", {"amount": 1.0})],
    "l1 twice": [("l1_unstructured", {"amount": 0.4}), ("l1_unstructured", {"amount": 0.5})],
    "l2 of rows": [("ln_structured", {"amount": 0.5, "n": 2, "dim": 0})],
    "l1 of columns": [("ln_structured", {"amount": 1, "n": 1, "dim": -1})],
    "largest of columns": [("ln_structured", {"amount": 1, "n": float("inf"), "dim": 1})],
    "rows twice": [("ln_structured", {"amount": 0.5, "n": 2, "dim": 0}), ("ln_structured", {"amount": 1, "n": 2, "dim": 0})],
    "both": [("l1_unstructured", {"amount": 5}), ("ln_structured", {"amount": 1, "n": 2, "dim": 0})],
}  # fmt: skip


def linears(inputs=5, outputs=4):
    ours, theirs = nn.Linear(inputs, outputs).to(pn.float64), torch.nn.Linear(inputs, outputs).to(torch.float64)
    ours.load_state_dict({name: x.numpy() for name, x in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("calls", CALLS)
def test_masks_outputs_and_gradients_are_pytorchs(calls, backend):
    ours, theirs = linears()
    for name, options in CALLS[calls]:
        assert getattr(prune, name)(ours, "weight", **options) is ours
        getattr(theirs_prune, name)(theirs, "weight", **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    compared_step(ours, theirs, arrays([(3, 5)]))
    assert prune.is_pruned(nn.Sequential(ours))
    prune.remove(ours, "weight")
    theirs_prune.remove(theirs, "weight")
    assert list(ours.state_dict()) == ["bias", "weight"]
    assert_close(ours.weight, theirs.weight)
    assert not prune.is_pruned(ours)


def test_what_was_pruned_before_adds_nothing_to_the_norm_of_its_channel(backend):
    layer = nn.Linear(2, 2)
    with pn.no_grad():
        layer.weight[...] = pn.asarray([[3.0, 2.0], [3.2, 1.9]])  # of norms 3.61 and 3.72, then 3.61 and 3.2
    prune.custom_from_mask(layer, "weight", pn.asarray([[True, True], [True, False]]))
    prune.ln_structured(layer, "weight", 1, n=2, dim=0)
    assert layer.weight_mask.tolist() == [[1.0, 1.0], [0.0, 0.0]]


def test_importance_may_be_told(backend):
    layer = nn.Linear(3, 1)
    prune.l1_unstructured(layer, "weight", 1, importance_scores=pn.asarray([[2.0, 1.0, 3.0]]))
    assert layer.weight_mask.tolist() == [[1.0, 0.0, 1.0]]


def test_random_ones_have_their_number(backend):
    layer = nn.Conv1d(4, 6, 3)
    prune.random_unstructured(layer, "weight", 0.25)
    assert pn.sum(layer.weight_mask).item() == 54
    prune.random_structured(layer, "weight", 2, dim=0)
    kept = numpy.max(layer.weight_mask.numpy(), axis=(1, 2))
    assert kept.sum() == 4


def test_a_global_share_is_pytorchs(backend):
    (a, s), (b, t) = linears(), linears(4, 2)
    prune.global_unstructured([(a, "weight"), (b, "weight")], prune.L1Unstructured, amount=0.5)
    theirs_prune.global_unstructured([(s, "weight"), (t, "weight")], theirs_prune.L1Unstructured, amount=0.5)
    assert_close(a.weight_mask, s.weight_mask)
    assert_close(b.weight_mask, t.weight_mask)


def test_a_mask_of_ones_own_and_a_copy(backend):
    layer = prune.custom_from_mask(nn.Linear(2, 1), "weight", pn.asarray([[True, False]]))
    twin = copy.deepcopy(layer)
    prune.remove(layer, "weight")
    assert prune.is_pruned(twin)
    assert twin.weight.tolist()[0][1] == 0.0
    assert twin.weight.tolist() == layer.weight.tolist()


def test_refusals_of_pruning():
    layer = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="a share from 0 to 1; saw 1.5"):
        prune.l1_unstructured(layer, "weight", 1.5)
    with pytest.raises(ValueError, match="amount=7 is more than the 6 that are left"):
        prune.l1_unstructured(layer, "weight", 7)
    with pytest.raises(ValueError, match="Linear has no parameter 'wight'"):
        prune.identity(layer, "wight")
    with pytest.raises(ValueError, match="prune.remove: Linear.weight is not pruned"):
        prune.remove(layer, "weight")
    with pytest.raises(ValueError, match=r"channels need at least two axes, the parameter has shape \(2,\)"):
        prune.random_structured(layer, "bias", 1, dim=0)
    with pytest.raises(IndexError, match=r"no axis dim=2 in shape \(2, 3\)"):
        prune.ln_structured(layer, "weight", 1, n=2, dim=2)
    with pytest.raises(ValueError, match="n must be a positive number or infinity, saw 'nuc'"):
        prune.ln_structured(layer, "weight", 1, n="nuc", dim=0)
    with pytest.raises(ValueError, match=r"the mask has shape \(2,\), the parameter \(2, 3\)"):
        prune.custom_from_mask(layer, "weight", pn.ones(2))
    with pytest.raises(TypeError, match="LnStructured prunes channels"):
        prune.global_unstructured([(layer, "weight")], prune.LnStructured, amount=1, n=2)
    assert not prune.is_pruned(layer)


# ------------------------------------------------------------------------------------------------------------- fusing


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_fused_layers_compute_what_the_two_did(bias, affine, backend):
    pairs = [
        (nn.Conv2d(2, 3, 2, bias=bias), nn.BatchNorm2d(3, affine=affine), (4, 2, 3, 3), utils.fuse_conv_bn_eval),
        (nn.Linear(2, 3, bias=bias), nn.BatchNorm1d(3, affine=affine), (4, 2), utils.fuse_linear_bn_eval),
    ]
    for layer, bn, shape, fuse in pairs:
        both = nn.Sequential(layer, bn).to(pn.float64)
        x = pn.asarray(arrays([shape])[0])
        both(x)  # moves the averages
        for k, p in enumerate(bn.parameters()):
            p._raw = pn.asarray(arrays([(3,)], seed=k)[0])._raw
        fused = fuse(layer.eval(), bn.eval())
        numpy.testing.assert_allclose(fused(x).detach().numpy(), both(x).detach().numpy(), rtol=1e-9, atol=1e-12)


def test_fused_weights_are_pytorchs(backend):
    values = [numpy.abs(v) for v in arrays([(3, 2, 2), (3,), (3,), (3,), (3,), (3,)])]
    ours = utils.fuse_conv_bn_weights(*[pn.asarray(v) for v in values[:4]], 1e-3, *[pn.asarray(v) for v in values[4:]])
    theirs = torch.nn.utils.fuse_conv_bn_weights(
        *[torch.from_numpy(v) for v in values[:4]], 1e-3, *[torch.from_numpy(v) for v in values[4:]]
    )
    for mine, yours in zip(ours, theirs, strict=True):
        assert_close(mine, yours)


def test_refusals_of_fusing():
    with pytest.raises(ValueError, match="must be in evaluation mode"):
        utils.fuse_linear_bn_eval(nn.Linear(2, 3), nn.BatchNorm1d(3).eval())
    with pytest.raises(ValueError, match="keeps no running averages"):
        utils.fuse_linear_bn_eval(nn.Linear(2, 3).eval(), nn.BatchNorm1d(3, track_running_stats=False).eval())
    with pytest.raises(ValueError, match=r"BatchNorm1d\(num_features=4\) does not fit the 3"):
        utils.fuse_linear_bn_eval(nn.Linear(2, 3).eval(), nn.BatchNorm1d(4).eval())


# ------------------------------------------------------------------------------------------------------ functional call


def test_a_module_is_a_function_of_its_state(backend):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = {name: x.tolist() for name, x in model.state_dict().items()}
    w = pn.asarray([[1.0, 2.0], [3.0, 4.0]]).requires_grad_()
    mean = pn.zeros(2)
    y = functional_call(model, {"0.weight": w, "1.running_mean": mean}, pn.asarray([[1.0, 0.0], [0.0, 1.0]]))
    y.backward(pn.asarray([[1.0, 2.0], [0.0, 1.0]]))
    assert w.grad.shape == (2, 2)
    assert mean.tolist() != [0.0, 0.0]
    after = {name: x.tolist() for name, x in model.state_dict().items()}
    assert {name for name in after if after[name] != before[name]} == {"1.running_var", "1.num_batches_tracked"}


def test_tied_weights_follow_and_names_are_checked(backend):
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    x, w = pn.asarray([1.0, 1.0]), {"0.weight": 2 * pn.eye(2)}
    assert functional_call(model, w, (x,), strict=True).tolist() == [4.0, 4.0]
    own = functional_call(model, w, x, tie_weights=False)
    numpy.testing.assert_allclose(own.detach().numpy(), 2 * model[1](x).detach().numpy(), rtol=1e-6)
    with pytest.raises(RuntimeError, match="missing: none; unexpected: weight"):
        functional_call(model, {**w, "weight": x}, x, strict=True)
    with pytest.raises(ValueError, match="last axis"):
        functional_call(model, w, pn.ones(3))
    assert model[0].weight is model[1].weight
    assert isinstance(model[0].weight, nn.Parameter)


def test_clipping_with_a_known_norm_is_pytorchs(backend):
    p, t = nn.Parameter(pn.zeros(2, dtype=pn.float64)), torch.zeros(2, dtype=torch.float64, requires_grad=True)
    p.grad, t.grad = pn.asarray([3.0, 4.0], dtype=pn.float64), torch.tensor([3.0, 4.0], dtype=torch.float64)
    utils.clip_grads_with_norm_([p], 1.0, pn.asarray(10.0, dtype=pn.float64))
    torch.nn.utils.clip_grads_with_norm_([t], 1.0, torch.tensor(10.0, dtype=torch.float64))
    assert_close(p.grad, t.grad)
