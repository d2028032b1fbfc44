"""The training loop: what it learns, what it measures, when it ends, and what it says."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest

import portanet as pn
from portanet import data, metrics, nn, optim, training

RNG = numpy.random.default_rng(3)
X = RNG.uniform(-1, 1, size=(10, 2))
WEIGHTS = numpy.asarray([[2.0, -3.0]])
Y = X @ WEIGHTS.T + 1.0


def batches(batch_size: int = 4, **options: object) -> data.DataLoader:
    """Ten rows of a plane, in batches of which the last is smaller."""
    return data.DataLoader(data.TensorDataset(pn.asarray(X), pn.asarray(Y)), batch_size, **options)


def line(*, lr: float = 0.3) -> tuple[nn.Linear, optim.SGD]:
    pn.manual_seed(0)
    model = nn.Linear(2, 1)
    return model, optim.SGD(model.parameters(), lr=lr)


class Scripted(nn.Module):
    """A model whose weight is the number of steps taken, and whose validation loss is read from a script."""

    def __init__(self, script: list[float], failure: BaseException | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(pn.zeros(1))
        self.register_buffer("count", pn.zeros(()))
        self.script = script
        self.failure = failure
        self.epoch = 0

    def forward(self, x: pn.Tensor) -> pn.Tensor:
        if self.training:
            self.epoch += 1
            self.count = self.count + 1
            if self.epoch > len(self.script):
                raise self.failure or AssertionError("the training went on beyond its script")
            return pn.sum(self.weight) + 0 * x
        return 0 * x + self.script[self.epoch - 1]


def first(prediction: pn.Tensor, target: pn.Tensor) -> pn.Tensor:
    return pn.mean(prediction)


def scripted(script: list[float], *callbacks: object, failure: BaseException | None = None, epochs: int = 99):
    """Train a scripted model: each epoch is one step that takes 1 off the weight."""
    model = Scripted(script, failure)
    loader = [(pn.zeros(3), pn.zeros(3))]
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    try:
        history = training.fit(
            model, first, optimizer, loader, epochs=epochs, validation=loader, callbacks=callbacks, progress=False
        )
    except BaseException as problem:
        if problem is not failure:
            raise
        history = None
    return model, history


# ---------------------------------------------------------------------------------------------------------- learning


def test_fit_finds_the_plane(backend):
    model, optimizer = line(lr=0.5)
    history = training.fit(model, nn.MSELoss(), optimizer, batches(10), epochs=60, progress=False)
    numpy.testing.assert_allclose(model.weight.detach().numpy(), WEIGHTS, atol=2e-3)
    numpy.testing.assert_allclose(model.bias.detach().numpy(), [1.0], atol=2e-3)
    assert len(history) == 60
    assert history["loss"][-1] < 1e-5 < history["loss"][0]
    assert model.weight.backend == backend.name


@pytest.mark.heavy
def test_fit_parts_classes_that_no_line_parts(backend):
    pn.manual_seed(1)
    corners = numpy.asarray([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    points = numpy.concatenate([corners + 0.3 * RNG.uniform(-1, 1, size=(4, 2)) for _ in range(8)])
    labels = numpy.asarray([0, 1, 1, 0] * 8)
    loader = data.DataLoader(data.TensorDataset(pn.asarray(points), pn.asarray(labels)), batch_size=8, shuffle=True)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    history = training.fit(
        model,
        nn.CrossEntropyLoss(),
        optim.Adam(model.parameters(), lr=0.05),
        loader,
        epochs=20,
        validation=loader,
        metrics={"accuracy": metrics.accuracy},
        progress=False,
    )
    assert history["validation_accuracy"][-1] == 1.0
    assert history["validation_loss"][-1] < 0.1
    assert history["loss"][0] > 0.4


# ---------------------------------------------------------------------------------------------------------- figures


def test_the_loss_is_the_mean_over_rows_not_over_batches(backend):
    model, optimizer = line(lr=0.0)  # nothing moves, so the mean over the epoch is that over the set
    weight, bias = model.weight.detach().numpy(), model.bias.detach().numpy()
    errors = (X @ weight.T + bias - Y) ** 2
    history = training.fit(model, nn.MSELoss(), optimizer, batches(4), epochs=2, validation=batches(3), progress=False)
    of_batches = numpy.mean([errors[:4].mean(), errors[4:8].mean(), errors[8:].mean()])
    assert abs(of_batches - errors.mean()) > 1e-3  # the two can be told apart
    assert history["loss"] == pytest.approx([errors.mean()] * 2, rel=1e-5)
    assert history["validation_loss"] == pytest.approx([errors.mean()] * 2, rel=1e-5)
    assert set(history[0]) == {"loss", "seconds", "validation_loss"}
    assert all(seconds > 0 for seconds in history["seconds"])


def test_the_loss_of_an_epoch_is_what_each_batch_had_before_its_step():
    model, optimizer = line(lr=0.1)
    weight, bias = model.weight.detach().numpy().astype(float), model.bias.detach().numpy().astype(float)
    total = 0.0
    for start, stop in [(0, 4), (4, 8), (8, 10)]:
        x, error = X[start:stop], X[start:stop] @ weight.T + bias - Y[start:stop]
        total += float((error**2).sum())
        weight, bias = weight - 0.1 * 2 * (error.T @ x) / len(x), bias - 0.1 * 2 * error.mean()
    history = training.fit(model, nn.MSELoss(), optimizer, batches(4), epochs=1, progress=False)
    assert history["loss"] == pytest.approx([total / 10], rel=1e-5)
    numpy.testing.assert_allclose(model.weight.detach().numpy(), weight, rtol=1e-5)


def test_metrics_see_the_whole_validation_set_at_once(backend):
    model, optimizer = line(lr=0.1)
    seen = []

    def r2(prediction, target):
        seen.append((prediction.shape, target.shape, prediction.requires_grad))
        return metrics.r2_score(prediction, target)

    history = training.fit(
        model, nn.MSELoss(), optimizer, batches(4), epochs=1, validation=batches(4), metrics={"r2": r2}, progress=False
    )
    prediction = model(pn.asarray(X, dtype=pn.float32)).detach()
    target = pn.asarray(Y, dtype=pn.float32)
    whole = metrics.r2_score(prediction, target)
    parts = [metrics.r2_score(prediction[a:b, :], target[a:b, :]) for a, b in [(0, 4), (4, 8), (8, 10)]]
    assert abs(sum(parts) / 3 - whole) > 1e-2
    assert history["validation_r2"] == pytest.approx([whole], rel=1e-5)
    assert seen == [((10, 1), (10, 1), False)]


def test_metrics_without_validation_are_those_of_the_training_batches():
    model, optimizer = line(lr=0.0)
    expected = metrics.mean_absolute_error(
        model(pn.asarray(X, dtype=pn.float32)).detach(), pn.asarray(Y, dtype="float32")
    )
    history = training.fit(
        model,
        nn.MSELoss(),
        optimizer,
        batches(4),
        epochs=1,
        metrics={"mae": metrics.mean_absolute_error},
        progress=False,
    )
    assert history["mae"] == pytest.approx([expected], rel=1e-6)


def test_history_names_what_was_measured():
    history = training.History([{"loss": 2.0, "seconds": 0.5}, {"loss": 1.0, "seconds": 0.5}])
    assert history[-1]["loss"] == 1.0
    assert history["loss"] == [2.0, 1.0]
    with pytest.raises(KeyError, match="'accuracy' was not measured; measured were loss, seconds"):
        history["accuracy"]


def test_no_epochs_measure_nothing_and_change_nothing():
    model, optimizer = line()
    before = model.weight.tolist()
    assert training.fit(model, nn.MSELoss(), optimizer, batches(), epochs=0, progress=False) == []
    assert model.weight.tolist() == before


# ------------------------------------------------------------------------------------------------------------- modes


def test_training_is_in_train_mode_and_validation_in_eval_mode_without_a_tape():
    seen = []

    class Watching(nn.Linear):
        def forward(self, input):
            seen.append((self.training, pn.autograd.is_grad_enabled()))
            return super().forward(input)

    model = Watching(2, 1).eval()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    training.fit(model, nn.MSELoss(), optimizer, batches(4), epochs=2, validation=batches(5), progress=False)
    assert seen == ([(True, True)] * 3 + [(False, False)] * 2) * 2
    assert model.training


@pytest.mark.parametrize("mode", [True, False])
def test_evaluate_gives_every_module_its_mode_back(mode):
    model = nn.Sequential(nn.Linear(2, 1), nn.Sequential(nn.Dropout(0.5))).train(mode)
    model[1][0].train(not mode)
    before = [module.training for module in model.modules()]
    training.evaluate(model, nn.MSELoss(), batches())
    assert [module.training for module in model.modules()] == before

    def failing(prediction, target):
        raise ArithmeticError("no loss")

    with pytest.raises(ArithmeticError, match="no loss"):
        training.evaluate(model, failing, batches())
    assert [module.training for module in model.modules()] == before
    assert pn.autograd.is_grad_enabled()


def test_evaluate_changes_neither_buffers_nor_gradients(backend):
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5), nn.Linear(2, 1))
    before = {name: value.tolist() for name, value in model.state_dict().items()}
    first_time = training.evaluate(model, nn.MSELoss(), batches())
    assert {name: value.tolist() for name, value in model.state_dict().items()} == before
    assert all(p.grad is None for p in model.parameters())
    assert training.evaluate(model, nn.MSELoss(), batches()) == first_time  # dropout is off


def test_a_model_may_be_any_callable_with_train_and_eval():
    calls = []

    class Plain:
        weight = nn.Parameter(pn.zeros((1, 2)))

        def train(self):
            calls.append("train")

        def eval(self):
            calls.append("eval")

        def __call__(self, x):
            return x @ self.weight.T

    model = Plain()
    optimizer = optim.SGD([model.weight], lr=0.1)
    history = training.fit(model, nn.MSELoss(), optimizer, batches(), epochs=1, validation=batches(), progress=False)
    assert calls == ["train", "eval", "train"]
    assert history["validation_loss"][0] < history["loss"][0]


# --------------------------------------------------------------------------------------------------------- callbacks


@pytest.mark.parametrize(
    ("script", "options", "epochs"),
    [
        ([5, 4, 3, 3, 3, 3], {"patience": 2}, 5),
        ([5, 4, 4, 3, 3, 3], {"patience": 2}, 6),  # a gain starts the count again
        ([5, 6], {"patience": 1}, 2),
        ([5, 4.95, 4.9, 4.4, 4.35], {"patience": 2, "min_delta": 0.2}, 3),
        ([1, 2, 3, 2, 2], {"patience": 2, "mode": "max"}, 5),
        ([math.nan, math.nan], {"patience": 2}, 2),
        ([2, math.nan, math.nan], {"patience": 2}, 3),
    ],
)
def test_early_stopping_ends_after_the_right_epoch(script, options, epochs):
    model, history = scripted(script, training.EarlyStopping(**options))
    assert len(history) == model.epoch == epochs


@pytest.mark.parametrize(
    ("script", "mode", "best"),
    [([3, 1, 2, 4], "min", 2), ([3, 1, 1, 1], "min", 2), ([3, 1, 2, 4], "max", 4), ([math.nan, 2, 3], "min", 2)],
)
def test_best_weights_come_back(script, mode, best, backend):
    keeper = training.BestWeights(mode=mode)
    model, history = scripted(script, keeper, epochs=len(script))
    assert len(history) == len(script)
    assert keeper.epoch == best
    assert model.weight.tolist() == [-best]  # each step took 1 off
    assert model.count.tolist() == best  # buffers too
    assert model.weight.requires_grad and model.weight.is_leaf


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ArithmeticError("the fourth step fails")], ids=repr)
def test_best_weights_come_back_after_an_interruption(failure):
    keeper = training.BestWeights()
    model, history = scripted([3, 1, 2], keeper, training.EarlyStopping(patience=3), failure=failure)
    assert history is None  # the exception came through
    assert keeper.epoch == 2
    assert model.weight.tolist() == [-2]


def test_an_interruption_in_the_first_epoch_leaves_the_weights():
    model, history = scripted([], training.BestWeights(), failure=KeyboardInterrupt())
    assert history is None
    assert model.weight.tolist() == [0]


def test_an_interruption_closes_the_bar_and_names_no_other_error(capsys):
    model = Scripted([1.0], KeyboardInterrupt())
    loader = [(pn.zeros(3), pn.zeros(3))]
    with pytest.raises(KeyboardInterrupt):
        training.fit(
            model, first, optim.SGD(model.parameters()), loader, epochs=3, validation=loader,
            callbacks=[training.BestWeights()],
        )  # fmt: skip
    assert "1/3" in capsys.readouterr().err


def test_best_weights_of_nothing_but_nan_are_the_last():
    keeper = training.BestWeights()
    model, _ = scripted([math.nan, math.nan], keeper, epochs=2)
    assert keeper.epoch is None
    assert model.weight.tolist() == [-2]


def test_callbacks_begin_anew_with_each_training():
    keeper, stopper = training.BestWeights(), training.EarlyStopping(patience=2)
    scripted([1, 2, 3], keeper, stopper)
    model, history = scripted([30, 20, 25, 26], keeper, stopper)
    assert len(history) == 4
    assert keeper.epoch == 2
    assert model.weight.tolist() == [-2]


def test_best_weights_are_copies():
    keeper = training.BestWeights(monitor="loss")
    model, optimizer = line()
    kept = []

    def spoil(progress):
        kept.append(progress.model.weight.tolist())
        with pn.no_grad():
            progress.model.weight[...] = 100.0
        progress.stop = True

    training.fit(model, nn.MSELoss(), optimizer, batches(), epochs=9, callbacks=[keeper, spoil], progress=False)
    assert [model.weight.tolist()] == kept


def test_any_function_is_a_callback():
    seen = []

    def note(progress):
        progress.at_the_end(end)
        seen.append((progress.epoch, sorted(progress.measured), len(progress.history), progress.model is model))
        progress.stop = progress.epoch == 2

    def end():
        seen.append("end")

    model, optimizer = line()
    training.fit(model, nn.MSELoss(), optimizer, batches(), epochs=9, callbacks=[note], progress=False)
    assert seen == [(1, ["loss", "seconds"], 1, True), (2, ["loss", "seconds"], 2, True), "end"]


# -------------------------------------------------------------------------------------------------------- schedulers


def test_a_scheduler_steps_once_an_epoch():
    model, optimizer = line(lr=0.4)
    rates = []
    training.fit(
        model,
        nn.MSELoss(),
        optimizer,
        batches(),
        epochs=3,
        scheduler=optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5),
        callbacks=[lambda progress: rates.append(progress.optimizer.param_groups[0]["lr"])],
        progress=False,
    )
    assert rates == [0.2, 0.1, 0.05]


def test_a_plateau_scheduler_is_given_the_validation_loss():
    model = Scripted([3, 2, 2, 2, 1])
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    loader = [(pn.zeros(3), pn.zeros(3))]
    rates = []
    # The training loss falls all the time, so only the validation loss can have lowered the rate.
    history = training.fit(
        model, first, optimizer, loader, epochs=5, validation=loader, scheduler=scheduler, progress=False,
        callbacks=[lambda progress: rates.append(optimizer.param_groups[0]["lr"])],
    )  # fmt: skip
    assert history["loss"] == sorted(history["loss"], reverse=True)
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5]
    assert scheduler.best == 1


def test_a_plateau_scheduler_without_validation_is_given_the_loss():
    model, optimizer = line()
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    history = training.fit(model, nn.MSELoss(), optimizer, batches(), epochs=2, scheduler=scheduler, progress=False)
    assert scheduler.best == min(history["loss"])


# ------------------------------------------------------------------------------------------------------ progress bar


def test_the_bar_goes_to_stderr(capsys):
    model, optimizer = line()
    training.fit(model, nn.MSELoss(), optimizer, batches(4), epochs=2, validation=batches(4))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "6/6" in printed.err
    assert "epoch 2: loss " in printed.err and "validation_loss " in printed.err
    assert "seconds" not in printed.err


def test_the_bar_takes_loaders_without_a_length(capsys):
    class Endless:
        def __iter__(self):
            return itertools.islice(itertools.cycle([(pn.asarray(X[:2]), pn.asarray(Y[:2]))]), 5)

    model = nn.Linear(2, 1, dtype=pn.float64)
    training.fit(model, nn.MSELoss(), optim.SGD(model.parameters()), Endless(), epochs=1)
    assert "5step" in capsys.readouterr().err


def test_the_bar_can_be_off(capsys):
    model, optimizer = line()
    training.fit(model, nn.MSELoss(), optimizer, batches(), epochs=1, progress=False)
    assert capsys.readouterr() == ("", "")


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, of the overflow that is wanted here
def test_a_loss_that_is_no_longer_finite_is_an_error():
    model, optimizer = line(lr=1e30)
    with pytest.raises(FloatingPointError, match=r"the loss became (nan|inf): try a smaller learning rate"):
        training.fit(model, nn.MSELoss(), optimizer, batches(), epochs=5, progress=False)


def test_a_nan_among_the_inputs_is_an_error_after_its_epoch(backend):
    model, optimizer = line()
    x = numpy.array(X)
    x[3, 0] = math.nan
    loader = data.DataLoader(data.TensorDataset(pn.asarray(x), pn.asarray(Y)), batch_size=4)
    with pytest.raises(FloatingPointError, match="the loss became nan"):
        training.fit(model, nn.MSELoss(), optimizer, loader, epochs=1, progress=False)


def test_a_loader_without_batches_is_an_error():
    model, optimizer = line()
    with pytest.raises(ValueError, match="the training loader gave no batch; check that the data set is not empty"):
        training.fit(model, nn.MSELoss(), optimizer, [], epochs=1, progress=False)
    with pytest.raises(ValueError, match="the loader gave no batch"):
        training.evaluate(model, nn.MSELoss(), [])
    once = iter(list(batches()))
    with pytest.raises(ValueError, match="a generator cannot"):
        training.fit(model, nn.MSELoss(), optimizer, once, epochs=2, progress=False)


@pytest.mark.parametrize("callback", [training.EarlyStopping, training.BestWeights])
def test_a_figure_that_is_not_measured_is_an_error(callback):
    model, optimizer = line()
    expected = rf"{callback.__name__}\(monitor='validation_loss'\): not measured; measured are loss, seconds"
    with pytest.raises(KeyError, match=expected):
        training.fit(model, nn.MSELoss(), optimizer, batches(), epochs=3, callbacks=[callback()], progress=False)


def test_arguments_that_make_no_sense_are_errors():
    model, optimizer = line()
    with pytest.raises(ValueError, match="epochs=-1: expected 0 or more"):
        training.fit(model, nn.MSELoss(), optimizer, batches(), epochs=-1)
    with pytest.raises(ValueError, match="mode='best': expected 'min'"):
        training.BestWeights(mode="best")
    with pytest.raises(ValueError, match="patience=0: expected 1 or more"):
        training.EarlyStopping(patience=0)


def test_a_compiled_training_measures_the_same():
    """Batches of two lengths, dropout, a schedule and metrics: to the last bit on NumPy."""

    def history(compile: bool) -> list[dict[str, float]]:
        with pn.use_backend("numpy"):
            pn.manual_seed(4)
            x, y = pn.random.normal((50, 3)), pn.random.randint(0, 4, (50,))
            model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 4))
            optimizer = optim.Adam(model.parameters(), lr=0.02)
            loader = data.DataLoader(data.TensorDataset(x, y), batch_size=16, shuffle=True)
            found = training.fit(
                model,
                nn.CrossEntropyLoss(),
                optimizer,
                loader,
                epochs=4,
                metrics={"mean": lambda prediction, target: pn.mean(prediction).item()},
                scheduler=optim.lr_scheduler.ExponentialLR(optimizer, 0.8),
                compile=compile,
                progress=False,
            )
            return [{name: value for name, value in one.items() if name != "seconds"} for one in found]

    assert history(True) == history(False)
