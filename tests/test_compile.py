"""`portanet.compile` on NumPy: a compiled step is the eager step, bit by bit, for many kinds of networks and steps."""

from __future__ import annotations

import functools

import pytest

import portanet
from portanet import nn, optim
from tests.stepping import F, batches, classes, labelled, normal, perceptron, prove, trained, world

STEPS = 6

OTHERS = ("GLU", "LogSoftmax", "Softmax", "Softmax2d", "Softmin")  # which work along an axis
ACTIVATIONS = [name for name in nn.modules.activation.__all__ if name not in OTHERS]


@pytest.fixture(autouse=True)
def _on_numpy():
    with portanet.use_backend("numpy"):
        yield


# ---------------------------------------------------------------------------------------------------------------------
# Networks


@pytest.mark.parametrize("name", [*ACTIVATIONS, "Rational"])
def test_activations(name):
    def make():
        model = perceptron(5, 8, 7, 3, activation=getattr(nn, name))
        return trained(model, optim.SGD(model.parameters(), lr=0.1))

    prove(make, batches(STEPS))


@pytest.mark.parametrize("approximate", ("none", "tanh"))
def test_gelu_of_either_kind(approximate):
    def make():
        model = perceptron(5, 8, 3, activation=functools.partial(nn.GELU, approximate))
        return trained(model, optim.SGD(model.parameters(), lr=0.1))

    prove(make, batches(STEPS))


LOSSES = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "huber": F.huber_loss,
    "smooth l1": F.smooth_l1_loss,
    "sum": functools.partial(F.mse_loss, reduction="sum"),
    "of each": lambda x, y: portanet.sum(F.mse_loss(x, y, reduction="none") * 0.5),
    "kl": lambda x, y: F.kl_div(F.log_softmax(x, 1), F.softmax(y, 1), reduction="batchmean"),
    "bce": lambda x, y: F.binary_cross_entropy(F.sigmoid(x), F.sigmoid(y)),
    "bce with logits": lambda x, y: F.binary_cross_entropy_with_logits(x, F.sigmoid(y)),
    "cross entropy of probabilities": lambda x, y: F.cross_entropy(x, F.softmax(y, 1)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    def make():
        model = perceptron(5, 8, 3)
        return trained(model, optim.SGD(model.parameters(), lr=0.1), LOSSES[name])

    prove(make, batches(STEPS))


OF_CLASSES = {
    "cross entropy": F.cross_entropy,
    "summed": functools.partial(F.cross_entropy, reduction="sum"),
    "smoothed": functools.partial(F.cross_entropy, label_smoothing=0.1),
    "one class ignored": functools.partial(F.cross_entropy, ignore_index=2),
    "nll": lambda x, y: F.nll_loss(F.log_softmax(x, 1), y),
}


@pytest.mark.parametrize("name", OF_CLASSES)
def test_losses_of_classes(name):
    def make():
        model = perceptron(5, 8, 4, activation=nn.ReLU)
        return trained(model, optim.SGD(model.parameters(), lr=0.1), OF_CLASSES[name])

    prove(make, labelled(STEPS, 6, 5))


def test_weights_of_classes():
    def make():
        model = perceptron(5, 8, 4)
        weight = portanet.asarray([1.0, 2.0, 0.5, 1.0])
        return trained(model, optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss(weight))

    prove(make, labelled(STEPS, 6, 5))


class Residual(nn.Module):
    def __init__(self, *inner):
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x):
        return x + self.inner(x)


class Tied(nn.Module):
    """A language model in small: the table of vectors is the last linear map too."""

    def __init__(self, count, width):
        super().__init__()
        self.table = nn.Embedding(count, width)
        self.hidden = nn.Linear(width, width)
        self.last = nn.Linear(width, count, bias=False)
        self.last.weight = self.table.weight

    def forward(self, x):
        return portanet.permute_dims(self.last(F.tanh(self.hidden(self.table(x)))), (0, 2, 1))


