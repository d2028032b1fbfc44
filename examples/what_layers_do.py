"""What a network does to the plane: each linear map, each bias, each activation, until a line parts the classes.

    python examples/what_layers_do.py [--backend cupy]

Two classes, a disc in a ring, cannot be parted by a line. A network whose hidden layers have two units each would
have to keep the ring closed, so the hidden layers have three: the pictures show all three axes.
"""

import argparse
import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import portanet as pn
from portanet import data, nn, optim, random, training

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
parser.add_argument("--epochs", type=int, default=150)
parser.add_argument("--picture", default="what_layers_do.png")
args = parser.parse_args()

pn.set_backend(args.backend)
pn.manual_seed(1)

angle = random.uniform((400,), 0.0, 2 * math.pi)
radius = pn.concat([random.uniform((200,), 0.0, 0.8), random.uniform((200,), 1.2, 1.8)])
x = pn.stack([radius * pn.cos(angle), radius * pn.sin(angle)], axis=1)
label = pn.astype(radius > 1.0, pn.int64)

model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
optimizer = optim.Adam(model.parameters(), lr=0.02)
batches = data.DataLoader(data.TensorDataset(x, label), batch_size=50, shuffle=True)
training.fit(model, nn.CrossEntropyLoss(), optimizer, batches, epochs=args.epochs)
accuracy = pn.mean(pn.astype(pn.argmax(model(x), axis=1) == label, pn.float32)).item()
print(f"accuracy {accuracy:.1%}")
assert accuracy > 0.98, "the classes were not parted"


def steps(points):
    """The points after each linear map W x, each bias W x + b, each activation."""
    yield "input x", points
    for number, layer in enumerate(model, start=1):
        if isinstance(layer, nn.Linear):
            yield f"W{number // 2 + 1} times that", points @ layer.weight.T
        points = layer(points)
        yield (f"plus b{number // 2 + 1}" if isinstance(layer, nn.Linear) else "tanh of that"), points


ticks = [pn.linspace(-2.0, 2.0, 17), pn.linspace(-2.0, 2.0, 81)]
across = pn.stack([pn.reshape(a, (17, 81)) for a in pn.meshgrid(*ticks, indexing="ij")], axis=2)
lines = [(across, False), (pn.flip(across, axis=2), True)]  # the grid's lines in both directions
figure = plt.figure(figsize=(15, 6.4))
colours = ["tab:blue" if one == 0 else "tab:orange" for one in label.tolist()]
for place, (title, points) in enumerate(steps(x), start=1):
    points = points.detach()
    space = {"projection": "3d"} if points.shape[1] == 3 else {}
    panel = figure.add_subplot(2, 5, place if place < 10 else 10, **space)
    for grid, _ in lines:
        bent = dict(enumerate(steps(pn.reshape(grid, (-1, 2)))))[place - 1][1].detach()
        for line in pn.reshape(bent, (17, 81, -1)):
            panel.plot(*line.numpy().T, color="0.8", linewidth=0.6, zorder=0)
    panel.scatter(*points.numpy().T, c=colours, s=6)
    panel.set(title=title, xticklabels=[], yticklabels=[])
figure.tight_layout()
figure.savefig(args.picture, dpi=120)
print(f"picture in {args.picture}")
