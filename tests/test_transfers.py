"""What travels between host and device is seen, said and refused; and a training step needs none of it."""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading

import numpy
import pytest

import portanet as pn
from portanet import data, doors, metrics, nn, optim, training
from portanet.library import namespace_of

F = nn.functional


@pytest.fixture
def device(backend):
    """The backend, where its memory is not the host's: a pretended device, SYCL, a GPU."""
    if not elsewhere():
        pytest.skip("its memory is the host's: nothing travels")
    return backend


def elsewhere() -> bool:
    return not doors.on_host(pn.ones(1).array)


def draws_on_host() -> bool:
    """Whether random numbers are made on the host and carried over, which the library's kernels choose."""
    here = pn.get_backend()
    return elsewhere() and here.library.random_on_host(here.device)


def mixed(x):
    """A mask chooses, so how many there are has to be known."""
    return x[x > 1]


def decided(x):
    return 1 if x[0] > 0 else 0


# name -> (what is done with x, a Tensor [1, 2, 3], and with NumPy's host; the directions that are seen)
DOORS = {
    "item": (lambda x, host: x[0].item(), ["read"]),
    "float": (lambda x, host: float(x[0]), ["read"]),
    "int": (lambda x, host: int(pn.astype(x[0], pn.int32)), ["read"]),
    "bool": (lambda x, host: bool(x[0]), ["read"]),
    "complex": (lambda x, host: complex(x[0]), ["read"]),
    "index": (lambda x, host: [7, 8, 9][pn.argmax(x) - 1], ["read"]),
    "if": (lambda x, host: decided(x), ["read"]),
    "format": (lambda x, host: f"{x[0]:.1f}", ["read"]),
    "repr": (lambda x, host: repr(x), ["to host"]),
    "tolist": (lambda x, host: x.tolist(), ["to host"]),
    "numpy": (lambda x, host: x.numpy(), ["to host"]),
    "to numpy": (lambda x, host: x.to("numpy"), ["to host"]),
    "from numpy": (lambda x, host: pn.asarray(host), ["to device"]),
    "moved": (lambda x, host: pn.Tensor(host).to(pn.get_backend()), ["to device"]),
    "from a list": (lambda x, host: pn.asarray([1.0, 2.0]), ["to device"]),
    "accuracy": (lambda x, host: metrics.accuracy(pn.astype(x, pn.int64), pn.astype(x, pn.int64)), ["read"]),
    "error": (lambda x, host: metrics.mean_squared_error(x, x), ["read"]),
    "clipping": (lambda x, host: clipped(x, True), ["read"]),
    "saving": (lambda x, host: pn.serialization.to_bytes(x.array), ["to host"]),
}
QUIET = {
    "a number": lambda x: pn.asarray(2.0),
    "arithmetic": lambda x: x * 2 + pn.sum(x),
    "comparing": lambda x: pn.where(x > 1, x, 0.0),
    "slicing": lambda x: x[1:],
    "indices": lambda x: pn.take(x, pn.argsort(x)),
    "zeros": lambda x: pn.zeros(3) + pn.arange(3.0) + pn.full(3, 2.0) + pn.linspace(0, 1, 3),
    "attributes": lambda x: (x.shape, x.dtype, x.device, len(x), x.requires_grad),
    "to where it is": lambda x: x.to(pn.get_backend()),
    "clipping": lambda x: clipped(x, False),
    "no clipping of norms": lambda x: nn.utils.clip_grad_value_(with_gradient(x), 1.0),
}


def with_gradient(x):
    w = pn.ones(3).requires_grad_()
    pn.sum(w * x).backward()
    return w


def clipped(x, ask):
    return nn.utils.clip_grad_norm_(with_gradient(x), 1.0, error_if_nonfinite=ask)


@pytest.mark.parametrize("name", DOORS)
def test_what_travels_is_seen(name, backend):
    act, expected = DOORS[name]
    x, host = pn.arange(1.0, 4.0), numpy.ones(3, "float32")
    with pn.transfers("count") as seen:
        act(x, host)
    assert [event.direction for event in seen.events] == (expected if elsewhere() else [])
    assert seen.count == len(seen.events) and seen.bytes == sum(event.bytes for event in seen.events)


@pytest.mark.parametrize("name", DOORS)
def test_what_travels_can_be_forbidden(name, device):
    act, (direction,) = DOORS[name]
    x, host = pn.arange(1.0, 4.0), numpy.ones(3, "float32")
    with pn.transfers("forbid"), pytest.raises(pn.TransferError, match=f"forbidden here, but {direction}.*Instead: "):
        act(x, host)
    act(x, host)  # after the block it is allowed again