class Remembering(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.lstm = nn.LSTM(5, 6, batch_first=True, **options)
        self.last = nn.Linear(6 * (1 + bool(options.get("bidirectional"))), 4)

    def forward(self, x):
        y, _ = self.lstm(x)
        return self.last(y[:, -1, :])


def _sequence(count, vocabulary=9):
    return [(classes(i, vocabulary, 3, 6), classes(i + 50, vocabulary, 3, 6)) for i in range(count)]


def _images(*layers):
    return lambda: nn.Sequential(*[layer() for layer in layers])


NETWORKS = {
    "batch norm": (lambda: nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)), (6, 5)),
    "batch norm, plain averages": (
        lambda: nn.Sequential(nn.BatchNorm1d(5, affine=False, track_running_stats=False), nn.Linear(5, 4)), (6, 5),
    ),
    "layer norm": (lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 4)), (6, 5)),
    "dropout": (lambda: nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 4)), (6, 5)),
    "residuals": (
        lambda: nn.Sequential(
            Residual(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 5)), Residual(nn.Tanh()), nn.Linear(5, 4)
        ), (6, 5),
    ),
    "three axes": (
        lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Flatten(), nn.Linear(24, 4)), (6, 3, 5),
    ),
    "images": (
        _images(
            functools.partial(nn.Conv2d, 2, 5, 3, padding=1), functools.partial(nn.BatchNorm2d, 5), nn.ReLU,
            functools.partial(nn.MaxPool2d, 2), functools.partial(nn.Conv2d, 5, 6, 3, stride=2, bias=False), nn.ReLU,
            functools.partial(nn.AvgPool2d, 2, stride=1), nn.Flatten, functools.partial(nn.Linear, 6, 4),
        ), (3, 2, 12, 12),
    ),
    "signals": (
        _images(
            functools.partial(nn.Conv1d, 2, 4, 3, dilation=2), nn.ReLU, functools.partial(nn.MaxPool1d, 2), nn.Flatten,
            functools.partial(nn.Linear, 16, 4),
        ), (3, 2, 12),
    ),
    "groups of channels": (
        _images(
            functools.partial(nn.Conv2d, 4, 8, 3, groups=2), nn.ReLU, functools.partial(nn.AdaptiveAvgPool2d, 1),
            nn.Flatten, functools.partial(nn.Linear, 8, 4),
        ), (3, 4, 6, 6),
    ),
    "recurrent": (Remembering, (3, 7, 5)),
    "recurrent, two layers, both ways, dropout": (
        functools.partial(Remembering, num_layers=2, bidirectional=True, dropout=0.2), (3, 7, 5),
    ),
    "transformer": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True), nn.Flatten(), nn.Linear(40, 4)
        ), (3, 5, 8),
    ),
    "transformer, norm first, gelu": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0, activation="gelu", batch_first=True, norm_first=True),
            nn.Flatten(), nn.Linear(40, 4),
        ), (3, 5, 8),
    ),
}  # fmt: skip


# Results above 32 KB are not kept at a fixed place: they are other memory in each replay.
LARGE = {
    "perceptron": (lambda: perceptron(200, 128, 100, 4, activation=nn.GELU), (128, 200)),
    "LeNet": (
        _images(
            functools.partial(nn.Conv2d, 1, 6, 5), nn.Tanh, functools.partial(nn.MaxPool2d, 2),
            functools.partial(nn.Conv2d, 6, 16, 5), functools.partial(nn.BatchNorm2d, 16), nn.ReLU,
            functools.partial(nn.MaxPool2d, 2), nn.Flatten, functools.partial(nn.Linear, 256, 4),
        ), (32, 1, 28, 28),
    ),
    "recurrent": (functools.partial(Remembering, num_layers=2), (32, 60, 5)),
    "transformer": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, activation="gelu", batch_first=True),
            nn.Flatten(), nn.Linear(640, 4),
        ), (16, 20, 32),
    ),
}  # fmt: skip


