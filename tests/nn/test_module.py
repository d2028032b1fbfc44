"""Modules: what is registered, in which order and under which names; moving, loading, copying, hooks, print-outs."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy
import pytest

import portanet as pn
from portanet import nn
from tests.oracle import of_newest


class Net(nn.Module):
    """One of everything: a parameter, buffers, a list, a dictionary, a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(pn.ones(3))
        self.register_buffer("steps", pn.zeros((), dtype=pn.int64))
        self.register_buffer("cache", pn.ones(2), persistent=False)
        self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(2)])
        self.heads = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 2, bias=False)})
        self.again = self.layers[0]
        self.note = "an attribute like any other"

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x * self.scale)
        return self.heads["a"](self.again(x))


NAMES = [
    "scale", "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "heads.a.weight", "heads.a.bias",
    "heads.b.weight",
]  # fmt: skip


# -------------------------------------------------------------------------------------------------------- registering


def test_names_in_order_and_shared_ones_once():
    model = Net()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert [id(p) for p in model.parameters()] == [id(model.get_parameter(name)) for name in NAMES]
    assert [name for name, _ in model.named_buffers()] == ["steps", "cache"]
    assert [name for name, _ in model.named_modules()] == [
        "", "layers", "layers.0", "layers.1", "heads", "heads.a", "heads.b",
    ]  # fmt: skip
    assert [name for name, _ in model.named_children()] == ["layers", "heads", "again"]
    assert len(list(model.modules())) == 7
    assert [name for name, _ in model.named_parameters(recurse=False)] == ["scale"]
    assert [name for name, _ in model.named_parameters(prefix="net")] == [f"net.{name}" for name in NAMES]
    every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert every == [*NAMES, "again.weight", "again.bias"]


def test_a_tied_weight_is_one_parameter_with_both_gradients():
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert [name for name, _ in model.named_parameters()] == ["0.weight"]
    assert list(model.state_dict()) == ["0.weight", "1.weight"]
    x = pn.ones((2, 3))
    pn.sum(model(x)).backward()
    w = first.weight.detach()
    ones = pn.ones((2, 3))
    expected = (ones.T @ x @ w.T) + (w.T @ ones.T @ x)
    numpy.testing.assert_allclose(first.weight.grad.numpy(), expected.numpy(), rtol=1e-5)


def test_assigning_and_deleting():
    layer = nn.Linear(3, 2)
    new = nn.Parameter(pn.zeros((2, 3)))
    layer.weight = new
    assert layer.weight is new
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    layer.bias = None
    assert layer.bias is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    del layer.weight
    assert not hasattr(layer, "weight")
    assert list(layer.parameters()) == []
    layer.weight = nn.Linear(1, 1)  # free to become something else
    assert [name for name, _ in layer.named_parameters()] == ["weight.weight", "weight.bias"]
    layer.weight = new  # a parameter takes the place of a module
    assert [name for name, _ in layer.named_modules()] == [""]


def test_what_a_name_stands_for_cannot_change_kind_unseen():
    layer = nn.BatchNorm1d(2)
    with pytest.raises(TypeError, match=r"BatchNorm1d.weight is a parameter, so it cannot become a Tensor"):
        layer.weight = pn.ones(2)
    with pytest.raises(TypeError, match=r"BatchNorm1d.running_mean is a buffer, so it cannot become a float"):
        layer.running_mean = 0.5
    with pytest.raises(TypeError, match=r"Sequential.0 is a module, so it cannot become a str"):
        setattr(nn.Sequential(layer), "0", "relu")
    layer.running_mean = pn.ones(2)
    assert dict(layer.named_buffers())["running_mean"] is layer.running_mean


def test_registering_refuses_bad_names_and_values():
    module = nn.Module()
    with pytest.raises(KeyError, match="without dots"):
        module.register_parameter("a.b", None)
    with pytest.raises(KeyError, match="not empty"):
        module.register_buffer("", None)
    with pytest.raises(KeyError, match="another attribute 'forward' already"):
        module.register_module("forward", nn.Identity())
    with pytest.raises(TypeError, match=r"must be a portanet.nn.Parameter or None, saw Tensor"):
        module.register_parameter("w", pn.ones(1))
    with pytest.raises(TypeError, match="must be a Tensor or None, saw list"):
        module.register_buffer("w", [1.0])
    with pytest.raises(TypeError, match=r"must be a portanet.nn.Module or None, saw function"):
        module.add_module("w", lambda x: x)


