"""An LSTM and LeNet with their gradients by hand in NumPy, as a careful user writes them once the formulas are on paper."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.contenders.base import Step
from benchmarks.contenders.by_hand import UPDATES, cross_entropy
from benchmarks.workloads.images import LeNet
from benchmarks.workloads.sequences import LSTM

Arrays = dict[str, np.ndarray]


def _sigmoid(z: np.ndarray) -> None:
    """In place, by the tanh that does not overflow."""
    z *= 0.5
    np.tanh(z, out=z)
    z *= 0.5
    z += 0.5


def lstm(workload: LSTM) -> Step:
    w = workload.weights()
    x, target = workload.data()
    n, t, h = workload.batch, workload.steps, workload.hidden
    i, f, g, o = [slice(k * h, (k + 1) * h) for k in range(4)]
    update = UPDATES[workload.optimizer](workload.learning_rate)

    def forward() -> tuple[np.ndarray, ...]:
        inputs = np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(t * n, -1)
        z = (inputs @ w["lstm.weight_ih_l0"].T).reshape(t, n, 4 * h)
        z += w["lstm.bias_ih_l0"] + w["lstm.bias_hh_l0"]
        hidden, cell = np.zeros((2, t + 1, n, h), np.float32)
        bent = np.empty((t, n, h), np.float32)  # tanh of the cells
        recurrent = w["lstm.weight_hh_l0"].T
        for k in range(t):
            now = z[k]
            now += hidden[k] @ recurrent
            _sigmoid(now[:, : 2 * h])
            np.tanh(now[:, g], out=now[:, g])
            _sigmoid(now[:, o])
            np.multiply(now[:, f], cell[k], out=cell[k + 1])
            cell[k + 1] += now[:, i] * now[:, g]
            np.tanh(cell[k + 1], out=bent[k])
            np.multiply(now[:, o], bent[k], out=hidden[k + 1])
        return inputs, z, hidden, cell, bent

    def logits(last: np.ndarray) -> np.ndarray:
        out = last @ w["head.weight"].T
        out += w["head.bias"]
        return out

    def backward(state: tuple[np.ndarray, ...], dh: np.ndarray) -> Arrays:
        inputs, z, hidden, cell, bent = state
        dz = np.empty_like(z)
        dc = np.zeros((n, h), np.float32)
        for k in reversed(range(t)):
            now, out = z[k], dz[k]
            dc += dh * now[:, o] * (1 - bent[k] * bent[k])
            out[:, i] = dc * now[:, g] * now[:, i] * (1 - now[:, i])
            out[:, f] = dc * cell[k] * now[:, f] * (1 - now[:, f])
            out[:, g] = dc * now[:, i] * (1 - now[:, g] * now[:, g])
            out[:, o] = dh * bent[k] * now[:, o] * (1 - now[:, o])
            dc *= now[:, f]
            dh = out @ w["lstm.weight_hh_l0"]
        flat = dz.reshape(t * n, 4 * h).T
        bias = flat.sum(axis=1)
        before = hidden[:-1].reshape(t * n, h)
        return {
            "lstm.weight_ih_l0": flat @ inputs, "lstm.weight_hh_l0": flat @ before,
            "lstm.bias_ih_l0": bias, "lstm.bias_hh_l0": bias,
        }  # fmt: skip

    def step() -> np.float32:
        state = forward()
        last = state[2][-1]
        loss, d = cross_entropy(logits(last), target)
        gradients = backward(state, d @ w["head.weight"])
        gradients |= {"head.weight": d.T @ last, "head.bias": d.sum(axis=0)}
        for name, gradient in gradients.items():
            update(name, w[name], gradient)
        return loss

    return step if workload.training else lambda: logits(forward()[2][-1])


# --------------------------------------------------------------------------------------------------------------- LeNet


def _windows(x: np.ndarray, size: int) -> np.ndarray:
    """Channels last: every window of size x size as a row, (n * height * width, size * size * channels)."""
    seen = sliding_window_view(x, (size, size), axis=(1, 2))  # (n, height, width, channels, size, size)
    rows = np.ascontiguousarray(seen.transpose(0, 1, 2, 4, 5, 3))
    return rows.reshape(-1, size * size * x.shape[3])


def _unwindowed(rows: np.ndarray, shape: tuple[int, ...], size: int) -> np.ndarray:
    """The sum of what the windows say about each place."""
    n, height, width, channels = shape
    rows = rows.reshape(n, height - size + 1, width - size + 1, size, size, channels)
    x = np.zeros(shape, rows.dtype)
    for a in range(size):
        for b in range(size):
            x[:, a : a + rows.shape[1], b : b + rows.shape[2]] += rows[:, :, :, a, b]
    return x


def _pooled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ReLU and the largest of each 2x2; and where it was."""
    n, height, width, channels = x.shape
    np.maximum(x, 0, out=x)
    blocks = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    y = blocks.max(axis=(2, 4))
    return y, (blocks == y[:, :, None, :, None]) & (blocks > 0)


