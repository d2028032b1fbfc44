"""Networks over time: an LSTM whose last state is classified, and a causal transformer that predicts the next letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.workloads.base import Network, Product


@dataclass(frozen=True)
class LSTM(Network):
    """128 hidden units over 64 steps of 64 features; the last state goes through a linear layer to 10 classes."""

    features: int = 64
    hidden: int = 128
    steps: int = 64

    def shapes(self) -> dict[str, tuple[int, ...]]:
        h = self.hidden
        found: dict[str, tuple[int, ...]] = {"lstm.weight_ih_l0": (4 * h, self.features)}
        found |= {"lstm.weight_hh_l0": (4 * h, h), "lstm.bias_ih_l0": (4 * h,), "lstm.bias_hh_l0": (4 * h,)}
        return found | {"head.weight": (10, h), "head.bias": (10,)}

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        return rng.standard_normal((self.batch, self.steps, self.features), dtype=np.float32)

    def network(self, nn: Any, asarray: Any) -> Any:
        class LastState(nn.Module):
            def __init__(self, features: int, hidden: int) -> None:
                super().__init__()
                self.lstm = nn.LSTM(features, hidden, batch_first=True)
                self.head = nn.Linear(hidden, 10)

            def forward(self, x: Any) -> Any:
                _, (h, _) = self.lstm(x)
                return self.head(h[0])

        return LastState(self.features, self.hidden)

    def forward_products(self) -> list[Product]:
        t, b, h = self.steps, self.batch, self.hidden
        inputs = Product(1, t * b, self.features, 4 * h, first=True)
        return [inputs, Product(t, b, h, 4 * h, shared=True), Product(1, b, h, 10)]

    def products(self) -> list[Product]:
        """As for all, but the gradient of the recurrent weights is one product over all steps."""
        t, b, h = self.steps, self.batch, self.hidden
        stacked, whole = Product(t, h, b, 4 * h), Product(1, h, t * b, 4 * h)
        return [whole if one == stacked else one for one in super().products()]


@dataclass(frozen=True)
class Transformer(Network):
    """4 causal layers of width 128, 4 heads, 512 between, over 128 letters of 65; a class a position.

    Layers normalize first, ReLU stands between the two feed-forward products, and nothing is dropped.
    """

    layers: int = 4
    width: int = 128
    heads: int = 4
    between: int = 512
    context: int = 128
    vocabulary: int = 65

    def shapes(self) -> dict[str, tuple[int, ...]]:
        w, f = self.width, self.between
        found: dict[str, tuple[int, ...]] = {"tokens.weight": (self.vocabulary, w)}
        found["positions.weight"] = (self.context, w)
        for i in range(self.layers):
            layer = {"self_attn.in_proj_weight": (3 * w, w), "self_attn.in_proj_bias": (3 * w,)}
            layer |= {"self_attn.out_proj.weight": (w, w), "self_attn.out_proj.bias": (w,)}
            layer |= {"linear1.weight": (f, w), "linear1.bias": (f,), "linear2.weight": (w, f), "linear2.bias": (w,)}
            layer |= {f"norm{j}.{part}": (w,) for j in (1, 2) for part in ("weight", "bias")}
            found |= {f"layers.{i}.{name}": shape for name, shape in layer.items()}
        found |= {"norm.weight": (w,), "norm.bias": (w,)}
        return found | {"head.weight": (self.vocabulary, w), "head.bias": (self.vocabulary,)}

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, self.vocabulary, (self.batch, self.context))

    def classes(self) -> tuple[int, int]:
        return self.batch * self.context, self.vocabulary

    def network(self, nn: Any, asarray: Any) -> Any:
        size = self

        class Causal(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.tokens = nn.Embedding(size.vocabulary, size.width)
                self.positions = nn.Embedding(size.context, size.width)
                layer = (size.width, size.heads, size.between)
                self.layers = nn.ModuleList(
                    [
                        nn.TransformerEncoderLayer(*layer, dropout=0.0, batch_first=True, norm_first=True)
                        for _ in range(size.layers)
                    ]
                )
                self.norm = nn.LayerNorm(size.width)
                self.head = nn.Linear(size.width, size.vocabulary)
                self.flatten = nn.Flatten(0, 1)
                future = np.triu(np.full((size.context, size.context), -np.inf, np.float32), 1)
                self.register_buffer("future", asarray(future), persistent=False)

            def forward(self, x: Any) -> Any:
                h = self.tokens(x) + self.positions.weight
                for layer in self.layers:
                    h = layer(h, src_mask=self.future, is_causal=True)
                return self.flatten(self.head(self.norm(h)))

        return Causal()

    def forward_products(self) -> list[Product]:
        """Attention is counted in full, though half of its scores are thrown away."""
        w, f, t, rows = self.width, self.between, self.context, self.batch * self.context
        stack, each = self.batch * self.heads, self.width // self.heads
        layer = [Product(1, rows, w, 3 * w), Product(stack, t, each, t), Product(stack, t, t, each)]
        layer += [Product(1, rows, w, w), Product(1, rows, w, f), Product(1, rows, f, w)]
        return layer * self.layers + [Product(1, rows, w, self.vocabulary)]


WORKLOADS = [LSTM("LSTM", batch=32), Transformer("transformer", batch=16)]
