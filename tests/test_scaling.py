"""Nothing grows faster than what it is given: counted, not timed.

What Python executes is counted instruction by instruction, so that a loop counts with each of its rounds. What C code
does unseen is counted where it could hide: comparisons in a list, elements copied out of a table.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy
import pytest

import portanet
from portanet import data, nn, optim

SLACK = 1.1  # of what n more cost, so much may the next 2 n cost each


def executed(action: Callable[[], Any]) -> int:
    """How many instructions of Python an action takes."""
    count = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def require_linear(prepare: Callable[[int], Callable[[], Any]], n: int = 100) -> None:
    """Assert that an action on n, 2 n and 4 n things takes instructions in proportion."""
    prepare(n)()  # what is looked up once
    one, two, four = [executed(prepare(size)) for size in (n, 2 * n, 4 * n)]
    assert two - one >= n, "nothing was counted"
    assert four - two <= 2 * SLACK * (two - one), f"{one}, {two}, {four} instructions for {n}, {2 * n}, {4 * n}"


def test_what_is_quadratic_is_found():
    def prepare(count):
        return lambda: [j for i in range(count) for j in range(i)]

    with pytest.raises(AssertionError, match="instructions for"):
        require_linear(prepare)
    require_linear(lambda count: lambda: [2 * i for i in range(count)])


class Number(int):
    """A whole number that counts how often any is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Number.compared += 1
        return int(self) == other

    __hash__ = int.__hash__


class Table(dict):
    """A dict that counts how many of its entries are handed out one after another."""

    handed = 0

    def _counted(self, entries: Any) -> Any:
        for entry in entries:
            Table.handed += 1
            yield entry

    def __iter__(self) -> Any:
        return self._counted(super().__iter__())

    def keys(self) -> Any:
        return self._counted(super().keys())

    def values(self) -> Any:
        return self._counted(super().values())

    def items(self) -> Any:
        return self._counted(super().items())


# ---------------------------------------------------------------------------------------------------------------------
# The tape.


def leaf() -> Any:
    return portanet.asarray(numpy.ones((2, 2), "float32")).requires_grad_()


def chain(x: Any, count: int) -> Any:
    y = x
    for _ in range(count):
        y = y + x
    return portanet.sum(y)


def fan(x: Any, count: int) -> Any:
    """One value that many others are made of, all of which meet at the end."""
    h = x * 2.0
    return portanet.sum(portanet.concat([h + float(i) for i in range(count)]))