def test_forgetting_super_init_is_named():
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"Forgetful: call super\(\).__init__\(\) before assigning 'layer'"):
        Forgetful()
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(1)


def test_buffers_by_assignment():
    module = nn.Module()
    module.a = nn.Buffer(pn.ones(1))
    module.b = nn.Buffer(pn.ones(1), persistent=False)
    assert [name for name, _ in module.named_buffers()] == ["a", "b"]
    assert list(module.state_dict()) == ["a"]
    assert list(module.parameters()) == []


def test_getting_by_dotted_name():
    model = Net()
    assert model.get_submodule("layers.1") is model.layers[1]
    assert model.get_submodule("") is model
    assert model.get_buffer("steps") is model.steps
    with pytest.raises(AttributeError, match=r"ModuleList 'layers' has no submodule '7'; it has 0, 1"):
        model.get_submodule("layers.7")
    with pytest.raises(AttributeError, match=r"Linear 'layers.0' has no parameter 'wait'; it has weight, bias"):
        model.get_parameter("layers.0.wait")


# ---------------------------------------------------------------------------------------------------------- Parameter


def test_parameter(backend):
    values = pn.asarray([1.0, 2.0])
    p = nn.Parameter(values)
    assert isinstance(p, pn.Tensor)
    assert p.requires_grad
    assert p.is_leaf
    assert not values.requires_grad
    assert not nn.Parameter(values, requires_grad=False).requires_grad
    assert type(p * 2) is pn.Tensor
    assert nn.Parameter(values.array).tolist() == [1.0, 2.0]
    computed = nn.Parameter(p * 2)  # the graph of its value is left behind
    pn.sum(computed * computed).backward()
    assert computed.grad.tolist() == [4.0, 8.0]
    assert p.grad is None
    assert repr(p).startswith("Parameter containing:\ntensor([1., 2.]")
    with pytest.raises(TypeError, match="portanet.asarray makes one"):
        nn.Parameter([1.0, 2.0])
    with pytest.raises(TypeError, match="a gradient needs a floating dtype"):
        nn.Parameter(pn.asarray([1, 2]))


# -------------------------------------------------------------------------------------------------------------- modes


def test_modes_reach_everything():
    model = Net()
    assert model.train(False) is model
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())
    assert not model.eval().layers[0].training
    with pytest.raises(ValueError, match="mode must be True or False, saw 1"):
        model.train(1)


def test_gradients_are_forgotten_and_frozen(backend):
    model = Net()
    pn.sum(model(pn.ones((2, 3)))).backward()
    assert model.scale.grad is not None
    assert model.heads["b"].weight.grad is None  # not used
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
    model.layers[0].requires_grad_(False)
    pn.sum(model(pn.ones((2, 3)))).backward()
    assert model.layers[0].weight.grad is None
    assert model.layers[1].weight.grad is not None
    model.zero_grad()  # frozen parameters are no obstacle
    model.requires_grad_(True)
    assert all(p.requires_grad for p in model.parameters())


def test_apply_goes_from_the_inside_out():
    model, seen = Net(), []
    assert model.apply(lambda module: seen.append(type(module).__name__)) is model
    assert seen == ["Linear", "Linear", "ModuleList", "Linear", "Linear", "ModuleDict", "Linear", "Net"]


# ------------------------------------------------------------------------------------------------------------- moving


def test_to_a_dtype_keeps_the_objects_and_the_counters(backend):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    pn.sum(model(pn.asarray(numpy.eye(3), dtype=pn.float32)) ** 2).backward()
    before = list(model.parameters())
    assert model.to(pn.float64) is model
    assert all(p is q for p, q in zip(before, model.parameters(), strict=True))
    assert all(p.dtype is pn.float64 and p.grad.dtype is pn.float64 and p.requires_grad for p in before)
    assert model[1].running_var.dtype is pn.float64
    assert model[1].num_batches_tracked.dtype is pn.int64
    assert model.float()[0].weight.dtype is pn.float32
    assert model.double()[0].weight.dtype is pn.float64
    with pytest.raises(TypeError, match="the dtype must be real floating, saw int32"):
        model.to(pn.int32)


