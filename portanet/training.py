"""The training loop with its progress bar, and what may be hung on it: metrics, early stopping, the best weights."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

from portanet import amp, compiled
from portanet.autograd import no_grad
from portanet.library import namespace_of
from portanet.nn.module import Module
from portanet.tensor import Tensor

__all__ = ["BestWeights", "EarlyStopping", "History", "Progress", "evaluate", "fit"]

Metric = Callable[[Tensor, Tensor], Any]


class History(list[dict[str, float]]):
    """What `fit` measured: one dictionary for each epoch, in order.

    ``history["loss"]`` is the list of one figure over the epochs, ready to be drawn.

    >>> import portanet
    >>> portanet.training.History([{"loss": 2.0}, {"loss": 1.0}])["loss"]
    [2.0, 1.0]
    """

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if self and key not in super().__getitem__(0):
                raise KeyError(f"{key!r} was not measured; measured were {', '.join(super().__getitem__(0))}.")
            return [epoch[key] for epoch in self]
        return super().__getitem__(key)


@dataclass
class Progress:
    """What a callback is shown at the end of an epoch. Setting ``stop`` ends the training."""

    model: Any
    optimizer: Any
    epoch: int
    measured: dict[str, float]
    history: History
    stop: bool = False
    _finally: list[Callable[[], None]] = field(default_factory=list)

    def at_the_end(self, action: Callable[[], None]) -> None:
        """Have ``action()`` called once, when training has ended."""
        if action not in self._finally:
            self._finally.append(action)


class _Watch:
    """Follows one figure over the epochs of a training, anew for each training, and knows whether it got better."""

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode={mode!r}: expected 'min' (losses) or 'max' (accuracies).")
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.begin()

    def begin(self) -> None:
        """Forget what an earlier training measured, which was perhaps another model's."""
        self.best = math.inf if self.mode == "min" else -math.inf

    def improved(self, progress: Progress) -> bool:
        if progress.epoch == 1:
            self.begin()
        if self.monitor not in progress.measured:
            raise KeyError(
                f"{type(self).__name__}(monitor={self.monitor!r}): not measured; measured are "
                f"{', '.join(progress.measured)}. Pass validation= to fit for the validation figures."
            )
        value = progress.measured[self.monitor]
        gain = self.best - value if self.mode == "min" else value - self.best
        if gain > self.min_delta:
            self.best = value
            return True
        return False


class EarlyStopping(_Watch):
    """A callback that ends the training when a figure has not got better for ``patience`` epochs.

    Args:
        monitor: the figure's name in the history.
        patience: the training ends with the epoch that is the ``patience``-th in a row without a gain; at least 1.
        min_delta: a change must exceed it to count as a gain.
        mode: ``"min"`` or ``"max"``: which way is better.

    A figure that is nan is no gain.

    Raises:
        ValueError: ``patience`` is below 1, or the mode is not known.

    >>> import portanet
    >>> portanet.training.EarlyStopping(patience=3).patience
    3
    """

    def __init__(
        self, monitor: str = "validation_loss", patience: int = 5, min_delta: float = 0.0, mode: str = "min"
    ) -> None:
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience={patience}: expected 1 or more epochs.")
        self.patience = patience
        super().__init__(monitor, mode, min_delta)

    def begin(self) -> None:
        super().begin()
        self.waited = 0

    def __call__(self, progress: Progress) -> None:
        self.waited = 0 if self.improved(progress) else self.waited + 1
        if self.waited >= self.patience:
            progress.stop = True


class BestWeights(_Watch):
    """A callback that keeps the weights of the epoch in which a figure was best, and puts them back at the end.

    The end is also an exception or an interruption. ``epoch`` is the best one, counted from 1; None, and the weights are
    left as they are, where the figure was nan in every epoch. Buffers (running averages) belong to the weights.

    >>> import portanet
    >>> portanet.training.BestWeights(monitor="validation_accuracy", mode="max").epoch is None
    True
    """

    def __init__(self, monitor: str = "validation_loss", mode: str = "min") -> None:
        super().__init__(monitor, mode, 0.0)

    def begin(self) -> None:
        super().begin()
        self.epoch: int | None = None
        self._kept: dict[str, Tensor] = {}

    def _restore(self, model: Any) -> None:
        if self.epoch is not None:
            model.load_state_dict(self._kept)

    def __call__(self, progress: Progress) -> None:
        if self.improved(progress):
            self.epoch = progress.epoch
            # A copy: the next epoch may write into the arrays of this one.
            self._kept = {name: namespace_of(value).copy(value) for name, value in progress.model.state_dict().items()}
        model = progress.model
        if progress.epoch == 1:
            progress.at_the_end(lambda: self._restore(model))


