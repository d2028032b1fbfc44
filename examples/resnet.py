"""Tell ten things apart in small photographs: a residual network on 5,000 images of CIFAR-10.

    PORTANET_DATA=/data python examples/resnet.py [--backend cupy]

The folder $PORTANET_DATA/cifar10-subset holds 4,000 images to learn from and 1,000 to be judged by. With so few of them
an image is worth more than one look: half are mirrored, and all moved by up to 3 pixels, anew in each epoch.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

import portanet
from portanet import nn, optim

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
parser.add_argument("--epochs", type=int, default=24)
args = parser.parse_args()
if "PORTANET_DATA" not in os.environ:
    print("PORTANET_DATA is not set, so there are no images to learn from; nothing was done.")
    sys.exit(0)
images = np.load(Path(os.environ["PORTANET_DATA"]) / "cifar10-subset" / "cifar10_4000_1000.npz")
x_train, x_test = [(images[f"x_{part}"].astype("float32") / 255 - 0.47) / 0.25 for part in ("train", "test")]
y_train, y_test = [images[f"y_{part}"].astype("int64") for part in ("train", "test")]
portanet.set_backend(args.backend)
portanet.manual_seed(0)
random = np.random.default_rng(0)
BATCH, RATE = 64, 0.1


class Block(nn.Module):
    """y = relu(x + F(x)), F being two convolutions (He, Zhang, Ren and Sun 2015, "Deep residual learning ...")."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            *(nn.Conv2d(given, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)),
        )
        self.same = nn.Identity()
        if given != width:
            self.same = nn.Sequential(nn.Conv2d(given, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: portanet.Tensor) -> portanet.Tensor:
        return nn.functional.relu(self.same(x) + self.change(x))


model = nn.Sequential(
    *(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
    *(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)),
    *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
)
optimizer = optim.SGD(model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=5e-4)
steps = len(x_train) // BATCH
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs * steps)
loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)


def varied(x: np.ndarray) -> np.ndarray:
    """Each image mirrored or not, and moved."""
    x = np.where(random.random((len(x), 1, 1, 1)) < 0.5, x, x[:, :, ::-1])
    padded = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    down, right = random.integers(0, 7, (2, len(x)))
    return np.stack([one[i : i + 32, j : j + 32] for one, i, j in zip(padded, down, right, strict=True)])


def channels_first(x: np.ndarray) -> portanet.Tensor:
    return portanet.asarray(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def accuracy() -> float:
    model.eval()
    with portanet.no_grad():
        guesses = [model(channels_first(x_test[k : k + 250])).numpy().argmax(1) for k in range(0, len(x_test), 250)]
    model.train()
    return float(np.mean(np.concatenate(guesses) == y_test))


for epoch in range(1, args.epochs + 1):
    order = random.permutation(len(x_train))
    total = 0.0
    for k in range(steps):
        chosen = order[k * BATCH : (k + 1) * BATCH]
        optimizer.zero_grad()
        loss = loss_of(model(channels_first(varied(x_train[chosen]))), portanet.asarray(y_train[chosen]))
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
    if epoch % 4 == 0 or epoch == args.epochs:
        print(f"epoch {epoch}: loss {total / steps:.3f}, test accuracy {accuracy():.1%}", flush=True)
print(f"test accuracy {accuracy():.1%} after {args.epochs} epochs on {args.backend}")
