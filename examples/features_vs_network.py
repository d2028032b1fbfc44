"""Features chosen by hand against features learned: fit a curve by y(x, w) = sum_j w_j phi_j(x), and by a network.

    python examples/features_vs_network.py [--backend cupy]

The same loop trains all models. For the models that are linear in w, least squares gives the best w in closed form.
"""

import argparse

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from tqdm import tqdm

import portanet as pn
from portanet import linalg, nn, optim, random

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--backend", default="numpy", help="numpy, cupy, torch, jax, ... or auto")
parser.add_argument("--steps", type=int, default=3000)
parser.add_argument("--picture", default="features_vs_network.png")
args = parser.parse_args()

pn.set_backend(args.backend)
pn.manual_seed(0)


def truth(x):
    """A wave with a step in it: easy to draw, hard for a polynomial."""
    return pn.sin(3 * x) + pn.where(x > 0.3, 1.0, 0.0)


x = random.uniform((80, 1), -1.0, 1.0)
y = truth(x) + 0.1 * random.normal((80, 1))
grid = pn.linspace(-1.0, 1.0, 201)[:, None]

features = {
    "polynomial, degree 7": nn.PolynomialFeatures(7),
    "8 radial bumps": nn.RadialBasisFeatures(pn.linspace(-1.0, 1.0, 8)[:, None], width=0.25),
    "network, learned": nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh()),
}
figure, panels = plt.subplots(1, 3, figsize=(12, 3.6), sharey=True)
for (name, phi), panel in zip(features.items(), panels, strict=True):
    model = nn.Sequential(phi, nn.Linear(phi(x).shape[1], 1))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.steps)
    for _ in tqdm(range(args.steps), desc=name, unit="step"):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
    error = pn.mean((model(grid) - truth(grid)) ** 2).item()
    line = f"{name:22} loss {loss.item():.4f}, error against the truth {error:.4f}"
    if not list(phi.parameters()):
        design = pn.concat([phi(x), pn.ones_like(x)], axis=1)
        best = linalg.pinv(design) @ y  # w = argmin ||design w - y||^2
        line += f", loss of least squares {pn.mean((design @ best - y) ** 2).item():.4f}"
    print(line)
    panel.plot(x.numpy(), y.numpy(), ".", color="0.6", label="examples")
    panel.plot(grid.numpy(), truth(grid).numpy(), "k--", linewidth=1, label="truth")
    panel.plot(grid.numpy(), model(grid).detach().numpy(), label="model")
    panel.set(title=f"{name}\nerror {error:.3f}", xlabel="x")
panels[0].legend()
figure.tight_layout()
figure.savefig(args.picture, dpi=120)
print(f"picture in {args.picture}")
