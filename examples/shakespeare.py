"""Write like Shakespeare, letter by letter: a causal transformer, or an LSTM, on $PORTANET_DATA/text/tinyshakespeare.txt.

    PORTANET_DATA=/data python examples/shakespeare.py [--model lstm] [--steps 4000] [--backend cupy]

Without the folder it learns a nursery rhyme instead, in seconds. Prints the validation loss (the mean of -log p of the
letter that comes next) as it falls, and a text that the network has made up.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

import portanet
from portanet import nn, optim

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
parser.add_argument("--model", default="transformer", choices=["transformer", "lstm"])
parser.add_argument("--steps", type=int, default=4000)
args = parser.parse_args()
WIDTH, LAYERS, HEADS, CONTEXT, BATCH, RATE = 128, 4, 4, 128, 16, 1e-3

text = "Twinkle, twinkle, little star, how I wonder what you are! Up above the world so high, like a diamond. " * 40
if "PORTANET_DATA" in os.environ:
    text = (Path(os.environ["PORTANET_DATA"]) / "text" / "tinyshakespeare.txt").read_text()
else:
    args.steps = min(args.steps, 60)
letters = sorted(set(text))
codes = np.asarray([letters.index(letter) for letter in text])
learned, kept_back = codes[: len(codes) * 9 // 10], codes[len(codes) * 9 // 10 :]
random = np.random.default_rng(0)
portanet.set_backend(args.backend)
portanet.manual_seed(0)


class Transformer(nn.Module):
    """Codes of letters (N, T) -> logits of the letter after each (N, T, letters); each sees none that come later."""

    def __init__(self) -> None:
        super().__init__()
        self.letter = nn.Embedding(len(letters), WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(WIDTH))
        self.head = nn.Linear(WIDTH, len(letters))
        for table in (self.letter, self.place):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, codes: portanet.Tensor) -> portanet.Tensor:
        x = self.letter(codes) + self.place(portanet.arange(codes.shape[1]))
        # What is added to the score of a letter that comes later: after softmax nothing is left of it.
        later = portanet.triu(portanet.full((codes.shape[1], codes.shape[1]), -float("inf")), k=1)
        return self.head(self.body(x, mask=later, is_causal=True))


class Recurrent(nn.Module):
    """The same by an LSTM, which reads one letter after the other and keeps in its state what it may need of them."""

    def __init__(self) -> None:
        super().__init__()
        self.letter = nn.Embedding(len(letters), WIDTH)
        self.body = nn.LSTM(WIDTH, 2 * WIDTH, num_layers=2, batch_first=True)
        self.head = nn.Linear(2 * WIDTH, len(letters))

    def forward(self, codes: portanet.Tensor) -> portanet.Tensor:
        return self.head(self.body(self.letter(codes))[0])


model = Transformer() if args.model == "transformer" else Recurrent()
optimizer = optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.1)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.steps)


def batch(source: np.ndarray, size: int) -> tuple[portanet.Tensor, portanet.Tensor]:
    """Stretches of the text, and the same one letter later."""
    rows = random.integers(0, len(source) - CONTEXT - 1, (size, 1)) + np.arange(CONTEXT + 1)
    return portanet.asarray(source[rows[:, :-1]]), portanet.asarray(source[rows[:, 1:]])


def loss_of(x: portanet.Tensor, y: portanet.Tensor) -> portanet.Tensor:
    return nn.functional.cross_entropy(portanet.reshape(model(x), (-1, len(letters))), portanet.reshape(y, (-1,)))


@portanet.compile(state=(model, optimizer))
def step(x: portanet.Tensor, y: portanet.Tensor) -> portanet.Tensor:
    optimizer.zero_grad()
    loss = loss_of(x, y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss


def validation(count: int = 20) -> float:
    """The loss on stretches of the last tenth of the text, which is not learned from."""
    with portanet.no_grad():
        return sum([loss_of(*batch(kept_back, BATCH)).item() for _ in range(count)]) / count


def written(count: int, start: str) -> str:
    """A text that begins with ``start``: each next letter is drawn with the probability that the network gives it."""
    found = [letters.index(letter) for letter in start]
    with portanet.no_grad():
        for _ in range(count):
            logits = model(portanet.asarray(np.asarray([found[-CONTEXT:]])))[0, -1, :]
            p = nn.functional.softmax(logits / 0.8, dim=-1).numpy().astype("float64")
            found.append(int(random.choice(len(letters), p=p / p.sum())))
    return "".join([letters[code] for code in found])


started = time.perf_counter()
for k in range(1, args.steps + 1):
    loss = step(*batch(learned, BATCH))
    schedule.step()
    if k % 500 == 0 or k == args.steps:
        minutes = (time.perf_counter() - started) / 60
        print(f"step {k}, {minutes:.1f} min: loss {loss.item():.3f}, validation {validation():.3f}", flush=True)
print(f"validation loss {validation(100):.3f} after {args.steps} steps of the {args.model} on {args.backend}\n")
print(written(400, text[:4]))