def test_to_a_dtype_of_complex_parameters(backend):
    module = nn.Module()
    module.w = nn.Parameter(pn.asarray([1 + 2j], dtype=pn.complex64))
    assert module.to(pn.float64).w.dtype is pn.complex128
    assert module.w.tolist() == [1 + 2j]


def test_to_another_library_and_back(backend):
    pytest.importorskip("torch")
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    tied = model[0].weight
    model.add_module("tied", nn.Module())
    model[-1].weight = tied
    x = numpy.eye(3, dtype="float32")
    expected = model[:2](pn.asarray(x)).detach().numpy()
    values = tied.tolist()
    model.to("torch", pn.float64)
    assert all(p.backend == "torch" for p in [*model.parameters(), *model.buffers()])
    assert model[-1].weight is model[0].weight is tied
    y = model[:2](pn.asarray(x).to("torch", pn.float64))
    numpy.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    pn.sum(y).backward()
    model.to(backend, dtype=pn.float32)
    assert tied.backend == backend.name
    assert tied.grad.backend == backend.name
    assert tied.device == pn.ones(1).device
    assert tied.tolist() == values


def test_to_another_device():
    pytest.importorskip("array_api_strict")
    with pn.use_backend("array_api_strict"):
        layer = nn.BatchNorm1d(2)
        layer.to("device1")
        assert {str(x.device) for x in [*layer.parameters(), *layer.buffers()]} == {
            str(pn.ones(1, device="device1").device)
        }
        assert layer(pn.asarray([[1.0, 2.0], [3.0, 4.0]], device="device1")).device == layer.weight.device


# -------------------------------------------------------------------------------------------------------------- state


def test_state_goes_out_and_in(backend):
    model, other = Net(), Net()
    state = model.state_dict()
    assert list(state) == ["scale", "steps", *NAMES[1:], "again.weight", "again.bias"]
    assert not any(value.requires_grad for value in state.values())
    result = other.load_state_dict(state)
    assert result == ([], [])
    assert repr(result) == "<All keys matched successfully>"
    x = pn.ones((2, 3))
    assert other(x).tolist() == model(x).tolist()
    with pn.no_grad():
        model.scale[...] = 7.0
    assert state["scale"].tolist() == [1.0, 1.0, 1.0]  # what was taken stays
    assert other.scale.tolist() == [1.0, 1.0, 1.0]
    assert list(model.state_dict(prefix="net.")) == [f"net.{name}" for name in state]
    assert model.state_dict(keep_vars=True)["scale"] is model.scale


def test_loading_copies_converts_and_moves(backend):
    layer = nn.Linear(2, 1)
    weight = numpy.asarray([[1.0, 2.0]])
    layer.load_state_dict({"weight": weight, "bias": pn.asarray([3])})
    weight[...] = 9.0
    assert layer.weight.tolist() == [[1.0, 2.0]]
    assert layer.weight.dtype is pn.float32
    assert layer.weight.backend == backend.name
    assert layer.bias.tolist() == [3.0]
    assert layer.bias.requires_grad


def test_loading_names_everything_that_does_not_fit():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    before = {name: x.tolist() for name, x in model.state_dict().items()}
    bad = {
        "0.weight": pn.ones((2, 2)), "0.bias": pn.ones(2), "1.weight": pn.ones((1, 3)), "more": pn.ones(1),
    }  # fmt: skip
    with pytest.raises(RuntimeError) as problem:
        model.load_state_dict(bad)
    lines = str(problem.value).splitlines()
    assert lines[0] == "Sequential.load_state_dict:"
    assert [line.strip() for line in lines[1:]] == [
        "missing: 1.bias.",
        "unexpected: more.",
        "0.weight: shape (2, 3) here, (2, 2) in what is loaded.",
        "1.weight: shape (1, 2) here, (1, 3) in what is loaded.",
    ]
    assert {name: x.tolist() for name, x in model.state_dict().items()} == before  # nothing by halves
    with pytest.raises(RuntimeError, match="float32 here, complex64 in what is loaded"):
        model.load_state_dict({"0.bias": pn.asarray([1j, 2j])}, strict=False)
    with pytest.raises(RuntimeError, match=r"0.bias: expected an array, saw list"):
        model.load_state_dict({"0.bias": [1.0, 2.0]}, strict=False)