@pytest.mark.parametrize("name", QUIET)
def test_what_stays_on_the_device_is_not_forbidden(name, device):
    x = pn.arange(1.0, 4.0)
    with pn.transfers("forbid"):
        QUIET[name](x)


@pytest.mark.needs("boolean_indexing")
def test_a_choice_by_a_mask_waits(device):
    x = pn.arange(3.0)
    with pn.transfers("count") as seen:
        mixed(x)
    assert [(event.direction, event.dtype, event.shape) for event in seen.events] == [("read", "bool", (3,))]


@pytest.mark.needs("data_dependent_shapes")
@pytest.mark.parametrize("name", ["nonzero", "unique_values", "unique_counts", "unique_inverse", "unique_all"])
def test_results_whose_size_depends_on_data_wait(name, device):
    x = pn.arange(3)
    with pn.transfers("count") as seen:
        getattr(pn, name)(x)
    assert [event.direction for event in seen.events] == ["read"]


def test_batches_of_host_arrays_travel_and_those_of_the_device_do_not(backend):
    host = numpy.ones((6, 2), "float32")
    there = pn.asarray(host)
    counts = []
    for array in (pn.Tensor(host), there):
        with pn.transfers("count") as seen:
            for (batch,) in data.DataLoader(data.TensorDataset(array), batch_size=2):
                assert batch.shape == (2, 2)
        counts.append([(event.direction, event.shape) for event in seen.events])
    assert counts == [[("to device", (2, 2))] * 3 if elsewhere() else [], []]


@pytest.mark.parametrize("name", ["rand", "randn"])
def test_random_numbers_travel_only_where_the_host_draws_them(name, backend):
    with pn.transfers("count") as seen:
        getattr(pn, name)((2, 3))
    assert [event.direction for event in seen.events] == (["to device"] if draws_on_host() else [])


def test_a_search_along_a_line_reads_at_each_point(device):
    w = pn.ones(2).requires_grad_()
    optimizer = optim.LBFGS([w], max_iter=3, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = pn.sum((w - 3.0) ** 4)
        loss.backward()
        return loss

    with pn.transfers("count") as seen:
        optimizer.step(closure)
    assert seen.count > 3 and {event.direction for event in seen.events} == {"read"}
    assert {event.what for event in seen.events} == {"LBFGS.step"}


def test_the_wrong_class_of_a_mask_of_scores_waits_for_nothing(device):
    """An error about data is not looked for on a device: the loss says nan."""
    x, y = pn.ones((2, 3)), pn.asarray([0, 7])
    with pn.transfers("forbid"):
        loss = F.cross_entropy(x, y)
    assert numpy.isnan(loss.item())


# ---------------------------------------------------------------------------------------------------------------------
# What is told of it.


class Doubtful(nn.Module):
    def forward(self, x):
        return x if pn.sum(x) > 0 else -x


LINE = inspect.getsourcelines(Doubtful)[1] + 2


def test_a_read_inside_a_layer_is_told_with_layer_and_line(device):
    model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity(), Doubtful()))
    x = pn.ones((2, 3))
    with pn.transfers("count") as seen:
        model(x)
    (event,) = seen.events
    assert (event.layer, event.what) == ("Doubtful '1.1'", "Tensor.__bool__")
    assert (event.file, event.line) == (__file__, LINE)
    assert (event.shape, event.dtype, event.bytes) == ((), "bool", 1)
    with pn.transfers("forbid"), pytest.raises(pn.TransferError) as caught:
        model(x)
    assert "Doubtful '1.1'" in str(caught.value) and f"{__file__}:{LINE}" in str(caught.value)


def test_a_copy_that_a_ready_made_layer_makes_is_told_with_the_users_line(device):
    model = nn.Sequential(nn.Identity(), nn.LSTM(2, 3))
    lengths = pn.asarray([2, 1])
    packed = nn.utils.rnn.pack_padded_sequence(pn.ones((2, 2, 2)), lengths)
    with pn.transfers("count") as seen:
        model(packed)
    for event in seen.events:  # whether there are any is the layer's own affair
        assert event.layer == "LSTM '1'" and event.file == __file__


def test_the_way_back_is_told_by_the_rule(device, monkeypatch):
    from portanet import vjps

    x = pn.ones(2).requires_grad_()
    y = pn.sum(pn.tanh(x))
    reading = (lambda xp, g, y, x: g if doors.read(bool, xp.all(g > 0)) else -g,)
    monkeypatch.setattr(vjps.rule("tanh"), "vjps", reading)
    with pn.transfers("count") as seen:
        y.backward()
    assert [(event.direction, event.what) for event in seen.events] == [("read", "backward of tanh")]