def fit(
    model: Any,
    loss: Callable[[Any, Any], Tensor],
    optimizer: Any,
    loader: Iterable[Any],
    *,
    epochs: int,
    validation: Iterable[Any] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    callbacks: Sequence[Callable[[Progress], None]] = (),
    scheduler: Any = None,
    compile: bool = False,
    autocast: Any = None,
    scaler: Any = None,
    progress: bool = True,
) -> History:
    """Train ``model`` by gradient descent: zero_grad, forward, loss, backward, step, for each batch of each epoch.

    Args:
        model: a Module, or any callable with ``train()`` and ``eval()``.
        loss: ``loss(prediction, target)``, the mean over a batch.
        optimizer: steps the model's parameters.
        loader: gives batches ``(input, target)``, anew for each epoch.
        epochs: how often to go through the data.
        validation: a loader to measure ``validation_loss`` and the metrics on, after each epoch, in eval mode.
        metrics: name -> function of all predictions and all targets of the validation set (of the training batches
            where there is no validation set, computed on what the model said while it learned).
        callbacks: called with a `Progress` after each epoch: `EarlyStopping`, `BestWeights`, or any function.
        scheduler: a learning-rate scheduler, stepped after each epoch (with the validation loss if it wants one).
        compile: record the step once and replay it, by `portanet.compile`: the same figures in less time, where
            batches keep their shape. ``model`` must be a Module.
        autocast: ``"float16"`` or ``"bfloat16"``: model and loss run in a block of `portanet.autocast` with this dtype, those
            of the validation too.
        scaler: a `portanet.amp.GradScaler`, which float16 needs: it scales the loss, and leaves out steps that overflow.
        progress: show a progress bar.

    Returns:
        the `History`: ``loss`` (the mean over the epoch's batches), ``seconds``, and what was asked for besides.

    The loss is read from the device once an epoch, and for the bar at most twice a second: never once a step.

    Raises:
        ValueError: the loader gave no batch, or ``epochs`` is negative.
        FloatingPointError: the loss is no longer finite; the model keeps its last weights.

    >>> import portanet
    >>> from portanet import nn, optim, data
    >>> generator = portanet.manual_seed(0)
    >>> x = portanet.linspace(-1.0, 1.0, 32)[:, None]
    >>> model = nn.Linear(1, 1)
    >>> batches = data.DataLoader(data.TensorDataset(x, 2 * x + 1), batch_size=8, shuffle=True)
    >>> history = portanet.training.fit(
    ...     model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.5), batches, epochs=20, progress=False)
    >>> history["loss"][-1] < 1e-3
    True
    """
    if epochs < 0:
        raise ValueError(f"epochs={epochs}: expected 0 or more.")
    block = contextlib.nullcontext() if autocast is None else amp.autocast(dtype=autocast)
    scaler = amp.GradScaler(enabled=False) if scaler is None else scaler
    step = _step_of(model, loss, optimizer, bool(metrics) and validation is None, block, scaler)
    if compile:
        state = (model, optimizer, scaler, loss) if isinstance(loss, Module) else (model, optimizer, scaler)
        step = compiled.compile(step, state=state)
    history = History()
    shown: Progress | None = None
    bar = _Bar(loader, epochs, progress)
    try:
        for epoch in range(1, epochs + 1):
            measured = _train_epoch(model, step, loader, metrics if validation is None else None, bar)
            if validation is not None:
                with block:
                    found = evaluate(model, loss, validation, metrics=metrics)
                measured |= {f"validation_{name}": value for name, value in found.items()}
            history.append(measured)
            bar.epoch(epoch, measured)
            _step_scheduler(scheduler, measured)
            before = shown
            shown = Progress(model, optimizer, epoch, measured, history)
            shown._finally = before._finally if before is not None else []
            for callback in callbacks:
                callback(shown)
            if shown.stop:
                break
    finally:
        bar.close()
        for action in shown._finally if shown is not None else []:
            action()
    return history


def _step_of(
    model: Any, loss: Any, optimizer: Any, wants_prediction: bool, block: Any, scaler: Any
) -> Callable[[Any, Any], Any]:
    """One step of gradient descent: a function of input and target that returns the loss, and the prediction if wanted."""

    def step(x: Any, target: Any) -> tuple[Tensor, Tensor | None]:
        optimizer.zero_grad()
        with block:
            prediction = model(x)
            value = loss(prediction, target)
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        return value.detach(), prediction.detach() if wants_prediction else None

    return step


