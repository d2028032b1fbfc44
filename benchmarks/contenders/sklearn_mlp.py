"""scikit-learn's multi-layer perceptron: one call of partial_fit on the batch is one step."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contenders.base import Contender, LeftOut, Step
from benchmarks.contenders.children import imported
from benchmarks.workloads.mlp import MLP
from benchmarks.workloads.others import Import


def partial_fit(workload: MLP) -> Step:
    from sklearn.neural_network import MLPClassifier

    if not workload.training:
        raise LeftOut("its classifier returns probabilities, not logits")
    x, target = workload.data()
    model: Any = MLPClassifier(
        workload.widths[1:-1],
        solver=workload.optimizer.lower(),
        alpha=0,
        batch_size=workload.batch,
        learning_rate_init=workload.learning_rate,
        momentum=0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    classes = np.arange(workload.widths[-1])
    model.partial_fit(x, target, classes=classes)  # so that it makes its arrays, which then get the common start
    for i, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        weight[...] = workload.weights()[f"{2 * i}.weight"].T
        bias[...] = workload.weights()[f"{2 * i}.bias"]
    optimizer = model._optimizer
    for moments in (getattr(optimizer, "ms", []), getattr(optimizer, "vs", []), getattr(optimizer, "velocities", [])):
        for moment in moments:
            moment[...] = 0
    optimizer.t = 0
    model.t_ = 0

    def step() -> float:
        model.partial_fit(x, target)
        return model.loss_

    return step


SKLEARN = Contender("sklearn", "scikit-learn", ("sklearn",), {MLP: partial_fit, Import: imported("sklearn")})
