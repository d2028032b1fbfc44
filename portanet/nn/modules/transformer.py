"""The encoder of the Transformer: attention and a small network in turn, each beside a way around it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from portanet.nn import functional as F
from portanet.nn.module import Module
from portanet.nn.modules.attention import MultiheadAttention
from portanet.nn.modules.container import ModuleList
from portanet.nn.modules.dropout import Dropout
from portanet.nn.modules.linear import Linear
from portanet.nn.modules.normalization import LayerNorm

__all__ = ["TransformerEncoder", "TransformerEncoderLayer"]

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": F.relu, "gelu": F.gelu}


class TransformerEncoderLayer(Module):
    """Self-attention, then two linear maps with an activation between; what goes into each is added to its result.

    With ``norm_first`` x = x + attention(norm1(x)), x = x + network(norm2(x)); else x = norm1(x + attention(x)),
    x = norm2(x + network(x)). Vaswani and others 2017, "Attention is all you need", section 3.1; for ``norm_first`` Xiong
    and others 2020, "On layer normalization in the Transformer architecture".

    Args:
        d_model: E, the length of the last axis.
        nhead: the number of heads, which divides E.
        dim_feedforward: the width between the two linear maps.
        dropout: the probability of a zero in training: in the attention's weights, between the two linear maps, and in
            what is added.
        activation: ``"relu"``, ``"gelu"`` or a function.
        layer_norm_eps: added to the variance.
        batch_first: whether the batch is the first axis instead of the second.
        norm_first: whether the norms come before attention and network instead of after the sums.
        bias: whether linear maps and norms have a bias.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: (L, N, E), (N, L, E) with ``batch_first``, or (L, E) -> the same. Masks as in `MultiheadAttention`: ``src_mask``
    (L, L) or (N * nhead, L, L), ``src_key_padding_mask`` (N, L). ``is_causal``: place i sees the places up to i.
    Submodules: ``self_attn``, ``linear1``, ``dropout``, ``linear2``, ``norm1``, ``norm2``, ``dropout1``, ``dropout2``.

    >>> import portanet
    >>> layer = portanet.nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True)
    >>> layer(portanet.ones((3, 5, 8)), is_causal=True).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not callable(activation) and activation not in ACTIVATIONS:
            raise ValueError(
                f"TransformerEncoderLayer: activation={activation!r}; expected 'relu', 'gelu' or a function."
            )
        place = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **place)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **place)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation if callable(activation) else ACTIVATIONS[activation]

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        masks = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            src = src + self._attended(self.norm1(src), *masks)
            return src + self._fed(self.norm2(src))
        src = self.norm1(src + self._attended(src, *masks))
        return self.norm2(src + self._fed(src))

    def _attended(self, x: Any, mask: Any, padding: Any, causal: bool) -> Any:
        found, _ = self.self_attn(x, x, x, padding, need_weights=False, attn_mask=mask, is_causal=causal)
        return self.dropout1(found)

    def _fed(self, x: Any) -> Any:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerEncoder(Module):
    """Encoder layers one after another, each with parameters of its own.

    Args:
        encoder_layer: a `TransformerEncoderLayer` (or a module that is called as one); ``num_layers`` copies are made.
        num_layers: how many.
        norm: a module at the end, or None.
        enable_nested_tensor: kept for PyTorch's sake, without effect.
        mask_check: likewise.

    Shapes and masks: those of the layer. ``is_causal`` None is False: a mask is applied as it is, while True spares
    the half of the work that a causal mask would hide.

    >>> import portanet
    >>> nn = portanet.nn
    >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3, nn.LayerNorm(8))
    >>> encoder(portanet.ones((2, 5, 8)), is_causal=True).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"TransformerEncoder: num_layers must be positive, saw {num_layers}.")
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.register_module("norm", norm)

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None
    ) -> Any:
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return src if self.norm is None else self.norm(src)
