"""Forward passes that read the same in every library that has NumPy's names: `np` is jax.numpy or autograd.numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from benchmarks.workloads.sequences import Transformer

Logits = Callable[[dict[str, Any], Any], Any]  # (weights, x) -> logits


def mlp(np: Any, layers: int) -> Logits:
    """Linear layers with ReLU between them."""

    def logits(weights: dict[str, Any], x: Any) -> Any:
        for i in range(layers):
            x = np.dot(x, weights[f"{2 * i}.weight"].T) + weights[f"{2 * i}.bias"]
            if i < layers - 1:
                x = np.maximum(x, 0)
        return x

    return logits


def transformer(np: Any, size: Transformer) -> Logits:
    """The causal transformer, its attention written out."""
    each = size.width // size.heads

    def norm(weights: dict[str, Any], name: str, x: Any) -> Any:
        centred = x - np.mean(x, axis=-1, keepdims=True)
        variance = np.mean(centred * centred, axis=-1, keepdims=True)
        return centred / np.sqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def attention(weights: dict[str, Any], name: str, x: Any) -> Any:
        n, t, w = x.shape
        mixed = np.dot(x, weights[f"{name}.in_proj_weight"].T) + weights[f"{name}.in_proj_bias"]
        parts = np.transpose(np.reshape(mixed, (n, t, 3, size.heads, each)), (2, 0, 3, 1, 4))
        q, k, v = parts[0], parts[1], parts[2]
        scores = np.matmul(q, np.swapaxes(k, 2, 3)) / np.float32(math.sqrt(each))
        past = np.tril(np.ones((t, t), dtype=bool))
        scores = np.where(past, scores, np.float32(-1e9))
        scores = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
        scores = scores / np.sum(scores, axis=-1, keepdims=True)
        together = np.reshape(np.transpose(np.matmul(scores, v), (0, 2, 1, 3)), (n, t, w))
        return np.dot(together, weights[f"{name}.out_proj.weight"].T) + weights[f"{name}.out_proj.bias"]

    def logits(weights: dict[str, Any], x: Any) -> Any:
        h = weights["tokens.weight"][x] + weights["positions.weight"]
        for i in range(size.layers):
            name = f"layers.{i}"
            h = h + attention(weights, f"{name}.self_attn", norm(weights, f"{name}.norm1", h))
            wide = np.dot(norm(weights, f"{name}.norm2", h), weights[f"{name}.linear1.weight"].T)
            wide = np.maximum(wide + weights[f"{name}.linear1.bias"], 0)
            h = h + np.dot(wide, weights[f"{name}.linear2.weight"].T) + weights[f"{name}.linear2.bias"]
        out = np.dot(norm(weights, "norm", h), weights["head.weight"].T) + weights["head.bias"]
        return np.reshape(out, (-1, size.vocabulary))

    return logits