def _unpooled(g: np.ndarray, where: np.ndarray) -> np.ndarray:
    n, height, _, width, _, channels = where.shape
    return (g[:, :, None, :, None] * where).reshape(n * height * 2 * width * 2, channels)


def lenet(workload: LeNet) -> Step:
    w = workload.weights()
    images, target = workload.data()
    n = workload.batch
    update = UPDATES[workload.optimizer](workload.learning_rate)

    def kernel(i: int) -> np.ndarray:
        """(out, height * width * in), as the windows are."""
        return w[f"{i}.weight"].transpose(0, 2, 3, 1).reshape(len(w[f"{i}.weight"]), -1)

    def forward() -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        x = np.pad(images.transpose(0, 2, 3, 1), ((0, 0), (2, 2), (2, 2), (0, 0)))
        inputs, places = [], []
        for i, side in ((0, 28), (3, 10)):
            inputs.append(_windows(x, 5))
            x = inputs[-1] @ kernel(i).T
            x += w[f"{i}.bias"]
            x, where = _pooled(x.reshape(n, side, side, -1))
            places.append(where)
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(n, -1)
        for i in (7, 9, 11):
            inputs.append(x)
            x = x @ w[f"{i}.weight"].T
            x += w[f"{i}.bias"]
            if i < 11:
                np.maximum(x, 0, out=x)
        return x, inputs, places

    def backward(g: np.ndarray, inputs: list[np.ndarray], places: list[np.ndarray]) -> Arrays:
        found: Arrays = {}
        for i, x in ((11, inputs[4]), (9, inputs[3]), (7, inputs[2])):
            found |= {f"{i}.weight": g.T @ x, f"{i}.bias": g.sum(axis=0)}
            g = g @ w[f"{i}.weight"]
            if i > 7:
                g *= x > 0
        g = _unpooled(g.reshape(n, 16, 5, 5).transpose(0, 2, 3, 1), places[1])
        found |= _of_kernel(3, g, inputs[1], w["3.weight"])
        g = _unpooled(_unwindowed(g @ kernel(3), (n, 14, 14, 6), 5), places[0])
        return found | _of_kernel(0, g, inputs[0], w["0.weight"])

    def step() -> np.float32:
        logits, inputs, places = forward()
        loss, g = cross_entropy(logits, target)
        for name, gradient in backward(g, inputs, places).items():
            update(name, w[name], gradient)
        return loss

    return step if workload.training else lambda: forward()[0]


def _of_kernel(i: int, g: np.ndarray, windows: np.ndarray, weight: np.ndarray) -> Arrays:
    out, channels, height, width = weight.shape
    found = (g.T @ windows).reshape(out, height, width, channels).transpose(0, 3, 1, 2)
    return {f"{i}.weight": found, f"{i}.bias": g.sum(axis=0)}


BUILDERS = {LSTM: lstm, LeNet: lenet}