def diamonds(x: Any, count: int) -> Any:
    """Each value is made of the one before in two ways."""
    y = x
    for _ in range(count // 2):
        y = y * 0.5 + y * 0.5
    return portanet.sum(y)


GRAPHS = {"chain": chain, "fan": fan, "diamonds": diamonds}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_a_tape(graph):
    def prepare(count):
        return lambda: graph(leaf(), count).backward()

    with portanet.use_backend("numpy"):
        require_linear(prepare, 200)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_second_derivatives(graph):
    def prepare(count):
        def action():
            x = leaf()
            graph(x * x, count).backward(create_graph=True)
            portanet.sum(x.grad * x).backward()

        return action

    with portanet.use_backend("numpy"):
        require_linear(prepare)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_a_tape_of_a_hundred_thousand_nodes(graph):
    with portanet.use_backend("numpy"):
        x = leaf()
        graph(x, 100_000).backward()
        wanted = {"chain": 100_001.0, "fan": 200_000.0, "diamonds": 1.0}
        assert x.grad.tolist() == [[wanted[graph.__name__]] * 2] * 2


# ---------------------------------------------------------------------------------------------------------------------
# Models.


def layers(count: int) -> Any:
    return nn.Sequential(*[nn.Linear(2, 2) for _ in range(count)])


def blocks(count: int) -> Any:
    """Ten modules of many, as networks are built."""
    return nn.Sequential(*[layers(count // 10) for _ in range(10)])


def one_step(count: int) -> Callable[[], None]:
    model = layers(count)
    optimizer = optim.Adam(model.parameters())
    x = portanet.ones((3, 2))

    def action() -> None:
        optimizer.zero_grad()
        portanet.sum(model(x)).backward()
        optimizer.step()

    action()
    return action


def of_model(use: Callable[[Any], Any]) -> Callable[[int], Callable[[], Any]]:
    def prepare(count: int) -> Callable[[], Any]:
        model = blocks(count)
        return lambda: use(model)

    return prepare


def saved_and_loaded(model: Any, folder: Any) -> None:
    portanet.save(model.state_dict(), folder / "state")
    model.load_state_dict(portanet.load(folder / "state"))


def as_vector(found: list[Any]) -> None:
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(found), found)


MODELS = {
    "made": lambda count: lambda: layers(count),
    "one step of training": one_step,
    "parameters": of_model(lambda model: list(model.parameters())),
    "named_modules": of_model(lambda model: list(model.named_modules())),
    "state_dict": of_model(lambda model: model.state_dict()),
    "load_state_dict": of_model(lambda model: model.load_state_dict(model.state_dict())),
    "zero_grad": of_model(lambda model: model.zero_grad()),
    "train": of_model(lambda model: model.train().eval()),
    "to": of_model(lambda model: model.to(portanet.float64).to(portanet.float32)),
    "requires_grad_": of_model(lambda model: model.requires_grad_(False)),
    "apply": of_model(lambda model: model.apply(lambda module: None)),
    "repr": of_model(repr),
    "count_parameters": of_model(nn.utils.count_parameters),
    "activations": of_model(lambda model: nn.utils.activations(model, portanet.ones((3, 2)))),
    "a vector": of_model(lambda model: as_vector(list(model.parameters()))),
}


@pytest.mark.parametrize("prepare", MODELS.values(), ids=MODELS)
def test_a_model_of_many_layers(prepare):
    with portanet.use_backend("numpy"):
        require_linear(prepare)


def test_a_state_dict_saved_and_loaded(tmp_path):
    with portanet.use_backend("numpy"):
        require_linear(of_model(lambda model: saved_and_loaded(model, tmp_path)))


def test_two_thousand_layers_learn():
    with portanet.use_backend("numpy"):
        model = layers(2000)
        x = portanet.ones((3, 2))
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        portanet.sum(model(x)).backward()
        before = float(model[1999].bias[0])
        optimizer.step()
        assert float(model[1999].bias[0]) == pytest.approx(before - 0.3)
        assert len(model.state_dict()) == 4000


@pytest.mark.parametrize(
    "make",
    [
        lambda count: nn.Sequential(*[nn.ReLU() for _ in range(count)]),
        lambda count: nn.Sequential({f"layer{i}": nn.ReLU() for i in range(count)}),
        lambda count: nn.ModuleList([nn.ReLU() for _ in range(count)]),
    ],
    ids=("Sequential", "named", "ModuleList"),
)
def test_entries_by_their_place(make):
    def handed(count):
        model = make(count)
        model.__dict__["_modules"] = Table(model._modules)
        before = Table.handed
        entries = [model[i] for i in range(count)]
        assert entries == list(model)
        return Table.handed - before

    assert handed(100) >= 100, "nothing was counted"
    assert handed(400) <= 4 * handed(100)


def test_a_list_that_grows_while_it_is_read():
    with portanet.use_backend("numpy"):
        model = nn.ModuleList()
        model.__dict__["_modules"] = Table()
        before = Table.handed
        for i in range(300):
            model.append(nn.ReLU())
            assert model[i] is model[-1]
        assert Table.handed - before <= 300


def test_modules_within_modules_have_no_limit_of_their_own():
    """Ten times as deep as Python's recursion goes."""
    depth = 10 * sys.getrecursionlimit()
    inner = nn.Linear(1, 1)
    model: Any = inner
    for _ in range(depth):
        outer = nn.Module()
        outer.a = model
        model = outer
    try:
        assert len(list(model.modules())) == depth + 1
        assert [name.count(".") for name in model.state_dict()] == [depth, depth]
        assert all([not module.training for module in model.eval().modules()])
    finally:
        while model is not inner:  # taken apart one by one, which no recursion of the interpreter's need then do
            model, below = model.a, model
            del below.a


def test_a_module_within_itself_is_refused_by_name():
    model = nn.Module()
    model.a = nn.Module()
    model.a.b = model
    assert len(list(model.modules())) == 2
    with pytest.raises(RecursionError, match=r"'a.b' contains itself"):
        model.state_dict()


# ---------------------------------------------------------------------------------------------------------------------
# Optimizers.


def parameters(count: int) -> list[Any]:
    found = [portanet.tensor([1.0], requires_grad=True) for _ in range(count)]
    for p in found:
        p.grad = portanet.ones(1)
    return found


def stepped(kind: Any, count: int) -> Any:
    optimizer = kind(parameters(count))
    optimizer.step()
    optimizer.step()
    return optimizer


def of_optimizer(use: Callable[[Any], Any]) -> Callable[[int], Callable[[], Any]]:
    def prepare(count: int) -> Callable[[], Any]:
        optimizer = stepped(optim.Adam, count)
        return lambda: use(optimizer)

    return prepare


def of_parameters(use: Callable[[list[Any]], Any]) -> Callable[[int], Callable[[], Any]]:
    def prepare(count: int) -> Callable[[], Any]:
        found = parameters(count)
        return lambda: use(found)

    return prepare


OPTIMIZERS = {
    "made": of_parameters(optim.Adam),
    "step": of_optimizer(lambda optimizer: optimizer.step()),
    "zero_grad": of_optimizer(lambda optimizer: optimizer.zero_grad()),
    "state_dict": of_optimizer(lambda optimizer: optimizer.state_dict()),
    "load_state_dict": of_optimizer(lambda optimizer: optimizer.load_state_dict(optimizer.state_dict())),
    "state_arrays": of_optimizer(lambda optimizer: optimizer.load_state_arrays(optimizer.state_arrays())),
    "two groups": of_parameters(lambda ps: optim.SGD([{"params": ps[::2]}, {"params": ps[1::2]}])),
    "many groups": of_parameters(lambda ps: optim.SGD([{"params": [p]} for p in ps])),
    "clip_grad_norm_": of_parameters(lambda ps: nn.utils.clip_grad_norm_(ps, 1.0)),
}


@pytest.mark.parametrize("prepare", [pytest.param(OPTIMIZERS[name], id=name) for name in OPTIMIZERS])
def test_an_optimizer_of_many_parameters(prepare):
    with portanet.use_backend("numpy"):
        require_linear(prepare)


def test_loading_a_state_looks_each_index_up():
    def compared(count):
        with portanet.use_backend("numpy"):
            optimizer = stepped(optim.Adam, count)
            saved = optimizer.state_dict()
        saved["state"] = {Number(i): state for i, state in saved["state"].items()}
        for group in saved["param_groups"]:
            group["params"] = [Number(i) for i in group["params"]]
        before = Number.compared
        optimizer.load_state_dict(saved)
        return Number.compared - before

    assert compared(100) >= 100, "nothing was counted"
    assert compared(200) <= 2 * SLACK * compared(100)


def test_fifty_thousand_parameters_step():
    with portanet.use_backend("numpy"):
        optimizer = stepped(lambda ps: optim.SGD(ps, lr=0.25, momentum=0.5), 50_000)
        assert len(optimizer.state_dict()["state"]) == 50_000
        assert {p.item() for p in optimizer.param_groups[0]["params"]} == {0.375}


# ---------------------------------------------------------------------------------------------------------------------
# Compiled steps.


def compiled(count: int) -> tuple[Any, Callable[[], Any]]:
    model = layers(count)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = portanet.sum(model(x))
        loss.backward()
        optimizer.step()
        return loss

    made = portanet.compile(step, state=(model, optimizer))
    x = portanet.ones((3, 2))
    return made, lambda: made(x)


def test_a_compiled_step_recorded():
    def prepare(count):
        made, call = compiled(count)

        def action():
            call()
            assert made.reason == ""

        return action

    with portanet.use_backend("numpy"):
        require_linear(prepare)


def test_a_compiled_step_recorded_with_gradients_there():
    def prepare(count):
        made, call = compiled(count)
        call()

        def action():
            call()
            assert (made.recordings, made.reason) == (2, "")

        return action

    with portanet.use_backend("numpy"):
        require_linear(prepare)


def test_a_compiled_step_replayed():
    def prepare(count):
        _, call = compiled(count)
        call()
        call()
        return call

    with portanet.use_backend("numpy"):
        require_linear(prepare)


# ---------------------------------------------------------------------------------------------------------------------
# Loaders: a batch costs the same, however long the dataset is.


class Rows(Sequence):
    """A dataset of any length that holds nothing."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Any:
        assert 0 <= index < self.count
        return float(index)


def tensors(count: int) -> Any:
    return data.TensorDataset(portanet.zeros((count, 1)))


def first_batches(loader: Any, count: int = 3) -> None:
    batches = iter(loader)
    for _ in range(count):
        next(batches)


@pytest.mark.parametrize("shuffle", (False, True), ids=("in order", "shuffled"))
@pytest.mark.parametrize("make", (Rows, tensors))
def test_a_batch_costs_the_same_however_long_the_dataset(make, shuffle):
    with portanet.use_backend("numpy"):
        costs = []
        for count in (1000, 1000, 100_000):
            loader = data.DataLoader(make(count), batch_size=2, shuffle=shuffle, generator=portanet.random.Generator(0))
            costs.append(executed(lambda loader=loader: first_batches(loader)))
        # To shuffle more takes arrays that are longer, and a little more Python where the generator works in parts.
        assert costs[2] <= 1.5 * costs[1]


@pytest.mark.parametrize("shuffle", (False, True), ids=("in order", "shuffled"))
@pytest.mark.parametrize("make", (Rows, tensors))
def test_ten_million_rows_make_no_python_lists(make, shuffle):
    with portanet.use_backend("numpy"):
        loader = data.DataLoader(make(10_000_000), batch_size=1, shuffle=shuffle)
        first_batches(data.DataLoader(make(10), shuffle=shuffle))
        tracemalloc.start(1)
        try:
            batches = iter(loader)
            next(batches)
            held = tracemalloc.take_snapshot()
            for _ in range(3):
                next(batches)
        finally:
            tracemalloc.stop()
    # The order is an array of eight bytes a row, in one block; a list would come with as many numbers as rows.
    assert len(held.traces) < 10_000
    assert sum([trace.size for trace in held.traces]) < (2.2 * 80_000_000 if shuffle else 1_000_000)
