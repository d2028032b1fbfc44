"""The Transformer, its encoder and its decoder: attention and a small network in turn, each beside a way around it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from portanet.namespace import full, triu
from portanet.nn import functional as F
from portanet.nn import init
from portanet.nn.module import Module
from portanet.nn.modules.attention import MultiheadAttention
from portanet.nn.modules.container import ModuleList
from portanet.nn.modules.dropout import Dropout
from portanet.nn.modules.linear import Linear
from portanet.nn.modules.normalization import LayerNorm

__all__ = [
    "Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer",
]  # fmt: skip

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": F.relu, "gelu": F.gelu}


def _activation(name: str, given: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    if not callable(given) and given not in ACTIVATIONS:
        raise ValueError(f"{name}: activation={given!r}; expected 'relu', 'gelu' or a function.")
    return given if callable(given) else ACTIVATIONS[given]


def _copies(name: str, layer: Module, count: int) -> ModuleList:
    if count < 1:
        raise ValueError(f"{name}: num_layers must be positive, saw {count}.")
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


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
        self.activation = _activation("TransformerEncoderLayer", activation)

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
        self.layers = _copies("TransformerEncoder", encoder_layer, num_layers)
        self.num_layers = num_layers
        self.register_module("norm", norm)

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None
    ) -> Any:
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoderLayer(Module):
    """Self-attention, attention to a memory, then two linear maps with an activation between; what goes into each is added
    to its result.

    With ``norm_first`` x = x + attention(norm1(x)), x = x + attention(norm2(x), memory), x = x + network(norm3(x)); else
    x = norm1(x + attention(x)), x = norm2(x + attention(x, memory)), x = norm3(x + network(x)). Vaswani and others 2017,
    "Attention is all you need", section 3.1; for ``norm_first`` Xiong and others 2020, "On layer normalization in the
    Transformer architecture".

    Args:
        d_model: as the others in `TransformerEncoderLayer`.

    Shapes: tgt (L, N, E), memory (S, N, E), or with N first where ``batch_first``, or both without N -> that of tgt. Masks
    as in `MultiheadAttention`: ``tgt_mask`` (L, L) or (N * nhead, L, L), ``memory_mask`` (L, S) or (N * nhead, L, S),
    ``tgt_key_padding_mask`` (N, L), ``memory_key_padding_mask`` (N, S). ``tgt_is_causal``, ``memory_is_causal``: place i
    sees the places up to i. Submodules: ``self_attn``, ``multihead_attn``, ``linear1``, ``dropout``, ``linear2``, ``norm1``
    to ``norm3``, ``dropout1`` to ``dropout3``.

    >>> import portanet
    >>> layer = portanet.nn.TransformerDecoderLayer(8, 2, 16)
    >>> layer(portanet.ones((5, 3, 8)), memory=portanet.ones((4, 3, 8)), tgt_is_causal=True).shape
    (5, 3, 8)
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
        place = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **place)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **place)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **place)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = _activation("TransformerDecoderLayer", activation)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        own = (tgt_key_padding_mask, False, tgt_mask, True, tgt_is_causal)
        other = (memory_key_padding_mask, False, memory_mask, True, memory_is_causal)
        x = tgt
        if self.norm_first:
            x = x + self._attended(self.norm1(x), own)
            x = x + self._informed(self.norm2(x), memory, other)
            return x + self._fed(self.norm3(x))
        x = self.norm1(x + self._attended(x, own))
        x = self.norm2(x + self._informed(x, memory, other))
        return self.norm3(x + self._fed(x))

    def _attended(self, x: Any, how: tuple[Any, ...]) -> Any:
        return self.dropout1(self.self_attn(x, x, x, *how)[0])

    def _informed(self, x: Any, memory: Any, how: tuple[Any, ...]) -> Any:
        return self.dropout2(self.multihead_attn(x, memory, memory, *how)[0])

    def _fed(self, x: Any) -> Any:
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerDecoder(Module):
    """Decoder layers one after another, each with parameters of its own.

    Args:
        decoder_layer: a `TransformerDecoderLayer` (or a module that is called as one); ``num_layers`` copies are made.
        num_layers: how many.
        norm: a module at the end, or None.

    Shapes and masks: those of the layer. ``tgt_is_causal`` None is False, as in `TransformerEncoder`.

    >>> import portanet
    >>> nn = portanet.nn
    >>> decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 3)
    >>> decoder(portanet.ones((2, 5, 8)), portanet.ones((2, 4, 8)), tgt_is_causal=True).shape
    (2, 5, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies("TransformerDecoder", decoder_layer, num_layers)
        self.num_layers = num_layers
        self.register_module("norm", norm)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder, and a decoder that attends to what it has made. Vaswani and others 2017, "Attention is all you need".

    Args:
        d_model: E, the length of the last axis.
        nhead: the number of heads, which divides E.
        num_encoder_layers: how many `TransformerEncoderLayer`.
        num_decoder_layers: how many `TransformerDecoderLayer`.
        dim_feedforward: as the next ones in `TransformerEncoderLayer`.
        custom_encoder: a module in place of the encoder, or None.
        custom_decoder: a module in place of the decoder, or None.

    Shapes: src (S, N, E), tgt (T, N, E), or with N first where ``batch_first``, or both without N -> that of tgt. Masks as
    in the layers: those of ``src`` for the encoder, those of ``tgt`` and ``memory`` for the decoder. Submodules:
    ``encoder`` and ``decoder``, each with a LayerNorm at its end; weights of two axes start uniform as by Glorot.

    Raises:
        ValueError: src and tgt do not go together, or with E.

    >>> import portanet
    >>> model = portanet.nn.Transformer(8, 2, 1, 1, 16)
    >>> model(portanet.ones((4, 3, 8)), portanet.ones((5, 3, 8)), tgt_is_causal=True).shape
    (5, 3, 8)
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        place = {"device": device, "dtype": dtype}
        how = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias)
        if custom_encoder is None:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
            custom_encoder = TransformerEncoder(TransformerEncoderLayer(*how, **place), num_encoder_layers, norm)
        if custom_decoder is None:
            norm = LayerNorm(d_model, layer_norm_eps, bias=bias, **place)
            custom_decoder = TransformerDecoder(TransformerDecoderLayer(*how, **place), num_decoder_layers, norm)
        self.encoder = custom_encoder
        self.decoder = custom_decoder
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Any:
        self._check(tuple(src.shape), tuple(tgt.shape))
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )  # fmt: skip

    def _check(self, src: tuple[int, ...], tgt: tuple[int, ...]) -> None:
        place = 0 if self.batch_first else 1
        fits = len(src) == len(tgt) and len(src) in (2, 3) and src[-1] == tgt[-1] == self.d_model
        if not fits or (len(src) == 3 and src[place] != tgt[place]):
            order = "(N, S, {0}) and (N, T, {0})" if self.batch_first else "(S, N, {0}) and (T, N, {0})"
            raise ValueError(
                f"Transformer(d_model={self.d_model}): src and tgt have shapes {src} and {tgt}; expected "
                f"{order.format(self.d_model)}, or both without N."
            )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Any:
        """The mask (sz, sz) that hides what comes later: -inf to the right of the diagonal, else 0.

        >>> import portanet
        >>> portanet.nn.Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        return triu(full((sz, sz), -math.inf, device=device, dtype=dtype), k=1)
