"""Make up digits: a variational auto-encoder on the images of MNIST, from the folder $PORTANET_DATA/mnist.

    PORTANET_DATA=/data python examples/vae.py [--backend cupy]

Kingma and Welling 2014, "Auto-encoding variational Bayes". Prints the bound on -log p(image) that it learns by, in nats an
image, and draws images that it has made up, and a way from one digit to another, into vae.png.
"""

import argparse
import gzip
import os
import sys
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import portanet
from portanet import data, nn, optim, training

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--picture", default="vae.png")
args = parser.parse_args()
if "PORTANET_DATA" not in os.environ:
    print("PORTANET_DATA is not set, so there are no images to learn from; nothing was done.")
    sys.exit(0)
CODE = 16  # numbers that stand for an image


def images(part: str) -> portanet.Tensor:
    """Rows of 784 numbers from 0 to 1: how likely each pixel is white."""
    path = Path(os.environ["PORTANET_DATA"]) / "mnist" / f"{part}-images-idx3-ubyte.gz"
    content = gzip.decompress(path.read_bytes())
    return portanet.asarray(np.frombuffer(content, np.uint8, offset=16).reshape(-1, 784).astype("float32") / 255)


class VAE(nn.Module):
    """An image -> the mean and log variance of its code; a code -> the logits of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 2 * CODE))
        self.decoder = nn.Sequential(nn.Linear(CODE, 400), nn.ReLU(), nn.Linear(400, 784))

    def forward(self, x: portanet.Tensor) -> tuple[portanet.Tensor, portanet.Tensor, portanet.Tensor]:
        found = self.encoder(x)
        mean, log_variance = found[:, :CODE], found[:, CODE:]
        # The code is drawn such that its gradient passes: mean + deviation * noise.
        code = mean + portanet.exp(log_variance / 2) * portanet.random.normal(mean.shape) if self.training else mean
        return self.decoder(code), mean, log_variance


def bound(found: tuple[portanet.Tensor, ...], x: portanet.Tensor) -> portanet.Tensor:
    """-log p(image | code), and how far the codes are from a normal distribution (Kullback and Leibler 1951)."""
    logits, mean, log_variance = found
    pixels = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    distance = 0.5 * portanet.sum(mean**2 + portanet.exp(log_variance) - 1 - log_variance)
    return (pixels + distance) / x.shape[0]


portanet.set_backend(args.backend)
portanet.manual_seed(0)
learned, unseen = images("train"), images("t10k")
model = VAE()
optimizer = optim.Adam(model.parameters(), lr=2e-3)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
train = data.DataLoader(data.TensorDataset(learned, learned), batch_size=128, shuffle=True)
history = training.fit(model, bound, optimizer, train, epochs=args.epochs, scheduler=schedule)
with portanet.no_grad():
    error = bound(model(unseen), unseen).item()  # in training mode: a code is drawn for each image
    made_up = nn.functional.sigmoid(model.decoder(portanet.random.normal((24, CODE)))).numpy()
    ends = model.eval()(unseen[:2, :])[1].numpy()
    way = np.linspace(ends[0], ends[1], 8).astype("float32")
    between = nn.functional.sigmoid(model.decoder(portanet.asarray(way))).numpy()
print(f"bound on -log p of unseen images: {error:.1f} nats after {args.epochs} epochs on {args.backend}")

figure, axes = plt.subplots(4, 8, figsize=(8, 4.4))
for axis, image in zip(axes.flat, [*made_up, *between], strict=True):
    axis.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
    axis.axis("off")
figure.suptitle("Made up; and in the last row, the way from one digit to another")
figure.savefig(args.picture, dpi=100)
print(f"pictures in {args.picture}")
