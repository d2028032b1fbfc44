"""What a network does to the plane: each linear map, each bias, each activation, until a line parts the classes.

    python examples/what_layers_do.py [--backend cupy]

Every hidden layer has two units, so each step can be drawn. A row of the picture is a layer: its input, W times that,
plus b, and the activation, with the grid of the plane carried along and, at the end, the line that parts the classes.
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
parser.add_argument("--epochs", type=int, default=400)
parser.add_argument("--picture", default="what_layers_do.png")
args = parser.parse_args()

pn.set_backend(args.backend)
pn.manual_seed(3)

# Two arcs that grip into each other: no line parts them.
t = random.uniform((2, 150), 0.0, 1.45 * math.pi)
moons = [
    pn.stack([pn.cos(t[0, :]), pn.sin(t[0, :])], axis=1),
    pn.stack([1 - pn.cos(t[1, :]), 0.4 - pn.sin(t[1, :])], axis=1),
]
x = pn.concat(moons) - pn.asarray([0.5, 0.2]) + 0.05 * random.normal((300, 2))
label = pn.concat([pn.zeros((150, 1)), pn.ones((150, 1))])

LAYERS = 3
layers = [layer for _ in range(LAYERS) for layer in (nn.Linear(2, 2), nn.Tanh())]
model = nn.Sequential(*layers, nn.Linear(2, 1))
optimizer = optim.Adam(model.parameters(), lr=0.02)
batches = data.DataLoader(data.TensorDataset(x, label), batch_size=50, shuffle=True)
training.fit(model, nn.BCEWithLogitsLoss(), optimizer, batches, epochs=args.epochs)
accuracy = pn.mean(pn.astype((model(x) > 0) == (label > 0.5), pn.float32)).item()
print(f"accuracy {accuracy:.1%}")
assert accuracy > 0.98, "the classes were not parted"


def steps(points):
    """The points before each layer, after its linear map, after its bias, after its activation: four a layer."""
    for linear, activation in zip(model[0:-1:2], model[1:-1:2], strict=True):
        yield from (points, points @ linear.weight.T, linear(points), activation(linear(points)))
        points = activation(linear(points))


with pn.no_grad():
    coarse, fine = pn.linspace(-2.0, 2.0, 17), pn.linspace(-2.0, 2.0, 65)
    lines = pn.stack(pn.meshgrid(coarse, fine, indexing="ij"), axis=2)  # 17 lines of 65 points, and those across
    grid = pn.reshape(pn.concat([lines, pn.flip(lines, axis=2)]), (-1, 2))
    (w1, w2), b = model[-1].weight.tolist()[0], model[-1].bias.item()
    figure, panels = plt.subplots(LAYERS, 4, figsize=(12, 3 * LAYERS))
    titles = [
        name for k in range(1, LAYERS + 1) for name in (f"input of layer {k}", f"W{k} times that", f"plus b{k}", "tanh")
    ]
    for panel, title, points, bent in zip(panels.flat, titles, steps(x), steps(grid), strict=True):
        for line in pn.reshape(bent, (-1, 65, 2)):
            panel.plot(*line.numpy().T, color="0.8", linewidth=0.6, zorder=0)
        panel.scatter(*points.numpy().T, c=label.numpy()[:, 0], cmap="coolwarm", s=6)
        panel.set(title=title, xticks=[], yticks=[])
    panel.axline((0, -b / w2), slope=-w1 / w2, color="black")
    panel.set(title="tanh, and the line that parts them", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
figure.tight_layout()
figure.savefig(args.picture, dpi=110)
print(f"picture in {args.picture}")
