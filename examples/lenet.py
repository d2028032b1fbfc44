"""Read handwritten digits by convolutions: LeNet on the 70,000 images of MNIST, from the folder $PORTANET_DATA/mnist.

    PORTANET_DATA=/data python examples/lenet.py [--backend cupy]

The folder holds the four files of the data set as they are distributed (train-images-idx3-ubyte.gz, ...).
"""

import argparse
import gzip
import os
import sys
from pathlib import Path

import numpy as np

import portanet
from portanet import data, metrics, nn, optim, training

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
parser.add_argument("--epochs", type=int, default=5)
args = parser.parse_args()

if "PORTANET_DATA" not in os.environ:
    print("PORTANET_DATA is not set, so there are no images to learn from; nothing was done.")
    sys.exit(0)
folder = Path(os.environ["PORTANET_DATA"]) / "mnist"


def read_idx(name: str) -> np.ndarray:
    """An array from a file in MNIST's own format: the type, the number of axes, their lengths, the bytes."""
    content = gzip.decompress((folder / name).read_bytes())
    lengths = np.frombuffer(content, ">i4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(lengths)


def dataset(part: str) -> data.TensorDataset:
    """Images (N, 1, 28, 28), centred and scaled by the mean and deviation of all training pixels."""
    images = read_idx(f"{part}-images-idx3-ubyte.gz")[:, np.newaxis].astype("float32")
    labels = read_idx(f"{part}-labels-idx1-ubyte.gz").astype("int64")
    return data.TensorDataset(portanet.asarray((images / 255 - 0.1307) / 0.3081), portanet.asarray(labels))


portanet.set_backend(args.backend)
portanet.manual_seed(0)
train = data.DataLoader(dataset("train"), batch_size=64, shuffle=True)
test = data.DataLoader(dataset("t10k"), batch_size=1000)

# LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition"; ReLU and the largest
# value of each window are of today.
model = nn.Sequential(
    *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),  # strokes: 6 pictures of 14 x 14
    *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),  # parts of digits: 16 of 5 x 5
    *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
)
optimizer = optim.Adam(model.parameters(), lr=2e-3)
history = training.fit(
    model,
    nn.CrossEntropyLoss(),
    optimizer,
    train,
    epochs=args.epochs,
    validation=test,
    metrics={"accuracy": metrics.accuracy},
    scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs),
)
print(f"test accuracy {history['validation_accuracy'][-1]:.2%} after {args.epochs} epochs on {args.backend}")