@pytest.mark.parametrize("zero", ("before", "never"))
@pytest.mark.parametrize("name", LARGE)
def test_large_networks(name, zero):
    network, shape = LARGE[name]

    def make():
        model = network()
        optimizer = optim.Adam(model.parameters(), lr=0.01)

        def step(x, y):
            if zero == "before":
                optimizer.zero_grad()
            scores = model(x)
            loss = F.cross_entropy(scores, y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return loss, scores

        return world(step, model, optimizer)

    prove(make, labelled(4, *shape))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    network, shape = NETWORKS[name]

    def make():
        model = network()
        return trained(model, optim.Adam(model.parameters(), lr=0.01), F.cross_entropy)

    prove(make, labelled(STEPS, *shape))


def test_tied_weights_and_an_embedding():
    def make():
        model = Tied(9, 5)
        return trained(model, optim.Adam(model.parameters(), lr=0.01), F.cross_entropy)

    prove(make, _sequence(STEPS))


def test_weights_of_float64():
    def make():
        model = perceptron(5, 8, 3, dtype=portanet.float64)
        return trained(model, optim.AdamW(model.parameters(), lr=0.01))

    prove(make, batches(STEPS, dtype="float64"))


def test_weights_of_float16():
    def make():
        model = perceptron(5, 8, 3, dtype=portanet.float16)
        return trained(model, optim.SGD(model.parameters(), lr=0.1, momentum=0.5))

    prove(make, batches(STEPS, dtype="float16"))


def test_weights_of_two_dtypes():
    def make():
        first, second = perceptron(5, 8, dtype=portanet.float64), perceptron(8, 3)
        optimizer = optim.Adam([*first.parameters(), *second.parameters()], lr=0.01)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.mse_loss(second(portanet.astype(F.tanh(first(x)), portanet.float32)), y)
            loss.backward()
            optimizer.step()
            return loss

        return world(step, first, second, optimizer)

    prove(make, [(normal(i, 6, 5, dtype="float64"), normal(i + 9, 6, 3)) for i in range(STEPS)])


# ---------------------------------------------------------------------------------------------------------------------
# Optimizers

OPTIMIZERS = {
    "SGD": (optim.SGD, {"lr": 0.1}),
    "SGD, weight decay": (optim.SGD, {"lr": 0.1, "weight_decay": 0.01}),
    "SGD, uphill": (optim.SGD, {"lr": 0.001, "maximize": True}),
    "momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "momentum, dampening, decay": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    "nesterov": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "Adam": (optim.Adam, {"lr": 0.01}),
    "Adam, weight decay": (optim.Adam, {"lr": 0.01, "weight_decay": 0.01}),
    "amsgrad": (optim.Adam, {"lr": 0.01, "amsgrad": True}),
    "AdamW": (optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "AdamW, amsgrad": (optim.AdamW, {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True, "maximize": True}),
    "RMSprop": (optim.RMSprop, {"lr": 0.01}),
    "RMSprop, all of it": (
        optim.RMSprop, {"lr": 0.01, "momentum": 0.9, "centered": True, "weight_decay": 0.01},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    kind, options = OPTIMIZERS[name]

    def make():
        model = perceptron(5, 8, 7, 3)
        return trained(model, kind(model.parameters(), **options))

    prove(make, batches(STEPS + 4))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_two_groups_of_an_optimizer(name):
    kind, options = OPTIMIZERS[name]

    def make():
        model = perceptron(5, 8, 7, 3)
        groups = [{"params": model[0].parameters(), "lr": 0.02}, {"params": model[2].parameters(), "weight_decay": 0.1}]
        return trained(model, kind([*groups, {"params": model[4].parameters()}], **options))

    prove(make, batches(STEPS))


def test_two_optimizers():
    def make():
        model = perceptron(5, 8, 3)
        first, second = optim.SGD(model[0].parameters(), lr=0.1), optim.Adam(model[2].parameters(), lr=0.01)

        def step(x, y):
            first.zero_grad()
            second.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            second.step()
            first.step()
            return loss

        return world(step, model, first, second)

    prove(make, batches(STEPS))


def test_two_optimizers_in_turn_over_two_networks():
    """As adversaries are trained: the second loss is computed from what the first step made."""

    def make():
        maker, judge = perceptron(4, 8, 5), perceptron(5, 8, 1)
        of_maker, of_judge = optim.Adam(maker.parameters(), lr=0.01), optim.SGD(judge.parameters(), lr=0.1)

        def step(noise, real):
            of_judge.zero_grad()
            loss = portanet.mean(F.softplus(judge(maker(noise).detach())) + F.softplus(-judge(real)))
            loss.backward()
            of_judge.step()
            of_maker.zero_grad()
            other = portanet.mean(F.softplus(-judge(maker(noise))))
            other.backward()
            of_maker.step()
            return loss, other

        return world(step, maker, judge, of_maker, of_judge)

    prove(make, [(normal(i, 6, 4), normal(i + 40, 6, 5)) for i in range(STEPS)])


def test_an_optimizer_that_steps_twice():
    def make():
        model = perceptron(5, 8, 3)
        optimizer = optim.Adam(model.parameters(), lr=0.01)

        def step(x, y):
            losses = []
            for half in (slice(0, 3), slice(3, 6)):
                optimizer.zero_grad()
                loss = F.mse_loss(model(x[half, :]), y[half, :])
                loss.backward()
                optimizer.step()
                losses.append(loss)
            return losses

        return world(step, model, optimizer)

    prove(make, batches(STEPS))
