"""Classify scikit-learn's 8 x 8 images of handwritten digits: the whole workflow in one file.

    python examples/digits.py [--backend cupy]

Prints the accuracy on 360 images that were not trained on, and draws the loss into digits_loss.png.
"""

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import portanet
from portanet import data, metrics, nn, optim, training

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--picture", default="digits_loss.png")
args = parser.parse_args()

portanet.set_backend(args.backend)
portanet.manual_seed(0)

# The examples {(x_i, y_i)}: 1797 images of 64 pixels from 0 to 16, and which digit each shows.
images, labels = load_digits(return_X_y=True)
dataset = data.TensorDataset(portanet.asarray(images, dtype="float32") / 16.0, portanet.asarray(labels))
train_set, test_set = data.random_split(dataset, [len(dataset) - 360, 360])
train = data.DataLoader(train_set, batch_size=32, shuffle=True)
test = data.DataLoader(test_set, batch_size=360)

# Choose the architecture, the loss and the gradient-based method ...
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
loss = nn.CrossEntropyLoss()
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)

# ... and train.
history = training.fit(
    model,
    loss,
    optimizer,
    train,
    epochs=args.epochs,
    validation=test,
    metrics={"accuracy": metrics.accuracy},
    scheduler=schedule,
)
print(model)
print(f"test accuracy {history['validation_accuracy'][-1]:.1%} after {args.epochs} epochs on {args.backend}")

epochs = range(1, len(history) + 1)
figure, axes = plt.subplots(figsize=(6, 4))
axes.semilogy(epochs, history["loss"], label="training images")
axes.semilogy(epochs, history["validation_loss"], label="test images")
axes.set(xlabel="epoch", ylabel="cross entropy", title="Learning to read digits")
axes.legend()
figure.tight_layout()
figure.savefig(args.picture, dpi=120)
print(f"loss curve in {args.picture}")