def test_loading_a_part():
    model = nn.Linear(2, 1)
    result = model.load_state_dict({"bias": pn.asarray([5.0]), "more": pn.ones(1)}, strict=False)
    assert result.missing_keys == ["weight"]
    assert result.unexpected_keys == ["more"]
    assert repr(result) == "IncompatibleKeys(missing_keys=['weight'], unexpected_keys=['more'])"
    assert model.bias.tolist() == [5.0]


def test_a_copy_is_independent(backend):
    model = Net()
    pn.sum(model(pn.ones((2, 3)))).backward()
    twin = copy.deepcopy(model)
    assert twin.again is twin.layers[0]  # ties stay ties
    assert twin.layers[0].weight is not model.layers[0].weight
    assert twin.scale.grad.tolist() == model.scale.grad.tolist()
    assert [name for name, _ in twin.named_parameters()] == NAMES
    gradient = model.scale.grad.tolist()
    pn.sum(twin(pn.ones((2, 3))) + model(2 * pn.ones((2, 3))).detach()).backward()
    assert model.scale.grad.tolist() == gradient
    twin.load_state_dict({name: x * 0 for name, x in twin.state_dict().items()})
    assert model.scale.tolist() == [1.0, 1.0, 1.0]
    assert twin.scale.device == model.scale.device


def test_copies_of_tensors(backend):
    module = nn.Module()
    module.kept, module.passing = nn.Buffer(pn.ones(1)), nn.Buffer(pn.ones(1), persistent=False)
    module.leaf = pn.ones(2).requires_grad_()  # an attribute like any other
    twin = copy.deepcopy(module)
    assert list(twin.state_dict()) == ["kept"]
    assert isinstance(twin.passing, nn.Buffer)
    pn.sum(module.leaf + 10 * twin.leaf).backward()
    assert module.leaf.grad.tolist() == [1.0, 1.0]
    assert twin.leaf.grad.tolist() == [10.0, 10.0]
    with pytest.raises(RuntimeError, match="computed under the tape cannot be copied alone"):
        copy.deepcopy(module.leaf * 2)


def test_both_copies_in_one_graph(backend):
    layer = nn.Linear(2, 1, bias=False)
    twin = copy.deepcopy(layer)
    pn.sum(layer(pn.ones(2)) + 10 * twin(pn.ones(2))).backward()
    assert layer.weight.grad.tolist() == [[1.0, 1.0]]
    assert twin.weight.grad.tolist() == [[10.0, 10.0]]


# -------------------------------------------------------------------------------------------------------------- hooks


def test_hooks_see_and_replace():
    layer, seen = nn.Identity(), []
    first = layer.register_forward_hook(lambda module, args, y: seen.append((module, args, y)))
    assert layer(3) == 3
    assert seen == [(layer, (3,), 3)]
    second = layer.register_forward_hook(lambda module, args, y: y + 1)
    third = layer.register_forward_hook(lambda module, args, y: y * 10, prepend=True)
    assert layer(3) == 31
    third.remove()
    assert layer(3) == 4
    with layer.register_forward_pre_hook(lambda module, args: args[0] + 100):
        assert layer(3) == 104
    second.remove()
    second.remove()
    first.remove()
    assert layer(3) == 3
    assert len(seen) == 4


def test_hooks_with_keywords():
    class Named(nn.Module):
        def forward(self, x: int, *, factor: int = 1) -> int:
            return x * factor

    module, seen = Named(), []
    module.register_forward_pre_hook(lambda m, args, kwargs: (args, {"factor": 5}), with_kwargs=True)
    module.register_forward_hook(lambda m, args, kwargs, y: seen.append(kwargs), with_kwargs=True)
    assert module(2, factor=3) == 10
    assert seen == [{"factor": 5}]


# --------------------------------------------------------------------------------------------------------- containers


