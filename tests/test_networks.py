"""Whole networks: one seed gives the same training on every library, and the same as PyTorch's."""

from __future__ import annotations

import threading

import numpy
import pytest

import portanet
from portanet import autograd, data, nn, optim
from portanet.nn import functional as F

RNG = numpy.random.default_rng(0)
X = RNG.normal(size=(24, 6))
Y = RNG.integers(0, 3, 24)


class Deep(nn.Module):
    """The lecture's network: L hidden layers in a loop, ReLU between them, a final Linear."""

    def __init__(self, width: int = 8, depth: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(6, width)
        self.hidden = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(0.25)
        self.last = nn.Linear(width, 3)

    def forward(self, x: portanet.Tensor) -> portanet.Tensor:
        x = F.relu(self.first(x))
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.last(self.dropout(self.norm(x)))


def losses_of_training(steps: int = 12) -> list[float]:
    """The loop of every PyTorch tutorial, from a fixed seed, on the current backend."""
    portanet.manual_seed(3)
    model = Deep()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    batches = data.DataLoader(data.TensorDataset(portanet.asarray(X), portanet.asarray(Y)), batch_size=8, shuffle=True)
    losses: list[float] = []
    while len(losses) < steps:
        for x, y in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses[:steps]


@pytest.mark.heavy
def test_one_seed_trains_alike_on_every_library(backend):
    with portanet.use_backend("numpy"):
        expected = losses_of_training()
    numpy.testing.assert_allclose(losses_of_training(), expected, rtol=1e-4)
    assert numpy.mean(expected[-3:]) < numpy.mean(expected[:3])


def test_training_is_pytorch_s_to_the_last_digits():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)
    ).double()
    ours = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3)).to(portanet.float64)
    ours.load_state_dict({name: portanet.asarray(value.numpy()) for name, value in theirs.state_dict().items()})
    step_theirs = torch.optim.AdamW(theirs.parameters(), lr=0.01)
    step_ours = optim.AdamW(ours.parameters(), lr=0.01)
    for _ in range(30):
        step_theirs.zero_grad()
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(X)), torch.tensor(Y))
        expected.backward()
        step_theirs.step()
        step_ours.zero_grad()
        loss = F.cross_entropy(ours(portanet.asarray(X)), portanet.asarray(Y))
        loss.backward()
        step_ours.step()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    for name, value in theirs.state_dict().items():
        numpy.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-8, atol=1e-10)


def test_float64_input_into_float32_parameters_is_refused(backend):
    with pytest.raises(TypeError, match="float64"):
        nn.Linear(6, 3)(portanet.asarray(X))


@pytest.mark.heavy
def test_a_model_moves_to_another_library_in_the_middle_of_training(backend):
    with portanet.use_backend("numpy"):
        portanet.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    losses = []
    for where in ("numpy", backend):
        model.to(where)
        x, y = [portanet.asarray(part).to(where) for part in (X.astype("float32"), Y)]
        optimizer = optim.SGD(model.parameters(), lr=0.5)
        for _ in range(10):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert next(iter(model.parameters())).backend == portanet.Tensor(x.array).backend
    assert losses[-1] < losses[10] < losses[0]


def test_a_saved_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    def run(model, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(portanet.asarray(X, dtype="float32")), portanet.asarray(Y)).backward()
            optimizer.step()

    def fresh():
        model = Deep()
        return model, optim.Adam(model.parameters(), lr=0.01)

    portanet.manual_seed(5)
    model, optimizer = fresh()
    run(model, optimizer, 3)
    generator = portanet.random.get_state()
    portanet.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": generator}, tmp_path / "run"
    )
    run(model, optimizer, 3)
    again, resumed = fresh()
    kept = portanet.load(tmp_path / "run")
    again.load_state_dict(kept["model"])
    resumed.load_state_dict(kept["optimizer"])
    portanet.random.set_state(kept["random"])
    run(again, resumed, 3)
    for name, value in model.state_dict().items():
        numpy.testing.assert_array_equal(again.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_jax_compiles_a_whole_step():
    jax = pytest.importorskip("jax")

    def step(w1, b1, w2, x, y):
        leaves = [portanet.Tensor(raw).requires_grad_() for raw in (w1, b1, w2)]
        hidden = portanet.tanh(F.linear(portanet.Tensor(x), leaves[0], leaves[1]))
        loss = F.cross_entropy(hidden @ leaves[2], portanet.Tensor(y))
        loss.backward()
        return [p.array - 0.1 * p.grad.array for p in leaves], loss.array

    raws = [jax.numpy.asarray(RNG.normal(size=shape)) for shape in ((8, 6), (8,), (8, 3), (24, 6))]
    arguments = (*raws, jax.numpy.asarray(Y))
    eager, compiled = step(*arguments), jax.jit(step)(*arguments)
    assert compiled[1].item() == pytest.approx(eager[1].item(), rel=1e-12)
    for a, b in zip(eager[0], compiled[0], strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.heavy
def test_a_gradient_penalty_trains(backend):
    portanet.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    x = portanet.asarray(X, dtype="float32").requires_grad_()
    penalties = []
    for _ in range(15):
        optimizer.zero_grad()
        (slope,) = autograd.grad(portanet.sum(model(x)), x, create_graph=True)
        penalty = portanet.mean(slope**2)
        penalty.backward()
        optimizer.step()
        penalties.append(penalty.item())
    assert penalties[-1] < 0.7 * penalties[0]


def test_tied_layers_share_one_parameter_and_its_gradient(backend):
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    assert len(list(model.parameters())) == 2
    x = portanet.asarray(X, dtype="float32")
    portanet.sum(model(x)).backward()
    apart = [nn.Linear(6, 6), nn.Linear(6, 6)]
    for one in apart:
        one.load_state_dict(layer.state_dict())
    portanet.sum(apart[1](portanet.tanh(apart[0](x)))).backward()
    expected = apart[0].weight.grad + apart[1].weight.grad
    numpy.testing.assert_allclose(layer.weight.grad.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_two_threads_train_on_two_libraries_at_once():
    found: dict[str, list[float]] = {}

    def train(name: str) -> None:
        with portanet.use_backend(name):
            generator = portanet.random.Generator(7)  # a generator each: a shared one would hand numbers to both
            weight = portanet.random.uniform((3, 6), -0.5, 0.5, generator=generator).requires_grad_()
            x, y = portanet.asarray(X, dtype="float32"), portanet.asarray(Y)
            optimizer = optim.SGD([weight], lr=0.2)
            found[name] = []
            for _ in range(30):
                optimizer.zero_grad()
                loss = F.cross_entropy(F.linear(x, weight), y)
                loss.backward()
                optimizer.step()
                found[name].append(loss.item())
            assert weight.backend == name

    threads = [threading.Thread(target=train, args=(name,)) for name in ("numpy", "array_api_strict")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numpy.testing.assert_allclose(found["numpy"], found["array_api_strict"], rtol=1e-5)
