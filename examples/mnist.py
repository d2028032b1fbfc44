"""Read handwritten digits: the 70,000 images of MNIST, from the folder $PORTANET_DATA/mnist.

    PORTANET_DATA=/data python examples/mnist.py [--backend cupy]

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
    """Images as rows of 784 numbers, centred and scaled by the mean and deviation of all training pixels."""
    images = read_idx(f"{part}-images-idx3-ubyte.gz").reshape(-1, 784).astype("float32")
    labels = read_idx(f"{part}-labels-idx1-ubyte.gz").astype("int64")
    return data.TensorDataset(portanet.asarray((images / 255 - 0.1307) / 0.3081), portanet.asarray(labels))


portanet.set_backend(args.backend)
portanet.manual_seed(0)
train = data.DataLoader(dataset("train"), batch_size=128, shuffle=True)
test = data.DataLoader(dataset("t10k"), batch_size=1000)

model = nn.Sequential(
    nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10)
)
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-5)
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