def test_sequential():
    a, b, c = nn.Linear(2, 3), nn.Identity(), nn.Linear(3, 1)
    model = nn.Sequential(a, b, c)
    assert model[0] is a
    assert model[-1] is c
    assert list(model) == [a, b, c]
    assert len(model) == 3
    assert list(model[1:]) == [b, c]
    assert [name for name, _ in model[1:].named_children()] == ["1", "2"]  # names stay, as in PyTorch
    assert b in model
    model[1] = nn.Flatten()
    assert repr(model[1]) == "Flatten(start_dim=1, end_dim=-1)"
    del model[1]
    assert [name for name, _ in model.named_children()] == ["0", "1"]
    model.insert(1, b)
    assert list(model) == [a, b, c]
    assert model.append(nn.Identity()) is model
    assert model.pop() is not b
    assert list(model.extend([b])) == [a, b, c, b]
    assert list(nn.Sequential(a) + nn.Sequential(c)) == [a, c]
    named = nn.Sequential(OrderedDict(first=a, last=c))
    assert named.first is a
    assert [name for name, _ in named.named_parameters()] == [
        "first.weight", "first.bias", "last.weight", "last.bias",
    ]  # fmt: skip
    assert nn.Sequential()(5) == 5
    with pytest.raises(IndexError, match="Sequential has 2 entries, so there is no index 2"):
        named[2]
    with pytest.raises(TypeError, match="Sequential holds modules, saw function"):
        nn.Sequential(lambda x: x)


def test_module_list_and_dict():
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(4)])
    assert len(layers[1:3]) == 2
    layers[1:3] = [nn.Identity()]
    assert [type(layer).__name__ for layer in layers] == ["Linear", "Identity", "Linear"]
    layers += [nn.Identity()]
    assert len(layers) == 4
    assert len(layers + [nn.Identity()]) == 5
    with pytest.raises(NotImplementedError, match="ModuleList defines no forward"):
        layers(1)
    table = nn.ModuleDict([("a", nn.Linear(1, 1)), ("b", nn.Identity())])
    assert list(table) == ["a", "b"]
    assert "a" in table
    assert len(table) == 2
    table.update({"c": nn.Identity()})
    assert [name for name, _ in table.items()] == ["a", "b", "c"]
    assert isinstance(table.pop("a"), nn.Linear)
    assert list(table.keys()) == ["b", "c"]
    assert len(list(table.values())) == 2
    with pytest.raises(KeyError, match="another attribute 'items' already"):
        table["items"] = nn.Identity()
    del table["b"]
    table.clear()
    assert list(table.parameters()) == []
    with pytest.raises(KeyError):
        table["a"]


def test_parameter_list_and_dict(backend):
    weights = nn.ParameterList([pn.ones(2), nn.Parameter(pn.zeros(1))])
    assert [name for name, _ in weights.named_parameters()] == ["0", "1"]
    weights.append(pn.ones(3))
    pn.sum(weights[2] * 2).backward()
    assert weights[2].grad.tolist() == [2.0] * 3
    del weights[0]
    assert [p.shape for p in weights] == [(1,), (3,)]
    with pytest.raises(TypeError, match="ParameterList holds parameters, saw float"):
        weights.append(1.0)
    table = nn.ParameterDict({"scale": pn.ones(2)})
    table["shift"] = pn.zeros(2)
    assert [name for name, _ in table.named_parameters()] == ["scale", "shift"]
    assert table["scale"].requires_grad
    assert list(table.state_dict()) == ["scale", "shift"]


# --------------------------------------------------------------------------------------------------------- print-outs


@of_newest
def test_print_outs_are_pytorchs():
    torch = pytest.importorskip("torch")

    def build(kit: Any, zeros: Any) -> Any:
        return kit.Sequential(
            kit.Linear(3, 4),
            kit.ModuleList([kit.Linear(2, 2), kit.Linear(2, 2), kit.Sequential(kit.Identity()), kit.Dropout()]),
            kit.ModuleList([]),
            kit.ModuleDict({"a": kit.LayerNorm(4), "b": kit.Sequential()}),
            kit.ParameterList([zeros((2, 3)), zeros(4)]),
            kit.Sequential(OrderedDict(inner=kit.Sequential(kit.Flatten(), kit.ReLU()))),
        )

    expected = repr(build(torch.nn, torch.zeros)).replace("torch.float32", "portanet.float32")
    assert repr(build(nn, pn.zeros)) == expected


def test_a_module_of_ones_own_prints_its_extra_lines():
    class Odd(nn.Module):
        def extra_repr(self) -> str:
            return "one\ntwo"

    assert repr(Odd()) == "Odd(\n  one\n  two\n)"
    assert repr(nn.Sequential(Odd())) == "Sequential(\n  (0): Odd(\n    one\n    two\n  )\n)"