def test_the_table_gathers_what_is_alike(device):
    x = pn.ones(4)
    with pn.transfers("count") as seen:
        for _ in range(3):
            x.tolist()
        x[0].item()
    head, first, second = str(seen).splitlines()
    assert head.split() == ["times", "bytes", "direction", "by", "layer", "line"]
    assert first.startswith("3 ") and "48 bytes" in first and "Tensor.tolist" in first and __file__ in first
    assert second.startswith("1 ") and "4 bytes" in second and "Tensor.item" in second
    with pn.transfers("count") as nothing:
        pass
    assert str(nothing) == "no transfers" and nothing.count == nothing.bytes == 0


def test_the_log_has_each_as_a_warning(device, caplog):
    x = pn.ones(2)
    with caplog.at_level(logging.WARNING, "portanet.transfers"), pn.transfers("log") as seen:
        x.tolist()
    assert [(record.name, record.transfer) for record in caplog.records] == [("portanet.transfers", seen.events[0])]
    assert "to host: Tensor.tolist, float32 of shape (2,) (8 bytes)" in caplog.text


# ---------------------------------------------------------------------------------------------------------------------
# Blocks within blocks, other threads, errors.


def test_blocks_may_be_nested(device):
    x = pn.ones(2)
    with pn.transfers("count") as outer:
        x.tolist()
        with pn.transfers("count") as inner:
            x.tolist()
        with pn.transfers("forbid"), pytest.raises(pn.TransferError):
            x.tolist()  # did not happen, so nobody counts it
        x.tolist()
    assert (outer.count, inner.count) == (3, 1)
    with pn.transfers("forbid"), pn.transfers("count"), pytest.raises(pn.TransferError):
        x.tolist()


def test_another_thread_is_not_watched(device):
    x, backend = pn.ones(2), pn.get_backend()
    found = []

    def work():
        with pn.use_backend(backend):
            found.append(x.tolist())

    with pn.transfers("forbid"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert found == [[1.0, 1.0]]


def test_after_an_error_nobody_watches(device):
    with contextlib.suppress(ZeroDivisionError), pn.transfers("forbid"):
        raise ZeroDivisionError
    assert doors.watching == 0
    pn.ones(2).tolist()


def test_an_unknown_mode_lists_the_known():
    with pytest.raises(ValueError, match="forbid, count, log, saw 'deny'"), pn.transfers("deny"):
        pass


def test_without_a_block_nobody_is_asked(backend, monkeypatch):
    """The price of not watching is one look at a number: the list of those who watch is not even fetched."""
    monkeypatch.setattr(doors, "_watchers", None)
    batch, step = trained("perceptron")
    step(*batch)
    pn.asarray([1.0]).tolist()


# ---------------------------------------------------------------------------------------------------------------------
# Training.


class Reading(nn.Module):
    """Embedding, LSTM, linear: classes of sequences."""

    def __init__(self):
        super().__init__()
        self.embedding, self.lstm, self.head = nn.Embedding(5, 3), nn.LSTM(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.lstm(self.embedding(x))[0][-1, ...])


def trained(name, kind=optim.Adam, **options):
    """A batch, and a step of training with it: zero_grad, forward, loss, backward, step."""
    inputs = {
        "perceptron": lambda: pn.reshape(pn.cos(pn.arange(20.0)), (4, 5)),
        "images": lambda: pn.reshape(pn.cos(pn.arange(128.0)), (2, 1, 8, 8)),
        "sequences": lambda: pn.reshape(pn.arange(6) % 5, (3, 2)),
        "attention": lambda: pn.reshape(pn.cos(pn.arange(24.0)), (2, 3, 4)),
    }
    models = {
        "perceptron": lambda: nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 2)
        ),
        "images": lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 2)
        ),
        "sequences": Reading,
        "attention": lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8), nn.Flatten(), nn.Linear(12, 2)),
    }
    x, model = inputs[name](), models[name]()
    loss = nn.CrossEntropyLoss()
    optimizer = kind(model.parameters(), **{"lr": 0.01, **options})
    y = pn.arange(x.shape[1] if name == "sequences" else x.shape[0]) % 2

    def step(x, y):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return (x, y), step


OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True}, "Adam": {"amsgrad": True}, "AdamW": {}, "RMSprop": {"momentum": 0.9},
    "Adagrad": {}, "Adadelta": {}, "Adamax": {}, "NAdam": {}, "RAdam": {}, "ASGD": {}, "Rprop": {}, "Lion": {},
    "Adafactor": {},
}  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["perceptron", "images", "sequences", "attention"])
def test_no_step_transfers_anything(name, backend):
    batch, step = trained(name)
    step(*batch)  # the first may put constants there
    with pn.transfers("count") as seen:
        for _ in range(2):
            step(*batch)
    drawn = [event for event in seen.events if "Dropout" in event.layer or "Attention" in event.layer]
    assert seen.events == (drawn if draws_on_host() else []), str(seen)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_optimizer_reads_or_copies(name, backend):
    w = pn.ones((2, 3)).requires_grad_()
    optimizer = getattr(optim, name)([w], lr=0.01, **OPTIMIZERS[name])
    for mode in ("count", "forbid"):
        with pn.transfers(mode):
            pn.sum(w * w).backward()
            optimizer.step()
            optimizer.zero_grad()


def test_a_step_on_a_device_without_draws_is_never_forbidden(backend):
    """One small step on every backend, dpnp included: from the first on nothing travels."""
    model, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)), pn.ones((4, 3))
    optimizer, y = optim.SGD(model.parameters(), lr=0.1, momentum=0.9), pn.arange(4) % 2
    with pn.transfers("forbid"):
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


def test_averaged_weights_are_not_looked_at(backend):
    model = nn.Linear(2, 1)
    averaged = optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    with pn.transfers("forbid"):
        averaged.update_parameters(model)
    averaged.load_state_dict(averaged.state_dict())
    averaged.update_parameters(model)  # it was loaded, so it looks; and it is 2, not 0
    assert averaged.n_averaged.item() == 3


def transfers_of_an_epoch(rows, *, metric=None):
    x, y = pn.reshape(pn.cos(pn.arange(2.0 * rows)), (rows, 2)), pn.arange(rows) % 3
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))
    loader = data.DataLoader(data.TensorDataset(x, y), batch_size=2, shuffle=True)
    optimizer = optim.Adam(model.parameters())
    with pn.transfers("count") as seen:
        training.fit(model, nn.CrossEntropyLoss(), optimizer, loader, epochs=1, metrics=metric, progress=False)
    return seen


@pytest.mark.heavy
def test_an_epoch_reads_its_loss_once(backend):
    few, many = transfers_of_an_epoch(4), transfers_of_an_epoch(12)
    assert few.count == many.count, str(many)
    if elsewhere():
        reads = [event.what for event in many.events if event.direction == "read"]
        assert reads == ["fit"], str(many)


# ---------------------------------------------------------------------------------------------------------------------
# Past portanet's doors: what its kernels might do with CuPy's own arrays. Runs where there is a GPU.

READERS = ["get", "item", "tolist", "__bool__", "__float__", "__int__", "__complex__"]


@pytest.fixture
def cupy_watched(backend, monkeypatch):
    """A list that grows with each copy or read by CuPy's own methods, and with each array that it makes of host data."""
    if backend.name != "cupy":
        pytest.skip("looks at CuPy's arrays")
    import cupy

    found = []

    def counted(owner, name, fits=lambda *args: True):
        original = getattr(owner, name)

        def counting(*args, **options):
            if fits(*args):
                found.append((name, "".join(inspect.stack()[1].code_context or []).strip()))
            return original(*args, **options)

        monkeypatch.setattr(owner, name, counting)

    def of_the_host(x, *rest):
        return isinstance(x, (list, tuple)) or (isinstance(x, numpy.ndarray) and x.ndim > 0)

    for name in READERS:
        counted(cupy.ndarray, name)
    counted(cupy.ndarray, "set")
    for name in ("asarray", "array", "ascontiguousarray", "asnumpy"):
        counted(cupy, name, of_the_host)
    for name in ("nonzero", "flatnonzero", "argwhere", "unique", "bincount"):
        counted(cupy, name)
    return found


@pytest.mark.parametrize("name", ["perceptron", "images", "sequences", "attention"])
def test_no_kernel_for_cupy_reads_or_copies(name, cupy_watched):
    batch, step = trained(name)
    step(*batch)
    cupy_watched.clear()
    for _ in range(2):
        step(*batch)
    assert cupy_watched == []


def test_the_watch_over_cupy_sees(cupy_watched):
    x = pn.ones(2)
    cupy_watched.clear()
    x.tolist()
    bool(x.array[0] > 0)
    namespace_of(x.array).asarray([1.0])
    assert len(cupy_watched) >= 3