def _train_epoch(
    model: Any, step: Any, loader: Iterable[Any], metrics: Mapping[str, Metric] | None, bar: _Bar
) -> dict[str, float]:
    start = time.perf_counter()
    mean = _Mean()
    predictions: list[Tensor] = []
    targets: list[Tensor] = []
    model.train()
    for x, target in loader:
        value, prediction = step(x, target)
        mean.add(value, len(target))
        if metrics:
            predictions.append(prediction)
            targets.append(target)
        bar.step(mean)
    measured = {"loss": mean.value("the training loader")}
    if not math.isfinite(measured["loss"]):
        raise FloatingPointError(
            f"the loss became {measured['loss']}: try a smaller learning rate, check the inputs for nan and infinity, "
            "or clip the gradients (nn.utils.clip_grad_norm_)."
        )
    measured |= _metrics(metrics, predictions, targets)
    return measured | {"seconds": time.perf_counter() - start}


def evaluate(
    model: Any,
    loss: Callable[[Any, Any], Tensor],
    loader: Iterable[Any],
    *,
    metrics: Mapping[str, Metric] | None = None,
) -> dict[str, float]:
    """The mean loss of ``model`` over a loader, in eval mode and without a tape, and its metrics.

    The metrics are functions of all predictions and all targets at once, so that those which are not means over
    batches (R2, top-k of an uneven last batch) come out right. Each module is put back into the mode it was in.

    >>> import portanet
    >>> from portanet import nn, data
    >>> x = portanet.ones((4, 1))
    >>> loader = data.DataLoader(data.TensorDataset(x, x), batch_size=2)
    >>> portanet.training.evaluate(nn.Identity(), nn.MSELoss(), loader)
    {'loss': 0.0}
    """
    was_training = getattr(model, "training", True)
    # Module by module: a part that was in eval mode alone stays so.
    modes = [(module, module.training) for module in model.modules()] if hasattr(model, "modules") else []
    model.eval()
    mean = _Mean()
    predictions: list[Tensor] = []
    targets: list[Tensor] = []
    try:
        with no_grad():
            for x, target in loader:
                prediction = model(x)
                mean.add(loss(prediction, target), len(target))
                predictions.append(prediction)
                targets.append(target)
            return {"loss": mean.value("the loader"), **_metrics(metrics, predictions, targets)}
    finally:
        if was_training and not modes:
            model.train()
        for module, mode in modes:
            module.training = mode


def _metrics(
    metrics: Mapping[str, Metric] | None, predictions: list[Tensor], targets: list[Tensor]
) -> dict[str, float]:
    if not metrics:
        return {}
    xp = namespace_of(predictions[0])
    prediction, target = xp.concat(predictions, axis=0), xp.concat(targets, axis=0)
    return {name: float(metric(prediction, target)) for name, metric in metrics.items()}


def _step_scheduler(scheduler: Any, measured: dict[str, float]) -> None:
    if scheduler is None:
        return
    if getattr(scheduler, "wants_metric", False):
        scheduler.step(measured.get("validation_loss", measured["loss"]))
    else:
        scheduler.step()


class _Mean:
    """The mean of the batches' losses, weighed by their lengths, added up on the device and read when asked for."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.count = 0

    def add(self, value: Tensor, length: int) -> None:
        term = value * float(length)
        self.total = term if self.total is None else self.total + term
        self.count += length

    def value(self, source: str) -> float:
        if self.total is None:
            raise ValueError(
                f"{source} gave no batch; check that the data set is not empty, and that the loader can be gone through "
                "anew for each epoch, as a list or a DataLoader can and a generator cannot."
            )
        return float(self.total) / self.count


class _Bar:
    """One progress bar over all steps of all epochs, which reads the loss at most twice a second."""

    def __init__(self, loader: Iterable[Any], epochs: int, shown: bool) -> None:
        self.bar: Any = None
        if shown:
            from tqdm.auto import tqdm  # here, so that `import portanet` does not pay for it

            total = len(loader) * epochs if isinstance(loader, Sized) else None
            self.bar = tqdm(total=total, unit="step", dynamic_ncols=True)
        self.last = time.monotonic()

    def step(self, mean: _Mean) -> None:
        if self.bar is None:
            return
        self.bar.update()
        now = time.monotonic()
        if now - self.last > 0.5:
            self.last = now
            self.bar.set_postfix_str(f"loss {mean.value('the loader'):.4f}", refresh=False)

    def epoch(self, number: int, measured: dict[str, float]) -> None:
        if self.bar is not None:
            figures = [f"{name} {value:.4g}" for name, value in measured.items() if name != "seconds"]
            self.bar.set_postfix_str(f"epoch {number}: " + ", ".join(figures))

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
